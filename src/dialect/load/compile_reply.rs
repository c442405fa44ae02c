//! What a description reads in replies: statuses, codes, rules, tests of probes, listings, tokens.

use std::ops::Range;

use toml::Spanned;

use crate::clock::parse_duration;
use crate::dialect::expr::filter::Filter;
use crate::dialect::expr::path::FlatKeys;
use crate::dialect::expr::template::ValueSource;
use crate::dialect::load::compile::{cause, json_path, json_paths, optional_path, regex, template};
use crate::dialect::load::parse::ProblemSink;
use crate::dialect::load::raw::{self, SpannedText};
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::{
    CauseCondition, ClaimTest, PlaceholderPatterns, ReplyRule, ReplyTest, RetryAfterSource,
    RuleAction, StatusTest, TemplateListing, TokenLifetime,
};
use crate::sms::Cause;

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
                "a code is a number or a string",
                Some("a range is a string: \"301..306\"".into()),
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
            "not an HTTP status",
            Some("write it like \"401\" or \"4xx\"".into()),
        );
    }
    found
}

pub(crate) fn reply_test(raw: &raw::RawReplyTest, sink: &mut ProblemSink) -> ReplyTest {
    ReplyTest {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        paths: json_paths(&raw.path, FlatKeys(false), sink),
        equals: codes(&raw.equals, sink),
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
            "an entry of `cause_when` needs a `cause`",
            Some("write what the reply means: cause = \"…\"".into()),
        );
        return None;
    };
    let test = ReplyTest {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        paths: json_paths(&raw.path, FlatKeys(false), sink),
        equals: codes(&raw.equals, sink),
        pattern: raw.matches.as_ref().and_then(|text| regex(text, sink)),
    };
    let alternatives = causes(&raw.alternatives, sink);
    Some(CauseCondition {
        test,
        cause: cause(word, sink)?,
        alternatives,
        inferred: raw.inferred,
    })
}

pub(crate) fn template_listing(
    raw: &raw::RawTemplateListing,
    sink: &mut ProblemSink,
) -> Option<TemplateListing> {
    let placeholder = placeholder_patterns(raw.holes.as_ref(), sink);
    let text_paths = json_paths(&raw.text, FlatKeys(false), sink);
    let path = json_path(&raw.path, FlatKeys(false), sink);
    let status_path = json_path(&raw.status, FlatKeys(false), sink);
    Some(TemplateListing {
        path: path?,
        text_paths,
        placeholder: placeholder?,
        status_path: status_path?,
        approved: raw.approved.clone(),
        pending: raw.pending.clone(),
        rejected: raw.rejected.clone(),
    })
}

/// Without `holes` the service lists example texts: a word may then be in the place of a hole.
fn placeholder_patterns(
    holes: Option<&SpannedText>,
    sink: &mut ProblemSink,
) -> Option<PlaceholderPatterns> {
    const WORD: &str = r"[\w-]+";
    let exact = match holes {
        Some(text) => {
            regex(text, sink)?;
            Some(whole(text, text.get_ref(), sink)?)
        }
        None => None,
    };
    let similar = match holes {
        Some(text) => whole(text, &format!("{}|{WORD}", text.get_ref()), sink)?,
        None => regex::Regex::new(&format!("^(?:{WORD})$")).ok()?,
    };
    Some(PlaceholderPatterns { exact, similar })
}

/// A pattern that must match the whole of a text.
fn whole(text: &SpannedText, pattern: &str, sink: &mut ProblemSink) -> Option<regex::Regex> {
    regex(&Spanned::new(text.span(), format!("^(?:{pattern})$")), sink)
}

pub(crate) fn claim(raw: &raw::RawClaim, sink: &mut ProblemSink) -> Option<ClaimTest> {
    let equals = codes(&raw.equals, sink);
    Some(ClaimTest {
        name: raw.name.clone(),
        equals,
        cause: cause(&raw.cause, sink)?,
    })
}

fn codes(values: &[Spanned<toml::Value>], sink: &mut ProblemSink) -> Vec<CodeTest> {
    values
        .iter()
        .filter_map(|value| code(value, sink))
        .collect()
}

fn causes(words: &[SpannedText], sink: &mut ProblemSink) -> Vec<Cause> {
    words.iter().filter_map(|word| cause(word, sink)).collect()
}

