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
//! | file | `dialect` `extends` `base_url` `hosts` `facts` `sources` `evidence` (`vendor` `clients` `memory`) `test_senders` `retired_hosts` (addresses it has left) `[console]` (page by cause, `default`) `[credential]` `[param]` `[sign]` `[token]` `[send]` `[[operations]]` `[[probes]]` `[report]` |
//! | credential field | `public` `pattern` `placeholder` `env` `optional` |
//! | param | `default` `integer` |
//! | sources, requests | `to` `text` `sender` `reference` `validity` `callback` `alphabet` `segments` `template.id` `template.values` `template.fields` `credential.X` `param.X` `token.X` `digest.X` `now` |
//! | sources, replies | those of the message, and `id` `code` `status` `reason` `placeholder` `queried.PLACE` `matched.NAME` |
//! | filters | `digits` `plus` `national 90` `int` `string` `list` `join ,` `seconds` `minutes` `hours` `milliseconds` `between A B` `unix` `rfc2822` `first N` `xml` `map a=b` `const X` `only P` `not P` `hex N` `uuid` `number` `jwt` |
//! | places | `a.b` `a[]` `*` `a.{to}.b` `field:json.a`; in forms, queries and headers a name is one name, dots or not |
//! | send | `endpoint` `where` `needs` `limits` (`text` `recipients` `batch`) `droppable` `dropped` `[send.query]` `[send.header]` `[send.form]` or `[send.json]` `[send.also_reads]` `encoding` (`multipart` `urlencoded`) `accepts = ["json"]` (a form service that also reads JSON) `[send.digest.NAME]` `idempotency` (`field` `duplicate_codes`) |
//! | rule tests | `status` `path` with `equals` or `matches` `with` `body` `body_matches`; all that are given must hold |
//! | rule results | exactly one of `accepted` (place, or template of `reference` and `matched.X`) `rejected` `unknown` `codes` |
//! | rule notes | `message_path` `alternatives` `inferred` `retry_after` |
//! | replies | `[[send.success]]` (`queried` `status` `json` or `text` `header`), `[send.failure]`, `[send.failure.codes]` with `default` |
//! | sign | `basic` `bearer` `header` `sigv4` |
//! | digest | `of` `with` (`md5` `sha256` `hmac-sha256` and `key`) `out` (`hex` `base64`) |
//! | token | `endpoint` `base_url` `form` or `json` `reads` `expires` (`jwt` `after` `field`) `rules` `claims` (`name` `equals` `cause`: what a JWT says of itself) `answer` |
//! | operations | `endpoint` `kind` (`passthrough` `status` `login` `deny`) `where` `id` and `answer` (for a status of ours) |
//! | probes | `about` `endpoint` `query` `form` or `json` `header` `healthy_when` `cause_when` (a test, its `cause`, `alternatives`, `inferred`) `balance` `unit` `inferred`; of a list `senders` `shared` `only = "numbers"` or `templates` (`path` `text` `holes` `status` `approved` `pending` `rejected`) |
//!
//! `extends` lays a file over another: tables key by key, anything else whole, but rules stand
//! before the other's rules and codes win over the other's codes.

mod expr;
mod load;
mod model;
mod reply;
mod request;
mod types;
mod wire;

use std::collections::BTreeMap;

use crate::dialect::expr::template::ValueSource;
use crate::sms::{AttemptKind, Cause, Certainty, Operation};

pub use load::catalog::{Catalog, SourceFile};
pub use model::fields::{EvidenceBasis, FieldSpec, ParamSpec};
pub use model::{Probe, ProbeSubject};
pub use reply::cause_table::CauseTableRow;
pub use reply::listing::Approval;
pub use reply::probe::ProbeClassification;
pub use request::credential::CredentialProblem;
pub use request::recognise::recognise;
pub(crate) use types::MatchedOperation;
pub use types::{
    Account, Claim, Classification, DecodedRequest, LoginToken, MessageResult, RecognisedRequest,
    Recognition, RequestFields, RequestReadError, RequestTarget, Untranslatable,
};
pub use wire::message::{ProviderRequest, Reply, Request};

