//! The compiled form of `[[probes]]`: free requests, what their replies mean, where the lists are in them.

use regex::Regex;

use crate::dialect::expr::path::{FlatKeys, JsonPath};
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{RequestTemplate, StatusTest};
use crate::sms::Cause;

/// What a probe settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeSubject {
    /// Whether the service accepts the credential.
    Credential,
    /// Whether the account is in order.
    Account,
    /// The money that is left.
    Balance,
    /// The senders that the account may use.
    Sender,
    /// The texts that the account may send.
    Template,
}

impl ProbeSubject {
    /// All subjects, in the order in which they are shown.
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

/// What a probe's reply means if it matches.
#[derive(Clone, Debug)]
pub(crate) struct CauseCondition {
    pub(crate) test: ReplyTest,
    pub(crate) cause: Cause,
    pub(crate) alternatives: Vec<Cause>,
    pub(crate) inferred: bool,
}

/// A free request that settles a cause or lists something, and sends no message.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What it settles.
    pub about: ProbeSubject,
    /// No source shows that it works: a person must opt in before it is used.
    pub inferred: bool,
    pub(crate) endpoint: Endpoint,
    pub(crate) fields: RequestTemplate,
    pub(crate) healthy_when: Option<ReplyTest>,
    pub(crate) cause_when: Vec<CauseCondition>,
    pub(crate) balance_path: Option<JsonPath>,
    pub(crate) unit: Option<BalanceUnit>,
    pub(crate) senders_path: Option<JsonPath>,
    /// Senders that every account may use and that no list has.
    pub(crate) shared_senders: Vec<String>,
    /// The list has phone numbers only.
    pub(crate) numbers_only: bool,
    pub(crate) templates: Option<TemplateListing>,
}

/// The unit of a balance: at a path of the reply, or a word such as `UZS`.
#[derive(Clone, Debug)]
pub(crate) struct BalanceUnit {
    pub(crate) path: Option<JsonPath>,
    /// Used where the reply has nothing at the path.
    pub(crate) word: Option<String>,
}

impl BalanceUnit {
    pub(crate) fn parse(text: &str) -> Self {
        let is_word = text.chars().all(|c| c.is_ascii_uppercase());
        Self {
            path: JsonPath::parse(text, FlatKeys(false)).ok(),
            word: is_word.then(|| text.to_owned()),
        }
    }
}

/// What a listed text may have in the place of a hole of ours. Both match the whole place.
#[derive(Clone, Debug)]
pub(crate) struct PlaceholderPatterns {
    /// The service's own placeholder; none: it lists example texts.
    pub(crate) exact: Option<Regex>,
    /// That, or any word of an example text.
    pub(crate) similar: Regex,
}

/// A list of texts, and the state of each.
#[derive(Clone, Debug)]
pub(crate) struct TemplateListing {
    pub(crate) path: JsonPath,
    /// In an entry: the text is at one of these paths.
    pub(crate) text_paths: Vec<JsonPath>,
    /// What the service writes for a part that changes.
    pub(crate) placeholder: PlaceholderPatterns,
    pub(crate) status_path: JsonPath,
    pub(crate) approved: Vec<String>,
    pub(crate) pending: Vec<String>,
    pub(crate) rejected: Vec<String>,
}
