//! The words for how a provider stands, and for what may change that.

use std::time::Duration;

use crate::clock::Moment;
use crate::policy::Held;
use crate::sms::{Cause, Outcome};

/// Something that happened to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An attempt begins, as [`next`](crate::policy::next) said.
    Begun {
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
        credential: Held,
        /// How long the service asks us to wait.
        wait: Option<Duration>,
    },
    /// A probe was answered.
    Probed {
        /// What is wrong; none: all is well.
        cause: Option<Cause>,
        /// What it proved itself with.
        credential: Held,
    },
    /// The vault or a login has something newer.
    Renewed {
        /// The newest.
        credential: Held,
    },
    /// Taken out by hand.
    Paused,
    /// Put back by hand; whatever stood against it is forgotten.
    Resumed,
}

/// How it stands, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In use.
    Open,
    /// Comes back by time.
    Resting {
        /// When.
        until: Moment,
        /// Why.
        cause: Cause,
    },
    /// Comes back by change, probe or recheck.
    Aside {
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

impl Standing {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resting { .. } => "resting",
            Self::Aside { .. } => "aside",
            Self::Paused => "paused",
        }
    }

    /// Every label, for series that exist from the start.
    pub const WORDS: &[&'static str] = &["open", "resting", "aside", "paused"];

    /// Why it is not in use.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::Resting { cause, .. } | Self::Aside { cause, .. } => Some(cause),
            Self::Open | Self::Paused => None,
        }
    }

    /// When one message may try it; none: not by time.
    pub const fn back(self) -> Option<Moment> {
        match self {
            Self::Resting { until, .. } => Some(until),
            Self::Aside { recheck_at, .. } => recheck_at,
            Self::Open | Self::Paused => None,
        }
    }
}

/// Whether a provider may be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// By everyone.
    Open,
    /// By one message, to see whether it is back.
    Trial,
    /// By none.
    Closed {
        /// Why; `refused-by-policy` if it was paused by hand.
        cause: Cause,
        /// After which time it can be asked again; none: not by time.
        wait: Option<Duration>,
    },
}
