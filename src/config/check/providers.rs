//! `[providers]`, `[callers]`: accounts, and the vault entries with their credentials.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::config::ConfigKey;
use crate::config::checker::{ConfigChecker, Reference};
use crate::config::choices::TEMPLATES;
use crate::config::raw::{self, RawConfig};
use crate::config::references::RawCredentialRef;
use crate::config::spanned::{ConfigString, in_file_order, string_list, string_map};
use crate::config::values;
use crate::config::vaults::RawVault;
use crate::dialect::Dialect;
use crate::net::UpstreamSettings;
use crate::provider::Provider;
use crate::proxy::{Caller, CallerProof, Mode};
use crate::sms::{Operation, ProviderId};
use crate::vault::CredentialRef;

/// One attempt's time limit.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// From a provider's quarantine to its first half-open trial, unless the config sets `recheck`.
pub const DEFAULT_RECHECK: Duration = Duration::from_mins(1);

pub(super) fn providers(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    mode: Mode,
) -> Vec<Provider> {
    if file.providers.is_empty() {
        checker.file_error(
            "no provider is configured",
            "add `[providers.NAME]` with at least `dialect`",
        );
    }
    let mut providers = Vec::new();
    for (name, raw) in in_file_order(&file.providers) {
        checker.require(name, values::identifier);
        let entry = ProviderEntry {
            name,
            raw,
            dialect: dialect(checker, name, raw),
        };
        check_has_credential(checker, file, &entry, mode);
        providers.extend(provider(checker, file, &entry));
    }
    providers
}

/// One `[providers.NAME]` of the file.
struct ProviderEntry<'a> {
    name: &'a ConfigString,
    raw: &'a raw::RawProvider,
    /// None if the file names none, or an unknown one.
    dialect: Option<Arc<Dialect>>,
}

/// One account; none if its dialect is unknown, but all its keys are checked.
fn provider(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    entry: &ProviderEntry<'_>,
) -> Option<Provider> {
    let raw = entry.raw;
    let recheck = |word: &str| match word {
        "never" => Ok(None),
        interval => values::positive_duration(interval).map(Some),
    };
    Some(Provider {
        id: ProviderId::new(entry.name.get_ref()),
        line: checker.line_number(&entry.name.span()),
        credential: credential(checker, file, entry),
        sender: sender(checker, entry),
        country: checker.parse_or(raw.country.as_ref(), None, values::country),
        timeout: checker.parse_or(
            raw.timeout.as_ref(),
            DEFAULT_TIMEOUT,
            values::positive_duration,
        ),
        recheck: checker.parse_or(raw.recheck.as_ref(), Some(DEFAULT_RECHECK), recheck),
        templates_only: checker.choice_or(raw.templates.as_ref(), false, TEMPLATES),
        operations: operations(checker, &raw.operations),
        base_url: base_url(checker, entry),
        params: params(checker, entry),
        upstream: upstream(checker, entry),
        // The last one, so that the others are checked without it too.
        dialect: entry.dialect.clone()?,
    })
}

fn check_has_credential(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    entry: &ProviderEntry<'_>,
    mode: Mode,
) {
    let is_required = entry.dialect.as_ref().is_some_and(|dialect| {
        let mut fields = dialect.credential_fields().iter();
        fields.any(|field| field.required)
    });
    if entry.raw.credential.is_none()
        && is_required
        && !checker.is_already_reported(entry.name, "credential")
        && !is_only_observed(file, entry.name.get_ref(), mode)
    {
        let help = "add `credential = { vault = \"…\", path = \"…\" }`, or set `mode = \"observe\"` to only watch";
        checker.error(entry.name.span(), "this provider has no credential", help);
    }
}

fn dialect(
    checker: &mut ConfigChecker<'_>,
    name: &ConfigString,
    raw: &raw::RawProvider,
) -> Option<Arc<Dialect>> {
    let Some(word) = &raw.dialect else {
        checker.error(
            name.span(),
            "`dialect` is missing here",
            "write the name of its service's API; `sms-sidecar dialects` lists them",
        );
        return None;
    };
    let Some(dialect) = checker.catalog.get(word.get_ref()).cloned() else {
        let catalog = checker.catalog;
        let names: Vec<&str> = catalog.names().collect();
        checker.check_name(word, &names, Reference::Dialect);
        return None;
    };
    if checker
        .catalog
        .get(name.get_ref())
        .is_some_and(|other| other.name != dialect.name)
    {
        let help = "a provider with the name of a dialect must use that dialect: the base-URL entrypoint could not tell them apart";
        checker.error(name.span(), "this is the name of another dialect", help);
    }
    if dialect.requires_experimental() && !raw.experimental {
        let help = "set `experimental = true` to use it anyway: it may report a wrong cause";
        checker.error(word.span(), "this dialect is unverified", help);
    }
    Some(dialect)
}

