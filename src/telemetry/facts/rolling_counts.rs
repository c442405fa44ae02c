//! Counts of events in the last sixty periods: a ring that needs no timer, because a bucket whose
//! period has passed is cleared by the next write.

use crate::clock::Moment;

/// How many periods are kept.
const BUCKETS: usize = 60;
/// How many kinds of events are counted separately.
const CATEGORIES: usize = 5;

/// Counts by period and category.
#[derive(Clone, Debug)]
pub(crate) struct RollingCounts {
    /// The length of a period, in seconds.
    bucket_seconds: u64,
    buckets: [Bucket; BUCKETS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// The number of its period since the start. It begins at one, so that zero means no period.
    period: u64,
    counts: [u32; CATEGORIES],
}

impl RollingCounts {
    /// Counts of the last hour, per minute.
    pub(crate) fn last_hour() -> Self {
        Self {
            bucket_seconds: 60,
            buckets: [Bucket::default(); BUCKETS],
        }
    }

    /// Counts of the last day, per 24 minutes.
    pub(crate) fn last_day() -> Self {
        Self {
            bucket_seconds: 24 * 60,
            ..Self::last_hour()
        }
    }

    /// Adds one to `category`.
    pub(crate) fn increment(&mut self, category: usize, now: Moment) {
        let period = self.period(now);
        let Some(bucket) = self.buckets.get_mut(slot(period)) else {
            return;
        };
        if bucket.period != period {
            *bucket = Bucket {
                period,
                counts: [0; CATEGORIES],
            };
        }
        if let Some(count) = bucket.counts.get_mut(category) {
            *count = count.saturating_add(1);
        }
    }

    /// The counts of `category`, oldest period first; the last period is the current one.
    pub(crate) fn counts(&self, category: usize, now: Moment) -> Vec<u32> {
        let last = self.period(now);
        let at = |ago: u64| {
            let period = last.checked_sub(ago)?;
            let bucket = self
                .buckets
                .get(slot(period))
                .filter(|bucket| bucket.period == period)?;
            bucket.counts.get(category).copied()
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

fn slot(period: u64) -> usize {
    usize::try_from(period % BUCKETS as u64).unwrap_or_default()
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
        let mut counts = RollingCounts::last_hour();
        counts.increment(0, at(0));
        counts.increment(0, at(59));
        counts.increment(3, at(60));
        assert_eq!(counts.counts(0, at(60)).split_off(58), [2, 0]);
        assert_eq!(counts.counts(3, at(60)).split_off(58), [0, 1]);
        assert_eq!(counts.counts(0, at(3_599))[0], 2, "59 minutes ago");
        assert_eq!(
            counts.counts(0, at(3_600)).iter().sum::<u32>(),
            0,
            "an hour ago"
        );
        counts.increment(0, at(3_600));
        assert_eq!(
            counts.counts(0, at(3_600))[59],
            1,
            "the bucket was emptied before it counted again"
        );
    }

    #[test]
    fn an_idle_hour_shows_no_count_of_the_hour_before() {
        let mut counts = RollingCounts::last_hour();
        (0..3_600).for_each(|second| counts.increment(1, at(second)));
        assert_eq!(counts.counts(1, at(3_599)), [60; BUCKETS]);
        assert_eq!(counts.counts(1, at(9_000)), [0; BUCKETS]);
    }
}
