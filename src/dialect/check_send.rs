//! `[send]` put together from its pieces: what is written, how replies are judged, what
//! the backend is told.

use std::ops::Range;

use http::Method;
use toml::Spanned;

use crate::dialect::check::request_fields;
use crate::dialect::code::{Codes, Entry};
use crate::dialect::compile;
use crate::dialect::load::{Section, Sink};
use crate::dialect::place::{Flat, Place};
use crate::dialect::raw;
use crate::dialect::shape::{DigestSpec, Encode, Failure, Fields, Hash, Judge, Limits, Line, Repeat, Rule, Send, Success};
use crate::sms::Cause;

/// Where the parts of `[send]` stand, for the checks of the whole.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) rules: Vec<Range<usize>>,
    pub(crate) fields: Vec<(String, Range<usize>)>,
    pub(crate) success: Vec<Range<usize>>,
    pub(crate) send: Option<Range<usize>>,
    /// A field was complained about and left out: that nothing holds its source is a consequence.
    pub(crate) lost: bool,
}

pub(crate) fn send(top: &mut Section<'_>, sink: &mut Sink) -> (Option<Send>, Spans) {
    let Some(mut section) = top.section("send", sink) else {
        sink.error(None, "`[send]` is missing", None);
        return (None, Spans::default());
    };
    let call: Option<Spanned<String>> = section.take("call", sink);
    let mut spans = Spans { send: call.as_ref().map(Spanned::span), ..Spans::default() };
    let before = sink.problems.len();
    let (fields, reads) = mapped(&mut section, &mut spans, sink);
    spans.lost = sink.problems.len() > before;
    let flat = Flat(fields.encode != Encode::Json);
    let judge = judge(&mut section, &mut spans, sink);
    let success: Vec<Spanned<raw::Told>> = section.list("success", sink);
    spans.success = success.iter().map(Spanned::span).collect();
    let success = success
        .iter()
        .map(|raw| Success { asked: compile::asked(&raw.get_ref().asked), told: compile::told(raw.get_ref(), sink) })
        .collect();
    let failure = section.take("failure", sink).map(|raw: Spanned<raw::Failure>| failure(&raw, sink));
    let repeat: Option<Spanned<raw::Repeat>> = section.take("repeat", sink);
    let takes: Option<Spanned<Vec<raw::Takes>>> = section.take("takes", sink);
    if let Some(repeat) = &repeat {
        repeated(repeat.get_ref(), &judge, sink);
    }
    let digests = section.entries("digest", sink).into_iter().filter_map(|(name, raw)| digest(&name, &raw, sink)).collect();
    let limits: Option<Spanned<raw::Limits>> = section.take("limits", sink);
    let matching: Option<Spanned<std::collections::BTreeMap<String, String>>> = section.take("match", sink);
    let needs: Option<Spanned<Vec<String>>> = section.take("needs", sink);
    let mut list = |key, sink: &mut Sink| -> Vec<Place> {
        let texts: Option<Spanned<Vec<Spanned<String>>>> = section.take(key, sink);
        compile::places(&texts.map(Spanned::into_inner).unwrap_or_default(), flat, sink)
    };
    let (may_drop, drops) = (list("may_drop", sink), list("drops", sink));
    section.end(sink);
    let Some(call) = call else {
        sink.error(None, "`send.call` is missing", Some("like call = \"POST /send\"".into()));
        return (None, spans);
    };
    let Some(call) = compile::call(&call, sink) else { return (None, spans) };
    if failure.is_none() {
        sink.error(spans.send.clone(), "`[send.failure]` is missing: a backend must be told of a failure in this dialect", None);
    }
    let send = Send {
        fields: with_get(fields, &call.methods),
        call,
        matching: matching.map(|map| map.into_inner().into_iter().collect()).unwrap_or_default(),
        needs: needs.map(Spanned::into_inner).unwrap_or_default(),
        limits: limits.map(|raw| limits_of(raw.into_inner())).unwrap_or_default(),
        may_drop,
        drops,
        reads,
        takes_json: takes.is_some_and(|takes| takes.get_ref().contains(&raw::Takes::Json)),
        digests,
        judge,
        success,
        failure: failure.unwrap_or_default(),
        repeat: repeat.map(|raw| Repeat { field: raw.into_inner().field.into_inner() }),
    };
    (Some(send), spans)
}

/// A service that is called by GET carries its form in the query.
fn with_get(mut fields: Fields, methods: &[Method]) -> Fields {
    if methods.first() == Some(&Method::GET) && matches!(fields.encode, Encode::Form) {
        fields.query.append(&mut fields.body);
        fields.encode = Encode::Nothing;
    }
    fields
}

/// What a service says to a repeat under its own key must be known as one.
fn repeated(repeat: &raw::Repeat, judge: &Judge, sink: &mut Sink) {
    for value in &repeat.again {
        if judge.codes.cause(&compile::json(value.get_ref())) != Some(Cause::Duplicate) {
            sink.error(
                Some(value.span()),
                "this code is no `duplicate` in [send.codes]",
                Some("`again` is what the service says to a repeat".into()),
            );
        }
    }
}

