//! `exec`: a command that prints the entry as JSON.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::checker::ConfigChecker;
use crate::config::spanned::{ConfigString, string_list};
use crate::config::text_types::PositiveDurationText;
use crate::config::values;
use crate::vault::{ExecSettings, SourceSettings};

/// The time limit of one run of the command.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A command that prints the entry as JSON. It runs without a shell and almost without environment.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["command"]))]
pub(super) struct RawExec {
    /// The program, as an absolute path, and its arguments. `{path}` becomes the credential's `path`,
    /// which is also in `SMS_SIDECAR_VAULT_PATH`.
    #[schemars(with = "Vec<String>", extend("examples" = [["/usr/local/bin/secret", "{path}"]]))]
    command: Vec<ConfigString>,
    /// How long one run may take.
    #[schemars(with = "PositiveDurationText", extend("default" = "5s"))]
    timeout: Option<ConfigString>,
}

pub(super) fn parse(checker: &mut ConfigChecker<'_>, table: &Spanned<RawExec>) -> SourceSettings {
    let raw = table.get_ref();
    check_program(checker, table);
    SourceSettings::Exec(ExecSettings {
        command: string_list(&raw.command),
        timeout: checker.parse_or(
            raw.timeout.as_ref(),
            DEFAULT_TIMEOUT,
            values::positive_duration,
        ),
    })
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
