//! Deserializes TOML and reports every problem instead of the first: the entry that an error is
//! about is removed, and the rest is read again. The parser's own messages quote values
//! ("invalid type: string \"hunter2\""), so they are rewritten without them.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Error, ValueDeserializer};

use crate::problem::{Problem, ProblemKind, suggest};

/// Limit of reported problems: a file with more is of another kind.
const MAX_PROBLEMS: usize = 100;
/// After this many syntax errors, further problems would be about the parser's guesses.
const MAX_SYNTAX_ERRORS: usize = 3;

/// Parses `text` and returns all problems. The value is there if the rest of the file is valid, so
/// that later checks can report their problems in the same run.
pub fn parse_toml<T: DeserializeOwned>(file: &str, text: &str) -> (Option<T>, Vec<Problem>) {
    let (root, broken) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = broken
        .iter()
        .take(MAX_SYNTAX_ERRORS)
        .map(|error| syntax_problem(file, text, error))
        .collect();
    if broken.len() >= MAX_SYNTAX_ERRORS {
        return (None, sort_by_position(problems));
    }
    let span = root.span();
    let mut rest = DeValue::Table(root.into_inner());
    while problems.len() < MAX_PROBLEMS {
        let error = match T::deserialize(ValueDeserializer::from(Spanned::new(
            span.clone(),
            rest.clone(),
        ))) {
            Ok(value) => return (Some(value), sort_by_position(problems)),
            Err(error) => error,
        };
        // A syntax error was reported already.
        let is_syntax_error = broken
            .iter()
            .any(|syntax| syntax.span().is_some() && syntax.span() == error.span());
        if !is_syntax_error {
            problems.push(deserialize_problem(file, text, &error).with_kind(problem_kind(&error)));
        }
        let Some(path) = error.span().and_then(|about| innermost_path(&rest, &about)) else {
            break;
        };
        remove_at_path(&mut rest, &path);
    }
    (None, sort_by_position(problems))
}

/// What programs go by, from the parser's own words.
fn problem_kind(error: &Error) -> ProblemKind {
    let message = error.message();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let key = rest.split('`').next().unwrap_or_default();
        return ProblemKind::UnknownKey(key.to_owned());
    }
    let is_number = ["integer", "floating"]
        .iter()
        .any(|kind| message.starts_with(&format!("invalid type: {kind}")));
    if is_number
        && message
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("expected a string"))
    {
        return ProblemKind::NumberForString;
    }
    ProblemKind::General
}

/// Sorts by position in the file; the parser's order is alphabetical.
fn sort_by_position(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
    problems
}

/// A syntax error, with what the parser expected but without what it found.
fn syntax_problem(file: &str, text: &str, error: &Error) -> Problem {
    // A duplicate key is left out and hides nothing that follows.
    let kind = if error.message() == "duplicate key" {
        ProblemKind::General
    } else {
        ProblemKind::Syntax
    };
    Problem::error(file, error.span(), message_without_value(error, text)).with_kind(kind)
}

/// A key or value that is not valid, in our own words.
fn deserialize_problem(file: &str, text: &str, error: &Error) -> Problem {
    let found = error
        .span()
        .and_then(|span| text.get(span))
        .unwrap_or_default()
        .trim_matches(['"', '\'']);
    let (what, help) = explain_toml_error(error, found);
    Problem {
        help,
        ..Problem::error(file, error.span(), what)
    }
}

/// The message and help for a TOML error, without the value. `found` is the text at its place.
pub fn explain_toml_error(error: &Error, found: &str) -> (String, Option<String>) {
    let message = error.message().lines().next().unwrap_or_default();
    let mismatch = |prefix: &str| message.strip_prefix(prefix)?.rsplit_once(", expected ");
    if message.starts_with("unknown field") {
        let key = message.split('`').nth(1).unwrap_or(found);
        let help = suggest(key, &expected_words(message));
        return (format!("unknown key `{key}`"), Some(help));
    }
    if let Some((key, known)) = message
        .strip_prefix("unexpected keys in table: ")
        .and_then(|rest| rest.split_once(", available keys: "))
    {
        let known: Vec<&str> = known.split(", ").collect();
        return (format!("unknown key `{key}`"), Some(suggest(key, &known)));
    }
    if message.starts_with("unknown variant") {
        let help = suggest(found, &expected_words(message));
        return ("unknown value".to_owned(), Some(help));
    }
    if let Some((kind, wanted)) = mismatch("invalid type: ") {
        let wanted = describe_expected(wanted);
        let help = (wanted == "a table")
            .then(|| "write `{ key = \"value\" }`, or a `[table]` of its own".to_owned());
        let found = describe_found(kind);
        return (format!("{found} where {wanted} is expected"), help);
    }
    if let Some((_, wanted)) = mismatch("invalid value: ") {
        let wanted = describe_expected(wanted);
        return (format!("invalid value: {wanted} is expected"), None);
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return (
            format!("`{}` is missing here", name.trim_matches('`')),
            None,
        );
    }
    (unquoted(message, found), None)
}

