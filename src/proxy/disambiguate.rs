//! An ambiguous refusal is followed in the background, at once: the dialect's free calls are asked
//! until one cause is left or none of them can tell. Never by repeating the send, never in the call's
//! way, once for each doubt about each version of a credential, and within a budget. This is the one
//! place where a credential that is known dead is sent again, in one question; the next is asked only
//! if the answer shows that the service knows it. Which question, and what is left, `diagnosis` says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::diagnosis::{CandidateProbe, CauseCandidates, Evidence, EvidenceSource, Implication};
use crate::dialect::{Classification, Probe, ProbeClassification, ProbeSubject};
use crate::policy::CredentialRevision;
use crate::provider::ProviderRuntime;
use crate::provider::attempt::AttemptResult;
use crate::provider::token_cache::ALL_GENERATIONS;
use crate::proxy::Proxy;
use crate::proxy::explain::{diagnose_failure, diagnosis_input};
use crate::proxy::probe::ProbeResult;
use crate::sms::{AttemptKind, Cause, Outcome};
use crate::telemetry::RejectionDiagnosed;

/// More than ever wait: each provider has an hourly budget.
const MAX_PENDING: usize = 256;

/// A refusal that can mean several things.
#[derive(Debug)]
pub struct PendingProbe {
    runtime: Arc<ProviderRuntime>,
    revision: CredentialRevision,
    kind: AttemptKind,
    classification: Classification,
    /// What was known at once.
    evidence: Vec<Evidence>,
    status: Option<u16>,
}

/// Refusals that wait to be followed.
#[derive(Debug, Default)]
pub(super) struct PendingProbes {
    queue: Mutex<VecDeque<PendingProbe>>,
    notify: Notify,
}

impl PendingProbes {
    fn lock_queue(&self) -> std::sync::MutexGuard<'_, VecDeque<PendingProbe>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, suspicion: PendingProbe) {
        let mut waiting = self.lock_queue();
        if waiting.len() < MAX_PENDING {
            waiting.push_back(suspicion);
        }
        drop(waiting);
        self.notify.notify_one();
    }

    async fn next(&self) -> PendingProbe {
        loop {
            let next = self.lock_queue().pop_front();
            match next {
                Some(suspicion) => return suspicion,
                None => self.notify.notified().await,
            }
        }
    }
}

impl Proxy {
    /// Waits for the next refusal that is to be followed.
    pub async fn next_pending_probe(&self) -> PendingProbe {
        self.pending_probes.next().await
    }

    /// Notes a refusal, if it is ambiguous and something can tell.
    pub(super) fn queue_if_ambiguous(&self, tried: &AttemptResult) {
        let (link, finding) = (&tried.runtime, &tried.classification);
        let Outcome::Rejected(cause) = finding.outcome else {
            return;
        };
        if finding.alternatives.is_empty() || link.provider.credential.is_none() {
            return;
        }
        let suspicion = PendingProbe {
            runtime: Arc::clone(link),
            revision: tried.attempt.credential,
            kind: tried.kind,
            classification: finding.clone(),
            evidence: tried.evidence.clone(),
            status: tried.status,
        };
        let suspects = CauseCandidates::new(cause, finding.certainty, &finding.alternatives);
        let can_tell = suspicion.fresh_token_evidence().is_some()
            || suspicion.may_probe(&suspects) && best_probe(link, &suspects, &[]).is_some();
        if can_tell && link.begin_follow_up(suspicion.revision.version, &suspects, self.now()) {
            self.pending_probes.push(suspicion);
        }
    }

    /// Follows it to its end, and tells what is left.
    pub async fn disambiguate(&self, suspicion: PendingProbe) {
        let began = self.now();
        let mut learned: Vec<Evidence> = suspicion.fresh_token_evidence().into_iter().collect();
        let mut asked = Vec::new();
        while let Some(suspects) = suspicion
            .candidates(&learned)
            .filter(|suspects| !suspects.is_unambiguous() && suspicion.may_probe(suspects))
        {
            let Some(probe) = best_probe(&suspicion.runtime, &suspects, &asked) else {
                break;
            };
            // The credential itself was sent once and is not known: no second question with it.
            if !asked.is_empty() && suspects.includes_credential() {
                break;
            }
            asked.push(probe);
            let Some(brought) = self.exchange_pending_probe(&suspicion, probe).await else {
                break;
            };
            learned.push(Evidence {
                source: evidence_source(probe_subject(&suspicion.runtime, probe)),
                implication: probe_answer(brought.parsed.as_ref()),
            });
            let left = suspicion
                .candidates(&learned)
                .filter(CauseCandidates::is_unambiguous)
                .map(|left| Outcome::Rejected(left.cause));
            self.record_probe(
                &suspicion.runtime,
                &brought,
                left.as_ref().unwrap_or(&brought.outcome),
            );
        }
        let doubt = suspicion.candidates(&[]);
        if let Some(doubt) = doubt {
            suspicion.runtime.probe_history().record(
                suspicion.revision.version,
                &doubt,
                learned.clone(),
            );
        }
        self.apply_disambiguation(&suspicion, &learned, began);
    }

