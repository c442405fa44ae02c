//! A spanned string or table of the file compiled: templates, paths, patterns, causes, fields,
//! responses. Each reports its errors into the sink, at their place, and continues.

use regex::Regex;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::dialect::expr::path::{FlatKeys, JsonPath};
use crate::dialect::expr::template::{StringTemplate, SyntaxError, to_text};
use crate::dialect::load::holes::HolePlace;
use crate::dialect::load::parse::ProblemSink;
use crate::dialect::load::raw::{self, SpannedText};
use crate::dialect::model::bodies::{AcceptedBodies, BodyKind};
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{
    BodyEncoding, FieldMapping, FieldValue, RequestTemplate, ResponseTemplate,
};
use crate::problem::suggest;
use crate::sms::Cause;

/// Underlines the error inside the string, after its quote; a string with escapes is underlined whole.
fn report_syntax_error(text: &SpannedText, fault: SyntaxError, sink: &mut ProblemSink) {
    let span = text.span();
    let inner = span.start + 1 + fault.offset;
    let plain = span.len() == text.get_ref().len() + 2;
    let span = if plain && inner < span.end {
        inner..span.end - 1
    } else {
        span
    };
    sink.error(Some(span), fault.message, fault.help);
}

pub(crate) fn template(text: &SpannedText, sink: &mut ProblemSink) -> Option<StringTemplate> {
    StringTemplate::parse(text.get_ref())
        .map_err(|problem| report_syntax_error(text, problem, sink))
        .ok()
}

/// A template whose holes can all have a value in this place.
pub(crate) fn template_in(
    place: HolePlace,
    text: &SpannedText,
    sink: &mut ProblemSink,
) -> Option<StringTemplate> {
    let template = template(text, sink)?;
    place.check(&template, &text.span(), sink);
    Some(template)
}

pub(crate) fn json_path(
    text: &SpannedText,
    flat: FlatKeys,
    sink: &mut ProblemSink,
) -> Option<JsonPath> {
    JsonPath::parse(text.get_ref(), flat)
        .map_err(|problem| report_syntax_error(text, problem, sink))
        .ok()
}

/// A path in a JSON body, if the key is present.
pub(crate) fn optional_path(
    text: Option<&SpannedText>,
    sink: &mut ProblemSink,
) -> Option<JsonPath> {
    json_path(text?, FlatKeys(false), sink)
}

pub(crate) fn json_paths(
    texts: &[SpannedText],
    flat: FlatKeys,
    sink: &mut ProblemSink,
) -> Vec<JsonPath> {
    texts
        .iter()
        .filter_map(|text| json_path(text, flat, sink))
        .collect()
}

pub(crate) fn endpoint(
    place: HolePlace,
    text: &SpannedText,
    sink: &mut ProblemSink,
) -> Option<Endpoint> {
    let endpoint = Endpoint::parse(text.get_ref())
        .map_err(|problem| report_syntax_error(text, problem, sink))
        .ok()?;
    place.check_sources(endpoint.sources(), &text.span(), sink);
    Some(endpoint)
}

pub(crate) fn regex(text: &SpannedText, sink: &mut ProblemSink) -> Option<Regex> {
    if let Some(compiled) = sink.patterns.get(text.get_ref()) {
        return Some(compiled.clone());
    }
    let built = regex::RegexBuilder::new(text.get_ref())
        .size_limit(1 << 18)
        .build();
    match built {
        Ok(compiled) => {
            let known = sink.patterns.entry(text.get_ref().clone());
            Some(known.or_insert(compiled).clone())
        }
        Err(error) => {
            let line = error.to_string();
            let why = line.lines().last().unwrap_or_default();
            let why = why.trim_start_matches("error: ");
            sink.error(
                Some(text.span()),
                format!("invalid regular expression: {why}"),
                Some("see https://docs.rs/regex/latest/regex/#syntax".into()),
            );
            None
        }
    }
}

