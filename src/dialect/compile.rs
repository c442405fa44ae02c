//! The small compilers: a spanned string of the file to a template, place, rule, code or
//! reply. Each complains into the sink under the very words, and goes on.

use std::ops::Range;
use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::dialect::call::Call;
use crate::dialect::code::CodeTest;
use crate::dialect::filter::Filter;
use crate::dialect::load::Sink;
use crate::dialect::place::{Flat, Place};
use crate::dialect::raw;
use crate::dialect::shape::{ClaimTest, Dead, Expires, Field, Form, Rule, StatusTest, Test, Texts, Then, Told, Wait};
use crate::dialect::template::{Fault, Template};
use crate::sms::Cause;

type Text = Spanned<String>;

/// Underlines a fault inside a string; the quote is one byte, and strings with escapes are underlined whole.
fn fault(text: &Text, fault: Fault, sink: &mut Sink) {
    let span = text.span();
    let inner = span.start + 1 + fault.at;
    let plain = span.len() == text.get_ref().len() + 2;
    let span = if plain && inner < span.end { inner..span.end - 1 } else { span };
    sink.error(Some(span), fault.what, fault.help);
}

pub(crate) fn template(text: &Text, sink: &mut Sink) -> Option<Template> {
    Template::parse(text.get_ref()).map_err(|problem| fault(text, problem, sink)).ok()
}

pub(crate) fn place(text: &Text, flat: Flat, sink: &mut Sink) -> Option<Place> {
    Place::parse(text.get_ref(), flat).map_err(|problem| fault(text, problem, sink)).ok()
}

pub(crate) fn places(texts: &[Text], flat: Flat, sink: &mut Sink) -> Vec<Place> {
    texts.iter().filter_map(|text| place(text, flat, sink)).collect()
}

pub(crate) fn call(text: &Text, sink: &mut Sink) -> Option<Call> {
    Call::parse(text.get_ref()).map_err(|problem| fault(text, problem, sink)).ok()
}

pub(crate) fn regex(text: &Text, sink: &mut Sink) -> Option<Regex> {
    regex::RegexBuilder::new(text.get_ref())
        .size_limit(1 << 18)
        .build()
        .map_err(|error| {
            let line = error.to_string();
            let why = line.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            sink.error(Some(text.span()), format!("this pattern does not compile: {why}"), None);
        })
        .ok()
}

pub(crate) fn cause(text: &Text, sink: &mut Sink) -> Option<Cause> {
    let found = text.get_ref().parse().ok();
    if found.is_none() {
        let near =
            Cause::ALL.iter().map(|cause| (strsim::jaro_winkler(cause.as_str(), text.get_ref()), cause)).max_by(|a, b| a.0.total_cmp(&b.0));
        let meant = near.filter(|(likeness, _)| *likeness > 0.8).map(|(_, cause)| format!("did you mean `{cause}`? "));
        let all: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        sink.error(
            Some(text.span()),
            format!("`{}` is no cause", text.get_ref()),
            Some(format!("{}causes are: {}", meant.unwrap_or_default(), all.join(" "))),
        );
    }
    found
}

/// A table of places and values, in the file's order. `whole_paths`: a table inside is a path that was not quoted.
pub(crate) fn fields(table: &raw::Table, flat: Flat, whole_paths: bool, sink: &mut Sink) -> Vec<Field> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut out = Vec::new();
    for (key, value) in entries {
        if whole_paths && value.get_ref().is_table() {
            let help = format!("quote the whole path as one key: \"{}.…\" = …", key.get_ref());
            sink.error(Some(key.span()), "a bare path makes a table here", Some(help));
            continue;
        }
        let Some(at) = place(key, flat, sink) else { continue };
        flatten(&at.text, at.clone(), value, sink, &mut out);
    }
    out
}

fn flatten(path: &str, at: Place, value: &Spanned<toml::Value>, sink: &mut Sink, out: &mut Vec<Field>) {
    match value.get_ref() {
        toml::Value::Table(table) if !table.is_empty() => {
            for (key, inner) in table {
                let path = format!("{path}.{key}");
                if let Ok(at) = Place::parse(&path, Flat(false)) {
                    flatten(&path, at, &Spanned::new(value.span(), inner.clone()), sink, out);
                }
            }
        }
        toml::Value::String(text) => {
            if let Some(template) = template(&Spanned::new(value.span(), text.clone()), sink) {
                let form = template.constant().map(|text| Form::Constant(text.into()));
                out.push(Field { place: at, form: form.unwrap_or(Form::Template(template)) });
            }
        }
        other @ (toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_)) => out.push(Field { place: at, form: Form::Constant(json(other)) }),
    }
}

