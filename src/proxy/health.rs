//! How the providers stand, behind one lock: the question to `policy` and what follows from
//! its answer (a trial taken, a retry paid) are one step, so no two calls take the same trial.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Moment;
use crate::diagnosis::Diagnosis;
use crate::policy::{
    AccountSnapshot, Attempt, CredentialRevision, DeliveryPlan, Health, HealthEvent, HealthState,
    LastResortTrial, NextStep, SendAdmission, next, result_cause,
};
use crate::provider::ProviderRuntime;
use crate::sms::{Cause, Certainty, Concern, ProviderId, RequestResult};
use crate::telemetry::{HealthStateChanged, Telemetry};

/// Every provider's record.
#[derive(Debug)]
pub(super) struct HealthTracker {
    telemetry: Arc<Telemetry>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    health_by_provider: BTreeMap<ProviderId, Health>,
    /// What was said last, so that only a change is told.
    last_reported: BTreeMap<ProviderId, LastReported>,
    /// Why whoever is not open is not: outlives the moment of the refusal, for whoever asks later.
    diagnoses: BTreeMap<ProviderId, Diagnosis>,
    last_resort_trials: BTreeMap<String, LastResortTrial>,
}

/// A standing in words, its cause, how sure that is (a later answer may settle what was ambiguous), and when it may
/// be tried.
type LastReported = (
    &'static str,
    Option<Cause>,
    Option<Certainty>,
    Option<Moment>,
);

/// The question of one call at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecisionInput<'a> {
    pub(super) route: &'a str,
    pub(super) plan: &'a DeliveryPlan,
    pub(super) providers: &'a [Arc<ProviderRuntime>],
    pub(super) attempts: &'a [Attempt],
    pub(super) elapsed: std::time::Duration,
    pub(super) now: Moment,
    pub(super) jitter: f64,
}