/// Whether every request that could reach the provider is only watched.
fn is_only_observed(file: &RawConfig, provider: &str, mode: Mode) -> bool {
    let observes = |word: &Option<ConfigString>| {
        word.as_ref()
            .map_or(mode == Mode::Observe, |word| word.get_ref() == "observe")
    };
    let mut uses = file
        .routes
        .iter()
        .map(Spanned::get_ref)
        .filter(|route| {
            route
                .providers
                .as_ref()
                .is_none_or(|names| names.iter().any(|name| name.get_ref() == provider))
        })
        .peekable();
    if uses.peek().is_none() {
        mode == Mode::Observe
    } else {
        uses.all(|route| observes(&route.mode))
    }
}

fn credential(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    entry: &ProviderEntry<'_>,
) -> Option<CredentialRef> {
    let table = entry.raw.credential.as_ref()?;
    checker.record_span(
        ConfigKey::Credential(entry.name.get_ref().clone()),
        table.span(),
    );
    let fields = entry
        .dialect
        .as_ref()
        .map(|dialect| dialect.credential_fields());
    if let Some(fields) = fields {
        let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        for field in table.get_ref().fields.keys() {
            checker.check_name(field, &known, Reference::CredentialField);
        }
    }
    let aliases = fields
        .into_iter()
        .flatten()
        .map(|field| (field.name.clone(), field.env.clone()))
        .collect();
    Some(reference(
        checker,
        file,
        table.get_ref(),
        &table.span(),
        aliases,
    ))
}

/// A reference to a vault's entry, which is at `span`.
pub(super) fn reference(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    raw: &RawCredentialRef,
    span: &Range<usize>,
    names: BTreeMap<String, Vec<String>>,
) -> CredentialRef {
    let vault = raw.vault.as_ref();
    match vault {
        Some(word) => checker.check_reference(word, &file.vaults, Reference::Vault),
        None => checker.error(
            span.clone(),
            "`vault` is missing here",
            "name one of `[vaults]`",
        ),
    }
    if raw.path.is_none()
        && vault
            .and_then(|word| file.vaults.get(word.get_ref().as_str()))
            .is_some_and(RawVault::needs_path)
    {
        checker.error(
            span.clone(),
            "`path` is missing here",
            "this vault holds many entries: name one, as `path = \"sms/playmobile\"`",
        );
    }
    CredentialRef {
        vault: vault.map(|word| word.get_ref().clone()).unwrap_or_default(),
        path: raw
            .path
            .as_ref()
            .map(|word| word.get_ref().clone())
            .unwrap_or_default(),
        fields: string_map(&raw.fields),
        aliases: names,
    }
}

fn sender(checker: &mut ConfigChecker<'_>, entry: &ProviderEntry<'_>) -> Option<String> {
    let word = entry.raw.sender.as_ref()?;
    if word.get_ref().trim().is_empty() {
        checker.error(
            word.span(),
            "the sender is empty",
            "leave the key out to send what the backend wrote",
        );
    }
    let is_test_sender = entry.dialect.as_ref().is_some_and(|dialect| {
        let mut senders = dialect.test_senders().iter();
        senders.any(|sender| sender == word.get_ref())
    });
    if is_test_sender {
        checker.warn(
            word.span(),
            "this is a test sender: the service accepts messages and delivers none",
            "write the account's own sender",
        );
    }
    Some(word.get_ref().clone())
}

fn operations(checker: &mut ConfigChecker<'_>, words: &[ConfigString]) -> Vec<String> {
    for word in words {
        checker.require(word, values::operation);
    }
    string_list(words)
}

fn base_url(checker: &mut ConfigChecker<'_>, entry: &ProviderEntry<'_>) -> String {
    let dialect = entry.dialect.as_deref();
    let own = entry.raw.base_url.as_ref();
    let Some(url) = own
        .map(|word| word.get_ref().as_str())
        .or_else(|| dialect.map(Dialect::base_url))
    else {
        return String::new();
    };
    let span: Range<usize> = own.map_or(entry.name.span(), Spanned::span);
    match values::base_url(url) {
        Err((what, help)) => checker.error(span, what, help),
        Ok(uri) if uri.scheme_str() == Some("http") && !entry.raw.insecure_http => {
            let help =
                "use https, or set `insecure_http = true` if you control the network in between";
            checker.error(
                span,
                "the credential would be sent to this URL unencrypted",
                help,
            );
        }
        Ok(_) => warn_unlikely_base_url(checker, entry, url, span),
    }
    url.trim_end_matches('/').to_owned()
}

