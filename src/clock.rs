//! Time and randomness as parameters. Only this module reads the system's clock and its
//! random number generator.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

/// A point of monotonic time, as the time since this process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time since `earlier`; zero if `earlier` is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment plus `wait`.
    #[must_use]
    pub fn saturating_add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

/// Where the pure modules get their `now` from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Monotonic time.
    fn now(&self) -> Moment;
    /// Calendar time, for signatures and expiry.
    fn wall_clock(&self) -> SystemTime;
    /// A number from 0 to 1, for jitter and ids.
    fn random_fraction(&self) -> f64;

    /// Calendar time as dialects read it; the epoch if the system's clock is out of range.
    fn timestamp(&self) -> Timestamp {
        Timestamp::try_from(self.wall_clock()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The system's clock and random number generator.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts the monotonic clock at zero.
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
