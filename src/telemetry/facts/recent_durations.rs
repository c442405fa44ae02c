//! How long the latest sends to one provider took. Only few are kept, so that the figure is about the present
//! and needs little memory.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// How many durations are kept.
const MAX_DURATIONS: usize = 200;

/// The latest durations, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentDurations(VecDeque<(Moment, Duration)>);

impl RecentDurations {
    /// Adds a duration.
    pub(crate) fn record(&mut self, duration: Duration, now: Moment) {
        if self.0.len() >= MAX_DURATIONS {
            self.0.pop_front();
        }
        self.0.push_back((now, duration));
    }

    /// The duration that 95 of 100 sends of the last `window` did not exceed; none if there was none.
    pub(crate) fn p95(&self, now: Moment, window: Duration) -> Option<Duration> {
        let recent = self
            .0
            .iter()
            .filter(|(at, _)| now.since(*at) <= window)
            .map(|(_, duration)| *duration);
        let mut recent: Vec<Duration> = recent.collect();
        recent.sort_unstable();
        let rank = (recent.len() * 95).div_ceil(100);
        recent.get(rank.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);

    fn at(second: u64) -> Moment {
        Moment(Duration::from_secs(second))
    }

    fn p95_of(durations: impl IntoIterator<Item = u64>) -> Option<u64> {
        let mut kept = RecentDurations::default();
        for millis in durations {
            kept.record(Duration::from_millis(millis), at(0));
        }
        let p95 = kept.p95(at(0), WINDOW);
        p95.map(|found| u64::try_from(found.as_millis()).unwrap())
    }

    #[test]
    fn ninety_five_of_a_hundred_do_not_exceed_it() {
        assert_eq!(p95_of([]), None);
        assert_eq!(p95_of([7]), Some(7));
        assert_eq!(p95_of((1..=20).rev()), Some(19));
        assert_eq!(p95_of(1..=100), Some(95));
        assert_eq!(
            p95_of((1..=1_000).map(|n| if n > 800 { n } else { 5_000 })),
            Some(990),
            "only the last 200 are kept"
        );
    }

    #[test]
    fn durations_older_than_the_window_do_not_count() {
        let mut kept = RecentDurations::default();
        kept.record(Duration::from_secs(9), at(0));
        kept.record(Duration::from_secs(1), at(50));
        assert_eq!(kept.p95(at(60), WINDOW), Some(Duration::from_secs(9)));
        assert_eq!(kept.p95(at(61), WINDOW), Some(Duration::from_secs(1)));
        assert_eq!(kept.p95(at(111), WINDOW), None);
    }
}
