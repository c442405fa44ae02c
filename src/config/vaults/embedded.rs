//! `embedded`: an encrypted file of ours.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::checker::ConfigChecker;
use crate::config::spanned::ConfigString;
use crate::config::text_types::FilePathText;
use crate::vault::{EmbeddedSettings, SourceSettings};

/// An encrypted file that `sms-sidecar vault` writes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["file", "key_file"]))]
pub(super) struct RawEmbedded {
    /// The encrypted file.
    #[schemars(with = "FilePathText", extend("examples" = ["/var/lib/sms-sidecar/vault.age"]))]
    file: Option<ConfigString>,
    /// Its key. If you lose the key, the vault cannot be recovered.
    #[schemars(with = "FilePathText", extend("examples" = ["/etc/sms-sidecar/vault.key"]))]
    key_file: Option<ConfigString>,
}

pub(super) fn parse(
    checker: &mut ConfigChecker<'_>,
    table: &Spanned<RawEmbedded>,
) -> SourceSettings {
    let raw = table.get_ref();
    SourceSettings::Embedded(EmbeddedSettings {
        file: checker.required_path(raw.file.as_ref(), &table.span(), "file"),
        key_file: checker.required_path(raw.key_file.as_ref(), &table.span(), "key_file"),
    })
}
