//! The compiled form of a description: templates, paths, rules and patterns are parsed at load
//! time. Only `load` builds it; names of fields and parameters are resolved per request.

pub(super) mod bodies;
pub(super) mod codes;
pub(super) mod endpoint;
pub(super) mod host;
pub(super) mod probe;

use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use crate::dialect::expr::filter::Filter;
use crate::dialect::expr::path::JsonPath;
use crate::dialect::expr::template::{Expr, StringTemplate, ValueSource};
use crate::dialect::model::bodies::AcceptedBodies;
use crate::dialect::model::codes::{CodeTable, CodeTest};
use crate::dialect::model::endpoint::Endpoint;
use crate::sms::{Cause, Operation};

pub(crate) use crate::dialect::model::probe::{
    BalanceUnit, CauseCondition, PlaceholderPatterns, ReplyTest, TemplateListing,
};
pub use crate::dialect::model::probe::{Probe, ProbeSubject};

/// A value to write: constant or template.
#[derive(Clone, Debug)]
pub(crate) enum FieldValue {
    Constant(Value),
    Template(StringTemplate),
}

impl FieldValue {
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        match self {
            Self::Constant(_) => None,
            Self::Template(template) => Some(template.exprs()),
        }
        .into_iter()
        .flatten()
    }

    pub(crate) fn any_source(&self, test: impl Fn(&ValueSource) -> bool) -> bool {
        self.exprs().any(|hole| test(&hole.source))
    }
}

/// The provider's field = our value.
#[derive(Clone, Debug)]
pub(crate) struct FieldMapping {
    pub(crate) path: JsonPath,
    pub(crate) value: FieldValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum BodyEncoding {
    /// No body: all fields are in the query.
    #[default]
    NoBody,
    Json,
    Form,
    Multipart,
}

/// What is written into one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestTemplate {
    pub(crate) query: Vec<FieldMapping>,
    pub(crate) header: Vec<FieldMapping>,
    pub(crate) body: Vec<FieldMapping>,
    pub(crate) encoding: BodyEncoding,
}

