//! Problems in files that people write (config, dialect descriptions): what is wrong, where, and
//! what to do. They are shown as a compiler shows them, with every value masked that may be secret,
//! because people paste these messages into tickets.

mod mask;
mod read;
mod renamed;
mod render;

use std::ops::Range;

pub use read::{explain_toml_error, parse_toml};
pub use renamed::renamed_to;

/// How severe a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but should be corrected.
    Warning,
}

impl Severity {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What a program can know of a problem without reading its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProblemKind {
    /// Nothing.
    #[default]
    General,
    /// Not TOML: the parser may misread what follows.
    Syntax,
    /// A key that does not exist there.
    UnknownKey(String),
    /// A number where a string is expected.
    NumberForString,
    /// A reference to a dialect that is not loaded.
    UnknownDialect,
}

/// One problem in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What programs go by.
    pub kind: ProblemKind,
    /// Error or warning.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: String,
    /// The bytes it is about; none if it is about the whole file.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one line; never quotes a value that may be secret.
    pub message: String,
    /// What to do: the expected keys, a suggestion.
    pub help: Option<String>,
}

impl Problem {
    /// A problem because of which the file cannot be used.
    pub fn error(
        file: &str,
        span: impl Into<Option<Range<usize>>>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            kind: ProblemKind::General,
            severity: Severity::Error,
            file: file.to_owned(),
            span: span.into(),
            message: what.into(),
            help: None,
        }
    }

    /// A problem with which the file can be used.
    pub fn warning(
        file: &str,
        span: impl Into<Option<Range<usize>>>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(file, span, what)
        }
    }

    /// Sets what programs go by.
    #[must_use]
    pub fn with_kind(mut self, kind: ProblemKind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds what to do about the problem.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The text of a file that problems point into.
#[derive(Clone)]
pub struct SourceText {
    /// The file as the user named it, as in [`Problem::file`].
    pub file: String,
    /// The whole text.
    pub text: String,
    /// Whether it is a dialect description (holes and codes, no secrets) rather than a config.
    pub is_dialect: bool,
}

impl std::fmt::Debug for SourceText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceText({}, {} bytes)", self.file, self.text.len())
    }
}

/// Problems with the texts that they point into.
#[derive(Clone, Debug, Default)]
pub struct ProblemReport {
    /// The problems, in the order in which they are shown.
    pub problems: Vec<Problem>,
    /// The files they are about.
    pub texts: Vec<SourceText>,
}

impl ProblemReport {
    /// The number of errors.
    pub fn error_count(&self) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count()
    }

    /// Renders the report for people: file, line, column, the line with its values masked, a caret, help.
    pub fn render(&self, colours: bool) -> String {
        render::render_text(self, colours)
    }

    /// Renders the report for programs: an array of objects with `severity`, `file`, `line`, `column`,
    /// `message`, `help`.
    pub fn to_json(&self) -> serde_json::Value {
        render::render_json(self)
    }
}

impl std::fmt::Display for ProblemReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ProblemReport {}

/// The word of `known` that is closest to a misspelt one; none if all differ too much.
pub fn closest_match<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|other| {
            (
                strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase()),
                other,
            )
        })
        .filter(|(distance, other)| *distance <= 1 + other.len() / 4 && *distance < other.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// Help for an unknown word: its new name if it was renamed, else the closest of `known`, then all.
pub fn suggest(word: &str, known: &[&str]) -> String {
    if let Some(new) = renamed_to(word, known) {
        return format!("`{word}` is now `{new}`");
    }
    let list = known
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match (closest_match(word, known.iter().copied()), known.is_empty()) {
        (_, true) => "no value is allowed here".to_owned(),
        (Some(likely), false) if known.len() > 1 => {
            format!("did you mean `{likely}`? Known: {list}")
        }
        (Some(likely), false) => format!("did you mean `{likely}`?"),
        (None, false) => format!("known: {list}"),
    }
}

#[cfg(test)]
mod tests;
