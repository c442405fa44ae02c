//! A complaint about a file that people wrote (config, dialect): where, what, what to do.
//! Shown like a compiler shows it, with every value masked that might be a secret:
//! people paste these messages into tickets.

mod mask;
mod read;
mod renamed;
mod render;

use std::ops::Range;

pub use read::{explain_toml_error, parse_toml};
pub use renamed::renamed_to;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but somebody should know.
    Warning,
}

impl Severity {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: String,
    /// The bytes it is about; none: the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one line, never quoting a value that may be secret.
    pub message: String,
    /// What to do, expected keys, did-you-mean.
    pub help: Option<String>,
}

impl Problem {
    /// The file cannot be used because of this.
    pub fn error(
        file: &str,
        span: impl Into<Option<Range<usize>>>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            span: span.into(),
            message: what.into(),
            help: None,
        }
    }

    /// The file can be used, but somebody should know.
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

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A text that complaints point into.
#[derive(Clone)]
pub struct SourceText {
    /// The file as the user named it: what [`Problem::file`] says.
    pub file: String,
    /// The whole of it.
    pub text: String,
    /// Whether it describes a service (holes and codes, no accounts) or configures one.
    pub is_dialect: bool,
}

impl std::fmt::Debug for SourceText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({}, {} bytes)", self.file, self.text.len())
    }
}

/// Complaints together with the texts they point into: all that is needed to show them.
#[derive(Clone, Debug, Default)]
pub struct ProblemReport {
    /// In the order they are shown.
    pub problems: Vec<Problem>,
    /// The files they are about.
    pub texts: Vec<SourceText>,
}

impl ProblemReport {
    /// How many of them forbid using the file.
    pub fn error_count(&self) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count()
    }

    /// Shown as a compiler would: file, line, column, the line with its values masked, a caret, help.
    pub fn render(&self, colours: bool) -> String {
        render::render_text(self, colours)
    }

    /// The same for programs: an array of objects with `severity`, `file`, `line`, `column`, `what`, `help`.
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

/// The word among `known` that was most likely meant.
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

/// Help for a word that is none of `known`: its new name if it was renamed, else the likely one, then all.
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
        (_, true) => "nothing is known here".to_owned(),
        (Some(likely), false) if known.len() > 1 => {
            format!("did you mean `{likely}`? Known: {list}")
        }
        (Some(likely), false) => format!("did you mean `{likely}`?"),
        (None, false) => format!("known: {list}"),
    }
}

#[cfg(test)]
mod tests;
