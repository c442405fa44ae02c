//! The file as it is written, before any of it is understood. Unknown keys are errors;
//! whatever a later check may complain about keeps its span.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// Names and values with their spans, in no order; the spans give the order back.
pub(crate) type Table = BTreeMap<Spanned<String>, Spanned<toml::Value>>;

/// Code or value, however it is spelled.
pub(crate) type Values = Vec<Spanned<toml::Value>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Field {
    pub(crate) public: bool,
    pub(crate) pattern: Option<Spanned<String>>,
    pub(crate) placeholder: Option<String>,
    pub(crate) env: Vec<String>,
    pub(crate) optional: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Param {
    pub(crate) default: Option<toml::Value>,
    pub(crate) integer: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Sign {
    Basic { user: Spanned<String>, password: Spanned<String> },
    Bearer(Spanned<String>),
    Header { name: Spanned<String>, value: Spanned<String> },
    Sigv4 { service: Spanned<String>, region: Spanned<String>, access_key: Spanned<String>, secret_key: Spanned<String> },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) text: Option<usize>,
    pub(crate) recipients: Vec<String>,
    pub(crate) batch: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Digest {
    pub(crate) of: Spanned<String>,
    pub(crate) with: Hash,
    pub(crate) key: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) out: Out,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hash {
    Md5,
    Sha256,
    HmacSha256,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Out {
    #[default]
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Encoding {
    Multipart,
    Urlencoded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Takes {
    Json,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Evidence {
    Vendor,
    Clients,
    Memory,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    pub(crate) field: Spanned<String>,
    #[serde(default)]
    pub(crate) again: Values,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rule {
    pub(crate) status: Option<Spanned<String>>,
    pub(crate) at: Vec<Spanned<String>>,
    pub(crate) is: Values,
    pub(crate) like: Option<Spanned<String>>,
    pub(crate) with: Option<Spanned<String>>,
    pub(crate) body: Option<String>,
    pub(crate) body_like: Option<Spanned<String>>,
    pub(crate) accepted: Option<Spanned<String>>,
    pub(crate) refused: Option<Spanned<String>>,
    pub(crate) unknown: Option<Spanned<String>>,
    pub(crate) codes: bool,
    pub(crate) says: Vec<Spanned<String>>,
    pub(crate) or: Vec<Spanned<String>>,
    pub(crate) guess: bool,
    pub(crate) retry_after: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Told {
    pub(crate) asked: Table,
    pub(crate) status: Option<Spanned<u16>>,
    pub(crate) json: Table,
    pub(crate) text: Option<Spanned<String>>,
    pub(crate) header: Table,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Failure {
    pub(crate) json: Table,
    pub(crate) text: Option<Spanned<String>>,
    pub(crate) header: Table,
    pub(crate) codes: BTreeMap<Spanned<String>, Line>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) status: Spanned<u16>,
    pub(crate) code: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) call: Spanned<String>,
    pub(crate) base_url: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) form: Table,
    #[serde(default)]
    pub(crate) json: Table,
    pub(crate) reads: BTreeMap<String, Spanned<String>>,
    pub(crate) expires: Option<Expires>,
    #[serde(default)]
    pub(crate) rules: Vec<Spanned<Rule>>,
    #[serde(default)]
    pub(crate) claims: Vec<Spanned<Claim>>,
    #[serde(default)]
    pub(crate) answer: Told,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) is: Values,
    pub(crate) cause: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Expires {
    Jwt(Spanned<String>),
    After(Spanned<String>),
    Field(Spanned<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    pub(crate) call: Spanned<String>,
    #[serde(rename = "do")]
    pub(crate) does: Does,
    #[serde(default, rename = "match")]
    pub(crate) matching: BTreeMap<String, String>,
    pub(crate) id: Option<Spanned<String>>,
    pub(crate) answer: Option<Told>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Does {
    Carry,
    Status,
    Login,
    Refuse,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asks {
    Credential,
    Account,
    Balance,
    Sender,
    Template,
}

/// What a list is limited to.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Only {
    Numbers,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    pub(crate) at: Spanned<String>,
    pub(crate) text: Vec<Spanned<String>>,
    pub(crate) holes: Option<Spanned<String>>,
    pub(crate) status: Spanned<String>,
    pub(crate) approved: Vec<String>,
    #[serde(default)]
    pub(crate) pending: Vec<String>,
    #[serde(default)]
    pub(crate) rejected: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    pub(crate) asks: Asks,
    pub(crate) call: Spanned<String>,
    #[serde(default)]
    pub(crate) query: Table,
    #[serde(default)]
    pub(crate) form: Table,
    #[serde(default)]
    pub(crate) json: Table,
    #[serde(default)]
    pub(crate) header: Table,
    pub(crate) alive: Option<Test>,
    #[serde(default)]
    pub(crate) dead: Vec<Dead>,
    pub(crate) balance: Option<Spanned<String>>,
    pub(crate) unit: Option<String>,
    pub(crate) senders: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) shared: Vec<String>,
    pub(crate) only: Option<Only>,
    pub(crate) templates: Option<Texts>,
    #[serde(default)]
    pub(crate) guess: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Test {
    pub(crate) status: Option<Spanned<String>>,
    pub(crate) at: Vec<Spanned<String>>,
    pub(crate) is: Values,
    pub(crate) like: Option<Spanned<String>>,
}

/// A test, and what it means if it fits.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dead {
    pub(crate) status: Option<Spanned<String>>,
    pub(crate) at: Vec<Spanned<String>>,
    pub(crate) is: Values,
    pub(crate) like: Option<Spanned<String>>,
    pub(crate) cause: Option<Spanned<String>>,
    pub(crate) or: Vec<Spanned<String>>,
    pub(crate) guess: bool,
}

/// Delivery reports: described for those who read the file, not carried yet.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Report {
    pub(crate) at: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) delivered: Vec<String>,
    pub(crate) failed: Vec<String>,
}
