//! One SMS service's API as data, read in both directions: recognise, read, write,
//! patch, classify, answer. Pure functions over values; nothing here sends, waits,
//! logs or knows where a secret is kept.

mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::problem::Problem;
use crate::secret::Credential;
use crate::sms::{Cause, Certainty, Kind, Message, Operation, Outcome};

pub use wire::{Outgoing, Reply, Request};

/// A compiled description. (Private fields belong to the engine.)
#[derive(Debug)]
pub struct Dialect {
    /// `playmobile`, `twilio` …
    pub name: String,
}

/// All descriptions that are loaded, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    dialects: BTreeMap<String, Arc<Dialect>>,
}

/// A description as text, before it is read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path or built-in name, as shown in errors.
    pub name: String,
    /// Its TOML.
    pub text: String,
    /// Compiled in, or from ops' folder.
    pub built_in: bool,
}

impl Catalog {
    /// The descriptions compiled in (`config/dialects/*.toml`), as text.
    pub fn built_in_sources() -> Vec<SourceFile> {
        Vec::new()
    }

    /// Compiles every file; later files override or extend (`like`) earlier ones. All problems at once;
    /// a file with an error is left out of the catalog.
    pub fn load(sources: &[SourceFile]) -> (Self, Vec<Problem>) {
        let _ = sources;
        (Self::default(), Vec::new())
    }

    /// One by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Dialect>> {
        self.dialects.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dialect>> {
        self.dialects.values()
    }
}

/// Where the request was addressed to, as the door knows it.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A host was named: CONNECT's target or the absolute URI (never a Host header inside CONNECT).
    Host(&'a str),
    /// The base URL door: the first path segment named this dialect and was taken off.
    Named(&'a Arc<Dialect>),
    /// Only method and path are known (unix socket).
    Nowhere,
}

/// What a request is.
#[derive(Clone, Debug)]
pub enum Recognition {
    /// A named operation of a dialect.
    Operation(Recognised),
    /// A dialect's host or name, but no operation that is named: 403.
    NotNamed(Arc<Dialect>),
    /// No dialect's host.
    Foreign,
}

/// A request matched to an operation.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// Which dialect it speaks.
    pub dialect: Arc<Dialect>,
    /// Which operation.
    pub operation: Operation,
    /// Index of the matching entry, for the engine.
    pub(crate) entry: usize,
    /// What the path's holes held.
    pub(crate) path: BTreeMap<String, String>,
}

/// Says which dialect and which operation; `extra` are a provider's own `operations` ("GET /…"), which are carried.
pub fn recognise(among: &[Arc<Dialect>], place: Place<'_>, request: &Request, extra: &[(String, Vec<String>)]) -> Recognition {
    let _ = (among, place, request, extra);
    Recognition::Foreign
}

/// A backend's request, understood.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The message; none for a batch, or a recipient that is no phone number (then the call is bound).
    pub message: Option<Message>,
    /// The fields no other dialect has a word for; not empty: the call is bound.
    pub binds: Vec<String>,
    /// How many recipients it names.
    pub recipients: usize,
    /// What the backend asked, for the answer.
    pub asked: Asked,
}

/// The backend's own words, kept for answering in them. Holds secrets the backend wrote: prints nothing.
#[derive(Clone, Default)]
pub struct Asked {
    pub(crate) tree: serde_json::Value,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked(…)")
    }
}

/// Why a backend's request could not be read; each becomes a 4xx in its dialect's failure shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
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
    pub token: Option<&'a Token>,
}

/// What a login brought.
#[derive(Clone)]
pub struct Token {
    pub(crate) values: crate::secret::Fields,
    /// When it runs out, where the reply says so.
    pub expires: Option<Timestamp>,
}

