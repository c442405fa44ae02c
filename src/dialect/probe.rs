//! Questions that settle a cause and send nothing: written, and their replies read.

use http::Method;
use jiff::Timestamp;

use crate::dialect::judge::{self, Heard};
use crate::dialect::scope::Scope;
use crate::dialect::shape::Probe;
use crate::dialect::template::text_of;
use crate::dialect::write::{address, built, not_translatable, with_digests};
use crate::dialect::{Account, Dialect, Outgoing, Reply, Untranslatable};
use crate::sms::{Cause, Outcome};

/// What a probe's reply settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The account or credential is in order; none: the reply does not say.
    pub alive: Option<bool>,
    /// Why it is not.
    pub cause: Option<Cause>,
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
        let heard = Heard::of(reply);
        let dead = probe.dead.iter().find(|(test, _)| test.fits(&heard)).map(|(_, cause)| *cause);
        if let Some(cause) = dead {
            return Probed { alive: Some(false), cause: Some(cause), balance: None };
        }
        let balance = probe
            .balance
            .as_ref()
            .and_then(|place| place.all(&heard.tree).into_iter().next())
            .and_then(|value| text_of(value).trim().parse::<f64>().ok());
        let said_alive = probe.alive.as_ref().is_some_and(|test| test.fits(&heard));
        if said_alive || balance.is_some() {
            let empty = balance.is_some_and(|left| left <= 0.0);
            let balance = balance.map(|left| (left, probe.unit_in(&heard)));
            return Probed { alive: Some(!empty), cause: empty.then_some(Cause::BalanceEmpty), balance };
        }
        let finding = self.send.judge.decide(&heard, None).unwrap_or_else(|| judge::by_status(&heard));
        match finding.outcome {
            Outcome::Refused(cause) if cause.family() == crate::sms::Family::Account => {
                Probed { alive: Some(false), cause: Some(cause), balance: None }
            }
            Outcome::Refused(_) | Outcome::Unknown(_) | Outcome::Unsent(_) | Outcome::Accepted { .. } => {
                Probed { alive: None, cause: None, balance: None }
            }
        }
    }
}

impl Probe {
    /// The unit stands at a place, or is a word in capitals.
    fn unit_in(&self, heard: &Heard<'_>) -> String {
        let Some(unit) = &self.unit else { return String::new() };
        let place = crate::dialect::place::Place::parse(unit, crate::dialect::place::Flat(false)).ok();
        let found = place.and_then(|place| place.all(&heard.tree).into_iter().next().map(text_of));
        found
            .or_else(|| unit.chars().all(|c| c.is_ascii_uppercase()).then(|| unit.clone()))
            .map(|text| judge::clean(&text))
            .unwrap_or_default()
    }

    /// Method and path, for listings.
    pub fn call(&self) -> String {
        self.call.to_string()
    }

    /// Whether it brings a balance.
    pub fn has_balance(&self) -> bool {
        self.balance.is_some()
    }
}