pub(crate) fn cause(text: &SpannedText, sink: &mut ProblemSink) -> Option<Cause> {
    cause_or(text, &[], sink)
}

/// A cause, where the words of `others` are allowed too; the help line lists them.
pub(crate) fn cause_or(
    text: &SpannedText,
    others: &[&str],
    sink: &mut ProblemSink,
) -> Option<Cause> {
    let found = text.get_ref().parse().ok();
    if found.is_none() {
        let mut known: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        known.extend(others);
        sink.error(
            Some(text.span()),
            format!("`{}` is not a cause", text.get_ref()),
            Some(suggest(text.get_ref(), &known)),
        );
    }
    found
}

/// The four tables of a request.
#[derive(Clone, Copy)]
pub(crate) struct RequestTables<'r> {
    pub(crate) query: &'r raw::SpannedTable,
    pub(crate) header: &'r raw::SpannedTable,
    pub(crate) form: &'r raw::SpannedTable,
    pub(crate) json: &'r raw::SpannedTable,
}

/// The fields of a request, from its four tables.
pub(crate) fn request_template(
    place: HolePlace,
    tables: &RequestTables<'_>,
    sink: &mut ProblemSink,
) -> RequestTemplate {
    let RequestTables {
        query,
        header,
        form,
        json,
    } = *tables;
    if let (false, Some((key, _))) = (form.is_empty(), json.first_key_value()) {
        sink.error(
            Some(key.span()),
            "a body is a form or JSON, not both",
            Some("remove one of them".into()),
        );
    }
    let (body, encoding) = match (form.is_empty(), json.is_empty()) {
        (false, _) => (
            fields(place, form, FlatKeys(true), true, sink),
            BodyEncoding::Form,
        ),
        (true, false) => (
            fields(place, json, FlatKeys(false), true, sink),
            BodyEncoding::Json,
        ),
        (true, true) => (Vec::new(), BodyEncoding::NoBody),
    };
    RequestTemplate {
        query: fields(place, query, FlatKeys(true), true, sink),
        header: fields(place, header, FlatKeys(true), true, sink),
        body,
        encoding,
    }
}

/// A table of paths and values, in the file's order. `whole_paths`: a table inside is a path that was not quoted.
pub(crate) fn fields(
    place: HolePlace,
    table: &raw::SpannedTable,
    flat: FlatKeys,
    whole_paths: bool,
    sink: &mut ProblemSink,
) -> Vec<FieldMapping> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut out = Vec::new();
    for (key, value) in entries {
        if whole_paths && value.get_ref().is_table() {
            let help = format!(
                "quote the whole path as one key: \"{}.…\" = …",
                key.get_ref()
            );
            sink.error(Some(key.span()), "a bare path makes a table", Some(help));
            continue;
        }
        if let Some(path) = json_path(key, flat, sink) {
            flatten_fields(place, &path, value, sink, &mut out);
        }
    }
    out
}

/// Appends the fields of a value; those of a table have its path before theirs.
fn flatten_fields(
    place: HolePlace,
    path: &JsonPath,
    value: &Spanned<toml::Value>,
    sink: &mut ProblemSink,
    out: &mut Vec<FieldMapping>,
) {
    match value.get_ref() {
        toml::Value::Table(table) if !table.is_empty() => {
            for (key, inner) in table {
                let inner = Spanned::new(value.span(), inner.clone());
                let text = format!("{}.{key}", path.text);
                if let Ok(path) = JsonPath::parse(&text, FlatKeys(false)) {
                    flatten_fields(place, &path, &inner, sink, out);
                }
            }
        }
        toml::Value::String(text) => {
            let text = Spanned::new(value.span(), text.clone());
            let template = template_in(place, &text, sink);
            out.extend(template.map(|template| mapped_template(path, template)));
        }
        other @ (toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_)) => out.push(FieldMapping {
            path: path.clone(),
            value: FieldValue::Constant(to_json(other)),
        }),
    }
}

