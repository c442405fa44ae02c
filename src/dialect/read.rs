//! A backend's request understood: the field map taken right to left. What no place of
//! the description covers binds the call; what is not UTF-8 is bound and not guessed at.

use std::time::Duration;

use serde_json::Value;

use crate::dialect::body::{self, Body, Encoding};
use crate::dialect::filter::{Undone, whole};
use crate::dialect::place::{self, Place};
use crate::dialect::recognise::{loose_fields, merged};
use crate::dialect::shape::{Encode, Field, Form};
use crate::dialect::template::{Hole, Source, text_of};
use crate::dialect::{Asked, Dialect, Entry, ReadError, Reading, Recognised, Request};
use crate::sms::{Message, Msisdn, Text};

impl Dialect {
    /// Reads a send. `own_reference` (20 characters) is used where the backend gave none. For another operation there is
    /// no message, only what was asked.
    pub fn read(&self, seen: &Recognised, request: &Request, own_reference: &str) -> Result<Reading, ReadError> {
        if !matches!(seen.entry, Entry::Send) {
            let asked = Asked::of(loose_fields(request), seen);
            return Ok(Reading { message: None, binds: Vec::new(), recipients: 0, asked });
        }
        let body = Body::read(&request.headers, &request.body)?;
        self.takes(&body.encoding)?;
        let (query, query_utf8) = body::flat(request.query.as_deref().unwrap_or_default());
        let mut said = Said { body: body.tree, query, binds: Vec::new() };
        self.open_json_fields(&mut said);
        if !(body.utf8 && query_utf8) {
            return Ok(Reading { message: None, binds: vec!["charset".into()], recipients: 0, asked: Asked::of(said.merged(), seen) });
        }
        let mut words = self.gather(&mut said, request);
        for source in std::mem::take(&mut words.foreign) {
            self.bind_foreign(&source, &mut said);
            words.slot(&source).into_iter().for_each(Vec::clear);
        }
        self.bind_the_rest(&mut said);
        let mut binds = std::mem::take(&mut said.binds);
        let (message, recipients) = words.message(&mut binds, own_reference)?;
        Ok(Reading { message, binds, recipients, asked: Asked::of(said.merged(), seen) })
    }

    fn takes(&self, encoding: &Encoding) -> Result<(), ReadError> {
        let (fits, wanted) = match (self.send.fields.encode, encoding) {
            (_, Encoding::Empty) | (Encode::Form | Encode::Multipart | Encode::Nothing, Encoding::Form | Encoding::Multipart(_)) => {
                (true, "")
            }
            (Encode::Json, found) => (*found == Encoding::Json, "application/json"),
            (Encode::Form | Encode::Multipart, Encoding::Json) => (self.send.takes_json, "application/x-www-form-urlencoded"),
            (Encode::Form | Encode::Multipart, Encoding::Other(_)) => (false, "application/x-www-form-urlencoded"),
            (Encode::Nothing, Encoding::Json | Encoding::Other(_)) => (false, "everything in the query"),
        };
        if fits { Ok(()) } else { Err(ReadError::ContentType { found: spelled(encoding), wanted: wanted.into() }) }
    }

    fn open_json_fields(&self, said: &mut Said) {
        for field in self.send.fields.body.iter().chain(&self.send.fields.query).chain(&self.send.reads) {
            let Some(name) = &field.place.json_field else { continue };
            open_json(&mut said.body, name);
            open_json(&mut said.query, name);
        }
    }

    fn gather(&self, said: &mut Said, request: &Request) -> Words {
        let mut words = Words::default();
        let fields = &self.send.fields;
        let header = fields.header.iter().map(|field| (field, true));
        let mapped = fields.body.iter().chain(&fields.query).map(|field| (field, false)).chain(header);
        for (field, in_header) in mapped {
            let found = if in_header { header_value(request, field) } else { said.values(&field.place) };
            words.take(field, found, false, &mut said.binds);
        }
        for field in &self.send.reads {
            let found = said.values(&field.place);
            words.take(field, found, true, &mut said.binds);
        }
        words
    }

    /// A noun whose constant is another's is none of our words: all that carries it binds.
    fn bind_foreign(&self, foreign: &Source, said: &mut Said) {
        for field in self.send.fields.body.iter().chain(&self.send.fields.query) {
            let carries = field.form.holes().any(|hole| hole.source == *foreign && !hole.is_constant());
            if carries && !said.values(&field.place).is_empty() && !said.binds.contains(&field.place.text) {
                said.binds.push(field.place.text.clone());
            }
        }
    }

    fn bind_the_rest(&self, said: &mut Said) {
        let fields = &self.send.fields;
        let mapped = fields.body.iter().chain(&fields.query).chain(&self.send.reads).map(|field| &field.place);
        let known: Vec<&Place> = mapped.chain(&self.send.may_drop).chain(&self.send.drops).collect();
        for name in place::left_over(&said.body, &known).into_iter().chain(place::left_over(&said.query, &known)) {
            if !said.binds.contains(&name) {
                said.binds.push(name);
            }
        }
    }
}

/// A field that holds JSON as text, opened where it is; what is no JSON stays text.
fn open_json(tree: &mut Value, name: &str) {
    let inside = tree.get(name).and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
    if let (Some(inside), Some(field)) = (inside, tree.get_mut(name)) {
        *field = inside;
    }
}

fn spelled(encoding: &Encoding) -> String {
    match encoding {
        Encoding::Empty => "none".into(),
        Encoding::Json => "application/json".into(),
        Encoding::Form => "application/x-www-form-urlencoded".into(),
        Encoding::Multipart(_) => "multipart/form-data".into(),
        Encoding::Other(found) => found.clone(),
    }
}

