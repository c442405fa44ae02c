//! The status page: markup from the status, and the few files that it loads from the same address. External
//! text is always escaped by the macro; no markup is built from a string, except the runbook, whose text is
//! compiled in. The page works without
//! JavaScript: `status.js` only fetches the page again and applies the changes.

mod components;
mod config;
mod hour_chart;
mod providers;
mod requests;
mod runbook;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, html};

use crate::admin::page::components::{StatusIcon, sentence, status_icon, time_element};
use crate::status::{Deliverability, RouteStatus, Status, short_time};

/// The files that the page loads: path, content type and content.
const ASSETS: [(&str, &str, &str); 3] = [
    (
        "/status.css",
        "text/css; charset=utf-8",
        include_str!("status.css"),
    ),
    (
        "/status.js",
        "text/javascript; charset=utf-8",
        include_str!("status.js"),
    ),
    ("/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// A file of the page, or the runbook, with its content type.
pub(super) fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    if path == runbook::PATH {
        return Some(("text/html; charset=utf-8", runbook::page()));
    }
    ASSETS
        .iter()
        .find(|(name, ..)| *name == path)
        .map(|(_, kind, content)| (*kind, *content))
}

/// Renders the page. `waiting` lists the components that are not ready yet.
pub(super) fn render_page(status: &Status, waiting: &[&str]) -> String {
    let location = status.location();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (status.headline.summary) @if !location.is_empty() { " · " (location) } " · sms-sidecar" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/status.css";
                script src="/status.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the answer" }
                header.top {
                    p.name { "sms-sidecar" @if !location.is_empty() { " " span.location { (location) } } }
                    p #copied .hidden role="status" {}
                    p.fresh { span #fresh role="status" { "Snapshot" } ", as of " span #asof { time datetime=(status.at) title=(status.at) { (short_time(&status.at, &status.at)) span.beside {} } } }
                    noscript { p.fresh { a href="/" { "Load it again" } } }
                }
                main #main tabindex="-1" { (content(status, waiting)) }
                footer {
                    nav aria-label="Other pages" {
                        a href="/status.json" { "status.json" } " " a href=(runbook::PATH) { "runbook" } " " a href="/metrics" { "metrics" } " " a href="/ready" { "ready" } " "
                        a href="/live" { "live" }
                    }
                    p { "Nothing here changes anything. All times are UTC" span #zone {} "." }
                }
            }
        }
    };
    page.into_string()
}

fn content(status: &Status, waiting: &[&str]) -> Markup {
    html! {
        (headline_section(status, waiting))
        @if !status.routes.is_empty() { (routes_section(status)) }
        @if !status.providers.is_empty() { (providers::section(status)) }
        (requests::section(status))
        @if !status.vaults.is_empty() { (config::vaults(status)) }
        (config::config(status))
    }
}

/// Whether codes arrive: the first question of an operator on call.
fn headline_section(status: &Status, waiting: &[&str]) -> Markup {
    let (state, shape) = match status.headline.deliverability {
        Deliverability::Delivering | Deliverability::Idle | Deliverability::Observing => {
            ("good", StatusIcon::Good)
        }
        Deliverability::OnBackup | Deliverability::Failing | Deliverability::Partial => {
            ("warn", StatusIcon::Warn)
        }
        Deliverability::Unavailable | Deliverability::NotConfigured => ("bad", StatusIcon::Bad),
    };
    html! {
        section.answer.(state) aria-labelledby="answer" {
            p.question { "Do codes arrive?" }
            div aria-live="polite" aria-atomic="true" {
                h1 #answer { (status_icon(shape)) " " span { (status.headline.summary) } }
            }
            p.because { (sentence(&status.headline.details, &status.at)) }
            @if !status.headline.warnings.is_empty() || !waiting.is_empty() {
                ul.also {
                    @if !waiting.is_empty() { li { (status_icon(StatusIcon::Warn)) " Not ready yet; waiting for: " (waiting.join(", ")) "." } }
                    @for also in &status.headline.warnings { li { (status_icon(StatusIcon::Warn)) " " (sentence(also, &status.at)) } }
                }
            }
        }
    }
}

fn routes_section(status: &Status) -> Markup {
    html! {
        section.route-list aria-labelledby="routes" {
            h2 #routes { "Routes" }
            ul.routes { @for route in &status.routes { li { (route_item(route, status)) } } }
        }
    }
}

fn route_item(route: &RouteStatus, status: &Status) -> Markup {
    let shape = match (
        route.can_deliver,
        route
            .providers
            .iter()
            .all(|name| status.provider(name).is_some_and(|it| it.can_deliver)),
    ) {
        (true, true) => StatusIcon::Good,
        (true, false) if route.observe => StatusIcon::Good,
        (true, false) => StatusIcon::Warn,
        (false, _) => StatusIcon::Bad,
    };
    html! {
        (status_icon(shape))
        div {
            h3 { (route.route) @if !route.recipients.is_empty() { span.muted { " to " (route.recipients.join(" ")) } } }
            p { (sentence(&route.summary, &status.at)) }
            p.order {
                span.hidden { "In this order: " }
                @for (at, name) in route.providers.iter().enumerate() {
                    @if at > 0 { span.arrow aria-hidden="true" { " → " } }
                    @let provider = status.provider(name);
                    span.member {
                        (status_icon(provider.map_or(StatusIcon::Bad, |provider| providers::state_class_and_icon(provider).1))) " " (name)
                        span.hidden { @if provider.is_some_and(|provider| provider.can_deliver) { " (in use) " } @else { " (out) " } }
                    }
                }
            }
            @if let Some(since) = &route.backup_since { p.muted { "On a backup since " (time_element(since, &status.at)) } }
        }
    }
}
