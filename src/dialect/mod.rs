//! One SMS service's API as data, read in both directions: recognise, read, write,
//! patch, classify, answer. Pure functions over values; nothing here sends, waits,
//! logs or knows where a secret is kept.

//!
//! # The language
//!
//! A string is text with holes, `"{source | filter | filter}"`; a hole that stands alone
//! keeps its type, a hole without a value takes its field away. One line a field, `their
//! name = our meaning`, written left to right and read right to left. What stands nowhere
//! in the file binds a call to this service. There is no loop, condition or variable.
//!
//! | part | forms |
//! | --- | --- |
//! | file | `dialect` `like` `base_url` `hosts` `facts` `sources` `evidence` (`vendor` `clients` `memory`) `test_senders` `[credential]` `[param]` `[sign]` `[token]` `[send]` `[[operations]]` `[[probes]]` `[report]` |
//! | credential field | `public` `pattern` `placeholder` `env` `optional` |
//! | param | `default` `integer` |
//! | sources, requests | `to` `text` `sender` `reference` `validity` `callback` `alphabet` `segments` `template.id` `template.values` `template.fields` `credential.X` `param.X` `token.X` `digest.X` `now` |
//! | sources, replies | those of the message, and `id` `code` `status` `reason` `placeholder` `asked.PLACE` `matched.NAME` |
//! | filters | `digits` `plus` `national 90` `int` `string` `list` `join ,` `seconds` `minutes` `hours` `milliseconds` `between A B` `unix` `rfc2822` `first N` `xml` `map a=b` `const X` `only P` `not P` `hex N` `uuid` `number` `jwt` |
//! | places | `a.b` `a[]` `*` `a.{to}.b` `field:json.a`; in forms, queries and headers a name is one name, dots or not |
//! | send | `call` `match` `needs` `limits` (`text` `recipients` `batch`) `may_drop` `drops` `[send.query]` `[send.header]` `[send.form]` or `[send.json]` `[send.reads]` `encoding` (`multipart` `urlencoded`) `takes = ["json"]` (a form service that also reads JSON) `[send.digest.NAME]` `repeat` |
//! | rule tests | `status` `at` with `is` or `like` `with` `body` `body_like`; all that are given must hold |
//! | rule results | exactly one of `accepted` (place, or template of `reference` and `matched.X`) `refused` `unknown` `codes` |
//! | rule notes | `says` `or` `guess` `retry_after` |
//! | replies | `[[send.success]]` (`asked` `status` `json` or `text` `header`), `[send.failure]`, `[send.failure.codes]` with `otherwise` |
//! | sign | `basic` `bearer` `header` `sigv4` |
//! | digest | `of` `with` (`md5` `sha256` `hmac-sha256` and `key`) `out` (`hex` `base64`) |
//! | token | `call` `base_url` `form` or `json` `reads` `expires` (`jwt` `after` `field`) `rules` `answer` |
//! | operations | `call` `do` (`carry` `status` `login` `refuse`) `match` `id` and `answer` (for a status of ours) |
//! | probes | `asks` `call` `query` `form` or `json` `header` `alive` `dead` `balance` `unit` `guess` |
//!
//! `like` lays a file over another: tables key by key, anything else whole, but rules stand
//! before the other's rules and codes win over the other's codes.

mod answer;
mod body;
mod call;
mod catalog;
mod check;
mod code;
mod compile;
mod credential;
mod filter;
mod gsm;
mod host;
mod judge;
mod laws;
mod load;
mod login;
mod multipart;
mod patch;
mod place;
mod play;
mod probe;
mod raw;
mod read;
mod recognise;
mod scope;
mod shape;
mod sign;
mod template;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::secret::Credential;
use crate::sms::{Cause, Certainty, Kind, Message, Operation, Outcome};

pub use credential::ShapeProblem;
pub use probe::Probed;
pub use recognise::recognise;
pub use shape::{Asks, Evidence, FieldSpec, ParamSpec, Probe};
pub use wire::{Outgoing, Reply, Request};

