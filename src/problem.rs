//! A complaint about a file that people wrote (config, dialect): where, what, what to do.
//! Shown like a compiler shows it, with the value masked where it might be a secret.

use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but somebody should know.
    Warning,
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
    pub what: String,
    /// What to do, expected keys, did-you-mean.
    pub help: Option<String>,
}