fn limits_of(raw: raw::Limits) -> Limits {
    Limits { text: raw.text, recipients: raw.recipients, batch: raw.batch }
}

fn mapped(section: &mut Section<'_>, spans: &mut Spans, sink: &mut Sink) -> (Fields, Vec<crate::dialect::shape::Field>) {
    let mut table = |key, sink: &mut Sink| -> raw::Table {
        let found: Option<Spanned<raw::Table>> = section.take(key, sink);
        let table = found.map(Spanned::into_inner).unwrap_or_default();
        spans.fields.extend(table.iter().map(|(name, value)| (name.get_ref().clone(), value.span())));
        table
    };
    let (query, header) = (table("query", sink), table("header", sink));
    let (form, json, reads) = (table("form", sink), table("json", sink), table("reads", sink));
    let mut fields = request_fields(&query, &header, &form, &json, sink);
    let reads = compile::fields(&reads, Flat(fields.encode != Encode::Json), true, sink);
    let encoding: Option<Spanned<raw::Encoding>> = section.take("encoding", sink);
    if let Some(encoding) = encoding {
        match (fields.encode, encoding.get_ref()) {
            (Encode::Form, raw::Encoding::Multipart) => fields.encode = Encode::Multipart,
            (Encode::Form | Encode::Multipart, raw::Encoding::Urlencoded) => fields.encode = Encode::Form,
            (Encode::Nothing | Encode::Json | Encode::Multipart, _) => {
                sink.error(Some(encoding.span()), "`encoding` is for forms", Some("describe the fields under [send.form]".into()));
            }
        }
    }
    (fields, reads)
}

fn judge(section: &mut Section<'_>, spans: &mut Spans, sink: &mut Sink) -> Judge {
    let raw: Vec<Spanned<raw::Rule>> = section.list("rules", sink);
    let mut rules: Vec<Rule> = Vec::new();
    for raw in raw {
        if let Some(rule) = compile::rule(&raw, sink) {
            rules.push(rule);
            spans.rules.push(raw.span());
        }
    }
    let mut entries = Vec::new();
    for (name, values) in section.entries::<raw::Values>("codes", sink) {
        let Some(cause) = compile::cause(&name, sink) else { continue };
        for value in values {
            if let Some(test) = compile::code(&value, sink) {
                entries.push(Entry { test, cause, inherited: sink.inherited(&value.span()), span: value.span() });
            }
        }
    }
    Judge { rules, codes: Codes::new(entries) }
}

fn failure(raw: &Spanned<raw::Failure>, sink: &mut Sink) -> Failure {
    let span = raw.span();
    let raw = raw.get_ref();
    let mut failure = Failure { told: compile::body(None, &raw.json, raw.text.as_ref(), &raw.header, sink), ..Failure::default() };
    let mut otherwise = None;
    for (name, line) in &raw.codes {
        let read = Line { status: *line.status.get_ref(), code: line.code.as_ref().map(compile::json) };
        if read.status == 401 || !(200..=599).contains(&read.status) {
            let help = "the backend would take a 401 for its own login; 200 to 599 otherwise".to_owned();
            sink.error(Some(line.status.span()), "this status is never answered", Some(help));
        }
        if name.get_ref() == "otherwise" {
            otherwise = Some(read);
        } else if let Some(cause) = compile::cause(name, sink) {
            failure.lines.push((cause, read));
        }
    }
    match otherwise {
        Some(line) => {
            if line.status != 503 {
                sink.error(
                    Some(span),
                    "`otherwise` has the status 503",
                    Some("it says that nothing was sent; 504 takes its place in doubt".into()),
                );
            }
            failure.otherwise = line;
        }
        None => {
            sink.error(Some(span), "`otherwise` is missing in [send.failure.codes]", Some("otherwise = { status = 503, code = … }".into()));
        }
    }
    failure
}

fn digest(name: &Spanned<String>, raw: &raw::Digest, sink: &mut Sink) -> Option<DigestSpec> {
    let key = raw.key.as_ref().and_then(|text| compile::template(text, sink));
    let with = match (raw.with, key) {
        (raw::Hash::Md5, None) => Hash::Md5,
        (raw::Hash::Sha256, None) => Hash::Sha256,
        (raw::Hash::HmacSha256, Some(key)) => Hash::HmacSha256(key),
        (raw::Hash::HmacSha256, None) | (raw::Hash::Md5 | raw::Hash::Sha256, Some(_)) => {
            sink.error(Some(name.span()), "`key` goes with hmac-sha256, and only with it", None);
            return None;
        }
    };
    Some(DigestSpec {
        name: name.get_ref().clone(),
        of: compile::template(&raw.of, sink)?,
        with,
        base64: matches!(raw.out, raw::Out::Base64),
    })
}
