//! The state of all providers behind one lock. A decision of `policy` and what it books (a trial, a retry)
//! are one step, so that no two requests take the same trial.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::diagnosis::Diagnosis;
use crate::policy::{
    AccountSnapshot, Attempt, CredentialChoice, CredentialRevision, CredentialStatus, DeliveryPlan,
    Health, HealthEvent, HealthState, LastResortTrial, NextStep, SendAdmission, Silence, next,
    result_cause,
};
use crate::provider::ProviderRuntime;
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Concern, Outcome, ProviderId, RequestResult};
use crate::telemetry::{HealthStateChanged, PreviousCredential, Telemetry};

/// The health of every provider.
#[derive(Debug)]
pub(super) struct HealthTracker {
    telemetry: Arc<Telemetry>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    health_by_provider: BTreeMap<ProviderId, Health>,
    /// What was reported last, so that only changes are reported.
    last_reported: BTreeMap<ProviderId, LastReported>,
    /// Why a provider is not healthy; kept after the rejection, for later reports.
    diagnoses: BTreeMap<ProviderId, Diagnosis>,
    last_resort_trials: BTreeMap<String, LastResortTrial>,
    silences: BTreeMap<ProviderId, Silence>,
    /// How many attempts may wait for one provider that is silent.
    max_waiting: usize,
}

/// A provider's state as it was reported last.
#[derive(Debug, PartialEq)]
struct LastReported {
    state: &'static str,
    cause: Option<Cause>,
    /// A later probe may settle a cause that was ambiguous.
    certainty: Option<Certainty>,
    next_trial_at: Option<Moment>,
    /// The version that serves in place of the newest.
    previous_version: Option<Version>,
}

/// A clearer cause of an earlier rejection.
#[derive(Debug)]
pub(super) struct RefinedCause {
    /// The cause that the rejection had before.
    pub(super) previous: Cause,
    pub(super) credential: CredentialRevision,
    pub(super) diagnosis: Diagnosis,
}

/// What `policy` decides about: one request at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecisionInput<'a> {
    pub(super) route: &'a str,
    pub(super) plan: &'a DeliveryPlan,
    pub(super) providers: &'a [Arc<ProviderRuntime>],
    pub(super) attempts: &'a [Attempt],
    pub(super) elapsed: Duration,
    pub(super) now: Moment,
    pub(super) jitter: f64,
}

impl HealthTracker {
    /// `max_requests` is how many can run at once. One provider that is silent gets half of them.
    pub(super) fn new(telemetry: Arc<Telemetry>, max_requests: usize) -> Self {
        Self {
            telemetry,
            state: Mutex::new(State {
                max_waiting: (max_requests / 2).max(1),
                ..State::default()
            }),
        }
    }

    /// The next step of a request; books the trial or retry that it takes.
    pub(super) fn next_step(&self, input: &DecisionInput<'_>) -> NextStep {
        let mut state = self.lock();
        let step = next(
            input.plan,
            input.attempts,
            |account| state.view(input, account),
            input.elapsed,
            input.jitter,
        );
        let is_last_resort = step == NextStep::Answer(RequestResult::NotSent)
            && input.attempts.iter().all(|attempt| attempt.inherited);
        let step = if is_last_resort {
            state.last_resort_step(input).unwrap_or(step)
        } else {
            step
        };
        if let NextStep::Send {
            account,
            trial,
            retry,
            ..
        } = step
            && let Some(runtime) = input.providers.get(account)
        {
            let event = HealthEvent::Started { trial, retry };
            state.health(runtime).observe(&event, input.now);
        }
        step
    }

    /// Whether the provider takes no send now.
    pub(super) fn is_blocked(&self, input: &DecisionInput<'_>, account: usize) -> bool {
        let view = self.lock().view(input, account);
        matches!(view.admission, SendAdmission::Blocked { .. })
    }

    /// The cause of a request's result.
    pub(super) fn cause(&self, input: &DecisionInput<'_>) -> Option<Cause> {
        let state = self.lock();
        let view = |account| state.view(input, account);
        result_cause(input.plan, input.attempts, view)
    }

    /// A send attempt at the provider begins.
    pub(super) fn begin_attempt(&self, runtime: &ProviderRuntime, now: Moment) {
        let id = runtime.provider.id.clone();
        self.lock().silences.entry(id).or_default().begin(now);
    }

    /// The send attempt that began at `began` has ended.
    pub(super) fn end_attempt(
        &self,
        runtime: &ProviderRuntime,
        began: Moment,
        outcome: &Outcome,
        now: Moment,
    ) {
        if let Some(silence) = self.lock().silences.get_mut(&runtime.provider.id) {
            silence.end(began, outcome, now);
        }
    }

