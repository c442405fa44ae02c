//! `[send]`: what is written, how replies are classified, what the backend gets.

use std::collections::BTreeMap;

use http::Method;
use toml::Spanned;

use crate::dialect::expr::path::{FlatKeys, JsonPath};
use crate::dialect::load::compile;
use crate::dialect::load::compile_reply;
use crate::dialect::load::holes::HolePlace;
use crate::dialect::load::parse::{ProblemSink, Section};
use crate::dialect::load::raw;
use crate::dialect::load::spans::SendSpans;
use crate::dialect::model::codes::{CodeMapping, CodeTable};
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{
    BodyEncoding, Classifier, DigestSpec, FailureCode, FailureResponse, FieldMapping,
    HashAlgorithm, IdempotencyField, KeyedList, MessageLimits, ReplyRule, RequestTemplate,
    SendSpec, SuccessResponse,
};
use crate::problem::suggest;
use crate::sms::Cause;

/// `[send]` compiled, and where its parts are.
#[derive(Default)]
pub(crate) struct CompiledSend {
    /// None: an error leaves nothing to work with.
    pub(crate) spec: Option<SendSpec>,
    pub(crate) spans: SendSpans,
}

pub(crate) fn compile_send(top: &mut Section<'_>, sink: &mut ProblemSink) -> CompiledSend {
    let Some(mut section) = top.take_section("send", sink) else {
        let help = "describe the send: [send] with endpoint = \"POST /send\"";
        sink.error(None, "`[send]` is missing", Some(help.into()));
        return CompiledSend::default();
    };
    let mut spans = SendSpans::default();
    let endpoint = take_endpoint(&mut section, &mut spans, sink);
    let mappings = take_mappings(&mut section, &mut spans, sink);
    let flat = FlatKeys(mappings.fields.encoding != BodyEncoding::Json);
    let classifier = take_classifier(&mut section, &mut spans, sink);
    let responses = take_responses(&mut section, &mut spans, sink);
    let idempotency = take_idempotency(&mut section, &classifier, sink);
    let accepted: Vec<raw::RawAcceptedBody> = section.take_or_default("accepts", sink);
    let digests = take_digests(&mut section, sink);
    let limits: Option<Spanned<raw::RawMessageLimits>> = section.take("limits", sink);
    let required_values: BTreeMap<String, String> = section.take_or_default("where", sink);
    let required_fields = section.take_or_default("needs", sink);
    let other_recipients = section.take_or_default("other_recipients", sink);
    let droppable = take_paths(&mut section, "droppable", flat, sink);
    let dropped = take_paths(&mut section, "dropped", flat, sink);
    let keyed = take_keyed_lists(&mut section, mappings.fields.encoding, sink);
    let secondary = take_secondary(&mut section, &mappings.fields, sink);
    section.finish(sink);
    let accepts = compile::accepted_bodies(mappings.fields.encoding, &accepted);
    let spec = endpoint.map(|endpoint| SendSpec {
        fields: move_form_to_query(mappings.fields, &endpoint.methods),
        endpoint,
        required_values: required_values.into_iter().collect(),
        required_fields,
        limits: limits
            .map(|raw| message_limits(raw.into_inner()))
            .unwrap_or_default(),
        droppable,
        dropped,
        also_reads: mappings.also_reads,
        keyed,
        secondary,
        other_recipients,
        accepts,
        digests,
        classifier,
        success: responses.success,
        failure: responses.failure,
        idempotency,
    });
    CompiledSend { spec, spans }
}

fn take_endpoint(
    section: &mut Section<'_>,
    spans: &mut SendSpans,
    sink: &mut ProblemSink,
) -> Option<Endpoint> {
    let Some(text) = section.take::<String>("endpoint", sink) else {
        sink.error(
            None,
            "`send.endpoint` is missing",
            Some("write it like endpoint = \"POST /send\"".into()),
        );
        return None;
    };
    spans.send = Some(text.span());
    compile::endpoint(HolePlace::SendEndpoint, &text, sink)
}

fn take_paths(
    section: &mut Section<'_>,
    key: &'static str,
    flat: FlatKeys,
    sink: &mut ProblemSink,
) -> Vec<JsonPath> {
    let texts: Vec<Spanned<String>> = section.take_or_default(key, sink);
    compile::json_paths(&texts, flat, sink)
}

fn take_keyed_lists(
    section: &mut Section<'_>,
    encoding: BodyEncoding,
    sink: &mut ProblemSink,
) -> Vec<KeyedList> {
    let texts: Vec<Spanned<String>> = section.take_or_default("keyed", sink);
    let parse = |text: &Spanned<String>| {
        let (prefix, key) = text.get_ref().split_once(".*.")?;
        let is_form = matches!(encoding, BodyEncoding::Form | BodyEncoding::Multipart);
        let is_one = !prefix.is_empty() && !key.is_empty() && !key.contains('*');
        (is_form && is_one && !prefix.contains('*')).then(|| KeyedList {
            prefix: prefix.to_owned(),
            key: key.to_owned(),
        })
    };
    let mut lists = Vec::new();
    for text in &texts {
        match parse(text) {
            Some(list) => lists.push(list),
            None => sink.error(
                Some(text.span()),
                "not a list of a form",
                Some("write the field that names an entry, with `*` for its position: \"entry.*.Name\"; it needs [send.form]".into()),
            ),
        }
    }
    lists
}

