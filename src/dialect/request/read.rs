//! Reads a backend's request: the field map taken right to left. A field that the description
//! does not have, and text that is not UTF-8, make the request provider-specific.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::dialect::expr::filter::{Inverse, to_integer};
use crate::dialect::expr::path::{self, JsonPath};
use crate::dialect::expr::template::{Expr, ValueSource, into_text, to_text};
use crate::dialect::model::{FieldMapping, FieldValue};
use crate::dialect::request::recognise::best_effort_fields;
use crate::dialect::wire::body::{self, BodyTree, ParsedBody};
use crate::dialect::{
    DecodedRequest, Dialect, MatchedOperation, RecipientTexts, RecognisedRequest, Request,
    RequestFields, RequestReadError,
};
use crate::parse_limit::{JsonError, ParseLimit, read_json};
use crate::sms::{Message, MessageText, Msisdn};

impl Dialect {
    /// Reads a send. `own_reference` (20 characters) is used if the backend gives none. Another operation has no
    /// message, only fields.
    pub fn read(
        &self,
        recognised: &RecognisedRequest,
        request: &Request,
        own_reference: &str,
    ) -> Result<DecodedRequest, RequestReadError> {
        if !matches!(recognised.matched, MatchedOperation::Send) {
            let fields = BodyTree::Made(best_effort_fields(request));
            let fields = RequestFields::new(fields, Value::Null, recognised);
            return Ok(undecoded(fields, Vec::new()));
        }
        let body = ParsedBody::parse(&request.headers, &request.body)?;
        self.send.accepts.check(&request.headers, &body.format)?;
        let query = request.query.as_deref().unwrap_or_default();
        let (query, query_utf8) = body::parse_urlencoded(query)?;
        let mut parsed = ParsedRequest {
            body: self.send.name_entries(body.tree),
            query,
            untranslatable_fields: Vec::new(),
        };
        self.parse_json_fields(&mut parsed)?;
        if !(body.is_utf8 && query_utf8) {
            let charset = vec!["charset".into()];
            return Ok(undecoded(parsed.into_fields(recognised), charset));
        }
        let mut found = self.collect_message_fields(&mut parsed, request);
        self.drop_mismatched(&mut found, &mut parsed);
        self.flag_unmapped(&mut parsed);
        let recipient_count = found.recipient_count();
        let mut untranslatable = std::mem::take(&mut parsed.untranslatable_fields);
        let message = found.take_message(&mut untranslatable, own_reference)?;
        let recipients = RecipientTexts(found.to);
        Ok(DecodedRequest {
            message,
            untranslatable_fields: untranslatable,
            recipient_count,
            recipients,
            fields: parsed.into_fields(recognised),
        })
    }

    fn parse_json_fields(&self, parsed: &mut ParsedRequest) -> Result<(), ParseLimit> {
        for field in self
            .send
            .fields
            .body
            .iter()
            .chain(&self.send.fields.query)
            .chain(&self.send.also_reads)
        {
            let Some(name) = &field.path.json_field else {
                continue;
            };
            let mut body = std::mem::take(&mut parsed.body).into_tree();
            parse_json_field(&mut body, name)?;
            parsed.body = BodyTree::Made(body);
            parse_json_field(&mut parsed.query, name)?;
        }
        Ok(())
    }

    fn collect_message_fields(
        &self,
        parsed: &mut ParsedRequest,
        request: &Request,
    ) -> MessageFields {
        let mut found = MessageFields::default();
        let fields = &self.send.fields;
        let is_secondary = |field: &&FieldMapping| self.send.secondary.contains(&field.path.text);
        let mapped = fields.body.iter().chain(&fields.query);
        let (secondary, primary): (Vec<_>, Vec<_>) = mapped.partition(is_secondary);
        for field in primary {
            found.collect(field, parsed.values_at(&field.path), Spelling::Mapped);
        }
        for field in &fields.header {
            found.collect(field, header_value(request, field), Spelling::Mapped);
        }
        for field in secondary {
            found.collect(field, parsed.values_at(&field.path), Spelling::AlsoRead);
        }
        for field in &self.send.also_reads {
            found.collect(field, parsed.values_at(&field.path), Spelling::AlsoRead);
        }
        parsed
            .untranslatable_fields
            .append(&mut found.untranslatable);
        found
    }

    /// Flags and drops the values of sources with a constant of another value beside them.
    fn drop_mismatched(&self, found: &mut MessageFields, parsed: &mut ParsedRequest) {
        for source in std::mem::take(&mut found.mismatched) {
            self.flag_mismatched(&source, parsed);
            found.values_mut(&source).into_iter().for_each(Vec::clear);
        }
    }

