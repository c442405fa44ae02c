//! The health of one provider: a pure fold over its outcomes, its probes and the operators'
//! commands, with time as a parameter.
//!
//! Two kinds of trouble are kept apart. A provider in *cooldown* was throttled or failed by its
//! own fault, and recovers by time. A *quarantined* one rejected the account or its credential,
//! and recovers by a change. A credential is dead per (provider, credential): a reply about one
//! credential says nothing about a newer one, and no backoff hides a new one. If the newest is
//! rejected and the previous one was accepted within the last hour, the vault was changed before the
//! service: the previous one serves until the newest is accepted. A fault of the message changes
//! nothing here: one message must not take the account away from all others.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::policy::{
    AccountSnapshot, CredentialChoice, CredentialOffer, CredentialRevision, CredentialStatus,
    HealthEvent, HealthState, SendAdmission,
};
use crate::sms::{Cause, Concern, Outcome};

/// A provider enters cooldown after this many faults within [`FAULT_WINDOW`] without an accepted
/// message between them.
const FAULT_THRESHOLD: usize = 3;
const FAULT_WINDOW: Duration = Duration::from_secs(30);
const INITIAL_COOLDOWN: Duration = Duration::from_secs(15);
const MAX_COOLDOWN: Duration = Duration::from_mins(2);
/// Cooldown after a throttled reply without `Retry-After`; doubles while the throttling goes on.
const INITIAL_THROTTLE_DELAY: Duration = Duration::from_secs(1);
const MAX_THROTTLE_DELAY: Duration = Duration::from_mins(1);
/// A longer `Retry-After` of a service is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(15);
/// The interval from one half-open trial of a quarantined provider to the next doubles up to this.
pub const MAX_RECHECK_INTERVAL: Duration = Duration::from_mins(15);
/// A previous credential serves in place of a rejected one if it was accepted this recently.
const MAX_PREVIOUS_AGE: Duration = Duration::from_hours(1);
/// The retry budget of one provider: its maximum, and what each first attempt adds to it.
const MAX_RETRY_BUDGET: f64 = 10.0;
const RETRY_DEPOSIT: f64 = 0.2;

/// What the sidecar knows about the health of one provider.
#[derive(Clone, Debug)]
pub struct Health {
    recheck: Option<Duration>,
    paused: bool,
    quarantine: Option<Quarantine>,
    /// The account was rejected while a previous credential served in place of the newest.
    previous_quarantine: Option<Quarantine>,
    cooldown: Option<Cooldown>,
    recent_faults: VecDeque<Moment>,
    throttle_count: u32,
    /// The newest credential with which a message was accepted.
    last_accepted: Option<AcceptedCredential>,
    /// The credential of the latest `sandbox-mismatch`.
    last_sandbox_mismatch: Option<CredentialRevision>,
    retry_budget: f64,
}

/// A credential that was accepted.
#[derive(Clone, Copy, Debug)]
struct AcceptedCredential {
    revision: CredentialRevision,
    at: Moment,
    /// The newest revision of the same version that was rejected later.
    rejected: Option<CredentialRevision>,
}

/// The account or its credential was rejected.
#[derive(Clone, Copy, Debug)]
struct Quarantine {
    cause: Cause,
    /// Whether the credential may be the cause, alone or beside others.
    suspects_credential: bool,
    rejected: CredentialRevision,
    since: Moment,
    recheck_interval: Option<Duration>,
    recheck_at: Option<Moment>,
    trial_in_flight: bool,
}

/// A fault that a failed attempt or probe found.
#[derive(Clone, Copy, Debug)]
struct AccountFault {
    cause: Cause,
    credential: CredentialRevision,
    suspects_credential: bool,
}

/// Throttled, or failing by the provider's own fault.
#[derive(Clone, Copy, Debug)]
struct Cooldown {
    cause: Cause,
    until: Moment,
    /// Length of the next cooldown if the half-open trial fails; none if throttled, which ends
    /// without a trial.
    next_duration: Option<Duration>,
    trial_in_flight: bool,
}

