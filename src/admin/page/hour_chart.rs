//! The last hour of one provider as a chart. Accepted sends are above the line and the others below it, so
//! that the position shows a problem before the colour does. Below it are the time axis and, as text, what
//! the chart shows; the colours of the counts are its legend.

use maud::{Markup, html};

use crate::status::{SendsLastHour, sum};

/// Height of the areas above and below the line, in units of the drawing.
const ACCEPTED_HEIGHT: u32 = 30;
const FAILED_HEIGHT: u32 = 18;
/// Width of a minute, including the gap after its bar.
const MINUTE_WIDTH: usize = 4;
/// Keeps every count above zero visible.
const MIN_BAR_HEIGHT: u32 = 2;

/// One bar.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    class: &'static str,
    x: usize,
    y: u32,
    height: u32,
}

/// Every quarter of an hour has a mark and a label.
const MARK_MINUTES: usize = 15;

/// The chart with its axis and its text.
pub(super) fn hour_figure(hour: &SendsLastHour) -> Markup {
    html! {
        figure {
            (hour_chart(hour))
            div.axis aria-hidden="true" { @for label in axis_labels(hour.accepted.len()) { span { (label) } } }
            figcaption {
                "Last hour: "
                @if hour.busiest_minute() == 0 { "nothing was sent" } @else { (counts(hour)) "; at most " (hour.busiest_minute()) " in a minute" }
                @if let Some(ago) = hour.last_failure_minutes_ago() { "; the last failure " (minutes_ago(ago)) }
            }
        }
    }
}

/// The counts above zero, each in the colour of its bars.
fn counts(hour: &SendsLastHour) -> Markup {
    let rows = hour.by_outcome();
    let counts = rows.iter().map(|(word, row)| (*word, sum(row)));
    let shown: Vec<(&str, u64)> = counts.filter(|(_, count)| *count > 0).collect();
    html! {
        @for (at, (word, count)) in shown.iter().enumerate() {
            @if at > 0 { ", " } span class={ "key " (word) } { (count) " " (word) }
        }
    }
}

/// `1 h ago`, `45 min`, `30 min`, `15 min`, `now`.
fn axis_labels(minutes: usize) -> Vec<String> {
    let label = |ago: usize| match ago {
        0 => "now".to_owned(),
        60 => "1 h ago".to_owned(),
        ago => format!("{ago} min"),
    };
    (0..=minutes)
        .rev()
        .step_by(MARK_MINUTES)
        .map(label)
        .collect()
}

fn minutes_ago(minutes: usize) -> String {
    match minutes {
        0 => "less than a minute ago".to_owned(),
        minutes => format!("{minutes} min ago"),
    }
}

/// The drawing, hidden from screen readers, which read the same as text.
fn hour_chart(hour: &SendsLastHour) -> Markup {
    let (minutes, bars) = (hour.accepted.len(), bars(hour));
    html! {
        svg.strip viewBox={ "0 0 " (minutes * MINUTE_WIDTH) " " (ACCEPTED_HEIGHT + FAILED_HEIGHT + 1) } preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for mark in (0..=minutes).step_by(MARK_MINUTES) { rect.mark x=(mark * MINUTE_WIDTH) y="0" width=".6" height=(ACCEPTED_HEIGHT + FAILED_HEIGHT + 1) {} }
            @for bar in &bars { rect class=(bar.class) x=(bar.x) y=(bar.y) width=(MINUTE_WIDTH - 1) height=(bar.height) {} }
            rect.line x="0" y=(ACCEPTED_HEIGHT) width=(minutes * MINUTE_WIDTH) height="1" {}
        }
    }
}