pub(crate) fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(yes) => (*yes).into(),
        toml::Value::Datetime(at) => Value::String(at.to_string()),
        toml::Value::Array(items) => Value::Array(items.iter().map(json).collect()),
        toml::Value::Table(table) => Value::Object(table.iter().map(|(key, value)| (key.clone(), json(value))).collect::<Map<_, _>>()),
    }
}

/// A code as text, from a string or a whole number.
pub(crate) fn code(value: &Spanned<toml::Value>, sink: &mut Sink) -> Option<CodeTest> {
    match value.get_ref() {
        toml::Value::String(text) => Some(CodeTest::parse(text)),
        toml::Value::Integer(number) => Some(CodeTest::Exactly(number.to_string())),
        toml::Value::Boolean(yes) => Some(CodeTest::Exactly(yes.to_string())),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            sink.error(Some(value.span()), "a code is a whole number or a text", Some("ranges are text: \"301..306\"".into()));
            None
        }
    }
}

pub(crate) fn status(text: &Text, sink: &mut Sink) -> Option<StatusTest> {
    let word = text.get_ref();
    let hundred = word.strip_suffix("xx").and_then(|first| first.parse().ok()).filter(|first| (1..=5).contains(first));
    let exact = word.parse().ok().filter(|status| (100..=599).contains(status));
    let found = hundred.map(StatusTest::Hundred).or(exact.map(StatusTest::Exactly));
    if found.is_none() {
        sink.error(Some(text.span()), "no HTTP status", Some("write it like \"401\" or \"4xx\"".into()));
    }
    found
}

pub(crate) fn test(raw: &raw::Test, sink: &mut Sink) -> Test {
    Test {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        at: places(&raw.at, Flat(false), sink),
        is: raw.is.iter().filter_map(|value| code(value, sink)).collect(),
        like: raw.like.as_ref().and_then(|text| regex(text, sink)),
    }
}

/// `span` is the probe's: inline tables have none of their own.
pub(crate) fn dead(raw: &raw::Dead, span: &Range<usize>, sink: &mut Sink) -> Option<Dead> {
    let Some(word) = raw.cause.as_ref() else {
        sink.error(Some(span.clone()), "a `dead` answer names its cause", None);
        return None;
    };
    let test = Test {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        at: places(&raw.at, Flat(false), sink),
        is: raw.is.iter().filter_map(|value| code(value, sink)).collect(),
        like: raw.like.as_ref().and_then(|text| regex(text, sink)),
    };
    let or = raw.or.iter().filter_map(|text| cause(text, sink)).collect();
    Some(Dead { test, cause: cause(word, sink)?, or, guess: raw.guess })
}

pub(crate) fn texts(raw: &raw::Texts, sink: &mut Sink) -> Option<Texts> {
    let holes = raw.holes.as_ref().and_then(|text| regex(text, sink));
    let text = places(&raw.text, Flat(false), sink);
    let (approved, pending, rejected) = (raw.approved.clone(), raw.pending.clone(), raw.rejected.clone());
    let (at, status) = (place(&raw.at, Flat(false), sink)?, place(&raw.status, Flat(false), sink)?);
    Some(Texts { at, text, holes, status, approved, pending, rejected })
}

pub(crate) fn claim(raw: &raw::Claim, sink: &mut Sink) -> Option<ClaimTest> {
    let is = raw.is.iter().filter_map(|value| code(value, sink)).collect();
    Some(ClaimTest { name: raw.name.clone(), is, cause: cause(&raw.cause, sink)? })
}

