//! Probes: free requests that settle a cause. Writes them and reads their replies.

use http::Method;
use jiff::Timestamp;

use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{CauseCondition, FieldValue, Probe};
use crate::dialect::reply::access_denied::proves_health;
use crate::dialect::reply::classify;
use crate::dialect::reply::parsed_reply::ParsedReply;
use crate::dialect::reply::sanitize;
use crate::dialect::request::write::{build_request, endpoint_url, not_translatable, with_digests};
use crate::dialect::{Account, Classification, Dialect, ProviderRequest, Reply, Untranslatable};
use crate::sms::{AttemptKind, Cause, Certainty, Family, Outcome};

/// What a probe's reply settles.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeClassification {
    /// Whether the account or credential is in order; none: the reply does not show it.
    pub healthy: Option<bool>,
    /// Why it is not in order.
    pub cause: Option<Cause>,
    /// How sure that is.
    pub certainty: Certainty,
    /// Other causes the same reply can mean.
    pub alternatives: Vec<Cause>,
    /// Causes that this reply rules out.
    pub excluded_causes: Vec<Cause>,
    /// The money that is left, and its unit; the unit is empty if unknown.
    pub balance: Option<(f64, String)>,
}

impl Dialect {
    /// The probes that settle a cause.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// The probe as a request.
    pub fn probe_request(
        &self,
        probe: &Probe,
        account: &Account<'_>,
        now: Timestamp,
    ) -> Result<ProviderRequest, Untranslatable> {
        self.check_account(account)?;
        let scope = Scope {
            account: Some(account),
            params: &self.params,
            now: Some(now),
            ..Scope::default()
        };
        with_digests(self, scope, |scope| {
            let method = probe
                .endpoint
                .methods
                .first()
                .cloned()
                .unwrap_or(Method::GET);
            let request = endpoint_url(&probe.endpoint, account.base_url, scope)
                .and_then(|url| build_request(method, &url, &probe.fields, scope));
            self.sign_request(
                request.ok_or_else(|| {
                    not_translatable("the address of the probe cannot be built".into())
                })?,
                scope,
            )
        })
    }

    /// What the reply settles: by the probe's own conditions first, then by the rules of the send.
    pub fn read_probe(&self, probe: &Probe, reply: &Reply) -> ProbeClassification {
        let mut probed = self.classify_probe(probe, reply);
        if self.requires_experimental() && probed.cause.is_some() {
            probed.certainty = probed.certainty.max(Certainty::Likely);
        }
        probed
    }

    /// Classifies a reply to a request about the account when the probe is unknown; a healthy reply is `Accepted`.
    pub fn classify_account_reply(&self, reply: &Reply) -> Classification {
        let parsed = ParsedReply::parse(reply);
        let verified: Vec<&Probe> = self.probes.iter().filter(|probe| !probe.inferred).collect();
        let has_cause = |probe: &&&Probe| {
            probe
                .cause_when
                .iter()
                .any(|condition| condition.test.is_match(&parsed))
        };
        let has_balance = |probe: &&&Probe| self.read_probe(probe, reply).balance.is_some();
        let is_healthy = |probe: &&&Probe| self.read_probe(probe, reply).healthy == Some(true);
        let probe = verified
            .iter()
            .find(has_cause)
            .or_else(|| verified.iter().find(has_balance))
            .or_else(|| verified.iter().find(is_healthy));
        match probe.map(|probe| self.read_probe(probe, reply)) {
            Some(ProbeClassification {
                cause: Some(cause),
                certainty,
                alternatives,
                ..
            }) => Classification {
                outcome: Outcome::Rejected(cause),
                certainty,
                alternatives,
                ..self.classify(AttemptKind::Probe, reply, "")
            },
            Some(_) => Classification::accepted(String::new()),
            None => self.classify(AttemptKind::Probe, reply, ""),
        }
    }

    fn classify_probe(&self, probe: &Probe, reply: &Reply) -> ProbeClassification {
        let parsed = ParsedReply::parse(reply);
        let condition = probe
            .cause_when
            .iter()
            .find(|condition| condition.test.is_match(&parsed));
        if let Some(condition) = condition {
            return ProbeClassification::unhealthy(
                condition.cause,
                condition.certainty(),
                &condition.alternatives,
            );
        }
        let balance = probe.read_balance(&parsed);
        let is_healthy = probe
            .healthy_when
            .as_ref()
            .is_some_and(|test| test.is_match(&parsed) && proves_health(test, parsed.status));
        match balance {
            Some((amount, _)) if amount <= 0.0 => ProbeClassification {
                balance,
                ..ProbeClassification::unhealthy(Cause::BalanceEmpty, Certainty::Certain, &[])
            },
            None if !is_healthy => self.classify_failed_probe(&parsed),
            Some(_) | None => {
                ProbeClassification::healthy(probe.excluded_causes(balance.is_some()), balance)
            }
        }
    }

