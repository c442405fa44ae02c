//! Collects problems, and reads single values; a wrong or missing one becomes its default.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::spanned::{ConfigString, NamedTables};
use crate::config::values::InvalidValue;
use crate::config::{ConfigKey, key_before};
use crate::dialect::Catalog;
use crate::problem::{Problem, ProblemKind, closest_match, suggest};

/// The file to check, as it was read.
pub(super) struct ConfigSource<'a> {
    /// As the user named it.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// The spans of the keys and values that did not fit and were left out.
    pub(super) invalid_spans: Vec<Range<usize>>,
}

/// The check of one file.
pub(super) struct ConfigChecker<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) problems: Vec<Problem>,
    pub(super) spans: BTreeMap<ConfigKey, Range<usize>>,
    source: ConfigSource<'a>,
    folder: &'a Path,
}

impl<'a> ConfigChecker<'a> {
    pub(super) fn new(source: ConfigSource<'a>, catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            problems: Vec::new(),
            spans: BTreeMap::new(),
            folder: Path::new(source.name).parent().unwrap_or(Path::new("")),
            source,
        }
    }

    /// Whether the table `name` had `key`, or one that looks like it, and it was reported and left out: then its
    /// absence is only a consequence.
    pub(super) fn is_already_reported(&self, name: &ConfigString, key: &str) -> bool {
        let body = self.source.text.get(name.span().end..).unwrap_or_default();
        let end = name.span().end + body.find("\n[").unwrap_or(body.len());
        self.source
            .invalid_spans
            .iter()
            .filter(|span| span.start >= name.span().end && span.start < end)
            .any(|span| {
                let named = self
                    .source
                    .text
                    .get(span.clone())
                    .is_some_and(|word| closest_match(word, [key]).is_some());
                named || key_before(self.source.text, span.start) == key
            })
    }

    /// The whole file.
    pub(super) fn text(&self) -> &'a str {
        self.source.text
    }

    /// The line of a span, counted from 1.
    pub(super) fn line_number(&self, span: &Range<usize>) -> usize {
        1 + self
            .source
            .text
            .bytes()
            .take(span.start)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    /// Keeps a span for problems that are found only when files or vaults are read.
    pub(super) fn record_span(&mut self, key: ConfigKey, span: Range<usize>) {
        self.spans.insert(key, span);
    }

    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems
            .push(Problem::error(self.source.name, span, what).with_help(help));
    }

    /// An error about the file as a whole.
    pub(super) fn file_error(&mut self, what: &str, help: &str) {
        self.problems
            .push(Problem::error(self.source.name, None, what).with_help(help));
    }

    pub(super) fn warn(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems
            .push(Problem::warning(self.source.name, span, what).with_help(help));
    }

    /// The parsed value; a wrong or missing one becomes the default.
    pub(super) fn parse_or<T>(
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

    /// Reports a value that `read` rejects.
    pub(super) fn require(
        &mut self,
        word: &ConfigString,
        read: impl Fn(&str) -> Result<(), InvalidValue>,
    ) {
        self.parse_or(Some(word), (), read);
    }

    /// The meaning of one of a few words; a wrong or missing one becomes the default.
    pub(super) fn choice_or<T: Copy>(
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
    pub(super) fn path(&mut self, word: &ConfigString) -> PathBuf {
        if word.get_ref().is_empty() {
            self.error(
                word.span(),
                "this path is empty",
                "write the path, or remove the key",
            );
        }
        self.folder.join(word.get_ref())
    }

    /// A path that is required.
    pub(super) fn required_path(
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

    /// Reports a reference to a table that does not exist.
    pub(super) fn check_reference<T>(
        &mut self,
        word: &ConfigString,
        among: &NamedTables<T>,
        reference: Reference,
    ) {
        let names: Vec<&str> = among.keys().map(|name| name.get_ref().as_str()).collect();
        self.check_name(word, &names, reference);
    }

    /// Reports a reference to something that is not among `names`.
    pub(super) fn check_name(&mut self, word: &ConfigString, names: &[&str], reference: Reference) {
        if names.contains(&word.get_ref().as_str()) {
            return;
        }
        let help = if names.is_empty() {
            "none is configured".to_owned()
        } else {
            suggest(word.get_ref(), names)
        };
        let what = format!("unknown {}", reference.noun());
        let problem = Problem::error(self.source.name, word.span(), what).with_help(help);
        self.problems.push(match reference {
            Reference::Dialect | Reference::ProviderOrDialect => {
                problem.with_kind(ProblemKind::UnknownDialect)
            }
            Reference::Vault
            | Reference::Caller
            | Reference::Provider
            | Reference::CredentialField
            | Reference::Parameter => problem,
        });
    }
}

/// What a name in the file refers to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reference {
    Vault,
    Caller,
    Provider,
    Dialect,
    ProviderOrDialect,
    CredentialField,
    Parameter,
}

impl Reference {
    const fn noun(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Dialect => "dialect",
            Self::ProviderOrDialect => "provider or dialect",
            Self::CredentialField => "credential field",
            Self::Parameter => "parameter of this dialect",
        }
    }
}
