//! An ambiguous rejection is probed in the background, at once: the dialect's free requests run until
//! one cause is left or no probe can tell more. Never repeats the send and never delays the request.
//! Runs once for each set of candidates of each version of a credential, within an hourly budget. This
//! is the only place where a credential that is known dead is sent again: in one probe and, if that left
//! the credential suspected, in the probe of the balance. Which probe is best and which candidates are
//! left is decided by `diagnosis`.
//!
//! An attempt whose cause is probed is counted when the probes are done, under the cause that they leave,
//! so that the rate by cause is true. Attempts that meet the same candidates meanwhile wait for the same
//! result.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Moment;
use crate::diagnosis::{CauseCandidates, Diagnosis, Evidence, EvidenceSource, Implication};
use crate::dialect::{Classification, Probe};
use crate::policy::{CredentialChoice, CredentialRevision};
use crate::provider::ProviderRuntime;
use crate::provider::attempt::AttemptResult;
use crate::provider::diagnose::diagnosis_input;
use crate::provider::probe::best_probe;
use crate::provider::token_cache::ALL_GENERATIONS;
use crate::proxy::Proxy;
use crate::proxy::health::RefinedCause;
use crate::proxy::probe::TimedProbe;
use crate::sms::{AttemptKind, Cause, Outcome};
use crate::telemetry::{AttemptFinished, LastSendOutcome, RejectionDiagnosed};

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
    duration: Duration,
    ended_at: Moment,
}

/// The queue of ambiguous rejections.
#[derive(Debug, Default)]
pub(super) struct PendingProbes {
    queue: Mutex<VecDeque<PendingProbe>>,
    notify: Notify,
    /// Attempts with candidates that are being probed for another attempt; counted with its result.
    followers: Mutex<VecDeque<PendingProbe>>,
}

impl PendingProbes {
    fn lock_queue(&self) -> MutexGuard<'_, VecDeque<PendingProbe>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rejection if the queue is full.
    fn push(&self, pending: PendingProbe) -> Option<PendingProbe> {
        let rejected = push_up_to(MAX_PENDING, &mut self.lock_queue(), pending);
        self.notify.notify_one();
        rejected
    }

    /// Keeps an attempt until the probes of another one are done; returns it if too many are kept.
    fn follow(&self, pending: PendingProbe) -> Option<PendingProbe> {
        push_up_to(MAX_PENDING, &mut self.lock_followers(), pending)
    }

    /// Takes the attempts whose probes are done.
    fn take_followers(&self, is_done: impl Fn(&PendingProbe) -> bool) -> VecDeque<PendingProbe> {
        let mut followers = self.lock_followers();
        let all = std::mem::take(&mut *followers);
        let (done, waiting) = all.into_iter().partition(is_done);
        *followers = waiting;
        done
    }

    fn lock_followers(&self) -> MutexGuard<'_, VecDeque<PendingProbe>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

/// Returns the item if the queue has `limit` items.
fn push_up_to<T>(limit: usize, queue: &mut VecDeque<T>, item: T) -> Option<T> {
    if queue.len() >= limit {
        return Some(item);
    }
    queue.push_back(item);
    None
}

impl Proxy {
    /// Waits for the next rejection that is to be probed.
    pub async fn next_pending_probe(&self) -> PendingProbe {
        self.pending_probes.next().await
    }

    /// Counts the attempt; if it is ambiguous and something can tell its candidates apart, after that is done.
    pub(super) fn count_when_settled(&self, result: &AttemptResult) {
        let pending = PendingProbe {
            runtime: Arc::clone(&result.runtime),
            revision: result.attempt.credential,
            kind: result.kind,
            classification: result.classification.clone(),
            evidence: result.evidence.clone(),
            status: result.status,
            duration: result.duration,
            ended_at: self.now(),
        };
        if let Some(pending) = self.queue_if_ambiguous(pending) {
            self.count(&pending, &[]);
        }
    }

    /// Returns the attempt if nothing can settle it.
    fn queue_if_ambiguous(&self, pending: PendingProbe) -> Option<PendingProbe> {
        let is_ambiguous = matches!(pending.classification.outcome, Outcome::Rejected(_))
            && !pending.classification.alternatives.is_empty()
            && pending.runtime.provider.credential.is_some()
            // The next attempt has a newer credential or token: if that is accepted, there is nothing to settle.
            && pending.runtime.newest_revision() <= pending.revision;
        let Some(candidates) = pending.candidates(&[]).filter(|_| is_ambiguous) else {
            return Some(pending);
        };
        let can_tell = pending.fresh_token_evidence().is_some()
            || pending.may_probe(&candidates) && pending.best_probe(&candidates, &[]).is_some();
        if !can_tell {
            return Some(pending);
        }
        let version = pending.revision.version;
        let runtime = Arc::clone(&pending.runtime);
        if runtime.begin_follow_up(version, &candidates, self.now()) {
            self.pending_probes.push(pending)
        } else if pending.is_running() {
            let rejected = self.pending_probes.follow(pending);
            // The round may have ended between the two.
            self.count_followers(&runtime);
            rejected
        } else {
            Some(pending)
        }
    }

