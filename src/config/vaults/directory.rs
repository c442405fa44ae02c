//! `directory`: one file per field.

use serde::Deserialize;
use toml::Spanned;

use crate::config::check::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::vault::SourceSettings;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDirectory {
    path: Option<ConfigString>,
}

pub(super) fn parse(
    checker: &mut ConfigChecker<'_>,
    table: &Spanned<RawDirectory>,
) -> SourceSettings {
    SourceSettings::Directory {
        path: checker.required_path(table.get_ref().path.as_ref(), &table.span(), "path"),
    }
}
