//! `[send]` put together from its pieces: what is written, how replies are judged, what
//! the backend is told.

use std::ops::Range;

use http::Method;
use toml::Spanned;

use crate::dialect::expr::path::{FlatKeys, JsonPath};
use crate::dialect::load::build::request_template;
use crate::dialect::load::compile;
use crate::dialect::load::parse::{ProblemSink, Section};
use crate::dialect::load::raw;
use crate::dialect::model::codes::{CodeMapping, CodeTable};
use crate::dialect::model::{
    BodyEncoding, Classifier, DigestSpec, FailureCode, FailureResponse, HashAlgorithm,
    IdempotencyField, MessageLimits, ReplyRule, RequestTemplate, SendSpec, SuccessResponse,
};
use crate::sms::Cause;

/// Where the parts of `[send]` stand, for the checks of the whole.
#[derive(Debug, Default)]
pub(crate) struct SendSpans {
    pub(crate) rules: Vec<Range<usize>>,
    pub(crate) fields: Vec<(String, Range<usize>)>,
    pub(crate) success: Vec<Range<usize>>,
    pub(crate) send: Option<Range<usize>>,
    /// A field was complained about and left out: that nothing holds its source is a consequence.
    pub(crate) has_errors: bool,
}

pub(crate) fn compile_send(
    top: &mut Section<'_>,
    sink: &mut ProblemSink,
) -> (Option<SendSpec>, SendSpans) {
    let Some(mut section) = top.take_section("send", sink) else {
        sink.error(None, "`[send]` is missing", None);
        return (None, SendSpans::default());
    };
    let call: Option<Spanned<String>> = section.take("endpoint", sink);
    let mut spans = SendSpans {
        send: call.as_ref().map(Spanned::span),
        ..SendSpans::default()
    };
    let before = sink.problems.len();
    let (fields, reads) = take_mappings(&mut section, &mut spans, sink);
    spans.has_errors = sink.problems.len() > before;
    let flat = FlatKeys(fields.encoding != BodyEncoding::Json);
    let judge = take_classifier(&mut section, &mut spans, sink);
    let success: Vec<Spanned<raw::RawResponse>> = section.take_list("success", sink);
    spans.success = success.iter().map(Spanned::span).collect();
    let success = success
        .iter()
        .map(|raw| SuccessResponse {
            queried: compile::queried_fields(&raw.get_ref().queried),
            response: compile::response(raw.get_ref(), sink),
        })
        .collect();
    let failure = section
        .take("failure", sink)
        .map(|raw: Spanned<raw::RawFailureResponse>| compile_failure(&raw, sink));
    let repeat: Option<Spanned<raw::RawIdempotency>> = section.take("idempotency", sink);
    let takes: Option<Spanned<Vec<raw::RawAcceptedBody>>> = section.take("accepts", sink);
    if let Some(repeat) = &repeat {
        check_idempotency(repeat.get_ref(), &judge, sink);
    }
    let digests = section
        .take_entries("digest", sink)
        .into_iter()
        .filter_map(|(name, raw)| compile_digest(&name, &raw, sink))
        .collect();
    let limits: Option<Spanned<raw::RawMessageLimits>> = section.take("limits", sink);
    let matching: Option<Spanned<std::collections::BTreeMap<String, String>>> =
        section.take("where", sink);
    let needs: Option<Spanned<Vec<String>>> = section.take("needs", sink);
    let mut list = |key, sink: &mut ProblemSink| -> Vec<JsonPath> {
        let texts: Option<Spanned<Vec<Spanned<String>>>> = section.take(key, sink);
        compile::json_paths(
            &texts.map(Spanned::into_inner).unwrap_or_default(),
            flat,
            sink,
        )
    };
    let (may_drop, drops) = (list("droppable", sink), list("dropped", sink));
    section.finish(sink);
    let Some(call) = call else {
        sink.error(
            None,
            "`send.endpoint` is missing",
            Some("like endpoint = \"POST /send\"".into()),
        );
        return (None, spans);
    };
    let Some(call) = compile::endpoint(&call, sink) else {
        return (None, spans);
    };
    if failure.is_none() {
        sink.error(
            spans.send.clone(),
            "`[send.failure]` is missing: a backend must be told of a failure in this dialect",
            None,
        );
    }
    let send = SendSpec {
        fields: move_form_to_query(fields, &call.methods),
        endpoint: call,
        required_values: matching
            .map(|map| map.into_inner().into_iter().collect())
            .unwrap_or_default(),
        required_fields: needs.map(Spanned::into_inner).unwrap_or_default(),
        limits: limits
            .map(|raw| message_limits(raw.into_inner()))
            .unwrap_or_default(),
        droppable: may_drop,
        dropped: drops,
        also_reads: reads,
        accepts_json: takes
            .is_some_and(|takes| takes.get_ref().contains(&raw::RawAcceptedBody::Json)),
        digests,
        classifier: judge,
        success,
        failure: failure.unwrap_or_default(),
        idempotency: repeat.map(|raw| IdempotencyField {
            field: raw.into_inner().field.into_inner(),
        }),
    };
    (Some(send), spans)
}

