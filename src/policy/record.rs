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
use crate::policy::{Admission, Event, Held, Standing, View};
use crate::sms::{Cause, Concern, Outcome};

/// So many faults within [`FAULT_WINDOW`], none accepted between, and the provider rests.
const FAULTS: usize = 3;
const FAULT_WINDOW: Duration = Duration::from_secs(30);
const FIRST_REST: Duration = Duration::from_secs(15);
const LONGEST_REST: Duration = Duration::from_mins(2);
/// After a throttling that names no time; doubles while it goes on.
const FIRST_THROTTLE: Duration = Duration::from_secs(1);
const LONGEST_THROTTLE: Duration = Duration::from_mins(1);
/// Whatever a service asks for: then one message may try.
const LONGEST_WAIT: Duration = Duration::from_mins(15);
const LONGEST_RECHECK: Duration = Duration::from_mins(15);
/// Second attempts at one provider that may be saved up, and what a first one earns towards them.
const RETRIES: f64 = 10.0;
const RETRY_SHARE: f64 = 0.2;

/// What is known of one provider.
#[derive(Clone, Debug)]
pub struct Record {
    recheck: Option<Duration>,
    paused: bool,
    aside: Option<Aside>,
    rest: Option<Rest>,
    faults: VecDeque<Moment>,
    throttles: u32,
    /// Newest credential that got a message accepted.
    proven: Option<Held>,
    /// Credential that a sandbox mismatch was said about last.
    sandbox: Option<Held>,
    retries: f64,
}

/// Refused for what the account is.
#[derive(Clone, Copy, Debug)]
struct Aside {
    cause: Cause,
    dead: Held,
    since: Moment,
    step: Option<Duration>,
    recheck_at: Option<Moment>,
    on_trial: bool,
}

/// In trouble for a while.
#[derive(Clone, Copy, Debug)]
struct Rest {
    cause: Cause,
    until: Moment,
    /// How long the next one is, should the trial fail; none: throttled, which ends without a trial.
    step: Option<Duration>,
    on_trial: bool,
}

impl Record {
    /// A provider nothing is known of. `recheck`: how long after it was set aside one message may try it; none: never.
    pub fn new(recheck: Option<Duration>) -> Self {
        Self {
            recheck,
            paused: false,
            aside: None,
            rest: None,
            faults: VecDeque::new(),
            throttles: 0,
            proven: None,
            sandbox: None,
            retries: RETRIES,
        }
    }

    /// Takes in what happened.
    pub fn observe(&mut self, event: &Event, now: Moment) {
        match *event {
            Event::Begun { trial, retry } => {
                self.pay(retry);
                if trial {
                    self.lease(now);
                }
            }
            Event::Ended { outcome: Outcome::Accepted { .. }, credential, .. } => self.accept(credential),
            Event::Ended { outcome: Outcome::Refused(cause) | Outcome::Unsent(cause) | Outcome::Unknown(cause), credential, wait } => {
                self.refuse(cause, credential, wait, now);
            }
            Event::Probed { cause: None, credential } => self.clear(credential),
            Event::Probed { cause: Some(cause), credential } => self.probed(cause, credential, now),
            Event::Renewed { credential } => self.aside = self.aside_for(credential),
            Event::Paused => self.paused = true,
            Event::Resumed => *self = Self { retries: self.retries, proven: self.proven, ..Self::new(self.recheck) },
        }
    }

    /// How it stands, when `newest` is what an attempt would prove itself with.
    pub fn standing(&self, now: Moment, newest: Held) -> Standing {
        if self.paused {
            return Standing::Paused;
        }
        if let Some(aside) = self.aside_for(newest) {
            return Standing::Aside { cause: aside.cause, since: aside.since, recheck_at: aside.recheck_at };
        }
        match self.rest {
            Some(rest) if now < rest.until || rest.step.is_some() => Standing::Resting { until: rest.until, cause: rest.cause },
            Some(_) | None => Standing::Open,
        }
    }

    /// Whether a message may go there now, when `newest` is what it would prove itself with.
    pub fn admits(&self, now: Moment, newest: Held) -> Admission {
        let (cause, opens) = match self.standing(now, newest) {
            Standing::Open => return Admission::Open,
            Standing::Paused => (Cause::RefusedByPolicy, None),
            Standing::Aside { cause, recheck_at, .. } => (cause, recheck_at),
            Standing::Resting { until, cause } => (cause, Some(until)),
        };
        match opens {
            Some(at) if at <= now => Admission::Trial,
            Some(at) => Admission::Closed { cause, wait: Some(at.since(now)) },
            None => Admission::Closed { cause, wait: None },
        }
    }

    /// What the decision needs to know.
    pub fn view(&self, now: Moment, newest: Held) -> View {
        View { admission: self.admits(now, newest), credential: newest, retry: self.retries >= 1.0 }
    }

    fn aside_for(&self, newest: Held) -> Option<Aside> {
        self.aside.filter(|aside| aside.dead >= newest)
    }

    /// A second attempt costs what several first ones have earned.
    fn pay(&mut self, retry: bool) {
        self.retries = if retry { (self.retries - 1.0).max(0.0) } else { (self.retries + RETRY_SHARE).min(RETRIES) };
    }

