//! A backend's request understood: the field map taken right to left. What no place of
//! the description covers binds the call; what is not UTF-8 is bound and not guessed at.

use std::time::Duration;

use serde_json::Value;

use crate::dialect::expr::filter::{Inverse, to_integer};
use crate::dialect::expr::path::{self, JsonPath};
use crate::dialect::expr::template::{Expr, ValueSource, to_text};
use crate::dialect::model::{BodyEncoding, FieldMapping, FieldValue};
use crate::dialect::request::recognise::{best_effort_fields, merge_query};
use crate::dialect::wire::body::{self, BodyFormat, ParsedBody};
use crate::dialect::{
    DecodedRequest, Dialect, MatchedOperation, RecognisedRequest, Request, RequestFields,
    RequestReadError,
};
use crate::sms::{Message, MessageText, Msisdn};

impl Dialect {
    /// Reads a send. `own_reference` (20 characters) is used where the backend gave none. For another operation there is
    /// no message, only what was asked.
    pub fn read(
        &self,
        seen: &RecognisedRequest,
        request: &Request,
        own_reference: &str,
    ) -> Result<DecodedRequest, RequestReadError> {
        if !matches!(seen.matched, MatchedOperation::Send) {
            let asked = RequestFields::new(best_effort_fields(request), seen);
            return Ok(DecodedRequest {
                message: None,
                untranslatable_fields: Vec::new(),
                recipient_count: 0,
                fields: asked,
            });
        }
        let body = ParsedBody::parse(&request.headers, &request.body)?;
        self.check_format(&body.format)?;
        let (query, query_utf8) =
            body::parse_urlencoded(request.query.as_deref().unwrap_or_default());
        let mut said = ParsedRequest {
            body: body.tree,
            query,
            untranslatable_fields: Vec::new(),
        };
        self.parse_json_fields(&mut said);
        if !(body.is_utf8 && query_utf8) {
            return Ok(DecodedRequest {
                message: None,
                untranslatable_fields: vec!["charset".into()],
                recipient_count: 0,
                fields: RequestFields::new(said.into_merged(), seen),
            });
        }
        let mut words = self.collect_message_fields(&mut said, request);
        for source in std::mem::take(&mut words.mismatched) {
            self.flag_mismatched(&source, &mut said);
            words.values_mut(&source).into_iter().for_each(Vec::clear);
        }
        self.flag_unmapped(&mut said);
        let mut binds = std::mem::take(&mut said.untranslatable_fields);
        let (message, recipients) = words.into_message(&mut binds, own_reference)?;
        Ok(DecodedRequest {
            message,
            untranslatable_fields: binds,
            recipient_count: recipients,
            fields: RequestFields::new(said.into_merged(), seen),
        })
    }

    fn check_format(&self, encoding: &BodyFormat) -> Result<(), RequestReadError> {
        let (fits, wanted) = match (self.send.fields.encoding, encoding) {
            (_, BodyFormat::Empty)
            | (
                BodyEncoding::Form | BodyEncoding::Multipart | BodyEncoding::NoBody,
                BodyFormat::Form | BodyFormat::Multipart(_),
            ) => (true, ""),
            (BodyEncoding::Json, found) => (*found == BodyFormat::Json, "application/json"),
            (BodyEncoding::Form | BodyEncoding::Multipart, BodyFormat::Json) => {
                (self.send.accepts_json, "application/x-www-form-urlencoded")
            }
            (BodyEncoding::Form | BodyEncoding::Multipart, BodyFormat::Other(_)) => {
                (false, "application/x-www-form-urlencoded")
            }
            (BodyEncoding::NoBody, BodyFormat::Json | BodyFormat::Other(_)) => {
                (false, "everything in the query")
            }
        };
        if fits {
            Ok(())
        } else {
            Err(RequestReadError::ContentType {
                found: format_name(encoding),
                wanted: wanted.into(),
            })
        }
    }

