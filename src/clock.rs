//! Time and randomness as parameters. Only this module reads the system's clock and its
//! random number generator. Durations as a file writes them are parsed here too.

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

/// A duration as a file writes it: a whole number directly followed by `ms`, `s`, `m`, `h` or `d`.
/// Returns `None` for anything else and for a number that is too large.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// Splits `10MiB` into 10 and `MiB`. Only digits form the number: no sign, no fraction, no space.
pub fn split_unit(text: &str) -> Option<(u64, &str)> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("55ms", 55),
            ("3s", 3_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "+5s",
            "1.5s",
            "1 s",
            "1S",
            "1w",
            "99999999999999999999s",
            "9999999999999999999d",
            "é",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
