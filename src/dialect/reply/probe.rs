//! Questions that settle a cause and send nothing: written, and their replies read.

use http::Method;
use jiff::Timestamp;

use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{CauseCondition, FieldValue, Probe};
use crate::dialect::reply::classify::{self, ParsedReply};
use crate::dialect::reply::login::accepted_classification;
use crate::dialect::reply::sanitize;
use crate::dialect::request::write::{build_request, endpoint_url, not_translatable, with_digests};
use crate::dialect::{Account, Classification, Dialect, ProviderRequest, Reply, Untranslatable};
use crate::sms::{AttemptKind, Cause, Certainty, Outcome};

/// What a probe's reply settled.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeClassification {
    /// The account or credential is in order; none: the reply does not say.
    pub healthy: Option<bool>,
    /// Why it is not.
    pub cause: Option<Cause>,
    /// How sure that is.
    pub certainty: Certainty,
    /// Other causes the same reply can mean.
    pub alternatives: Vec<Cause>,
    /// What it cannot be, since this was answered as it was.
    pub excluded_causes: Vec<Cause>,
    /// Money left, with its unit where it is named.
    pub balance: Option<(f64, String)>,
}

impl Dialect {
    /// The questions this service answers.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// The question as a request.
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
                    not_translatable("the probe's address cannot be built".into())
                })?,
                scope,
            )
        })
    }

    /// What the reply settles: the probe's own words first, then the rules that know a refusal.
    pub fn read_probe(&self, probe: &Probe, reply: &Reply) -> ProbeClassification {
        let mut probed = self.classify_probe(probe, reply);
        if self.requires_experimental() && probed.cause.is_some() {
            probed.certainty = probed.certainty.max(Certainty::Likely);
        }
        probed
    }

    /// What a reply to any call about the account comes to, where it is not known which was asked; answered is `Accepted`.
    pub fn classify_account_reply(&self, reply: &Reply) -> Classification {
        let heard = ParsedReply::parse(reply);
        let seen: Vec<&Probe> = self.probes.iter().filter(|probe| !probe.inferred).collect();
        let says = |probe: &&&Probe| {
            probe
                .cause_when
                .iter()
                .any(|dead| dead.test.is_match(&heard))
        };
        let figure = |probe: &&&Probe| self.read_probe(probe, reply).balance.is_some();
        let alive = |probe: &&&Probe| self.read_probe(probe, reply).healthy == Some(true);
        let probe = seen
            .iter()
            .find(says)
            .or_else(|| seen.iter().find(figure))
            .or_else(|| seen.iter().find(alive));
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
            Some(_) => accepted_classification(String::new()),
            None => self.classify(AttemptKind::Probe, reply, ""),
        }
    }

    fn classify_probe(&self, probe: &Probe, reply: &Reply) -> ProbeClassification {
        let heard = ParsedReply::parse(reply);
        if let Some(dead) = probe
            .cause_when
            .iter()
            .find(|dead| dead.test.is_match(&heard))
        {
            return ProbeClassification::unhealthy(
                dead.cause,
                dead.certainty(),
                &dead.alternatives,
            );
        }
        let balance = probe
            .balance_path
            .as_ref()
            .and_then(|place| place.find_all(&heard.tree).into_iter().next())
            .and_then(|value| to_text(value).trim().parse::<f64>().ok());
        let said_alive = probe
            .healthy_when
            .as_ref()
            .is_some_and(|test| test.is_match(&heard));
        if said_alive || balance.is_some() {
            let left = balance.map(|left| (left, probe.balance_unit(&heard)));
            return match balance {
                Some(left) if left <= 0.0 => ProbeClassification {
                    balance: Some((left, probe.balance_unit(&heard))),
                    ..ProbeClassification::unhealthy(Cause::BalanceEmpty, Certainty::Certain, &[])
                },
                Some(_) | None => {
                    ProbeClassification::healthy(probe.excluded_causes(balance.is_some()), left)
                }
            };
        }
        let finding = self
            .send
            .classifier
            .classify(&heard, None)
            .unwrap_or_else(|| classify::classify_by_status(&heard));
        match finding.outcome {
            Outcome::Rejected(cause) if cause.family() == crate::sms::Family::Account => {
                ProbeClassification::unhealthy(cause, finding.certainty, &finding.alternatives)
            }
            Outcome::Rejected(_)
            | Outcome::Unknown(_)
            | Outcome::Unsent(_)
            | Outcome::Accepted { .. } => ProbeClassification::inconclusive(),
        }
    }
}