    /// Flags the fields of a source whose constant has another value: their value is not ours to read.
    fn flag_mismatched(&self, source: &ValueSource, parsed: &mut ParsedRequest) {
        for field in self.send.fields.body.iter().chain(&self.send.fields.query) {
            let has_source = field
                .value
                .exprs()
                .any(|hole| hole.source == *source && !hole.is_constant());
            if has_source
                && !parsed.values_at(&field.path).is_empty()
                && !parsed.untranslatable_fields.contains(&field.path.text)
            {
                parsed.untranslatable_fields.push(field.path.text.clone());
            }
        }
    }

    fn flag_unmapped(&self, parsed: &mut ParsedRequest) {
        let fields = &self.send.fields;
        let mapped = fields
            .body
            .iter()
            .chain(&fields.query)
            .chain(&self.send.also_reads)
            .map(|field| &field.path);
        let known: Vec<&JsonPath> = mapped
            .chain(&self.send.droppable)
            .chain(&self.send.dropped)
            .collect();
        let mut seen: BTreeSet<String> = parsed.untranslatable_fields.iter().cloned().collect();
        let unmapped = parsed
            .body
            .uncovered_paths(&known)
            .into_iter()
            .chain(path::uncovered_paths(&parsed.query, &known))
            .filter(|name| seen.insert(name.clone()));
        parsed.untranslatable_fields.extend(unmapped);
    }
}

/// Parses a field that holds JSON as text, in its place; other text stays text.
fn parse_json_field(tree: &mut Value, name: &str) -> Result<(), ParseLimit> {
    let Some(field) = tree.get_mut(name) else {
        return Ok(());
    };
    match field.as_str().map(|text| read_json(text.as_bytes())) {
        Some(Ok(inside)) => *field = inside,
        Some(Err(JsonError::Limit(limit))) => return Err(limit),
        Some(Err(JsonError::Malformed(_))) | None => {}
    }
    Ok(())
}

fn header_value(request: &Request, field: &FieldMapping) -> Vec<Value> {
    request
        .headers
        .get(&field.path.text)
        .and_then(|value| value.to_str().ok())
        .map(Value::from)
        .into_iter()
        .collect()
}

/// The request's body and query while they are read.
struct ParsedRequest {
    body: BodyTree,
    query: Value,
    untranslatable_fields: Vec<String>,
}

impl ParsedRequest {
    /// The values in the body, else in the query: a GET has the same fields there.
    fn values_at(&self, place: &JsonPath) -> Vec<Value> {
        let found = self.body.values_at(place);
        if !found.is_empty() {
            return found;
        }
        let found = place.find_all(&self.query);
        found.into_iter().cloned().collect()
    }

    fn into_fields(self, recognised: &RecognisedRequest) -> RequestFields {
        RequestFields::new(self.body, self.query, recognised)
    }
}

/// A decoded request without a message.
fn undecoded(fields: RequestFields, untranslatable_fields: Vec<String>) -> DecodedRequest {
    DecodedRequest {
        message: None,
        untranslatable_fields,
        recipient_count: 0,
        recipients: RecipientTexts::default(),
        fields,
    }
}

/// Whether a field is written too, or only read where the mapped one is absent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Mapped,
    AlsoRead,
}

/// The values found for each part of a message.
#[derive(Default)]
struct MessageFields {
    to: Vec<String>,
    text: Vec<String>,
    sender: Vec<String>,
    reference: Vec<String>,
    validity: Vec<String>,
    callback: Vec<String>,
    has_template: bool,
    /// Fields that the message cannot express.
    untranslatable: Vec<String>,
    /// Sources with a constant of another value beside them: `timeUnit: HOURS`, another attribute's name.
    mismatched: Vec<ValueSource>,
}

impl MessageFields {
    /// An empty text is what a client writes for no value.
    fn collect(&mut self, field: &FieldMapping, mut found: Vec<Value>, spelling: Spelling) {
        let FieldValue::Template(template) = &field.value else {
            return;
        };
        found.retain(|value| value.as_str() != Some(""));
        if let Some(hole) = template.as_single_expr() {
            return self.collect_expr(hole, field, found, spelling);
        }
        for value in found {
            match template.captures(&to_text(&value)) {
                Some(captures) => captures.into_iter().for_each(|(hole, text)| {
                    self.collect_expr(hole, field, vec![text.into()], spelling);
                }),
                None => self.flag(field),
            }
        }
    }

