//! What goes in and out of the engine besides requests and replies: where a call was
//! addressed, what was read from it, whose account an attempt goes through, what a reply
//! came to, what the backend is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::dialect::Dialect;
use crate::dialect::model::endpoint::Endpoint;
use crate::secret::Credential;
use crate::sms::{Cause, Certainty, Message, Operation, Outcome};

/// Where the request was addressed to, as the door knows it.
#[derive(Clone, Copy, Debug)]
pub enum RequestTarget<'a> {
    /// A host was named: CONNECT's target or the absolute URI (never a Host header inside CONNECT).
    Host(&'a str),
    /// The base URL door: the first path segment named this dialect and was taken off.
    Named(&'a Arc<Dialect>),
    /// Only method and path are known (unix socket).
    Unspecified,
}

/// What a request is.
#[derive(Clone, Debug)]
pub enum Recognition {
    /// A named operation of a dialect.
    Operation(RecognisedRequest),
    /// A dialect's host or name, but no operation that is named: 403.
    UnlistedOperation(Arc<Dialect>),
    /// No dialect's host.
    Unrecognised,
}

/// A request matched to an operation.
#[derive(Clone, Debug)]
pub struct RecognisedRequest {
    /// Which dialect it speaks.
    pub dialect: Arc<Dialect>,
    /// Which operation.
    pub operation: Operation,
    /// The matching entry.
    pub(crate) matched: MatchedOperation,
    /// What the path's holes held.
    pub(crate) path_params: BTreeMap<String, String>,
}

/// Which part of a description a request matched.
#[derive(Clone, Debug)]
pub(crate) enum MatchedOperation {
    /// `[send]`.
    Send,
    /// `[token]`.
    Login,
    /// One of `[[operations]]`.
    Operation(usize),
    /// A provider's own `operations`.
    ProviderOperation(Box<Endpoint>),
}

/// A backend's request, understood.
#[derive(Clone, Debug)]
pub struct DecodedRequest {
    /// The message; none for a batch, or a recipient that is no phone number (then the call is bound).
    pub message: Option<Message>,
    /// The fields no other dialect has a word for; not empty: the call is bound.
    pub untranslatable_fields: Vec<String>,
    /// How many recipients it names.
    pub recipient_count: usize,
    /// What the backend asked, for the answer.
    pub fields: RequestFields,
}

impl DecodedRequest {
    /// Only providers of the dialect spoken may carry it: it says what the message has no word for.
    pub fn is_provider_specific(&self) -> bool {
        self.message.is_none() || !self.untranslatable_fields.is_empty()
    }
}

/// The backend's own words, kept for answering in them. Holds secrets the backend wrote: prints nothing.
#[derive(Clone, Default)]
pub struct RequestFields {
    pub(crate) tree: serde_json::Value,
}

impl std::fmt::Debug for RequestFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked(…)")
    }
}

/// Why a backend's request could not be read; each becomes a 4xx in its dialect's failure shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestReadError {
    /// 415.
    #[error("the body is encoded ({0}); send it plain")]
    Encoded(String),
    /// 415.
    #[error("content type {found} where the service takes {wanted}")]
    ContentType {
        /// What came.
        found: String,
        /// What the service takes.
        wanted: String,
    },
    /// 400.
    #[error("the body is no {format}: {what}")]
    Malformed {
        /// JSON, form, multipart.
        format: &'static str,
        /// What is wrong, without quoting the body.
        what: String,
    },
    /// 400.
    #[error("{0} is missing or empty")]
    Missing(&'static str),
}

/// Whose account an attempt goes through.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Where attempts go.
    pub base_url: &'a str,
    /// Under the dialect's field names.
    pub credential: &'a Credential,
    /// The provider's `param`s.
    pub params: &'a BTreeMap<String, String>,
    /// Set: every message through it carries this.
    pub sender: Option<&'a str>,
    /// What a login brought, for dialects with `[token]`.
    pub token: Option<&'a LoginToken>,
}

/// What a login brought.
#[derive(Clone)]
pub struct LoginToken {
    pub(crate) values: crate::secret::SecretFields,
    pub(crate) claims: Vec<Claim>,
    /// When it runs out, where the reply says so.
    pub expires_at: Option<Timestamp>,
}

/// What a token says of itself about one cause. Read without its key, so it is a hint and no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub cause: Cause,
    /// Whether it says that it is so, or that it is not.
    pub holds: bool,
}

impl LoginToken {
    /// What it says of itself.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Values long enough to mask wherever they are echoed.
    pub fn maskable(&self) -> impl Iterator<Item = &str> {
        use secrecy::ExposeSecret;
        self.values
            .values()
            .map(ExposeSecret::expose_secret)
            .filter(|value| value.len() >= 8)
    }
}

impl std::fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(expires {:?})", self.expires_at)
    }
}

/// Why a message cannot be written for a provider: `Unsent{cause}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Untranslatable {
    /// `not-translatable`, `message-invalid` or `recipient-invalid` (beyond its limits), `template-not-approved`,
    /// `credential-missing` (a field the dialect needs is not in the vault entry).
    pub cause: Cause,
    /// For the log, without the value.
    pub reason: String,
}

/// A reply, classified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// Accepted, refused, unknown.
    pub outcome: Outcome,
    /// How sure the cause is.
    pub certainty: Certainty,
    /// Other causes the same reply can mean.
    pub alternatives: Vec<Cause>,
    /// The service's own code.
    pub code: Option<String>,
    /// The service's own words: control characters out, cut, numbers masked. For ops, never for the backend.
    pub provider_message: Option<String>,
    /// How long it asks us to wait.
    pub retry_after: Option<Duration>,
}

/// What the backend is to be told about a message.
#[derive(Clone, Debug)]
pub enum MessageResult<'a> {
    /// Somebody took it.
    Accepted {
        /// The id to give: the provider's own where it speaks this dialect, else one of ours.
        id: &'a str,
    },
    /// It failed.
    Failed {
        /// 503 not sent · 504 in doubt · the dialect's own 4xx for the message's fault.
        in_doubt: bool,
        /// Which line of `[send.failure.codes]`.
        cause: Cause,
        /// One sentence for the backend; no provider's words, no secret.
        reason: &'a str,
    },
}