impl RequestTemplate {
    /// The fields of query, headers and body.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = &FieldMapping> {
        self.query.iter().chain(&self.header).chain(&self.body)
    }

    /// Whether some field is filled from a source that `test` accepts.
    pub(crate) fn has_source(&self, test: impl Fn(&ValueSource) -> bool + Copy) -> bool {
        self.mappings().any(|field| field.value.any_source(test))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SendSpec {
    pub(crate) endpoint: Endpoint,
    pub(crate) required_values: Vec<(String, String)>,
    pub(crate) required_fields: Vec<String>,
    pub(crate) limits: MessageLimits,
    pub(crate) droppable: Vec<JsonPath>,
    pub(crate) dropped: Vec<JsonPath>,
    pub(crate) fields: RequestTemplate,
    pub(crate) also_reads: Vec<FieldMapping>,
    /// Lists whose entries may be at any position.
    pub(crate) keyed: Vec<KeyedList>,
    /// Mapped fields that are read only where no other field has their value.
    pub(crate) secondary: Vec<String>,
    /// Fields that hold recipients beside the mapped ones, in a form in which no country code can be added.
    pub(crate) other_recipients: Vec<String>,
    /// The encodings in which the service takes a body.
    pub(crate) accepts: AcceptedBodies,
    pub(crate) digests: Vec<DigestSpec>,
    pub(crate) classifier: Classifier,
    pub(crate) success: Vec<SuccessResponse>,
    pub(crate) failure: FailureResponse,
    pub(crate) idempotency: Option<IdempotencyField>,
}

/// A list in a form whose entries are identified by their field `key`: `entry.N.Name`.
#[derive(Clone, Debug)]
pub(crate) struct KeyedList {
    pub(crate) prefix: String,
    pub(crate) key: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MessageLimits {
    pub(crate) text: Option<usize>,
    pub(crate) recipients: Vec<String>,
    pub(crate) batch: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct DigestSpec {
    pub(crate) name: String,
    pub(crate) input: StringTemplate,
    pub(crate) algorithm: HashAlgorithm,
    pub(crate) base64: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum HashAlgorithm {
    Md5,
    Sha256,
    HmacSha256(StringTemplate),
}

#[derive(Clone, Debug)]
pub(crate) struct IdempotencyField {
    pub(crate) field: String,
}

/// Rules and codes: how replies are classified.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classifier {
    pub(crate) rules: Vec<ReplyRule>,
    pub(crate) codes: CodeTable,
}

#[derive(Clone, Debug)]
pub(crate) struct ReplyRule {
    pub(crate) status: Option<StatusTest>,
    pub(crate) paths: Vec<JsonPath>,
    pub(crate) equals: Vec<CodeTest>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) required_path: Option<JsonPath>,
    pub(crate) body: Option<String>,
    pub(crate) body_pattern: Option<Regex>,
    pub(crate) action: RuleAction,
    pub(crate) message_paths: Vec<JsonPath>,
    pub(crate) alternatives: Vec<Cause>,
    pub(crate) inferred: bool,
    pub(crate) retry_after: Option<RetryAfterSource>,
}

#[derive(Clone, Debug)]
pub(crate) enum RuleAction {
    AcceptIdAt(JsonPath),
    AcceptIdFrom(StringTemplate),
    Reject(Cause),
    MarkUnknown(Cause),
    LookUpCode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusTest {
    Exact(u16),
    Class(u16),
}

impl StatusTest {
    pub(crate) fn is_match(self, status: u16) -> bool {
        match self {
            Self::Exact(wanted) => status == wanted,
            Self::Class(first) => status / 100 == first,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum RetryAfterSource {
    Path(JsonPath, Filter),
    Capture(String, Filter),
}

/// A reply to the backend.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseTemplate {
    pub(crate) status: Option<u16>,
    pub(crate) json: Vec<FieldMapping>,
    pub(crate) text: Option<StringTemplate>,
    pub(crate) header: Vec<(String, StringTemplate)>,
}

impl ResponseTemplate {
    /// Whether it quotes the backend's request.
    pub(crate) fn quotes_request(&self) -> bool {
        let json = self.json.iter().flat_map(|field| field.value.exprs());
        let header = self.header.iter().map(|(_, value)| value);
        let texts = self.text.iter().chain(header);
        json.chain(texts.flat_map(StringTemplate::exprs))
            .any(|hole| matches!(hole.source, ValueSource::Queried(_)))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SuccessResponse {
    pub(crate) queried: Vec<(String, String)>,
    pub(crate) response: ResponseTemplate,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FailureResponse {
    pub(crate) response: ResponseTemplate,
    pub(crate) codes: Vec<(Cause, FailureCode)>,
    pub(crate) default: FailureCode,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FailureCode {
    pub(crate) status: u16,
    pub(crate) code: Option<Value>,
}

#[derive(Clone, Debug)]
pub(crate) enum SigningScheme {
    Basic {
        user: StringTemplate,
        password: StringTemplate,
    },
    Bearer(StringTemplate),
    Header {
        name: String,
        value: StringTemplate,
    },
    Sigv4 {
        service: StringTemplate,
        region: StringTemplate,
        access_key: StringTemplate,
        secret_key: StringTemplate,
    },
}

impl SigningScheme {
    pub(crate) fn templates(&self) -> Vec<&StringTemplate> {
        match self {
            Self::Basic { user, password } => vec![user, password],
            Self::Bearer(value) | Self::Header { value, .. } => vec![value],
            Self::Sigv4 {
                service,
                region,
                access_key,
                secret_key,
            } => vec![service, region, access_key, secret_key],
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TokenSpec {
    pub(crate) endpoint: Endpoint,
    pub(crate) base_url: Option<String>,
    pub(crate) fields: RequestTemplate,
    pub(crate) value_paths: Vec<(String, JsonPath)>,
    pub(crate) expires: TokenLifetime,
    pub(crate) classifier: Classifier,
    pub(crate) claims: Vec<ClaimTest>,
    pub(crate) response: ResponseTemplate,
}

/// A claim of a token, the values to look for, and what they mean.
#[derive(Clone, Debug)]
pub(crate) struct ClaimTest {
    pub(crate) name: String,
    pub(crate) equals: Vec<CodeTest>,
    pub(crate) cause: Cause,
}

#[derive(Clone, Debug)]
pub(crate) enum TokenLifetime {
    Never,
    Jwt(JsonPath),
    After(Duration),
    Field(JsonPath),
}

#[derive(Clone, Debug)]
pub(crate) struct OperationSpec {
    pub(crate) endpoint: Endpoint,
    pub(crate) operation: Operation,
    pub(crate) required_values: Vec<(String, String)>,
    /// The fields that a request may have beside those of `where`, of the id and of the account; `*` is any text.
    pub(crate) fields: Vec<String>,
    /// The encodings that it takes, if they are not those of the send.
    pub(crate) accepts: Option<AcceptedBodies>,
    /// Where a status request has the message's id.
    pub(crate) id_path: Option<JsonPath>,
    /// The reply about a message that this dialect's service does not know: one of ours.
    pub(crate) response: Option<ResponseTemplate>,
}
