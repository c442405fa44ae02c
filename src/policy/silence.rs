//! Whether a provider has stopped answering, judged before the first attempt has reached its time limit: while several
//! attempts wait and nothing comes back, further messages prefer another provider. Without another one they do not: a
//! service may be slow, and slow is better than not at all.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::sms::Outcome;

/// So many people may wait for a provider that is silent.
const MAX_WAITING: usize = 3;
/// A provider is not silent before this, however fast it usually is.
const MIN_SILENCE: Duration = Duration::from_millis(250);
/// The usual time of an answer, as long as none has come.
const ASSUMED_TIME: Duration = Duration::from_millis(200);
/// It is silent after this many times its usual time.
const PATIENCE: u32 = 3;
/// An attempt whose end was never reported is forgotten after this.
const MAX_AGE: Duration = Duration::from_mins(2);

/// The attempts at one provider that have no answer yet.
#[derive(Clone, Debug, Default)]
pub struct Silence {
    /// When each attempt in flight began, oldest first. At most as many as there are connections of backends.
    in_flight: VecDeque<Moment>,
    /// How many attempts ran into their time limit since the last answer.
    timed_out: usize,
    last_answer: Option<Moment>,
    /// When the latest attempt that was answered began: those before it wait for a reason of their own.
    answered_until: Option<Moment>,
    usual_time: Option<Duration>,
}

