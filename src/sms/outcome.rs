//! Outcomes of attempts, results of requests, and the other closed lists of labels.

use std::fmt;
use std::sync::Arc;

use crate::sms::{Cause, Concern};

/// How one attempt ended for the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service took the message.
    Accepted {
        /// The service's id for the message.
        id: String,
    },
    /// The reply proves that the service did not take it.
    Rejected(Cause),
    /// No byte of the request was written.
    Unsent(Cause),
    /// Everything else: the service may have taken it.
    Unknown(Cause),
}

impl Outcome {
    /// Whether it shows that sends through this account work; none if it is about this recipient or
    /// this message only, or about us.
    pub fn shows_working(&self) -> Option<bool> {
        let (cause, was_sent) = match self {
            Self::Accepted { .. } => return Some(true),
            Self::Rejected(cause) | Self::Unknown(cause) => (*cause, true),
            Self::Unsent(cause) => (*cause, false),
        };
        let counts = match cause.concern() {
            Concern::Credential | Concern::Account | Concern::Throttle | Concern::Provider => true,
            // Without a send, it is our own check of this message.
            Concern::MessageAtAccount => was_sent,
            Concern::Message => was_sent && cause == Cause::MessageInvalid,
            Concern::Recipient | Concern::Duplicate | Concern::Ours => false,
        };
        counts.then_some(false)
    }

    /// The value of the metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Unsent(_) => "unsent",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why the message was not accepted.
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected(cause) | Self::Unsent(cause) | Self::Unknown(cause) => Some(*cause),
        }
    }
}

/// Defines a closed list of labels with their spelling.
macro_rules! label_enum {
    ($(#[$meta:meta])* $name:ident { $($variant:ident $word:literal $doc:literal)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $(#[doc = $doc] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The value of the metric label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

label_enum! {
    /// What the backend gets in the end.
    RequestResult {
        Accepted "accepted" "A service took the message."
        NotSent "not-sent" "Nothing was sent; repeating is safe."
        InDoubt "in-doubt" "It may have been sent."
        MessageRejected "message-rejected" "Nothing was sent, by the message's own fault."
        PassedThrough "passed-through" "Another named operation was passed through to the provider; in observe mode also a message that it rejected."
        AnsweredLocally "answered-locally" "The sidecar answered by itself (login, status of an id that it issued, a local operation)."
        Tunnelled "tunnelled" "The connection was passed through unread."
        Denied "denied" "Denied before any provider was involved."
    }
}

impl RequestResult {
    /// Whether a send came through to a provider, so that the sidecar itself does not deny the backend.
    pub const fn reached_provider(self) -> bool {
        matches!(self, Self::Accepted | Self::PassedThrough)
    }
}

label_enum! {
    /// What an attempt was for.
    AttemptKind {
        Send "send" "A message."
        Login "login" "A token."
        Probe "probe" "A free request about the account."
        Passthrough "passthrough" "Another named operation of the backend."
    }
}

label_enum! {
    /// How a request reaches the sidecar.
    Entrypoint {
        BaseUrl "base-url" "The backend uses the sidecar's address as the service's base URL."
        Absolute "absolute" "Forward proxy, absolute-form request."
        Connect "connect" "CONNECT, with TLS terminated here or plain HTTP inside."
        Unix "unix" "Unix socket."
        Control "control" "The control socket, for operators."
    }
}

label_enum! {
    /// The operation of a recognised request.
    Operation {
        Send "send" "Send a message."
        Login "login" "Get a token."
        Status "status" "Query the delivery status of a message."
        Local "local" "Answered by the sidecar alone, because it would change the account."
        Passthrough "passthrough" "Another operation that the dialect names."
        Other "other" "An operation that is not named."
    }
}

/// A provider's name in the config: one account at one service. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(Arc<str>);

impl ProviderId {
    /// Makes an id from the config's key.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The config's key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