    async fn exchange_pending_probe(
        &self,
        suspicion: &PendingProbe,
        probe: usize,
    ) -> Option<ProbeResult> {
        let link = &suspicion.runtime;
        let pass = link.authenticate(false, link.provider.timeout).await.ok()?;
        // A newer version is another matter: it is tried by the next message.
        let probe = link
            .provider
            .dialect
            .probes()
            .get(probe)
            .filter(|_| pass.revision.version == suspicion.revision.version)?;
        self.exchange_probe(link, probe, &pass).await
    }

    fn apply_disambiguation(
        &self,
        suspicion: &PendingProbe,
        learned: &[Evidence],
        began: crate::clock::Moment,
    ) {
        let (link, now) = (&suspicion.runtime, self.now());
        let all = [suspicion.evidence.as_slice(), learned].concat();
        let Some(evidence) = diagnosis_input(
            suspicion.kind,
            &suspicion.classification,
            suspicion.status,
            &all,
        ) else {
            return;
        };
        let diagnosis = diagnose_failure(link, suspicion.revision.version, &evidence, now);
        RejectionDiagnosed {
            provider: &link.provider.id,
            diagnosis: &diagnosis,
            duration: now.since(began),
        }
        .emit();
        let current = self.snapshot.load();
        if current
            .providers
            .get(&link.provider.id)
            .is_some_and(|current| current.is_same_account(link))
        {
            self.health
                .refine_cause(link, (evidence.cause, suspicion.revision), diagnosis, now);
        }
    }
}

impl PendingProbe {
    fn candidates(&self, learned: &[Evidence]) -> Option<CauseCandidates> {
        Some(diagnosis_input(self.kind, &self.classification, self.status, learned)?.candidates())
    }

    /// Whether a free call may be asked. Where a login comes first, a credential that is suspected is not used for one:
    /// what its logins brought is known already.
    fn may_probe(&self, suspects: &CauseCandidates) -> bool {
        !(self.runtime.provider.dialect.requires_login() && suspects.includes_credential())
    }

    /// A login of this version was accepted, and its token was refused within its life like the one before.
    fn fresh_token_evidence(&self) -> Option<Evidence> {
        let twice = self.kind != AttemptKind::Login
            && self.runtime.provider.dialect.requires_login()
            && self.revision.token_generation == ALL_GENERATIONS;
        let expired = self
            .candidates(&[])
            .is_some_and(|suspects| suspects.causes().contains(&Cause::CredentialExpired));
        (twice && expired).then(|| Evidence {
            source: EvidenceSource::FreshToken,
            implication: Implication::RulesOut(vec![Cause::CredentialExpired]),
        })
    }
}

/// The place of the probe that tells most, of those that were seen to work and not asked yet.
fn best_probe(
    link: &ProviderRuntime,
    suspects: &CauseCandidates,
    asked: &[usize],
) -> Option<usize> {
    let probes = link
        .provider
        .dialect
        .probes()
        .iter()
        .enumerate()
        .filter(|(at, probe)| !probe.inferred && !asked.contains(at));
    let (places, questions): (Vec<usize>, Vec<CandidateProbe>) = probes
        .map(|(at, probe)| (at, probe_question(probe)))
        .unzip();
    suspects
        .best_probe(&questions)
        .and_then(|best| places.get(best).copied())
}

/// What a probe's answers could be.
pub fn probe_question(probe: &Probe) -> CandidateProbe {
    CandidateProbe {
        ruled_out_if_healthy: probe.excluded_causes(true),
        causes_if_unhealthy: probe.possible_causes(),
    }
}

fn probe_subject(link: &ProviderRuntime, probe: usize) -> ProbeSubject {
    link.provider
        .dialect
        .probes()
        .get(probe)
        .map_or(ProbeSubject::Credential, |probe| probe.about)
}

fn evidence_source(asks: ProbeSubject) -> EvidenceSource {
    match asks {
        ProbeSubject::Credential => EvidenceSource::CredentialProbe,
        ProbeSubject::Account | ProbeSubject::Sender | ProbeSubject::Template => {
            EvidenceSource::AccountProbe
        }
        ProbeSubject::Balance => EvidenceSource::BalanceProbe,
    }
}

/// What a probe's reply says of the suspects.
fn probe_answer(probed: Option<&ProbeClassification>) -> Implication {
    match probed {
        Some(ProbeClassification {
            healthy: Some(true),
            excluded_causes: rules_out,
            ..
        }) => Implication::RulesOut(rules_out.clone()),
        Some(ProbeClassification {
            cause: Some(cause),
            certainty,
            alternatives,
            ..
        }) => Implication::Indicates(
            std::iter::once(*cause)
                .chain(alternatives.iter().copied())
                .collect(),
            *certainty,
        ),
        Some(_) | None => Implication::Inconclusive,
    }
}