fn header_value(request: &Request, field: &Field) -> Vec<Value> {
    request.headers.get(&field.place.text).and_then(|value| value.to_str().ok()).map(Value::from).into_iter().collect()
}

/// The request's two trees while they are read.
struct Said {
    body: Value,
    query: Value,
    binds: Vec<String>,
}

impl Said {
    /// In the body, else in the query: a GET carries the same fields there.
    fn values(&self, place: &Place) -> Vec<Value> {
        let found = place.all(&self.body);
        let found = if found.is_empty() { place.all(&self.query) } else { found };
        found.into_iter().cloned().collect()
    }

    /// Both in one tree.
    fn merged(self) -> Value {
        merged(self.body, self.query)
    }
}

/// What was found for each noun of a message.
#[derive(Default)]
struct Words {
    to: Vec<String>,
    text: Vec<String>,
    sender: Vec<String>,
    reference: Vec<String>,
    validity: Vec<String>,
    callback: Vec<String>,
    template: bool,
    /// Nouns beside which a constant is not ours: `timeUnit: HOURS`, another attribute's name.
    foreign: Vec<Source>,
}

impl Words {
    /// One field; `spare`: another spelling, looked at only where the first said nothing.
    fn take(&mut self, field: &Field, found: Vec<Value>, spare: bool, binds: &mut Vec<String>) {
        let Form::Template(template) = &field.form else { return };
        if let Some(hole) = template.lone() {
            return self.take_hole(hole, field, found, (spare, binds));
        }
        for value in found {
            match template.matches(&text_of(&value)) {
                Some(held) => held.into_iter().for_each(|(hole, text)| self.take_hole(hole, field, vec![text.into()], (spare, binds))),
                None => binds.push(field.place.text.clone()),
            }
        }
    }

    fn take_hole(&mut self, hole: &Hole, field: &Field, found: Vec<Value>, (spare, binds): (bool, &mut Vec<String>)) {
        if hole.source.is_account() {
            return;
        }
        let mut read = Vec::new();
        for value in found {
            match undo(hole, value) {
                Undone::Value(Value::Array(items)) => read.extend(items.iter().map(text_of)),
                Undone::Value(Value::Object(_)) if hole.source != Source::TemplateFields => binds.push(field.place.text.clone()),
                Undone::Value(value) => read.push(text_of(&value)),
                Undone::Mismatch => {
                    binds.push(field.place.text.clone());
                    self.foreign.push(hole.source.clone());
                }
                Undone::Nothing => {}
            }
        }
        if read.is_empty() {
            return;
        }
        if matches!(hole.source, Source::TemplateId | Source::TemplateValues | Source::TemplateFields) {
            self.template = true;
            binds.push(field.place.text.clone());
        }
        let Some(slot) = self.slot(&hole.source) else { return };
        if slot.is_empty() {
            *slot = read;
        } else if !spare && *slot != read {
            binds.push(field.place.text.clone());
        }
    }

    fn slot(&mut self, source: &Source) -> Option<&mut Vec<String>> {
        match source {
            Source::To => Some(&mut self.to),
            Source::Text => Some(&mut self.text),
            Source::Sender => Some(&mut self.sender),
            Source::Reference => Some(&mut self.reference),
            Source::Validity => Some(&mut self.validity),
            Source::Callback => Some(&mut self.callback),
            Source::Alphabet
            | Source::Segments
            | Source::TemplateId
            | Source::TemplateValues
            | Source::TemplateFields
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

    /// The message, where it is one: one recipient with a number, one text, nothing that says it twice.
    fn message(self, binds: &mut Vec<String>, own_reference: &str) -> Result<(Option<Message>, usize), ReadError> {
        let recipients = self.to.iter().filter(|to| !to.trim().is_empty()).count();
        let Some(to) = self.to.iter().find(|to| !to.trim().is_empty()) else { return Err(ReadError::Missing("the recipient")) };
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
            let elsewhere = self.template || !binds.is_empty() || recipients > 1;
            return if elsewhere { Ok((None, recipients)) } else { Err(ReadError::Missing("the text")) };
        };
        let Ok(recipient) = Msisdn::parse(to) else { return Ok((None, recipients)) };
        if recipients > 1 || self.template {
            return Ok((None, recipients));
        }
        let said = |values: Vec<String>| values.into_iter().find(|value| !value.is_empty());
        let message = Message {
            recipient,
            text: Text::new(text),
            sender: said(self.sender),
            reference: said(self.reference).unwrap_or_else(|| own_reference.to_owned()),
            validity: said(self.validity)
                .and_then(|value| whole(&Value::String(value)))
                .and_then(|ms| u64::try_from(ms).ok())
                .map(Duration::from_millis),
            callback: said(self.callback),
            template: None,
        };
        Ok((Some(message), recipients))
    }
}

/// Filters backwards, from the last to the first.
fn undo(hole: &Hole, value: Value) -> Undone {
    let mut value = value;
    for filter in hole.filters.iter().rev() {
        match filter.undo(value) {
            Undone::Value(undone) => value = undone,
            other @ (Undone::Nothing | Undone::Mismatch) => return other,
        }
    }
    Undone::Value(value)
}

impl Asked {
    /// The backend's fields, and what the path's holes held under `path`.
    pub(crate) fn of(mut tree: Value, seen: &Recognised) -> Self {
        if let Value::Object(map) = &mut tree {
            let path = seen.path.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            map.insert("path".into(), Value::Object(path.collect()));
        }
        Self { tree }
    }
}
