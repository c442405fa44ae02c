//! The words for how a provider stands, and for what may change that.

use std::time::Duration;

use crate::clock::Moment;
use crate::policy::CredentialRevision;
use crate::sms::{Cause, Outcome};

/// Something that happened to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// An attempt begins, as [`next`](crate::policy::next) said.
    Started {
        /// It tries whether the provider is back.
        trial: bool,
        /// It is a second attempt of one call.
        retry: bool,
    },
    /// An attempt of any kind (send, login, carry) ended.
    Ended {
        /// What became of it.
        outcome: Outcome,
        /// What it proved itself with.
        credential: CredentialRevision,
        /// How long the service asks us to wait.
        retry_after: Option<Duration>,
    },
    /// A probe was answered.
    Probed {
        /// What is wrong; none: all is well.
        cause: Option<Cause>,
        /// What it proved itself with.
        credential: CredentialRevision,
    },
    /// The vault or a login has something newer.
    Renewed {
        /// The newest.
        credential: CredentialRevision,
    },
    /// Taken out by hand.
    Paused,
    /// Put back by hand; whatever stood against it is forgotten.
    Resumed,
}

/// How it stands, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// In use.
    Healthy,
    /// Comes back by time.
    Cooldown {
        /// When.
        until: Moment,
        /// Why.
        cause: Cause,
    },
    /// Comes back by change, probe or recheck.
    Quarantined {
        /// Why.
        cause: Cause,
        /// Since when.
        since: Moment,
        /// When one message may try it; none: never.
        recheck_at: Option<Moment>,
    },
    /// Taken out by hand.
    Paused,
}

impl HealthState {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Cooldown { .. } => "cooldown",
            Self::Quarantined { .. } => "quarantined",
            Self::Paused => "paused",
        }
    }

    /// Every label, for series that exist from the start.
    pub const LABELS: &[&'static str] = &["healthy", "cooldown", "quarantined", "paused"];

    /// Why it is not in use.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::Cooldown { cause, .. } | Self::Quarantined { cause, .. } => Some(cause),
            Self::Healthy | Self::Paused => None,
        }
    }

    /// When one message may try it; none: not by time.
    pub const fn next_trial_at(self) -> Option<Moment> {
        match self {
            Self::Cooldown { until, .. } => Some(until),
            Self::Quarantined { recheck_at, .. } => recheck_at,
            Self::Healthy | Self::Paused => None,
        }
    }
}

/// Whether a provider may be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAdmission {
    /// By everyone.
    Allowed,
    /// By one message, to see whether it is back.
    Trial,
    /// By none.
    Blocked {
        /// Why; `denied-by-policy` if it was paused by hand.
        cause: Cause,
        /// After which time it can be asked again; none: not by time.
        reopens_in: Option<Duration>,
    },
}
