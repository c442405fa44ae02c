//! The states of a provider, and the events that change them.

use std::time::Duration;

use crate::clock::Moment;
use crate::policy::CredentialRevision;
use crate::sms::{Cause, Outcome};

/// Something that happened at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// An attempt begins, as [`next`](crate::policy::next) decided.
    Started {
        /// Whether it is a half-open trial.
        trial: bool,
        /// Whether it is a retry within one request.
        retry: bool,
    },
    /// An attempt of any kind (send, login, passthrough) ended.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// The credential it used.
        credential: CredentialRevision,
        /// How long the service asks clients to wait.
        retry_after: Option<Duration>,
        /// Whether the credential may be the cause of a rejection.
        suspects_credential: bool,
    },
    /// A probe got a reply.
    Probed {
        /// The fault that it found; none if the account is healthy.
        cause: Option<Cause>,
        /// The credential it used.
        credential: CredentialRevision,
        /// Whether the credential may be the cause of the fault.
        suspects_credential: bool,
    },
    /// An operator took the provider out of rotation.
    Paused,
    /// An operator put it back; its quarantine and cooldown end.
    Resumed,
}

/// The state of a provider, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// In use.
    Healthy,
    /// Recovers by time.
    Cooldown {
        /// The end of the cooldown.
        until: Moment,
        /// Its cause.
        cause: Cause,
    },
    /// Recovers by a new credential, a probe or a half-open trial.
    Quarantined {
        /// Its cause.
        cause: Cause,
        /// When the quarantine began.
        since: Moment,
        /// When one message may try it; none if never.
        recheck_at: Option<Moment>,
    },
    /// An operator took it out of rotation.
    Paused,
}

impl HealthState {
    /// The value of the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Cooldown { .. } => "cooldown",
            Self::Quarantined { .. } => "quarantined",
            Self::Paused => "paused",
        }
    }

    /// Every label value, for series that exist from the start.
    pub const LABELS: &[&'static str] = &["healthy", "cooldown", "quarantined", "paused"];

    /// The cause of a cooldown or quarantine.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::Cooldown { cause, .. } | Self::Quarantined { cause, .. } => Some(cause),
            Self::Healthy | Self::Paused => None,
        }
    }

    /// When one message may try the provider; none if no time is set for that.
    pub const fn next_trial_at(self) -> Option<Moment> {
        match self {
            Self::Cooldown { until, .. } => Some(until),
            Self::Quarantined { recheck_at, .. } => recheck_at,
            Self::Healthy | Self::Paused => None,
        }
    }
}

/// Whether messages may be sent to a provider now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAdmission {
    /// Every message.
    Allowed,
    /// One message, as a half-open trial.
    Trial,
    /// None.
    Blocked {
        /// Why; `denied-by-policy` if an operator paused it.
        cause: Cause,
        /// Time until a message may be sent; none if it does not reopen by time.
        reopens_in: Option<Duration>,
    },
}
