//! What became of an attempt and of a call, and the small closed words beside it.

use std::fmt;
use std::sync::Arc;

use crate::sms::Cause;

/// What one attempt tells about the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it.
    Accepted {
        /// The service's id for it.
        id: String,
    },
    /// The reply says for certain that it was not taken.
    Rejected(Cause),
    /// No byte of it was written.
    Unsent(Cause),
    /// All else: it may have been taken.
    Unknown(Cause),
}

impl Outcome {
    /// The label's value.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Unsent(_) => "unsent",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why it was not accepted.
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected(cause) | Self::Unsent(cause) | Self::Unknown(cause) => Some(*cause),
        }
    }
}

/// Writes a closed word list with its spelling.
macro_rules! label_enum {
    ($(#[$meta:meta])* $name:ident { $($variant:ident $word:literal $doc:literal)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $(#[doc = $doc] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label's value.
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
    /// What the backend is told in the end.
    RequestResult {
        Accepted "accepted" "A service took the message."
        NotSent "not-sent" "Nothing was sent; repeating is safe."
        InDoubt "in-doubt" "It may have been sent."
        MessageRejected "message-rejected" "Nothing was sent, and it is the message's fault."
        PassedThrough "passed-through" "A named operation other than a send was passed on."
        AnsweredLocally "answered-locally" "The sidecar answered by itself (login, status of our ids)."
        Tunnelled "tunnelled" "Passed through unread."
        Denied "denied" "Turned away before any provider was involved."
    }
}

label_enum! {
    /// What an attempt was for.
    AttemptKind {
        Send "send" "A message."
        Login "login" "A token."
        Probe "probe" "A question that settles a cause."
        Passthrough "passthrough" "Another named operation of the backend."
    }
}

label_enum! {
    /// The way a call came in.
    Entrypoint {
        BaseUrl "base-url" "The backend names our address."
        Absolute "absolute" "Forward proxy, absolute form."
        Connect "connect" "CONNECT, with TLS ended here or plain HTTP inside."
        Transparent "transparent" "Redirected by the kernel."
        Unix "unix" "Unix socket."
        Control "control" "Our own control socket."
    }
}

label_enum! {
    /// What a recognised request asks for.
    Operation {
        Send "send" "Send a message."
        Login "login" "Get a token."
        Status "status" "Ask after a message."
        Passthrough "passthrough" "Another operation the dialect names."
        Other "other" "None that is named."
    }
}

/// A provider's name in the config: one account at one service. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(Arc<str>);

impl ProviderId {
    /// From the config's key.
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
