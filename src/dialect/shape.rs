//! The compiled form of a description: everything parsed, nothing looked up by text
//! again. Only the loader makes these.

use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use crate::dialect::call::Call;
use crate::dialect::code::{CodeTest, Codes};
use crate::dialect::filter::Filter;
use crate::dialect::place::Place;
use crate::dialect::template::{Hole, Source, Template};
use crate::sms::{Cause, Operation};

pub use crate::dialect::question::{Asks, Probe};
pub(crate) use crate::dialect::question::{Dead, Test, Texts};

/// A value to write: constant or template.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    Constant(Value),
    Template(Template),
}

impl Form {
    pub(crate) fn holes(&self) -> impl Iterator<Item = &Hole> {
        match self {
            Self::Constant(_) => None,
            Self::Template(template) => Some(template.holes()),
        }
        .into_iter()
        .flatten()
    }

    pub(crate) fn has(&self, test: impl Fn(&Source) -> bool) -> bool {
        self.holes().any(|hole| test(&hole.source))
    }
}

/// Their name = our meaning.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) place: Place,
    pub(crate) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Encode {
    /// No body: all is in the query.
    #[default]
    Nothing,
    Json,
    Form,
    Multipart,
}

/// What is written into one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) query: Vec<Field>,
    pub(crate) header: Vec<Field>,
    pub(crate) body: Vec<Field>,
    pub(crate) encode: Encode,
}

#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) call: Call,
    pub(crate) matching: Vec<(String, String)>,
    pub(crate) needs: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) may_drop: Vec<Place>,
    pub(crate) drops: Vec<Place>,
    pub(crate) fields: Fields,
    pub(crate) reads: Vec<Field>,
    /// A form service that also takes its fields as one JSON object.
    pub(crate) takes_json: bool,
    pub(crate) digests: Vec<DigestSpec>,
    pub(crate) judge: Judge,
    pub(crate) success: Vec<Success>,
    pub(crate) failure: Failure,
    pub(crate) repeat: Option<Repeat>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) text: Option<usize>,
    pub(crate) recipients: Vec<String>,
    pub(crate) batch: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct DigestSpec {
    pub(crate) name: String,
    pub(crate) of: Template,
    pub(crate) with: Hash,
    pub(crate) base64: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Hash {
    Md5,
    Sha256,
    HmacSha256(Template),
}

#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    pub(crate) field: String,
}

/// Rules and codes: how replies are judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judge {
    pub(crate) rules: Vec<Rule>,
    pub(crate) codes: Codes,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) status: Option<StatusTest>,
    pub(crate) at: Vec<Place>,
    pub(crate) is: Vec<CodeTest>,
    pub(crate) like: Option<Regex>,
    pub(crate) with: Option<Place>,
    pub(crate) body: Option<String>,
    pub(crate) body_like: Option<Regex>,
    pub(crate) then: Then,
    pub(crate) says: Vec<Place>,
    pub(crate) or: Vec<Cause>,
    pub(crate) guess: bool,
    pub(crate) retry_after: Option<Wait>,
}

#[derive(Clone, Debug)]
pub(crate) enum Then {
    AcceptedAt(Place),
    AcceptedAs(Template),
    Refused(Cause),
    Unknown(Cause),
    Codes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusTest {
    Exactly(u16),
    Hundred(u16),
}

impl StatusTest {
    pub(crate) fn fits(self, status: u16) -> bool {
        match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Hundred(first) => status / 100 == first,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Wait {
    At(Place, Filter),
    Matched(String, Filter),
}

/// One reply we can give.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) status: Option<u16>,
    pub(crate) json: Vec<Field>,
    pub(crate) text: Option<Template>,
    pub(crate) header: Vec<(String, Template)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Success {
    pub(crate) asked: Vec<(String, String)>,
    pub(crate) told: Told,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    pub(crate) told: Told,
    pub(crate) lines: Vec<(Cause, Line)>,
    pub(crate) otherwise: Line,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) status: u16,
    pub(crate) code: Option<Value>,
}

#[derive(Clone, Debug)]
pub(crate) enum Sign {
    Basic { user: Template, password: Template },
    Bearer(Template),
    Header { name: String, value: Template },
    Sigv4 { service: Template, region: Template, access_key: Template, secret_key: Template },
}

impl Sign {
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Basic { user, password } => vec![user, password],
            Self::Bearer(value) | Self::Header { value, .. } => vec![value],
            Self::Sigv4 { service, region, access_key, secret_key } => vec![service, region, access_key, secret_key],
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TokenCall {
    pub(crate) call: Call,
    pub(crate) base_url: Option<String>,
    pub(crate) fields: Fields,
    pub(crate) reads: Vec<(String, Place)>,
    pub(crate) expires: Expires,
    pub(crate) judge: Judge,
    pub(crate) claims: Vec<ClaimTest>,
    pub(crate) answer: Told,
}

/// What a token may say of itself, and what that means.
#[derive(Clone, Debug)]
pub(crate) struct ClaimTest {
    pub(crate) name: String,
    pub(crate) is: Vec<CodeTest>,
    pub(crate) cause: Cause,
}

#[derive(Clone, Debug)]
pub(crate) enum Expires {
    Never,
    Jwt(Place),
    After(Duration),
    Field(Place),
}

#[derive(Clone, Debug)]
pub(crate) struct OperationEntry {
    pub(crate) call: Call,
    pub(crate) does: Operation,
    pub(crate) matching: Vec<(String, String)>,
    /// Where a status request names the message.
    pub(crate) id: Option<Place>,
    /// What is told about a message of ours.
    pub(crate) answer: Option<Told>,
}
