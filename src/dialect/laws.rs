//! The checks of a whole description: what is mapped, declared, used and reachable, and
//! that no failure it tells the backend can be read as a success or as a refused login.

use std::collections::BTreeSet;

use crate::dialect::Dialect;
use crate::dialect::check::{is_message_cause, says_nothing};
use crate::dialect::check_send::Spans;
use crate::dialect::load::Sink;
use crate::dialect::shape::{Form, Hash, Rule, Then};
use crate::dialect::template::{Source, Template};

pub(crate) fn hold(dialect: &Dialect, spans: &Spans, sink: &mut Sink) {
    if !spans.lost {
        mapped(dialect, spans, sink);
    }
    declared_and_used(dialect, spans, sink);
    rules(dialect, spans, sink);
    codes(dialect, sink);
    replies(dialect, spans, sink);
}

fn mapped(dialect: &Dialect, spans: &Spans, sink: &mut Sink) {
    let fields = &dialect.send.fields;
    let all = || fields.query.iter().chain(&fields.header).chain(&fields.body);
    if !all().any(|field| field.form.has(|source| *source == Source::To)) {
        sink.error(spans.send.clone(), "no field holds the recipient", Some("map one to \"{to}\", with `digits` or `plus`".into()));
    }
    let words = |source: &Source| matches!(source, Source::Text | Source::TemplateId | Source::TemplateValues | Source::TemplateFields);
    let text = all().any(|field| field.form.has(words));
    if !text {
        sink.error(spans.send.clone(), "no field holds the text", Some("map one to \"{text}\" or to the template".into()));
    }
}

/// Every source that a request of this dialect is filled from.
pub(crate) fn used(dialect: &Dialect) -> Vec<Source> {
    let send = &dialect.send;
    let mut forms: Vec<&Form> = Vec::new();
    let token = dialect.token.as_ref();
    for fields in [Some(&send.fields), token.map(|token| &token.fields)]
        .into_iter()
        .flatten()
        .chain(dialect.probes.iter().chain(&dialect.lists).map(|probe| &probe.fields))
    {
        forms.extend(fields.query.iter().chain(&fields.header).chain(&fields.body).map(|field| &field.form));
    }
    let mut out: Vec<Source> = forms.iter().flat_map(|form| form.holes()).map(|hole| hole.source.clone()).collect();
    let mut take = |template: &Template| out.extend(template.holes().map(|hole| hole.source.clone()));
    dialect.sign.iter().flat_map(|sign| sign.templates()).for_each(&mut take);
    for digest in &send.digests {
        take(&digest.of);
        if let Hash::HmacSha256(key) = &digest.with {
            take(key);
        }
    }
    let calls = [Some(&send.call), token.map(|token| &token.call)].into_iter().flatten();
    out.extend(calls.chain(dialect.operations.iter().map(|entry| &entry.call)).flat_map(|call| call.holes().cloned()));
    out
}

fn declared_and_used(dialect: &Dialect, spans: &Spans, sink: &mut Sink) {
    let used = used(dialect);
    let tokens: BTreeSet<&str> = dialect.token.iter().flat_map(|token| token.reads.iter().map(|(name, _)| name.as_str())).collect();
    for source in &used {
        let Some((kind, name)) = source.named() else { continue };
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
        let missing = spelled(source);
        let span = spans.value_with(&missing, dialect);
        sink.error(span.or(spans.send.clone()), format!("`{missing}` is used and not declared"), Some("declare it in its section".into()));
    }
    for spec in &dialect.credential {
        if !spans.lost && !used.contains(&Source::Credential(spec.name.clone())) {
            sink.error(
                None,
                format!("the credential field `{}` is declared and not used", spec.name),
                Some("a vault would be asked for it in vain".into()),
            );
        }
    }
}

impl Spans {
    /// The field whose template has this source in it.
    fn value_with(&self, source: &str, dialect: &Dialect) -> Option<std::ops::Range<usize>> {
        let fields = &dialect.send.fields;
        let mut all = fields.query.iter().chain(&fields.header).chain(&fields.body);
        let field = all.find(|field| field.form.holes().any(|hole| spelled(&hole.source) == source))?;
        self.fields.iter().find(|(name, _)| *name == field.place.text).map(|(_, span)| span.clone())
    }
}

fn spelled(source: &Source) -> String {
    source.named().map_or_else(String::new, |(kind, name)| format!("{kind}.{name}"))
}

fn rules(dialect: &Dialect, spans: &Spans, sink: &mut Sink) {
    let rules = &dialect.send.judge.rules;
    if !rules.iter().any(|rule| matches!(rule.then, Then::AcceptedAt(_) | Then::AcceptedAs(_))) {
        sink.error(spans.send.clone(), "no rule proves success", Some("one of [[send.rules]] needs `accepted`".into()));
    }
    let always = rules.iter().position(matches_all);
    if let Some(span) = always.and_then(|at| spans.rules.get(at + 1)) {
        sink.error(Some(span.clone()), "no reply gets as far as this rule", Some("the one before it always matches".into()));
    }
    if dialect.send.judge.codes.0.is_empty() && rules.iter().any(|rule| matches!(rule.then, Then::Codes)) {
        sink.error(spans.send.clone(), "a rule looks codes up, and [send.codes] has none", None);
    }
}

fn matches_all(rule: &Rule) -> bool {
    let tests = rule.status.is_some() || !rule.at.is_empty() || rule.with.is_some() || rule.body.is_some() || rule.body_like.is_some();
    !tests && matches!(rule.then, Then::AcceptedAs(_) | Then::Refused(_) | Then::Unknown(_))
}

fn codes(dialect: &Dialect, sink: &mut Sink) {
    let entries = &dialect.send.judge.codes.0;
    for (at, entry) in entries.iter().enumerate() {
        let earlier = entries.iter().take(at).find(|other| other.inherited == entry.inherited && other.test.clashes(&entry.test));
        if let Some(other) = earlier {
            let help = format!(
                "the other one stands under `{}`, {} bytes {}",
                other.cause,
                other.span.start.abs_diff(entry.span.start),
                if other.span.start < entry.span.start { "before" } else { "after" }
            );
            let what = if other.cause == entry.cause { "a code stands twice" } else { "a code stands under two causes" };
            sink.error(Some(entry.span.clone()), what, Some(help.clone()));
            sink.error(Some(other.span.clone()), what, Some(format!("the other one stands under `{}`", entry.cause)));
        }
    }
}

fn replies(dialect: &Dialect, spans: &Spans, sink: &mut Sink) {
    let success = &dialect.send.success;
    if success.last().is_none_or(|last| !last.asked.is_empty()) {
        let span = spans.success.last().cloned().or(spans.send.clone());
        sink.error(
            span,
            "the last [[send.success]] has no `asked`",
            Some("it is the answer where none before it fits; write one without `asked`".into()),
        );
    }
    if success.iter().any(|success| says_nothing(&success.told)) || says_nothing(&dialect.send.failure.told) {
        sink.error(spans.send.clone(), "an answer has neither `json` nor `text`", None);
    }
    for (cause, _) in &dialect.send.failure.lines {
        if !is_message_cause(*cause) {
            let what = format!("`{cause}` has a line in [send.failure.codes]");
            sink.error(
                spans.send.clone(),
                what,
                Some("the backend is told of the message's faults and of throttling only; all else is `otherwise`".into()),
            );
        }
    }
}