    /// Counts the attempt under the cause that the evidence leaves.
    fn count(&self, pending: &PendingProbe, evidence: &[Evidence]) {
        let settled = pending
            .candidates(evidence)
            .filter(|_| !evidence.is_empty())
            .map(|left| Outcome::Rejected(left.cause));
        AttemptFinished {
            provider: &pending.runtime.provider.id,
            kind: pending.kind,
            outcome: settled.as_ref().unwrap_or(&pending.classification.outcome),
            status: pending.status,
            duration: pending.duration,
        }
        .emit(&self.telemetry);
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
        self.count(&pending, &evidence);
        self.count_followers(&pending.runtime);
    }

    /// Counts the attempts of the provider that waited for probes which are done.
    fn count_followers(&self, runtime: &ProviderRuntime) {
        let is_done = |follower: &PendingProbe| {
            follower.runtime.provider.id == runtime.provider.id && !follower.is_running()
        };
        for follower in self.pending_probes.take_followers(is_done) {
            let evidence = follower.round_evidence();
            self.count(&follower, &evidence);
        }
    }

    async fn gather_evidence(&self, pending: &PendingProbe) -> Vec<Evidence> {
        let mut evidence: Vec<Evidence> = pending.fresh_token_evidence().into_iter().collect();
        let mut already_run = Vec::new();
        while let Some(candidates) = pending
            .candidates(&evidence)
            .filter(|candidates| !candidates.is_settled() && pending.may_probe(candidates))
        {
            let best = pending.best_probe(&candidates, &already_run);
            let probes = pending.runtime.provider.dialect.probes();
            let Some((index, probe)) = best.and_then(|index| Some((index, probes.get(index)?)))
            else {
                break;
            };
            // A credential that is still suspected is sent once more only to read the balance.
            if !already_run.is_empty() && candidates.includes_credential() && !probe.has_balance() {
                break;
            }
            already_run.push(index);
            let Some(timed) = self.run_pending_probe(pending, probe).await else {
                break;
            };
            evidence.push(timed.result.evidence(probe.about));
            self.record_probe(&pending.runtime, &timed);
        }
        evidence
    }

    async fn run_pending_probe(&self, pending: &PendingProbe, probe: &Probe) -> Option<TimedProbe> {
        let runtime = &pending.runtime;
        let auth = runtime
            .authenticate(CredentialChoice::Newest, false, runtime.provider.timeout)
            .await
            .ok()?;
        // A newer version is not the one that was rejected; the next message tries it.
        if auth.revision.version != pending.revision.version {
            return None;
        }
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
                diagnosis: diagnosis.clone(),
            };
            self.health.refine_cause(runtime, refined, now);
            self.replace_last_failure(pending, &diagnosis);
        }
    }

    /// The status shows the settled cause of the last send, unless one was accepted since.
    fn replace_last_failure(&self, pending: &PendingProbe, diagnosis: &Diagnosis) {
        let accepted = pending.runtime.last_accepted().map(|accepted| accepted.at);
        if pending.kind == AttemptKind::Send
            && accepted.is_none_or(|accepted| accepted <= pending.ended_at)
        {
            LastSendOutcome {
                provider: &pending.runtime.provider.id,
                diagnosis: Some(diagnosis),
            }
            .emit(&self.telemetry);
        }
    }
}

impl PendingProbe {
    /// Whether a round about its candidates runs now.
    fn is_running(&self) -> bool {
        self.candidates(&[]).is_some_and(|candidates| {
            self.runtime
                .probe_history()
                .is_running(self.revision.version, &candidates)
        })
    }

    /// The evidence of the last round about its candidates.
    fn round_evidence(&self) -> Vec<Evidence> {
        let version = self.revision.version;
        self.candidates(&[]).map_or_else(Vec::new, |candidates| {
            self.runtime
                .probe_history()
                .known_evidence(version, &candidates, None)
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_takes_nothing_more() {
        let mut queue = VecDeque::new();
        let rejected = [1, 2, 3, 4].map(|item| push_up_to(2, &mut queue, item));
        assert_eq!(rejected, [None, None, Some(3), Some(4)]);
        assert_eq!(queue, [1, 2]);
    }
}
