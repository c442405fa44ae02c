//! Decides what happens next to one message: a function of the plan, what was
//! tried, how the accounts stand and how long it has taken. Nothing else.
//!
//! The question under every branch is whether the person may already have been
//! sent this message. [`Outcome`] answers it, so the rules below never look at
//! a status code, an error type or a provider's name.

use std::time::Duration;

use crate::policy::{Admission, Attempt, OnUnknown, Plan, Step, Terms, View};
use crate::sms::{Cause, Concern, Outcome, Verdict};

/// No send starts with less than this left, unless its own time limit is shorter.
const LEAST_TIME: Duration = Duration::from_secs(1);
/// A pause between two attempts never doubles beyond this.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The next step. `dice` is a number from 0 to 1 and only stretches pauses.
pub fn next(plan: &Plan, tried: &[Attempt], view: impl Fn(usize) -> View, elapsed: Duration, dice: f64) -> Step {
    if settled(plan, tried) || tried.iter().filter(|attempt| !attempt.inherited).count() >= plan.sends {
        return Step::Answer(verdict(plan, tried));
    }
    let chance = Chance { plan, tried, elapsed, dice };
    (0..plan.accounts.len())
        .filter_map(|account| chance.of(account, view(account)))
        .min_by_key(|turn| (turn.after, turn.retry, turn.account))
        .map_or(Step::Answer(verdict(plan, tried)), |turn| Step::Send {
            account: turn.account,
            after: turn.after,
            trial: turn.trial,
            retry: turn.retry,
        })
}

/// What the backend is told if it ends here. A message that nobody in the plan could take as it is was refused for
/// itself, though nobody was asked: saying "repeat later" would have it repeated for ever.
pub fn verdict(plan: &Plan, tried: &[Attempt]) -> Verdict {
    let fits_nobody = || {
        !plan.accounts.is_empty() && plan.accounts.iter().all(|terms| terms.skip.is_some_and(|cause| cause.concern() == Concern::Message))
    };
    if tried.iter().enumerate().any(|(at, attempt)| taken(tried, at, attempt)) {
        Verdict::Accepted
    } else if tried.iter().any(in_doubt) {
        Verdict::InDoubt
    } else if tried.iter().any(|attempt| concern(attempt).is_some_and(at_fault)) || fits_nobody() {
        Verdict::MessageRefused
    } else {
        Verdict::NotSent
    }
}

/// Why it ended as it did; none if it was accepted. Of several refusals the one of the account
/// that was to be asked first is told: it is the one whose repair brings the route back.
pub fn cause(plan: &Plan, tried: &[Attempt], view: impl Fn(usize) -> View) -> Option<Cause> {
    match verdict(plan, tried) {
        Verdict::InDoubt => last(tried, in_doubt),
        Verdict::MessageRefused => {
            let ends = |attempt: &Attempt| matches!(concern(attempt), Some(Concern::Person | Concern::Repeat));
            let said = last(tried, ends).or_else(|| last(tried, |attempt| concern(attempt).is_some_and(at_fault)));
            said.or_else(|| plan.accounts.iter().find_map(|terms| terms.skip))
        }
        Verdict::NotSent => Some(unsent_cause(plan, tried, view)),
        Verdict::Accepted | Verdict::Carried | Verdict::Answered | Verdict::Tunnelled | Verdict::Rejected => None,
    }
}

/// What the last of the wanted attempts died of.
fn last(tried: &[Attempt], wanted: impl Fn(&Attempt) -> bool) -> Option<Cause> {
    tried.iter().rfind(|attempt| wanted(attempt)).and_then(|attempt| attempt.outcome.cause())
}

/// What was said now, before what is remembered, before what was clear from the start.
fn unsent_cause(plan: &Plan, tried: &[Attempt], view: impl Fn(usize) -> View) -> Cause {
    let accounts = || 0..plan.accounts.len();
    let skip = |account: usize| plan.accounts.get(account).and_then(|terms| terms.skip);
    let said = |account: usize| tried.iter().rfind(|attempt| attempt.account == account).and_then(|attempt| attempt.outcome.cause());
    let closed = |account: usize| match (skip(account), view(account).admission) {
        (None, Admission::Closed { cause, .. }) => Some(cause),
        (_, Admission::Open | Admission::Trial | Admission::Closed { .. }) => None,
    };
    let open = accounts().any(|account| skip(account).is_none());
    let beforehand = || if open { Cause::Timeout } else { accounts().find_map(skip).unwrap_or(Cause::NoProvider) };
    accounts().find_map(said).or_else(|| accounts().find_map(closed)).unwrap_or_else(beforehand)
}

/// Whether what was seen ends the call, whoever is left.
fn settled(plan: &Plan, tried: &[Attempt]) -> bool {
    let stops =
        |(at, attempt): (usize, &Attempt)| taken(tried, at, attempt) || matches!(concern(attempt), Some(Concern::Person | Concern::Repeat));
    let doubt_stops = plan.on_unknown == OnUnknown::Stop && tried.iter().any(in_doubt);
    doubt_stops || tried.iter().enumerate().any(stops) || message_refused_twice(tried)
}