fn bars(hour: &SendsLastHour) -> Vec<Bar> {
    let rows = hour.by_outcome();
    let [(_, accepted), failures @ ..] = rows;
    let failed = |minute: usize| {
        failures
            .iter()
            .filter_map(|(_, row)| row.get(minute))
            .sum::<u32>()
    };
    let most_up = accepted.iter().copied().max().unwrap_or_default();
    let most_down = (0..accepted.len()).map(failed).max().unwrap_or_default();
    // Both sides share one scale, so that bars for equal counts have equal heights.
    let scale = most_up
        .max((most_down * ACCEPTED_HEIGHT).div_ceil(FAILED_HEIGHT))
        .max(ACCEPTED_HEIGHT / 6);
    let tall = |count: u32, room: u32| {
        if count == 0 {
            0
        } else {
            (count * ACCEPTED_HEIGHT)
                .div_ceil(scale)
                .clamp(MIN_BAR_HEIGHT, room.max(MIN_BAR_HEIGHT))
        }
    };
    let mut bars = Vec::new();
    for (minute, count) in accepted.iter().enumerate() {
        let height = tall(*count, ACCEPTED_HEIGHT);
        if height > 0 {
            bars.push(Bar {
                class: "accepted",
                x: minute * MINUTE_WIDTH,
                y: ACCEPTED_HEIGHT - height,
                height,
            });
        }
        let mut below = ACCEPTED_HEIGHT + 1;
        for (word, row) in failures {
            let height = tall(
                row.get(minute).copied().unwrap_or_default(),
                (ACCEPTED_HEIGHT + 1 + FAILED_HEIGHT).saturating_sub(below),
            );
            if height > 0 {
                bars.push(Bar {
                    class: word,
                    x: minute * MINUTE_WIDTH,
                    y: below,
                    height,
                });
                below += height;
            }
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(accepted: u32, refused: u32, unknown: u32) -> SendsLastHour {
        SendsLastHour {
            accepted: vec![0, accepted],
            rejected: vec![0, refused],
            unknown: vec![0, unknown],
            unsent: vec![0, 0],
        }
    }

    #[test]
    fn accepted_sends_are_above_the_line_and_the_others_below() {
        let bars = bars(&hour(60, 20, 10));
        assert_eq!(
            bars.iter()
                .map(|bar| (bar.class, bar.x, bar.y, bar.height))
                .collect::<Vec<_>>(),
            [
                ("accepted", 4, 0, 30),
                ("rejected", 4, 31, 10),
                ("unknown", 4, 41, 5)
            ]
        );
        assert!(super::bars(&hour(0, 0, 0)).is_empty());
    }

    #[test]
    fn the_chart_has_an_axis_and_says_what_it_shows() {
        let row = |last: &[u32]| [vec![0; 60 - last.len()], last.to_vec()].concat();
        let busy = SendsLastHour {
            accepted: row(&[9, 0, 2]),
            rejected: row(&[3, 0, 0]),
            unknown: row(&[]),
            unsent: row(&[1, 0]),
        };
        let shown = |hour: &SendsLastHour| hour_figure(hour).into_string();
        let page = shown(&busy);
        for part in [
            "<span>1 h ago</span><span>45 min</span><span>30 min</span><span>15 min</span><span>now</span>",
            "<span class=\"key accepted\">11 accepted</span>, <span class=\"key rejected\">3 rejected</span>, \
             <span class=\"key unsent\">1 unsent</span>; at most 12 in a minute; the last failure 1 min ago<",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!(page.matches("class=\"mark\"").count(), 5);
        let quiet = shown(&SendsLastHour::default());
        assert!(
            quiet.contains("Last hour: nothing was sent</figcaption>"),
            "{quiet}"
        );
        let now = SendsLastHour {
            unknown: row(&[1]),
            ..busy
        };
        assert!(shown(&now).contains("the last failure less than a minute ago"));
    }

    #[test]
    fn one_failure_among_thousands_is_visible_and_thousands_stay_inside_the_chart() {
        let few = bars(&hour(10_000, 1, 1));
        assert_eq!(
            few.iter().map(|bar| bar.height).collect::<Vec<_>>(),
            [30, 2, 2]
        );
        for bar in bars(&hour(3, 10_000, 10_000)) {
            assert!(
                bar.y + bar.height <= ACCEPTED_HEIGHT + FAILED_HEIGHT + 3,
                "{bar:?}"
            );
        }
    }
}
