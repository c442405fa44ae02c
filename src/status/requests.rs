//! What the status shows about requests.

use serde::{Deserialize, Serialize};

/// One request, with a masked number and without the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestStatus {
    /// When it was answered.
    pub at: String,
    /// Its id in the log.
    pub id: String,
    /// The caller, if known.
    pub caller: Option<String>,
    /// The entrypoint.
    pub entrypoint: String,
    /// The backend's dialect.
    pub dialect: Option<String>,
    /// The operation.
    pub operation: String,
    /// The route that matched.
    pub route: Option<String>,
    /// Masked: `+998*****67`.
    pub recipient: Option<String>,
    /// The result that the backend got.
    pub result: String,
    /// Why it failed, or why a failover was needed.
    pub cause: Option<String>,
    /// How certain the cause is.
    pub certainty: Option<String>,
    /// Whether it was a duplicate, which is not sent again because the same message was already answered.
    pub duplicate: bool,
    /// The time from accepting it to the response.
    pub took_ms: u64,
    /// The attempts, in order.
    pub attempts: Vec<AttemptStatus>,
}

/// One attempt of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptStatus {
    /// The provider.
    pub provider: String,
    /// `send` `login` `probe` `passthrough`.
    pub kind: String,
    /// `accepted` `rejected` `unsent` `unknown`.
    pub outcome: String,
    /// Why it was not accepted.
    pub cause: Option<String>,
    /// The literal HTTP status.
    pub status: Option<u16>,
    /// The service's own message, cleaned and truncated.
    pub provider_message: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// The requests of one entrypoint since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntrypointStatus {
    /// The entrypoint.
    pub entrypoint: String,
    /// Requests that were read.
    pub requests: u64,
    /// Requests that were tunnelled unread, to hosts that belong to no provider.
    pub tunnelled: u64,
    /// Denied requests.
    pub denied: u64,
    /// When the last request came in.
    pub last_at: Option<String>,
}

/// The connections of backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionsStatus {
    /// How many are open.
    pub open: u64,
    /// How many may be open; 0 if that is not known.
    pub limit: u64,
    /// How many were denied since the start, because too many were open.
    pub denied: u64,
    /// When the last of them was denied.
    pub last_denied_at: Option<String>,
    /// Whether that was in the last hour.
    pub denied_lately: bool,
    /// Why the process may open too few files for this limit, and what to do; none if it may open enough.
    pub file_limit_problem: Option<String>,
}

/// Requests of the backend that the sidecar itself denied for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DenialStatus {
    /// The reason: `ca-missing` …
    pub reason: String,
    /// How many there were since the config was loaded.
    pub count: u64,
    /// The entrypoint of the last one.
    pub entrypoint: String,
    /// When the last one came in.
    pub last_at: String,
    /// What is wrong.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

/// How many of the backend's latest requests were denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeniedRequests {
    /// Those that were denied.
    pub denied: usize,
    /// They, and the messages that were accepted meanwhile.
    pub requests: usize,
}