fn mapped_template(path: &JsonPath, template: StringTemplate) -> FieldMapping {
    let constant = template.as_constant();
    let constant = constant.map(|text| FieldValue::Constant(text.into()));
    FieldMapping {
        path: path.clone(),
        value: constant.unwrap_or(FieldValue::Template(template)),
    }
}

/// The encodings that a description writes and lists.
pub(crate) fn accepted_bodies(
    written: BodyEncoding,
    listed: &[raw::RawAcceptedBody],
) -> AcceptedBodies {
    let kinds = listed.iter().map(|kind| match kind {
        raw::RawAcceptedBody::Form => BodyKind::Form,
        raw::RawAcceptedBody::Multipart => BodyKind::Multipart,
        raw::RawAcceptedBody::Json => BodyKind::Json,
        raw::RawAcceptedBody::Text => BodyKind::Text,
    });
    AcceptedBodies::new(written, &kinds.collect::<Vec<_>>())
}

pub(crate) fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(yes) => (*yes).into(),
        toml::Value::Datetime(at) => Value::String(at.to_string()),
        toml::Value::Array(items) => Value::Array(items.iter().map(to_json).collect()),
        toml::Value::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value)))
                .collect::<Map<_, _>>(),
        ),
    }
}

pub(crate) fn response(
    place: HolePlace,
    raw: &raw::RawResponse,
    sink: &mut ProblemSink,
) -> ResponseTemplate {
    if raw
        .status
        .as_ref()
        .is_some_and(|status| *status.get_ref() == 401)
    {
        sink.error(
            raw.status.as_ref().map(Spanned::span),
            "a reply may not have the status 401",
            Some(
                "write another status: the backend would read a 401 as its own rejected login"
                    .into(),
            ),
        );
    }
    let parts = ResponseTables {
        json: &raw.json,
        text: raw.text.as_ref(),
        header: &raw.header,
    };
    ResponseTemplate {
        status: raw.status.as_ref().map(|status| *status.get_ref()),
        ..response_template(place, &parts, sink)
    }
}

/// The reply to an operation that needs no choice: nothing in the request selects it.
pub(crate) fn answer(
    place: HolePlace,
    raw: &raw::RawResponse,
    sink: &mut ProblemSink,
) -> ResponseTemplate {
    if let Some((name, _)) = raw.queried.iter().next() {
        sink.error(
            Some(name.span()),
            "`queried` has no effect here",
            Some("remove it: only [[send.success]] chooses by the request".into()),
        );
    }
    response(place, raw, sink)
}

/// The parts of a reply that hold templates.
#[derive(Clone, Copy)]
pub(crate) struct ResponseTables<'r> {
    pub(crate) json: &'r raw::SpannedTable,
    pub(crate) text: Option<&'r SpannedText>,
    pub(crate) header: &'r raw::SpannedTable,
}

pub(crate) fn response_template(
    place: HolePlace,
    parts: &ResponseTables<'_>,
    sink: &mut ProblemSink,
) -> ResponseTemplate {
    let ResponseTables { json, text, header } = *parts;
    let header = header.iter().filter_map(|(name, value)| {
        let text = value.get_ref().as_str().unwrap_or_default().to_owned();
        Some((
            name.get_ref().clone(),
            template_in(place, &Spanned::new(value.span(), text), sink)?,
        ))
    });
    let header = header.collect();
    ResponseTemplate {
        status: None,
        json: fields(place, json, FlatKeys(false), false, sink),
        text: text.and_then(|text| template_in(place, text, sink)),
        header,
    }
}

pub(crate) fn queried_fields(table: &raw::SpannedTable) -> Vec<(String, String)> {
    table
        .iter()
        .map(|(name, value)| (name.get_ref().clone(), to_text(&to_json(value.get_ref()))))
        .collect()
}
