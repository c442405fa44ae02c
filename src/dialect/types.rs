//! The values that go in and out besides requests and replies: the account of an attempt, the
//! classification of a reply, the result for the backend.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::parse_limit::ParseLimit;
use crate::secret::Credential;
use crate::sms::{Cause, Certainty, Operation, Outcome};

/// Why a backend's request could not be read; each becomes a 4xx in its dialect's failure shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestReadError {
    /// 415.
    #[error("the body has the encoding {0}; send it without one")]
    Encoded(String),
    /// 415.
    #[error("the content type is {found}, the service takes {wanted}")]
    ContentType {
        /// The content type of the request.
        found: String,
        /// The content type that the service takes.
        wanted: String,
    },
    /// 413.
    #[error("{0}; split the request")]
    TooLarge(#[from] ParseLimit),
    /// 400.
    #[error("the body is not valid {format}: {what}")]
    Malformed {
        /// JSON, form, multipart.
        format: &'static str,
        /// What is wrong, without a quote from the body.
        what: String,
    },
    /// 400.
    #[error("{0} is missing or empty")]
    Missing(&'static str),
}

/// An operation that a description names.
#[derive(Clone, Debug)]
pub struct NamedOperation {
    /// Methods and path: `POST /send`.
    pub endpoint: String,
    /// What it is.
    pub kind: Operation,
    /// What a request may have beside the account's fields.
    pub fields: Vec<String>,
}

/// The account of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Where attempts go.
    pub base_url: &'a str,
    /// By the dialect's field names.
    pub credential: &'a Credential,
    /// The provider's `param`s.
    pub params: &'a BTreeMap<String, String>,
    /// The sender of every message of this account, if it sets one.
    pub sender: Option<&'a str>,
    /// The token of the login, for dialects with `[token]`.
    pub token: Option<&'a LoginToken>,
}

/// What a login returned.
#[derive(Clone)]
pub struct LoginToken {
    pub(crate) values: crate::secret::SecretFields,
    pub(crate) claims: Vec<Claim>,
    /// When the login returned it.
    pub issued_at: Timestamp,
    /// When it expires, if the reply has that.
    pub expires_at: Option<Timestamp>,
}

/// What a claim of a token shows about one cause. Read without its key, so it is a hint and not a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The cause.
    pub cause: Cause,
    /// True if the claim shows that the cause applies, false if it shows that it does not.
    pub holds: bool,
}

impl LoginToken {
    /// What its claims show.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Its values; only for redacting them.
    pub(crate) fn exposed_values(&self) -> impl Iterator<Item = &str> {
        use secrecy::ExposeSecret;
        self.values.values().map(ExposeSecret::expose_secret)
    }
}

impl std::fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoginToken(expires {:?})", self.expires_at)
    }
}

/// Why a message cannot be written for a provider; the outcome is `Unsent{cause}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Untranslatable {
    /// `not-translatable`, `message-invalid` or `recipient-invalid` (beyond its limits), `template-not-approved`,
    /// `credential-missing` (the vault entry lacks a field that the dialect needs).
    pub cause: Cause,
    /// For the log, without the value.
    pub reason: String,
}

/// A reply, classified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// Accepted, rejected or unknown.
    pub outcome: Outcome,
    /// How sure the cause is.
    pub certainty: Certainty,
    /// Other causes the same reply can mean.
    pub alternatives: Vec<Cause>,
    /// The service's own code.
    pub code: Option<String>,
    /// The service's own message: without control characters, cut, numbers masked. For ops, never for the backend.
    pub provider_message: Option<String>,
    /// How long to wait, if the reply has a wait.
    pub retry_after: Option<Duration>,
}

impl Classification {
    /// Accepted under this id.
    pub(crate) fn accepted(id: String) -> Self {
        Self {
            outcome: Outcome::Accepted { id },
            certainty: Certainty::Certain,
            alternatives: Vec::new(),
            code: None,
            provider_message: None,
            retry_after: None,
        }
    }
}

/// What the backend gets for a message.
#[derive(Clone, Debug)]
pub enum MessageResult<'a> {
    /// A provider accepted it.
    Accepted {
        /// The id to return: the provider's own if it speaks this dialect, else one of ours.
        id: &'a str,
    },
    /// It failed.
    Failed {
        /// 503 not sent · 504 in doubt · the dialect's own 4xx for the message's fault.
        in_doubt: bool,
        /// Selects the line of `[send.failure.codes]`.
        cause: Cause,
        /// One sentence for the backend, without a provider message and without a secret.
        reason: &'a str,
    },
}