pub(crate) fn rule(raw: &Spanned<raw::Rule>, sink: &mut Sink) -> Option<Rule> {
    let span = raw.span();
    let raw = raw.get_ref();
    let like = raw.like.as_ref().and_then(|text| regex(text, sink));
    let body_like = raw.body_like.as_ref().and_then(|text| regex(text, sink));
    if raw.at.is_empty() && !(raw.is.is_empty() && raw.like.is_none()) {
        sink.error(Some(span.clone()), "`is` and `like` need an `at` to look at", None);
    }
    if raw.codes && raw.at.is_empty() && !body_like.as_ref().is_some_and(|regex| regex.capture_names().flatten().any(|name| name == "code"))
    {
        sink.error(Some(span.clone()), "`codes` needs an `at`, or a `body_like` with a (?<code>…)", None);
    }
    Some(Rule {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        at: places(&raw.at, Flat(false), sink),
        is: raw.is.iter().filter_map(|value| code(value, sink)).collect(),
        like,
        with: raw.with.as_ref().and_then(|text| place(text, Flat(false), sink)),
        body: raw.body.clone(),
        body_like,
        then: then(raw, span, sink)?,
        says: places(&raw.says, Flat(false), sink),
        or: raw.or.iter().filter_map(|text| cause(text, sink)).collect(),
        guess: raw.guess,
        retry_after: raw.retry_after.as_ref().and_then(|text| wait(text, sink)),
    })
}

fn then(raw: &raw::Rule, span: Range<usize>, sink: &mut Sink) -> Option<Then> {
    match (&raw.accepted, &raw.refused, &raw.unknown, raw.codes) {
        (Some(text), None, None, false) if text.get_ref().contains('{') => template(text, sink).map(Then::AcceptedAs),
        (Some(text), None, None, false) => place(text, Flat(false), sink).map(Then::AcceptedAt),
        (None, Some(text), None, false) => cause(text, sink).map(Then::Refused),
        (None, None, Some(text), false) => cause(text, sink).map(Then::Unknown),
        (None, None, None, true) => Some(Then::Codes),
        _ => {
            sink.error(Some(span), "a rule has exactly one result", Some("one of: accepted refused unknown codes".into()));
            None
        }
    }
}

fn wait(text: &Text, sink: &mut Sink) -> Option<Wait> {
    let (from, unit) = text.get_ref().trim_matches(['{', '}']).split_once('|').unwrap_or((text.get_ref(), "seconds"));
    let Ok(unit @ Filter::Unit(_)) = Filter::parse(unit.trim()) else {
        let help = "like \"wait | seconds\"; units are: milliseconds seconds minutes hours";
        sink.error(Some(text.span()), "a wait is a place and a unit", Some(help.into()));
        return None;
    };
    match from.trim().strip_prefix("matched.") {
        Some(name) => Some(Wait::Matched(name.to_owned(), unit)),
        None => place(&Spanned::new(text.span(), from.trim().to_owned()), Flat(false), sink).map(|place| Wait::At(place, unit)),
    }
}

pub(crate) fn told(raw: &raw::Told, sink: &mut Sink) -> Told {
    if raw.status.as_ref().is_some_and(|status| *status.get_ref() == 401) {
        sink.error(
            raw.status.as_ref().map(Spanned::span),
            "a 401 is never answered",
            Some("the backend would take it for its own login".into()),
        );
    }
    body(raw.status.as_ref().map(|status| *status.get_ref()), &raw.json, raw.text.as_ref(), &raw.header, sink)
}

pub(crate) fn body(status: Option<u16>, json: &raw::Table, text: Option<&Text>, header: &raw::Table, sink: &mut Sink) -> Told {
    let header = header.iter().filter_map(|(name, value)| {
        let text = value.get_ref().as_str().unwrap_or_default().to_owned();
        Some((name.get_ref().clone(), template(&Spanned::new(value.span(), text), sink)?))
    });
    let header = header.collect();
    Told { status, json: fields(json, Flat(false), false, sink), text: text.and_then(|text| template(text, sink)), header }
}

pub(crate) fn asked(table: &raw::Table) -> Vec<(String, String)> {
    table.iter().map(|(name, value)| (name.get_ref().clone(), crate::dialect::template::text_of(&json(value.get_ref())))).collect()
}

pub(crate) fn expires(raw: Option<&raw::Expires>, sink: &mut Sink) -> Expires {
    let found = match raw {
        None => Some(Expires::Never),
        Some(raw::Expires::Jwt(at)) => place(at, Flat(false), sink).map(Expires::Jwt),
        Some(raw::Expires::Field(at)) => place(at, Flat(false), sink).map(Expires::Field),
        Some(raw::Expires::After(text)) => {
            let after = duration(text.get_ref());
            if after.is_none() {
                sink.error(Some(text.span()), "no duration", Some("like \"30d\", \"12h\", \"55m\" or \"90s\"".into()));
            }
            after.map(Expires::After)
        }
    };
    found.unwrap_or(Expires::Never)
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    count.checked_mul(seconds).map(Duration::from_secs)
}
