//! Writes to the terminal; no other module does. Colours and wrapped lines appear on a terminal only, and a
//! closed pipe (`| head`) is the reader's choice, not a failure.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a message of a process that serves may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a reader of standard error that stalls (a full pipe) holds this process up.
static WAITS_FOR_READER: AtomicBool = AtomicBool::new(true);

/// From now on a message that nobody reads is given up after a second. A command for people waits for its reader, a
/// pager for example; a process that serves, or that a service manager starts again, must not.
pub(crate) fn give_up_on_stalled_reader() {
    WAITS_FOR_READER.store(false, Ordering::Relaxed);
}

use crate::cli::layout::{Target, lay_out};
use crate::diagnosis::complete_commands;

/// The config of this process, as an absolute path; none: it reads none.
static CONFIG: OnceLock<String> = OnceLock::new();

/// From now on each command in a text for people names this config, so that it can be pasted as it is.
pub(crate) fn name_config(config: &str) {
    CONFIG.get_or_init(|| config.to_owned());
}

fn with_config(text: &str) -> String {
    complete_commands(text, CONFIG.get().map_or("", String::as_str))
}

/// Writes a text for people to standard output.
pub(crate) fn line(text: impl Display) {
    verbatim(lay_out(
        &with_config(&text.to_string()),
        Target::Stdout.width(),
    ));
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
    let text = with_config(&text.to_string());
    if WAITS_FOR_READER.load(Ordering::Relaxed) {
        return write_note(&text);
    }
    let (done, written) = mpsc::channel::<()>();
    let writer = thread::Builder::new().name("note".to_owned());
    let started = writer.spawn(move || {
        write_note(&text);
        drop(done);
    });
    if started.is_ok() {
        // Ends when the thread does.
        written.recv_timeout(WRITE_TIMEOUT).unwrap_or_default();
    }
}

fn write_note(text: &str) {
    let mut err = anstream::stderr().lock();
    let text = lay_out(text, Target::Stderr.width());
    writeln!(err, "{text}").unwrap_or_default();
}

/// Writes a text to standard error, marked as an error.
pub(crate) fn error(text: impl Display) {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    note(format_args!("{red}error{red:#}: {text}"));
}
