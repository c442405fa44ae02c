//! From text to tables: parses a file, merges it with the one it `extends`, and takes key by
//! key out of the tables, so that one error does not hide the next. Spans of the inherited
//! file start after the end of the own text, so that the two can be told apart.

use std::collections::BTreeMap;
use std::ops::Range;

use regex::Regex;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::problem::{Problem, explain_toml_error, suggest};

/// Collects problems, and finds the file that a span belongs to.
#[derive(Debug)]
pub(crate) struct ProblemSink {
    /// Name and range of the file and of those it `extends`, one after the other.
    files: Vec<(String, Range<usize>)>,
    pub(crate) problems: Vec<Problem>,
    /// The patterns that this or another description has compiled.
    pub(crate) patterns: Patterns,
}

/// Compiled patterns by their text: descriptions that extend each other share them.
pub(crate) type Patterns = BTreeMap<String, Regex>;

impl ProblemSink {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self {
            files: vec![(name.to_owned(), 0..text.len() + 1)],
            problems: Vec::new(),
            patterns: Patterns::new(),
        }
    }

    pub(crate) fn error(
        &mut self,
        span: Option<Range<usize>>,
        what: impl Into<String>,
        help: Option<String>,
    ) {
        let problem = self.build_problem(span, what.into(), help);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Whether `extends` brought this in.
    pub(crate) fn is_inherited(&self, span: &Range<usize>) -> bool {
        self.files
            .first()
            .is_some_and(|(_, own)| span.start >= own.end)
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    fn build_problem(
        &self,
        span: Option<Range<usize>>,
        what: String,
        help: Option<String>,
    ) -> Problem {
        let home = span.as_ref().and_then(|span| {
            self.files
                .iter()
                .find(|(_, range)| range.contains(&span.start))
        });
        let (file, from) = home
            .or(self.files.first())
            .map_or((String::new(), 0), |(name, range)| {
                (name.clone(), range.start)
            });
        let span = span.map(|span| span.start.saturating_sub(from)..span.end.saturating_sub(from));
        Problem {
            help,
            ..Problem::error(&file, span, what)
        }
    }

    fn end_offset(&self) -> usize {
        self.files.last().map_or(0, |(_, range)| range.end)
    }
}

/// The file's top table; syntax errors go into the sink.
pub(crate) fn parse<'t>(text: &'t str, sink: &mut ProblemSink) -> DeTable<'t> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        sink.error(error.span(), error.message(), None);
    }
    table.into_inner()
}

/// Merges the file `name` into `over`, which wins: tables key by key, other values as a whole.
/// Rules come before the inherited rules, codes are added, and another kind of signature
/// replaces the inherited one. Returns whether the file is TOML; if not, nothing is merged.
#[must_use]
pub(crate) fn merge<'t>(
    over: &mut DeTable<'t>,
    name: &str,
    text: &'t str,
    sink: &mut ProblemSink,
) -> bool {
    let mut own_sink = ProblemSink::new(name, text);
    let base = parse(text, &mut own_sink);
    if !own_sink.is_clean() {
        return false;
    }
    let shift = sink.end_offset();
    sink.files
        .push((name.to_owned(), shift..shift + text.len() + 1));
    merge_tables(over, base, shift, false);
    true
}

fn merge_tables<'t>(over: &mut DeTable<'t>, base: DeTable<'t>, shift: usize, codes: bool) {
    for (key, value) in base {
        let name = key.get_ref().to_string();
        let key = Spanned::new(shift_span(key.span(), shift), key.into_inner());
        let value = shift_value(value, shift);
        match over.get_mut(name.as_str()).map(Spanned::get_mut) {
            None => {
                over.insert(key, value);
            }
            Some(DeValue::Table(own)) if name == "sign" && uses_other_signing(own, &value) => {}
            Some(DeValue::Table(table)) => {
                if let DeValue::Table(base) = value.into_inner() {
                    merge_tables(table, base, 0, name == "codes");
                }
            }
            Some(DeValue::Array(items)) if codes || name == "rules" => {
                let DeValue::Array(base) = value.into_inner() else {
                    continue;
                };
                base.into_iter().for_each(|item| items.push(item));
            }
            Some(_) => {}
        }
    }
}

/// A request has one signature: another kind replaces the inherited one.
fn uses_other_signing(own: &DeTable<'_>, base: &Spanned<DeValue<'_>>) -> bool {
    base.get_ref().as_table().is_none_or(|base| {
        !own.keys()
            .any(|way| base.contains_key(way.get_ref().as_ref()))
    })
}

