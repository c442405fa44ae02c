//! `embedded`: an encrypted file of ours.

use serde::Deserialize;
use toml::Spanned;

use crate::config::check::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::vault::SourceSettings;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEmbedded {
    file: Option<ConfigString>,
    key_file: Option<ConfigString>,
}

pub(super) fn parse(
    checker: &mut ConfigChecker<'_>,
    table: &Spanned<RawEmbedded>,
) -> SourceSettings {
    let raw = table.get_ref();
    SourceSettings::Embedded {
        file: checker.required_path(raw.file.as_ref(), &table.span(), "file"),
        key_file: checker.required_path(raw.key_file.as_ref(), &table.span(), "key_file"),
    }
}
