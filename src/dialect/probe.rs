//! Questions that settle a cause and send nothing: written, and their replies read.

use http::Method;
use jiff::Timestamp;

use crate::dialect::judge::{self, Heard};
use crate::dialect::login::accepted;
use crate::dialect::says;
use crate::dialect::scope::Scope;
use crate::dialect::shape::{Dead, Form, Probe};
use crate::dialect::template::text_of;
use crate::dialect::write::{address, built, not_translatable, with_digests};
use crate::dialect::{Account, Dialect, Finding, Outgoing, Reply, Untranslatable};
use crate::sms::{Cause, Certainty, Kind, Outcome};

/// What a probe's reply settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The account or credential is in order; none: the reply does not say.
    pub alive: Option<bool>,
    /// Why it is not.
    pub cause: Option<Cause>,
    /// How sure that is.
    pub certainty: Certainty,
    /// Other causes the same reply can mean.
    pub alternatives: Vec<Cause>,
    /// What it cannot be, since this was answered as it was.
    pub rules_out: Vec<Cause>,
    /// Money left, with its unit where it is named.
    pub balance: Option<(f64, String)>,
}

impl Dialect {
    /// The questions this service answers.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// The question as a request.
    pub fn probe(&self, probe: &Probe, account: &Account<'_>, now: Timestamp) -> Result<Outgoing, Untranslatable> {
        self.complete(account)?;
        let scope = Scope { account: Some(account), params: &self.params, now: Some(now), ..Scope::default() };
        with_digests(self, scope, |scope| {
            let method = probe.call.methods.first().cloned().unwrap_or(Method::GET);
            let request = address(&probe.call, account.base_url, scope).and_then(|url| built(method, &url, &probe.fields, scope));
            self.signed(request.ok_or_else(|| not_translatable("the probe's address cannot be built".into()))?, scope)
        })
    }

    /// What the reply settles: the probe's own words first, then the rules that know a refusal.
    pub fn read_probe(&self, probe: &Probe, reply: &Reply) -> Probed {
        let mut probed = self.probed(probe, reply);
        if self.requires_experimental() && probed.cause.is_some() {
            probed.certainty = probed.certainty.max(Certainty::Likely);
        }
        probed
    }

    /// What a reply to any call about the account comes to, where it is not known which was asked; answered is `Accepted`.
    pub fn judge_account(&self, reply: &Reply) -> Finding {
        let heard = Heard::of(reply);
        let seen: Vec<&Probe> = self.probes.iter().filter(|probe| !probe.guess).collect();
        let says = |probe: &&&Probe| probe.dead.iter().any(|dead| dead.test.fits(&heard));
        let figure = |probe: &&&Probe| self.read_probe(probe, reply).balance.is_some();
        let alive = |probe: &&&Probe| self.read_probe(probe, reply).alive == Some(true);
        let probe = seen.iter().find(says).or_else(|| seen.iter().find(figure)).or_else(|| seen.iter().find(alive));
        match probe.map(|probe| self.read_probe(probe, reply)) {
            Some(Probed { cause: Some(cause), certainty, alternatives, .. }) => {
                Finding { outcome: Outcome::Refused(cause), certainty, alternatives, ..self.classify(Kind::Probe, reply, "") }
            }
            Some(_) => accepted(String::new()),
            None => self.classify(Kind::Probe, reply, ""),
        }
    }

    fn probed(&self, probe: &Probe, reply: &Reply) -> Probed {
        let heard = Heard::of(reply);
        if let Some(dead) = probe.dead.iter().find(|dead| dead.test.fits(&heard)) {
            return Probed::dead(dead.cause, dead.certainty(), &dead.or);
        }
        let balance = probe
            .balance
            .as_ref()
            .and_then(|place| place.all(&heard.tree).into_iter().next())
            .and_then(|value| text_of(value).trim().parse::<f64>().ok());
        let said_alive = probe.alive.as_ref().is_some_and(|test| test.fits(&heard));
        if said_alive || balance.is_some() {
            let left = balance.map(|left| (left, probe.unit_in(&heard)));
            return match balance {
                Some(left) if left <= 0.0 => {
                    Probed { balance: Some((left, probe.unit_in(&heard))), ..Probed::dead(Cause::BalanceEmpty, Certainty::Certain, &[]) }
                }
                Some(_) | None => Probed::alive(probe.rules_out(balance.is_some()), left),
            };
        }
        let finding = self.send.judge.decide(&heard, None).unwrap_or_else(|| judge::by_status(&heard));
        match finding.outcome {
            Outcome::Refused(cause) if cause.family() == crate::sms::Family::Account => {
                Probed::dead(cause, finding.certainty, &finding.alternatives)
            }
            Outcome::Refused(_) | Outcome::Unknown(_) | Outcome::Unsent(_) | Outcome::Accepted { .. } => Probed::silent(),
        }
    }
}

