//! What the decision is asked with, and what it answers: a call's plan and history, how
//! the accounts stand, the next step. Values only; the rules are in `decide`.

use std::time::Duration;

use crate::policy::SendAdmission;
use crate::secret::Version;
use crate::sms::{Cause, Outcome, RequestResult};

/// What an attempt proves itself with: a credential's version and, where a login stands between,
/// which login's token. Ordered: a newer version, or a newer token of the same version, is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CredentialRevision {
    /// The vault entry's version.
    pub version: Version,
    /// How many logins were made; 0 for services without one.
    pub token_generation: u64,
}

impl From<Version> for CredentialRevision {
    fn from(version: Version) -> Self {
        Self {
            version,
            token_generation: 0,
        }
    }
}

/// One attempt, in the order made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its place in the plan; beyond the plan if it was inherited from a provider that left it.
    pub account: usize,
    /// What it proved itself with.
    pub credential: CredentialRevision,
    /// What became of it.
    pub outcome: Outcome,
    /// How long the service asks us to wait.
    pub retry_after: Option<Duration>,
    /// When its answer came, as time since the call began.
    pub ended: Duration,
    /// Made by an earlier call for the same message. It says what the person may have got and who
    /// refused these words, and costs this call neither an attempt nor a send.
    pub inherited: bool,
}

/// How a route wants its messages carried.
#[derive(Clone, Debug)]
pub struct DeliveryPlan {
    /// In the order to be asked.
    pub accounts: Vec<PlannedAccount>,
    /// At one account, at the most; one with a renewed credential comes on top.
    pub max_attempts_per_account: usize,
    /// In all, at the most.
    pub max_sends: usize,
    /// For the whole call.
    pub deadline: Duration,
    /// Before the first repeat at one account; doubles.
    pub retry_delay: Duration,
    /// After a doubt.
    pub on_unknown: OnUnknown,
}

/// What matters here about one account.
#[derive(Clone, Copy, Debug)]
pub struct PlannedAccount {
    /// One attempt's time limit.
    pub timeout: Duration,
    /// The service itself recognises a repeat, and every attempt of this call carries the same key.
    pub has_idempotency_key: bool,
    /// Known beforehand not to fit this call, and why.
    pub skip_cause: Option<Cause>,
}

/// After an attempt that may have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Another provider: the same code twice is better than no login.
    Failover,
    /// The call ends.
    Stop,
}

/// How an account stands at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// Whether it may be asked.
    pub admission: SendAdmission,
    /// The newest there is to prove ourselves with.
    pub credential: CredentialRevision,
    /// Whether its retry budget allows a second attempt.
    pub can_retry: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Make an attempt.
    Send {
        /// Its place in the plan.
        account: usize,
        /// To be waited first.
        delay: Duration,
        /// The account is asked although it stands aside or rested: tell its record so.
        trial: bool,
        /// A second attempt there, paid from its retry budget: tell its record so.
        retry: bool,
    },
    /// The call is over.
    Answer(RequestResult),
}