impl Silence {
    /// An attempt begins.
    pub fn begin(&mut self, now: Moment) {
        while self
            .in_flight
            .front()
            .is_some_and(|began| now.since(*began) > MAX_AGE)
        {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back(now);
    }

    /// The attempt that began at `began` has ended.
    pub fn end(&mut self, began: Moment, outcome: &Outcome, now: Moment) {
        if let Some(at) = self.in_flight.iter().position(|other| *other == began) {
            self.in_flight.remove(at);
        }
        let is_answer = matches!(outcome, Outcome::Accepted { .. } | Outcome::Rejected(_));
        if is_answer {
            let took = now.since(began);
            let before = self.usual_time.unwrap_or(took);
            self.usual_time = Some(took.max(before * 7 / 8));
            self.last_answer = Some(now);
            self.answered_until = self.answered_until.max(Some(began));
        }
        let is_passed = self.answered_until.is_some_and(|until| began <= until);
        if is_answer || self.in_flight.is_empty() {
            self.timed_out = 0;
        } else if !is_passed {
            self.timed_out += 1;
        }
    }

    /// Whether it is silent and this many attempts wait for it: one more would take a place from messages that another
    /// provider answers.
    pub fn is_full(&self, max_waiting: usize, now: Moment) -> bool {
        self.in_flight.len() >= max_waiting && self.is_silent(now)
    }

    /// Whether enough attempts have waited for long enough that one more would most likely wait as well.
    pub fn is_silent(&self, now: Moment) -> bool {
        let unanswered = || {
            let is_recent = |began: &&Moment| now.since(**began) <= MAX_AGE;
            let is_later =
                |began: &&Moment| self.answered_until.is_none_or(|until| **began > until);
            self.in_flight.iter().filter(is_recent).filter(is_later)
        };
        let Some(oldest) = unanswered().next() else {
            return false;
        };
        let since = self
            .last_answer
            .map_or(*oldest, |answer| answer.max(*oldest));
        let usual_time = self.usual_time.unwrap_or(ASSUMED_TIME);
        unanswered().count() + self.timed_out >= MAX_WAITING
            && now.since(since) >= MIN_SILENCE.max(usual_time * PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sms::Cause;

    fn ms(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn accepted() -> Outcome {
        Outcome::Accepted { id: "1".to_owned() }
    }

    /// Sends every `interval` ms as long as the provider is not silent, each answered after `answer` ms, or after `limit`
    /// with a timeout; returns when each message began.
    fn sent(
        silence: &mut Silence,
        times: std::ops::Range<u64>,
        interval: usize,
        answer: Option<u64>,
    ) -> Vec<u64> {
        const LIMIT: u64 = 3_000;
        let mut began: Vec<u64> = Vec::new();
        for at in times.step_by(interval) {
            let after = answer.unwrap_or(LIMIT);
            let outcome = answer.map_or(Outcome::Unknown(Cause::Timeout), |_| accepted());
            let ends = began.iter().filter(|start| {
                let end = **start + after;
                end <= at && end + interval as u64 > at
            });
            for start in ends {
                silence.end(ms(*start), &outcome, ms(*start + after));
            }
            if !silence.is_silent(ms(at)) {
                silence.begin(ms(at));
                began.push(at);
            }
        }
        began
    }

    #[test]
    fn at_most_three_people_wait_for_a_provider_that_falls_silent() {
        let mut silence = Silence::default();
        assert_eq!(sent(&mut silence, 0..2_000, 100, Some(50)).len(), 20);
        silence.end(ms(1_900), &accepted(), ms(1_950));
        let waited = sent(&mut silence, 2_000..5_000, 100, None);
        assert_eq!(waited, [2_000, 2_100, 2_200]);
    }

    #[test]
    fn a_provider_that_is_silent_from_the_start_holds_few() {
        let waited = sent(&mut Silence::default(), 0..3_000, 100, None);
        assert_eq!(waited, [0, 100, 200, 300, 400, 500]);
    }

    #[test]
    fn a_provider_that_is_slow_or_busy_is_not_silent() {
        for (interval, answer) in [(100, 1_000), (10, 150), (1_000, 2_900), (5, 40)] {
            let mut silence = Silence::default();
            // A first answer, alone, shows how slow it is.
            silence.begin(ms(0));
            silence.end(ms(0), &accepted(), ms(answer));
            let times = 3_000..13_000;
            let all = times.clone().step_by(interval).count();
            let sent = sent(&mut silence, times, interval, Some(answer));
            assert_eq!(sent.len(), all, "every {interval} ms, {answer} ms");
        }
    }

    #[test]
    fn an_answer_or_the_end_of_all_attempts_ends_the_silence() {
        let mut silence = Silence::default();
        for at in [0, 10, 20] {
            silence.begin(ms(at));
        }
        assert!(silence.is_silent(ms(700)));
        silence.end(ms(0), &Outcome::Unknown(Cause::Timeout), ms(3_000));
        assert!(silence.is_silent(ms(3_005)), "those that timed out count");
        let mut answered = silence.clone();
        answered.end(ms(10), &accepted(), ms(3_010));
        assert!(!answered.is_silent(ms(3_010)));
        for at in [10, 20] {
            silence.end(ms(at), &Outcome::Unknown(Cause::Timeout), ms(3_000 + at));
        }
        assert!(!silence.is_silent(ms(3_020)));
        silence.begin(ms(4_000));
        assert!(
            !silence.is_silent(ms(6_000)),
            "one that waits is none too many"
        );
    }

    #[test]
    fn messages_that_hang_while_later_ones_are_answered_are_no_silence() {
        let mut silence = Silence::default();
        for at in [0, 1_000, 2_000] {
            silence.begin(ms(at));
            silence.begin(ms(at + 300));
            silence.end(ms(at + 300), &accepted(), ms(at + 310));
        }
        assert!(!silence.is_silent(ms(2_900)));
        silence.end(ms(0), &Outcome::Unknown(Cause::Timeout), ms(3_000));
        for at in [3_100, 3_200] {
            silence.begin(ms(at));
        }
        assert!(!silence.is_silent(ms(4_000)), "two wait");
        silence.begin(ms(4_000));
        assert!(silence.is_silent(ms(4_300)));
    }

    #[test]
    fn only_a_silent_provider_can_be_full() {
        let mut silence = Silence::default();
        for _ in 0..10 {
            silence.begin(ms(0));
        }
        for (max_waiting, at, is_full) in [
            (10, 100, false),
            (10, 700, true),
            (9, 700, true),
            (11, 700, false),
        ] {
            let now = ms(at);
            assert_eq!(
                silence.is_full(max_waiting, now),
                is_full,
                "{max_waiting} {at}"
            );
        }
        silence.end(ms(0), &accepted(), ms(700));
        assert!(!silence.is_full(9, ms(700)), "it answers");
    }

    #[test]
    fn an_attempt_without_an_end_is_forgotten() {
        let mut silence = Silence::default();
        for at in [0, 1, 2] {
            silence.begin(ms(at));
        }
        silence.begin(ms(130_000));
        assert!(!silence.is_silent(ms(131_000)));
    }
}
