//! The one TOML file: `raw` has its shape, `check` reports every error in it and builds each
//! module's own settings. Only the app and the command line use this module; the modules below
//! know nothing of a file. The JSON Schema and the reference of the keys come from `raw` too.
//!
//! Paths are relative to the file's folder. The file never holds a secret: a credential is a
//! reference into a vault.

mod ca;
mod check;
mod checker;
mod choices;
mod descriptions;
mod files;
mod raw;
mod reference;
mod references;
mod schema;
mod spanned;
mod text_types;
mod values;
mod vaults;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::diagnosis::complete_commands;
use crate::dialect::Catalog;
use crate::net::{CaSettings, Limits, Listen};
use crate::notify;
use crate::problem::{Problem, ProblemKind, ProblemReport, Severity, parse_toml};
use crate::proxy;
use crate::trace_export;
use crate::vault;

pub use ca::{excess_of_ca, intercepted_hosts, needed_constraints, uncovered_hosts};
pub use check::DEFAULT_RECHECK;
pub use descriptions::{DescriptionError, read_descriptions};
pub use files::{ConfigFingerprint, control_socket, inspect, load};
pub use reference::reference;
pub use schema::schema;

/// A config without an error.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this sidecar in the status.
    pub instance: Option<String>,
    /// For the pipeline.
    pub proxy: proxy::Settings,
    /// For the vaults.
    pub vault: vault::Settings,
    /// For the listeners.
    pub listen: Listen,
    /// The local CA. `None`: TLS is not ended, and CONNECT to a provider's host is denied.
    pub ca: Option<CaSettings>,
    /// Sizes and times at the entrypoints.
    pub limits: Limits,
    /// How to log.
    pub log: LogSettings,
    /// Where spans go. `None`: no spans are made.
    pub traces: Option<trace_export::Settings>,
    /// Where notifications go. `None`: nothing is posted.
    pub notify: Option<notify::Settings>,
    /// The warnings, and the texts that they point into.
    pub warnings: ProblemReport,
    /// What the config was read from.
    pub fingerprint: ConfigFingerprint,
    /// The file, as the user named it.
    file: String,
    spans: BTreeMap<ConfigKey, Range<usize>>,
}

/// A place in the file whose problems are found only when files or vaults are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKey {
    /// The `ca` of `[intercept]`.
    Ca,
    /// `[vaults.NAME]`.
    Vault(String),
    /// A provider's `credential`.
    Credential(String),
    /// A provider's `ca_file`.
    CaFile(String),
    /// A caller's `token`.
    CallerToken(String),
    /// The `ca_file` of `[traces]`.
    TracesCaFile,
    /// The `connections` of `[limits]`.
    Connections,
    /// The `webhook` of `[notify]`.
    Webhook,
    /// The `ca_file` of `[notify]`.
    NotifyCaFile,
}

impl Config {
    /// The file, as the user named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// An error at `key`.
    pub fn error(&self, key: &ConfigKey, what: impl Into<String>) -> Problem {
        let what = complete_commands(&what.into(), &self.file);
        Problem::error(&self.file, self.spans.get(key).cloned(), what)
    }

    /// A warning at `key`.
    pub fn warning(&self, key: &ConfigKey, what: impl Into<String>) -> Problem {
        let what = complete_commands(&what.into(), &self.file);
        Problem::warning(&self.file, self.spans.get(key).cloned(), what)
    }
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object per line; else text for people.
    pub json: bool,
    /// `error` `warn` `info` `debug` `trace`.
    pub level: &'static str,
}

/// Checks `text` against the descriptions in `catalog` without reading any file. The config is returned if no problem
/// is an error.
pub fn check_text(name: &str, text: &str, catalog: &Catalog) -> (Option<Config>, Vec<Problem>) {
    let (file, mut problems) = parse_toml::<raw::RawConfig>(name, text);
    if problems
        .iter()
        .any(|problem| problem.kind == ProblemKind::Syntax)
    {
        // A syntax error can swallow keys and tables: other problems may be its consequences.
        problems.retain(|problem| problem.kind == ProblemKind::Syntax);
        return (None, problems);
    }
    for problem in &mut problems {
        add_secret_help(problem);
        add_unit_help(problem, text);
    }
    let Some(file) = file else {
        return (None, problems);
    };
    let source = checker::ConfigSource {
        name,
        text,
        invalid_spans: problems
            .iter()
            .filter_map(|problem| problem.span.clone())
            .collect(),
    };
    let (loaded, found) = check::check_config(source, &file, catalog);
    problems.extend(found);
    problems.sort_by_key(|problem| {
        (
            problem.severity,
            problem.span.as_ref().map(|span| span.start),
        )
    });
    let sound = problems
        .iter()
        .all(|problem| problem.severity != Severity::Error);
    (sound.then_some(loaded), problems)
}

/// Adds help to an unknown key that looks like a secret.
fn add_secret_help(problem: &mut Problem) {
    const SECRETS: [&str; 8] = [
        "pass", "secret", "token", "key", "login", "user", "sid", "email",
    ];
    let ProblemKind::UnknownKey(key) = &problem.kind else {
        return;
    };
    let key = key.to_lowercase();
    if SECRETS.iter().any(|word| key.contains(word)) && !key.contains("key_file") {
        let known = problem.help.take().unwrap_or_default();
        let advice = "if this is a secret: store it in a vault, refer to it with `credential = { vault = \"…\", path = \"…\" }`, and replace it, because it was in a file";
        problem.help = Some(format!("{known}\n{advice}"));
    }
}

/// Adds help to a number without its unit, its host or its quotes.
fn add_unit_help(problem: &mut Problem, text: &str) {
    if problem.kind != ProblemKind::NumberForString {
        return;
    }
    let Some(span) = problem.span.clone() else {
        return;
    };
    let number = text
        .get(span.clone())
        .filter(|number| number.len() <= 5 && number.bytes().all(|byte| byte.is_ascii_digit()));
    let help = match (key_before(text, span.start), number) {
        (
            "timeout" | "poll" | "recheck" | "deadline" | "duplicate_window" | "client" | "idle"
            | "drain" | "interval",
            Some(number),
        ) => {
            format!("a duration has a unit: \"{number}s\"")
        }
        ("body" | "headers", Some(number)) => format!("a size has a unit: \"{number}KiB\""),
        ("proxy" | "admin" | "metrics", Some(port))
            if is_in_table(text, span.start, "[listen]") =>
        {
            format!("an address has a host: \"127.0.0.1:{port}\"")
        }
        ("proxy", Some(port)) => format!("a proxy is a URL: \"http://HOST:{port}\""),
        _ => "put it in quotes".to_owned(),
    };
    problem.help = Some(help);
}

/// The key of the value that begins at `at`.
fn key_before(text: &str, at: usize) -> &str {
    let before = text
        .get(..at)
        .unwrap_or_default()
        .trim_end()
        .trim_end_matches('=')
        .trim_end();
    before
        .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default()
}

/// Whether `at` is in the table with this header.
fn is_in_table(text: &str, at: usize, header: &str) -> bool {
    let mut above = text
        .get(..at)
        .unwrap_or_default()
        .lines()
        .rev()
        .map(str::trim_start);
    above
        .find(|line| line.starts_with('['))
        .is_some_and(|line| line.starts_with(header))
}
