//! The compiled form of `[[probes]]`: what is asked for free, what its answers mean, where lists stand in them.

use regex::Regex;

use crate::dialect::expr::path::JsonPath;
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{RequestTemplate, StatusTest};
use crate::sms::Cause;

/// What a probe settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeSubject {
    /// Whether the service knows the credential.
    Credential,
    /// Whether the account is in order.
    Account,
    /// How much money is left.
    Balance,
    /// What the account may send under.
    Sender,
    /// Which texts the account may send.
    Template,
}

impl ProbeSubject {
    /// All of them, in the order in which they are told.
    pub const ALL: &[Self] = &[
        Self::Credential,
        Self::Account,
        Self::Balance,
        Self::Sender,
        Self::Template,
    ];

    /// As the file spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Account => "account",
            Self::Balance => "balance",
            Self::Sender => "sender",
            Self::Template => "template",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ReplyTest {
    pub(crate) status: Option<StatusTest>,
    pub(crate) paths: Vec<JsonPath>,
    pub(crate) equals: Vec<CodeTest>,
    pub(crate) pattern: Option<Regex>,
}

/// What a probe's reply means if it fits.
#[derive(Clone, Debug)]
pub(crate) struct CauseCondition {
    pub(crate) test: ReplyTest,
    pub(crate) cause: Cause,
    pub(crate) alternatives: Vec<Cause>,
    pub(crate) inferred: bool,
}

/// A question that settles a cause and sends nothing.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What it settles.
    pub about: ProbeSubject,
    /// It was never seen to work: people are asked before it is used.
    pub inferred: bool,
    pub(crate) endpoint: Endpoint,
    pub(crate) fields: RequestTemplate,
    pub(crate) healthy_when: Option<ReplyTest>,
    pub(crate) cause_when: Vec<CauseCondition>,
    pub(crate) balance_path: Option<JsonPath>,
    pub(crate) unit: Option<String>,
    pub(crate) senders_path: Option<JsonPath>,
    /// Senders that everybody may use, and that no list names.
    pub(crate) shared_senders: Vec<String>,
    /// The list holds phone numbers alone.
    pub(crate) numbers_only: bool,
    pub(crate) templates: Option<TemplateListing>,
}

/// A list of texts, and how each stands.
#[derive(Clone, Debug)]
pub(crate) struct TemplateListing {
    pub(crate) path: JsonPath,
    /// In one of these places of an entry.
    pub(crate) text_paths: Vec<JsonPath>,
    /// What they write for a part that changes.
    pub(crate) placeholder: Option<Regex>,
    pub(crate) status_path: JsonPath,
    pub(crate) approved: Vec<String>,
    pub(crate) pending: Vec<String>,
    pub(crate) rejected: Vec<String>,
}
