//! `env`: a `.env` file, or the environment of this process.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::checker::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::config::text_types::FilePathText;
use crate::vault::{EnvSettings, SourceSettings};

/// A `.env` file, or the environment of the process.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEnv {
    /// A file with one `NAME=value` per line.
    #[schemars(with = "FilePathText", extend("x-default" = "the environment of the process", "examples" = ["/home/oneport/1port-core/.env"]))]
    file: Option<ConfigString>,
}

pub(super) fn parse(checker: &mut ConfigChecker<'_>, table: &Spanned<RawEnv>) -> SourceSettings {
    SourceSettings::Env(EnvSettings {
        file: table.get_ref().file.as_ref().map(|word| checker.path(word)),
    })
}
