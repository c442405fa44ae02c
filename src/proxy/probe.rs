//! When a service is probed in the background. A provider that is quarantined for its account (balance,
//! lock, address list …) is probed until it is in order again, so that no message has to try it. A
//! healthy provider is probed for its balance every 15 minutes, so that operators see it run out in time.
//! Never sends a message, probes a quarantined provider at most every 30 s, runs no probe that is only
//! inferred, and uses no credential that is known dead.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::dialect::Probe;
use crate::policy::{CredentialRevision, HealthEvent, HealthState};
use crate::provider::ProviderRuntime;
use crate::provider::auth_context::AuthContext;
use crate::provider::diagnose::diagnosis_input;
use crate::provider::probe::{ProbeRequest, ProbeResult};
use crate::proxy::Proxy;
use crate::sms::{AttemptKind, Concern, Outcome};
use crate::telemetry::{AttemptFinished, BalanceReported};

/// Between two probes of a quarantined provider, and between its quarantine and the first probe.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// Between two balance probes of a healthy provider …
const BALANCE_PROBE_INTERVAL: Duration = Duration::from_mins(15);
/// … and before the first, so that messages come first after a start.
const FIRST_BALANCE_PROBE_DELAY: Duration = Duration::from_mins(1);

/// A probe's result and how long its exchange took.
pub(super) struct TimedProbe {
    pub(super) result: ProbeResult,
    duration: Duration,
}

impl Proxy {
    /// Runs the probes that are due; to be called about once a second.
    pub async fn run_due_probes(&self) {
        let snapshot = self.snapshot.load_full();
        for runtime in snapshot.providers.values() {
            if let Some(probe) = self.due_probe(runtime) {
                self.run_scheduled_probe(runtime, probe).await;
            }
        }
    }

    /// The probe of a provider that is due, if one is; marks the provider as probed.
    fn due_probe<'a>(&self, runtime: &'a ProviderRuntime) -> Option<&'a Probe> {
        let now = self.now();
        let last_probe = runtime.last_probe();
        let mut probes = runtime
            .provider
            .dialect
            .probes()
            .iter()
            .filter(|probe| !probe.inferred);
        match self.health.health_state(runtime, now) {
            HealthState::Quarantined { cause, since, .. } => {
                let probe = probes.next()?;
                let waited_since = since.max(last_probe.unwrap_or_default());
                let is_due = cause.concern() == Concern::Account
                    && self.health.rejected_credential(runtime, now).is_none()
                    && now.since(waited_since) >= PROBE_INTERVAL;
                is_due.then(|| runtime.mark_probed(now)).map(|()| probe)
            }
            HealthState::Healthy => {
                let probe = probes.find(|probe| probe.has_balance())?;
                let is_due = match last_probe {
                    Some(last_probe) => now.since(last_probe) >= BALANCE_PROBE_INTERVAL,
                    None => now.since(Moment::default()) >= FIRST_BALANCE_PROBE_DELAY,
                };
                (is_due && runtime.provider.credential.is_some())
                    .then(|| runtime.mark_probed(now))
                    .map(|()| probe)
            }
            HealthState::Cooldown { .. } | HealthState::Paused => None,
        }
    }

    async fn run_scheduled_probe(&self, runtime: &Arc<ProviderRuntime>, probe: &Probe) {
        let choice = self.health.credential_choice(runtime, false);
        let limit = runtime.provider.timeout;
        let Ok(auth) = runtime.authenticate(choice, false, limit).await else {
            return;
        };
        let Some(timed) = self.run_probe(runtime, probe, &auth).await else {
            return;
        };
        self.record_probe(runtime, &timed);
        if timed.result.is_healthy() {
            runtime.probe_history().clear();
            let event = HealthEvent::Probed {
                cause: None,
                credential: auth.revision,
                suspects_credential: false,
            };
            self.health.record_event(runtime, &event, None, self.now());
        } else {
            self.record_rejected_probe(runtime, &timed.result, auth.revision);
        }
    }

    /// The probe of a quarantined provider was rejected for its credential: from now on only half-open trials send it.
    fn record_rejected_probe(
        &self,
        runtime: &ProviderRuntime,
        result: &ProbeResult,
        credential: CredentialRevision,
    ) {
        let now = self.now();
        let classification = &result.classification;
        let is_rejected = matches!(classification.outcome, Outcome::Rejected(cause) if cause.concern() == Concern::Credential);
        let is_quarantined = matches!(
            self.health.health_state(runtime, now),
            HealthState::Quarantined { .. }
        );
        let failed = diagnosis_input(AttemptKind::Probe, classification, result.status(), &[]);
        if let Some(failed) = failed.filter(|_| is_rejected && is_quarantined) {
            let event = HealthEvent::Probed {
                cause: Some(failed.cause),
                credential,
                suspects_credential: true,
            };
            let diagnosis = runtime.diagnose_failure(credential.version, &failed, now);
            self.health
                .record_event(runtime, &event, Some(diagnosis), now);
        }
    }

    /// One exchange of the probe; none: its request cannot be written.
    pub(super) async fn run_probe(
        &self,
        runtime: &ProviderRuntime,
        probe: &Probe,
        auth: &AuthContext,
    ) -> Option<TimedProbe> {
        let started_at = self.now();
        let request = ProbeRequest {
            client: runtime.as_client(),
            probe,
            auth,
            now: self.clock.timestamp(),
            limit: runtime.provider.timeout,
        };
        let result = request.send(&runtime.redactor(auth)).await;
        Some(TimedProbe {
            result: result.ok()?,
            duration: self.now().since(started_at),
        })
    }

    /// Counts the probe and the balance it reported.
    pub(super) fn record_probe(&self, runtime: &ProviderRuntime, timed: &TimedProbe) {
        let provider = &runtime.provider.id;
        AttemptFinished {
            provider,
            kind: AttemptKind::Probe,
            outcome: &timed.result.classification.outcome,
            status: timed.result.status(),
            duration: timed.duration,
        }
        .emit(&self.telemetry);
        let parsed = timed.result.parsed.as_ref();
        if let Some((value, unit)) = parsed.and_then(|parsed| parsed.balance.as_ref()) {
            let daily_spend = {
                let mut history = runtime.balance_history();
                history.record(*value, self.now());
                history.daily_spend()
            };
            BalanceReported {
                provider,
                unit,
                value: *value,
                daily_spend,
            }
            .emit(&self.telemetry);
        }
    }
}
