//! What a template can see while it is filled: message, account, the one `now` of the
//! attempt, and for replies what the backend asked and what it is told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use crate::dialect::place::Place;
use crate::dialect::template::Source;
use crate::dialect::{Account, ParamSpec};
use crate::dialect::{gsm, place};
use crate::sms::Message;

/// Everything there is to fill holes with; what is absent leaves its hole without a value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) message: Option<&'a Message>,
    pub(crate) account: Option<&'a Account<'a>>,
    pub(crate) params: &'a [ParamSpec],
    pub(crate) digests: Option<&'a BTreeMap<String, String>>,
    pub(crate) now: Option<Timestamp>,
    pub(crate) path: Option<&'a BTreeMap<String, String>>,
    pub(crate) asked: Option<&'a Value>,
    pub(crate) matched: Option<&'a BTreeMap<String, String>>,
    pub(crate) id: Option<&'a str>,
    pub(crate) code: Option<&'a Value>,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<&'a str>,
}

impl Scope<'_> {
    /// The raw value of a source.
    pub(crate) fn source(&self, source: &Source) -> Option<Value> {
        match source {
            Source::Credential(name) => text(self.account?.credential.expose(name)),
            Source::Param(name) => self.param(name),
            Source::Token(name) => text(self.account?.token?.values.get(name).map(ExposeSecret::expose_secret)),
            Source::Digest(name) => text(self.digests?.get(name).map(String::as_str)),
            Source::Now => Some(self.now?.as_second().into()),
            Source::Path(name) => text(self.path?.get(name).map(String::as_str)),
            Source::Id => text(self.id),
            Source::Code => self.code.cloned(),
            Source::Status => Some(self.status?.into()),
            Source::Reason => text(self.reason),
            Source::Placeholder => text(Some("sms-sidecar")),
            Source::Asked(at) => asked(self.asked?, at),
            Source::Matched(name) => text(self.matched?.get(name).map(String::as_str)),
            Source::Sender => text(self.account.and_then(|account| account.sender).or(self.message.and_then(|m| m.sender.as_deref()))),
            Source::To
            | Source::Text
            | Source::Reference
            | Source::Validity
            | Source::Callback
            | Source::Alphabet
            | Source::Segments
            | Source::TemplateId
            | Source::TemplateValues
            | Source::TemplateFields => of_message(self.message?, source),
        }
    }

    fn param(&self, name: &str) -> Option<Value> {
        let spec = self.params.iter().find(|spec| spec.name == name);
        let value = self.account.and_then(|account| account.params.get(name)).or(spec.and_then(|spec| spec.default.as_ref()))?;
        let number = spec.filter(|spec| spec.integer).and_then(|_| value.parse::<i64>().ok());
        Some(number.map_or_else(|| Value::String(value.clone()), Value::from))
    }
}

fn of_message(message: &Message, source: &Source) -> Option<Value> {
    let template = message.template.as_ref();
    let named = template.filter(|template| template.id.is_some());
    match source {
        Source::To => text(Some(message.recipient.digits())),
        Source::Text => text(Some(message.text.expose())),
        Source::Reference => text(Some(&message.reference)),
        Source::Validity => u64::try_from(message.validity?.as_millis()).ok().map(Value::from),
        Source::Callback => text(message.callback.as_deref()),
        Source::Alphabet => text(Some(gsm::alphabet(message.text.expose()))),
        Source::Segments => Some(gsm::segments(message.text.expose()).into()),
        Source::TemplateId => text(template?.id.as_deref()),
        // What fills the holes goes beside an id that stands for the text; beside the text it would be said twice.
        Source::TemplateValues => Some(named?.fields.iter().map(|(_, value)| value.as_str()).collect()),
        Source::TemplateFields => {
            let fields = named?.fields.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            Some(Value::Object(fields.collect::<Map<_, _>>()))
        }
        Source::Sender
        | Source::Credential(_)
        | Source::Param(_)
        | Source::Token(_)
        | Source::Digest(_)
        | Source::Now
        | Source::Id
        | Source::Code
        | Source::Status
        | Source::Reason
        | Source::Placeholder
        | Source::Asked(_)
        | Source::Matched(_)
        | Source::Path(_) => None,
    }
}

fn text(value: Option<&str>) -> Option<Value> {
    value.map(Value::from)
}

/// A place in what the backend asked: a field of that very name first, then the path.
pub(crate) fn asked(tree: &Value, at: &str) -> Option<Value> {
    if let Some(value) = tree.get(at) {
        return Some(value.clone());
    }
    let place = Place::parse(at, place::Flat(false)).ok()?;
    place.all(tree).into_iter().next().cloned()
}
