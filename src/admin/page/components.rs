//! Small pieces that the sections share: signs, times, prose.

use maud::{Markup, html};

use crate::status::short_time;

/// A state as a shape: seen without colour, and always beside its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusIcon {
    /// A disc with a tick.
    Good,
    /// A triangle.
    Warn,
    /// An octagon with a cross.
    Bad,
    /// A square with two bars.
    Paused,
}

/// Its drawing. The word stands beside it, so it says nothing itself.
pub(super) fn status_icon(sign: StatusIcon) -> Markup {
    html! {
        @match sign {
            StatusIcon::Good => svg.sign.good viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
                circle cx="8" cy="8" r="7.5" {} path.mark d="M4.6 8.3l2.4 2.4 4.4-5" {}
            },
            StatusIcon::Warn => svg.sign.warn viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
                path d="M8 .8l7.6 14H.4z" {} path.mark d="M8 6v4.2M8 12.4v.4" {}
            },
            StatusIcon::Bad => svg.sign.bad viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
                path d="M4.9.5h6.2l4.4 4.4v6.2l-4.4 4.4H4.9L.5 11.1V4.9z" {} path.mark d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6" {}
            },
            StatusIcon::Paused => svg.sign.paused viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
                rect x=".5" y=".5" width="15" height="15" rx="3" {} path.mark d="M6 5v6M10 5v6" {}
            },
        }
    }
}

/// A time of day, with the day if it is not today; the whole of it for machines and tooltips.
pub(super) fn time_element(at: &str, now: &str) -> Markup {
    html! { time datetime=(at) title=(at) { (short_time(at, now)) } }
}

/// A remedy, with the page of the service's console as a link. Remedies write it as
/// `console (https://…)`, from the description. No other address becomes a link, because a
/// provider's message may contain one.
pub(super) fn remedy_markup(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (link_console(part)) }
        }
    }
}

fn link_console(text: &str) -> Markup {
    const BEFORE: &str = " console (";
    let found = text
        .split_once(&format!("{BEFORE}https://"))
        .and_then(|(head, rest)| Some((head, rest.split_once(')')?)));
    match found {
        Some((head, (page, rest))) if is_plain_url(page) => html! {
            (head) (BEFORE) a href={ "https://" (page) } rel="noopener noreferrer" { "https://" (page) } ")" (link_console(rest))
        },
        Some(_) | None => html! { (text) },
    }
}

/// Host and path in plain letters: nobody's user info, no mark that a reader could take for another.
fn is_plain_url(page: &str) -> bool {
    page.starts_with(|c: char| c.is_ascii_alphanumeric())
        && page
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~/?#=&%:+".contains(c))
}

/// A sentence in which `` `this` `` is something to type.
pub(super) fn inline_code(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
