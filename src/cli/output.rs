//! The only place that writes to the terminal. Colours appear on a terminal only, and a
//! closed pipe (`| head`) is the reader's choice, not a failure.

use std::fmt::Display;
use std::io::Write;

/// One line on standard output.
pub(crate) fn line(text: impl Display) {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .unwrap_or_default();
}

/// One line on standard error, for progress and warnings.
pub(crate) fn note(text: impl Display) {
    let mut err = anstream::stderr().lock();
    writeln!(err, "{text}").unwrap_or_default();
}

/// One line on standard error, marked as the reason for a failure.
pub(crate) fn error(text: impl Display) {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    note(format_args!("{red}error{red:#}: {text}"));
}