impl Health {
    /// A healthy provider. `recheck` is the time from its quarantine to the first half-open trial;
    /// none means no trial.
    pub fn new(recheck: Option<Duration>) -> Self {
        Self {
            recheck,
            paused: false,
            quarantine: None,
            previous_quarantine: None,
            cooldown: None,
            recent_faults: VecDeque::new(),
            throttle_count: 0,
            last_accepted: None,
            last_sandbox_mismatch: None,
            retry_budget: MAX_RETRY_BUDGET,
        }
    }

    /// Updates the health after an event.
    pub fn observe(&mut self, event: &HealthEvent, now: Moment) {
        match *event {
            HealthEvent::Started { trial, retry } => {
                self.update_retry_budget(retry);
                if trial {
                    self.start_trial(now);
                }
            }
            HealthEvent::Ended {
                outcome: Outcome::Accepted { .. },
                credential,
                ..
            } => self.record_accepted(credential, now),
            HealthEvent::Ended {
                outcome: Outcome::Rejected(cause) | Outcome::Unsent(cause) | Outcome::Unknown(cause),
                credential,
                retry_after,
                suspects_credential,
            } => {
                let fault = AccountFault::new(cause, credential, suspects_credential);
                self.record_failure(fault, retry_after, now);
            }
            HealthEvent::Probed {
                cause: None,
                credential,
                ..
            } => self.mark_healthy(credential),
            HealthEvent::Probed {
                cause: Some(cause),
                credential,
                suspects_credential,
            } => {
                let fault = AccountFault::new(cause, credential, suspects_credential);
                self.record_probe_failure(fault, now);
            }
            HealthEvent::Paused => self.paused = true,
            HealthEvent::Resumed => self.resume(),
        }
    }

    /// Forgets quarantine and cooldown.
    fn resume(&mut self) {
        *self = Self {
            retry_budget: self.retry_budget,
            last_accepted: self.last_accepted,
            ..Self::new(self.recheck)
        };
    }

    /// The state for an attempt that would present one of the offered credentials.
    pub fn state(&self, now: Moment, offer: impl Into<CredentialOffer>) -> HealthState {
        if self.paused {
            return HealthState::Paused;
        }
        if let Some(quarantine) = self.quarantine_in_use(offer.into()) {
            return HealthState::Quarantined {
                cause: quarantine.cause,
                since: quarantine.since,
                recheck_at: quarantine.recheck_at,
            };
        }
        match self.cooldown {
            Some(cooldown) if now < cooldown.until || cooldown.next_duration.is_some() => {
                HealthState::Cooldown {
                    until: cooldown.until,
                    cause: cooldown.cause,
                }
            }
            Some(_) | None => HealthState::Healthy,
        }
    }

    /// Whether a message that would present one of the offered credentials may be sent now.
    pub fn admission(&self, now: Moment, offer: impl Into<CredentialOffer>) -> SendAdmission {
        let (cause, reopens_at) = match self.state(now, offer) {
            HealthState::Healthy => return SendAdmission::Allowed,
            HealthState::Paused => (Cause::DeniedByPolicy, None),
            HealthState::Quarantined {
                cause, recheck_at, ..
            } => (cause, recheck_at),
            HealthState::Cooldown { until, cause } => (cause, Some(until)),
        };
        match reopens_at {
            Some(at) if at <= now => SendAdmission::Trial,
            Some(at) => SendAdmission::Blocked {
                cause,
                reopens_in: Some(at.since(now)),
            },
            None => SendAdmission::Blocked {
                cause,
                reopens_in: None,
            },
        }
    }

    /// The input that [`next`](crate::policy::next) needs about this provider.
    pub fn snapshot(&self, now: Moment, offer: impl Into<CredentialOffer>) -> AccountSnapshot {
        let offer = offer.into();
        let previous = self.previous_in_use(offer);
        let is_newest_due = || {
            self.quarantine_for(offer.newest)
                .and_then(|quarantine| quarantine.recheck_at)
                .is_some_and(|recheck_at| recheck_at <= now)
        };
        let credential_status = if self.suspects_credential(offer) {
            CredentialStatus::Suspected
        } else if previous.is_some() && is_newest_due() {
            CredentialStatus::NewestDue
        } else {
            CredentialStatus::Usable
        };
        AccountSnapshot {
            is_silent: false,
            admission: self.admission(now, offer),
            credential: previous.unwrap_or(offer.newest),
            can_retry: self.retry_budget >= 1.0,
            credential_status,
        }
    }

