//! Decides the next step for one message. The inputs are the plan, the attempts so far, the state
//! of each account and the elapsed time; nothing else.
//!
//! Every branch asks whether the message may already have been sent. [`Outcome`] answers that, so
//! the rules below never look at a status code, an error type or a provider's name.

use std::time::Duration;

use crate::policy::{
    AccountSnapshot, Attempt, CredentialRevision, CredentialStatus, DeliveryPlan, NextStep,
    OnUnknown, PlannedAccount, SendAdmission,
};
use crate::secret::Version;
use crate::sms::{Cause, Concern, Outcome, RequestResult};

/// A send starts only if this much of the deadline is left, or its own time limit if that is less.
const MIN_SEND_TIME: Duration = Duration::from_secs(1);
/// The delay between two attempts doubles up to this.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);

/// The next step of a request. `view` returns the state of the account at an index of the plan;
/// `random_fraction` is from 0 to 1 and only varies delays.
pub fn next(
    plan: &DeliveryPlan,
    tried: &[Attempt],
    view: impl Fn(usize) -> AccountSnapshot,
    elapsed: Duration,
    random_fraction: f64,
) -> NextStep {
    if is_finished(plan, tried)
        || tried.iter().filter(|attempt| !attempt.inherited).count() >= plan.max_sends
    {
        return NextStep::Answer(request_result(plan, tried));
    }
    let context = DecisionContext {
        plan,
        tried,
        elapsed,
        jitter_factor: random_fraction,
    };
    let candidates = (0..plan.accounts.len()).filter_map(|account| {
        let view = view(account);
        let send = context.candidate(account, view)?;
        Some(((send.delay, view.is_silent, send.retry), send))
    });
    let preferred = first_minimum(candidates, &(Duration::ZERO, false, false));
    match preferred {
        Some(send) => NextStep::Send {
            account: send.account,
            delay: send.delay,
            trial: send.trial,
            retry: send.retry,
        },
        None => NextStep::Answer(request_result(plan, tried)),
    }
}

/// The first value with the smallest key. Looks no further than one with the key `least`, because none is smaller: a
/// plan has many accounts, and the first one is nearly always free.
fn first_minimum<K: Ord, T>(keyed: impl Iterator<Item = (K, T)>, least: &K) -> Option<T> {
    let mut best: Option<(K, T)> = None;
    for (key, value) in keyed {
        if best.as_ref().is_none_or(|(smallest, _)| key < *smallest) {
            let is_least = key == *least;
            best = Some((key, value));
            if is_least {
                break;
            }
        }
    }
    best.map(|(_, value)| value)
}

/// The result if the request ends now. A message that no provider of the plan can take is rejected
/// for its own fault, although no attempt was made: "repeat later" would be repeated for ever.
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

/// The cause of the result; none if the message was accepted. If several accounts rejected it, the
/// cause is that of the first one in the plan: repairing that account brings the route back.
pub fn result_cause(
    plan: &DeliveryPlan,
    tried: &[Attempt],
    view: impl Fn(usize) -> AccountSnapshot,
) -> Option<Cause> {
    match request_result(plan, tried) {
        RequestResult::InDoubt => last_cause(tried, is_in_doubt),
        RequestResult::MessageRejected => {
            let ends_request = |attempt: &Attempt| {
                matches!(
                    rejection_concern(attempt),
                    Some(Concern::Recipient | Concern::Duplicate)
                )
            };
            let reported = last_cause(tried, ends_request).or_else(|| {
                last_cause(tried, |attempt| {
                    rejection_concern(attempt).is_some_and(is_message_fault)
                })
            });
            reported.or_else(|| plan.accounts.iter().find_map(|terms| terms.skip_cause))
        }
        RequestResult::NotSent => Some(not_sent_cause(plan, tried, view)),
        RequestResult::Accepted
        | RequestResult::PassedThrough
        | RequestResult::AnsweredLocally
        | RequestResult::Tunnelled
        | RequestResult::Denied => None,
    }
}

