//! One SMS service's API as data, read in both directions. Pure functions over values: nothing
//! here sends, waits, logs or reads a vault.
//!
//! The language of the descriptions is defined in `deploy/guide/dialect-language.md`. Five ideas:
//!
//! 1. A string is text with holes, `"{source | filter}"`; a hole without a value removes its field.
//! 2. The provider's field = our value: each line is written left to right and read right to left.
//! 3. A field that is not in the description makes a request provider-specific.
//! 4. Success must be proved: a 2xx without the proof is `unknown`.
//! 5. One message is written; a batch is only patched.
//!
//! `load` reads the files, `model` is their compiled form, `expr` has templates and paths, `wire`
//! bodies, `request` recognises, reads, writes, patches and signs, `reply` classifies, logs in and renders.

mod expr;
mod fields;
mod load;
mod model;
mod reply;
mod request;
mod types;
mod wire;

use std::collections::BTreeMap;

use crate::dialect::expr::template::ValueSource;
use crate::sms::{Cause, Operation};

pub use fields::{EvidenceBasis, FieldSpec, ParamSpec};
pub use load::catalog::{Catalog, SourceFile};
pub use model::{Probe, ProbeSubject};
pub use reply::cause_table::CauseTableRow;
pub use reply::classify::classify_without_body;
pub use reply::listing::Approval;
pub use reply::probe::ProbeClassification;
pub use request::credential::CredentialProblem;
pub use request::decoded::{DecodedRequest, RecipientTexts, RequestFields};
pub use request::missing::MissingCredential;
pub use request::recognise::recognise;
pub(crate) use request::recognised::MatchedOperation;
pub use request::recognised::{
    OperationFault, RecognisedRequest, Recognition, RequestTarget, UnlistedField, UnlistedRequest,
};
pub use request::unset_value::unset_problem;
pub use types::{
    Account, Claim, Classification, LoginToken, MessageResult, NamedOperation, RequestReadError,
    Untranslatable,
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
    /// Whether the service tells upper from lower case in a path.
    path_case: model::endpoint::PathCase,
    console_urls: BTreeMap<Cause, String>,
    credential: Vec<FieldSpec>,
    params: Vec<ParamSpec>,
    sign: Option<model::SigningScheme>,
    token: Option<model::TokenSpec>,
    send: model::SendSpec,
    operations: Vec<model::OperationSpec>,
    probes: Vec<Probe>,
    /// The probes that list senders or texts.
    listing_probes: Vec<Probe>,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialect({}, from {})", self.name, self.origin)
    }
}

impl Dialect {
    /// The file of the description.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it is compiled in, and not from the folder of ops.
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// The file whose dialect of the same name this one replaces.
    pub fn overrides(&self) -> Option<&str> {
        self.overrides.as_deref()
    }

    /// The dialect that it extends.
    pub fn extends(&self) -> Option<&str> {
        self.extends.as_deref()
    }

    /// The addresses of what it rests on: vendor pages, clients.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// A pointer to notes about them.
    pub fn facts(&self) -> Option<&str> {
        self.facts.as_deref()
    }

    /// Where attempts go, unless the provider has its own base URL.
    pub fn base_url(&self) -> &str {
        &self.base.text
    }

    /// Hosts a backend may name, as written: `*` is one label.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|pattern| pattern.0.as_str())
    }

    /// Senders of the service's test mode: it accepts them and delivers nothing.
    pub fn test_senders(&self) -> &[String] {
        &self.test_senders
    }

    /// The pages on which people fix what an account is rejected for.
    pub fn console_urls(&self) -> &BTreeMap<Cause, String> {
        &self.console_urls
    }

    /// Whether the service's API is no longer at this address, or never was.
    pub fn is_retired_base_url(&self, base_url: &str) -> bool {
        let plain = base_url
            .split_once("://")
            .map_or(base_url, |(_, rest)| rest)
            .trim_end_matches('/');
        self.retired_hosts
            .iter()
            .any(|address| model::codes::glob_match(address, plain))
    }

    /// The field by which the service itself does not send twice.
    pub fn idempotency_field(&self) -> Option<&str> {
        self.send
            .idempotency
            .as_ref()
            .map(|idempotency| idempotency.field.as_str())
    }

    /// Whether the service may reject a message because it has one with that reference or text.
    pub fn detects_duplicates(&self) -> bool {
        let classifier = &self.send.classifier;
        let rejects_duplicate = |action: &model::RuleAction| {
            matches!(action, model::RuleAction::Reject(Cause::Duplicate))
        };
        classifier
            .codes
            .0
            .iter()
            .any(|entry| entry.cause == Cause::Duplicate)
            || classifier
                .rules
                .iter()
                .any(|rule| rejects_duplicate(&rule.action))
    }

    /// Account parameters that are not secret.
    pub fn params(&self) -> &[ParamSpec] {
        &self.params
    }

    /// What the description rests on.
    pub fn evidence(&self) -> EvidenceBasis {
        self.evidence
    }

    /// Whether it rests on memory only: a provider must set `experimental = true`.
    pub fn requires_experimental(&self) -> bool {
        self.evidence == EvidenceBasis::Memory
    }

    /// The maximum number of recipients in one native request.
    pub fn batch_limit(&self) -> Option<usize> {
        self.send.limits.batch
    }

    /// Whether a message of this service has a sender.
    pub fn has_sender_field(&self) -> bool {
        self.send
            .fields
            .has_source(|source| *source == ValueSource::Sender)
    }

    /// The maximum length of a text, in characters.
    pub fn text_limit(&self) -> Option<usize> {
        self.send.limits.text
    }

    /// The prefixes that it delivers to; empty: all.
    pub fn recipient_prefixes(&self) -> &[String] {
        &self.send.limits.recipients
    }

    /// The send and every other named operation.
    pub fn operations(&self) -> Vec<NamedOperation> {
        let named = |endpoint: &model::endpoint::Endpoint, kind| NamedOperation {
            endpoint: endpoint.to_string(),
            kind,
            fields: Vec::new(),
        };
        let login = self.token.iter();
        let login = login.map(|token| named(&token.endpoint, Operation::Login));
        let others = self.operations.iter().map(|entry| NamedOperation {
            fields: entry.field_names().map(str::to_owned).collect(),
            ..named(&entry.endpoint, entry.operation)
        });
        [named(&self.send.endpoint, Operation::Send)]
            .into_iter()
            .chain(login)
            .chain(others)
            .collect()
    }
}

#[cfg(test)]
mod tests;
