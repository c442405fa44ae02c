//! What of the calls is shown.

use serde::{Deserialize, Serialize};

/// One call; the number masked, no text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestStatus {
    /// When it was answered.
    pub at: String,
    /// The id in the log.
    pub id: String,
    /// Who called, where that is known.
    pub caller: Option<String>,
    /// Where it came in.
    pub entrypoint: String,
    /// What the backend spoke.
    pub dialect: Option<String>,
    /// What it asked for.
    pub operation: String,
    /// The route that matched.
    pub route: Option<String>,
    /// Masked: `+998*****67`.
    pub recipient: Option<String>,
    /// What the backend was told.
    pub result: String,
    /// Why, where it was no success or a rescue.
    pub cause: Option<String>,
    /// How sure that is.
    pub certainty: Option<String>,
    /// It was not sent again: the same message had its answer.
    pub duplicate: bool,
    /// From accepting it to its answer.
    pub took_ms: u64,
    /// In order.
    pub attempts: Vec<AttemptStatus>,
}

/// One attempt of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptStatus {
    /// Whose account.
    pub provider: String,
    /// `send` `login` `probe` `passthrough`.
    pub kind: String,
    /// `accepted` `rejected` `unsent` `unknown`.
    pub outcome: String,
    /// Why it was not accepted.
    pub cause: Option<String>,
    /// The literal HTTP status.
    pub status: Option<u16>,
    /// The service's own words, cleaned and cut.
    pub provider_message: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// The requests of one entrypoint since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntrypointStatus {
    /// Which.
    pub entrypoint: String,
    /// Calls that were read.
    pub requests: u64,
    /// Passed through unread: hosts of no provider.
    pub tunnelled: u64,
    /// Turned away.
    pub denied: u64,
    /// The last of them.
    pub last_at: Option<String>,
    /// Those turned away that were for hosts of ours; none: there were none in the last hour.
    pub tls_rejections: Option<TlsRejectionStatus>,
}

/// Requests for hosts of ours whose TLS could not be ended: the backend that sends them gets none through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsRejectionStatus {
    /// So many since the start.
    pub count: u64,
    /// The last of them.
    pub last_at: String,
    /// Why, in the words it was told.
    pub reason: String,
}