/// The cause of the last attempt that matches.
fn last_cause(tried: &[Attempt], matches: impl Fn(&Attempt) -> bool) -> Option<Cause> {
    tried
        .iter()
        .rfind(|attempt| matches(attempt))
        .and_then(|attempt| attempt.outcome.cause())
}

/// A cause from this request comes before one that blocks an account, and that before a skip.
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
    let reported = |account: usize| {
        tried
            .iter()
            .rfind(|attempt| attempt.account == account)
            .and_then(|attempt| attempt.outcome.cause())
    };
    let blocked = |account: usize| match (skip(account), view(account).admission) {
        (None, SendAdmission::Blocked { cause, .. }) => Some(cause),
        (_, SendAdmission::Allowed | SendAdmission::Trial | SendAdmission::Blocked { .. }) => None,
    };
    let has_usable = accounts().any(|account| skip(account).is_none());
    let not_tried = || {
        if has_usable {
            Cause::Timeout
        } else {
            accounts().find_map(skip).unwrap_or(Cause::NoProvider)
        }
    };
    accounts()
        .find_map(reported)
        .or_else(|| accounts().find_map(blocked))
        .unwrap_or_else(not_tried)
}

/// Whether the attempts so far end the request, even if accounts are left.
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

/// One provider may be wrong about a number or a text; two that agree are right. A provider that
/// rejected the message is not tried again, so two rejections come from two providers.
fn is_message_rejected_twice(tried: &[Attempt]) -> bool {
    let rejects_message = |attempt: &&Attempt| matches!(&attempt.outcome, Outcome::Rejected(cause) if cause.concern() == Concern::Message);
    tried.iter().filter(rejects_message).nth(1).is_some()
}

/// Whether the attempt shows that the message was accepted. A rejected duplicate shows it if an
/// earlier attempt at the same account was in doubt: the service had taken that one.
fn was_accepted(tried: &[Attempt], at: usize, attempt: &Attempt) -> bool {
    let was_in_doubt = || {
        tried
            .iter()
            .take(at)
            .any(|earlier| earlier.account == attempt.account && is_in_doubt(earlier))
    };
    match attempt.outcome {
        Outcome::Accepted { .. } => true,
        Outcome::Rejected(cause) => cause.concern() == Concern::Duplicate && was_in_doubt(),
        Outcome::Unsent(_) | Outcome::Unknown(_) => false,
    }
}

fn is_in_doubt(attempt: &Attempt) -> bool {
    matches!(attempt.outcome, Outcome::Unknown(_))
}

/// What a rejection is about; none if the attempt was not rejected.
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

/// The input of the decision that is the same for every account.
struct DecisionContext<'a> {
    plan: &'a DeliveryPlan,
    tried: &'a [Attempt],
    elapsed: Duration,
    jitter_factor: f64,
}

