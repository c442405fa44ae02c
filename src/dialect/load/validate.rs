//! The checks of a whole description: what is mapped, declared, used and reachable, and
//! that no failure it tells the backend can be read as a success or as a refused login.

use std::collections::BTreeSet;

use crate::dialect::Dialect;
use crate::dialect::expr::template::{StringTemplate, ValueSource};
use crate::dialect::load::build::{is_empty_response, may_have_failure_code};
use crate::dialect::load::build_send::SendSpans;
use crate::dialect::load::parse::ProblemSink;
use crate::dialect::model::{FieldValue, HashAlgorithm, ReplyRule, RuleAction};

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
    let all = || {
        fields
            .query
            .iter()
            .chain(&fields.header)
            .chain(&fields.body)
    };
    if !all().any(|field| field.value.any_source(|source| *source == ValueSource::To)) {
        sink.error(
            spans.send.clone(),
            "no field holds the recipient",
            Some("map one to \"{to}\", with `digits` or `plus`".into()),
        );
    }
    let words = |source: &ValueSource| {
        matches!(
            source,
            ValueSource::Text
                | ValueSource::TemplateId
                | ValueSource::TemplateValues
                | ValueSource::TemplateFields
        )
    };
    let text = all().any(|field| field.value.any_source(words));
    if !text {
        sink.error(
            spans.send.clone(),
            "no field holds the text",
            Some("map one to \"{text}\" or to the template".into()),
        );
    }
}

/// Every source that a request of this dialect is filled from.
pub(crate) fn used_sources(dialect: &Dialect) -> Vec<ValueSource> {
    let send = &dialect.send;
    let mut forms: Vec<&FieldValue> = Vec::new();
    let token = dialect.token.as_ref();
    for fields in [Some(&send.fields), token.map(|token| &token.fields)]
        .into_iter()
        .flatten()
        .chain(
            dialect
                .probes
                .iter()
                .chain(&dialect.listing_probes)
                .map(|probe| &probe.fields),
        )
    {
        forms.extend(
            fields
                .query
                .iter()
                .chain(&fields.header)
                .chain(&fields.body)
                .map(|field| &field.value),
        );
    }
    let mut out: Vec<ValueSource> = forms
        .iter()
        .flat_map(|form| form.exprs())
        .map(|hole| hole.source.clone())
        .collect();
    let mut take =
        |template: &StringTemplate| out.extend(template.exprs().map(|hole| hole.source.clone()));
    dialect
        .sign
        .iter()
        .flat_map(|sign| sign.templates())
        .for_each(&mut take);
    for digest in &send.digests {
        take(&digest.input);
        if let HashAlgorithm::HmacSha256(key) = &digest.algorithm {
            take(key);
        }
    }
    let calls = [Some(&send.endpoint), token.map(|token| &token.endpoint)]
        .into_iter()
        .flatten();
    out.extend(
        calls
            .chain(dialect.operations.iter().map(|entry| &entry.endpoint))
            .flat_map(|call| call.sources().cloned()),
    );
    out
}

fn check_declared_and_used(dialect: &Dialect, spans: &SendSpans, sink: &mut ProblemSink) {
    let used = used_sources(dialect);
    let tokens: BTreeSet<&str> = dialect
        .token
        .iter()
        .flat_map(|token| token.value_paths.iter().map(|(name, _)| name.as_str()))
        .collect();
    for source in &used {
        let Some((kind, name)) = source.kind_and_name() else {
            continue;
        };
        let declared = match kind {
            "credential" => dialect.credential.iter().any(|spec| spec.name == name),
            "param" => dialect.params.iter().any(|spec| spec.name == name),
            "token" => tokens.contains(name),
            "digest" => dialect.send.digests.iter().any(|spec| spec.name == name),
            _ => true,
        };
        if declared {
            continue;
        }
        let missing = source_name(source);
        let span = spans.span_of_source(&missing, dialect);
        sink.error(
            span.or(spans.send.clone()),
            format!("`{missing}` is used and not declared"),
            Some("declare it in its section".into()),
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
                Some("a vault would be asked for it in vain".into()),
            );
        }
    }
}

impl SendSpans {
    /// The field whose template has this source in it.
    fn span_of_source(&self, source: &str, dialect: &Dialect) -> Option<std::ops::Range<usize>> {
        let fields = &dialect.send.fields;
        let mut all = fields
            .query
            .iter()
            .chain(&fields.header)
            .chain(&fields.body);
        let field = all.find(|field| {
            field
                .value
                .exprs()
                .any(|hole| source_name(&hole.source) == source)
        })?;
        self.fields
            .iter()
            .find(|(name, _)| *name == field.path.text)
            .map(|(_, span)| span.clone())
    }
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
            "no reply gets as far as this rule",
            Some("the one before it always matches".into()),
        );
    }
    if dialect.send.classifier.codes.0.is_empty()
        && rules
            .iter()
            .any(|rule| matches!(rule.action, RuleAction::LookUpCode))
    {
        sink.error(
            spans.send.clone(),
            "a rule looks codes up, and [send.codes] has none",
            None,
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
                "the other one stands under `{}`, {} bytes {}",
                other.cause,
                other.span.start.abs_diff(entry.span.start),
                if other.span.start < entry.span.start {
                    "before"
                } else {
                    "after"
                }
            );
            let what = if other.cause == entry.cause {
                "a code stands twice"
            } else {
                "a code stands under two causes"
            };
            sink.error(Some(entry.span.clone()), what, Some(help.clone()));
            sink.error(
                Some(other.span.clone()),
                what,
                Some(format!("the other one stands under `{}`", entry.cause)),
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
            "the last [[send.success]] has no `queried`",
            Some("it is the answer where none before it fits; write one without `queried`".into()),
        );
    }
    if success
        .iter()
        .any(|success| is_empty_response(&success.response))
        || is_empty_response(&dialect.send.failure.response)
    {
        sink.error(
            spans.send.clone(),
            "an answer has neither `json` nor `text`",
            None,
        );
    }
    for (cause, _) in &dialect.send.failure.codes {
        if !may_have_failure_code(*cause) {
            let what = format!("`{cause}` has a line in [send.failure.codes]");
            sink.error(
                spans.send.clone(),
                what,
                Some("the backend is told of the message's faults and of throttling only; all else is `default`".into()),
            );
        }
    }
}