    fn parse_json_fields(&self, said: &mut ParsedRequest) {
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
            parse_json_field(&mut said.body, name);
            parse_json_field(&mut said.query, name);
        }
    }

    fn collect_message_fields(&self, said: &mut ParsedRequest, request: &Request) -> MessageFields {
        let mut words = MessageFields::default();
        let fields = &self.send.fields;
        let header = fields.header.iter().map(|field| (field, true));
        let mapped = fields
            .body
            .iter()
            .chain(&fields.query)
            .map(|field| (field, false))
            .chain(header);
        for (field, in_header) in mapped {
            let found = if in_header {
                header_value(request, field)
            } else {
                said.values_at(&field.path)
            };
            words.collect(field, found, false, &mut said.untranslatable_fields);
        }
        for field in &self.send.also_reads {
            let found = said.values_at(&field.path);
            words.collect(field, found, true, &mut said.untranslatable_fields);
        }
        words
    }

    /// A noun whose constant is another's is none of our words: all that carries it binds.
    fn flag_mismatched(&self, foreign: &ValueSource, said: &mut ParsedRequest) {
        for field in self.send.fields.body.iter().chain(&self.send.fields.query) {
            let carries = field
                .value
                .exprs()
                .any(|hole| hole.source == *foreign && !hole.is_constant());
            if carries
                && !said.values_at(&field.path).is_empty()
                && !said.untranslatable_fields.contains(&field.path.text)
            {
                said.untranslatable_fields.push(field.path.text.clone());
            }
        }
    }

    fn flag_unmapped(&self, said: &mut ParsedRequest) {
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
        for name in path::uncovered_paths(&said.body, &known)
            .into_iter()
            .chain(path::uncovered_paths(&said.query, &known))
        {
            if !said.untranslatable_fields.contains(&name) {
                said.untranslatable_fields.push(name);
            }
        }
    }
}

/// A field that holds JSON as text, opened where it is; what is no JSON stays text.
fn parse_json_field(tree: &mut Value, name: &str) {
    let inside = tree
        .get(name)
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok());
    if let (Some(inside), Some(field)) = (inside, tree.get_mut(name)) {
        *field = inside;
    }
}

