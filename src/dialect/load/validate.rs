//! The checks of a whole description: what is mapped, declared, used and reachable, and
//! that the backend cannot read a failure as a success or as its own rejected login.

use crate::dialect::Dialect;
use crate::dialect::expr::template::{StringTemplate, ValueSource};
use crate::dialect::load::parse::ProblemSink;
use crate::dialect::load::spans::SendSpans;
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{
    HashAlgorithm, ReplyRule, RequestTemplate, ResponseTemplate, RuleAction,
};
use crate::sms::{Cause, Family};

pub(crate) fn validate(dialect: &Dialect, spans: &SendSpans, sink: &mut ProblemSink) {
    if !spans.has_errors {
        check_mapped(dialect, spans, sink);
    }
    check_declared_and_used(dialect, spans, sink);
    check_rules(dialect, spans, sink);
    check_codes(dialect, sink);
    check_responses(dialect, spans, sink);
}

fn check_mapped(dialect: &Dialect, spans: &SendSpans, sink: &mut ProblemSink) {
    let fields = &dialect.send.fields;
    if !fields.has_source(|source| *source == ValueSource::To) {
        sink.error(
            spans.send.clone(),
            "no field holds the recipient",
            Some("map one to \"{to}\", with `digits` or `plus`".into()),
        );
    }
    let holds_text = |source: &ValueSource| {
        matches!(
            source,
            ValueSource::Text
                | ValueSource::TemplateId
                | ValueSource::TemplateValues
                | ValueSource::TemplateFields
        )
    };
    if !fields.has_source(holds_text) {
        sink.error(
            spans.send.clone(),
            "no field holds the text",
            Some("map one to \"{text}\" or to the template".into()),
        );
    }
}

/// Every source that a request of this dialect is filled from.
pub(crate) fn used_sources(dialect: &Dialect) -> Vec<ValueSource> {
    let mut sources: Vec<ValueSource> = request_templates(dialect)
        .flat_map(RequestTemplate::mappings)
        .flat_map(|field| field.value.exprs())
        .map(|hole| hole.source.clone())
        .collect();
    sources.extend(
        signing_templates(dialect)
            .into_iter()
            .flat_map(StringTemplate::exprs)
            .map(|hole| hole.source.clone()),
    );
    sources.extend(endpoints(dialect).flat_map(|endpoint| endpoint.sources().cloned()));
    sources
}

/// What the send, the login and the probes write.
fn request_templates(dialect: &Dialect) -> impl Iterator<Item = &RequestTemplate> {
    let login = dialect.token.iter().map(|token| &token.fields);
    let probes = dialect.probes.iter().chain(&dialect.listing_probes);
    std::iter::once(&dialect.send.fields)
        .chain(login)
        .chain(probes.map(|probe| &probe.fields))
}

/// The templates of the signature and of the digests.
fn signing_templates(dialect: &Dialect) -> Vec<&StringTemplate> {
    let mut templates: Vec<&StringTemplate> = dialect
        .sign
        .iter()
        .flat_map(|sign| sign.templates())
        .collect();
    for digest in &dialect.send.digests {
        templates.push(&digest.input);
        if let HashAlgorithm::HmacSha256(key) = &digest.algorithm {
            templates.push(key);
        }
    }
    templates
}

/// The endpoints of the send, the login and the operations.
fn endpoints(dialect: &Dialect) -> impl Iterator<Item = &Endpoint> {
    let login = dialect.token.iter().map(|token| &token.endpoint);
    std::iter::once(&dialect.send.endpoint)
        .chain(login)
        .chain(dialect.operations.iter().map(|entry| &entry.endpoint))
}

fn check_declared_and_used(dialect: &Dialect, spans: &SendSpans, sink: &mut ProblemSink) {
    let used = used_sources(dialect);
    for source in used.iter().filter(|source| !is_declared(source, dialect)) {
        let missing = source_name(source);
        let span = span_of_source(&missing, dialect, spans);
        sink.error(
            span.or(spans.send.clone()),
            format!("`{missing}` is used and not declared"),
            Some("declare it in its table".into()),
        );
    }
    for spec in &dialect.credential {
        if !spans.has_errors && !used.contains(&ValueSource::Credential(spec.name.clone())) {
            sink.error(
                None,
                format!(
                    "the credential field `{}` is declared and not used",
                    spec.name
                ),
                Some("use it or remove it: it would be required but never used".into()),
            );
        }
    }
}

/// Whether the table that a source names has it; sources without a table always have their value.
fn is_declared(source: &ValueSource, dialect: &Dialect) -> bool {
    let Some((kind, name)) = source.kind_and_name() else {
        return true;
    };
    match kind {
        "credential" => dialect.credential.iter().any(|spec| spec.name == name),
        "param" => dialect.params.iter().any(|spec| spec.name == name),
        "digest" => dialect.send.digests.iter().any(|spec| spec.name == name),
        "token" => dialect
            .token
            .iter()
            .flat_map(|token| &token.value_paths)
            .any(|(declared, _)| declared == name),
        _ => true,
    }
}

