//! The backend's own side: its `.env`, its axios, and whether its requests come here. Reads files of its
//! folder and changes none; values are compared in memory and never shown.

mod door;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::cli::doctor::check::Check;
use crate::cli::doctor::running::Running;
use crate::cli::wrap::{axios_releases, node_release};
use crate::config::{self, Loaded};
use crate::proxy::Provider;
use crate::secret::Credential;
use crate::vault::{Keeper, SourceSettings, dotenv, file};
use door::Facts;
use variables::{Field, Role};

/// Every check of the backend in `folder`.
pub(super) async fn look(folder: &Path, loaded: &Loaded, providers: &[&Provider], keeper: &Keeper, running: &Running) -> Vec<Check> {
    let path = folder.join(".env");
    let text = match file::read_text(&path, "name the backend's folder, and let this user read its `.env`") {
        Ok(text) => text,
        Err(error) if path.exists() || !folder.is_dir() => {
            return vec![Check::failed("env-file", error.to_string(), "name the folder that holds the backend's `.env`").of("backend")];
        }
        // Its environment may come from elsewhere: what can be known without it is still told.
        Err(_) => Zeroizing::new(String::new()),
    };
    let mut checks = if path.exists() {
        vec![variables::file(&text)]
    } else {
        vec![Check::skipped("env-file", format!("{} is not there", path.display()))]
    };
    if path.exists() {
        checks.extend(compared(&path, &text, loaded, providers, keeper).await);
    }
    let parsed = dotenv::parse(&text);
    let last: BTreeMap<&str, &str> = parsed.iter().map(|variable| (variable.name.as_str(), variable.value.as_str())).collect();
    let modules = folder.join("node_modules");
    let axios = axios_releases(&modules);
    let hosts = config::hosts(&loaded.proxy);
    let facts = Facts {
        variables: &last,
        door: loaded.listen.proxy,
        hosts: &hosts,
        intercepts: loaded.ca.is_some(),
        trusts: trusts(&last, loaded, folder),
        axios: &axios,
        node: node_release(),
        reads_late: modules.join("dotenv/package.json").exists(),
        calls: running.calls(),
    };
    checks.extend(door::judge(&facts));
    checks.into_iter().map(|check| check.of("backend")).collect()
}

/// The file's variables beside what the vault holds.
async fn compared(path: &Path, text: &str, loaded: &Loaded, providers: &[&Provider], keeper: &Keeper) -> Vec<Check> {
    let mut credentials: Vec<Option<Arc<Credential>>> = Vec::new();
    for provider in providers {
        credentials.push(match &provider.credential {
            Some(reference) => keeper.get(reference).await.ok(),
            None => None,
        });
    }
    let named: Vec<Vec<Vec<String>>> = providers.iter().map(|provider| names(provider, role(path, loaded, provider))).collect();
    let mut fields = Vec::new();
    for ((provider, credential), names) in providers.iter().zip(&credentials).zip(&named) {
        let role = role(path, loaded, provider);
        fields.extend(provider.dialect.credential_fields().iter().zip(names).map(|(field, names)| Field {
            provider: provider.id.as_str(),
            name: &field.name,
            public: field.public,
            required: field.required,
            placeholder: field.placeholder.as_deref(),
            names,
            vault: credential.as_deref(),
            role,
        }));
    }
    variables::judge(text, &fields)
}

/// What each field is called in `.env` files; where this one is the vault, what the config calls it.
fn names(provider: &Provider, role: Role) -> Vec<Vec<String>> {
    let mapped = |field: &str| provider.credential.as_ref().filter(|_| role == Role::Vault)?.fields.get(field).cloned();
    provider
        .dialect
        .credential_fields()
        .iter()
        .map(|field| mapped(&field.name).map_or_else(|| field.env.clone(), |name| vec![name]))
        .collect()
}

/// What becomes of the values that stand in this file.
fn role(path: &Path, loaded: &Loaded, provider: &Provider) -> Role {
    let Some(reference) = &provider.credential else { return Role::Sent };
    match loaded.vault.sources.get(&reference.vault) {
        Some(SourceSettings::Env { file: Some(file) }) if same_file(file, path) => Role::Vault,
        _ => Role::Replaced,
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize().ok().zip(other.canonicalize().ok()).is_some_and(|(one, other)| one == other)
}

/// Whether the file that Node is told to trust holds our CA.
fn trusts(variables: &BTreeMap<&str, &str>, loaded: &Loaded, folder: &Path) -> Option<Result<bool, String>> {
    let named = variables.get("NODE_EXTRA_CA_CERTS").filter(|value| !value.is_empty())?;
    let ca = &loaded.ca.as_ref()?.cert_file;
    Some(holds(&folder.join(PathBuf::from(named)), ca))
}

fn holds(bundle: &Path, ca: &Path) -> Result<bool, String> {
    let bundle = std::fs::read_to_string(bundle).map_err(|error| error.to_string())?;
    let ca = std::fs::read_to_string(ca).map_err(|error| error.to_string())?;
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    Ok(plain(&bundle).contains(&plain(&ca)))
}
