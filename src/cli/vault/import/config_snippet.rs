//! The config lines that use the imported credentials: the vault, and one provider per entry.

use std::path::Path;

use toml::Value;

use crate::cli::vault::import::{Args, KnownField, Proposal, entry_path};
use crate::config::Config;
use crate::dialect::Dialect;
use crate::vault::EmbeddedSettings;
use crate::vault::embedded::Embedded;

/// The settings that a provider of this dialect needs besides its credential.
pub(super) fn extra_config(dialect: &Dialect) -> String {
    let experimental = if dialect.requires_experimental() {
        "experimental = true\n"
    } else {
        ""
    };
    let needed: Vec<String> = dialect
        .params()
        .iter()
        .filter(|param| param.default.is_none())
        .map(|param| format!("{} = \"…\"", param.name))
        .collect();
    let params = if needed.is_empty() {
        String::new()
    } else {
        format!("param = {{ {} }}\n", needed.join(", "))
    };
    format!("{experimental}{params}")
}

/// The tables that the config lacks; without a config, all of them.
pub(super) fn render_config(
    vault: &Embedded,
    args: &Args,
    proposals: &[Proposal],
    known: &[KnownField],
    loaded: Option<&Config>,
) -> String {
    let named = loaded.and_then(|loaded| vault_name(vault, loaded));
    let mut tables = Vec::new();
    if named.is_none() {
        let file = absolute_path(vault.file());
        let key = absolute_path(vault.key_file());
        tables.push(format!(
            "[vaults.local]\nembedded = {{ file = {file}, key_file = {key} }}\n"
        ));
    }
    let vault = named.unwrap_or("local");
    for proposal in proposals {
        let path = entry_path(&args.prefix, &proposal.dialect);
        if !loaded.is_some_and(|loaded| is_referenced(loaded, vault, &path)) {
            let besides = known
                .iter()
                .find(|known| known.dialect == proposal.dialect)
                .map_or("", |known| &known.extra_config);
            let dialect = &proposal.dialect;
            let path = Value::from(path);
            tables.push(format!(
                "[providers.{dialect}]\ndialect = \"{dialect}\"\ncredential = {{ vault = \"{vault}\", path = {path} }}\n{besides}"
            ));
        }
    }
    if tables.is_empty() {
        return "the config uses these entries already".to_owned();
    }
    format!("\n# add to the config:\n\n{}", tables.join("\n"))
}

fn vault_name<'a>(vault: &Embedded, loaded: &'a Config) -> Option<&'a str> {
    let same = |other: &EmbeddedSettings| other.file == vault.file();
    loaded
        .vault
        .sources
        .iter()
        .find(|(_, source)| source.as_embedded().is_some_and(same))
        .map(|(name, _)| name.as_str())
}

fn is_referenced(loaded: &Config, vault: &str, path: &str) -> bool {
    let references = loaded
        .proxy
        .providers
        .iter()
        .filter_map(|provider| provider.credential.as_ref());
    references
        .into_iter()
        .any(|reference| reference.vault == vault && reference.path == path)
}

/// An absolute path: the config resolves a relative one against its own folder.
fn absolute_path(file: &Path) -> Value {
    Value::from(
        std::path::absolute(file)
            .unwrap_or_else(|_| file.to_owned())
            .display()
            .to_string(),
    )
}
