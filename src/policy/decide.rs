//! Decides what happens next to one message: a function of the plan, what was
//! tried, how the accounts stand and how long it has taken. Nothing else.
//!
//! The question under every branch is whether the person may already have been
//! sent this message. [`Outcome`] answers it, so the rules below never look at
//! a status code, an error type or a provider's name.

use std::time::Duration;

use crate::policy::{
    AccountSnapshot, Attempt, DeliveryPlan, NextStep, OnUnknown, PlannedAccount, SendAdmission,
};
use crate::sms::{Cause, Concern, Outcome, RequestResult};

/// No send starts with less than this left, unless its own time limit is shorter.
const MIN_SEND_TIME: Duration = Duration::from_secs(1);
/// A pause between two attempts never doubles beyond this.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);

/// The next step. `dice` is a number from 0 to 1 and only stretches pauses.
pub fn next(
    plan: &DeliveryPlan,
    tried: &[Attempt],
    view: impl Fn(usize) -> AccountSnapshot,
    elapsed: Duration,
    dice: f64,
) -> NextStep {
    if is_finished(plan, tried)
        || tried.iter().filter(|attempt| !attempt.inherited).count() >= plan.max_sends
    {
        return NextStep::Answer(request_result(plan, tried));
    }
    let chance = DecisionContext {
        plan,
        tried,
        elapsed,
        jitter_factor: dice,
    };
    (0..plan.accounts.len())
        .filter_map(|account| chance.candidate(account, view(account)))
        .min_by_key(|turn| (turn.delay, turn.retry, turn.account))
        .map_or(NextStep::Answer(request_result(plan, tried)), |turn| {
            NextStep::Send {
                account: turn.account,
                delay: turn.delay,
                trial: turn.trial,
                retry: turn.retry,
            }
        })
}

/// What the backend is told if it ends here. A message that nobody in the plan could take as it is was refused for
/// itself, though nobody was asked: saying "repeat later" would have it repeated for ever.
pub fn request_result(plan: &DeliveryPlan, tried: &[Attempt]) -> RequestResult {
    let fits_nobody = || {
        !plan.accounts.is_empty()
            && plan.accounts.iter().all(|terms| {
                terms
                    .skip_cause
                    .is_some_and(|cause| cause.concern() == Concern::Message)
            })
    };
    if tried
        .iter()
        .enumerate()
        .any(|(at, attempt)| was_accepted(tried, at, attempt))
    {
        RequestResult::Accepted
    } else if tried.iter().any(is_in_doubt) {
        RequestResult::InDoubt
    } else if tried
        .iter()
        .any(|attempt| rejection_concern(attempt).is_some_and(is_message_fault))
        || fits_nobody()
    {
        RequestResult::MessageRejected
    } else {
        RequestResult::NotSent
    }
}

/// Why it ended as it did; none if it was accepted. Of several refusals the one of the account
/// that was to be asked first is told: it is the one whose repair brings the route back.
pub fn result_cause(
    plan: &DeliveryPlan,
    tried: &[Attempt],
    view: impl Fn(usize) -> AccountSnapshot,
) -> Option<Cause> {
    match request_result(plan, tried) {
        RequestResult::InDoubt => last_cause(tried, is_in_doubt),
        RequestResult::MessageRejected => {
            let ends = |attempt: &Attempt| {
                matches!(
                    rejection_concern(attempt),
                    Some(Concern::Recipient | Concern::Duplicate)
                )
            };
            let said = last_cause(tried, ends).or_else(|| {
                last_cause(tried, |attempt| {
                    rejection_concern(attempt).is_some_and(is_message_fault)
                })
            });
            said.or_else(|| plan.accounts.iter().find_map(|terms| terms.skip_cause))
        }
        RequestResult::NotSent => Some(not_sent_cause(plan, tried, view)),
        RequestResult::Accepted
        | RequestResult::PassedThrough
        | RequestResult::AnsweredLocally
        | RequestResult::Tunnelled
        | RequestResult::Denied => None,
    }
}

/// What the last of the wanted attempts died of.
fn last_cause(tried: &[Attempt], wanted: impl Fn(&Attempt) -> bool) -> Option<Cause> {
    tried
        .iter()
        .rfind(|attempt| wanted(attempt))
        .and_then(|attempt| attempt.outcome.cause())
}