    /// A trial is leased, not owned: if its outcome never comes, the next is due after the same time again.
    /// A route's last resort is a trial before it is due, and outside the schedule.
    fn lease(&mut self, now: Moment) {
        if let Some(aside) = self.aside.as_mut().filter(|aside| aside.recheck_at.is_some_and(|due| due <= now)) {
            aside.on_trial = true;
            aside.recheck_at = aside.step.map(|step| now.plus(step));
        }
        if let Some(rest) = self.rest.as_mut().filter(|rest| rest.until <= now) {
            rest.on_trial = rest.step.is_some();
            rest.until = now.plus(rest.step.unwrap_or_default());
        }
    }

    fn accept(&mut self, credential: Held) {
        self.proven = self.proven.max(Some(credential));
        // Who takes messages in between fails now and then: a rest would refuse all for the sake of a few.
        self.faults.clear();
        self.clear(credential);
    }

    /// It works, with this credential.
    fn clear(&mut self, credential: Held) {
        self.aside = self.aside.filter(|aside| aside.dead > credential);
        self.answered();
        self.throttles = 0;
    }

    /// It answers in its own words: not the fault that it rested for.
    fn answered(&mut self) {
        self.rest = self.rest.filter(|rest| rest.step.is_none());
    }

    fn refuse(&mut self, cause: Cause, credential: Held, wait: Option<Duration>, now: Moment) {
        match cause.concern() {
            Concern::Account if cause == Cause::SandboxMismatch && !self.is_sandbox(credential) => self.answered(),
            Concern::Credential | Concern::Account => {
                self.answered();
                self.set_aside(cause, credential, now);
            }
            Concern::Throttle => self.throttle(wait, now),
            Concern::Provider => self.fault(cause, now),
            Concern::MessageHere | Concern::Message | Concern::Person | Concern::Repeat => self.answered(),
            Concern::Ours => {}
        }
    }

    /// A test account is told from one foreign number by never having had anything accepted, and by saying it twice.
    fn is_sandbox(&mut self, credential: Held) -> bool {
        let again = self.sandbox.replace(credential) == Some(credential);
        again && self.proven != Some(credential)
    }

    fn probed(&mut self, cause: Cause, credential: Held, now: Moment) {
        match cause.concern() {
            Concern::Credential | Concern::Account => self.set_aside(cause, credential, now),
            Concern::Throttle
            | Concern::Provider
            | Concern::MessageHere
            | Concern::Message
            | Concern::Person
            | Concern::Repeat
            | Concern::Ours => {}
        }
    }

    /// Said of an older credential than the one it stands aside for, it says nothing new. A trial that
    /// failed doubles the time to the next; refusals of attempts already under way do not.
    fn set_aside(&mut self, cause: Cause, credential: Held, now: Moment) {
        let known = self.aside.filter(|aside| aside.dead == credential);
        if self.aside.is_some_and(|aside| aside.dead > credential) {
            return;
        }
        let fresh = Aside {
            cause,
            dead: credential,
            since: now,
            step: self.recheck,
            recheck_at: self.recheck.map(|step| now.plus(step)),
            on_trial: false,
        };
        self.aside = Some(match known {
            None => fresh,
            Some(aside) if aside.on_trial => {
                let step = aside.step.map(|step| step.saturating_mul(2).min(LONGEST_RECHECK.max(step)));
                Aside { cause, step, recheck_at: step.map(|step| now.plus(step)), on_trial: false, ..aside }
            }
            Some(aside) => Aside { cause, ..aside },
        });
    }

    /// Answers that were under way when the rest began do not double it; they may ask for a longer one.
    fn throttle(&mut self, wait: Option<Duration>, now: Moment) {
        self.answered();
        let running = self.rest.filter(|rest| now < rest.until);
        let doubled = FIRST_THROTTLE.saturating_mul(1 << self.throttles.min(16)).min(LONGEST_THROTTLE);
        let until = match (running, wait) {
            (_, Some(wait)) => now.plus(wait.min(LONGEST_WAIT)),
            (None, None) => now.plus(doubled),
            (Some(rest), None) => rest.until,
        };
        if running.is_none() {
            self.throttles = self.throttles.saturating_add(1);
        }
        let until = running.map_or(until, |rest| rest.until.max(until));
        self.rest = Some(Rest { cause: Cause::Throttled, until, step: None, on_trial: false });
    }

    fn fault(&mut self, cause: Cause, now: Moment) {
        self.faults.retain(|at| now.since(*at) <= FAULT_WINDOW);
        self.faults.push_back(now);
        let step = match self.rest {
            Some(Rest { step: Some(step), on_trial: true, .. }) => step.saturating_mul(2).min(LONGEST_REST),
            Some(Rest { step: Some(_), .. }) => return,
            Some(Rest { step: None, until, .. }) if now < until => return,
            Some(_) | None if self.faults.len() >= FAULTS => FIRST_REST,
            Some(_) | None => return,
        };
        self.faults.clear();
        self.rest = Some(Rest { cause, until: now.plus(step), step: Some(step), on_trial: false });
    }
}

#[cfg(test)]
mod tests;
