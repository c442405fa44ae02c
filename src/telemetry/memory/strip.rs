//! How often what happened in each of the last sixty spans of time: a ring that needs no tidying,
//! because a bucket whose span has passed is emptied by whoever touches it next.

use crate::clock::Moment;

/// So many spans are kept.
const SPANS: usize = 60;
/// Words a strip counts apart.
const WORDS: usize = 4;

/// Counts by span and word.
#[derive(Clone, Debug)]
pub(crate) struct Strip {
    /// Of one span, in seconds.
    width: u64,
    buckets: [Bucket; SPANS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which span since the start it counts; counted from one, so that zero is none.
    span: u64,
    counts: [u32; WORDS],
}

impl Strip {
    /// Of the last hour, by the minute.
    pub(crate) fn of_an_hour() -> Self {
        Self { width: 60, buckets: [Bucket::default(); SPANS] }
    }

    /// Of the last day.
    pub(crate) fn of_a_day() -> Self {
        Self { width: 24 * 60, ..Self::of_an_hour() }
    }

    /// One more of `word`.
    pub(crate) fn count(&mut self, word: usize, now: Moment) {
        let span = self.span(now);
        let Some(bucket) = self.buckets.get_mut(place(span)) else { return };
        if bucket.span != span {
            *bucket = Bucket { span, counts: [0; WORDS] };
        }
        if let Some(count) = bucket.counts.get_mut(word) {
            *count = count.saturating_add(1);
        }
    }

    /// The counts of `word`, oldest span first; the last one is the span that runs.
    pub(crate) fn row(&self, word: usize, now: Moment) -> Vec<u32> {
        let last = self.span(now);
        let at = |ago: u64| {
            let span = last.checked_sub(ago)?;
            let bucket = self.buckets.get(place(span)).filter(|bucket| bucket.span == span)?;
            bucket.counts.get(word).copied()
        };
        (0..SPANS as u64).rev().map(|ago| at(ago).unwrap_or_default()).collect()
    }

    fn span(&self, now: Moment) -> u64 {
        now.0.as_secs() / self.width + 1
    }
}

fn place(span: u64) -> usize {
    usize::try_from(span % SPANS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn the_last_hour_is_kept_and_nothing_older() {
        let mut strip = Strip::of_an_hour();
        strip.count(0, at(0));
        strip.count(0, at(59));
        strip.count(3, at(60));
        assert_eq!(strip.row(0, at(60)).split_off(58), [2, 0]);
        assert_eq!(strip.row(3, at(60)).split_off(58), [0, 1]);
        assert_eq!(strip.row(0, at(3_599))[0], 2, "59 minutes ago");
        assert_eq!(strip.row(0, at(3_600)).iter().sum::<u32>(), 0, "an hour ago");
        strip.count(0, at(3_600));
        assert_eq!(strip.row(0, at(3_600))[59], 1, "the bucket was emptied before it counted again");
    }

    #[test]
    fn an_hour_of_silence_shows_nothing_of_the_hour_before() {
        let mut strip = Strip::of_an_hour();
        (0..3_600).for_each(|second| strip.count(1, at(second)));
        assert_eq!(strip.row(1, at(3_599)), [60; SPANS]);
        assert_eq!(strip.row(1, at(9_000)), [0; SPANS]);
    }
}