/// Warns of a URL at which the service's API is not, or whose end the dialect appends.
fn warn_unlikely_base_url(
    checker: &mut ConfigChecker<'_>,
    entry: &ProviderEntry<'_>,
    url: &str,
    span: Range<usize>,
) {
    let Some(dialect) = entry.dialect.as_deref() else {
        return;
    };
    if dialect.is_retired_base_url(url) {
        let help = format!("its current address is {}", dialect.base_url());
        checker.warn(span, "the service's API is not at this address", help);
        return;
    }
    let Some(path) = send_path(dialect).filter(|_| entry.raw.base_url.is_some()) else {
        return;
    };
    if let Some(base) = url.trim_end_matches('/').strip_suffix(&path) {
        let what = format!("the dialect appends `{path}`: the URL would contain it twice");
        checker.warn(span, what, format!("did you mean {base}?"));
    }
}

/// The path of the send operation, if it is the same for every account.
fn send_path(dialect: &Dialect) -> Option<String> {
    let operations = dialect.operations();
    let send = operations
        .iter()
        .find(|operation| operation.kind == Operation::Send)?;
    let (_, path) = send.endpoint.split_once(' ')?;
    let path = path.trim_end_matches('/');
    (path.starts_with('/') && !path.contains('{')).then(|| path.to_owned())
}

fn params(checker: &mut ConfigChecker<'_>, entry: &ProviderEntry<'_>) -> BTreeMap<String, String> {
    let Some(dialect) = &entry.dialect else {
        return BTreeMap::new();
    };
    let given = &entry.raw.param;
    let known = dialect.params();
    let names: Vec<&str> = known.iter().map(|param| param.name.as_str()).collect();
    for key in given.keys() {
        checker.check_name(key, &names, Reference::Parameter);
    }
    for param in known
        .iter()
        .filter(|param| param.default.is_none() && !given.contains_key(param.name.as_str()))
    {
        checker.error(
            entry.name.span(),
            format!("this dialect requires the parameter `{}`", param.name),
            format!("add `param = {{ {} = \"…\" }}`", param.name),
        );
    }
    for (key, word) in given {
        let is_integer = known
            .iter()
            .any(|param| param.integer && param.name == *key.get_ref());
        if is_integer && word.get_ref().parse::<i64>().is_err() {
            checker.error(
                word.span(),
                "this parameter must be a whole number",
                "write it in quotes: \"42\"",
            );
        }
    }
    string_map(given)
}

fn upstream(checker: &mut ConfigChecker<'_>, entry: &ProviderEntry<'_>) -> UpstreamSettings {
    let raw = entry.raw;
    if let Some(word) = &raw.ca_file {
        checker.record_span(ConfigKey::CaFile(entry.name.get_ref().clone()), word.span());
    }
    UpstreamSettings {
        ca_file: raw.ca_file.as_ref().map(|word| checker.path(word)),
        insecure_http: raw.insecure_http,
        proxy: checker.parse_or(raw.outbound.proxy.as_ref(), None, |word| {
            values::proxy_url(word).map(Some)
        }),
        source_address: checker.parse_or(raw.outbound.source_address.as_ref(), None, |word| {
            values::source_address(word).map(Some)
        }),
        connect_timeout: checker.parse_or(
            raw.connect_timeout.as_ref(),
            UpstreamSettings::CONNECT_TIMEOUT,
            values::positive_duration,
        ),
        max_connection_age: checker.parse_or(
            raw.max_connection_age.as_ref(),
            UpstreamSettings::MAX_CONNECTION_AGE,
            values::positive_duration,
        ),
        warm_connection: raw.warm_connection.unwrap_or(true),
    }
}

pub(super) fn callers(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Vec<Caller> {
    let mut callers = Vec::new();
    for (name, raw) in in_file_order(&file.callers) {
        checker.require(name, values::identifier);
        let proof = match (&raw.uid, &raw.token) {
            (Some(uid), None) => CallerProof::Uid(*uid.get_ref()),
            (None, Some(entry)) => {
                checker.record_span(ConfigKey::CallerToken(name.get_ref().clone()), entry.span());
                CallerProof::Token(reference(
                    checker,
                    file,
                    entry.get_ref(),
                    &entry.span(),
                    BTreeMap::from([("token".to_owned(), Vec::new())]),
                ))
            }
            (Some(_), Some(_)) | (None, None) => {
                checker.error(
                    name.span(),
                    "a caller needs either a `uid` or a `token`",
                    "give it `uid = 1001` or `token = { vault = \"…\", path = \"…\" }`",
                );
                continue;
            }
        };
        callers.push(Caller {
            name: name.get_ref().clone(),
            proof,
        });
    }
    callers
}