    /// A probe's reply that is neither healthy nor in `cause_when`: the rules of the send apply.
    fn classify_failed_probe(&self, parsed: &ParsedReply<'_>) -> ProbeClassification {
        let found = self
            .send
            .classifier
            .classify(parsed, None)
            .unwrap_or_else(|| classify::classify_by_status(parsed));
        match found.outcome {
            Outcome::Rejected(cause) if cause.family() == Family::Account => {
                ProbeClassification::unhealthy(cause, found.certainty, &found.alternatives)
            }
            Outcome::Rejected(_)
            | Outcome::Unknown(_)
            | Outcome::Unsent(_)
            | Outcome::Accepted { .. } => ProbeClassification::inconclusive(),
        }
    }
}

impl ProbeClassification {
    fn unhealthy(cause: Cause, certainty: Certainty, alternatives: &[Cause]) -> Self {
        Self {
            healthy: Some(false),
            cause: Some(cause),
            certainty,
            alternatives: alternatives.to_vec(),
            excluded_causes: Vec::new(),
            balance: None,
        }
    }

    fn healthy(excluded_causes: Vec<Cause>, balance: Option<(f64, String)>) -> Self {
        Self {
            healthy: Some(true),
            cause: None,
            certainty: Certainty::Certain,
            alternatives: Vec::new(),
            excluded_causes,
            balance,
        }
    }

    fn inconclusive() -> Self {
        Self {
            healthy: None,
            cause: None,
            certainty: Certainty::Ambiguous,
            alternatives: Vec::new(),
            excluded_causes: Vec::new(),
            balance: None,
        }
    }
}

impl CauseCondition {
    fn certainty(&self) -> Certainty {
        classify::certainty_of(self.inferred, &self.alternatives)
    }
}

/// A service that answers about the account accepted this credential, at this address and time. The
/// causes do not include `ip-not-allowed`: an allow-list can apply to sends only.
const EXCLUDED_WHEN_ANSWERED: &[Cause] = &[
    Cause::CredentialMissing,
    Cause::CredentialRejected,
    Cause::CredentialExpired,
    Cause::EndpointWrong,
    Cause::ClockSkew,
    Cause::TlsUntrusted,
];

impl Probe {
    /// The balance in the reply, with its unit.
    fn read_balance(&self, parsed: &ParsedReply<'_>) -> Option<(f64, String)> {
        let path = self.balance_path.as_ref()?;
        let value = path.find_all(&parsed.tree).into_iter().next()?;
        let amount = to_text(value).trim().parse().ok()?;
        Some((amount, self.balance_unit(parsed)))
    }

    /// The causes that a healthy reply rules out; `balance`: the reply has a balance. Only what the
    /// reply itself shows: that the account is not suspended says nothing about the alternatives of a
    /// suspension, and only a balance rules out an empty one.
    pub fn excluded_causes(&self, balance: bool) -> Vec<Cause> {
        let is_ruled_out =
            |cause: &Cause| *cause != Cause::IpNotAllowed && *cause != Cause::BalanceEmpty;
        let named = self
            .cause_when
            .iter()
            .map(|condition| condition.cause)
            .filter(is_ruled_out);
        let mut all = EXCLUDED_WHEN_ANSWERED.to_vec();
        all.extend(named.chain((balance && self.has_balance()).then_some(Cause::BalanceEmpty)));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The causes of its other replies, one entry per reply.
    pub fn possible_causes(&self) -> Vec<Vec<Cause>> {
        let conditions = self.cause_when.iter().map(|condition| {
            std::iter::once(condition.cause)
                .chain(condition.alternatives.iter().copied())
                .collect()
        });
        conditions
            .chain(self.has_balance().then(|| vec![Cause::BalanceEmpty]))
            .collect()
    }

    /// The unit that the reply has at the path, else the word of the description.
    fn balance_unit(&self, parsed: &ParsedReply<'_>) -> String {
        let Some(unit) = &self.unit else {
            return String::new();
        };
        let found = unit
            .path
            .as_ref()
            .and_then(|path| path.find_all(&parsed.tree).into_iter().next().map(to_text));
        found
            .or_else(|| unit.word.clone())
            .map(|text| sanitize::sanitize(&text))
            .unwrap_or_default()
    }

    /// Method and path, for listings; if one path serves all operations, also the field that selects this one.
    pub fn endpoint(&self) -> String {
        let endpoint = self.endpoint.to_string();
        let first = self
            .fields
            .body
            .first()
            .filter(|_| endpoint.ends_with(" /"));
        match first.map(|field| (&field.path.text, &field.value)) {
            Some((name, FieldValue::Constant(value))) => {
                format!("{endpoint} {name}={}", to_text(value))
            }
            Some((_, FieldValue::Template(_))) | None => endpoint,
        }
    }

    /// Whether its reply has a balance.
    pub fn has_balance(&self) -> bool {
        self.balance_path.is_some()
    }
}