fn take_secondary(
    section: &mut Section<'_>,
    fields: &RequestTemplate,
    sink: &mut ProblemSink,
) -> Vec<String> {
    let names: Vec<Spanned<String>> = section.take_or_default("secondary", sink);
    let mapped: Vec<&str> = fields
        .mappings()
        .map(|field| field.path.text.as_str())
        .collect();
    for name in names
        .iter()
        .filter(|name| !mapped.contains(&name.get_ref().as_str()))
    {
        let help = suggest(name.get_ref(), &mapped);
        sink.error(Some(name.span()), "no such field in [send]", Some(help));
    }
    names.into_iter().map(Spanned::into_inner).collect()
}

fn take_digests(section: &mut Section<'_>, sink: &mut ProblemSink) -> Vec<DigestSpec> {
    section
        .take_entries("digest", sink)
        .into_iter()
        .filter_map(|(name, raw)| compile_digest(&name, &raw, sink))
        .collect()
}

/// What the backend gets.
struct Responses {
    success: Vec<SuccessResponse>,
    failure: FailureResponse,
}

fn take_responses(
    section: &mut Section<'_>,
    spans: &mut SendSpans,
    sink: &mut ProblemSink,
) -> Responses {
    let success: Vec<Spanned<raw::RawResponse>> = section.take_list("success", sink);
    spans.success = success.iter().map(Spanned::span).collect();
    let success = success
        .iter()
        .map(|raw| SuccessResponse {
            queried: compile::queried_fields(&raw.get_ref().queried),
            response: compile::response(HolePlace::Success, raw.get_ref(), sink),
        })
        .collect();
    let has_failure = section.has("failure");
    let failure: Option<Spanned<raw::RawFailureResponse>> = section.take("failure", sink);
    if !has_failure {
        sink.error(
            spans.send.clone(),
            "`[send.failure]` is missing",
            Some("write what the backend gets when the send fails".into()),
        );
    }
    Responses {
        success,
        failure: failure
            .map(|raw| compile_failure(&raw, sink))
            .unwrap_or_default(),
    }
}

/// A service that uses GET has its form in the query.
fn move_form_to_query(mut fields: RequestTemplate, methods: &[Method]) -> RequestTemplate {
    if methods.first() == Some(&Method::GET) && matches!(fields.encoding, BodyEncoding::Form) {
        fields.query.append(&mut fields.body);
        fields.encoding = BodyEncoding::NoBody;
    }
    fields
}

/// The codes for a reused idempotency key must be mapped to `duplicate`.
fn take_idempotency(
    section: &mut Section<'_>,
    classifier: &Classifier,
    sink: &mut ProblemSink,
) -> Option<IdempotencyField> {
    let raw: Spanned<raw::RawIdempotency> = section.take("idempotency", sink)?;
    let raw = raw.into_inner();
    for value in &raw.duplicate_codes {
        if classifier.codes.cause(&compile::to_json(value.get_ref())) != Some(Cause::Duplicate) {
            sink.error(
                Some(value.span()),
                "this code is not a `duplicate` in [send.codes]",
                Some("list it there: the service returns it for a repeated key".into()),
            );
        }
    }
    Some(IdempotencyField {
        field: raw.field.into_inner(),
    })
}

fn message_limits(raw: raw::RawMessageLimits) -> MessageLimits {
    MessageLimits {
        text: raw.text,
        recipients: raw.recipients,
        batch: raw.batch,
    }
}

/// The field maps of the send.
struct Mappings {
    fields: RequestTemplate,
    also_reads: Vec<FieldMapping>,
}

fn take_mappings(
    section: &mut Section<'_>,
    spans: &mut SendSpans,
    sink: &mut ProblemSink,
) -> Mappings {
    let before = sink.problems.len();
    let query = take_table(section, "query", spans, sink);
    let header = take_table(section, "header", spans, sink);
    let form = take_table(section, "form", spans, sink);
    let json = take_table(section, "json", spans, sink);
    let also_reads = take_table(section, "also_reads", spans, sink);
    let tables = compile::RequestTables {
        query: &query,
        header: &header,
        form: &form,
        json: &json,
    };
    let mut fields = compile::request_template(HolePlace::Send, &tables, sink);
    let flat = FlatKeys(fields.encoding != BodyEncoding::Json);
    let also_reads = compile::fields(HolePlace::Send, &also_reads, flat, true, sink);
    if let Some(encoding) = section.take("encoding", sink) {
        fields.encoding = form_encoding(fields.encoding, &encoding, sink);
    }
    spans.has_errors = sink.problems.len() > before;
    Mappings { fields, also_reads }
}

fn take_table(
    section: &mut Section<'_>,
    key: &'static str,
    spans: &mut SendSpans,
    sink: &mut ProblemSink,
) -> raw::SpannedTable {
    let table: raw::SpannedTable = section.take_or_default(key, sink);
    spans.fields.extend(
        table
            .iter()
            .map(|(name, value)| (name.get_ref().clone(), value.span())),
    );
    table
}