/// What was said now, before what is remembered, before what was clear from the start.
fn not_sent_cause(
    plan: &DeliveryPlan,
    tried: &[Attempt],
    view: impl Fn(usize) -> AccountSnapshot,
) -> Cause {
    let accounts = || 0..plan.accounts.len();
    let skip = |account: usize| {
        plan.accounts
            .get(account)
            .and_then(|terms| terms.skip_cause)
    };
    let said = |account: usize| {
        tried
            .iter()
            .rfind(|attempt| attempt.account == account)
            .and_then(|attempt| attempt.outcome.cause())
    };
    let closed = |account: usize| match (skip(account), view(account).admission) {
        (None, SendAdmission::Blocked { cause, .. }) => Some(cause),
        (_, SendAdmission::Allowed | SendAdmission::Trial | SendAdmission::Blocked { .. }) => None,
    };
    let open = accounts().any(|account| skip(account).is_none());
    let beforehand = || {
        if open {
            Cause::Timeout
        } else {
            accounts().find_map(skip).unwrap_or(Cause::NoProvider)
        }
    };
    accounts()
        .find_map(said)
        .or_else(|| accounts().find_map(closed))
        .unwrap_or_else(beforehand)
}

/// Whether what was seen ends the call, whoever is left.
fn is_finished(plan: &DeliveryPlan, tried: &[Attempt]) -> bool {
    let stops = |(at, attempt): (usize, &Attempt)| {
        was_accepted(tried, at, attempt)
            || matches!(
                rejection_concern(attempt),
                Some(Concern::Recipient | Concern::Duplicate)
            )
    };
    let doubt_stops = plan.on_unknown == OnUnknown::Stop && tried.iter().any(is_in_doubt);
    doubt_stops || tried.iter().enumerate().any(stops) || is_message_rejected_twice(tried)
}

/// One provider may be wrong about a number or a text; two are not. Who said so is not asked again,
/// so that two refusals are two providers'.
fn is_message_rejected_twice(tried: &[Attempt]) -> bool {
    let says_so = |attempt: &&Attempt| matches!(&attempt.outcome, Outcome::Rejected(cause) if cause.concern() == Concern::Message);
    tried.iter().filter(says_so).nth(1).is_some()
}

/// Accepted; or refused as a repeat by a service that we left in doubt before: it had taken that one.
fn was_accepted(tried: &[Attempt], at: usize, attempt: &Attempt) -> bool {
    let doubted = || {
        tried
            .iter()
            .take(at)
            .any(|earlier| earlier.account == attempt.account && is_in_doubt(earlier))
    };
    match attempt.outcome {
        Outcome::Accepted { .. } => true,
        Outcome::Rejected(cause) => cause.concern() == Concern::Duplicate && doubted(),
        Outcome::Unsent(_) | Outcome::Unknown(_) => false,
    }
}

fn is_in_doubt(attempt: &Attempt) -> bool {
    matches!(attempt.outcome, Outcome::Unknown(_))
}

/// Whom a clear no is about.
fn rejection_concern(attempt: &Attempt) -> Option<Concern> {
    match attempt.outcome {
        Outcome::Rejected(cause) | Outcome::Unsent(cause) => Some(cause.concern()),
        Outcome::Accepted { .. } | Outcome::Unknown(_) => None,
    }
}

fn is_message_fault(concern: Concern) -> bool {
    matches!(
        concern,
        Concern::Message | Concern::Recipient | Concern::Duplicate
    )
}

/// A possible next attempt.
struct SendCandidate {
    delay: Duration,
    account: usize,
    trial: bool,
    retry: bool,
}

/// The question as it stands, without the account.
struct DecisionContext<'a> {
    plan: &'a DeliveryPlan,
    tried: &'a [Attempt],
    elapsed: Duration,
    jitter_factor: f64,
}