    /// Whether the credential that would be presented was rejected and may be the cause. Only a
    /// half-open trial sends it then.
    pub fn suspects_credential(&self, offer: impl Into<CredentialOffer>) -> bool {
        self.quarantine_in_use(offer.into())
            .is_some_and(|quarantine| quarantine.suspects_credential)
    }

    /// The previous credential, if it serves in place of the newest: that one was rejected, and the
    /// previous one was accepted within the hour before that, or later, and not rejected since.
    pub fn previous_in_use(&self, offer: CredentialOffer) -> Option<CredentialRevision> {
        let previous = offer
            .previous
            .filter(|previous| previous.version < offer.newest.version)?;
        let quarantine = self
            .quarantine_for(offer.newest)
            .filter(|quarantine| quarantine.cause.concern() == Concern::Credential)?;
        let accepted = self
            .last_accepted
            .filter(|accepted| accepted.revision.version == previous.version)?;
        let is_recent = quarantine.since.since(accepted.at) <= MAX_PREVIOUS_AGE;
        let is_alive = accepted.rejected.is_none_or(|rejected| previous > rejected);
        (is_recent && is_alive).then_some(previous)
    }

    /// Which credential an attempt presents. A half-open trial that is due presents the newest.
    pub fn choice(&self, offer: CredentialOffer, trial: bool) -> CredentialChoice {
        let tries_newest = trial
            && self
                .quarantine_for(offer.newest)
                .is_some_and(|quarantine| quarantine.trial_in_flight);
        if tries_newest || self.previous_in_use(offer).is_none() {
            CredentialChoice::Newest
        } else {
            CredentialChoice::Previous
        }
    }

    /// The quarantine that holds for the credential that would be presented.
    fn quarantine_in_use(&self, offer: CredentialOffer) -> Option<Quarantine> {
        if self.previous_in_use(offer).is_some() {
            self.previous_quarantine
        } else {
            self.quarantine_for(offer.newest)
        }
    }

    fn quarantine_for(&self, newest: CredentialRevision) -> Option<Quarantine> {
        self.quarantine
            .filter(|quarantine| quarantine.rejected >= newest)
    }

    /// A retry costs as much as several first attempts add.
    fn update_retry_budget(&mut self, retry: bool) {
        self.retry_budget = if retry {
            (self.retry_budget - 1.0).max(0.0)
        } else {
            (self.retry_budget + RETRY_DEPOSIT).min(MAX_RETRY_BUDGET)
        };
    }

    /// A trial is a lease: if its outcome never arrives, the next one is due after the same
    /// interval. A last-resort trial comes before a trial is due and leaves the schedule alone.
    fn start_trial(&mut self, now: Moment) {
        let is_due = |quarantine: &&mut Quarantine| {
            quarantine.recheck_at.is_some_and(|recheck| recheck <= now)
        };
        let due = [&mut self.quarantine, &mut self.previous_quarantine];
        for quarantine in due.into_iter().filter_map(Option::as_mut).filter(is_due) {
            quarantine.trial_in_flight = true;
            quarantine.recheck_at = quarantine
                .recheck_interval
                .map(|interval| now.saturating_add(interval));
        }
        let has_ended = |cooldown: &&mut Cooldown| cooldown.until <= now;
        if let Some(cooldown) = self.cooldown.as_mut().filter(has_ended) {
            cooldown.trial_in_flight = cooldown.next_duration.is_some();
            cooldown.until = now.saturating_add(cooldown.next_duration.unwrap_or_default());
        }
    }

