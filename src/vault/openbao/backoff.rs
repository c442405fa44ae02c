//! Limits the requests to a failing vault server: after a failure a pause that doubles, with jitter,
//! and after the pause one trial request while all others get the known error. A server that
//! recovers receives one request, not all of them.

use std::time::Duration;

use crate::clock::Moment;
use crate::vault::error::ReadError;

const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// The health of the server.
#[derive(Debug, Default)]
pub(super) struct ServerBackoff {
    outage: Option<ServerOutage>,
}

#[derive(Debug)]
struct ServerOutage {
    error: ReadError,
    delay: Duration,
    until: Moment,
    /// A trial request is in flight.
    trial_in_flight: bool,
}

impl ServerBackoff {
    /// Whether to send a request now; if not, the known error. `limit` is how long a trial request may take.
    pub(super) fn admit(&mut self, now: Moment, limit: Duration) -> Result<(), ReadError> {
        let Some(outage) = &mut self.outage else {
            return Ok(());
        };
        if now < outage.until {
            return Err(outage.error.clone());
        }
        outage.until = now.saturating_add(limit);
        outage.trial_in_flight = true;
        Ok(())
    }

    /// The known error of a server that is in its pause.
    pub(super) fn active_error(&self, now: Moment) -> Option<ReadError> {
        self.outage
            .as_ref()
            .filter(|outage| now < outage.until)
            .map(|outage| outage.error.clone())
    }

    /// The server responded.
    pub(super) fn record_success(&mut self) {
        self.outage = None;
    }

    /// The server did not respond. Concurrent failures do not double the pause.
    pub(super) fn record_failure(&mut self, error: ReadError, now: Moment, dice: f64) {
        let step = match &self.outage {
            Some(outage) if outage.trial_in_flight => {
                outage.delay.saturating_mul(2).min(MAX_BACKOFF)
            }
            Some(outage) => outage.delay,
            None => MIN_BACKOFF,
        };
        let known = self.outage.take().filter(|outage| !outage.trial_in_flight);
        let until = known.map_or_else(
            || now.saturating_add(step.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)),
            |outage| outage.until,
        );
        self.outage = Some(ServerOutage {
            error,
            delay: step,
            until,
            trial_in_flight: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> ReadError {
        ReadError::Sealed {
            location: "it".into(),
        }
    }

    fn at(milliseconds: u64) -> Moment {
        Moment(Duration::from_millis(milliseconds))
    }

    #[test]
    fn the_pause_doubles_to_its_limit_and_one_trial_runs() {
        let limit = Duration::from_secs(3);
        let mut pace = ServerBackoff::default();
        let mut now = 0;
        for step in [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            assert!(
                pace.admit(at(now), limit).is_ok(),
                "one goes ahead at {now}"
            );
            pace.record_failure(sealed(), at(now), 1.0);
            pace.record_failure(sealed(), at(now), 1.0);
            assert!(
                pace.admit(at(now + step - 1), limit).is_err(),
                "the others at the same time did not double {step}"
            );
            now += step;
        }
        assert!(pace.admit(at(now), limit).is_ok());
        assert!(pace.admit(at(now), limit).is_err(), "and only one");
        assert!(
            pace.admit(at(now + 3_000), limit).is_ok(),
            "unless it never came back"
        );
        pace.record_success();
        assert!((0..9).all(|_| pace.admit(at(now), limit).is_ok()));
    }

    #[test]
    fn a_failure_of_an_earlier_request_does_not_prolong_the_pause() {
        let limit = Duration::from_mins(1);
        let mut pace = ServerBackoff::default();
        pace.record_failure(sealed(), at(0), 1.0);
        pace.record_failure(sealed(), at(400), 1.0);
        assert!(pace.admit(at(500), limit).is_ok(), "the trial");
        pace.record_failure(sealed(), at(600), 1.0);
        assert!(pace.admit(at(1_599), limit).is_err());
        assert!(
            pace.admit(at(1_600), limit).is_ok(),
            "a trial that failed ends its own limit"
        );
    }

    #[test]
    fn jitter_halves_a_pause_at_most() {
        let mut pace = ServerBackoff::default();
        pace.record_failure(sealed(), at(0), 0.0);
        assert!(pace.admit(at(249), Duration::ZERO).is_err());
        assert!(pace.admit(at(250), Duration::ZERO).is_ok());
    }
}