/// The words between backticks that an error lists as expected.
fn expected_words(message: &str) -> Vec<&str> {
    let list = message
        .rsplit_once(", expected ")
        .map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).collect()
}

/// The parser's message, unless it quotes the value at that place.
fn message_without_value(error: &Error, text: &str) -> String {
    let found = error
        .span()
        .and_then(|span| text.get(span))
        .unwrap_or_default()
        .trim_matches(['"', '\'']);
    unquoted(error.message().lines().next().unwrap_or_default(), found)
}

fn unquoted(message: &str, found: &str) -> String {
    if found.len() >= 4 && message.contains(found) {
        "invalid value".to_owned()
    } else {
        message.to_owned()
    }
}

/// Turns `string "hunter2"` into `a string`.
fn describe_found(found: &str) -> &'static str {
    const KINDS: [(&str, &str); 7] = [
        ("string", "a string"),
        ("integer", "a number"),
        ("floating", "a number"),
        ("boolean", "true or false"),
        ("sequence", "a list"),
        ("map", "a table"),
        ("unit", "nothing"),
    ];
    KINDS
        .iter()
        .find(|(start, _)| found.starts_with(start))
        .map_or("another kind of value", |(_, description)| description)
}

/// The type's name for operators.
fn describe_expected(wanted: &str) -> &str {
    const EXPECTED: [(&[&str], &str); 6] = [
        (&["a string", "string"], "a string"),
        (&["a boolean", "bool"], "true or false"),
        (&["a sequence"], "a list"),
        (&["a map"], "a table"),
        (
            &["u8", "u16", "u32", "u64", "usize", "i64"],
            "a whole number",
        ),
        (&["f64"], "a number"),
    ];
    let named = EXPECTED
        .iter()
        .find(|(names, _)| names.contains(&wanted))
        .map(|(_, description)| *description);
    named.unwrap_or(
        if wanted.starts_with("struct ") || wanted.contains("struct") {
            "a table"
        } else {
            wanted
        },
    )
}

/// One step from a table or list to something inside it.
#[derive(Clone)]
enum TomlPathSegment {
    Key(String),
    Index(usize),
}

/// The path of the smallest entry whose key or value contains `about`.
fn innermost_path(root: &DeValue<'_>, about: &Range<usize>) -> Option<Vec<TomlPathSegment>> {
    let mut best: Option<(usize, Vec<TomlPathSegment>)> = None;
    walk(root, &mut Vec::new(), &mut |span, path| {
        let holds = span.start <= about.start && about.end <= span.end;
        if holds && best.as_ref().is_none_or(|(size, _)| span.len() <= *size) {
            best = Some((span.len(), path.to_vec()));
        }
    });
    best.map(|(_, path)| path)
}

/// A child's step from its parent, the span of its key if it has one, and its value.
type TomlChild<'a, 'i> = (
    TomlPathSegment,
    Option<Range<usize>>,
    &'a Spanned<DeValue<'i>>,
);

fn walk(
    value: &DeValue<'_>,
    path: &mut Vec<TomlPathSegment>,
    see: &mut impl FnMut(Range<usize>, &[TomlPathSegment]),
) {
    let children: Vec<TomlChild<'_, '_>> = if let Some(table) = value.as_table() {
        table
            .iter()
            .map(|(key, value)| {
                (
                    TomlPathSegment::Key(key.get_ref().to_string()),
                    Some(key.span()),
                    value,
                )
            })
            .collect()
    } else if let Some(list) = value.as_array() {
        list.iter()
            .enumerate()
            .map(|(at, value)| (TomlPathSegment::Index(at), None, value))
            .collect()
    } else {
        Vec::new()
    };
    for (step, key, child) in children {
        path.push(step);
        see(child.span(), path);
        if let Some(key) = key {
            see(key, path);
        }
        walk(child.get_ref(), path, see);
        path.pop();
    }
}

fn remove_at_path(root: &mut DeValue<'_>, path: &[TomlPathSegment]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    let child = match (root, step) {
        (DeValue::Table(table), TomlPathSegment::Key(key)) if rest.is_empty() => {
            return drop(table.remove(key.as_str()));
        }
        (DeValue::Table(table), TomlPathSegment::Key(key)) => table.get_mut(key.as_str()),
        (DeValue::Array(list), TomlPathSegment::Index(at)) if rest.is_empty() => {
            return remove_element(list, *at);
        }
        (DeValue::Array(list), TomlPathSegment::Index(at)) => list.get_mut(*at),
        _ => None,
    };
    if let Some(child) = child {
        remove_at_path(child.get_mut(), rest);
    }
}

fn remove_element(list: &mut DeArray<'_>, gone: usize) {
    let mut kept = DeArray::new();
    for (_, child) in list.iter().enumerate().filter(|(at, _)| *at != gone) {
        kept.push(child.clone());
    }
    *list = kept;
}
