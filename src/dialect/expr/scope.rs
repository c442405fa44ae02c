//! The values that a template can use: message, account, the one `now` of the attempt, and for
//! replies the backend's fields and the result.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use crate::dialect::expr::gsm;
use crate::dialect::expr::path;
use crate::dialect::expr::path::JsonPath;
use crate::dialect::expr::template::ValueSource;
use crate::dialect::fields::PLACEHOLDER;
use crate::dialect::{Account, ParamSpec};
use crate::sms::Message;

/// The values for holes; an absent one leaves its hole without a value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) message: Option<&'a Message>,
    pub(crate) account: Option<&'a Account<'a>>,
    pub(crate) params: &'a [ParamSpec],
    pub(crate) digests: Option<&'a BTreeMap<String, String>>,
    pub(crate) now: Option<Timestamp>,
    pub(crate) path_params: Option<&'a BTreeMap<String, String>>,
    pub(crate) request_fields: Option<&'a Value>,
    pub(crate) captures: Option<&'a BTreeMap<String, String>>,
    pub(crate) id: Option<&'a str>,
    pub(crate) code: Option<&'a Value>,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<&'a str>,
}

impl Scope<'_> {
    /// The raw value of a source.
    pub(crate) fn resolve(&self, source: &ValueSource) -> Option<Value> {
        match source {
            ValueSource::Credential(name) => text_value(self.account?.credential.expose(name)),
            ValueSource::Param(name) => self.param(name),
            ValueSource::Token(name) => text_value(
                self.account?
                    .token?
                    .values
                    .get(name)
                    .map(ExposeSecret::expose_secret),
            ),
            ValueSource::Digest(name) => text_value(self.digests?.get(name).map(String::as_str)),
            ValueSource::Now => Some(self.now?.as_second().into()),
            ValueSource::PathParam(name) => {
                text_value(self.path_params?.get(name).map(String::as_str))
            }
            ValueSource::Id => text_value(self.id),
            ValueSource::Code => self.code.cloned(),
            ValueSource::Status => Some(self.status?.into()),
            ValueSource::Reason => text_value(self.reason),
            ValueSource::Placeholder => text_value(Some(PLACEHOLDER)),
            ValueSource::Queried(at) => find_field(self.request_fields?, at),
            ValueSource::Matched(name) => text_value(self.captures?.get(name).map(String::as_str)),
            ValueSource::Sender => text_value(
                self.account
                    .and_then(|account| account.sender)
                    .or(self.message.and_then(|m| m.sender.as_deref())),
            ),
            ValueSource::To
            | ValueSource::Text
            | ValueSource::Reference
            | ValueSource::Validity
            | ValueSource::Callback
            | ValueSource::Alphabet
            | ValueSource::Segments
            | ValueSource::TemplateId
            | ValueSource::TemplateValues
            | ValueSource::TemplateFields => message_value(self.message?, source),
        }
    }

    fn param(&self, name: &str) -> Option<Value> {
        let spec = self.params.iter().find(|spec| spec.name == name);
        let value = self
            .account
            .and_then(|account| account.params.get(name))
            .or(spec.and_then(|spec| spec.default.as_ref()))?;
        let number = spec
            .filter(|spec| spec.integer)
            .and_then(|_| value.parse::<i64>().ok());
        Some(number.map_or_else(|| Value::String(value.clone()), Value::from))
    }
}

fn message_value(message: &Message, source: &ValueSource) -> Option<Value> {
    let template = message.template.as_ref();
    let named = template.filter(|template| template.id.is_some());
    match source {
        ValueSource::To => text_value(Some(message.recipient.digits())),
        ValueSource::Text => text_value(Some(message.text.expose())),
        ValueSource::Reference => text_value(Some(&message.reference)),
        ValueSource::Validity => u64::try_from(message.validity?.as_millis())
            .ok()
            .map(Value::from),
        ValueSource::Callback => text_value(message.callback.as_deref()),
        ValueSource::Alphabet => text_value(Some(gsm::alphabet(message.text.expose()))),
        ValueSource::Segments => Some(gsm::segments(message.text.expose()).into()),
        ValueSource::TemplateId => text_value(template?.id.as_deref()),
        // The values accompany a template id that replaces the text; together with the text they would be sent twice.
        ValueSource::TemplateValues => Some(
            named?
                .fields
                .iter()
                .map(|(_, value)| value.as_str())
                .collect(),
        ),
        ValueSource::TemplateFields => {
            let fields = named?
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            Some(Value::Object(fields.collect::<Map<_, _>>()))
        }
        ValueSource::Sender
        | ValueSource::Credential(_)
        | ValueSource::Param(_)
        | ValueSource::Token(_)
        | ValueSource::Digest(_)
        | ValueSource::Now
        | ValueSource::Id
        | ValueSource::Code
        | ValueSource::Status
        | ValueSource::Reason
        | ValueSource::Placeholder
        | ValueSource::Queried(_)
        | ValueSource::Matched(_)
        | ValueSource::PathParam(_) => None,
    }
}

fn text_value(value: Option<&str>) -> Option<Value> {
    value.map(Value::from)
}

/// A field of the backend's request: by its exact name, else by its path.
pub(crate) fn find_field(tree: &Value, at: &str) -> Option<Value> {
    if let Some(value) = tree.get(at) {
        return Some(value.clone());
    }
    let place = JsonPath::parse(at, path::FlatKeys(false)).ok()?;
    place.find_all(tree).into_iter().next().cloned()
}
