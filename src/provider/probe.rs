//! Probes: free requests that ask a service about the account. Which probe tells the candidates of an
//! ambiguous rejection apart, one exchange of it, and what its reply proves. When a probe runs is
//! decided by the callers.

use std::time::Duration;

use jiff::Timestamp;

use crate::diagnosis::{CandidateProbe, CauseCandidates, Evidence, EvidenceSource, Implication};
use crate::dialect::{
    Classification, Dialect, Probe, ProbeClassification, ProbeSubject, Reply, Untranslatable,
};
use crate::net::upstream::{ExchangeError, reply_status};
use crate::provider::ProviderClient;
use crate::provider::auth_context::AuthContext;
use crate::provider::classification::{lost_classification, own_classification};
use crate::secret::redact::Redactor;
use crate::sms::{AttemptKind, Cause, Outcome};

/// One probe that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeRequest<'a> {
    pub(crate) client: ProviderClient<'a>,
    pub(crate) probe: &'a Probe,
    pub(crate) auth: &'a AuthContext,
    pub(crate) now: Timestamp,
    pub(crate) limit: Duration,
}

/// The result of one probe.
#[derive(Debug)]
pub(crate) struct ProbeResult {
    pub(crate) classification: Classification,
    /// None: no reply.
    pub(crate) parsed: Option<ProbeClassification>,
    /// The redacted reply.
    pub(crate) reply: Result<Reply, ExchangeError>,
}

impl ProbeRequest<'_> {
    /// Sends the probe once. `redactor` takes the credential out of the reply and of what is read from it. Returns an
    /// error if the request cannot be written.
    pub(crate) async fn send(&self, redactor: &Redactor) -> Result<ProbeResult, Untranslatable> {
        let dialect = &self.client.provider.dialect;
        let account = self.client.account(self.auth);
        let request = dialect.probe_request(self.probe, &account, self.now)?;
        let reply = match self.client.client.exchange(request, self.limit).await {
            Ok(reply) => reply,
            Err(lost) => {
                return Ok(ProbeResult {
                    classification: lost_classification(&lost, redactor),
                    parsed: None,
                    reply: Err(lost),
                });
            }
        };
        let mut parsed = dialect.read_probe(self.probe, &reply);
        if let Some((_, unit)) = &mut parsed.balance {
            *unit = redactor.redact_text(std::mem::take(unit));
        }
        let reply = redactor.redact_reply_aside(reply, self.limit).await;
        Ok(ProbeResult {
            classification: classify_probe(dialect, self.probe, &parsed, &reply),
            parsed: Some(parsed),
            reply: Ok(reply),
        })
    }
}

impl ProbeResult {
    /// The reply's HTTP status.
    pub(crate) fn status(&self) -> Option<u16> {
        reply_status(&self.reply)
    }

    /// Whether the reply shows that the account is in order.
    pub(crate) fn is_healthy(&self) -> bool {
        self.parsed
            .as_ref()
            .is_some_and(|parsed| parsed.healthy == Some(true))
    }

    /// What the result says about the candidates of an ambiguous rejection.
    pub(crate) fn evidence(&self, subject: ProbeSubject) -> Evidence {
        Evidence {
            source: match subject {
                ProbeSubject::Credential => EvidenceSource::CredentialProbe,
                ProbeSubject::Account | ProbeSubject::Sender | ProbeSubject::Template => {
                    EvidenceSource::AccountProbe
                }
                ProbeSubject::Balance => EvidenceSource::BalanceProbe,
            },
            implication: self
                .parsed
                .as_ref()
                .map_or(Implication::Inconclusive, implication),
        }
    }
}

/// A healthy reply is `Accepted`; a cause that the probe knows is `Rejected`; for every other reply the dialect's
/// general rules decide.
fn classify_probe(
    dialect: &Dialect,
    probe: &Probe,
    parsed: &ProbeClassification,
    reply: &Reply,
) -> Classification {
    if parsed.healthy == Some(true) {
        return own_classification(Outcome::Accepted { id: String::new() }, None);
    }
    let mut classification = dialect.classify(AttemptKind::Probe, reply, "");
    if let Some(cause) = parsed.cause {
        classification.outcome = Outcome::Rejected(cause);
        classification.certainty = parsed.certainty;
        classification.alternatives.clone_from(&parsed.alternatives);
        let balance = parsed
            .balance
            .as_ref()
            .map(|(value, unit)| format!("{value} {unit} left").replace("  ", " "));
        classification.provider_message = balance
            .or(classification.provider_message)
            .or_else(|| Some(format!("according to the reply to {}", probe.endpoint())));
    } else if classification.outcome.cause().is_none() {
        classification.outcome = Outcome::Unknown(Cause::ReplyUnreadable);
    }
    classification
}

fn implication(parsed: &ProbeClassification) -> Implication {
    match parsed {
        ProbeClassification {
            healthy: Some(true),
            excluded_causes,
            ..
        } => Implication::RulesOut(excluded_causes.clone()),
        ProbeClassification {
            cause: Some(cause),
            certainty,
            alternatives,
            ..
        } => {
            let causes = std::iter::once(*cause).chain(alternatives.iter().copied());
            Implication::Indicates(causes.collect(), *certainty)
        }
        ProbeClassification { .. } => Implication::Inconclusive,
    }
}

/// The index of the probe that tells most about these candidates. Leaves out probes that are only inferred, and those
/// `already_run`.
pub(crate) fn best_probe(
    dialect: &Dialect,
    candidates: &CauseCandidates,
    already_run: &[usize],
) -> Option<usize> {
    let usable = dialect
        .probes()
        .iter()
        .enumerate()
        .filter(|(index, probe)| !probe.inferred && !already_run.contains(index));
    let (indices, probes): (Vec<usize>, Vec<CandidateProbe>) = usable
        .map(|(index, probe)| (index, candidate_probe(probe)))
        .unzip();
    let best = candidates.best_probe(&probes)?;
    indices.get(best).copied()
}

/// What the replies to a probe can show.
fn candidate_probe(probe: &Probe) -> CandidateProbe {
    CandidateProbe {
        ruled_out_if_healthy: probe.excluded_causes(true),
        causes_if_unhealthy: probe.possible_causes(),
    }
}
