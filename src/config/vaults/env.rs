//! `env`: a `.env` file, or the environment of this process.

use serde::Deserialize;
use toml::Spanned;

use crate::config::check::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::vault::SourceSettings;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEnv {
    file: Option<ConfigString>,
}

pub(super) fn parse(checker: &mut ConfigChecker<'_>, table: &Spanned<RawEnv>) -> SourceSettings {
    SourceSettings::Env {
        file: table.get_ref().file.as_ref().map(|word| checker.path(word)),
    }
}
