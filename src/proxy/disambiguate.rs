//! An ambiguous rejection is probed in the background, at once: the dialect's free requests run until
//! one cause is left or no probe can tell more. Never repeats the send and never delays the request.
//! Runs once for each set of candidates of each version of a credential, within an hourly budget. This
//! is the only place where a credential that is known dead is sent again, in one probe; the next runs
//! only if the reply shows that the service knows the credential. Which probe is best and which
//! candidates are left is decided by `diagnosis`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Moment;
use crate::diagnosis::{CauseCandidates, Evidence, EvidenceSource, Implication};
use crate::dialect::Classification;
use crate::policy::CredentialRevision;
use crate::provider::ProviderRuntime;
use crate::provider::attempt::AttemptResult;
use crate::provider::diagnose::diagnosis_input;
use crate::provider::probe::best_probe;
use crate::provider::token_cache::ALL_GENERATIONS;
use crate::proxy::Proxy;
use crate::proxy::health::RefinedCause;
use crate::proxy::probe::TimedProbe;
use crate::sms::{AttemptKind, Cause, Outcome};
use crate::telemetry::RejectionDiagnosed;

/// The queue's length limit; each provider's hourly budget keeps it far shorter.
const MAX_PENDING: usize = 256;

/// An ambiguous rejection that is to be probed.
#[derive(Debug)]
pub struct PendingProbe {
    runtime: Arc<ProviderRuntime>,
    revision: CredentialRevision,
    kind: AttemptKind,
    classification: Classification,
    /// The initial diagnosis.
    evidence: Vec<Evidence>,
    status: Option<u16>,
}

/// The queue of ambiguous rejections.
#[derive(Debug, Default)]
pub(super) struct PendingProbes {
    queue: Mutex<VecDeque<PendingProbe>>,
    notify: Notify,
}

impl PendingProbes {
    fn lock_queue(&self) -> MutexGuard<'_, VecDeque<PendingProbe>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, pending: PendingProbe) {
        let mut queue = self.lock_queue();
        if queue.len() < MAX_PENDING {
            queue.push_back(pending);
        }
        drop(queue);
        self.notify.notify_one();
    }

    async fn next(&self) -> PendingProbe {
        loop {
            let next = self.lock_queue().pop_front();
            match next {
                Some(pending) => return pending,
                None => self.notify.notified().await,
            }
        }
    }
}

impl Proxy {
    /// Waits for the next rejection that is to be probed.
    pub async fn next_pending_probe(&self) -> PendingProbe {
        self.pending_probes.next().await
    }

    /// Queues a rejection, if it is ambiguous and something can tell its candidates apart.
    pub(super) fn queue_if_ambiguous(&self, result: &AttemptResult) {
        let classification = &result.classification;
        let Outcome::Rejected(cause) = classification.outcome else {
            return;
        };
        if classification.alternatives.is_empty() || result.runtime.provider.credential.is_none() {
            return;
        }
        let pending = PendingProbe {
            runtime: Arc::clone(&result.runtime),
            revision: result.attempt.credential,
            kind: result.kind,
            classification: classification.clone(),
            evidence: result.evidence.clone(),
            status: result.status,
        };
        let candidates = CauseCandidates::new(
            cause,
            classification.certainty,
            &classification.alternatives,
        );
        let can_tell = pending.fresh_token_evidence().is_some()
            || pending.may_probe(&candidates) && pending.best_probe(&candidates, &[]).is_some();
        if can_tell
            && result
                .runtime
                .begin_follow_up(pending.revision.version, &candidates, self.now())
        {
            self.pending_probes.push(pending);
        }
    }

    /// Probes the account until the rejection's cause is clear or no probe can tell more, and applies the result.
    pub async fn disambiguate(&self, pending: PendingProbe) {
        let started_at = self.now();
        let evidence = self.gather_evidence(&pending).await;
        if let Some(candidates) = pending.candidates(&[]) {
            pending.runtime.probe_history().record(
                pending.revision.version,
                &candidates,
                evidence.clone(),
            );
        }
        self.apply_disambiguation(&pending, &evidence, started_at);
    }

