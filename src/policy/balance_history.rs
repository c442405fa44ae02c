//! How fast an account's money goes: the falls of its balance over the last day. A rise is a top-up
//! and counts for nothing, so that an account that was filled today still has a pace.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

const DAY: Duration = Duration::from_hours(24);
/// Less than this says nothing about a day.
const MIN_OBSERVATION: Duration = Duration::from_mins(10);
/// More readings than one every ten minutes.
const MAX_READINGS: usize = 150;

/// What a service said of one account's balance, over a day.
#[derive(Clone, Debug, Default)]
pub struct BalanceHistory {
    readings: VecDeque<(Moment, f64)>,
}

impl BalanceHistory {
    /// It said that so much is left.
    pub fn record(&mut self, left: f64, now: Moment) {
        if self.readings.len() >= MAX_READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((now, left));
        // One older than a day stays: the day's first fall begins there.
        while self
            .readings
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= DAY)
        {
            self.readings.pop_front();
        }
    }

    /// What goes in a day at the pace of the last one; none: not watched for long enough.
    pub fn daily_spend(&self) -> Option<f64> {
        let ((first, _), (last, _)) = (self.readings.front()?, self.readings.back()?);
        let watched = last.since(*first);
        let falls = self
            .readings
            .iter()
            .zip(self.readings.iter().skip(1))
            .map(|((_, before), (_, after))| (before - after).max(0.0));
        (watched >= MIN_OBSERVATION)
            .then(|| falls.sum::<f64>() * DAY.as_secs_f64() / watched.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purse(readings: &[(u64, f64)]) -> BalanceHistory {
        let mut purse = BalanceHistory::default();
        for (minutes, left) in readings {
            purse.record(*left, Moment(Duration::from_mins(*minutes)));
        }
        purse
    }

    #[test]
    fn a_pace_is_the_falls_of_a_day() {
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
            assert_eq!(purse(readings).daily_spend(), expected, "{readings:?}");
        }
    }

    #[test]
    fn what_is_older_than_a_day_is_forgotten() {
        let old = purse(&[
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
