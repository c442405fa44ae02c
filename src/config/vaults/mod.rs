//! `[vaults.NAME]`: where the credentials are kept. Each kind of vault has its own file: the
//! shape of its table and what the table means.

mod directory;
mod embedded;
mod env;
mod exec;
mod openbao;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::ConfigKey;
use crate::config::checker::ConfigChecker;
use crate::config::spanned::{ConfigString, NamedTables, in_file_order};
use crate::config::values;
use crate::vault::{
    DirectorySettings, EmbeddedSettings, EnvSettings, ExecSettings, OpenBaoSettings, Settings,
    SourceSettings,
};

/// The keys of [`RawVault`], in the order of the help text.
const KINDS: [&str; 5] = [
    EmbeddedSettings::KIND,
    OpenBaoSettings::KIND,
    DirectorySettings::KIND,
    EnvSettings::KIND,
    ExecSettings::KIND,
];

/// One vault: a table for each kind, of which exactly one is set.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RawVault {
    /// An encrypted file that `sms-sidecar vault` writes.
    #[schemars(with = "embedded::RawEmbedded")]
    embedded: Option<Spanned<embedded::RawEmbedded>>,
    /// A `.env` file, or the environment of the process.
    #[schemars(with = "env::RawEnv")]
    env: Option<Spanned<env::RawEnv>>,
    /// A folder with one file per field, as Kubernetes, systemd, Docker or a Vault agent write it.
    #[schemars(with = "directory::RawDirectory")]
    directory: Option<Spanned<directory::RawDirectory>>,
    /// A mount of an OpenBao or HashiCorp Vault server.
    #[schemars(with = "openbao::RawOpenBao")]
    openbao: Option<Spanned<openbao::RawOpenBao>>,
    /// A command that prints the entry as JSON.
    #[schemars(with = "exec::RawExec")]
    exec: Option<Spanned<exec::RawExec>>,
}

impl RawVault {
    /// Whether the vault holds many entries, so that a credential must name the `path` of one.
    pub(super) fn needs_path(&self) -> bool {
        self.embedded.is_some() || self.openbao.is_some()
    }

    /// The source of each kind that has a table; none for a table that lacks what it needs.
    fn parse_sources(&self, checker: &mut ConfigChecker<'_>) -> Vec<Option<SourceSettings>> {
        let mut sources = Vec::new();
        if let Some(table) = &self.embedded {
            sources.push(Some(embedded::parse(checker, table)));
        }
        if let Some(table) = &self.openbao {
            sources.push(openbao::parse(checker, table));
        }
        if let Some(table) = &self.directory {
            sources.push(Some(directory::parse(checker, table)));
        }
        if let Some(table) = &self.env {
            sources.push(Some(env::parse(checker, table)));
        }
        if let Some(table) = &self.exec {
            sources.push(Some(exec::parse(checker, table)));
        }
        sources
    }
}

/// The settings of all vaults. Reports every mistake; a vault without a usable source is left out.
pub(super) fn parse(checker: &mut ConfigChecker<'_>, vaults: &NamedTables<RawVault>) -> Settings {
    let mut sources = BTreeMap::new();
    for (name, vault) in in_file_order(vaults) {
        checker.require(name, values::identifier);
        checker.record_span(ConfigKey::Vault(name.get_ref().clone()), name.span());
        let found = vault.parse_sources(checker);
        if found.len() != 1 {
            report_kind_count(checker, name);
        }
        if let Some(source) = found.into_iter().flatten().next() {
            sources.insert(name.get_ref().clone(), source);
        }
    }
    Settings { sources }
}

fn report_kind_count(checker: &mut ConfigChecker<'_>, name: &ConfigString) {
    let kinds = KINDS.map(|kind| format!("`{kind}`")).join(", ");
    checker.error(
        name.span(),
        "a vault must have exactly one kind",
        format!("set one of {kinds}"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_the_keys_of_a_vault() {
        let unknown = toml::from_str::<RawVault>("no_such_kind = {}")
            .err()
            .unwrap();
        let expected = unknown.message().to_owned();
        let mut keys: Vec<&str> = expected
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|key| *key != "no_such_kind")
            .collect();
        let mut kinds = KINDS.to_vec();
        keys.sort_unstable();
        kinds.sort_unstable();
        assert_eq!(keys, kinds, "{expected}");
    }
}
