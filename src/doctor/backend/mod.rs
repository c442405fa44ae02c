//! The backend's own side: its `.env`, its axios, and whether its requests come here. Reads files of its
//! folder and changes none; values are compared in memory and never shown.

pub(crate) mod entrypoint;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::dialect::Catalog;
use crate::doctor::Setup;
use crate::doctor::check::Check;
use crate::doctor::runner::Runner;
use crate::file_error::describe_read_error;
use crate::node::{axios_releases, node_release};
use crate::provider::Provider;
use crate::secret::Credential;
use crate::vault::{ReadError, SourceSettings, dotenv, file};
use entrypoint::BackendFacts;
use variables::{BackendField, ImportCommand, ValueRole};

/// Every check of the backend in `folder`.
pub(crate) async fn check_backend(
    folder: &Path,
    runner: &Runner<'_>,
    providers: &[&Provider],
) -> Vec<Check> {
    let path = folder.join(".env");
    let text = match read_env(&path, folder) {
        Ok(text) => text,
        Err(error) => return vec![unreadable_env_check(&error)],
    };
    let mut checks = match &text {
        Some(text) => {
            let mut checks = vec![variables::check_file_format(text)];
            checks.extend(compare_with_vault(&path, text, runner, providers).await);
            checks
        }
        // Its environment may come from elsewhere: the checks that do not need the file still run.
        None => vec![Check::skipped(
            "env-file",
            format!("{} does not exist", path.display()),
        )],
    };
    let text = text.unwrap_or_default();
    let parsed = dotenv::parse(&text);
    let last: BTreeMap<&str, &str> = parsed
        .iter()
        .map(|variable| (variable.name.as_str(), variable.value.as_str()))
        .collect();
    let modules = folder.join("node_modules");
    let axios = axios_releases(&modules);
    let unreadable_axios = axios.as_ref().err().map(ToString::to_string);
    let axios = axios.unwrap_or_default();
    let setup = runner.setup;
    let facts = BackendFacts {
        variables: &last,
        entrypoint: setup.listen.proxy,
        hosts: &setup.hosts,
        intercepts: setup.ca.is_some(),
        trusts_ca: trusts_ca(&last, setup, folder),
        axios: &axios,
        unreadable_axios: unreadable_axios.as_deref(),
        node: node_release(),
        uses_dotenv: modules.join("dotenv/package.json").exists(),
        requests: runner.running.backend_requests(),
    };
    checks.extend(entrypoint::check_environment(&facts));
    checks
        .into_iter()
        .map(|check| check.with_subject("backend"))
        .collect()
}

/// The text of the folder's `.env`; none: the folder has no such file.
fn read_env(path: &Path, folder: &Path) -> Result<Option<Zeroizing<String>>, ReadError> {
    match file::read_text(path, "name the backend's folder") {
        Ok(text) => Ok(Some(text)),
        Err(ReadError::MissingFile { .. }) if folder.is_dir() => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreadable_env_check(error: &ReadError) -> Check {
    Check::failed(
        "env-file",
        error.to_string(),
        "pass the folder that contains the backend's `.env`, and make it readable by this user",
    )
    .with_subject("backend")
}

/// Compares the variables of the file with the fields in the vault.
async fn compare_with_vault(
    path: &Path,
    text: &str,
    runner: &Runner<'_>,
    providers: &[&Provider],
) -> Vec<Check> {
    let mut credentials: Vec<Option<Arc<Credential>>> = Vec::new();
    for provider in providers {
        credentials.push(match &provider.credential {
            Some(reference) => runner.credential_cache.get(reference).await.ok(),
            None => None,
        });
    }
    let named: Vec<Vec<Vec<String>>> = providers
        .iter()
        .map(|provider| variable_names(provider, value_role(path, runner.setup, provider)))
        .collect();
    let mut fields = Vec::new();
    for ((provider, credential), names) in providers.iter().zip(&credentials).zip(&named) {
        let role = value_role(path, runner.setup, provider);
        fields.extend(provider.dialect.credential_fields().iter().zip(names).map(
            |(field, names)| BackendField {
                provider: provider.id.as_str(),
                name: &field.name,
                public: field.public,
                required: field.required,
                placeholder: field.placeholder.as_deref(),
                names,
                vault: credential.as_deref(),
                role,
            },
        ));
    }
    let file = path.display().to_string();
    let import = ImportCommand {
        file: &file,
        config: runner.setup.file,
    };
    check_all_variables(text, providers, &fields, &import)
}

/// The variables of the providers, then what looks like a credential beside them.
fn check_all_variables(
    text: &str,
    providers: &[&Provider],
    fields: &[BackendField<'_>],
    import: &ImportCommand<'_>,
) -> Vec<Check> {
    let mut checks = variables::check_variables(text, fields, import);
    let built_in = Catalog::built_in();
    let dialects: Vec<&str> = built_in
        .iter()
        .chain(providers.iter().map(|provider| &provider.dialect))
        .map(|dialect| dialect.name.as_str())
        .collect();
    checks.extend(variables::check_other_variables(
        text, fields, &dialects, import,
    ));
    checks
}

/// Each field's name in `.env` files; if this file is the vault, its name in the config.
fn variable_names(provider: &Provider, role: ValueRole) -> Vec<Vec<String>> {
    let mapped = |field: &str| {
        provider
            .credential
            .as_ref()
            .filter(|_| role == ValueRole::Vault)?
            .fields
            .get(field)
            .cloned()
    };
    provider
        .dialect
        .credential_fields()
        .iter()
        .map(|field| mapped(&field.name).map_or_else(|| field.env.clone(), |name| vec![name]))
        .collect()
}

/// What becomes of the values that stand in this file.
fn value_role(path: &Path, setup: &Setup<'_>, provider: &Provider) -> ValueRole {
    let Some(reference) = &provider.credential else {
        return ValueRole::Sent;
    };
    let source = setup.vault.sources.get(&reference.vault);
    let file = source.and_then(SourceSettings::env_file);
    if file.is_some_and(|file| is_same_file(file, path)) {
        ValueRole::Vault
    } else {
        ValueRole::Replaced
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize()
        .ok()
        .zip(other.canonicalize().ok())
        .is_some_and(|(one, other)| one == other)
}

/// Whether Node's file of extra trusted CAs contains our CA.
fn trusts_ca(
    variables: &BTreeMap<&str, &str>,
    setup: &Setup<'_>,
    folder: &Path,
) -> Option<Result<bool, String>> {
    let named = variables
        .get("NODE_EXTRA_CA_CERTS")
        .filter(|value| !value.is_empty())?;
    let ca = &setup.ca?.cert_file;
    Some(contains_certificate(&folder.join(PathBuf::from(named)), ca))
}

fn contains_certificate(bundle: &Path, ca: &Path) -> Result<bool, String> {
    let read = |file: &Path| {
        std::fs::read_to_string(file).map_err(|error| describe_read_error(file, &error).what)
    };
    let (bundle, ca) = (read(bundle)?, read(ca)?);
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    Ok(plain(&bundle).contains(&plain(&ca)))
}