/// A service that is called by GET carries its form in the query.
fn move_form_to_query(mut fields: RequestTemplate, methods: &[Method]) -> RequestTemplate {
    if methods.first() == Some(&Method::GET) && matches!(fields.encoding, BodyEncoding::Form) {
        fields.query.append(&mut fields.body);
        fields.encoding = BodyEncoding::NoBody;
    }
    fields
}

/// What a service says to a repeat under its own key must be known as one.
fn check_idempotency(repeat: &raw::RawIdempotency, judge: &Classifier, sink: &mut ProblemSink) {
    for value in &repeat.duplicate_codes {
        if judge.codes.cause(&compile::to_json(value.get_ref())) != Some(Cause::Duplicate) {
            sink.error(
                Some(value.span()),
                "this code is no `duplicate` in [send.codes]",
                Some("`duplicate_codes` is what the service answers to a repeated key".into()),
            );
        }
    }
}

fn message_limits(raw: raw::RawMessageLimits) -> MessageLimits {
    MessageLimits {
        text: raw.text,
        recipients: raw.recipients,
        batch: raw.batch,
    }
}

fn take_mappings(
    section: &mut Section<'_>,
    spans: &mut SendSpans,
    sink: &mut ProblemSink,
) -> (RequestTemplate, Vec<crate::dialect::model::FieldMapping>) {
    let mut table = |key, sink: &mut ProblemSink| -> raw::SpannedTable {
        let found: Option<Spanned<raw::SpannedTable>> = section.take(key, sink);
        let table = found.map(Spanned::into_inner).unwrap_or_default();
        spans.fields.extend(
            table
                .iter()
                .map(|(name, value)| (name.get_ref().clone(), value.span())),
        );
        table
    };
    let (query, header) = (table("query", sink), table("header", sink));
    let (form, json, reads) = (
        table("form", sink),
        table("json", sink),
        table("also_reads", sink),
    );
    let mut fields = request_template(&query, &header, &form, &json, sink);
    let reads = compile::fields(
        &reads,
        FlatKeys(fields.encoding != BodyEncoding::Json),
        true,
        sink,
    );
    let encoding: Option<Spanned<raw::RawFormEncoding>> = section.take("encoding", sink);
    if let Some(encoding) = encoding {
        match (fields.encoding, encoding.get_ref()) {
            (BodyEncoding::Form, raw::RawFormEncoding::Multipart) => {
                fields.encoding = BodyEncoding::Multipart;
            }
            (BodyEncoding::Form | BodyEncoding::Multipart, raw::RawFormEncoding::Urlencoded) => {
                fields.encoding = BodyEncoding::Form;
            }
            (BodyEncoding::NoBody | BodyEncoding::Json | BodyEncoding::Multipart, _) => {
                sink.error(
                    Some(encoding.span()),
                    "`encoding` is for forms",
                    Some("describe the fields under [send.form]".into()),
                );
            }
        }
    }
    (fields, reads)
}

