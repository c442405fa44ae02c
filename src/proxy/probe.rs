//! What a service is asked for free, and when. A provider that was set aside for its account (money,
//! a lock, an address list …) is asked in the background whether all is well, and if so it is back
//! without waiting for a message to try it; one that is in use is asked for its money every quarter
//! of an hour, so that an empty account is seen coming. Sends nothing to anybody, asks each at most
//! every 30 s, uses no probe that was never seen to work, and here never a credential that is known dead.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::dialect::{Probe, Probed};
use crate::policy::{Event, Standing};
use crate::proxy::Proxy;
use crate::proxy::link::{Link, lost_finding};
use crate::proxy::login::Pass;
use crate::sms::{Cause, Concern, Kind, Outcome};
use crate::telemetry::{AttemptEnded, Balance};

/// Between two questions to one provider that stands aside, and between its setting aside and the first.
const EVERY: Duration = Duration::from_secs(30);
/// Between two questions for the money of one that is in use …
const MONEY: Duration = Duration::from_mins(15);
/// … and before the first, so that a start brings messages first.
const FIRST: Duration = Duration::from_mins(1);

/// What came of a question.
pub(super) struct Brought {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    /// None: no reply.
    pub(super) probed: Option<Probed>,
    pub(super) took: Duration,
}

impl Proxy {
    /// Asks whoever is due; to be called every second or so.
    pub async fn probe(&self) {
        let world = self.world.load_full();
        for link in world.links.values() {
            if let Some(probe) = self.due(link) {
                self.ask(link, probe).await;
            }
        }
    }

    /// The question for a provider, if it is time: one about the account where that is why it stands aside, one about
    /// the money where it is in use.
    fn due<'a>(&self, link: &'a Link) -> Option<&'a Probe> {
        let (now, before) = (self.now(), link.probed());
        let mut probes = link.provider.dialect.probes().iter().filter(|probe| !probe.guess);
        let (probe, due) = match self.board.standing(link, now) {
            Standing::Aside { cause, since, .. } => {
                let due = cause.concern() == Concern::Account && now.since(since.max(before.unwrap_or_default())) >= EVERY;
                (probes.next()?, due)
            }
            Standing::Open => {
                let due = before.map_or(now.since(Moment::default()) >= FIRST, |before| now.since(before) >= MONEY);
                (probes.find(|probe| probe.has_balance())?, due && link.provider.credential.is_some())
            }
            Standing::Resting { .. } | Standing::Paused => return None,
        };
        due.then(|| link.is_probed(now)).map(|()| probe)
    }

    async fn ask(&self, link: &Arc<Link>, probe: &Probe) {
        let Ok(pass) = link.pass(false, link.provider.timeout).await else { return };
        let Some(brought) = self.asked(link, probe, &pass).await else { return };
        self.tell_probe(link, &brought, &brought.outcome);
        if brought.probed.is_some_and(|probed| probed.alive == Some(true)) {
            link.followed().forget();
            self.board.observe(link, &Event::Probed { cause: None, credential: pass.held }, None, self.now());
        }
    }

    /// One question, asked; none: it could not be written.
    pub(super) async fn asked(&self, link: &Link, probe: &Probe, pass: &Pass) -> Option<Brought> {
        let outgoing = link.provider.dialect.probe(probe, &link.account(pass), self.wall()).ok()?;
        let began = self.now();
        let (outcome, status, probed) = match link.client.exchange(outgoing, link.provider.timeout).await {
            Err(lost) => (lost_finding(&lost).outcome, None, None),
            Ok(reply) => {
                let probed = link.provider.dialect.read_probe(probe, &reply);
                let outcome = match (probed.alive, probed.cause) {
                    (Some(true), _) => Outcome::Accepted { id: String::new() },
                    (_, Some(cause)) => Outcome::Refused(cause),
                    (_, None) => Outcome::Unknown(Cause::ReplyUnreadable),
                };
                (outcome, Some(reply.status.as_u16()), Some(probed))
            }
        };
        Some(Brought { outcome, status, probed, took: self.now().since(began) })
    }

    /// Counts it, and what it brought; `outcome` is what it told about the provider in the end.
    pub(super) fn tell_probe(&self, link: &Link, brought: &Brought, outcome: &Outcome) {
        let (provider, kind) = (&link.provider.id, Kind::Probe);
        AttemptEnded { provider, kind, outcome, status: brought.status, took: brought.took }.emit(&self.telemetry);
        if let Some((value, unit)) = brought.probed.as_ref().and_then(|probed| probed.balance.as_ref()) {
            let spent_a_day = {
                let mut purse = link.purse();
                purse.told(*value, self.now());
                purse.spent_a_day()
            };
            Balance { provider, unit, value: *value, spent_a_day }.emit(&self.telemetry);
        }
    }
}