impl DecisionContext<'_> {
    /// The next possible attempt at this account. An account that is not tried yet, or has a newer
    /// credential, has no delay, and so comes before every account that has one.
    fn candidate(&self, account: usize, view: AccountSnapshot) -> Option<SendCandidate> {
        let terms = self
            .plan
            .accounts
            .get(account)
            .filter(|terms| terms.skip_cause.is_none())?;
        let last = self.own_attempts(account).last();
        let has_new_credential = last.is_some_and(is_credential_rejection);
        let retry = last.is_some() && !has_new_credential;
        if self.has_exhausted_attempts(account)
            || self.is_ruled_out(account, *terms, view)
            || (retry && !view.can_retry)
        {
            return None;
        }
        let retry_delay = last
            .filter(|_| retry)
            .map_or(Duration::ZERO, |last| self.retry_delay(account, last));
        let (reopens_in, trial) = self.admit(view, last.is_none())?;
        let delay = retry_delay.max(reopens_in);
        let start = self.elapsed.saturating_add(delay);
        let fits = start.saturating_add(terms.timeout.min(MIN_SEND_TIME)) <= self.plan.deadline;
        fits.then_some(SendCandidate {
            delay,
            account,
            trial,
            retry,
        })
    }

    /// How long until the account may be tried, and whether that is a half-open trial.
    fn admit(&self, view: AccountSnapshot, is_first: bool) -> Option<(Duration, bool)> {
        match view.admission {
            SendAdmission::Allowed => {
                let is_due = view.credential_status == CredentialStatus::NewestDue;
                Some((Duration::ZERO, is_due && is_first))
            }
            SendAdmission::Trial => is_first.then_some((Duration::ZERO, true)),
            SendAdmission::Blocked {
                cause: Cause::Throttled,
                reopens_in: Some(wait),
            } => {
                let delay = wait.saturating_add(self.jitter(self.plan.retry_delay));
                Some((delay, false))
            }
            SendAdmission::Blocked { .. } => None,
        }
    }

    /// The attempts that this request itself made at the account.
    fn own_attempts(&self, account: usize) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.tried
            .iter()
            .filter(move |attempt| attempt.account == account && !attempt.inherited)
    }

    /// A newer credential is tried once in a request; that attempt does not count. So is the previous
    /// one after the newest, and the newest after the previous one: the service may have changed
    /// between the two.
    fn has_exhausted_attempts(&self, account: usize) -> bool {
        let rejected: Vec<Version> = self
            .own_attempts(account)
            .filter(|attempt| is_credential_rejection(attempt))
            .map(|attempt| attempt.credential.version)
            .collect();
        let renewed = rejected.len();
        let fell_back = !rejected.is_sorted();
        let limit = if fell_back { 3 } else { 2 };
        renewed >= limit
            || self.own_attempts(account).count()
                >= self.plan.max_attempts_per_account.saturating_add(renewed)
    }

    /// Whether an earlier outcome at this account rules out another attempt with this message.
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
                        !attempt.inherited && self.is_dead(account, attempt, view.credential)
                    }
                    Concern::Throttle | Concern::Provider => false,
                },
            })
    }

    /// Whether the rejection of `attempt` holds for `credential`. A version that serves again, because
    /// the one in its place was rejected after it, is another matter.
    fn is_dead(&self, account: usize, attempt: &Attempt, credential: CredentialRevision) -> bool {
        let last = self
            .own_attempts(account)
            .rfind(|attempt| is_credential_rejection(attempt))
            .map(|attempt| attempt.credential.version);
        let is_overtaken = last.is_some_and(|last| last < attempt.credential.version);
        attempt.credential.version == credential.version
            && attempt.credential >= credential
            && !is_overtaken
    }

    /// The delay before a retry: the service's `Retry-After`, else one that doubles, with jitter.
    fn retry_delay(&self, account: usize, last: &Attempt) -> Duration {
        let before = self
            .own_attempts(account)
            .filter(|attempt| !is_credential_rejection(attempt))
            .count();
        let doublings = u32::try_from(before.saturating_sub(1))
            .unwrap_or(u32::MAX)
            .min(16);
        let backoff = self
            .plan
            .retry_delay
            .saturating_mul(1 << doublings)
            .min(MAX_RETRY_DELAY);
        let remaining = last
            .ended
            .saturating_add(last.retry_after.unwrap_or_default())
            .saturating_sub(self.elapsed);
        let jittered = backoff / 2 + self.jitter(backoff / 2);
        if remaining.is_zero() {
            jittered
        } else {
            remaining
                .saturating_add(self.jitter(self.plan.retry_delay))
                .max(jittered)
        }
    }

    /// A random part of `max`.
    fn jitter(&self, max: Duration) -> Duration {
        let fraction = if self.jitter_factor > 0.0 {
            self.jitter_factor.min(1.0)
        } else {
            0.0
        };
        max.min(MAX_RETRY_DELAY).mul_f64(fraction)
    }
}

fn is_credential_rejection(attempt: &Attempt) -> bool {
    rejection_concern(attempt) == Some(Concern::Credential)
}

#[cfg(test)]
mod tests;
