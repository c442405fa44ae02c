//! `exec`: a command that prints the entry as JSON.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::config::check::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::config::values;
use crate::vault::SourceSettings;

/// The time limit of one run of the command.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawExec {
    command: Vec<ConfigString>,
    timeout: Option<ConfigString>,
}

pub(super) fn parse(checker: &mut ConfigChecker<'_>, table: &Spanned<RawExec>) -> SourceSettings {
    let raw = table.get_ref();
    check_program(checker, table);
    SourceSettings::Exec {
        command: raw
            .command
            .iter()
            .map(|word| word.get_ref().clone())
            .collect(),
        timeout: checker.parse_or(
            raw.timeout.as_ref(),
            DEFAULT_TIMEOUT,
            values::positive_duration,
        ),
    }
}

fn check_program(checker: &mut ConfigChecker<'_>, table: &Spanned<RawExec>) {
    match table.get_ref().command.first() {
        None => checker.error(
            table.span(),
            "`command` is missing here",
            "add `command = [\"/usr/local/bin/…\", \"{path}\"]`; it is run without a shell",
        ),
        Some(program) if !program.get_ref().starts_with('/') => checker.error(
            program.span(),
            "`command` must be an absolute path",
            "write the program's path from `/` on; it is run without a shell",
        ),
        Some(_) => {}
    }
}
