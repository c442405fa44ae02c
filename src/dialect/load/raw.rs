//! The file as it is written, before it is compiled. Unknown keys are errors; a value that a
//! later check may report keeps its span.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A string with its span.
pub(crate) type SpannedText = Spanned<String>;

/// Names and values with their spans. The map has no order of the file; the spans have it.
pub(crate) type SpannedTable = BTreeMap<Spanned<String>, Spanned<toml::Value>>;

/// Codes or other values of any type.
pub(crate) type SpannedValues = Vec<Spanned<toml::Value>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawCredentialField {
    pub(crate) public: bool,
    pub(crate) pattern: Option<Spanned<String>>,
    pub(crate) placeholder: Option<String>,
    pub(crate) env: Vec<String>,
    pub(crate) optional: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawParam {
    pub(crate) default: Option<toml::Value>,
    pub(crate) integer: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum RawSigning {
    Basic {
        user: Spanned<String>,
        password: Spanned<String>,
    },
    Bearer(Spanned<String>),
    Header {
        name: Spanned<String>,
        value: Spanned<String>,
    },
    Sigv4 {
        service: Spanned<String>,
        region: Spanned<String>,
        access_key: Spanned<String>,
        secret_key: Spanned<String>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawMessageLimits {
    pub(crate) text: Option<usize>,
    pub(crate) recipients: Vec<String>,
    pub(crate) batch: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDigest {
    pub(crate) of: Spanned<String>,
    pub(crate) with: RawHashAlgorithm,
    pub(crate) key: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) out: DigestEncoding,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawHashAlgorithm {
    Md5,
    Sha256,
    HmacSha256,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DigestEncoding {
    #[default]
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawFormEncoding {
    Multipart,
    Urlencoded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawAcceptedBody {
    Form,
    Multipart,
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawEvidenceBasis {
    Vendor,
    Clients,
    Memory,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdempotency {
    pub(crate) field: Spanned<String>,
    #[serde(default)]
    pub(crate) duplicate_codes: SpannedValues,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawReplyRule {
    pub(crate) status: Option<Spanned<String>>,
    pub(crate) path: Vec<Spanned<String>>,
    pub(crate) equals: SpannedValues,
    pub(crate) matches: Option<Spanned<String>>,
    pub(crate) with: Option<Spanned<String>>,
    pub(crate) body: Option<String>,
    pub(crate) body_matches: Option<Spanned<String>>,
    pub(crate) accepted: Option<Spanned<String>>,
    pub(crate) rejected: Option<Spanned<String>>,
    pub(crate) unknown: Option<Spanned<String>>,
    pub(crate) codes: bool,
    pub(crate) message_path: Vec<Spanned<String>>,
    pub(crate) alternatives: Vec<Spanned<String>>,
    pub(crate) inferred: bool,
    pub(crate) retry_after: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawResponse {
    pub(crate) queried: SpannedTable,
    pub(crate) status: Option<Spanned<u16>>,
    pub(crate) json: SpannedTable,
    pub(crate) text: Option<Spanned<String>>,
    pub(crate) header: SpannedTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawFailureResponse {
    pub(crate) json: SpannedTable,
    pub(crate) text: Option<Spanned<String>>,
    pub(crate) header: SpannedTable,
    pub(crate) codes: BTreeMap<Spanned<String>, RawFailureCode>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFailureCode {
    pub(crate) status: Spanned<u16>,
    pub(crate) code: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTokenSpec {
    pub(crate) endpoint: Spanned<String>,
    pub(crate) base_url: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) form: SpannedTable,
    #[serde(default)]
    pub(crate) json: SpannedTable,
    pub(crate) reads: BTreeMap<String, Spanned<String>>,
    pub(crate) expires: Option<RawTokenLifetime>,
    #[serde(default)]
    pub(crate) rules: Vec<Spanned<RawReplyRule>>,
    #[serde(default)]
    pub(crate) claims: Vec<Spanned<RawClaim>>,
    #[serde(default)]
    pub(crate) answer: RawResponse,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClaim {
    pub(crate) name: String,
    pub(crate) equals: SpannedValues,
    pub(crate) cause: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum RawTokenLifetime {
    Jwt(Spanned<String>),
    After(Spanned<String>),
    Field(Spanned<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOperation {
    pub(crate) endpoint: Spanned<String>,
    pub(crate) kind: RawOperationKind,
    #[serde(default, rename = "where")]
    pub(crate) required_values: BTreeMap<String, String>,
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) accepts: Option<Vec<RawAcceptedBody>>,
    pub(crate) id: Option<Spanned<String>>,
    pub(crate) answer: Option<RawResponse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawOperationKind {
    Passthrough,
    Status,
    Login,
    Local,
    Deny,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawProbeSubject {
    Credential,
    Account,
    Balance,
    Sender,
    Template,
}

/// What a list is limited to.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawSenderFilter {
    Numbers,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTemplateListing {
    pub(crate) path: Spanned<String>,
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
pub(crate) struct RawProbe {
    pub(crate) about: RawProbeSubject,
    pub(crate) endpoint: Spanned<String>,
    #[serde(default)]
    pub(crate) query: SpannedTable,
    #[serde(default)]
    pub(crate) form: SpannedTable,
    #[serde(default)]
    pub(crate) json: SpannedTable,
    #[serde(default)]
    pub(crate) header: SpannedTable,
    pub(crate) healthy_when: Option<RawReplyTest>,
    #[serde(default)]
    pub(crate) cause_when: Vec<RawCauseCondition>,
    pub(crate) balance: Option<Spanned<String>>,
    pub(crate) unit: Option<String>,
    pub(crate) senders: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) shared: Vec<String>,
    pub(crate) only: Option<RawSenderFilter>,
    pub(crate) templates: Option<RawTemplateListing>,
    #[serde(default)]
    pub(crate) inferred: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawReplyTest {
    pub(crate) status: Option<Spanned<String>>,
    pub(crate) path: Vec<Spanned<String>>,
    pub(crate) equals: SpannedValues,
    pub(crate) matches: Option<Spanned<String>>,
}

/// A test, and what a matching reply means.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawCauseCondition {
    pub(crate) status: Option<Spanned<String>>,
    pub(crate) path: Vec<Spanned<String>>,
    pub(crate) equals: SpannedValues,
    pub(crate) matches: Option<Spanned<String>>,
    pub(crate) cause: Option<Spanned<String>>,
    pub(crate) alternatives: Vec<Spanned<String>>,
    pub(crate) inferred: bool,
}
