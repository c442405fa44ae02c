//! How often what happened in each of the last sixty spans of time: a ring that needs no tidying,
//! because a bucket whose span has passed is emptied by whoever touches it next.

use crate::clock::Moment;

/// So many spans are kept.
const BUCKETS: usize = 60;
/// Words a strip counts apart.
const CATEGORIES: usize = 4;

/// Counts by span and word.
#[derive(Clone, Debug)]
pub(crate) struct RollingCounts {
    /// Of one span, in seconds.
    bucket_seconds: u64,
    buckets: [Bucket; BUCKETS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which span since the start it counts; counted from one, so that zero is none.
    period: u64,
    counts: [u32; CATEGORIES],
}

impl RollingCounts {
    /// Of the last hour, by the minute.
    pub(crate) fn last_hour() -> Self {
        Self {
            bucket_seconds: 60,
            buckets: [Bucket::default(); BUCKETS],
        }
    }

    /// Of the last day.
    pub(crate) fn last_day() -> Self {
        Self {
            bucket_seconds: 24 * 60,
            ..Self::last_hour()
        }
    }

    /// One more of `word`.
    pub(crate) fn increment(&mut self, word: usize, now: Moment) {
        let span = self.period(now);
        let Some(bucket) = self.buckets.get_mut(slot(span)) else {
            return;
        };
        if bucket.period != span {
            *bucket = Bucket {
                period: span,
                counts: [0; CATEGORIES],
            };
        }
        if let Some(count) = bucket.counts.get_mut(word) {
            *count = count.saturating_add(1);
        }
    }

    /// The counts of `word`, oldest span first; the last one is the span that runs.
    pub(crate) fn counts(&self, word: usize, now: Moment) -> Vec<u32> {
        let last = self.period(now);
        let at = |ago: u64| {
            let span = last.checked_sub(ago)?;
            let bucket = self
                .buckets
                .get(slot(span))
                .filter(|bucket| bucket.period == span)?;
            bucket.counts.get(word).copied()
        };
        (0..BUCKETS as u64)
            .rev()
            .map(|ago| at(ago).unwrap_or_default())
            .collect()
    }

    fn period(&self, now: Moment) -> u64 {
        now.0.as_secs() / self.bucket_seconds + 1
    }
}

fn slot(span: u64) -> usize {
    usize::try_from(span % BUCKETS as u64).unwrap_or_default()
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
        let mut strip = RollingCounts::last_hour();
        strip.increment(0, at(0));
        strip.increment(0, at(59));
        strip.increment(3, at(60));
        assert_eq!(strip.counts(0, at(60)).split_off(58), [2, 0]);
        assert_eq!(strip.counts(3, at(60)).split_off(58), [0, 1]);
        assert_eq!(strip.counts(0, at(3_599))[0], 2, "59 minutes ago");
        assert_eq!(
            strip.counts(0, at(3_600)).iter().sum::<u32>(),
            0,
            "an hour ago"
        );
        strip.increment(0, at(3_600));
        assert_eq!(
            strip.counts(0, at(3_600))[59],
            1,
            "the bucket was emptied before it counted again"
        );
    }

    #[test]
    fn an_hour_of_silence_shows_nothing_of_the_hour_before() {
        let mut strip = RollingCounts::last_hour();
        (0..3_600).for_each(|second| strip.increment(1, at(second)));
        assert_eq!(strip.counts(1, at(3_599)), [60; BUCKETS]);
        assert_eq!(strip.counts(1, at(9_000)), [0; BUCKETS]);
    }
}
