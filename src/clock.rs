//! Time and dice as parameters: the one place that reads the real ones.

use std::time::{Duration, Instant, SystemTime};

/// A point of monotonic time, as the time since this process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long ago `earlier` was; nothing if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment and `wait`.
    #[must_use]
    pub fn saturating_add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

/// Where judgement's `now` comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Monotonic time.
    fn now(&self) -> Moment;
    /// The calendar's time, for signatures and expiry.
    fn wall_clock(&self) -> SystemTime;
    /// A number from 0 to 1, for jitter and ids.
    fn random_fraction(&self) -> f64;
}

/// The machine's clock and randomness.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "the home of the real clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the home of the real clock")]
    fn now(&self) -> Moment {
        Moment(Instant::now().saturating_duration_since(self.0))
    }

    #[expect(clippy::disallowed_methods, reason = "the home of the real clock")]
    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    fn random_fraction(&self) -> f64 {
        rand::random()
    }
}
