//! What of the calls is shown.

use serde::{Deserialize, Serialize};

/// One call; the number masked, no text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    /// When it was answered.
    pub at: String,
    /// The id in the log.
    pub id: String,
    /// Who called, where that is known.
    pub caller: Option<String>,
    /// Where it came in.
    pub door: String,
    /// What the backend spoke.
    pub dialect: Option<String>,
    /// What it asked for.
    pub operation: String,
    /// The route that matched.
    pub route: Option<String>,
    /// Masked: `+998*****67`.
    pub recipient: Option<String>,
    /// What the backend was told.
    pub verdict: String,
    /// Why, where it was no success or a rescue.
    pub cause: Option<String>,
    /// How sure that is.
    pub certainty: Option<String>,
    /// It was not sent again: the same message had its answer.
    pub repeat: bool,
    /// From accepting it to its answer.
    pub took_ms: u64,
    /// In order.
    pub attempts: Vec<Attempt>,
}

/// One attempt of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempt {
    /// Whose account.
    pub provider: String,
    /// `send` `login` `probe` `carry`.
    pub kind: String,
    /// `accepted` `refused` `unsent` `unknown`.
    pub outcome: String,
    /// Why it was not accepted.
    pub cause: Option<String>,
    /// The literal HTTP status.
    pub status: Option<u16>,
    /// The service's own words, cleaned and cut.
    pub says: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// What came in at one door since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Door {
    /// Which.
    pub door: String,
    /// Calls that were read.
    pub calls: u64,
    /// Passed through unread: hosts of no provider.
    pub tunnelled: u64,
    /// Turned away.
    pub rejected: u64,
    /// The last of them.
    pub last_at: Option<String>,
    /// Those turned away that were for hosts of ours; none: there were none in the last hour.
    pub barred: Option<Barred>,
}

/// Requests for hosts of ours whose TLS could not be ended: the backend that sends them gets none through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Barred {
    /// So many since the start.
    pub count: u64,
    /// The last of them.
    pub at: String,
    /// Why, in the words it was told.
    pub why: String,
}
