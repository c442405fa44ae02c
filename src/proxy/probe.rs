//! A provider that was set aside for its account (money, a lock, an address list …) is asked in the
//! background what its service answers for free; if all is well it is back without waiting for a
//! message to try it. Sends nothing to anybody, asks each at most every 30 s, uses no probe that was
//! never seen to work, and never a credential that is known dead.

use std::sync::Arc;
use std::time::Duration;

use crate::dialect::Probe;
use crate::policy::{Event, Standing};
use crate::proxy::Proxy;
use crate::proxy::link::{Link, lost_finding};
use crate::sms::{Cause, Concern, Kind, Outcome};
use crate::telemetry::{AttemptEnded, Balance};

/// Between two questions to one provider, and between its setting aside and the first.
const EVERY: Duration = Duration::from_secs(30);

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

    /// The question for a provider that stands aside for its account, if it is time.
    fn due<'a>(&self, link: &'a Link) -> Option<&'a Probe> {
        let now = self.now();
        let Standing::Aside { cause, since, .. } = self.board.standing(link, now) else { return None };
        let probe = link.provider.dialect.probes().iter().find(|probe| !probe.guess)?;
        let due = cause.concern() == Concern::Account && now.since(since.max(link.probed().unwrap_or_default())) >= EVERY;
        due.then(|| link.is_probed(now)).map(|()| probe)
    }

    async fn ask(&self, link: &Arc<Link>, probe: &Probe) {
        let Ok(pass) = link.pass(false, link.provider.timeout).await else { return };
        let Ok(outgoing) = link.provider.dialect.probe(probe, &link.account(&pass), self.wall()) else { return };
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
        let took = self.now().since(began);
        AttemptEnded { provider: &link.provider.id, kind: Kind::Probe, outcome: &outcome, status, took }.emit(&self.telemetry);
        let Some(probed) = probed else { return };
        if let Some((value, unit)) = &probed.balance {
            Balance { provider: &link.provider.id, unit, value: *value }.emit(&self.telemetry);
        }
        if probed.alive == Some(true) {
            self.board.observe(link, &Event::Probed { cause: None, credential: pass.held }, None, self.now());
        }
    }
}
