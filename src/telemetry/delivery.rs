//! What happens to messages, providers and routes, one struct each.

use std::time::Duration;

use crate::diagnosis::Diagnosis;
use crate::policy::HealthState;
use crate::sms::{AttemptKind, Cause, Family, Outcome, ProviderId};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::{NONE, OTHER, label_or_other};
use crate::telemetry::request::{log_at_level, millis};

/// An attempt finished. Its line is at debug level; the line of its request shows it too.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFinished<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// The kind of attempt.
    pub kind: AttemptKind,
    /// Its outcome, with the cause.
    pub outcome: &'a Outcome,
    /// The literal HTTP status, if a reply came.
    pub status: Option<u16>,
    /// How long it took.
    pub duration: Duration,
}

impl AttemptFinished<'_> {
    /// A literal 401 or 403 that nothing explains stays one of "the 401s".
    fn family(&self) -> Option<Family> {
        let cause = self.outcome.cause()?;
        if cause == Cause::Unexplained && matches!(self.status, Some(401 | 403)) {
            Some(Family::Account)
        } else {
            Some(cause.family())
        }
    }

    /// Counts the attempt, its status and its duration.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let (provider, kind) = (
            label_or_other(self.provider.as_str(), &known.providers),
            self.kind.as_str(),
        );
        let cause = self.outcome.cause();
        let (word, family) = (
            cause.map_or(NONE, Cause::as_str),
            self.family().map_or(NONE, Family::as_str),
        );
        let families = &telemetry.metrics;
        families
            .attempts
            .with_label_values(&[provider, kind, self.outcome.as_str(), word, family])
            .inc();
        families
            .attempt_duration
            .with_label_values(&[provider, kind])
            .observe(self.duration.as_secs_f64());
        if let Some(status) = self.status {
            let text = status.to_string();
            let label = if (100..600).contains(&status) {
                text.as_str()
            } else {
                OTHER
            };
            families
                .upstream_responses
                .with_label_values(&[provider, kind, label])
                .inc();
        }
        telemetry.store.record_attempt(self);
        telemetry.tracer.record_attempt(self, telemetry);
        tracing::debug!(
            provider = self.provider.as_str(),
            kind,
            outcome = self.outcome.as_str(),
            cause = cause.map(Cause::as_str),
            status = self.status,
            took_ms = millis(self.duration),
            "attempt {}",
            self.outcome.as_str(),
        );
    }
}

/// A message fails over to another provider.
#[derive(Clone, Copy, Debug)]
pub struct Failover<'a> {
    /// The provider that did not deliver.
    pub from: &'a ProviderId,
    /// The provider that tries next.
    pub to: &'a ProviderId,
    /// Why the first one did not deliver.
    pub cause: Cause,
}

impl Failover<'_> {
    /// Counts it.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let (from, to) = (
            label_or_other(self.from.as_str(), &known.providers),
            label_or_other(self.to.as_str(), &known.providers),
        );
        telemetry
            .metrics
            .failovers
            .with_label_values(&[from, to, self.cause.as_str()])
            .inc();
        tracing::debug!(
            from = self.from.as_str(),
            to = self.to.as_str(),
            cause = self.cause.as_str(),
            "failover"
        );
    }
}

/// A message is sent through this provider although an attempt elsewhere may have been accepted.
#[derive(Clone, Copy, Debug)]
pub struct PossibleDuplicate<'a> {
    /// The provider that sends it, perhaps for the second time.
    pub provider: &'a ProviderId,
}

impl PossibleDuplicate<'_> {
    /// Counts it.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        telemetry
            .metrics
            .possible_duplicates
            .with_label_values(&[label_or_other(self.provider.as_str(), &known.providers)])
            .inc();
        tracing::debug!(provider = self.provider.as_str(), "possible duplicate");
    }
}

/// A duplicate request was answered from memory.
#[derive(Clone, Copy, Debug)]
pub struct DuplicateSuppressed<'a> {
    /// The backend's dialect.
    pub dialect: &'a str,
}

impl DuplicateSuppressed<'_> {
    /// Counts it.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        telemetry
            .metrics
            .duplicates_suppressed
            .with_label_values(&[label_or_other(self.dialect, &known.dialects)])
            .inc();
        tracing::debug!(dialect = self.dialect, "duplicate");
    }
}

