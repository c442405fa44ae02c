//! Each provider: how it stands, why, and what to do, before what it costs and carries.

use maud::{Markup, html};

use crate::admin::page::parts::{Sign, advice, clock_of, prose, sign};
use crate::admin::page::strip::strip;
use crate::diagnosis::span;
use crate::telemetry::status::{Provider, Status};

/// All of them, those that are out first.
pub(super) fn section(status: &Status) -> Markup {
    html! {
        section aria-labelledby="providers" {
            h2 #providers { "Providers" }
            @for (at, provider) in status.providers.iter().enumerate() { (one(provider, at, &status.at)) }
            p.legend {
                "Each strip is the last hour, a minute a bar: "
                span.key.accepted { "accepted" } " stands; " span.key.refused { "refused" } ", " span.key.unknown { "unknown" } " and "
                span.key.unsent { "unsent" } " hang below the line."
            }
        }
    }
}

fn one(provider: &Provider, at: usize, now: &str) -> Markup {
    let (state, shape) = state(provider);
    html! {
        article.provider.(state) aria-labelledby={ "provider-" (at) } {
            header {
                (sign(shape))
                div {
                    h3 #{ "provider-" (at) } { (provider.provider) }
                    p.muted { (provider.dialect) " · " (provider.base_url) }
                }
                p.standing {
                    strong { (provider.says) }
                    @if let Some(since) = provider.since.as_ref().filter(|_| provider.standing != "open") {
                        span.muted { " since " (clock_of(since, now)) }
                    }
                }
            }
            (why(provider))
            figure {
                (strip(&provider.hour))
                figcaption { "Last hour: " (provider.hour.says()) }
            }
            (facts(provider, now))
        }
    }
}

/// How it stands, as a class and a shape.
pub(super) fn state(provider: &Provider) -> (&'static str, Sign) {
    match provider.standing.as_str() {
        "resting" => ("warn", Sign::Warn),
        "paused" => ("paused", Sign::Paused),
        _ if provider.can_deliver && provider.failed_at.is_some() => ("warn", Sign::Warn),
        _ if provider.can_deliver => ("good", Sign::Good),
        _ => ("bad", Sign::Bad),
    }
}

/// Why it is out, and the line one acts on.
fn why(provider: &Provider) -> Markup {
    let certainty = provider.certainty.as_deref();
    html! {
        @if provider.cause.is_some() || provider.evidence.is_some() || provider.remedy.is_some() {
            dl.why {
                @if let Some(cause) = &provider.cause {
                    div.cause {
                        dt { "Cause" }
                        dd {
                            strong { (cause) }
                            @if let Some(certainty) = certainty { " " span.certainty { (certainty) } }
                            @if !provider.alternatives.is_empty() { span.muted { " or " (provider.alternatives.join(" or ")) } }
                        }
                    }
                }
                @if let Some(remedy) = &provider.remedy { div.remedy { dt { "To do" } dd { (advice(remedy)) } } }
                @if let Some(evidence) = &provider.evidence { div.evidence { dt { "Evidence" } dd { (prose(evidence)) } } }
            }
        }
    }
}

fn facts(provider: &Provider, now: &str) -> Markup {
    html! {
        dl.facts {
            @if let Some(entry) = &provider.credential {
                div {
                    dt { "Credential" }
                    dd {
                        @if provider.credential_version == 0 { "never read" } @else { "version " (provider.credential_version) }
                        @if let Some(age) = provider.credential_age_seconds { ", " (span(std::time::Duration::from_secs(age))) " old" }
                        span.muted { " " (entry) }
                    }
                }
            }
            @if let Some(end) = &provider.token_expires { div { dt { "Token until" } dd { (clock_of(end, now)) } } }
            @if let Some(balance) = &provider.balance {
                div {
                    dt { "Balance" }
                    dd {
                        (amount(balance.value)) " " (balance.unit)
                        @if let Some(days) = balance.days() { ", about " (amount(days.round())) " days" }
                        span.muted {
                            " said at " (clock_of(&balance.at, now))
                            @if let Some(pace) = balance.spent_a_day { "; " (amount(pace.round())) " go in a day" }
                        }
                    }
                }
            }
            @if provider.day.sent > 0 {
                div { dt { "Last day" } dd { (provider.day.accepted) " of " (provider.day.sent) " accepted" } }
            }
        }
    }
}

/// `12 450.5`: thousands apart, no digits that say nothing.
pub(super) fn amount(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push('\u{202f}');
        }
        apart.push(digit);
    }
    if rest.is_empty() { format!("{sign}{apart}") } else { format!("{sign}{apart}.{rest}") }
}