    fn record_accepted(&mut self, credential: CredentialRevision, now: Moment) {
        let newer = self
            .last_accepted
            .filter(|known| known.revision.version > credential.version);
        let known = self.last_accepted.map(|known| known.revision);
        self.last_accepted = newer.or(Some(AcceptedCredential {
            revision: known
                .filter(|known| known.version == credential.version)
                .map_or(credential, |known| known.max(credential)),
            at: now,
            rejected: None,
        }));
        // A provider that accepts messages between its faults stays in use: a cooldown would
        // block every message because of a few.
        self.recent_faults.clear();
        self.mark_healthy(credential);
    }

    /// The provider works with this credential.
    fn mark_healthy(&mut self, credential: CredentialRevision) {
        self.quarantine = self
            .quarantine
            .filter(|quarantine| quarantine.rejected > credential);
        self.previous_quarantine = self
            .previous_quarantine
            .filter(|quarantine| quarantine.rejected > credential);
        self.end_fault_cooldown();
        self.throttle_count = 0;
    }

    /// Any reply in the service's own format shows that the fault is over.
    fn end_fault_cooldown(&mut self) {
        self.cooldown = self
            .cooldown
            .filter(|cooldown| cooldown.next_duration.is_none());
    }

    fn record_failure(&mut self, fault: AccountFault, retry_after: Option<Duration>, now: Moment) {
        match fault.cause.concern() {
            Concern::Account
                if fault.cause == Cause::SandboxMismatch
                    && !self.confirm_sandbox(fault.credential) =>
            {
                self.end_fault_cooldown();
            }
            Concern::Credential | Concern::Account => {
                self.end_fault_cooldown();
                self.enter_quarantine(fault, now);
            }
            Concern::Throttle => self.record_throttled(retry_after, now),
            Concern::Provider => self.record_fault(fault.cause, now),
            Concern::MessageAtAccount
            | Concern::Message
            | Concern::Recipient
            | Concern::Duplicate => self.end_fault_cooldown(),
            Concern::Ours => {}
        }
    }

    /// Whether a second `sandbox-mismatch` shows a test account. A single one, or one at an account
    /// that has accepted messages, may be about one foreign number.
    fn confirm_sandbox(&mut self, credential: CredentialRevision) -> bool {
        let is_second = self.last_sandbox_mismatch.replace(credential) == Some(credential);
        let accepted = self.last_accepted.map(|accepted| accepted.revision);
        is_second && accepted != Some(credential)
    }

    fn record_probe_failure(&mut self, fault: AccountFault, now: Moment) {
        match fault.cause.concern() {
            Concern::Credential | Concern::Account => self.enter_quarantine(fault, now),
            // The account was shown to be in order: the rejection counts as a fault of the service.
            Concern::Provider if fault.cause == Cause::Unexplained => {
                self.quarantine = self
                    .quarantine
                    .filter(|quarantine| quarantine.rejected != fault.credential);
                self.record_fault(fault.cause, now);
            }
            Concern::Throttle
            | Concern::Provider
            | Concern::MessageAtAccount
            | Concern::Message
            | Concern::Recipient
            | Concern::Duplicate
            | Concern::Ours => {}
        }
    }

    /// Quarantines the provider. A rejection of an older credential than the quarantined one changes
    /// nothing, unless that one serves in place of the newest.
    fn enter_quarantine(&mut self, fault: AccountFault, now: Moment) {
        let is_credential = fault.cause.concern() == Concern::Credential;
        let is_news = is_credential && self.note_rejected(fault.credential);
        let is_newer_rejected = self
            .quarantine
            .is_some_and(|known| known.rejected.version > fault.credential.version);
        match (is_newer_rejected, is_credential) {
            (false, _) => self.quarantine = Some(self.quarantined(self.quarantine, fault, now)),
            // The service has changed: it may accept the newest credential now.
            (true, true) if is_news => self.quarantine = None,
            (true, true) => {}
            (true, false) => {
                self.previous_quarantine =
                    Some(self.quarantined(self.previous_quarantine, fault, now));
            }
        }
    }

