//! When a connection to a provider is opened in advance, so that a lone message pays no handshake: while messages are
//! accepted there, and no idle connection lasts until the next look. A provider that refuses connections, or closes them
//! early, is left alone for longer each time.

use std::time::Duration;

use crate::clock::Moment;

/// How often the idle connections are looked at.
pub const WARM_INTERVAL: Duration = Duration::from_secs(1);
/// A connection that lasts no longer than this is replaced: until the next look, with the time of a handshake.
pub const WARM_LEAD: Duration = Duration::from_millis(1500);
/// For so long after an accepted message another one is expected: it covers a quiet night.
const IN_USE: Duration = Duration::from_hours(12);
/// Where connections last shorter, they would be opened more often than every other second.
const MIN_LIFETIME: Duration = Duration::from_secs(3);
/// The pause after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_mins(5);
/// The failure in a row that is worth a warning.
const WARN_AT: u32 = 3;

/// The idle connections to one provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleSummary {
    /// For how long one of them may still get a request; none: there is none.
    pub remaining: Option<Duration>,
    /// For how long a new one would be kept.
    pub lifetime: Duration,
    /// How many were taken for a request, ever.
    pub taken: u64,
}

/// Decides for one provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct WarmUpSchedule {
    is_opening: bool,
    /// The last one that was opened, until it is known how it ended.
    opened: Option<OpenedInAdvance>,
    /// In a row.
    failures: u32,
    not_before: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct OpenedInAdvance {
    at: Moment,
    /// How many had been taken before.
    taken: u64,
}

/// What follows from a connection that could not be opened in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUpFailure {
    /// When it is tried again.
    pub pause: Duration,
    /// Whether an operator should know; once until it succeeds.
    pub is_warning: bool,
}

impl WarmUpSchedule {
    /// Whether a connection is to be opened now. If so, `opened` or `failed` must follow.
    pub fn begin(&mut self, last_accepted: Option<Moment>, idle: IdleSummary, now: Moment) -> bool {
        self.judge_last(idle, now);
        let is_in_use = last_accepted.is_some_and(|at| now.since(at) < IN_USE);
        let is_covered = idle.remaining.is_some_and(|left| left > WARM_LEAD);
        let is_paused = self.not_before.is_some_and(|until| now < until);
        let is_due = is_in_use
            && !is_covered
            && !is_paused
            && !self.is_opening
            && idle.lifetime >= MIN_LIFETIME;
        self.is_opening |= is_due;
        is_due
    }

    /// It is open; before it, `taken` connections were taken for a request.
    pub fn opened(&mut self, taken: u64, now: Moment) {
        self.is_opening = false;
        self.opened = Some(OpenedInAdvance { at: now, taken });
    }

    /// It could not be opened.
    pub fn failed(&mut self, now: Moment) -> WarmUpFailure {
        self.is_opening = false;
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now.saturating_add(pause));
        WarmUpFailure {
            pause,
            is_warning: self.failures == WARN_AT,
        }
    }

    /// A connection that nobody took and that is gone before its time was closed by the provider: that is a failure, too.
    fn judge_last(&mut self, idle: IdleSummary, now: Moment) {
        let Some(opened) = self.opened else {
            return;
        };
        let is_gone = idle.remaining.is_none();
        let is_early = now.since(opened.at) + WARM_LEAD < idle.lifetime;
        if is_gone && is_early && idle.taken == opened.taken {
            self.opened = None;
            self.failed(now);
        } else if is_gone || !is_early {
            self.opened = None;
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(4);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn idle(remaining: Option<u64>) -> IdleSummary {
        IdleSummary {
            remaining: remaining.map(Duration::from_millis),
            lifetime: LIFETIME,
            taken: 0,
        }
    }

    #[test]
    fn one_is_opened_where_messages_are_accepted_and_none_will_last() {
        let hours = |count: u64| Some(at(count * 3600));
        let now = at(24 * 3600);
        for (last_accepted, remaining, lifetime, is_due) in [
            (None, None, 4, false),
            (hours(24), None, 4, true),
            (hours(13), None, 4, true),
            (hours(12), None, 4, false),
            (hours(24), Some(3_900), 4, false),
            (hours(24), Some(1_501), 4, false),
            (hours(24), Some(1_500), 4, true),
            (hours(24), Some(0), 4, true),
            (hours(24), None, 3, true),
            (hours(24), None, 2, false),
            (hours(24), None, 0, false),
        ] {
            let idle = IdleSummary {
                lifetime: Duration::from_secs(lifetime),
                ..idle(remaining)
            };
            let mut schedule = WarmUpSchedule::default();
            assert_eq!(
                schedule.begin(last_accepted, idle, now),
                is_due,
                "{last_accepted:?} {idle:?}"
            );
            assert!(
                !schedule.begin(last_accepted, idle, now),
                "one at a time: {idle:?}"
            );
        }
    }

    /// When connections are opened, in seconds, if each of them lasts for `lasts` and is taken or not.
    fn opened(until: u64, lasts: u64, is_taken: bool) -> Vec<u64> {
        let mut schedule = WarmUpSchedule::default();
        let mut opened: Vec<u64> = Vec::new();
        for second in 0..until {
            let age = opened.last().map(|last| second - last);
            let remaining = age.filter(|age| *age < lasts).map(|age| (4 - age) * 1000);
            let taken = if is_taken { opened.len() as u64 } else { 0 };
            let idle = IdleSummary {
                taken,
                ..idle(remaining)
            };
            if schedule.begin(Some(at(0)), idle, at(second)) {
                schedule.opened(taken.saturating_sub(1), at(second));
                opened.push(second);
            }
        }
        opened
    }

    #[test]
    fn it_is_replaced_before_its_time_is_over() {
        assert_eq!(opened(10, 4, false), [0, 3, 6, 9]);
    }

    #[test]
    fn a_provider_that_closes_early_is_left_alone_for_longer_each_time() {
        assert_eq!(opened(100, 1, false), [0, 6, 17, 38, 79]);
    }

    #[test]
    fn one_that_a_message_took_is_replaced_at_once() {
        assert_eq!(opened(5, 1, true), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_provider_that_refuses_is_left_alone_for_longer_each_time_and_warned_of_once() {
        let mut schedule = WarmUpSchedule::default();
        let mut tries = Vec::new();
        let mut warnings = 0;
        for second in 0..1_000 {
            if schedule.begin(Some(at(0)), idle(None), at(second)) {
                tries.push(second);
                warnings += usize::from(schedule.failed(at(second)).is_warning);
            }
        }
        assert_eq!(tries, [0, 5, 15, 35, 75, 155, 315, 615, 915]);
        assert_eq!(warnings, 1);
        assert!(schedule.begin(Some(at(0)), idle(None), at(2_000)));
        schedule.opened(0, at(2_000));
        assert!(!schedule.begin(Some(at(0)), idle(Some(3_000)), at(2_001)));
        assert!(schedule.begin(Some(at(0)), idle(Some(1_000)), at(2_003)));
        let failure = schedule.failed(at(2_003));
        assert_eq!(failure.pause, FIRST_PAUSE, "the last one held");
    }
}
