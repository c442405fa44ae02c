//! Collects complaints, and reads single words with their default at hand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::spanned::{ConfigString, NamedTables};
use crate::config::values::InvalidValue;
use crate::config::{ConfigKey, key_before};
use crate::dialect::Catalog;
use crate::problem::{Problem, closest_match, suggest};

/// One file under judgement.
pub(in crate::config) struct ConfigChecker<'a> {
    pub(in crate::config) catalog: &'a Catalog,
    pub(in crate::config) problems: Vec<Problem>,
    pub(in crate::config) spans: BTreeMap<ConfigKey, Range<usize>>,
    file: &'a str,
    text: &'a str,
    /// Where the file has keys or values that were taken out of it, since they fit nowhere.
    invalid_spans: Vec<Range<usize>>,
    folder: &'a Path,
}

impl<'a> ConfigChecker<'a> {
    pub(in crate::config) fn new(
        (file, text): (&'a str, &'a str),
        folder: &'a Path,
        catalog: &'a Catalog,
        invalid_spans: Vec<Range<usize>>,
    ) -> Self {
        Self {
            catalog,
            problems: Vec::new(),
            spans: BTreeMap::new(),
            file,
            text,
            invalid_spans,
            folder,
        }
    }

    /// Whether the table `name` had `key`, or one that looks like it, and it was complained about already: that it is
    /// not there is a consequence.
    pub(in crate::config) fn is_already_reported(&self, name: &ConfigString, key: &str) -> bool {
        let body = self.text.get(name.span().end..).unwrap_or_default();
        let end = name.span().end + body.find("\n[").unwrap_or(body.len());
        self.invalid_spans
            .iter()
            .filter(|span| span.start >= name.span().end && span.start < end)
            .any(|span| {
                let named = self
                    .text
                    .get(span.clone())
                    .is_some_and(|word| closest_match(word, [key]).is_some());
                named || key_before(self.text, span.start) == key
            })
    }

    /// The line on which something stands, counted from 1.
    pub(in crate::config) fn line_number(&self, span: &Range<usize>) -> usize {
        1 + self
            .text
            .bytes()
            .take(span.start)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    /// Keeps where something stands, for complaints that need files or vaults to be read first.
    pub(in crate::config) fn record_span(&mut self, key: ConfigKey, span: Range<usize>) {
        self.spans.insert(key, span);
    }

    pub(in crate::config) fn error(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems
            .push(Problem::error(self.file, span, what).with_help(help));
    }

    /// An error about no place in particular.
    pub(in crate::config) fn file_error(&mut self, what: &str, help: &str) {
        self.problems
            .push(Problem::error(self.file, None, what).with_help(help));
    }

    pub(in crate::config) fn warn(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems
            .push(Problem::warning(self.file, span, what).with_help(help));
    }

    /// What a word means; wrong or left out: the default.
    pub(in crate::config) fn parse_or<T>(
        &mut self,
        word: Option<&ConfigString>,
        default: T,
        read: impl Fn(&str) -> Result<T, InvalidValue>,
    ) -> T {
        let Some(word) = word else { return default };
        match read(word.get_ref()) {
            Ok(value) => value,
            Err((what, help)) => {
                self.error(word.span(), what, help);
                default
            }
        }
    }

    /// Whether a word is as it must be.
    pub(in crate::config) fn require(
        &mut self,
        word: &ConfigString,
        read: impl Fn(&str) -> Result<(), InvalidValue>,
    ) {
        self.parse_or(Some(word), (), read);
    }

    /// One of a few words; wrong or left out: the default.
    pub(in crate::config) fn choice_or<T: Copy>(
        &mut self,
        word: Option<&ConfigString>,
        default: T,
        known: &[(&str, T)],
    ) -> T {
        let Some(word) = word else { return default };
        if let Some((_, value)) = known.iter().find(|(name, _)| name == word.get_ref()) {
            return *value;
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        self.error(
            word.span(),
            "unknown value",
            suggest(word.get_ref(), &names),
        );
        default
    }

    /// A path, relative to the file's folder.
    pub(in crate::config) fn path(&mut self, word: &ConfigString) -> PathBuf {
        if word.get_ref().is_empty() {
            self.error(
                word.span(),
                "this path is empty",
                "write where the file is, or take the key away",
            );
        }
        self.folder.join(word.get_ref())
    }

    /// A path that must be there.
    pub(in crate::config) fn required_path(
        &mut self,
        word: Option<&ConfigString>,
        table: &Range<usize>,
        key: &str,
    ) -> PathBuf {
        let Some(word) = word else {
            self.error(
                table.clone(),
                format!("`{key}` is missing here"),
                format!("add `{key} = \"…\"`"),
            );
            return PathBuf::new();
        };
        self.path(word)
    }

    /// Complains about a reference to something that does not exist.
    pub(in crate::config) fn check_reference<T>(
        &mut self,
        word: &ConfigString,
        among: &NamedTables<T>,
        kind: &str,
    ) {
        let names: Vec<&str> = among.keys().map(|name| name.get_ref().as_str()).collect();
        self.check_name(word, &names, kind);
    }

    /// The same, among plain names.
    pub(in crate::config) fn check_name(
        &mut self,
        word: &ConfigString,
        names: &[&str],
        kind: &str,
    ) {
        if names.contains(&word.get_ref().as_str()) {
            return;
        }
        let help = if names.is_empty() {
            "there is none at all".to_owned()
        } else {
            suggest(word.get_ref(), names)
        };
        self.error(
            word.span(),
            format!("there is no {kind} of this name"),
            help,
        );
    }
}