    async fn gather_evidence(&self, pending: &PendingProbe) -> Vec<Evidence> {
        let mut evidence: Vec<Evidence> = pending.fresh_token_evidence().into_iter().collect();
        let mut already_run = Vec::new();
        while let Some(candidates) = pending
            .candidates(&evidence)
            .filter(|candidates| !candidates.is_unambiguous() && pending.may_probe(candidates))
        {
            let Some(index) = pending.best_probe(&candidates, &already_run) else {
                break;
            };
            // The service did not know the credential in the first probe: it is not sent a second time.
            if !already_run.is_empty() && candidates.includes_credential() {
                break;
            }
            already_run.push(index);
            let Some(probe) = pending.runtime.provider.dialect.probes().get(index) else {
                break;
            };
            let Some(timed) = self.run_pending_probe(pending, index).await else {
                break;
            };
            evidence.push(timed.result.evidence(probe.about));
            let settled = pending
                .candidates(&evidence)
                .filter(CauseCandidates::is_unambiguous)
                .map(|left| Outcome::Rejected(left.cause));
            let outcome = settled
                .as_ref()
                .unwrap_or(&timed.result.classification.outcome);
            self.record_probe(&pending.runtime, &timed, outcome);
        }
        evidence
    }

    async fn run_pending_probe(&self, pending: &PendingProbe, index: usize) -> Option<TimedProbe> {
        let runtime = &pending.runtime;
        let auth = runtime
            .authenticate(false, runtime.provider.timeout)
            .await
            .ok()?;
        // A newer version is not the one that was rejected; the next message tries it.
        if auth.revision.version != pending.revision.version {
            return None;
        }
        let probe = runtime.provider.dialect.probes().get(index)?;
        self.run_probe(runtime, probe, &auth).await
    }

    fn apply_disambiguation(
        &self,
        pending: &PendingProbe,
        evidence: &[Evidence],
        started_at: Moment,
    ) {
        let runtime = &pending.runtime;
        let now = self.now();
        let evidence = [pending.evidence.as_slice(), evidence].concat();
        let Some(failed) = diagnosis_input(
            pending.kind,
            &pending.classification,
            pending.status,
            &evidence,
        ) else {
            return;
        };
        let diagnosis = runtime.diagnose_failure(pending.revision.version, &failed, now);
        RejectionDiagnosed {
            provider: &runtime.provider.id,
            diagnosis: &diagnosis,
            duration: now.since(started_at),
        }
        .emit();
        let snapshot = self.snapshot.load();
        if snapshot
            .providers
            .get(&runtime.provider.id)
            .is_some_and(|current| current.is_same_account(runtime))
        {
            let refined = RefinedCause {
                previous: failed.cause,
                credential: pending.revision,
                diagnosis,
            };
            self.health.refine_cause(runtime, refined, now);
        }
    }
}

impl PendingProbe {
    fn candidates(&self, evidence: &[Evidence]) -> Option<CauseCandidates> {
        let failed = diagnosis_input(self.kind, &self.classification, self.status, evidence)?;
        Some(failed.candidates())
    }

    /// Whether a probe may run. Where the dialect has a login, a credential that is a candidate is not used for
    /// another login: the result of its logins is known already.
    fn may_probe(&self, candidates: &CauseCandidates) -> bool {
        !(self.runtime.provider.dialect.requires_login() && candidates.includes_credential())
    }

    fn best_probe(&self, candidates: &CauseCandidates, already_run: &[usize]) -> Option<usize> {
        best_probe(&self.runtime.provider.dialect, candidates, already_run)
    }

    /// A login of this version was accepted, and its token was rejected within its lifetime like the one before: the
    /// token did not expire.
    fn fresh_token_evidence(&self) -> Option<Evidence> {
        let rejected_twice = self.kind != AttemptKind::Login
            && self.runtime.provider.dialect.requires_login()
            && self.revision.token_generation == ALL_GENERATIONS;
        let may_be_expired = self
            .candidates(&[])
            .is_some_and(|candidates| candidates.causes().contains(&Cause::CredentialExpired));
        (rejected_twice && may_be_expired).then(|| Evidence {
            source: EvidenceSource::FreshToken,
            implication: Implication::RulesOut(vec![Cause::CredentialExpired]),
        })
    }
}
