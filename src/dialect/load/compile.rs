//! The small compilers: a spanned string of the file to a template, place, rule, code or
//! reply. Each complains into the sink under the very words, and goes on.

use std::ops::Range;

use regex::Regex;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::clock;
use crate::dialect::expr::filter::Filter;
use crate::dialect::expr::path::{FlatKeys, JsonPath};
use crate::dialect::expr::template::{StringTemplate, SyntaxError};
use crate::dialect::load::parse::ProblemSink;
use crate::dialect::load::raw;
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::model::{
    CauseCondition, ClaimTest, FieldMapping, FieldValue, ReplyRule, ReplyTest, ResponseTemplate,
    RetryAfterSource, RuleAction, StatusTest, TemplateListing, TokenLifetime,
};
use crate::problem::suggest;
use crate::sms::Cause;

type SpannedText = Spanned<String>;

/// Underlines a fault inside a string; the quote is one byte, and strings with escapes are underlined whole.
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

pub(crate) fn json_path(
    text: &SpannedText,
    flat: FlatKeys,
    sink: &mut ProblemSink,
) -> Option<JsonPath> {
    JsonPath::parse(text.get_ref(), flat)
        .map_err(|problem| report_syntax_error(text, problem, sink))
        .ok()
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

pub(crate) fn endpoint(text: &SpannedText, sink: &mut ProblemSink) -> Option<Endpoint> {
    Endpoint::parse(text.get_ref())
        .map_err(|problem| report_syntax_error(text, problem, sink))
        .ok()
}

pub(crate) fn regex(text: &SpannedText, sink: &mut ProblemSink) -> Option<Regex> {
    regex::RegexBuilder::new(text.get_ref())
        .size_limit(1 << 18)
        .build()
        .map_err(|error| {
            let line = error.to_string();
            let why = line
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            sink.error(
                Some(text.span()),
                format!("this pattern does not compile: {why}"),
                None,
            );
        })
        .ok()
}

pub(crate) fn cause(text: &SpannedText, sink: &mut ProblemSink) -> Option<Cause> {
    cause_or(text, &[], sink)
}

/// A cause, where the words of `others` may stand too: they are in the help line.
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

/// A table of places and values, in the file's order. `whole_paths`: a table inside is a path that was not quoted.
pub(crate) fn fields(
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
            sink.error(
                Some(key.span()),
                "a bare path makes a table here",
                Some(help),
            );
            continue;
        }
        let Some(at) = json_path(key, flat, sink) else {
            continue;
        };
        flatten_fields(&at.text, at.clone(), value, sink, &mut out);
    }
    out
}

fn flatten_fields(
    path: &str,
    at: JsonPath,
    value: &Spanned<toml::Value>,
    sink: &mut ProblemSink,
    out: &mut Vec<FieldMapping>,
) {
    match value.get_ref() {
        toml::Value::Table(table) if !table.is_empty() => {
            for (key, inner) in table {
                let path = format!("{path}.{key}");
                if let Ok(at) = JsonPath::parse(&path, FlatKeys(false)) {
                    flatten_fields(
                        &path,
                        at,
                        &Spanned::new(value.span(), inner.clone()),
                        sink,
                        out,
                    );
                }
            }
        }
        toml::Value::String(text) => {
            if let Some(template) = template(&Spanned::new(value.span(), text.clone()), sink) {
                let form = template
                    .as_constant()
                    .map(|text| FieldValue::Constant(text.into()));
                out.push(FieldMapping {
                    path: at,
                    value: form.unwrap_or(FieldValue::Template(template)),
                });
            }
        }
        other @ (toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_)) => out.push(FieldMapping {
            path: at,
            value: FieldValue::Constant(to_json(other)),
        }),
    }
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