    /// Records the rejection of the credential that was accepted last; returns whether that is new.
    fn note_rejected(&mut self, credential: CredentialRevision) -> bool {
        let accepted = self
            .last_accepted
            .as_mut()
            .filter(|accepted| accepted.revision.version == credential.version);
        let Some(accepted) = accepted else {
            return false;
        };
        let is_news = accepted.rejected.is_none_or(|known| known < credential);
        accepted.rejected = accepted.rejected.max(Some(credential));
        is_news
    }

    /// A quarantine after a fault. A failed trial doubles the interval to the next one; rejections of
    /// attempts that were already in flight do not.
    fn quarantined(
        &self,
        known: Option<Quarantine>,
        fault: AccountFault,
        now: Moment,
    ) -> Quarantine {
        let AccountFault {
            cause,
            credential,
            suspects_credential,
        } = fault;
        match known {
            Some(known) if known.rejected > credential => known,
            Some(known) if known.rejected == credential => {
                let known = Quarantine {
                    cause,
                    suspects_credential,
                    ..known
                };
                if known.trial_in_flight {
                    known.after_failed_trial(now)
                } else {
                    known
                }
            }
            Some(_) | None => Quarantine {
                cause,
                suspects_credential,
                rejected: credential,
                since: now,
                recheck_interval: self.recheck,
                recheck_at: self.recheck.map(|interval| now.saturating_add(interval)),
                trial_in_flight: false,
            },
        }
    }

    /// Throttled replies to attempts that were in flight when the cooldown began do not double it;
    /// they may ask for a longer one.
    fn record_throttled(&mut self, retry_after: Option<Duration>, now: Moment) {
        self.end_fault_cooldown();
        let running = self.cooldown.filter(|cooldown| now < cooldown.until);
        let doubled = INITIAL_THROTTLE_DELAY
            .saturating_mul(1 << self.throttle_count.min(16))
            .min(MAX_THROTTLE_DELAY);
        let until = match (running, retry_after) {
            (_, Some(wait)) => now.saturating_add(wait.min(MAX_RETRY_AFTER)),
            (None, None) => now.saturating_add(doubled),
            (Some(cooldown), None) => cooldown.until,
        };
        if running.is_none() {
            self.throttle_count = self.throttle_count.saturating_add(1);
        }
        let until = running.map_or(until, |cooldown| cooldown.until.max(until));
        self.cooldown = Some(Cooldown {
            cause: Cause::Throttled,
            until,
            next_duration: None,
            trial_in_flight: false,
        });
    }

    fn record_fault(&mut self, cause: Cause, now: Moment) {
        self.recent_faults
            .retain(|at| now.since(*at) <= FAULT_WINDOW);
        self.recent_faults.push_back(now);
        let duration = match self.cooldown {
            Some(Cooldown {
                next_duration: Some(duration),
                trial_in_flight: true,
                ..
            }) => duration.saturating_mul(2).min(MAX_COOLDOWN),
            Some(Cooldown {
                next_duration: Some(_),
                ..
            }) => return,
            Some(Cooldown {
                next_duration: None,
                until,
                ..
            }) if now < until => return,
            Some(_) | None if self.recent_faults.len() >= FAULT_THRESHOLD => INITIAL_COOLDOWN,
            Some(_) | None => return,
        };
        self.recent_faults.clear();
        self.cooldown = Some(Cooldown {
            cause,
            until: now.saturating_add(duration),
            next_duration: Some(duration),
            trial_in_flight: false,
        });
    }
}

impl AccountFault {
    fn new(cause: Cause, credential: CredentialRevision, suspects_credential: bool) -> Self {
        Self {
            cause,
            credential,
            suspects_credential: suspects_credential || cause.concern() == Concern::Credential,
        }
    }
}

impl Quarantine {
    fn after_failed_trial(self, now: Moment) -> Self {
        let interval = self
            .recheck_interval
            .map(|last| last.saturating_mul(2).min(MAX_RECHECK_INTERVAL.max(last)));
        Self {
            recheck_interval: interval,
            recheck_at: interval.map(|interval| now.saturating_add(interval)),
            trial_in_flight: false,
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
