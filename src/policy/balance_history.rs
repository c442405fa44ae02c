//! How fast an account spends its balance: the sum of the decreases over the last day. An increase
//! is a top-up and is left out, so that an account that was topped up today still has a rate.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

const DAY: Duration = Duration::from_hours(24);
/// A shorter observation says nothing about a day.
const MIN_OBSERVATION: Duration = Duration::from_mins(10);
/// Enough for one reading every ten minutes of a day.
const MAX_READINGS: usize = 150;

/// The balance of one account as its service reported it over a day.
#[derive(Clone, Debug, Default)]
pub struct BalanceHistory {
    readings: VecDeque<(Moment, f64)>,
}

impl BalanceHistory {
    /// Records a reported balance.
    pub fn record(&mut self, left: f64, now: Moment) {
        if self.readings.len() >= MAX_READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((now, left));
        // One reading older than a day stays: the first decrease of the day starts from it.
        while self
            .readings
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= DAY)
        {
            self.readings.pop_front();
        }
    }

    /// The spend per day at the rate of the last one, in the account's currency; none before
    /// [`MIN_OBSERVATION`] has passed.
    pub fn daily_spend(&self) -> Option<f64> {
        let (first, _) = self.readings.front()?;
        let (last, _) = self.readings.back()?;
        let observed = last.since(*first);
        let decreases = self
            .readings
            .iter()
            .zip(self.readings.iter().skip(1))
            .map(|((_, before), (_, after))| (before - after).max(0.0));
        (observed >= MIN_OBSERVATION)
            .then(|| decreases.sum::<f64>() * DAY.as_secs_f64() / observed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(readings: &[(u64, f64)]) -> BalanceHistory {
        let mut history = BalanceHistory::default();
        for (minutes, left) in readings {
            history.record(*left, Moment(Duration::from_mins(*minutes)));
        }
        history
    }

    #[test]
    fn daily_spend_is_the_sum_of_the_decreases() {
        for (readings, expected) in [
            (&[][..], None),
            (&[(0, 100.0)], None),
            (&[(0, 100.0), (9, 50.0)], None),
            (&[(0, 100.0), (720, 90.0)], Some(20.0)),
            (&[(0, 100.0), (720, 90.0), (1_440, 80.0)], Some(20.0)),
            (
                &[(0, 100.0), (360, 90.0), (720, 500.0), (1_440, 470.0)],
                Some(40.0),
            ),
            (&[(0, 100.0), (1_440, 100.0)], Some(0.0)),
        ] {
            assert_eq!(history(readings).daily_spend(), expected, "{readings:?}");
        }
    }

    #[test]
    fn readings_older_than_a_day_are_dropped() {
        let old = history(&[
            (0, 1_000.0),
            (60, 500.0),
            (1_440, 490.0),
            (2_880, 480.0),
            (3_600, 475.0),
        ]);
        assert_eq!(old.readings.len(), 3, "{old:?}");
        let mut long = BalanceHistory::default();
        (0..10_000_u64).for_each(|at| long.record(1.0, Moment(Duration::from_secs(at))));
        assert_eq!(long.readings.len(), MAX_READINGS);
    }
}