fn take_classifier(
    section: &mut Section<'_>,
    spans: &mut SendSpans,
    sink: &mut ProblemSink,
) -> Classifier {
    let raw: Vec<Spanned<raw::RawReplyRule>> = section.take_list("rules", sink);
    let mut rules: Vec<ReplyRule> = Vec::new();
    for raw in raw {
        if let Some(rule) = compile::rule(&raw, sink) {
            rules.push(rule);
            spans.rules.push(raw.span());
        }
    }
    let mut entries = Vec::new();
    for (name, values) in section.take_entries::<raw::SpannedValues>("codes", sink) {
        let Some(cause) = compile::cause(&name, sink) else {
            continue;
        };
        for value in values {
            if let Some(test) = compile::code(&value, sink) {
                entries.push(CodeMapping {
                    test,
                    cause,
                    inherited: sink.is_inherited(&value.span()),
                    span: value.span(),
                });
            }
        }
    }
    Classifier {
        rules,
        codes: CodeTable::new(entries),
    }
}

fn compile_failure(
    raw: &Spanned<raw::RawFailureResponse>,
    sink: &mut ProblemSink,
) -> FailureResponse {
    let span = raw.span();
    let raw = raw.get_ref();
    let mut failure = FailureResponse {
        response: compile::response_template(None, &raw.json, raw.text.as_ref(), &raw.header, sink),
        ..FailureResponse::default()
    };
    let mut otherwise = None;
    for (name, line) in &raw.codes {
        let read = FailureCode {
            status: *line.status.get_ref(),
            code: line.code.as_ref().map(compile::to_json),
        };
        if read.status == 401 || !(200..=599).contains(&read.status) {
            let help =
                "the backend would take a 401 for its own login; 200 to 599 otherwise".to_owned();
            sink.error(
                Some(line.status.span()),
                "this status is never answered",
                Some(help),
            );
        }
        if name.get_ref() == "default" {
            otherwise = Some(read);
        } else if let Some(cause) = compile::cause_or(name, &["default"], sink) {
            failure.codes.push((cause, read));
        }
    }
    match otherwise {
        Some(line) => {
            if line.status != 503 {
                sink.error(
                    Some(span),
                    "`default` has the status 503",
                    Some("it says that nothing was sent; 504 takes its place in doubt".into()),
                );
            }
            failure.default = line;
        }
        None => {
            sink.error(
                Some(span),
                "`default` is missing in [send.failure.codes]",
                Some("default = { status = 503, code = … }".into()),
            );
        }
    }
    failure
}

fn compile_digest(
    name: &Spanned<String>,
    raw: &raw::RawDigest,
    sink: &mut ProblemSink,
) -> Option<DigestSpec> {
    let key = raw
        .key
        .as_ref()
        .and_then(|text| compile::template(text, sink));
    let with = match (raw.with, key) {
        (raw::RawHashAlgorithm::Md5, None) => HashAlgorithm::Md5,
        (raw::RawHashAlgorithm::Sha256, None) => HashAlgorithm::Sha256,
        (raw::RawHashAlgorithm::HmacSha256, Some(key)) => HashAlgorithm::HmacSha256(key),
        (raw::RawHashAlgorithm::HmacSha256, None)
        | (raw::RawHashAlgorithm::Md5 | raw::RawHashAlgorithm::Sha256, Some(_)) => {
            sink.error(
                Some(name.span()),
                "`key` goes with hmac-sha256, and only with it",
                None,
            );
            return None;
        }
    };
    Some(DigestSpec {
        name: name.get_ref().clone(),
        input: compile::template(&raw.of, sink)?,
        algorithm: with,
        base64: matches!(raw.out, raw::DigestEncoding::Base64),
    })
}