    /// Takes in the outcome of an attempt.
    pub(super) fn record_attempt(
        &self,
        runtime: &ProviderRuntime,
        attempt: &Attempt,
        diagnosis: Option<Diagnosis>,
        now: Moment,
    ) {
        let event = HealthEvent::Ended {
            outcome: attempt.outcome.clone(),
            credential: attempt.credential,
            retry_after: attempt.retry_after,
            suspects_credential: diagnosis
                .as_ref()
                .is_some_and(Diagnosis::suspects_credential),
        };
        self.record_event(runtime, &event, diagnosis, now);
    }

    /// Takes in an event, and reports the state if it changed.
    pub(super) fn record_event(
        &self,
        runtime: &ProviderRuntime,
        event: &HealthEvent,
        diagnosis: Option<Diagnosis>,
        now: Moment,
    ) {
        let mut state = self.lock();
        state.observe(runtime, event, now);
        self.report_change(&mut state, runtime, diagnosis, now);
    }

    /// Replaces the cause of a rejection by the clearer one that probes found, unless the provider has recovered
    /// meanwhile.
    pub(super) fn refine_cause(
        &self,
        runtime: &ProviderRuntime,
        refined: RefinedCause,
        now: Moment,
    ) {
        let mut state = self.lock();
        let health_state = state.health(runtime).state(now, runtime.credential_offer());
        let still_holds = match health_state {
            HealthState::Quarantined { cause, .. } => cause == refined.previous,
            HealthState::Healthy | HealthState::Cooldown { .. } => !matches!(
                refined.previous.concern(),
                Concern::Credential | Concern::Account
            ),
            HealthState::Paused => false,
        };
        if still_holds {
            let event = HealthEvent::Probed {
                cause: Some(refined.diagnosis.cause),
                credential: refined.credential,
                suspects_credential: refined.diagnosis.suspects_credential(),
            };
            state.observe(runtime, &event, now);
            // The evidence is news even if the cause is not.
            state.last_reported.remove(&runtime.provider.id);
            self.report_change(&mut state, runtime, Some(refined.diagnosis), now);
        }
    }

    /// The cause, if the credential that would be used was rejected or may have been: a passthrough request does not
    /// try it again, nor does a scheduled probe.
    pub(super) fn rejected_credential(
        &self,
        runtime: &ProviderRuntime,
        now: Moment,
    ) -> Option<Cause> {
        let offer = runtime.credential_offer();
        let mut state = self.lock();
        let health = state.health(runtime);
        let cause = health.state(now, offer).cause();
        cause.filter(|_| health.suspects_credential(offer))
    }

    /// Which credential an attempt at the provider presents.
    pub(super) fn credential_choice(
        &self,
        runtime: &ProviderRuntime,
        trial: bool,
    ) -> CredentialChoice {
        let offer = runtime.credential_offer();
        self.lock().health(runtime).choice(offer, trial)
    }

