//! Vaults, config and build: what is active, and whether it could be read.

use maud::{Markup, html};

use crate::admin::page::components::{StatusIcon, inline_code, status_icon, time_element};
use crate::status::{ConfigStatus, ConnectionsStatus, EntrypointStatus, Status, VaultEntryStatus};

pub(super) fn vaults(status: &Status) -> Markup {
    html! {
        section.vault-list aria-labelledby="vaults" {
            h2 #vaults { "Vaults" }
            @for vault in &status.vaults {
                h3 { (vault.vault) span.muted { " " (vault.kind) } }
                @if vault.entries.is_empty() { p.muted { "Nothing of it was read yet." } }
                ul.entries { @for each in &vault.entries { li { (vault_entry_item(each, &status.at)) } } }
            }
        }
    }
}

fn vault_entry_item(entry: &VaultEntryStatus, now: &str) -> Markup {
    let failing = entry.failing_since.as_ref();
    html! {
        (status_icon(if failing.is_some() { StatusIcon::Bad } else { StatusIcon::Good }))
        div {
            p {
                strong { @if entry.path.is_empty() { "the whole of it" } @else { (entry.path) } } " "
                @match failing {
                    Some(since) => { @if entry.is_absent() { "absent since " } @else { "cannot be read since " } (time_element(since, now)) ": " (entry.result) },
                    None => { "readable" span.muted { @if let Some(at) = &entry.read_at { ", read at " (time_element(at, now)) ": " (entry.result) } } },
                }
            }
            @if let Some(problem) = &entry.problem { p.problem { (inline_code(problem)) } }
            @if failing.is_some() {
                p.muted {
                    @match &entry.last_success_at {
                        Some(at) => { "What was read at " (time_element(at, now)) " stays in use." },
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
        section.config aria-labelledby="config" {
            h2 #config { "Config and build" }
            dl.facts {
                div { dt { "Config" } dd { code { (config.file) } @if let Some(at) = &config.loaded_at { span.muted { " loaded " (time_element(at, &status.at)) } } } }
                (last_reload(config, &status.at))
                @if let Some(restart) = &config.needs_restart { div.wide { dt { "Needs a restart" } dd { (status_icon(StatusIcon::Warn)) " " (restart) } } }
                div { dt { "Mode" } dd { (config.mode) } }
                @if let Some(end) = &config.ca_expires_at { div { dt { "Local CA until" } dd { (time_element(end, &status.at)) } } }
                div { dt { "Listens on" } dd { @for (at, one) in config.listen.iter().enumerate() { @if at > 0 { ", " } (one) } } }
                @for each in &status.entrypoints { (entrypoint_item(each, &status.at)) }
                (connections_item(&status.connections, &status.at))
                div { dt { "Build" } dd { (build.version) span.muted { " " (build.commit) } } }
                @if let Some(at) = &build.started_at { div { dt { "Up since" } dd { (time_element(at, &status.at)) span.muted { " PID " (build.pid) } } } }
            }
        }
    }
}

fn last_reload(config: &ConfigStatus, now: &str) -> Markup {
    html! {
        @if let Some(reload) = &config.last_reload {
            @let failed = reload.result != "ok";
            div.wide[failed] {
                dt { "Last reload" }
                dd {
                    @if failed { (status_icon(StatusIcon::Bad)) " failed " } @else { "in force " }
                    (time_element(&reload.at, now))
                    @if let Some(by) = &reload.by { " by " (by) }
                    @if failed { "; the config before it stays in force" }
                    @if let Some(problem) = &reload.problem { pre tabindex="0" aria-label="What the reload said" { (problem) } }
                }
            }
        }
    }
}

fn connections_item(connections: &ConnectionsStatus, now: &str) -> Markup {
    html! {
        @if connections.limit > 0 {
            div {
                dt { "Connections" }
                dd {
                    (connections.open) " of " (connections.limit) " open"
                    @if let Some(at) = &connections.last_denied_at {
                        ", " (connections.denied) " denied" span.muted { " last " (time_element(at, now)) }
                    }
                }
            }
        }
    }
}

fn entrypoint_item(entrypoint: &EntrypointStatus, now: &str) -> Markup {
    html! {
        div {
            dt { "Entrypoint " (entrypoint.entrypoint) }
            dd {
                (entrypoint.requests) @if entrypoint.requests == 1 { " request" } @else { " requests" }
                @if entrypoint.tunnelled > 0 { ", " (entrypoint.tunnelled) " tunnelled" }
                @if entrypoint.denied > 0 { ", " (entrypoint.denied) " denied" }
                @if let Some(at) = &entrypoint.last_at { span.muted { " last " (time_element(at, now)) } }
            }
        }
    }
}
