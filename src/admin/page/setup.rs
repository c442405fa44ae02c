//! Vaults, config and build: what is in force, and whether it could be read.

use maud::{Markup, html};

use crate::admin::page::parts::{Sign, clock_of, prose, sign};
use crate::telemetry::status::{Config, Door, Entry, Status};

pub(super) fn vaults(status: &Status) -> Markup {
    html! {
        section aria-labelledby="vaults" {
            h2 #vaults { "Vaults" }
            @for vault in &status.vaults {
                h3 { (vault.vault) span.muted { " " (vault.kind) } }
                @if vault.entries.is_empty() { p.muted { "Nothing of it was read yet." } }
                ul.entries { @for each in &vault.entries { li { (entry(each, &status.at)) } } }
            }
        }
    }
}

fn entry(entry: &Entry, now: &str) -> Markup {
    let failing = entry.failing_since.as_ref();
    html! {
        (sign(if failing.is_some() { Sign::Bad } else { Sign::Good }))
        div {
            p {
                strong { @if entry.path.is_empty() { "the whole of it" } @else { (entry.path) } } " "
                @match failing {
                    Some(since) => { "cannot be read since " (clock_of(since, now)) " (" (entry.result) ")" },
                    None => { "readable" span.muted { @if let Some(at) = &entry.read_at { ", read at " (clock_of(at, now)) " (" (entry.result) ")" } } },
                }
            }
            @if let Some(problem) = &entry.problem { p.problem { (prose(problem)) } }
            @if failing.is_some() {
                p.muted {
                    @match &entry.good_at {
                        Some(at) => { "What was read at " (clock_of(at, now)) " stays in use." },
                        None => "It was never read, so there is nothing to fall back on.",
                    }
                }
            }
        }
    }
}

pub(super) fn config(status: &Status) -> Markup {
    let (config, build) = (&status.config, &status.build);
    html! {
        section aria-labelledby="config" {
            h2 #config { "Config and build" }
            dl.facts {
                div { dt { "Config" } dd { code { (config.file) } @if let Some(at) = &config.loaded_at { span.muted { " loaded " (clock_of(at, &status.at)) } } } }
                (reloaded(config, &status.at))
                div { dt { "Mode" } dd { (config.mode) } }
                @if let Some(end) = &config.ca_expires { div { dt { "Local CA until" } dd { (clock_of(end, &status.at)) } } }
                div { dt { "Listens on" } dd { @for (at, one) in config.listen.iter().enumerate() { @if at > 0 { ", " } (one) } } }
                @for each in &status.doors { (door(each, &status.at)) }
                div { dt { "Build" } dd { (build.version) span.muted { " " (build.commit) } } }
                @if let Some(at) = &build.started_at { div { dt { "Up since" } dd { (clock_of(at, &status.at)) span.muted { " PID " (build.pid) } } } }
            }
        }
    }
}

fn reloaded(config: &Config, now: &str) -> Markup {
    html! {
        @if let Some(reload) = &config.reload {
            @let failed = reload.result != "ok";
            div.wide[failed] {
                dt { "Last reload" }
                dd {
                    @if failed { (sign(Sign::Bad)) " failed " } @else { "in force " }
                    (clock_of(&reload.at, now))
                    @if failed { "; the config before it stays in force" }
                    @if let Some(problem) = &reload.problem { pre tabindex="0" aria-label="What the reload said" { (problem) } }
                }
            }
        }
    }
}

fn door(door: &Door, now: &str) -> Markup {
    html! {
        div {
            dt { "Door " (door.door) }
            dd {
                (door.calls) @if door.calls == 1 { " call" } @else { " calls" }
                @if door.tunnelled > 0 { ", " (door.tunnelled) " tunnelled" }
                @if door.rejected > 0 { ", " (door.rejected) " turned away" }
                @if let Some(at) = &door.last_at { span.muted { " last " (clock_of(at, now)) } }
            }
        }
    }
}