/// The state of a provider has changed.
#[derive(Clone, Copy, Debug)]
pub struct HealthStateChanged<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// The new state, with its cause and the next trial.
    pub state: HealthState,
    /// The evidence for the cause, its certainty and the remedy.
    pub diagnosis: Option<&'a Diagnosis>,
}

impl HealthStateChanged<'_> {
    /// Sets the gauge, and logs a change. A quarantined provider needs an operator, so that is an
    /// error; a cooldown ends by itself, so it is a warning.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let provider = label_or_other(self.provider.as_str(), &known.providers);
        if provider != OTHER {
            for label in HealthState::LABELS {
                telemetry
                    .metrics
                    .provider_state
                    .with_label_values(&[provider, label])
                    .set(i64::from(*label == self.state.as_str()));
            }
        }
        if !telemetry.store.record_health(self) {
            return;
        }
        let level = match self.state {
            HealthState::Quarantined { .. } => tracing::Level::ERROR,
            HealthState::Cooldown { .. } => tracing::Level::WARN,
            HealthState::Healthy | HealthState::Paused => tracing::Level::INFO,
        };
        log_at_level!(
            level,
            provider = self.provider.as_str(),
            state = self.state.as_str(),
            cause = self.state.cause().map(Cause::as_str),
            certainty = self.diagnosis.map(|diagnosis| diagnosis.certainty.as_str()),
            alternatives = self
                .diagnosis
                .map(Diagnosis::alternatives_text)
                .filter(|or| !or.is_empty()),
            evidence = self.diagnosis.map(|diagnosis| diagnosis.evidence.as_str()),
            remedy = self.diagnosis.map(|diagnosis| diagnosis.remedy.as_str()),
            "provider {}: {}",
            self.provider,
            self.state.as_str(),
        );
    }
}

/// The diagnosis of an ambiguous rejection ended. Its probes are counted one by one, and a change of the
/// provider's state has an event of its own.
#[derive(Clone, Copy, Debug)]
pub struct RejectionDiagnosed<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// What the cause was, or can still be.
    pub diagnosis: &'a Diagnosis,
    /// The time from the start of the diagnosis to its end.
    pub duration: Duration,
}

impl RejectionDiagnosed<'_> {
    /// Logs the remaining causes and the evidence.
    pub fn emit(&self) {
        let Diagnosis {
            cause,
            certainty,
            evidence,
            remedy,
            ..
        } = self.diagnosis;
        tracing::info!(
            provider = self.provider.as_str(),
            cause = cause.as_str(),
            certainty = certainty.as_str(),
            alternatives = Some(self.diagnosis.alternatives_text()).filter(|or| !or.is_empty()),
            evidence,
            remedy,
            took_ms = millis(self.duration),
            "{} rejected for {cause}",
            self.provider,
        );
    }
}

/// The outcome of the last message to a provider. It explains why a provider that is in use does not deliver,
/// because a provider that is only observed is never quarantined.
#[derive(Clone, Copy, Debug)]
pub struct LastSendOutcome<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// Why it failed and what to do; none if it was accepted.
    pub diagnosis: Option<&'a Diagnosis>,
}

impl LastSendOutcome<'_> {
    /// Keeps it for the status; the log has it in the line of the request.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry.store.record_last_send(self);
    }
}

/// A route runs on its first provider, or on a backup.
#[derive(Clone, Copy, Debug)]
pub struct RouteFirstChoice<'a> {
    /// The route's name.
    pub route: &'a str,
    /// Whether its first provider was used.
    pub is_first_choice: bool,
}

impl RouteFirstChoice<'_> {
    /// Updates the gauge, and logs only a change.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        if label_or_other(self.route, &known.routes) == OTHER {
            return;
        }
        let gauge = telemetry
            .metrics
            .first_choice
            .with_label_values(&[self.route]);
        let (before, now) = (gauge.get(), i64::from(self.is_first_choice));
        gauge.set(now);
        if before != now {
            telemetry
                .store
                .record_backup(self.route, self.is_first_choice);
        }
        match (before == now, self.is_first_choice) {
            (true, _) => {}
            (false, true) => tracing::info!(
                route = self.route,
                "route {} is back on its first provider",
                self.route
            ),
            (false, false) => {
                tracing::warn!(route = self.route, "route {} runs on a backup", self.route);
            }
        }
    }
}