impl ProbeClassification {
    fn unhealthy(cause: Cause, certainty: Certainty, or: &[Cause]) -> Self {
        let (alternatives, excluded_causes) = (or.to_vec(), Vec::new());
        Self {
            healthy: Some(false),
            cause: Some(cause),
            certainty,
            alternatives,
            excluded_causes,
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
        match (self.alternatives.is_empty(), self.inferred) {
            (false, _) => Certainty::Ambiguous,
            (true, true) => Certainty::Likely,
            (true, false) => Certainty::Certain,
        }
    }
}

/// Whoever is answered about the account was known by this credential, at this address, at this time. Whether it may
/// send from here is another matter: a list of addresses can be for sends alone.
const EXCLUDED_WHEN_ANSWERED: &[Cause] = &[
    Cause::CredentialMissing,
    Cause::CredentialRejected,
    Cause::CredentialExpired,
    Cause::EndpointWrong,
    Cause::ClockSkew,
    Cause::TlsUntrusted,
];

impl Probe {
    /// What it cannot be if all is in order here, with or without a figure of the balance.
    pub fn excluded_causes(&self, balance: bool) -> Vec<Cause> {
        let told = |cause: &Cause| {
            *cause != Cause::IpNotAllowed && (*cause != Cause::BalanceEmpty || !self.has_balance())
        };
        let named = self.possible_causes().into_iter().flatten().filter(told);
        let mut all = EXCLUDED_WHEN_ANSWERED.to_vec();
        all.extend(named.chain((balance && self.has_balance()).then_some(Cause::BalanceEmpty)));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What its other answers can mean, one entry an answer.
    pub fn possible_causes(&self) -> Vec<Vec<Cause>> {
        let dead = self.cause_when.iter().map(|dead| {
            std::iter::once(dead.cause)
                .chain(dead.alternatives.iter().copied())
                .collect()
        });
        dead.chain(self.has_balance().then(|| vec![Cause::BalanceEmpty]))
            .collect()
    }

    /// The unit stands at a place, or is a word in capitals.
    fn balance_unit(&self, heard: &ParsedReply<'_>) -> String {
        let Some(unit) = &self.unit else {
            return String::new();
        };
        let place = crate::dialect::expr::path::JsonPath::parse(
            unit,
            crate::dialect::expr::path::FlatKeys(false),
        )
        .ok();
        let found =
            place.and_then(|place| place.find_all(&heard.tree).into_iter().next().map(to_text));
        found
            .or_else(|| {
                unit.chars()
                    .all(|c| c.is_ascii_uppercase())
                    .then(|| unit.clone())
            })
            .map(|text| sanitize::sanitize(&text))
            .unwrap_or_default()
    }

    /// Method and path, for listings; where one path serves everything, the field that says what is asked as well.
    pub fn endpoint(&self) -> String {
        let call = self.endpoint.to_string();
        let first = self.fields.body.first().filter(|_| call.ends_with(" /"));
        match first.map(|field| (&field.path.text, &field.value)) {
            Some((name, FieldValue::Constant(value))) => {
                format!("{call} {name}={}", to_text(value))
            }
            Some((_, FieldValue::Template(_))) | None => call,
        }
    }

    /// Whether it brings a balance.
    pub fn has_balance(&self) -> bool {
        self.balance_path.is_some()
    }
}
