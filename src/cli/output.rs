//! Writes to the terminal; no other module does. Colours appear on a terminal only, and a closed
//! pipe (`| head`) is the reader's choice, not a failure.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to standard output.
pub(crate) fn line(text: impl Display) {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .unwrap_or_default();
}

/// Writes a line to standard error, for progress and warnings.
pub(crate) fn note(text: impl Display) {
    let mut err = anstream::stderr().lock();
    writeln!(err, "{text}").unwrap_or_default();
}

/// Writes a line to standard error, marked as an error.
pub(crate) fn error(text: impl Display) {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    note(format_args!("{red}error{red:#}: {text}"));
}
