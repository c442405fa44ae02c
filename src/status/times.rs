//! Writes times for people: in UTC, and how far they are from the time of the status.

use std::time::Duration;

use jiff::Timestamp;

use crate::diagnosis::format_duration;

/// Below this age, in seconds, the exact age tells nobody anything.
const JUST_NOW: i64 = 5;

/// `16:20:05 UTC`, after the date if it is not today.
pub fn short_time(at: &str, now: &str) -> String {
    let parts = |text: &str| {
        text.split_once('T')
            .map(|(day, time)| (day.to_owned(), time.trim_end_matches('Z').to_owned()))
    };
    match (parts(at), parts(now)) {
        (Some((day, time)), Some((today, _))) if day == today => format!("{time} UTC"),
        (Some((day, time)), _) => format!("{day} {time} UTC"),
        (None, _) => at.to_owned(),
    }
}

/// `in 47 s`, `just now`, `3 min ago`; none if one of both is not a time.
pub fn relative_time(at: &str, now: &str) -> Option<String> {
    let second = |text: &str| text.parse().map(Timestamp::as_second).ok();
    let ahead = second(at)? - second(now)?;
    let distance = format_duration(Duration::from_secs(ahead.unsigned_abs()));
    Some(match ahead {
        1.. => format!("in {distance}"),
        0 => "just now".to_owned(),
        past if past > -JUST_NOW => "just now".to_owned(),
        _ => format!("{distance} ago"),
    })
}

/// Whether `at` is at most an hour before `now`.
pub(super) fn is_within_an_hour(at: &str, now: &str) -> bool {
    let second = |text: &str| text.parse().map(Timestamp::as_second).ok();
    second(at)
        .zip(second(now))
        .is_some_and(|(at, now)| now - at <= 3_600)
}

/// `16:20:05 UTC (3 min ago)`.
pub fn full_time(at: &str, now: &str) -> String {
    let short = short_time(at, now);
    match relative_time(at, now) {
        Some(relative) => format!("{short} ({relative})"),
        None => short,
    }
}

