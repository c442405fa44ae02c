//! `directory`: one file per field.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::checker::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::config::text_types::FilePathText;
use crate::vault::{DirectorySettings, SourceSettings};

/// A folder with one file per field.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct RawDirectory {
    /// The folder. The `path` of a credential is a folder in it, each field a file in that.
    #[schemars(with = "FilePathText", extend("examples" = ["/run/secrets"]))]
    path: Option<ConfigString>,
}

pub(super) fn parse(
    checker: &mut ConfigChecker<'_>,
    table: &Spanned<RawDirectory>,
) -> SourceSettings {
    SourceSettings::Directory(DirectorySettings {
        path: checker.required_path(table.get_ref().path.as_ref(), &table.span(), "path"),
    })
}