/// A code as text, from a string or a whole number.
pub(crate) fn code(value: &Spanned<toml::Value>, sink: &mut ProblemSink) -> Option<CodeTest> {
    match value.get_ref() {
        toml::Value::String(text) => Some(CodeTest::parse(text)),
        toml::Value::Integer(number) => Some(CodeTest::Exact(number.to_string())),
        toml::Value::Boolean(yes) => Some(CodeTest::Exact(yes.to_string())),
        toml::Value::Float(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => {
            sink.error(
                Some(value.span()),
                "a code is a whole number or a text",
                Some("ranges are text: \"301..306\"".into()),
            );
            None
        }
    }
}

pub(crate) fn status(text: &SpannedText, sink: &mut ProblemSink) -> Option<StatusTest> {
    let word = text.get_ref();
    let hundred = word
        .strip_suffix("xx")
        .and_then(|first| first.parse().ok())
        .filter(|first| (1..=5).contains(first));
    let exact = word
        .parse()
        .ok()
        .filter(|status| (100..=599).contains(status));
    let found = hundred
        .map(StatusTest::Class)
        .or(exact.map(StatusTest::Exact));
    if found.is_none() {
        sink.error(
            Some(text.span()),
            "no HTTP status",
            Some("write it like \"401\" or \"4xx\"".into()),
        );
    }
    found
}

pub(crate) fn reply_test(raw: &raw::RawReplyTest, sink: &mut ProblemSink) -> ReplyTest {
    ReplyTest {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        paths: json_paths(&raw.path, FlatKeys(false), sink),
        equals: raw
            .equals
            .iter()
            .filter_map(|value| code(value, sink))
            .collect(),
        pattern: raw.matches.as_ref().and_then(|text| regex(text, sink)),
    }
}

/// `span` is the probe's: inline tables have none of their own.
pub(crate) fn cause_condition(
    raw: &raw::RawCauseCondition,
    span: &Range<usize>,
    sink: &mut ProblemSink,
) -> Option<CauseCondition> {
    let Some(word) = raw.cause.as_ref() else {
        sink.error(
            Some(span.clone()),
            "an entry of `cause_when` names its `cause`",
            None,
        );
        return None;
    };
    let test = ReplyTest {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        paths: json_paths(&raw.path, FlatKeys(false), sink),
        equals: raw
            .equals
            .iter()
            .filter_map(|value| code(value, sink))
            .collect(),
        pattern: raw.matches.as_ref().and_then(|text| regex(text, sink)),
    };
    let or = raw
        .alternatives
        .iter()
        .filter_map(|text| cause(text, sink))
        .collect();
    Some(CauseCondition {
        test,
        cause: cause(word, sink)?,
        alternatives: or,
        inferred: raw.inferred,
    })
}

pub(crate) fn template_listing(
    raw: &raw::RawTemplateListing,
    sink: &mut ProblemSink,
) -> Option<TemplateListing> {
    let holes = raw.holes.as_ref().and_then(|text| regex(text, sink));
    let text = json_paths(&raw.text, FlatKeys(false), sink);
    let (approved, pending, rejected) = (
        raw.approved.clone(),
        raw.pending.clone(),
        raw.rejected.clone(),
    );
    let (at, status) = (
        json_path(&raw.path, FlatKeys(false), sink)?,
        json_path(&raw.status, FlatKeys(false), sink)?,
    );
    Some(TemplateListing {
        path: at,
        text_paths: text,
        placeholder: holes,
        status_path: status,
        approved,
        pending,
        rejected,
    })
}

pub(crate) fn claim(raw: &raw::RawClaim, sink: &mut ProblemSink) -> Option<ClaimTest> {
    let is = raw
        .equals
        .iter()
        .filter_map(|value| code(value, sink))
        .collect();
    Some(ClaimTest {
        name: raw.name.clone(),
        equals: is,
        cause: cause(&raw.cause, sink)?,
    })
}

pub(crate) fn rule(raw: &Spanned<raw::RawReplyRule>, sink: &mut ProblemSink) -> Option<ReplyRule> {
    let span = raw.span();
    let raw = raw.get_ref();
    let like = raw.matches.as_ref().and_then(|text| regex(text, sink));
    let body_like = raw.body_matches.as_ref().and_then(|text| regex(text, sink));
    if raw.path.is_empty() && !(raw.equals.is_empty() && raw.matches.is_none()) {
        sink.error(
            Some(span.clone()),
            "`equals` and `matches` need a `path` to look at",
            None,
        );
    }
    if raw.codes
        && raw.path.is_empty()
        && !body_like
            .as_ref()
            .is_some_and(|regex| regex.capture_names().flatten().any(|name| name == "code"))
    {
        sink.error(
            Some(span.clone()),
            "`codes` needs a `path`, or a `body_matches` with a (?<code>…)",
            None,
        );
    }
    Some(ReplyRule {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        paths: json_paths(&raw.path, FlatKeys(false), sink),
        equals: raw
            .equals
            .iter()
            .filter_map(|value| code(value, sink))
            .collect(),
        pattern: like,
        required_path: raw
            .with
            .as_ref()
            .and_then(|text| json_path(text, FlatKeys(false), sink)),
        body: raw.body.clone(),
        body_pattern: body_like,
        action: rule_action(raw, span, sink)?,
        message_paths: json_paths(&raw.message_path, FlatKeys(false), sink),
        alternatives: raw
            .alternatives
            .iter()
            .filter_map(|text| cause(text, sink))
            .collect(),
        inferred: raw.inferred,
        retry_after: raw
            .retry_after
            .as_ref()
            .and_then(|text| retry_after(text, sink)),
    })
}

fn rule_action(
    raw: &raw::RawReplyRule,
    span: Range<usize>,
    sink: &mut ProblemSink,
) -> Option<RuleAction> {
    match (&raw.accepted, &raw.rejected, &raw.unknown, raw.codes) {
        (Some(text), None, None, false) if text.get_ref().contains('{') => {
            template(text, sink).map(RuleAction::AcceptIdFrom)
        }
        (Some(text), None, None, false) => {
            json_path(text, FlatKeys(false), sink).map(RuleAction::AcceptIdAt)
        }
        (None, Some(text), None, false) => cause(text, sink).map(RuleAction::Reject),
        (None, None, Some(text), false) => cause(text, sink).map(RuleAction::MarkUnknown),
        (None, None, None, true) => Some(RuleAction::LookUpCode),
        _ => {
            sink.error(
                Some(span),
                "a rule has exactly one result",
                Some("one of: accepted rejected unknown codes".into()),
            );
            None
        }
    }
}

fn retry_after(text: &SpannedText, sink: &mut ProblemSink) -> Option<RetryAfterSource> {
    let (from, unit) = text
        .get_ref()
        .trim_matches(['{', '}'])
        .split_once('|')
        .unwrap_or((text.get_ref(), "seconds"));
    let Ok(unit @ Filter::Unit(_)) = Filter::parse(unit.trim()) else {
        let help = "like \"wait | seconds\"; units are: milliseconds seconds minutes hours";
        sink.error(
            Some(text.span()),
            "a wait is a place and a unit",
            Some(help.into()),
        );
        return None;
    };
    match from.trim().strip_prefix("matched.") {
        Some(name) => Some(RetryAfterSource::Capture(name.to_owned(), unit)),
        None => json_path(
            &Spanned::new(text.span(), from.trim().to_owned()),
            FlatKeys(false),
            sink,
        )
        .map(|place| RetryAfterSource::Path(place, unit)),
    }
}

pub(crate) fn response(raw: &raw::RawResponse, sink: &mut ProblemSink) -> ResponseTemplate {
    if raw
        .status
        .as_ref()
        .is_some_and(|status| *status.get_ref() == 401)
    {
        sink.error(
            raw.status.as_ref().map(Spanned::span),
            "a 401 is never answered",
            Some("the backend would take it for its own login".into()),
        );
    }
    response_template(
        raw.status.as_ref().map(|status| *status.get_ref()),
        &raw.json,
        raw.text.as_ref(),
        &raw.header,
        sink,
    )
}

pub(crate) fn response_template(
    status: Option<u16>,
    json: &raw::SpannedTable,
    text: Option<&SpannedText>,
    header: &raw::SpannedTable,
    sink: &mut ProblemSink,
) -> ResponseTemplate {
    let header = header.iter().filter_map(|(name, value)| {
        let text = value.get_ref().as_str().unwrap_or_default().to_owned();
        Some((
            name.get_ref().clone(),
            template(&Spanned::new(value.span(), text), sink)?,
        ))
    });
    let header = header.collect();
    ResponseTemplate {
        status,
        json: fields(json, FlatKeys(false), false, sink),
        text: text.and_then(|text| template(text, sink)),
        header,
    }
}

pub(crate) fn queried_fields(table: &raw::SpannedTable) -> Vec<(String, String)> {
    table
        .iter()
        .map(|(name, value)| {
            (
                name.get_ref().clone(),
                crate::dialect::expr::template::to_text(&to_json(value.get_ref())),
            )
        })
        .collect()
}

pub(crate) fn token_lifetime(
    raw: Option<&raw::RawTokenLifetime>,
    sink: &mut ProblemSink,
) -> TokenLifetime {
    let found = match raw {
        None => Some(TokenLifetime::Never),
        Some(raw::RawTokenLifetime::Jwt(at)) => {
            json_path(at, FlatKeys(false), sink).map(TokenLifetime::Jwt)
        }
        Some(raw::RawTokenLifetime::Field(at)) => {
            json_path(at, FlatKeys(false), sink).map(TokenLifetime::Field)
        }
        Some(raw::RawTokenLifetime::After(text)) => {
            let after = clock::parse_duration(text.get_ref());
            if after.is_none() {
                sink.error(
                    Some(text.span()),
                    "this is not a duration",
                    Some("write a whole number with its unit: \"90s\", \"12h\", \"30d\"".into()),
                );
            }
            after.map(TokenLifetime::After)
        }
    };
    found.unwrap_or(TokenLifetime::Never)
}