/// A compiled description. Prints its name only.
pub struct Dialect {
    /// `playmobile`, `twilio` …
    pub name: String,
    extends: Option<String>,
    origin: String,
    built_in: bool,
    overrides: Option<String>,
    base: model::host::BaseUrl,
    facts: Option<String>,
    sources: Vec<String>,
    evidence: EvidenceBasis,
    hosts: Vec<model::host::HostPattern>,
    test_senders: Vec<String>,
    retired_hosts: Vec<String>,
    console_urls: BTreeMap<Cause, String>,
    credential: Vec<FieldSpec>,
    params: Vec<ParamSpec>,
    sign: Option<model::SigningScheme>,
    token: Option<model::TokenSpec>,
    send: model::SendSpec,
    operations: Vec<model::OperationSpec>,
    probes: Vec<Probe>,
    /// What it lists for an account.
    listing_probes: Vec<Probe>,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialect({}, from {})", self.name, self.origin)
    }
}

impl Dialect {
    /// What a reply says. `reference` is the message's, for services that give no id of their own.
    pub fn classify(&self, kind: AttemptKind, reply: &Reply, reference: &str) -> Classification {
        let heard = reply::classify::ParsedReply::parse(reply);
        let finding = match kind {
            AttemptKind::Send => self.send.classifier.classify(&heard, Some(reference)),
            AttemptKind::Login => Some(self.classify_login(reply)),
            AttemptKind::Probe | AttemptKind::Passthrough => {
                let done = || {
                    reply
                        .status
                        .is_success()
                        .then(|| reply::login::accepted_classification(String::new()))
                };
                self.send.classifier.classify(&heard, None).or_else(done)
            }
        };
        let mut finding = finding.unwrap_or_else(|| reply::classify::classify_by_status(&heard));
        if self.requires_experimental()
            && finding.certainty == Certainty::Certain
            && finding.outcome.cause().is_some()
        {
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
    pub fn extends(&self) -> Option<&str> {
        self.extends.as_deref()
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
    pub fn console_urls(&self) -> &BTreeMap<Cause, String> {
        &self.console_urls
    }

    /// Whether this is an address that the service has left, or that was never its API's; `*` in the list is anything.
    pub fn is_retired_base_url(&self, base_url: &str) -> bool {
        let plain = base_url
            .split_once("://")
            .map_or(base_url, |(_, rest)| rest)
            .trim_end_matches('/');
        self.retired_hosts
            .iter()
            .any(|address| model::codes::glob_match(address, plain))
    }

    /// The field by which the service itself refuses to send twice.
    pub fn idempotency_field(&self) -> Option<&str> {
        self.send
            .idempotency
            .as_ref()
            .map(|repeat| repeat.field.as_str())
    }

    /// Whether the service may refuse a message because it has one of that reference, or of those words, already.
    pub fn detects_duplicates(&self) -> bool {
        let judge = &self.send.classifier;
        let refuses =
            |then: &model::RuleAction| matches!(then, model::RuleAction::Reject(Cause::Duplicate));
        judge
            .codes
            .0
            .iter()
            .any(|entry| entry.cause == Cause::Duplicate)
            || judge.rules.iter().any(|rule| refuses(&rule.action))
    }

    /// The most recipients one native call may name.
    pub fn batch_limit(&self) -> Option<usize> {
        self.send.limits.batch
    }

    /// Whether a message of this service says from whom it is.
    pub fn has_sender_field(&self) -> bool {
        let fields = &self.send.fields;
        fields
            .query
            .iter()
            .chain(&fields.header)
            .chain(&fields.body)
            .any(|field| {
                field
                    .value
                    .any_source(|source| *source == ValueSource::Sender)
            })
    }

    /// The longest text, in characters.
    pub fn text_limit(&self) -> Option<usize> {
        self.send.limits.text
    }

    /// Where it delivers; empty: everywhere.
    pub fn recipient_prefixes(&self) -> &[String] {
        &self.send.limits.recipients
    }

    /// The send and every other named operation, `POST /send`, with what is done.
    pub fn operations(&self) -> Vec<(String, Operation)> {
        let token = self
            .token
            .iter()
            .map(|token| (token.endpoint.to_string(), Operation::Login));
        let others = self
            .operations
            .iter()
            .map(|entry| (entry.endpoint.to_string(), entry.operation));
        [(self.send.endpoint.to_string(), Operation::Send)]
            .into_iter()
            .chain(token)
            .chain(others)
            .collect()
    }
}

#[cfg(test)]
mod tests;