    fn collect_expr(
        &mut self,
        hole: &Expr,
        field: &FieldMapping,
        found: Vec<Value>,
        spelling: Spelling,
    ) {
        if hole.source.belongs_to_account() {
            return;
        }
        let values = self.inverted_values(hole, field, found);
        if values.is_empty() {
            return;
        }
        if matches!(
            hole.source,
            ValueSource::TemplateId | ValueSource::TemplateValues | ValueSource::TemplateFields
        ) {
            self.has_template = true;
            self.flag(field);
        }
        let Some(slot) = self.values_mut(&hole.source) else {
            return;
        };
        if slot.is_empty() {
            *slot = values;
        } else if spelling == Spelling::Mapped && *slot != values {
            self.flag(field);
        }
    }

    /// The values before the filters; what a filter cannot invert is flagged.
    fn inverted_values(
        &mut self,
        hole: &Expr,
        field: &FieldMapping,
        found: Vec<Value>,
    ) -> Vec<String> {
        let mut values = Vec::new();
        for value in found {
            match invert_filters(hole, value) {
                Inverse::Value(Value::Array(items)) => {
                    values.extend(items.into_iter().map(into_text));
                }
                Inverse::Value(Value::Object(_)) if hole.source != ValueSource::TemplateFields => {
                    self.flag(field);
                }
                Inverse::Value(value) => values.push(into_text(value)),
                Inverse::Mismatch => {
                    self.flag(field);
                    self.mismatched.push(hole.source.clone());
                }
                Inverse::Ignored => {}
            }
        }
        values
    }

    fn flag(&mut self, field: &FieldMapping) {
        self.untranslatable.push(field.path.text.clone());
    }

    fn values_mut(&mut self, source: &ValueSource) -> Option<&mut Vec<String>> {
        match source {
            ValueSource::To => Some(&mut self.to),
            ValueSource::Text => Some(&mut self.text),
            ValueSource::Sender => Some(&mut self.sender),
            ValueSource::Reference => Some(&mut self.reference),
            ValueSource::Validity => Some(&mut self.validity),
            ValueSource::Callback => Some(&mut self.callback),
            ValueSource::Alphabet
            | ValueSource::Segments
            | ValueSource::TemplateId
            | ValueSource::TemplateValues
            | ValueSource::TemplateFields
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

    fn recipient_count(&self) -> usize {
        self.to.iter().filter(|to| !to.trim().is_empty()).count()
    }

    /// The message, if it is one: one recipient with a phone number, one text, no contradiction.
    fn take_message(
        &mut self,
        untranslatable: &mut Vec<String>,
        own_reference: &str,
    ) -> Result<Option<Message>, RequestReadError> {
        let recipients = self.recipient_count();
        let Some(to) = self.to.iter().find(|to| !to.trim().is_empty()) else {
            return Err(RequestReadError::Missing("the recipient"));
        };
        if recipients == 1 {
            untranslatable.extend(self.repeated_fields());
        }
        let text = self.text.iter_mut().find(|text| !text.trim().is_empty());
        let Some(text) = text.map(std::mem::take) else {
            let has_other_content =
                self.has_template || !untranslatable.is_empty() || recipients > 1;
            return if has_other_content {
                Ok(None)
            } else {
                Err(RequestReadError::Missing("the text"))
            };
        };
        let Ok(recipient) = Msisdn::parse(to) else {
            return Ok(None);
        };
        if recipients > 1 || self.has_template {
            return Ok(None);
        }
        Ok(Some(Message {
            recipient,
            text: MessageText::new(text),
            validity: take_first(&mut self.validity).and_then(milliseconds),
            sender: take_first(&mut self.sender),
            reference: take_first(&mut self.reference).unwrap_or_else(|| own_reference.to_owned()),
            callback: take_first(&mut self.callback),
            template: None,
        }))
    }

    /// The fields with more than one value.
    fn repeated_fields(&self) -> impl Iterator<Item = String> {
        [
            ("text", &self.text),
            ("sender", &self.sender),
            ("reference", &self.reference),
            ("validity", &self.validity),
            ("callback", &self.callback),
        ]
        .into_iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(name, values)| format!("{name}, given {} times", values.len()))
    }
}

fn take_first(values: &mut [String]) -> Option<String> {
    let first = values.iter_mut().find(|value| !value.is_empty());
    first.map(std::mem::take)
}

fn milliseconds(text: String) -> Option<Duration> {
    let count = to_integer(&Value::String(text))?;
    u64::try_from(count).ok().map(Duration::from_millis)
}

/// Inverts the filters, from the last to the first.
fn invert_filters(hole: &Expr, value: Value) -> Inverse {
    let mut value = value;
    for filter in hole.filters.iter().rev() {
        match filter.invert(value) {
            Inverse::Value(undone) => value = undone,
            other @ (Inverse::Ignored | Inverse::Mismatch) => return other,
        }
    }
    Inverse::Value(value)
}
