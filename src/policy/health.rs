//! How one provider stands: a pure fold over what its answers, probes and operators
//! said, with time handed in.
//!
//! Two kinds of trouble are kept apart. A provider that *rests* comes back by time
//! (throttled, or failing by its own fault). One that stands *aside* was refused for
//! what the account or its credential is, and comes back by change. Dead is a property
//! of (provider, credential): nothing an answer says about one credential is held
//! against a newer one, and no backoff hides a fresh one. What is wrong with a message
//! leaves no mark here, because it must not take the account away from all others.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::policy::{AccountSnapshot, CredentialRevision, HealthEvent, HealthState, SendAdmission};
use crate::sms::{Cause, Concern, Outcome};

/// So many faults within [`FAULT_WINDOW`], none accepted between, and the provider rests.
const FAULT_THRESHOLD: usize = 3;
const FAULT_WINDOW: Duration = Duration::from_secs(30);
const INITIAL_COOLDOWN: Duration = Duration::from_secs(15);
const MAX_COOLDOWN: Duration = Duration::from_mins(2);
/// After a throttling that names no time; doubles while it goes on.
const INITIAL_THROTTLE_DELAY: Duration = Duration::from_secs(1);
const MAX_THROTTLE_DELAY: Duration = Duration::from_mins(1);
/// Whatever a service asks for: then one message may try.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(15);
const MAX_RECHECK_INTERVAL: Duration = Duration::from_mins(15);
/// Second attempts at one provider that may be saved up, and what a first one earns towards them.
const MAX_RETRY_BUDGET: f64 = 10.0;
const RETRY_DEPOSIT: f64 = 0.2;

/// What is known of one provider.
#[derive(Clone, Debug)]
pub struct Health {
    recheck: Option<Duration>,
    paused: bool,
    quarantine: Option<Quarantine>,
    cooldown: Option<Cooldown>,
    recent_faults: VecDeque<Moment>,
    throttle_count: u32,
    /// Newest credential that got a message accepted.
    last_accepted: Option<CredentialRevision>,
    /// Credential that a sandbox mismatch was said about last.
    last_sandbox_mismatch: Option<CredentialRevision>,
    retry_budget: f64,
}

/// Refused for what the account is.
#[derive(Clone, Copy, Debug)]
struct Quarantine {
    cause: Cause,
    rejected: CredentialRevision,
    since: Moment,
    recheck_interval: Option<Duration>,
    recheck_at: Option<Moment>,
    trial_in_flight: bool,
}

/// In trouble for a while.
#[derive(Clone, Copy, Debug)]
struct Cooldown {
    cause: Cause,
    until: Moment,
    /// How long the next one is, should the trial fail; none: throttled, which ends without a trial.
    next_duration: Option<Duration>,
    trial_in_flight: bool,
}

impl Health {
    /// A provider nothing is known of. `recheck`: how long after it was set aside one message may try it; none: never.
    pub fn new(recheck: Option<Duration>) -> Self {
        Self {
            recheck,
            paused: false,
            quarantine: None,
            cooldown: None,
            recent_faults: VecDeque::new(),
            throttle_count: 0,
            last_accepted: None,
            last_sandbox_mismatch: None,
            retry_budget: MAX_RETRY_BUDGET,
        }
    }