impl Token {
    /// Values long enough to mask wherever they are echoed.
    pub fn maskable(&self) -> impl Iterator<Item = &str> {
        use secrecy::ExposeSecret;
        self.values.values().map(ExposeSecret::expose_secret).filter(|value| value.len() >= 8)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(expires {:?})", self.expires)
    }
}

/// Why a message cannot be written for a provider: `Unsent{cause}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Untranslatable {
    /// `not-translatable`, `template-not-approved`, `credential-missing` (a field the dialect needs is not in the vault entry).
    pub cause: Cause,
    /// For the log, without the value.
    pub why: String,
}

/// A reply, classified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Accepted, refused, unknown.
    pub outcome: Outcome,
    /// How sure the cause is.
    pub certainty: Certainty,
    /// Other causes the same reply can mean.
    pub alternatives: Vec<Cause>,
    /// The service's own code.
    pub code: Option<String>,
    /// The service's own words: control characters out, cut, numbers masked. For ops, never for the backend.
    pub says: Option<String>,
    /// How long it asks us to wait.
    pub retry_after: Option<Duration>,
}

/// What the backend is to be told about a message.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// Somebody took it.
    Accepted {
        /// The id to give: the provider's own where it speaks this dialect, else one of ours.
        id: &'a str,
    },
    /// It failed.
    Failed {
        /// 503 not sent · 504 in doubt · the dialect's own 4xx for the message's fault.
        doubt: bool,
        /// Which line of `[send.failure.codes]`.
        cause: Cause,
        /// One sentence for the backend; no provider's words, no secret.
        reason: &'a str,
    },
}

#[expect(clippy::todo, reason = "the engine lands next; signatures first so that the layers above can be written beside it")]
impl Dialect {
    /// Reads a send. `own_reference` (20 characters) is used where the backend gave none.
    pub fn read(&self, seen: &Recognised, request: &Request, own_reference: &str) -> Result<Reading, ReadError> {
        let _ = (seen, request, own_reference);
        todo!()
    }

    /// Whether this dialect can say `message` at all (limits, prefixes, template), before a credential is touched.
    pub fn fits(&self, message: &Message) -> Result<(), Untranslatable> {
        let _ = message;
        todo!()
    }

    /// Writes a message anew (a translated attempt). Fields the backend's dialect carried that are in `may_drop` are lost.
    pub fn write(&self, message: &Message, account: &Account<'_>, now: Timestamp) -> Result<Outgoing, Untranslatable> {
        let _ = (message, account, now);
        todo!()
    }

    /// The backend's own request with only what belongs to the account replaced: a native send, a status, a carried call.
    pub fn patch(&self, seen: &Recognised, request: &Request, account: &Account<'_>, now: Timestamp) -> Result<Outgoing, Untranslatable> {
        let _ = (seen, request, account, now);
        todo!()
    }

    /// The login request, for dialects with `[token]`.
    pub fn login(&self, account: &Account<'_>, now: Timestamp) -> Option<Result<Outgoing, Untranslatable>> {
        let _ = (account, now);
        todo!()
    }

    /// What a login's reply brought, or why it did not.
    pub fn read_login(&self, reply: &Reply, now: Timestamp) -> Result<Token, Finding> {
        let _ = (reply, now);
        todo!()
    }

    /// What a reply says. `reference` is the message's, for services that give no id of their own.
    pub fn classify(&self, kind: Kind, reply: &Reply, reference: &str) -> Finding {
        let _ = (kind, reply, reference);
        todo!()
    }

    /// The reply in this dialect. `message` is what was read; `asked` how it was said.
    pub fn answer(&self, asked: &Asked, message: Option<&Message>, answer: &Answer<'_>, now: Timestamp) -> Reply {
        let _ = (asked, message, answer, now);
        todo!()
    }

    /// What the backend's own login gets: a placeholder token, never a real one.
    pub fn answer_login(&self, seen: &Recognised, asked: &Asked, now: Timestamp) -> Reply {
        let _ = (seen, asked, now);
        todo!()
    }
}
