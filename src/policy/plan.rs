//! Input and output of the decision: a request's plan and history, the state of each account, and
//! the next step. Values only; the rules are in `decide`.

use std::time::Duration;

use crate::policy::{CredentialRevision, SendAdmission};
use crate::sms::{Cause, Outcome, RequestResult};

/// One finished attempt of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Index into [`DeliveryPlan::accounts`]; beyond its end if the attempt is inherited and its
    /// provider is not in the plan any more.
    pub account: usize,
    /// The credential it used.
    pub credential: CredentialRevision,
    /// How it ended.
    pub outcome: Outcome,
    /// How long the service asks clients to wait.
    pub retry_after: Option<Duration>,
    /// Time from the start of the request to the reply.
    pub ended: Duration,
    /// Whether an earlier request for the same message made it. Such an attempt records who may
    /// have sent the message and who rejected it; it does not count against this request's limits.
    pub inherited: bool,
}

/// How a route delivers a message.
#[derive(Clone, Debug)]
pub struct DeliveryPlan {
    /// In order of preference.
    pub accounts: Vec<PlannedAccount>,
    /// Limit of attempts at one account; one more is allowed with a newer credential.
    pub max_attempts_per_account: usize,
    /// Limit of sends in the whole request.
    pub max_sends: usize,
    /// Time limit of the whole request.
    pub deadline: Duration,
    /// Delay before the first retry at one account; doubles.
    pub retry_delay: Duration,
    /// What to do after an unknown outcome.
    pub on_unknown: OnUnknown,
}

/// One account of a plan.
#[derive(Clone, Copy, Debug)]
pub struct PlannedAccount {
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Whether the service recognises a duplicate by a key that every attempt of this request carries.
    pub has_idempotency_key: bool,
    /// Why this request cannot be sent there; none if it can.
    pub skip_cause: Option<Cause>,
}

/// What follows an attempt whose message may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Try another provider: the same code twice is better than no login.
    Failover,
    /// End the request.
    Stop,
}

/// The state of an account at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// Whether a message may be sent there.
    pub admission: SendAdmission,
    /// The credential that an attempt presents: the newest, or the previous one that serves in its
    /// place.
    pub credential: CredentialRevision,
    /// Whether its retry budget allows a retry.
    pub can_retry: bool,
    /// What is known about the credential.
    pub credential_status: CredentialStatus,
    /// It does not answer: another account is preferred.
    pub is_silent: bool,
}

/// What is known about the credential that an attempt at an account presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialStatus {
    /// Nothing is against it.
    Usable,
    /// The account is quarantined, and the credential may be the cause: the service may lock an
    /// account that presents a wrong credential repeatedly.
    Suspected,
    /// It is the previous one, and the newest is due for a half-open trial.
    NewestDue,
}

/// What a request does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Make an attempt.
    Send {
        /// Index into [`DeliveryPlan::accounts`].
        account: usize,
        /// How long to wait first.
        delay: Duration,
        /// Whether it is a half-open trial; the account's [`Health`](crate::policy::Health) must record it.
        trial: bool,
        /// Whether it is a retry, paid from the account's retry budget; its `Health` must record it.
        retry: bool,
    },
    /// End the request with this result.
    Answer(RequestResult),
}
