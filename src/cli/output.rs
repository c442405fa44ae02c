//! Writes to the terminal; no other module does. Colours and wrapped lines appear on a terminal only, and a
//! closed pipe (`| head`) is the reader's choice, not a failure.

use std::fmt::Display;
use std::io::Write;

use crate::cli::layout::{Target, lay_out};

/// Writes a text for people to standard output.
pub(crate) fn line(text: impl Display) {
    verbatim(lay_out(&text.to_string(), Target::Stdout.width()));
}

/// Writes a text for programs to standard output as it is: JSON, a file, a value.
pub(crate) fn verbatim(text: impl Display) {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .unwrap_or_default();
}

/// Writes a text to standard error, for progress and warnings.
pub(crate) fn note(text: impl Display) {
    let mut err = anstream::stderr().lock();
    let text = lay_out(&text.to_string(), Target::Stderr.width());
    writeln!(err, "{text}").unwrap_or_default();
}

/// Writes a text to standard error, marked as an error.
pub(crate) fn error(text: impl Display) {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    note(format_args!("{red}error{red:#}: {text}"));
}