impl HealthTracker {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self {
            telemetry,
            state: Mutex::default(),
        }
    }

    /// The next step, with whatever it takes from the records taken.
    pub(super) fn next_step(&self, question: &DecisionInput<'_>) -> NextStep {
        let mut state = self.lock();
        let views = state.views(question);
        let mut step = next(
            question.plan,
            question.attempts,
            |account| view(&views, account),
            question.elapsed,
            question.jitter,
        );
        if step == NextStep::Answer(RequestResult::NotSent)
            && question.attempts.iter().all(|attempt| attempt.inherited)
        {
            let resort = state
                .last_resort_trials
                .entry(question.route.to_owned())
                .or_default();
            if let Some(account) =
                resort.admit(question.plan, |account| view(&views, account), question.now)
            {
                step = NextStep::Send {
                    account,
                    delay: std::time::Duration::ZERO,
                    trial: true,
                    retry: false,
                };
            }
        }
        if let NextStep::Send {
            account,
            trial,
            retry,
            ..
        } = step
            && let Some(link) = question.providers.get(account)
        {
            state
                .health(link)
                .observe(&HealthEvent::Started { trial, retry }, question.now);
        }
        step
    }

    /// Whether an account that was open when the question was asked has been closed since.
    pub(super) fn is_closed(&self, question: &DecisionInput<'_>, account: usize) -> bool {
        let views = self.lock().views(question);
        matches!(
            view(&views, account).admission,
            SendAdmission::Blocked { .. }
        )
    }

    /// Why a call ended as it did.
    pub(super) fn cause(&self, question: &DecisionInput<'_>) -> Option<Cause> {
        let views = self.lock().views(question);
        result_cause(question.plan, question.attempts, |account| {
            view(&views, account)
        })
    }

    /// An attempt at this provider came to its end.
    pub(super) fn record_attempt(
        &self,
        link: &ProviderRuntime,
        attempt: &Attempt,
        diagnosis: Option<Diagnosis>,
        now: Moment,
    ) {
        let event = HealthEvent::Ended {
            outcome: attempt.outcome.clone(),
            credential: attempt.credential,
            retry_after: attempt.retry_after,
        };
        self.record_event(link, &event, diagnosis, now);
    }

    /// Takes in what happened, and tells if the standing is another one now.
    pub(super) fn record_event(
        &self,
        link: &ProviderRuntime,
        event: &HealthEvent,
        diagnosis: Option<Diagnosis>,
        now: Moment,
    ) {
        let mut state = self.lock();
        state.health(link).observe(event, now);
        self.report_change(&mut state, link, diagnosis, now);
    }

    /// A refusal that was followed is explained better now: the provider stands aside for that and no more for what it
    /// `was`, unless it came back meanwhile.
    pub(super) fn refine_cause(
        &self,
        link: &ProviderRuntime,
        (was, credential): (Cause, CredentialRevision),
        diagnosis: Diagnosis,
        now: Moment,
    ) {
        let mut state = self.lock();
        let holds = match state.health(link).state(now, link.newest_revision()) {
            HealthState::Quarantined { cause, .. } => cause == was,
            HealthState::Healthy | HealthState::Cooldown { .. } => {
                !matches!(was.concern(), Concern::Credential | Concern::Account)
            }
            HealthState::Paused => false,
        };
        if holds {
            state.health(link).observe(
                &HealthEvent::Probed {
                    cause: Some(diagnosis.cause),
                    credential,
                },
                now,
            );
            self.report_change(&mut state, link, Some(diagnosis), now);
        }
    }

    /// The credential that would be used was refused: a call that nobody asked to try it does not.
    pub(super) fn rejected_credential(&self, link: &ProviderRuntime, now: Moment) -> Option<Cause> {
        self.health_state(link, now)
            .cause()
            .filter(|cause| cause.concern() == Concern::Credential)
    }

    /// These are other accounts now, whatever their names: what is known is of the old ones.
    pub(super) fn remove<'a>(&self, providers: impl Iterator<Item = &'a ProviderId>) {
        let mut state = self.lock();
        for id in providers {
            state.health_by_provider.remove(id);
            state.diagnoses.remove(id);
        }
    }

    /// How a provider stands.
    pub(super) fn health_state(&self, link: &ProviderRuntime, now: Moment) -> HealthState {
        self.lock().health(link).state(now, link.newest_revision())
    }

    /// Has everything told anew: somebody may have had no ear for it before.
    pub(super) fn clear_last_reported(&self) {
        self.lock().last_reported.clear();
    }

    /// Tells of changes that time or a new credential made.
    pub(super) fn refresh<'a>(
        &self,
        links: impl Iterator<Item = &'a Arc<ProviderRuntime>>,
        now: Moment,
    ) {
        let mut state = self.lock();
        for link in links {
            self.report_change(&mut state, link, None, now);
        }
    }

    fn report_change(
        &self,
        state: &mut State,
        link: &ProviderRuntime,
        news: Option<Diagnosis>,
        now: Moment,
    ) {
        link.emit_credential_seen();
        let id = &link.provider.id;
        let standing = state.health(link).state(now, link.newest_revision());
        state.update_diagnosis(id, standing, news);
        let diagnosis = state.diagnoses.get(id);
        let told = (
            standing.as_str(),
            standing.cause(),
            diagnosis.map(|diagnosis| diagnosis.certainty),
            standing.next_trial_at(),
        );
        if state.last_reported.get(id) != Some(&told) {
            HealthStateChanged {
                provider: id,
                state: standing,
                diagnosis,
            }
            .emit(&self.telemetry);
            state.last_reported.insert(id.clone(), told);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn health(&mut self, link: &ProviderRuntime) -> &mut Health {
        self.health_by_provider
            .entry(link.provider.id.clone())
            .or_insert_with(|| Health::new(link.provider.recheck))
    }

    /// Keeps what explains a standing; a failure of another kind meanwhile (a trial that timed out) does not.
    fn update_diagnosis(
        &mut self,
        id: &ProviderId,
        standing: HealthState,
        news: Option<Diagnosis>,
    ) {
        let cause = standing.cause();
        if let Some(news) = news.filter(|news| cause == Some(news.cause)) {
            self.diagnoses.insert(id.clone(), news);
        } else if self
            .diagnoses
            .get(id)
            .is_some_and(|kept| cause != Some(kept.cause))
        {
            self.diagnoses.remove(id);
        }
    }

    fn views(&mut self, question: &DecisionInput<'_>) -> Vec<AccountSnapshot> {
        question
            .providers
            .iter()
            .map(|link| {
                self.health(link)
                    .snapshot(question.now, link.newest_revision())
            })
            .collect()
    }
}

fn view(views: &[AccountSnapshot], account: usize) -> AccountSnapshot {
    let nobody = AccountSnapshot {
        admission: SendAdmission::Blocked {
            cause: Cause::NoProvider,
            reopens_in: None,
        },
        credential: CredentialRevision::default(),
        can_retry: false,
    };
    views.get(account).copied().unwrap_or(nobody)
}
