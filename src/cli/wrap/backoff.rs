//! How long to wait before a sidecar that ended is started again. Pure: durations in, a duration out.

use std::time::Duration;

/// The first wait.
const INITIAL: Duration = Duration::from_millis(500);
/// No wait is longer.
const MAX: Duration = Duration::from_secs(30);
/// A sidecar that listened for this long was healthy: its end is not part of a crash loop.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);

/// Doubles the wait after each short run.
#[derive(Debug)]
pub(super) struct RestartBackoff {
    next: Duration,
}

impl Default for RestartBackoff {
    fn default() -> Self {
        Self { next: INITIAL }
    }
}

impl RestartBackoff {
    /// The wait after a sidecar that listened for `listened_for`.
    pub(super) fn delay_after(&mut self, listened_for: Duration) -> Duration {
        if listened_for >= HEALTHY_AFTER {
            self.next = INITIAL;
        }
        let delay = self.next;
        self.next = (delay * 2).min(MAX);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_slows_down_to_one_start_in_30_s() {
        let mut backoff = RestartBackoff::default();
        let delays: Vec<u128> = (0..9)
            .map(|_| backoff.delay_after(Duration::from_secs(59)).as_millis())
            .collect();
        assert_eq!(
            delays,
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
        );
    }

    #[test]
    fn a_healthy_minute_ends_the_crash_loop() {
        let mut backoff = RestartBackoff::default();
        for _ in 0..9 {
            backoff.delay_after(Duration::ZERO);
        }
        assert_eq!(backoff.delay_after(HEALTHY_AFTER), INITIAL);
        assert_eq!(backoff.delay_after(Duration::ZERO), INITIAL * 2);
    }
}
