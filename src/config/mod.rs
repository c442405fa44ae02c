//! The one TOML file: read into a shape (`raw`), judged whole (`check`), handed on as each
//! module's own settings. Only the app and the command line know this module; nobody
//! below it knows that there is a file.
//!
//! A default lives beside the key it stands for. Paths are relative to the file's folder.
//! It refuses secrets as values: a credential is a reference into a vault.

mod check;
mod files;
mod raw;
mod spanned;
mod values;
mod vaults;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::dialect::Catalog;
use crate::net::{CaSettings, Limits, Listen};
use crate::problem::{Problem, ProblemReport, Severity, parse_toml};
use crate::proxy;
use crate::trace_export;
use crate::vault;

pub use files::{
    ConfigFingerprint, control_socket, inspect, intercepted_hosts, load, uncovered_hosts,
};

/// A config without an error.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the pipeline.
    pub proxy: proxy::Settings,
    /// For the vaults.
    pub vault: vault::Settings,
    /// For the listeners.
    pub listen: Listen,
    /// The local CA; none: TLS is not ended, CONNECT to a provider's host is refused.
    pub ca: Option<CaSettings>,
    /// Sizes and times of the doors.
    pub limits: Limits,
    /// How to log.
    pub log: LogSettings,
    /// Where spans go; none: there are none.
    pub traces: Option<trace_export::Settings>,
    /// What somebody should know, and the texts it points into.
    pub warnings: ProblemReport,
    /// What all this was read from.
    pub fingerprint: ConfigFingerprint,
    /// As the user named it.
    file: String,
    spans: BTreeMap<ConfigKey, Range<usize>>,
}

/// What may turn out wrong only when files or vaults are read.
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
}

impl Config {
    /// The file, as the user named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// An error about what stands at `key`.
    pub fn error(&self, key: &ConfigKey, what: impl Into<String>) -> Problem {
        Problem::error(&self.file, self.spans.get(key).cloned(), what)
    }

    /// A warning about it.
    pub fn warning(&self, key: &ConfigKey, what: impl Into<String>) -> Problem {
        Problem::warning(&self.file, self.spans.get(key).cloned(), what)
    }
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object a line; else words for people.
    pub json: bool,
    /// `error` `warn` `info` `debug` `trace`.
    pub level: &'static str,
}

/// Judges `text` against the descriptions in `catalog`; touches no file. The settings are there if no problem is an error.
pub fn check_text(name: &str, text: &str, catalog: &Catalog) -> (Option<Config>, Vec<Problem>) {
    let (file, mut problems) = parse_toml::<raw::RawConfig>(name, text);
    for problem in &mut problems {
        add_secret_help(problem);
        add_unit_help(problem, text);
    }
    let Some(file) = file else {
        return (None, problems);
    };
    let broken = problems
        .iter()
        .filter_map(|problem| problem.span.clone())
        .collect();
    let (loaded, judged) = check::check_config((name, text), &file, catalog, broken);
    problems.extend(judged);
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

/// A secret in the file deserves better help than a list of keys.
fn add_secret_help(problem: &mut Problem) {
    const SECRETS: [&str; 8] = [
        "pass", "secret", "token", "key", "login", "user", "sid", "email",
    ];
    let Some(key) = problem
        .message
        .strip_prefix("unknown key ")
        .map(str::to_lowercase)
    else {
        return;
    };
    if SECRETS.iter().any(|word| key.contains(word)) && !key.contains("key_file") {
        let known = problem.help.take().unwrap_or_default();
        let advice = "if this is a secret: put it into a vault, refer to it with `credential = { vault = \"…\", path = \"…\" }`, and change it, now that it stood in a file";
        problem.help = Some(format!("{known}\n{advice}"));
    }
}

/// A number without its unit, its host or its quotes: what it would be with them.
fn add_unit_help(problem: &mut Problem, text: &str) {
    if problem.message != "a number where a string is expected" {
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
            | "drain",
            Some(number),
        ) => {
            format!("a length of time has its unit: \"{number}s\"")
        }
        ("body" | "headers", Some(number)) => format!("a size has its unit: \"{number}KiB\""),
        ("proxy" | "admin" | "metrics", Some(port))
            if is_in_table(text, span.start, "[listen]") =>
        {
            format!("an address has its host: \"127.0.0.1:{port}\"")
        }
        ("proxy", Some(port)) => format!("a proxy is a URL: \"http://HOST:{port}\""),
        _ => "put it in quotes".to_owned(),
    };
    problem.help = Some(help);
}

/// The key whose value begins at `at`.
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

/// Whether `at` is below this header.
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