/// The encoding of a form as `encoding` sets it; other bodies keep theirs.
fn form_encoding(
    body: BodyEncoding,
    encoding: &Spanned<raw::RawFormEncoding>,
    sink: &mut ProblemSink,
) -> BodyEncoding {
    match (body, encoding.get_ref()) {
        (BodyEncoding::Form, raw::RawFormEncoding::Multipart) => BodyEncoding::Multipart,
        (BodyEncoding::Form, raw::RawFormEncoding::Urlencoded) => BodyEncoding::Form,
        (BodyEncoding::NoBody | BodyEncoding::Json | BodyEncoding::Multipart, _) => {
            sink.error(
                Some(encoding.span()),
                "`encoding` is for forms",
                Some("describe the fields under [send.form]".into()),
            );
            body
        }
    }
}

fn take_classifier(
    section: &mut Section<'_>,
    spans: &mut SendSpans,
    sink: &mut ProblemSink,
) -> Classifier {
    let raw: Vec<Spanned<raw::RawReplyRule>> = section.take_list("rules", sink);
    let mut rules: Vec<ReplyRule> = Vec::new();
    for raw in raw {
        if let Some(rule) = compile_reply::rule(&raw, sink) {
            rules.push(rule);
            spans.rules.push(raw.span());
        }
    }
    Classifier {
        rules,
        codes: take_codes(section, sink),
    }
}

fn take_codes(section: &mut Section<'_>, sink: &mut ProblemSink) -> CodeTable {
    let mut entries = Vec::new();
    for (name, values) in section.take_entries::<raw::SpannedValues>("codes", sink) {
        let Some(cause) = compile::cause(&name, sink) else {
            continue;
        };
        for value in values {
            if let Some(test) = compile_reply::code(&value, sink) {
                entries.push(CodeMapping {
                    test,
                    cause,
                    inherited: sink.is_inherited(&value.span()),
                    span: value.span(),
                });
            }
        }
    }
    CodeTable::new(entries)
}

fn compile_failure(
    raw: &Spanned<raw::RawFailureResponse>,
    sink: &mut ProblemSink,
) -> FailureResponse {
    let span = raw.span();
    let raw = raw.get_ref();
    let parts = compile::ResponseTables {
        json: &raw.json,
        text: raw.text.as_ref(),
        header: &raw.header,
    };
    let mut failure = FailureResponse {
        response: compile::response_template(HolePlace::Failure, &parts, sink),
        ..FailureResponse::default()
    };
    let mut default = None;
    for (name, line) in &raw.codes {
        let code = failure_code(line, sink);
        if name.get_ref() == "default" {
            default = Some(code);
        } else if let Some(cause) = compile::cause_or(name, &["default"], sink) {
            failure.codes.push((cause, code));
        }
    }
    match &default {
        Some(line) if line.status == 503 => {}
        Some(_) => sink.error(
            Some(span),
            "`default` must have the status 503",
            Some("503 says that nothing was sent; in doubt the sidecar returns 504".into()),
        ),
        None => sink.error(
            Some(span),
            "`default` is missing in [send.failure.codes]",
            Some("add default = { status = 503, code = … }".into()),
        ),
    }
    failure.default = default.unwrap_or_default();
    failure
}

fn failure_code(line: &raw::RawFailureCode, sink: &mut ProblemSink) -> FailureCode {
    let status = *line.status.get_ref();
    if status == 401 || !(200..=599).contains(&status) {
        sink.error(
            Some(line.status.span()),
            "a reply may not have this status",
            Some(
                "use 200 to 599, but not 401: the backend would read it as its own rejected login"
                    .into(),
            ),
        );
    }
    FailureCode {
        status,
        code: line.code.as_ref().map(compile::to_json),
    }
}

fn compile_digest(
    name: &Spanned<String>,
    raw: &raw::RawDigest,
    sink: &mut ProblemSink,
) -> Option<DigestSpec> {
    let key = raw
        .key
        .as_ref()
        .and_then(|text| compile::template_in(HolePlace::Digest, text, sink));
    let with = match (raw.with, key) {
        (raw::RawHashAlgorithm::Md5, None) => HashAlgorithm::Md5,
        (raw::RawHashAlgorithm::Sha256, None) => HashAlgorithm::Sha256,
        (raw::RawHashAlgorithm::HmacSha256, Some(key)) => HashAlgorithm::HmacSha256(key),
        (raw::RawHashAlgorithm::HmacSha256, None)
        | (raw::RawHashAlgorithm::Md5 | raw::RawHashAlgorithm::Sha256, Some(_)) => {
            sink.error(
                Some(name.span()),
                "`key` goes with hmac-sha256, and only with it",
                Some("add a `key` to hmac-sha256; remove it from the others".into()),
            );
            return None;
        }
    };
    Some(DigestSpec {
        name: name.get_ref().clone(),
        input: compile::template_in(HolePlace::Digest, &raw.of, sink)?,
        algorithm: with,
        base64: matches!(raw.out, raw::DigestEncoding::Base64),
    })
}
