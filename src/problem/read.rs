//! TOML into a type, with every complaint instead of the first: what an error is about is
//! taken out of the document and the rest is read again. The parser's own messages quote
//! values ("invalid type: string \"hunter2\""), so they are said anew without them.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Error, ValueDeserializer};

use crate::problem::{Problem, suggest};

/// So many mistakes are worth listing; beyond, the file is of another kind.
const MAX_PROBLEMS: usize = 100;
/// So many breaks of the grammar, and what else could be said would be about what the parser guessed.
const MAX_SYNTAX_ERRORS: usize = 3;

/// Reads `text`; all complaints at once. The value is there whenever what is left of the
/// file still makes one, so that further checks can complain in the same run.
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
        // Where the grammar is broken, what was made of it is no second mistake.
        if !broken
            .iter()
            .any(|grammar| grammar.span().is_some() && grammar.span() == error.span())
        {
            problems.push(deserialize_problem(file, text, &error));
        }
        let Some(path) = error.span().and_then(|about| innermost_path(&rest, &about)) else {
            break;
        };
        remove_at_path(&mut rest, &path);
    }
    (None, sort_by_position(problems))
}

/// As they stand in the file: the parser goes by the alphabet.
fn sort_by_position(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
    problems
}

/// The grammar was broken. The parser names what it expected; what it found stays unquoted.
fn syntax_problem(file: &str, text: &str, error: &Error) -> Problem {
    Problem::error(file, error.span(), message_without_value(error, text))
}

/// A key or value does not fit; the words are ours.
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

/// What a TOML error is about and what to write, without the value. `found` is the text it is about.
pub fn explain_toml_error(error: &Error, found: &str) -> (String, Option<String>) {
    let message = error.message().lines().next().unwrap_or_default();
    let expected = |rest: &str| {
        rest.rsplit_once(", expected ")
            .map(|(_, list)| list.to_owned())
    };
    if message.starts_with("unknown field") {
        let key = message.split('`').nth(1).unwrap_or(found);
        return (
            format!("unknown key `{key}`"),
            Some(suggest(key, &expected_words(message))),
        );
    }
    if message.starts_with("unknown variant") {
        return (
            "unknown value".to_owned(),
            Some(suggest(found, &expected_words(message))),
        );
    }
    if let Some((kind, wanted)) = message
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        let wanted = describe_expected(wanted);
        let help = (wanted == "a table")
            .then(|| "write `{ key = \"value\" }`, or a `[table]` of its own".to_owned());
        return (
            format!("{} where {wanted} is expected", describe_found(kind)),
            help,
        );
    }
    if let Some(wanted) = message.strip_prefix("invalid value: ").and_then(expected) {
        let what = format!(
            "this value does not fit: {} is expected",
            describe_expected(&wanted)
        );
        return (what, None);
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

/// The parser's message, unless it repeats what the file has there.
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
        "this value does not fit here".to_owned()
    } else {
        message.to_owned()
    }
}

/// `string "hunter2"` → `a string`.
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
        .map_or("another kind of value", |(_, said)| said)
}

/// The type's name as an operator would say it.
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
        .map(|(_, said)| *said);
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

/// The smallest entry whose key or value holds `about`.
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

/// Where it hangs, the span of its key if it has one, and what it is.
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
