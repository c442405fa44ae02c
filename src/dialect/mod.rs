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
//! | file | `dialect` `like` `base_url` `hosts` `facts` `sources` `evidence` (`vendor` `clients` `memory`) `test_senders` `left` (addresses it has left) `[console]` (page by cause, `otherwise`) `[credential]` `[param]` `[sign]` `[token]` `[send]` `[[operations]]` `[[probes]]` `[report]` |
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
//! | token | `call` `base_url` `form` or `json` `reads` `expires` (`jwt` `after` `field`) `rules` `claims` (`name` `is` `cause`: what a JWT says of itself) `answer` |
//! | operations | `call` `do` (`carry` `status` `login` `refuse`) `match` `id` and `answer` (for a status of ours) |
//! | probes | `asks` `call` `query` `form` or `json` `header` `alive` `dead` (a test, its `cause`, `or`, `guess`) `balance` `unit` `guess`; of a list `senders` `shared` `only = "numbers"` or `templates` (`at` `text` `holes` `status` `approved` `pending` `rejected`) |
//!
//! `like` lays a file over another: tables key by key, anything else whole, but rules stand
//! before the other's rules and codes win over the other's codes.

mod answer;
mod body;
mod call;
mod catalog;
mod causes;
mod check;
mod check_send;
mod code;
mod compile;
mod console;
mod credential;
mod filter;
mod given;
mod gsm;
mod host;
mod judge;
mod laws;
mod listed;
mod load;
mod login;
mod multipart;
mod patch;
mod place;
mod play;
mod probe;
mod question;
mod raw;
mod read;
mod recognise;
mod says;
mod scope;
mod shape;
mod sign;
mod spec;
mod template;
mod types;
mod wire;
mod write;

use std::collections::BTreeMap;

use crate::dialect::template::Source;
use crate::sms::{Cause, Certainty, Kind, Operation};

pub use catalog::{Catalog, SourceFile};
pub use causes::Shown;
pub use credential::ShapeProblem;
pub use listed::Approval;
pub use probe::Probed;
pub use recognise::recognise;
pub use shape::{Asks, Probe};
pub use spec::{Evidence, FieldSpec, ParamSpec};
pub(crate) use types::Entry;
pub use types::{Account, Answer, Asked, Claim, Finding, Place, ReadError, Reading, Recognised, Recognition, Token, Untranslatable};
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
    left: Vec<String>,
    pages: BTreeMap<Cause, String>,
    credential: Vec<FieldSpec>,
    params: Vec<ParamSpec>,
    sign: Option<shape::Sign>,
    token: Option<shape::TokenCall>,
    send: shape::Send,
    operations: Vec<shape::OperationEntry>,
    probes: Vec<Probe>,
    /// What it lists for an account.
    lists: Vec<Probe>,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialect({}, from {})", self.name, self.origin)
    }
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

    /// Where people put right what an account is refused for.
    pub fn pages(&self) -> &BTreeMap<Cause, String> {
        &self.pages
    }

    /// Whether this is an address that the service has left, or that was never its API's; `*` in the list is anything.
    pub fn has_left(&self, base_url: &str) -> bool {
        let plain = base_url.split_once("://").map_or(base_url, |(_, rest)| rest).trim_end_matches('/');
        self.left.iter().any(|address| code::glob(address, plain))
    }

    /// The field by which the service itself refuses to send twice.
    pub fn repeat_key(&self) -> Option<&str> {
        self.send.repeat.as_ref().map(|repeat| repeat.field.as_str())
    }

    /// Whether the service may refuse a message because it has one of that reference, or of those words, already.
    pub fn knows_repeats(&self) -> bool {
        let judge = &self.send.judge;
        let refuses = |then: &shape::Then| matches!(then, shape::Then::Refused(Cause::Duplicate));
        judge.codes.0.iter().any(|entry| entry.cause == Cause::Duplicate) || judge.rules.iter().any(|rule| refuses(&rule.then))
    }

    /// The most recipients one native call may name.
    pub fn batch_limit(&self) -> Option<usize> {
        self.send.limits.batch
    }

    /// Whether a message of this service says from whom it is.
    pub fn names_a_sender(&self) -> bool {
        let fields = &self.send.fields;
        fields.query.iter().chain(&fields.header).chain(&fields.body).any(|field| field.form.has(|source| *source == Source::Sender))
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