/// The field whose template has this source.
fn span_of_source(
    source: &str,
    dialect: &Dialect,
    spans: &SendSpans,
) -> Option<std::ops::Range<usize>> {
    let field = dialect.send.fields.mappings().find(|field| {
        field
            .value
            .exprs()
            .any(|hole| source_name(&hole.source) == source)
    })?;
    spans
        .fields
        .iter()
        .find(|(name, _)| *name == field.path.text)
        .map(|(_, span)| span.clone())
}

fn source_name(source: &ValueSource) -> String {
    source
        .kind_and_name()
        .map_or_else(String::new, |(kind, name)| format!("{kind}.{name}"))
}

fn check_rules(dialect: &Dialect, spans: &SendSpans, sink: &mut ProblemSink) {
    let rules = &dialect.send.classifier.rules;
    if !rules.iter().any(|rule| {
        matches!(
            rule.action,
            RuleAction::AcceptIdAt(_) | RuleAction::AcceptIdFrom(_)
        )
    }) {
        sink.error(
            spans.send.clone(),
            "no rule proves success",
            Some("one of [[send.rules]] needs `accepted`".into()),
        );
    }
    let always = rules.iter().position(matches_all);
    if let Some(span) = always.and_then(|at| spans.rules.get(at + 1)) {
        sink.error(
            Some(span.clone()),
            "no reply reaches this rule",
            Some("the rule before it always matches; change the order".into()),
        );
    }
    if dialect.send.classifier.codes.0.is_empty()
        && rules
            .iter()
            .any(|rule| matches!(rule.action, RuleAction::LookUpCode))
    {
        sink.error(
            spans.send.clone(),
            "a rule uses `codes`, and [send.codes] is empty",
            Some("list the service's codes under their causes".into()),
        );
    }
}

fn matches_all(rule: &ReplyRule) -> bool {
    let tests = rule.status.is_some()
        || !rule.paths.is_empty()
        || rule.required_path.is_some()
        || rule.body.is_some()
        || rule.body_pattern.is_some();
    !tests
        && matches!(
            rule.action,
            RuleAction::AcceptIdFrom(_) | RuleAction::Reject(_) | RuleAction::MarkUnknown(_)
        )
}

fn check_codes(dialect: &Dialect, sink: &mut ProblemSink) {
    let entries = &dialect.send.classifier.codes.0;
    for (at, entry) in entries.iter().enumerate() {
        let earlier = entries
            .iter()
            .take(at)
            .find(|other| other.inherited == entry.inherited && other.test.overlaps(&entry.test));
        if let Some(other) = earlier {
            let help = format!(
                "the other is under `{}`, {} bytes {}",
                other.cause,
                other.span.start.abs_diff(entry.span.start),
                if other.span.start < entry.span.start {
                    "before"
                } else {
                    "after"
                }
            );
            let what = if other.cause == entry.cause {
                "a code is listed twice"
            } else {
                "a code is listed under two causes"
            };
            sink.error(Some(entry.span.clone()), what, Some(help.clone()));
            sink.error(
                Some(other.span.clone()),
                what,
                Some(format!("the other is under `{}`", entry.cause)),
            );
        }
    }
}

fn check_responses(dialect: &Dialect, spans: &SendSpans, sink: &mut ProblemSink) {
    let success = &dialect.send.success;
    if success.last().is_none_or(|last| !last.queried.is_empty()) {
        let span = spans.success.last().cloned().or(spans.send.clone());
        sink.error(
            span,
            "the last [[send.success]] must not have `queried`",
            Some(
                "add one without `queried`: it answers the requests that no other one fits".into(),
            ),
        );
    }
    if success
        .iter()
        .any(|success| is_empty_response(&success.response))
        || is_empty_response(&dialect.send.failure.response)
    {
        sink.error(
            spans.send.clone(),
            "a reply has neither `json` nor `text`",
            Some("add one to [[send.success]] and to [send.failure]".into()),
        );
    }
    for (cause, _) in &dialect.send.failure.codes {
        if !may_have_failure_code(*cause) {
            let what = format!("`{cause}` may not be in [send.failure.codes]");
            sink.error(
                spans.send.clone(),
                what,
                Some(
                    "only causes of the message and `throttled` may; leave the others to `default`"
                        .into(),
                ),
            );
        }
    }
}

/// The backend gets codes for faults of the message and for throttling only.
fn may_have_failure_code(cause: Cause) -> bool {
    matches!(cause.family(), Family::Message) || cause == Cause::Throttled
}

fn is_empty_response(response: &ResponseTemplate) -> bool {
    response.json.is_empty() && response.text.is_none()
}
