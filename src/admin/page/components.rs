//! Components that the sections share: icons, times and text.

use maud::{Markup, html};

use crate::diagnosis::RemedyStep;
use crate::status::{SentencePart, parse_short_time, relative_time, short_time, split_times};

/// A state as a shape that is recognisable without colour and is always next to a text.
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

/// The icon's drawing. It is hidden from screen readers, because its text is next to it.
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

/// A time of day, with the date if it is not today, and how far it is from now. Programs and tooltips get
/// the full timestamp. The script adds the time of the reader's own time zone to `.beside`.
pub(super) fn time_element(at: &str, now: &str) -> Markup {
    html! {
        time datetime=(at) title=(at) {
            (short_time(at, now))
            @if let Some(distance) = relative_time(at, now) { span.beside { " (" (distance) ")" } }
        }
    }
}

/// A sentence of the status in which each time and each `` `command` `` is marked up.
pub(super) fn sentence(text: &str, now: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (times_marked_up(part, now)) }
        }
    }
}

fn times_marked_up(text: &str, now: &str) -> Markup {
    html! {
        @for part in split_times(text) {
            @match part {
                SentencePart::Words(words) => (words),
                SentencePart::Time(time) => @match parse_short_time(time, now) {
                    Some(at) => (time_element(&at, now)),
                    None => (time),
                },
            }
        }
    }
}

/// A remedy, step by step. A command stands alone, where a click selects it; the script adds a button that
/// copies it.
pub(super) fn remedy_markup(steps: &[RemedyStep]) -> Markup {
    html! {
        @if let [step] = steps { (step_markup(step)) } @else { ol.steps { @for step in steps { li { (step_markup(step)) } } } }
    }
}

fn step_markup(step: &RemedyStep) -> Markup {
    html! {
        (step_text(&step.text))
        @if let Some(command) = &step.command { div.command { pre { code { (command) } } } }
    }
}

/// The text of a step, with the address of the service's console as a link. In a remedy the address has the form
/// `console (https://…)` and comes from the description. No other address becomes a link, because
/// a provider's message may contain one.
fn step_text(text: &str) -> Markup {
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

/// Only plain ASCII in host and path: no user info, and no character that looks like another one.
fn is_plain_url(page: &str) -> bool {
    page.starts_with(|c: char| c.is_ascii_alphanumeric())
        && page
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~/?#=&%:+".contains(c))
}

/// A text in which `` `this` `` becomes code.
pub(super) fn inline_code(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