pub(crate) fn rule(raw: &Spanned<raw::RawReplyRule>, sink: &mut ProblemSink) -> Option<ReplyRule> {
    let span = raw.span();
    let raw = raw.get_ref();
    let body_pattern = raw.body_matches.as_ref().and_then(|text| regex(text, sink));
    check_rule_tests(raw, body_pattern.as_ref(), &span, sink);
    let rule = ReplyRule {
        status: raw.status.as_ref().and_then(|text| status(text, sink)),
        paths: json_paths(&raw.path, FlatKeys(false), sink),
        equals: codes(&raw.equals, sink),
        pattern: raw.matches.as_ref().and_then(|text| regex(text, sink)),
        required_path: optional_path(raw.with.as_ref(), sink),
        body: raw.body.clone(),
        body_pattern,
        action: rule_action(raw, span, sink)?,
        message_paths: json_paths(&raw.message_path, FlatKeys(false), sink),
        alternatives: causes(&raw.alternatives, sink),
        inferred: raw.inferred,
        retry_after: raw
            .retry_after
            .as_ref()
            .and_then(|text| retry_after(text, sink)),
    };
    check_groups(raw, &rule, sink);
    Some(rule)
}

/// What a rule reads by name must be a group of its patterns: a success whose id cannot be read proves
/// nothing, and every delivered message would be in doubt.
fn check_groups(raw: &raw::RawReplyRule, rule: &ReplyRule, sink: &mut ProblemSink) {
    let patterns = [&rule.pattern, &rule.body_pattern];
    let groups: Vec<&str> = patterns
        .into_iter()
        .flatten()
        .flat_map(|regex| regex.capture_names().flatten())
        .collect();
    let mut require = |name: &str, span: Range<usize>| {
        if !groups.contains(&name) {
            sink.error(
                Some(span),
                format!("no pattern of this rule has a group `{name}`"),
                Some(format!("write (?<{name}>…) in `body_matches` or `matches`")),
            );
        }
    };
    if let (RuleAction::AcceptIdFrom(id), Some(text)) = (&rule.action, &raw.accepted) {
        for hole in id.exprs() {
            if let ValueSource::Matched(name) = &hole.source {
                require(name, text.span());
            }
        }
    }
    if let (Some(RetryAfterSource::Capture(name, _)), Some(text)) =
        (&rule.retry_after, &raw.retry_after)
    {
        require(name, text.span());
    }
}

/// The template of an id. Only a group, or the reference alone, has a value when a reply is read.
fn id_template(text: &SpannedText, sink: &mut ProblemSink) -> Option<RuleAction> {
    let id = template(text, sink)?;
    let is_reference_alone = id
        .as_single_expr()
        .is_some_and(|hole| hole.source == ValueSource::Reference);
    let is_group = |source: &ValueSource| matches!(source, ValueSource::Matched(_));
    if !is_reference_alone && !id.exprs().all(|hole| is_group(&hole.source)) {
        sink.error(
            Some(text.span()),
            "an id cannot be read from this",
            Some("write a path, \"{reference}\", or groups such as \"{matched.id}\"".into()),
        );
        return None;
    }
    Some(RuleAction::AcceptIdFrom(id))
}

/// What a rule compares must have a place to be read from.
fn check_rule_tests(
    raw: &raw::RawReplyRule,
    body_pattern: Option<&regex::Regex>,
    span: &Range<usize>,
    sink: &mut ProblemSink,
) {
    if raw.path.is_empty() && !(raw.equals.is_empty() && raw.matches.is_none()) {
        sink.error(
            Some(span.clone()),
            "`equals` and `matches` need a `path`",
            Some("add the path of the value: path = [\"…\"]".into()),
        );
    }
    let has_code_group = body_pattern
        .is_some_and(|regex| regex.capture_names().flatten().any(|name| name == "code"));
    if raw.codes && raw.path.is_empty() && !has_code_group {
        sink.error(
            Some(span.clone()),
            "`codes` needs a `path`, or a `body_matches` with a group `code`",
            Some("add path = [\"…\"], or (?<code>…) to the pattern".into()),
        );
    }
}

fn rule_action(
    raw: &raw::RawReplyRule,
    span: Range<usize>,
    sink: &mut ProblemSink,
) -> Option<RuleAction> {
    match (&raw.accepted, &raw.rejected, &raw.unknown, raw.codes) {
        (Some(text), None, None, false) if text.get_ref().contains('{') => id_template(text, sink),
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
                Some("write one of: accepted rejected unknown codes".into()),
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
        let help = "write a path and a unit: \"wait | seconds\"; units are: milliseconds seconds minutes hours";
        sink.error(Some(text.span()), "not a wait", Some(help.into()));
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
            let after = parse_duration(text.get_ref());
            if after.is_none() {
                sink.error(
                    Some(text.span()),
                    "not a duration",
                    Some("write a whole number with its unit: \"90s\", \"12h\", \"30d\"".into()),
                );
            }
            after.map(TokenLifetime::After)
        }
    };
    found.unwrap_or(TokenLifetime::Never)
}
