//! The last hour of one provider as a chart. Accepted sends are above the line and the others below it, so
//! that the position shows a problem before the colour does. The counts are next to it as text.

use maud::{Markup, html};

use crate::status::SendsLastHour;

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

/// The chart, hidden from screen readers, which read the counts as text.
pub(super) fn hour_chart(hour: &SendsLastHour) -> Markup {
    let (minutes, bars) = (hour.accepted.len(), bars(hour));
    html! {
        svg.strip viewBox={ "0 0 " (minutes * MINUTE_WIDTH) " " (ACCEPTED_HEIGHT + FAILED_HEIGHT + 1) } preserveAspectRatio="none" aria-hidden="true" focusable="false" {
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