/// One provider may be wrong about a number or a text; two are not. Who said so is not asked again,
/// so that two refusals are two providers'.
fn message_refused_twice(tried: &[Attempt]) -> bool {
    let says_so = |attempt: &&Attempt| matches!(&attempt.outcome, Outcome::Refused(cause) if cause.concern() == Concern::Message);
    tried.iter().filter(says_so).nth(1).is_some()
}

/// Accepted; or refused as a repeat by a service that we left in doubt before: it had taken that one.
fn taken(tried: &[Attempt], at: usize, attempt: &Attempt) -> bool {
    let doubted = || tried.iter().take(at).any(|earlier| earlier.account == attempt.account && in_doubt(earlier));
    match attempt.outcome {
        Outcome::Accepted { .. } => true,
        Outcome::Refused(cause) => cause.concern() == Concern::Repeat && doubted(),
        Outcome::Unsent(_) | Outcome::Unknown(_) => false,
    }
}

fn in_doubt(attempt: &Attempt) -> bool {
    matches!(attempt.outcome, Outcome::Unknown(_))
}

/// Whom a clear no is about.
fn concern(attempt: &Attempt) -> Option<Concern> {
    match attempt.outcome {
        Outcome::Refused(cause) | Outcome::Unsent(cause) => Some(cause.concern()),
        Outcome::Accepted { .. } | Outcome::Unknown(_) => None,
    }
}

fn at_fault(concern: Concern) -> bool {
    matches!(concern, Concern::Message | Concern::Person | Concern::Repeat)
}

/// A possible next attempt.
struct Turn {
    after: Duration,
    account: usize,
    trial: bool,
    retry: bool,
}

/// The question as it stands, without the account.
struct Chance<'a> {
    plan: &'a Plan,
    tried: &'a [Attempt],
    elapsed: Duration,
    dice: f64,
}

impl Chance<'_> {
    /// When this account could be asked, if at all. Who can be asked at once (not tried yet, or with
    /// a fresh credential) does not wait, and so comes before everyone who must be waited for.
    fn of(&self, account: usize, view: View) -> Option<Turn> {
        let terms = self.plan.accounts.get(account).filter(|terms| terms.skip.is_none())?;
        let last = self.mine(account).last();
        let healing = last.is_some_and(about_credential);
        let retry = last.is_some() && !healing;
        if self.used_up(account) || self.spent(account, *terms, view) || (retry && !view.retry) {
            return None;
        }
        let asked = last.filter(|_| retry).map_or(Duration::ZERO, |last| self.pause(account, last));
        let (opens, trial) = match view.admission {
            Admission::Open => (Duration::ZERO, false),
            Admission::Trial if last.is_none() => (Duration::ZERO, true),
            Admission::Closed { cause: Cause::Throttled, wait: Some(wait) } => (wait.saturating_add(self.jitter(self.plan.pause)), false),
            Admission::Trial | Admission::Closed { .. } => return None,
        };
        let after = asked.max(opens);
        let start = self.elapsed.saturating_add(after);
        let fits = start.saturating_add(terms.timeout.min(LEAST_TIME)) <= self.plan.deadline;
        fits.then_some(Turn { after, account, trial, retry })
    }

    /// This call's own attempts there.
    fn mine(&self, account: usize) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.tried.iter().filter(move |attempt| attempt.account == account && !attempt.inherited)
    }

    /// A credential is renewed once in a call; that attempt is outside the count.
    fn used_up(&self, account: usize) -> bool {
        let renewed = self.mine(account).filter(|attempt| about_credential(attempt)).count();
        renewed >= 2 || self.mine(account).count() >= self.plan.attempts_per_account.saturating_add(renewed)
    }

    /// Whether what this account said about this message leaves it nothing to be asked for.
    fn spent(&self, account: usize, terms: Terms, view: View) -> bool {
        self.tried.iter().filter(|attempt| attempt.account == account).any(|attempt| match attempt.outcome {
            Outcome::Accepted { .. } => true,
            Outcome::Unknown(_) => !terms.repeat_key,
            Outcome::Refused(cause) | Outcome::Unsent(cause) => match cause.concern() {
                Concern::MessageHere | Concern::Message | Concern::Person | Concern::Repeat => true,
                Concern::Account | Concern::Ours => !attempt.inherited,
                Concern::Credential => !attempt.inherited && attempt.credential >= view.credential,
                Concern::Throttle | Concern::Provider => false,
            },
        })
    }

    /// Before a second attempt: what the service asked for, else a pause that doubles, with jitter.
    fn pause(&self, account: usize, last: &Attempt) -> Duration {
        let before = self.mine(account).filter(|attempt| !about_credential(attempt)).count();
        let doublings = u32::try_from(before.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let pause = self.plan.pause.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        let asked = last.ended.saturating_add(last.wait.unwrap_or_default()).saturating_sub(self.elapsed);
        let jittered = pause / 2 + self.jitter(pause / 2);
        if asked.is_zero() { jittered } else { asked.saturating_add(self.jitter(self.plan.pause)).max(jittered) }
    }

    /// A part of `most`, as the dice say.
    fn jitter(&self, most: Duration) -> Duration {
        let dice = if self.dice > 0.0 { self.dice.min(1.0) } else { 0.0 };
        most.min(LONGEST_PAUSE).mul_f64(dice)
    }
}

fn about_credential(attempt: &Attempt) -> bool {
    concern(attempt) == Some(Concern::Credential)
}

#[cfg(test)]
mod tests;