    /// Forgets these providers, because their names mean other accounts now.
    pub(super) fn remove<'a>(&self, providers: impl Iterator<Item = &'a ProviderId>) {
        let mut state = self.lock();
        for id in providers {
            state.health_by_provider.remove(id);
            state.diagnoses.remove(id);
            state.silences.remove(id);
        }
    }

    /// A provider's state.
    pub(super) fn health_state(&self, runtime: &ProviderRuntime, now: Moment) -> HealthState {
        self.lock()
            .health(runtime)
            .state(now, runtime.credential_offer())
    }

    /// Makes the next refresh report every state, for subscribers that missed the first event.
    pub(super) fn clear_last_reported(&self) {
        self.lock().last_reported.clear();
    }

    /// Reports the states that time or a new credential changed.
    pub(super) fn refresh<'a>(
        &self,
        runtimes: impl Iterator<Item = &'a Arc<ProviderRuntime>>,
        now: Moment,
    ) {
        let mut state = self.lock();
        for runtime in runtimes {
            self.report_change(&mut state, runtime, None, now);
        }
    }

    fn report_change(
        &self,
        state: &mut State,
        runtime: &ProviderRuntime,
        diagnosis: Option<Diagnosis>,
        now: Moment,
    ) {
        runtime.emit_credential_seen();
        let id = &runtime.provider.id;
        let offer = runtime.credential_offer();
        let health_state = state.health(runtime).state(now, offer);
        let previous = state.health(runtime).previous_in_use(offer);
        self.report_previous(state, runtime, previous, diagnosis.as_ref());
        state.update_diagnosis(id, health_state, diagnosis);
        let diagnosis = state.diagnoses.get(id);
        let report = LastReported {
            state: health_state.as_str(),
            cause: health_state.cause(),
            certainty: diagnosis.map(|diagnosis| diagnosis.certainty),
            next_trial_at: health_state.next_trial_at(),
            previous_version: previous.map(|previous| previous.version),
        };
        if state.last_reported.get(id) != Some(&report) {
            HealthStateChanged {
                provider: id,
                state: health_state,
                diagnosis,
            }
            .emit(&self.telemetry);
            state.last_reported.insert(id.clone(), report);
        }
    }

    /// Reports that a previous credential begins to serve in place of the newest, or ends.
    fn report_previous(
        &self,
        state: &State,
        runtime: &ProviderRuntime,
        previous: Option<CredentialRevision>,
        diagnosis: Option<&Diagnosis>,
    ) {
        let id = &runtime.provider.id;
        let version = previous.map(|previous| previous.version);
        let reported = state
            .last_reported
            .get(id)
            .and_then(|report| report.previous_version);
        if version != reported {
            PreviousCredential {
                provider: id,
                newest: runtime.newest_revision().version,
                in_use: version,
                diagnosis,
            }
            .emit(&self.telemetry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A trial at the first provider, if this route had none in the last 10 s.
    fn last_resort_step(&mut self, input: &DecisionInput<'_>) -> Option<NextStep> {
        let mut trials = std::mem::take(&mut self.last_resort_trials);
        let trial = trials.entry(input.route.to_owned()).or_default();
        let account = trial.admit(input.plan, |account| self.view(input, account), input.now);
        self.last_resort_trials = trials;
        let account = account?;
        Some(NextStep::Send {
            account,
            delay: Duration::ZERO,
            trial: true,
            retry: false,
        })
    }

    /// Takes in an event. If it clears the credential, the account may present it again at once.
    fn observe(&mut self, runtime: &ProviderRuntime, event: &HealthEvent, now: Moment) {
        let newest = runtime.newest_revision();
        let health = self.health(runtime);
        let was_suspected = health.suspects_credential(newest);
        health.observe(event, now);
        // The reply to a message that was in flight does not: the credential may have died since.
        let is_accepted = matches!(
            event,
            HealthEvent::Ended {
                outcome: Outcome::Accepted { .. },
                ..
            }
        );
        if was_suspected && !health.suspects_credential(newest) && !is_accepted {
            runtime.token_cache().forget_rejections();
        }
    }

    fn health(&mut self, runtime: &ProviderRuntime) -> &mut Health {
        self.health_by_provider
            .entry(runtime.provider.id.clone())
            .or_insert_with(|| Health::new(runtime.provider.recheck))
    }

    /// Keeps the diagnosis that explains the state. A failure of another kind, such as a trial that timed out, does not.
    fn update_diagnosis(
        &mut self,
        id: &ProviderId,
        health_state: HealthState,
        diagnosis: Option<Diagnosis>,
    ) {
        let cause = health_state.cause();
        if let Some(diagnosis) = diagnosis.filter(|diagnosis| cause == Some(diagnosis.cause)) {
            self.diagnoses.insert(id.clone(), diagnosis);
        } else if self
            .diagnoses
            .get(id)
            .is_some_and(|kept| cause != Some(kept.cause))
        {
            self.diagnoses.remove(id);
        }
    }

    /// The state of one account of the plan.
    fn view(&self, input: &DecisionInput<'_>, account: usize) -> AccountSnapshot {
        let Some(runtime) = input.providers.get(account) else {
            return NO_ACCOUNT;
        };
        let id = &runtime.provider.id;
        let silence = self.silences.get(id);
        let offer = runtime.credential_offer();
        let snapshot = match self.health_by_provider.get(id) {
            Some(health) => health.snapshot(input.now, offer),
            None => Health::new(runtime.provider.recheck).snapshot(input.now, offer),
        };
        let is_full = silence.is_some_and(|it| it.is_full(self.max_waiting, input.now));
        let is_blocked = matches!(snapshot.admission, SendAdmission::Blocked { .. });
        let admission = if is_full && !is_blocked {
            FULL
        } else {
            snapshot.admission
        };
        AccountSnapshot {
            admission,
            is_silent: silence.is_some_and(|silence| silence.is_silent(input.now)),
            ..snapshot
        }
    }
}

/// The messages that wait for a silent provider hold their share of the connections.
const FULL: SendAdmission = SendAdmission::Blocked {
    cause: Cause::Timeout,
    reopens_in: None,
};

/// What an index beyond the plan means.
const NO_ACCOUNT: AccountSnapshot = AccountSnapshot {
    is_silent: false,
    admission: SendAdmission::Blocked {
        cause: Cause::NoProvider,
        reopens_in: None,
    },
    credential: CredentialRevision {
        version: Version(0),
        token_generation: 0,
    },
    can_retry: false,
    credential_status: CredentialStatus::Usable,
};
