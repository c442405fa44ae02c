//! Each provider: first its state, its cause and its remedy, then its balance and traffic.

use maud::{Markup, html};

use crate::admin::page::components::{
    StatusIcon, inline_code, remedy_markup, sentence, status_icon, time_element,
};
use crate::admin::page::hour_chart::hour_figure;
use crate::admin::page::runbook::cause_link;
use crate::diagnosis::format_duration;
use crate::sms::Cause;
use crate::status::{ProviderStatus, Status};

/// All providers, unavailable ones first.
pub(super) fn section(status: &Status) -> Markup {
    html! {
        section.provider-list aria-labelledby="providers" {
            h2 #providers { "Providers" }
            @for (at, provider) in status.providers.iter().enumerate() { (provider_card(provider, at, &status.at)) }
            p.legend {
                "Each strip is the last hour, one bar a minute. Above the line: " span.key.accepted { "accepted" } ". Below it: "
                span.key.rejected { "rejected" } ", " span.key.unknown { "unknown" } " and " span.key.unsent { "unsent" } "."
            }
        }
    }
}

fn provider_card(provider: &ProviderStatus, at: usize, now: &str) -> Markup {
    let (state, shape) = state_class_and_icon(provider);
    html! {
        article.provider.(state) aria-labelledby={ "provider-" (at) } {
            header {
                (status_icon(shape))
                div {
                    h3 #{ "provider-" (at) } { (provider.provider) }
                    p.muted { (provider.dialect) " · " (provider.base_url) }
                }
                p.state {
                    strong { (sentence(&provider.summary, now)) }
                    @if let Some(since) = provider.since.as_ref().filter(|_| provider.state != "healthy") {
                        span.muted { " since " (time_element(since, now)) }
                    }
                }
            }
            (cause_details(provider))
            (hour_figure(&provider.hour))
            (provider_facts(provider, now))
        }
    }
}

/// The provider's state as a CSS class and an icon.
pub(super) fn state_class_and_icon(provider: &ProviderStatus) -> (&'static str, StatusIcon) {
    match provider.state.as_str() {
        "cooldown" => ("warn", StatusIcon::Warn),
        "paused" => ("paused", StatusIcon::Paused),
        _ if provider.can_deliver && provider.failed_at.is_some() => ("warn", StatusIcon::Warn),
        _ if provider.can_deliver => ("good", StatusIcon::Good),
        _ => ("bad", StatusIcon::Bad),
    }
}

/// Why the provider is unavailable, and the remedy.
fn cause_details(provider: &ProviderStatus) -> Markup {
    let certainty = provider.certainty.as_deref();
    html! {
        @if provider.cause.is_some() || provider.evidence.is_some() || !provider.steps.is_empty() {
            dl.why {
                @if let Some(cause) = &provider.cause {
                    div.cause {
                        dt { "Cause" }
                        dd {
                            strong { (cause_link(cause)) }
                            @if let Some(certainty) = certainty { " " span.certainty { (certainty) } }
                            @if !provider.alternatives.is_empty() { (candidates(cause, &provider.alternatives)) }
                        }
                    }
                }
                @if !provider.steps.is_empty() { div.remedy { dt { "To do" } dd { (remedy_markup(&provider.steps)) } } }
                @if let Some(evidence) = &provider.evidence { div.evidence { dt { "Evidence" } dd { (inline_code(evidence)) } } }
            }
        }
    }
}

/// The possible causes, in the order in which to check them.
fn candidates(cause: &str, alternatives: &[String]) -> Markup {
    let meaning = |cause: &str| cause.parse().map(Cause::meaning).ok();
    html! {
        p { "It can be one of these. Check them in this order:" }
        ol.candidates {
            @for cause in std::iter::once(cause).chain(alternatives.iter().map(String::as_str)) {
                li { (cause_link(cause)) @if let Some(meaning) = meaning(cause) { span.muted { ": " (meaning) } } }
            }
        }
    }
}

fn provider_facts(provider: &ProviderStatus, now: &str) -> Markup {
    html! {
        dl.facts {
            @if let Some(entry) = &provider.credential {
                div {
                    dt { "Credential" }
                    dd {
                        @if provider.credential_version == 0 { "never read" } @else { "version " (provider.credential_version) }
                        @if let Some(age) = provider.credential_age_seconds { ", " (format_duration(std::time::Duration::from_secs(age))) " old" }
                        span.muted { " " (entry) }
                    }
                }
            }
            @if let Some(end) = &provider.token_expires_at { div { dt { "Token until" } dd { (time_element(end, now)) } } }
            @if let Some(balance) = &provider.balance {
                div {
                    dt { "Balance" }
                    dd {
                        (format_amount(balance.value)) " " (balance.unit)
                        @if let Some(days) = balance.days_left() { ", about " (format_amount(days.round())) " days" }
                        span.muted {
                            " said at " (time_element(&balance.at, now))
                            @if let Some(pace) = balance.daily_spend { "; " (format_amount(pace.round())) " go in a day" }
                        }
                    }
                }
            }
            @if let Some(at) = &provider.last_accepted_at { div { dt { "Last accepted" } dd { (time_element(at, now)) } } }
            @if provider.recent.sent > 0 { div { dt { "Last 15 min" } dd { (provider.recent.summary()) } } }
            @if provider.day.sent > 0 {
                div { dt { "Last day" } dd { (provider.day.accepted) " of " (provider.day.sent) " accepted" } }
            }
        }
    }
}

/// `12 450.5`: with thousands separators and without trailing zeros.
pub(super) fn format_amount(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", whole), |digits| ("-", digits));
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push('\u{202f}');
        }
        apart.push(digit);
    }
    if rest.is_empty() {
        format!("{sign}{apart}")
    } else {
        format!("{sign}{apart}.{rest}")
    }
}