/// A part of a sentence of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentencePart<'a> {
    /// Words.
    Words(&'a str),
    /// A time as [`short_time`] writes it.
    Time(&'a str),
}

/// Splits a sentence at the times that [`short_time`] wrote into it.
pub fn split_times(sentence: &str) -> Vec<SentencePart<'_>> {
    let mut parts = Vec::new();
    let mut rest = sentence;
    let mut searched = 0;
    while let Some(found) = rest.get(searched..).and_then(|text| text.find(UTC)) {
        let end = searched + found + UTC.len();
        let (before, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        match time_start(before) {
            Some(start) => {
                let (words, time) = before.split_at_checked(start).unwrap_or((before, ""));
                parts.push(SentencePart::Words(words));
                parts.push(SentencePart::Time(time));
                rest = after;
                searched = 0;
            }
            None => searched = end,
        }
    }
    parts.push(SentencePart::Words(rest));
    parts.retain(|part| *part != SentencePart::Words(""));
    parts
}

/// The sentence with the distance behind each time.
pub fn add_distances(sentence: &str, now: &str) -> String {
    split_times(sentence)
        .into_iter()
        .map(|part| match part {
            SentencePart::Words(words) => words.to_owned(),
            SentencePart::Time(time) => match parse_short_time(time, now) {
                Some(at) => full_time(&at, now),
                None => time.to_owned(),
            },
        })
        .collect()
}

/// The time that [`short_time`] wrote, with the day of the status if it wrote none; none if it is not one.
pub fn parse_short_time(time: &str, now: &str) -> Option<String> {
    let time = time.strip_suffix(UTC)?;
    let (day, clock) = match time.split_once(' ') {
        Some(parts) => parts,
        None => (now.split_once('T')?.0, time),
    };
    let at = format!("{day}T{clock}Z");
    at.parse::<Timestamp>().ok().map(|_| at)
}

const UTC: &str = " UTC";
const CLOCK: &str = "00:00:00 UTC";
const DAY_AND_CLOCK: &str = "0000-00-00 00:00:00 UTC";

/// Where a time begins at the end of `text`.
fn time_start(text: &str) -> Option<usize> {
    [DAY_AND_CLOCK, CLOCK].iter().find_map(|shape| {
        let start = text.len().checked_sub(shape.len())?;
        has_shape(text.get(start..)?, shape).then_some(start)
    })
}

/// Whether `text` has a digit where the shape has a zero, and the same character elsewhere.
fn has_shape(text: &str, shape: &str) -> bool {
    text.chars()
        .zip(shape.chars())
        .all(|(shown, wanted)| shown == wanted || (wanted == '0' && shown.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2026-11-25T16:20:00Z";

    #[test]
    fn a_time_is_shown_in_utc_and_by_its_distance() {
        for (at, text) in [
            ("2026-11-25T16:20:47Z", "16:20:47 UTC (in 47 s)"),
            ("2026-11-25T16:20:00Z", "16:20:00 UTC (just now)"),
            ("2026-11-25T16:19:56Z", "16:19:56 UTC (just now)"),
            ("2026-11-25T16:19:55Z", "16:19:55 UTC (5 s ago)"),
            ("2026-11-25T16:17:00Z", "16:17:00 UTC (3 min ago)"),
            ("2026-11-24T16:20:00Z", "2026-11-24 16:20:00 UTC (24 h ago)"),
            (
                "2027-11-25T16:20:00Z",
                "2027-11-25 16:20:00 UTC (in 365 days)",
            ),
            ("soon", "soon"),
        ] {
            assert_eq!(full_time(at, NOW), text);
        }
    }

    #[test]
    fn times_are_found_in_a_sentence() {
        use SentencePart::{Time, Words};
        for (sentence, parts) in [
            ("in use", vec![Words("in use")]),
            (
                "one message may try it at 16:20:47 UTC",
                vec![Words("one message may try it at "), Time("16:20:47 UTC")],
            ),
            (
                "since 2026-11-24 09:00:00 UTC, until 10:00:00 UTC.",
                vec![
                    Words("since "),
                    Time("2026-11-24 09:00:00 UTC"),
                    Words(", until "),
                    Time("10:00:00 UTC"),
                    Words("."),
                ],
            ),
            (
                "UTC UTC 1:2:3 UTC é:00:00 UTC 16:20:00 UTC",
                vec![
                    Words("UTC UTC 1:2:3 UTC é:00:00 UTC "),
                    Time("16:20:00 UTC"),
                ],
            ),
        ] {
            assert_eq!(split_times(sentence), parts);
        }
    }

    #[test]
    fn a_sentence_gets_the_distance_of_each_time() {
        assert_eq!(
            add_distances("from 16:19:00 UTC to 16:21:30 UTC, not 99:00:00 UTC", NOW),
            "from 16:19:00 UTC (60 s ago) to 16:21:30 UTC (in 90 s), not 99:00:00 UTC"
        );
    }

    #[test]
    fn a_short_time_is_read_back() {
        for at in [NOW, "2026-11-24T23:59:59Z", "2027-01-01T00:00:00Z"] {
            let short = short_time(at, NOW);
            assert_eq!(split_times(&short), [SentencePart::Time(&short)]);
            assert_eq!(parse_short_time(&short, NOW).as_deref(), Some(at));
        }
        for wrong in ["25:00:00 UTC", "2026-13-01 00:00:00 UTC", "16:20:00", ""] {
            assert_eq!(parse_short_time(wrong, NOW), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_sentence(sentence in "([0-9]{2}:[0-9]{2}:[0-9]{2}| UTC|[a-zé -]{0,9}){0,8}") {
            let text: String = split_times(&sentence)
                .into_iter()
                .map(|part| match part {
                    SentencePart::Words(text) | SentencePart::Time(text) => text,
                })
                .collect();
            prop_assert_eq!(text, sentence);
        }
    }
}