impl DecisionContext<'_> {
    /// When this account could be asked, if at all. Who can be asked at once (not tried yet, or with
    /// a fresh credential) does not wait, and so comes before everyone who must be waited for.
    fn candidate(&self, account: usize, view: AccountSnapshot) -> Option<SendCandidate> {
        let terms = self
            .plan
            .accounts
            .get(account)
            .filter(|terms| terms.skip_cause.is_none())?;
        let last = self.own_attempts(account).last();
        let healing = last.is_some_and(is_credential_rejection);
        let retry = last.is_some() && !healing;
        if self.has_exhausted_attempts(account)
            || self.is_ruled_out(account, *terms, view)
            || (retry && !view.can_retry)
        {
            return None;
        }
        let asked = last
            .filter(|_| retry)
            .map_or(Duration::ZERO, |last| self.retry_delay(account, last));
        let (opens, trial) = match view.admission {
            SendAdmission::Allowed => (Duration::ZERO, false),
            SendAdmission::Trial if last.is_none() => (Duration::ZERO, true),
            SendAdmission::Blocked {
                cause: Cause::Throttled,
                reopens_in: Some(wait),
            } => (
                wait.saturating_add(self.jitter(self.plan.retry_delay)),
                false,
            ),
            SendAdmission::Trial | SendAdmission::Blocked { .. } => return None,
        };
        let after = asked.max(opens);
        let start = self.elapsed.saturating_add(after);
        let fits = start.saturating_add(terms.timeout.min(MIN_SEND_TIME)) <= self.plan.deadline;
        fits.then_some(SendCandidate {
            delay: after,
            account,
            trial,
            retry,
        })
    }

    /// This call's own attempts there.
    fn own_attempts(&self, account: usize) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.tried
            .iter()
            .filter(move |attempt| attempt.account == account && !attempt.inherited)
    }

    /// A credential is renewed once in a call; that attempt is outside the count.
    fn has_exhausted_attempts(&self, account: usize) -> bool {
        let renewed = self
            .own_attempts(account)
            .filter(|attempt| is_credential_rejection(attempt))
            .count();
        renewed >= 2
            || self.own_attempts(account).count()
                >= self.plan.max_attempts_per_account.saturating_add(renewed)
    }

    /// Whether what this account said about this message leaves it nothing to be asked for.
    fn is_ruled_out(&self, account: usize, terms: PlannedAccount, view: AccountSnapshot) -> bool {
        self.tried
            .iter()
            .filter(|attempt| attempt.account == account)
            .any(|attempt| match attempt.outcome {
                Outcome::Accepted { .. } => true,
                Outcome::Unknown(_) => !terms.has_idempotency_key,
                Outcome::Rejected(cause) | Outcome::Unsent(cause) => match cause.concern() {
                    Concern::MessageAtAccount
                    | Concern::Message
                    | Concern::Recipient
                    | Concern::Duplicate => true,
                    Concern::Account | Concern::Ours => !attempt.inherited,
                    Concern::Credential => {
                        !attempt.inherited && attempt.credential >= view.credential
                    }
                    Concern::Throttle | Concern::Provider => false,
                },
            })
    }

    /// Before a second attempt: what the service asked for, else a pause that doubles, with jitter.
    fn retry_delay(&self, account: usize, last: &Attempt) -> Duration {
        let before = self
            .own_attempts(account)
            .filter(|attempt| !is_credential_rejection(attempt))
            .count();
        let doublings = u32::try_from(before.saturating_sub(1))
            .unwrap_or(u32::MAX)
            .min(16);
        let pause = self
            .plan
            .retry_delay
            .saturating_mul(1 << doublings)
            .min(MAX_RETRY_DELAY);
        let asked = last
            .ended
            .saturating_add(last.retry_after.unwrap_or_default())
            .saturating_sub(self.elapsed);
        let jittered = pause / 2 + self.jitter(pause / 2);
        if asked.is_zero() {
            jittered
        } else {
            asked
                .saturating_add(self.jitter(self.plan.retry_delay))
                .max(jittered)
        }
    }

    /// A part of `most`, as the dice say.
    fn jitter(&self, most: Duration) -> Duration {
        let dice = if self.jitter_factor > 0.0 {
            self.jitter_factor.min(1.0)
        } else {
            0.0
        };
        most.min(MAX_RETRY_DELAY).mul_f64(dice)
    }
}

fn is_credential_rejection(attempt: &Attempt) -> bool {
    rejection_concern(attempt) == Some(Concern::Credential)
}

#[cfg(test)]
mod tests;
