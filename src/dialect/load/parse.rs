//! From text to pieces: parses, lays a file over the one it `extends`, and takes piece
//! by piece out of the tables, so that one bad piece does not hide the next. Spans of
//! the file underneath are moved behind the own text, which is how they are told apart.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::problem::{Problem, explain_toml_error, suggest};

/// Where problems go, and whose file a span belongs to.
#[derive(Debug)]
pub(crate) struct ProblemSink {
    /// Name and length of the file and of those it `extends`, one behind the other.
    files: Vec<(String, Range<usize>)>,
    pub(crate) problems: Vec<Problem>,
}

impl ProblemSink {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self {
            files: vec![(name.to_owned(), 0..text.len() + 1)],
            problems: Vec::new(),
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

    /// What `extends` brought in.
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

/// The file's top table; problems of spelling are in the sink.
pub(crate) fn parse<'t>(text: &'t str, sink: &mut ProblemSink) -> DeTable<'t> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        sink.error(error.span(), error.message(), None);
    }
    table.into_inner()
}

/// Lays `over` on `base`: tables key by key, anything else (and another way to sign) whole, but rules before the base's rules and codes beside its codes.
pub(crate) fn merge<'t>(
    over: &mut DeTable<'t>,
    base: DeTable<'t>,
    (name, length): (&str, usize),
    sink: &mut ProblemSink,
) {
    let shift = sink.end_offset();
    sink.files
        .push((name.to_owned(), shift..shift + length + 1));
    merge_tables(over, base, shift, false);
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

/// A request is signed in one way only: another takes the inherited one's place.
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

/// A table that is emptied key by key; what is left at the end is unknown.
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

    /// One piece, understood or complained about.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        sink: &mut ProblemSink,
    ) -> Option<Spanned<T>> {
        self.known_keys.push(key);
        let value = self.table.remove(key)?;
        deserialize(value, sink)
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
                    format!("`{key}` is a {} where a list is expected", other.type_str()),
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

    /// A table within.
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
                    format!(
                        "`{key}` is a {} where a table is expected",
                        other.type_str()
                    ),
                    None,
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
