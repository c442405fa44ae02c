//! The status page: markup from the status, and the few files it loads from the same address. Whatever is
//! not ours is text here and escaped by the macro; no markup is made from a string. Works without
//! script; `status.js` only asks for this page again and takes over what changed.

mod calls;
mod parts;
mod providers;
mod setup;
mod strip;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, html};

use crate::admin::page::parts::{Sign, clock_of, prose, sign};
use crate::telemetry::status::{Able, Route, Status};

/// What the page loads: its path, kind and content.
const ASSETS: [(&str, &str, &str); 3] = [
    ("/status.css", "text/css; charset=utf-8", include_str!("status.css")),
    ("/status.js", "text/javascript; charset=utf-8", include_str!("status.js")),
    ("/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// A file of the page, with its kind.
pub(super) fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    ASSETS.iter().find(|(name, ..)| *name == path).map(|(_, kind, content)| (*kind, *content))
}

/// The page. `waiting` is what must be there before the sidecar is ready.
pub(super) fn page(status: &Status, waiting: &[&str]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (status.answer.says) " · sms-sidecar" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/status.css";
                script src="/status.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the answer" }
                header.top {
                    p.name { "sms-sidecar" }
                    p.fresh { span #fresh role="status" { "Snapshot" } ", as of " span #asof { (clock_of(&status.at, &status.at)) } }
                    noscript { p.fresh { a href="/" { "Load it again" } } }
                }
                main #main tabindex="-1" { (content(status, waiting)) }
                footer {
                    nav aria-label="Other pages" {
                        a href="/status.json" { "status.json" } " " a href="/metrics" { "metrics" } " " a href="/ready" { "ready" } " "
                        a href="/live" { "live" }
                    }
                    p { "Nothing here changes anything. All times are UTC." }
                }
            }
        }
    };
    page.into_string()
}

fn content(status: &Status, waiting: &[&str]) -> Markup {
    html! {
        (answer(status, waiting))
        @if !status.routes.is_empty() { (routes(status)) }
        @if !status.providers.is_empty() { (providers::section(status)) }
        (calls::section(status))
        @if !status.vaults.is_empty() { (setup::vaults(status)) }
        (setup::config(status))
    }
}

/// What somebody asks at night, answered before anything else.
fn answer(status: &Status, waiting: &[&str]) -> Markup {
    let (state, shape) = match status.answer.able {
        Able::Yes | Able::Idle | Able::Watching => ("good", Sign::Good),
        Able::Backup | Able::Failing | Able::Partly => ("warn", Sign::Warn),
        Able::No | Able::Nothing => ("bad", Sign::Bad),
    };
    html! {
        section.answer.(state) aria-labelledby="answer" {
            p.question { "Do codes arrive?" }
            div aria-live="polite" aria-atomic="true" {
                h1 #answer { (sign(shape)) " " span { (status.answer.says) } }
            }
            p.because { (status.answer.because) }
            @if !status.answer.also.is_empty() || !waiting.is_empty() {
                ul.also {
                    @if !waiting.is_empty() { li { (sign(Sign::Warn)) " Not ready yet; waiting for: " (waiting.join(", ")) "." } }
                    @for also in &status.answer.also { li { (sign(Sign::Warn)) " " (prose(also)) } }
                }
            }
        }
    }
}

fn routes(status: &Status) -> Markup {
    html! {
        section aria-labelledby="routes" {
            h2 #routes { "Routes" }
            ul.routes { @for route in &status.routes { li { (one_route(route, status)) } } }
        }
    }
}

fn one_route(route: &Route, status: &Status) -> Markup {
    let shape = match (route.can_deliver, route.providers.iter().all(|name| status.provider(name).is_some_and(|it| it.can_deliver))) {
        (true, true) => Sign::Good,
        (true, false) if route.observe => Sign::Good,
        (true, false) => Sign::Warn,
        (false, _) => Sign::Bad,
    };
    html! {
        (sign(shape))
        div {
            h3 { (route.route) @if !route.recipients.is_empty() { span.muted { " to " (route.recipients.join(" ")) } } }
            p { (route.says) }
            p.order {
                span.hidden { "In this order: " }
                @for (at, name) in route.providers.iter().enumerate() {
                    @if at > 0 { span.arrow aria-hidden="true" { " → " } }
                    @let provider = status.provider(name);
                    span.member {
                        (sign(provider.map_or(Sign::Bad, |provider| providers::state(provider).1))) " " (name)
                        span.hidden { @if provider.is_some_and(|provider| provider.can_deliver) { " (in use) " } @else { " (out) " } }
                    }
                }
            }
            @if let Some(since) = &route.backup_since { p.muted { "On a backup since " (clock_of(since, &status.at)) } }
        }
    }
}
