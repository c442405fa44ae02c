//! The latest results of sends, so that a status weighs what happened last: a share of an hour still
//! shows an outage that is over.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// How many results are kept.
const MAX_RESULTS: usize = 5;
/// Older results show nothing about the present.
const MAX_AGE: Duration = Duration::from_mins(10);
/// Fewer failures can be chance.
const MIN_FAILURES: usize = 3;
/// After this number of successes in a row, an outage is over.
const RECOVERED_AFTER: usize = 3;

/// The latest results, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentResults(VecDeque<(Moment, bool)>);

impl RecentResults {
    /// Adds a result.
    pub(crate) fn record(&mut self, succeeded: bool, now: Moment) {
        self.0.push_back((now, succeeded));
        if self.0.len() > MAX_RESULTS {
            self.0.pop_front();
        }
    }

    /// Forgets all results.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many of the latest sends failed, and how many there were, if most of them failed.
    pub(crate) fn failures(&self, now: Moment) -> Option<(usize, usize)> {
        let recent: Vec<bool> = self.recent(now).collect();
        let failed = recent.iter().filter(|succeeded| !**succeeded).count();
        (failed >= MIN_FAILURES && failed * 2 > recent.len()).then_some((failed, recent.len()))
    }

    /// Whether there is no failure, or enough sends succeeded since the last one.
    pub(crate) fn has_recovered(&self, now: Moment) -> bool {
        let recent: Vec<bool> = self.recent(now).collect();
        let successes = recent.iter().rev().take_while(|succeeded| **succeeded);
        let successes = successes.count();
        successes == recent.len() || successes >= RECOVERED_AFTER
    }

    fn recent(&self, now: Moment) -> impl Iterator<Item = bool> {
        self.0
            .iter()
            .filter(move |(at, _)| now.since(*at) <= MAX_AGE)
            .map(|(_, succeeded)| *succeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` failed, `.` succeeded; one a second.
    fn results(signs: &str) -> RecentResults {
        let mut results = RecentResults::default();
        for (second, sign) in signs.chars().enumerate() {
            results.record(sign == '.', at(second as u64));
        }
        results
    }

    fn at(second: u64) -> Moment {
        Moment(Duration::from_secs(second))
    }

    #[test]
    fn most_of_the_latest_results_decide() {
        for (signs, failures, recovered) in [
            ("", None, true),
            ("xx", None, false),
            ("xxx", Some((3, 3)), false),
            ("....xxx", Some((3, 5)), false),
            ("xxxxxxxx.", Some((4, 5)), false),
            ("xxxxxxxx..", Some((3, 5)), false),
            ("xxxxxxxx...", None, true),
            ("...x", None, false),
            (".x.x.x", Some((3, 5)), false),
            ("x.....", None, true),
        ] {
            let results = results(signs);
            let now = at(signs.len() as u64);
            assert_eq!(
                (results.failures(now), results.has_recovered(now)),
                (failures, recovered),
                "{signs}"
            );
        }
    }

    #[test]
    fn old_failures_show_nothing_about_the_present() {
        let results = results("xxxxx");
        assert_eq!(results.failures(at(600)), Some((5, 5)));
        assert_eq!(results.failures(at(700)), None);
        assert!(results.has_recovered(at(700)));
    }
}