    /// Takes in what happened.
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
            } => self.record_accepted(credential),
            HealthEvent::Ended {
                outcome: Outcome::Rejected(cause) | Outcome::Unsent(cause) | Outcome::Unknown(cause),
                credential,
                retry_after: wait,
            } => {
                self.record_failure(cause, credential, wait, now);
            }
            HealthEvent::Probed {
                cause: None,
                credential,
            } => self.mark_healthy(credential),
            HealthEvent::Probed {
                cause: Some(cause),
                credential,
            } => self.record_probe_failure(cause, credential, now),
            HealthEvent::Renewed { credential } => {
                self.quarantine = self.quarantine_for(credential);
            }
            HealthEvent::Paused => self.paused = true,
            HealthEvent::Resumed => {
                *self = Self {
                    retry_budget: self.retry_budget,
                    last_accepted: self.last_accepted,
                    ..Self::new(self.recheck)
                }
            }
        }
    }

    /// How it stands, when `newest` is what an attempt would prove itself with.
    pub fn state(&self, now: Moment, newest: CredentialRevision) -> HealthState {
        if self.paused {
            return HealthState::Paused;
        }
        if let Some(aside) = self.quarantine_for(newest) {
            return HealthState::Quarantined {
                cause: aside.cause,
                since: aside.since,
                recheck_at: aside.recheck_at,
            };
        }
        match self.cooldown {
            Some(rest) if now < rest.until || rest.next_duration.is_some() => {
                HealthState::Cooldown {
                    until: rest.until,
                    cause: rest.cause,
                }
            }
            Some(_) | None => HealthState::Healthy,
        }
    }

    /// Whether a message may go there now, when `newest` is what it would prove itself with.
    pub fn admission(&self, now: Moment, newest: CredentialRevision) -> SendAdmission {
        let (cause, opens) = match self.state(now, newest) {
            HealthState::Healthy => return SendAdmission::Allowed,
            HealthState::Paused => (Cause::DeniedByPolicy, None),
            HealthState::Quarantined {
                cause, recheck_at, ..
            } => (cause, recheck_at),
            HealthState::Cooldown { until, cause } => (cause, Some(until)),
        };
        match opens {
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

    /// What the decision needs to know.
    pub fn snapshot(&self, now: Moment, newest: CredentialRevision) -> AccountSnapshot {
        AccountSnapshot {
            admission: self.admission(now, newest),
            credential: newest,
            can_retry: self.retry_budget >= 1.0,
        }
    }

    fn quarantine_for(&self, newest: CredentialRevision) -> Option<Quarantine> {
        self.quarantine.filter(|aside| aside.rejected >= newest)
    }

    /// A second attempt costs what several first ones have earned.
    fn update_retry_budget(&mut self, retry: bool) {
        self.retry_budget = if retry {
            (self.retry_budget - 1.0).max(0.0)
        } else {
            (self.retry_budget + RETRY_DEPOSIT).min(MAX_RETRY_BUDGET)
        };
    }

    /// A trial is leased, not owned: if its outcome never comes, the next is due after the same time again.
    /// A route's last resort is a trial before it is due, and outside the schedule.
    fn start_trial(&mut self, now: Moment) {
        if let Some(aside) = self
            .quarantine
            .as_mut()
            .filter(|aside| aside.recheck_at.is_some_and(|due| due <= now))
        {
            aside.trial_in_flight = true;
            aside.recheck_at = aside.recheck_interval.map(|step| now.saturating_add(step));
        }
        if let Some(rest) = self.cooldown.as_mut().filter(|rest| rest.until <= now) {
            rest.trial_in_flight = rest.next_duration.is_some();
            rest.until = now.saturating_add(rest.next_duration.unwrap_or_default());
        }
    }

    fn record_accepted(&mut self, credential: CredentialRevision) {
        self.last_accepted = self.last_accepted.max(Some(credential));
        // Who takes messages in between fails now and then: a rest would refuse all for the sake of a few.
        self.recent_faults.clear();
        self.mark_healthy(credential);
    }

    /// It works, with this credential.
    fn mark_healthy(&mut self, credential: CredentialRevision) {
        self.quarantine = self.quarantine.filter(|aside| aside.rejected > credential);
        self.end_fault_cooldown();
        self.throttle_count = 0;
    }

    /// It answers in its own words: not the fault that it rested for.
    fn end_fault_cooldown(&mut self) {
        self.cooldown = self.cooldown.filter(|rest| rest.next_duration.is_none());
    }

    fn record_failure(
        &mut self,
        cause: Cause,
        credential: CredentialRevision,
        wait: Option<Duration>,
        now: Moment,
    ) {
        match cause.concern() {
            Concern::Account
                if cause == Cause::SandboxMismatch && !self.confirm_sandbox(credential) =>
            {
                self.end_fault_cooldown();
            }
            Concern::Credential | Concern::Account => {
                self.end_fault_cooldown();
                self.enter_quarantine(cause, credential, now);
            }
            Concern::Throttle => self.record_throttled(wait, now),
            Concern::Provider => self.record_fault(cause, now),
            Concern::MessageAtAccount
            | Concern::Message
            | Concern::Recipient
            | Concern::Duplicate => self.end_fault_cooldown(),
            Concern::Ours => {}
        }
    }

    /// A test account is told from one foreign number by never having had anything accepted, and by saying it twice.
    fn confirm_sandbox(&mut self, credential: CredentialRevision) -> bool {
        let again = self.last_sandbox_mismatch.replace(credential) == Some(credential);
        again && self.last_accepted != Some(credential)
    }

    fn record_probe_failure(&mut self, cause: Cause, credential: CredentialRevision, now: Moment) {
        match cause.concern() {
            Concern::Credential | Concern::Account => self.enter_quarantine(cause, credential, now),
            Concern::Throttle
            | Concern::Provider
            | Concern::MessageAtAccount
            | Concern::Message
            | Concern::Recipient
            | Concern::Duplicate
            | Concern::Ours => {}
        }
    }

    /// Said of an older credential than the one it stands aside for, it says nothing new. A trial that
    /// failed doubles the time to the next; refusals of attempts already under way do not.
    fn enter_quarantine(&mut self, cause: Cause, credential: CredentialRevision, now: Moment) {
        let known = self.quarantine.filter(|aside| aside.rejected == credential);
        if self
            .quarantine
            .is_some_and(|aside| aside.rejected > credential)
        {
            return;
        }
        let fresh = Quarantine {
            cause,
            rejected: credential,
            since: now,
            recheck_interval: self.recheck,
            recheck_at: self.recheck.map(|step| now.saturating_add(step)),
            trial_in_flight: false,
        };
        self.quarantine = Some(match known {
            None => fresh,
            Some(aside) if aside.trial_in_flight => {
                let step = aside
                    .recheck_interval
                    .map(|step| step.saturating_mul(2).min(MAX_RECHECK_INTERVAL.max(step)));
                Quarantine {
                    cause,
                    recheck_interval: step,
                    recheck_at: step.map(|step| now.saturating_add(step)),
                    trial_in_flight: false,
                    ..aside
                }
            }
            Some(aside) => Quarantine { cause, ..aside },
        });
    }

    /// Answers that were under way when the rest began do not double it; they may ask for a longer one.
    fn record_throttled(&mut self, wait: Option<Duration>, now: Moment) {
        self.end_fault_cooldown();
        let running = self.cooldown.filter(|rest| now < rest.until);
        let doubled = INITIAL_THROTTLE_DELAY
            .saturating_mul(1 << self.throttle_count.min(16))
            .min(MAX_THROTTLE_DELAY);
        let until = match (running, wait) {
            (_, Some(wait)) => now.saturating_add(wait.min(MAX_RETRY_AFTER)),
            (None, None) => now.saturating_add(doubled),
            (Some(rest), None) => rest.until,
        };
        if running.is_none() {
            self.throttle_count = self.throttle_count.saturating_add(1);
        }
        let until = running.map_or(until, |rest| rest.until.max(until));
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
        let step = match self.cooldown {
            Some(Cooldown {
                next_duration: Some(step),
                trial_in_flight: true,
                ..
            }) => step.saturating_mul(2).min(MAX_COOLDOWN),
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
            until: now.saturating_add(step),
            next_duration: Some(step),
            trial_in_flight: false,
        });
    }
}

#[cfg(test)]
mod tests;