fn format_name(encoding: &BodyFormat) -> String {
    match encoding {
        BodyFormat::Empty => "none".into(),
        BodyFormat::Json => "application/json".into(),
        BodyFormat::Form => "application/x-www-form-urlencoded".into(),
        BodyFormat::Multipart(_) => "multipart/form-data".into(),
        BodyFormat::Other(found) => found.clone(),
    }
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

/// The request's two trees while they are read.
struct ParsedRequest {
    body: Value,
    query: Value,
    untranslatable_fields: Vec<String>,
}

impl ParsedRequest {
    /// In the body, else in the query: a GET carries the same fields there.
    fn values_at(&self, place: &JsonPath) -> Vec<Value> {
        let found = place.find_all(&self.body);
        let found = if found.is_empty() {
            place.find_all(&self.query)
        } else {
            found
        };
        found.into_iter().cloned().collect()
    }

    /// Both in one tree.
    fn into_merged(self) -> Value {
        merge_query(self.body, self.query)
    }
}

/// What was found for each noun of a message.
#[derive(Default)]
struct MessageFields {
    to: Vec<String>,
    text: Vec<String>,
    sender: Vec<String>,
    reference: Vec<String>,
    validity: Vec<String>,
    callback: Vec<String>,
    has_template: bool,
    /// Nouns beside which a constant is not ours: `timeUnit: HOURS`, another attribute's name.
    mismatched: Vec<ValueSource>,
}

impl MessageFields {
    /// One field; `spare`: another spelling, looked at only where the first said nothing.
    fn collect(
        &mut self,
        field: &FieldMapping,
        found: Vec<Value>,
        spare: bool,
        binds: &mut Vec<String>,
    ) {
        let FieldValue::Template(template) = &field.value else {
            return;
        };
        if let Some(hole) = template.as_single_expr() {
            return self.collect_expr(hole, field, found, (spare, binds));
        }
        for value in found {
            match template.captures(&to_text(&value)) {
                Some(held) => held.into_iter().for_each(|(hole, text)| {
                    self.collect_expr(hole, field, vec![text.into()], (spare, binds));
                }),
                None => binds.push(field.path.text.clone()),
            }
        }
    }

    fn collect_expr(
        &mut self,
        hole: &Expr,
        field: &FieldMapping,
        found: Vec<Value>,
        (spare, binds): (bool, &mut Vec<String>),
    ) {
        if hole.source.belongs_to_account() {
            return;
        }
        let mut read = Vec::new();
        for value in found {
            match invert_filters(hole, value) {
                Inverse::Value(Value::Array(items)) => read.extend(items.iter().map(to_text)),
                Inverse::Value(Value::Object(_)) if hole.source != ValueSource::TemplateFields => {
                    binds.push(field.path.text.clone());
                }
                Inverse::Value(value) => read.push(to_text(&value)),
                Inverse::Mismatch => {
                    binds.push(field.path.text.clone());
                    self.mismatched.push(hole.source.clone());
                }
                Inverse::Ignored => {}
            }
        }
        if read.is_empty() {
            return;
        }
        if matches!(
            hole.source,
            ValueSource::TemplateId | ValueSource::TemplateValues | ValueSource::TemplateFields
        ) {
            self.has_template = true;
            binds.push(field.path.text.clone());
        }
        let Some(slot) = self.values_mut(&hole.source) else {
            return;
        };
        if slot.is_empty() {
            *slot = read;
        } else if !spare && *slot != read {
            binds.push(field.path.text.clone());
        }
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

    /// The message, where it is one: one recipient with a number, one text, nothing that says it twice.
    fn into_message(
        self,
        binds: &mut Vec<String>,
        own_reference: &str,
    ) -> Result<(Option<Message>, usize), RequestReadError> {
        let recipients = self.to.iter().filter(|to| !to.trim().is_empty()).count();
        let Some(to) = self.to.iter().find(|to| !to.trim().is_empty()) else {
            return Err(RequestReadError::Missing("the recipient"));
        };
        for (word, values) in [
            ("text", &self.text),
            ("sender", &self.sender),
            ("reference", &self.reference),
            ("validity", &self.validity),
            ("callback", &self.callback),
        ] {
            if recipients == 1 && values.len() > 1 {
                binds.push(format!("{word}, said {} times", values.len()));
            }
        }
        let text = self.text.into_iter().find(|text| !text.trim().is_empty());
        let Some(text) = text else {
            let elsewhere = self.has_template || !binds.is_empty() || recipients > 1;
            return if elsewhere {
                Ok((None, recipients))
            } else {
                Err(RequestReadError::Missing("the text"))
            };
        };
        let Ok(recipient) = Msisdn::parse(to) else {
            return Ok((None, recipients));
        };
        if recipients > 1 || self.has_template {
            return Ok((None, recipients));
        }
        let said = |values: Vec<String>| values.into_iter().find(|value| !value.is_empty());
        let message = Message {
            recipient,
            text: MessageText::new(text),
            sender: said(self.sender),
            reference: said(self.reference).unwrap_or_else(|| own_reference.to_owned()),
            validity: said(self.validity)
                .and_then(|value| to_integer(&Value::String(value)))
                .and_then(|ms| u64::try_from(ms).ok())
                .map(Duration::from_millis),
            callback: said(self.callback),
            template: None,
        };
        Ok((Some(message), recipients))
    }
}

/// Filters backwards, from the last to the first.
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

impl RequestFields {
    /// The backend's fields, and what the path's holes held under `path`.
    pub(crate) fn new(mut tree: Value, seen: &RecognisedRequest) -> Self {
        if let Value::Object(map) = &mut tree {
            let path = seen
                .path_params
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            map.insert("path".into(), Value::Object(path.collect()));
        }
        Self { tree }
    }
}