impl Probed {
    fn dead(cause: Cause, certainty: Certainty, or: &[Cause]) -> Self {
        let (alternatives, rules_out) = (or.to_vec(), Vec::new());
        Self { alive: Some(false), cause: Some(cause), certainty, alternatives, rules_out, balance: None }
    }

    fn alive(rules_out: Vec<Cause>, balance: Option<(f64, String)>) -> Self {
        Self { alive: Some(true), cause: None, certainty: Certainty::Certain, alternatives: Vec::new(), rules_out, balance }
    }

    fn silent() -> Self {
        Self { alive: None, cause: None, certainty: Certainty::Ambiguous, alternatives: Vec::new(), rules_out: Vec::new(), balance: None }
    }
}

impl Dead {
    fn certainty(&self) -> Certainty {
        match (self.or.is_empty(), self.guess) {
            (false, _) => Certainty::Ambiguous,
            (true, true) => Certainty::Likely,
            (true, false) => Certainty::Certain,
        }
    }
}

/// Whoever is answered about the account was known by this credential, at this address, at this time. Whether it may
/// send from here is another matter: a list of addresses can be for sends alone.
const ANSWERED: &[Cause] = &[
    Cause::CredentialMissing,
    Cause::CredentialRejected,
    Cause::CredentialExpired,
    Cause::EndpointWrong,
    Cause::ClockSkew,
    Cause::TlsUntrusted,
];

impl Probe {
    /// What it cannot be if all is in order here, with or without a figure of the balance.
    pub fn rules_out(&self, balance: bool) -> Vec<Cause> {
        let told = |cause: &Cause| *cause != Cause::IpNotAllowed && (*cause != Cause::BalanceEmpty || !self.has_balance());
        let named = self.tells().into_iter().flatten().filter(told);
        let mut all = ANSWERED.to_vec();
        all.extend(named.chain((balance && self.has_balance()).then_some(Cause::BalanceEmpty)));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What its other answers can mean, one entry an answer.
    pub fn tells(&self) -> Vec<Vec<Cause>> {
        let dead = self.dead.iter().map(|dead| std::iter::once(dead.cause).chain(dead.or.iter().copied()).collect());
        dead.chain(self.has_balance().then(|| vec![Cause::BalanceEmpty])).collect()
    }

    /// The unit stands at a place, or is a word in capitals.
    fn unit_in(&self, heard: &Heard<'_>) -> String {
        let Some(unit) = &self.unit else { return String::new() };
        let place = crate::dialect::place::Place::parse(unit, crate::dialect::place::Flat(false)).ok();
        let found = place.and_then(|place| place.all(&heard.tree).into_iter().next().map(text_of));
        found
            .or_else(|| unit.chars().all(|c| c.is_ascii_uppercase()).then(|| unit.clone()))
            .map(|text| says::clean(&text))
            .unwrap_or_default()
    }

    /// Method and path, for listings; where one path serves everything, the field that says what is asked as well.
    pub fn call(&self) -> String {
        let call = self.call.to_string();
        let first = self.fields.body.first().filter(|_| call.ends_with(" /"));
        match first.map(|field| (&field.place.text, &field.form)) {
            Some((name, Form::Constant(value))) => format!("{call} {name}={}", text_of(value)),
            Some((_, Form::Template(_))) | None => call,
        }
    }

    /// Whether it brings a balance.
    pub fn has_balance(&self) -> bool {
        self.balance.is_some()
    }
}