/// A compiled description. Prints its name only.
pub struct Dialect {
    /// `playmobile`, `twilio` …
    pub name: String,
    like: Option<String>,
    origin: String,
    built_in: bool,
    overrides: Option<String>,
    base: host::BaseUrl,
    facts: Option<String>,
    sources: Vec<String>,
    evidence: Evidence,
    hosts: Vec<host::HostPattern>,
    test_senders: Vec<String>,
    credential: Vec<FieldSpec>,
    params: Vec<ParamSpec>,
    sign: Option<shape::Sign>,
    token: Option<shape::TokenCall>,
    send: shape::Send,
    operations: Vec<shape::OperationEntry>,
    probes: Vec<Probe>,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialect({}, from {})", self.name, self.origin)
    }
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
    /// The matching entry.
    pub(crate) entry: Entry,
    /// What the path's holes held.
    pub(crate) path: BTreeMap<String, String>,
}

/// Which part of a description a request matched.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// `[send]`.
    Send,
    /// `[token]`.
    Login,
    /// One of `[[operations]]`.
    Operation(usize),
    /// A provider's own `operations`.
    Extra(Box<call::Call>),
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

impl Reading {
    /// Only providers of the dialect spoken may carry it: it says what the message has no word for.
    pub fn is_bound(&self) -> bool {
        self.message.is_none() || !self.binds.is_empty()
    }
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

impl Dialect {
    /// What a reply says. `reference` is the message's, for services that give no id of their own.
    pub fn classify(&self, kind: Kind, reply: &Reply, reference: &str) -> Finding {
        let heard = judge::Heard::of(reply);
        let finding = match kind {
            Kind::Send => self.send.judge.decide(&heard, Some(reference)),
            Kind::Login => Some(self.judge_login(reply)),
            Kind::Probe | Kind::Carry => {
                let done = || reply.status.is_success().then(|| login::accepted(String::new()));
                self.send.judge.decide(&heard, None).or_else(done)
            }
        };
        let mut finding = finding.unwrap_or_else(|| judge::by_status(&heard));
        if self.requires_experimental() && finding.certainty == Certainty::Certain && finding.outcome.cause().is_some() {
            finding.certainty = Certainty::Likely;
        }
        finding
    }

    /// The file it was read from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Compiled in, or from ops' folder.
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// The file whose dialect of the same name this one took the place of.
    pub fn overrides(&self) -> Option<&str> {
        self.overrides.as_deref()
    }

    /// The dialect it is laid over.
    pub fn like(&self) -> Option<&str> {
        self.like.as_deref()
    }

    /// Where its facts are from: vendor pages, clients.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// A remark on them.
    pub fn facts(&self) -> Option<&str> {
        self.facts.as_deref()
    }

    /// Where attempts go unless the provider says otherwise.
    pub fn base_url(&self) -> &str {
        &self.base.text
    }

    /// Hosts a backend may name, as written: `*` is one label.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|pattern| pattern.0.as_str())
    }

    /// Senders that send nothing: numbers of the service's test mode.
    pub fn test_senders(&self) -> &[String] {
        &self.test_senders
    }

    /// The field by which the service itself refuses to send twice.
    pub fn repeat_key(&self) -> Option<&str> {
        self.send.repeat.as_ref().map(|repeat| repeat.field.as_str())
    }

    /// The most recipients one native call may name.
    pub fn batch_limit(&self) -> Option<usize> {
        self.send.limits.batch
    }

    /// The longest text, in characters.
    pub fn text_limit(&self) -> Option<usize> {
        self.send.limits.text
    }

    /// Where it delivers; empty: everywhere.
    pub fn recipient_limits(&self) -> &[String] {
        &self.send.limits.recipients
    }

    /// The send and every other named operation, `POST /send`, with what is done.
    pub fn operations(&self) -> Vec<(String, Operation)> {
        let token = self.token.iter().map(|token| (token.call.to_string(), Operation::Login));
        let others = self.operations.iter().map(|entry| (entry.call.to_string(), entry.does));
        [(self.send.call.to_string(), Operation::Send)].into_iter().chain(token).chain(others).collect()
    }
}

#[cfg(test)]
mod tests;
