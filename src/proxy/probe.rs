//! What a service is asked for free, and when. A provider that was set aside for its account (money,
//! a lock, an address list …) is asked in the background whether all is well, and if so it is back
//! without waiting for a message to try it; one that is in use is asked for its money every quarter
//! of an hour, so that an empty account is seen coming. Sends nothing to anybody, asks each at most
//! every 30 s, uses no probe that was never seen to work, and here never a credential that is known dead.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::dialect::{Probe, ProbeClassification};
use crate::policy::{HealthEvent, HealthState};
use crate::provider::auth::AuthContext;
use crate::provider::{ProviderRuntime, lost_classification};
use crate::proxy::Proxy;
use crate::sms::{AttemptKind, Cause, Concern, Outcome};
use crate::telemetry::{AttemptFinished, BalanceReported};

/// Between two questions to one provider that stands aside, and between its setting aside and the first.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// Between two questions for the money of one that is in use …
const BALANCE_PROBE_INTERVAL: Duration = Duration::from_mins(15);
/// … and before the first, so that a start brings messages first.
const FIRST_BALANCE_PROBE_DELAY: Duration = Duration::from_mins(1);

/// What came of a question.
pub(super) struct ProbeResult {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    /// None: no reply.
    pub(super) parsed: Option<ProbeClassification>,
    pub(super) duration: Duration,
}

impl Proxy {
    /// Asks whoever is due; to be called every second or so.
    pub async fn run_due_probes(&self) {
        let world = self.snapshot.load_full();
        for link in world.providers.values() {
            if let Some(probe) = self.due_probe(link) {
                self.run_probe(link, probe).await;
            }
        }
    }

    /// The question for a provider, if it is time: one about the account where that is why it stands aside, one about
    /// the money where it is in use.
    fn due_probe<'a>(&self, link: &'a ProviderRuntime) -> Option<&'a Probe> {
        let (now, before) = (self.now(), link.last_probe());
        let mut probes = link
            .provider
            .dialect
            .probes()
            .iter()
            .filter(|probe| !probe.inferred);
        let (probe, due) = match self.health.health_state(link, now) {
            HealthState::Quarantined { cause, since, .. } => {
                let due = cause.concern() == Concern::Account
                    && now.since(since.max(before.unwrap_or_default())) >= PROBE_INTERVAL;
                (probes.next()?, due)
            }
            HealthState::Healthy => {
                let due = before.map_or(
                    now.since(Moment::default()) >= FIRST_BALANCE_PROBE_DELAY,
                    |before| now.since(before) >= BALANCE_PROBE_INTERVAL,
                );
                (
                    probes.find(|probe| probe.has_balance())?,
                    due && link.provider.credential.is_some(),
                )
            }
            HealthState::Cooldown { .. } | HealthState::Paused => return None,
        };
        due.then(|| link.mark_probed(now)).map(|()| probe)
    }

    async fn run_probe(&self, link: &Arc<ProviderRuntime>, probe: &Probe) {
        let Ok(pass) = link.authenticate(false, link.provider.timeout).await else {
            return;
        };
        let Some(brought) = self.exchange_probe(link, probe, &pass).await else {
            return;
        };
        self.record_probe(link, &brought, &brought.outcome);
        if brought
            .parsed
            .is_some_and(|probed| probed.healthy == Some(true))
        {
            link.probe_history().clear();
            self.health.record_event(
                link,
                &HealthEvent::Probed {
                    cause: None,
                    credential: pass.revision,
                },
                None,
                self.now(),
            );
        }
    }

    /// One question, asked; none: it could not be written.
    pub(super) async fn exchange_probe(
        &self,
        link: &ProviderRuntime,
        probe: &Probe,
        pass: &AuthContext,
    ) -> Option<ProbeResult> {
        let outgoing = link
            .provider
            .dialect
            .probe_request(probe, &link.account(pass), self.wall())
            .ok()?;
        let began = self.now();
        let (outcome, status, probed) =
            match link.client.exchange(outgoing, link.provider.timeout).await {
                Err(lost) => (lost_classification(&lost).outcome, None, None),
                Ok(reply) => {
                    let probed = link.provider.dialect.read_probe(probe, &reply);
                    let outcome = match (probed.healthy, probed.cause) {
                        (Some(true), _) => Outcome::Accepted { id: String::new() },
                        (_, Some(cause)) => Outcome::Rejected(cause),
                        (_, None) => Outcome::Unknown(Cause::ReplyUnreadable),
                    };
                    (outcome, Some(reply.status.as_u16()), Some(probed))
                }
            };
        Some(ProbeResult {
            outcome,
            status,
            parsed: probed,
            duration: self.now().since(began),
        })
    }

    /// Counts it, and what it brought; `outcome` is what it told about the provider in the end.
    pub(super) fn record_probe(
        &self,
        link: &ProviderRuntime,
        brought: &ProbeResult,
        outcome: &Outcome,
    ) {
        let (provider, kind) = (&link.provider.id, AttemptKind::Probe);
        AttemptFinished {
            provider,
            kind,
            outcome,
            status: brought.status,
            duration: brought.duration,
        }
        .emit(&self.telemetry);
        if let Some((value, unit)) = brought
            .parsed
            .as_ref()
            .and_then(|probed| probed.balance.as_ref())
        {
            let spent_a_day = {
                let mut purse = link.balance_history();
                purse.record(*value, self.now());
                purse.daily_spend()
            };
            BalanceReported {
                provider,
                unit,
                value: *value,
                daily_spend: spent_a_day,
            }
            .emit(&self.telemetry);
        }
    }
}