fn shift_span(span: Range<usize>, shift: usize) -> Range<usize> {
    span.start + shift..span.end + shift
}

fn shift_value(value: Spanned<DeValue<'_>>, shift: usize) -> Spanned<DeValue<'_>> {
    if shift == 0 {
        return value;
    }
    let span = shift_span(value.span(), shift);
    let value = match value.into_inner() {
        DeValue::Array(items) => DeValue::Array(
            items
                .into_iter()
                .map(|item| shift_value(item, shift))
                .collect(),
        ),
        DeValue::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| {
                (
                    Spanned::new(shift_span(key.span(), shift), key.into_inner()),
                    shift_value(value, shift),
                )
            });
            DeValue::Table(entries.collect())
        }
        plain @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)) => plain,
    };
    Spanned::new(span, value)
}

/// A table from which keys are taken; a key that is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Section<'t> {
    name: &'static str,
    table: DeTable<'t>,
    known_keys: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(crate) fn new(name: &'static str, table: DeTable<'t>) -> Self {
        Self {
            name,
            table,
            known_keys: Vec::new(),
        }
    }

    /// Whether the key is in the file and not taken yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// One value; none if it is missing or wrong, and then the sink has the error.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        sink: &mut ProblemSink,
    ) -> Option<Spanned<T>> {
        self.known_keys.push(key);
        let value = self.table.remove(key)?;
        deserialize(value, sink)
    }

    /// The same; a missing or wrong value is the default.
    pub(crate) fn take_or_default<T: DeserializeOwned + Default>(
        &mut self,
        key: &'static str,
        sink: &mut ProblemSink,
    ) -> T {
        self.take(key, sink)
            .map(Spanned::into_inner)
            .unwrap_or_default()
    }

    /// A list, entry by entry.
    pub(crate) fn take_list<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        sink: &mut ProblemSink,
    ) -> Vec<Spanned<T>> {
        self.known_keys.push(key);
        let Some(value) = self.table.remove(key) else {
            return Vec::new();
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => items
                .into_iter()
                .filter_map(|item| deserialize(item, sink))
                .collect(),
            other @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_)) => {
                sink.error(
                    Some(span),
                    format!("`{key}` is {} where a list is expected", kind_of(&other)),
                    Some(format!("write `[[{}]]`", qualified_key(self.name, key))),
                );
                Vec::new()
            }
        }
    }

    /// A table of named entries, entry by entry, in the file's order.
    pub(crate) fn take_entries<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        sink: &mut ProblemSink,
    ) -> Vec<(Spanned<String>, T)> {
        let Some(section) = self.take_section(key, sink) else {
            return Vec::new();
        };
        let mut out: Vec<_> = section
            .table
            .into_iter()
            .filter_map(|(name, value)| {
                let name = Spanned::new(name.span(), name.into_inner().into_owned());
                deserialize(value, sink).map(|entry| (name, entry.into_inner()))
            })
            .collect();
        out.sort_by_key(|(name, _)| name.span().start);
        out
    }

    /// A table inside this one.
    pub(crate) fn take_section(
        &mut self,
        key: &'static str,
        sink: &mut ProblemSink,
    ) -> Option<Section<'t>> {
        self.known_keys.push(key);
        let value = self.table.remove(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Self::new(key, table)),
            other @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)) => {
                sink.error(
                    Some(span),
                    format!("`{key}` is {} where a table is expected", kind_of(&other)),
                    Some(format!("write `[{}]`", qualified_key(self.name, key))),
                );
                None
            }
        }
    }

    /// Reports every key that was not taken.
    pub(crate) fn finish(self, sink: &mut ProblemSink) {
        for (key, _) in &self.table {
            sink.error(
                Some(key.span()),
                format!("unknown key `{}`", key.get_ref()),
                Some(suggest(key.get_ref(), &self.known_keys)),
            );
        }
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn qualified_key(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

fn deserialize<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    sink: &mut ProblemSink,
) -> Option<Spanned<T>> {
    let span = value.span();
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(read) => Some(Spanned::new(span, read)),
        Err(error) => {
            let found = error.message().split('`').nth(1).unwrap_or_default();
            let (what, help) = explain_toml_error(&error, found);
            sink.error(
                error.span().filter(|span| !span.is_empty()).or(Some(span)),
                what,
                help,
            );
            None
        }
    }
}
