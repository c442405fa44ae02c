//! `[providers]`, `[callers]`: accounts, and which entry of a vault opens them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::config::ConfigKey;
use crate::config::check::checker::ConfigChecker;
use crate::config::raw::{self, RawConfig};
use crate::config::spanned::{ConfigString, NamedTables, in_file_order};
use crate::config::values;
use crate::config::vaults::RawVault;
use crate::dialect::Dialect;
use crate::net::UpstreamSettings;
use crate::proxy::{Caller, CallerProof, Mode, Provider};
use crate::sms::{Operation, ProviderId};
use crate::vault::CredentialRef;

/// One attempt's time limit.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// First recheck of a provider that was set aside.
const DEFAULT_RECHECK: Duration = Duration::from_mins(1);

pub(super) fn providers(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    mode: Mode,
) -> Vec<Provider> {
    if file.providers.is_empty() {
        judge.file_error(
            "the file names no provider",
            "add `[providers.NAME]` with at least `dialect`",
        );
    }
    in_file_order(&file.providers)
        .into_iter()
        .filter_map(|(name, raw)| provider(judge, file, (name, raw), mode))
        .collect()
}

/// One account; none if its dialect is unknown, but judged all the same.
fn provider(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    (name, raw): (&ConfigString, &raw::RawProvider),
    mode: Mode,
) -> Option<Provider> {
    judge.require(name, values::identifier);
    let dialect = dialect(judge, name, raw);
    let spoken = dialect.as_deref();
    let needs_one = spoken.is_some_and(|dialect| {
        dialect
            .credential_fields()
            .iter()
            .any(|field| field.required)
    });
    if raw.credential.is_none()
        && !judge.is_already_reported(name, "credential")
        && needs_one
        && !is_only_observed(file, name.get_ref(), mode)
    {
        let help = "add `credential = { vault = \"…\", path = \"…\" }`, or `mode = \"observe\"` to watch only";
        judge.error(name.span(), "this provider has no credential", help);
    }
    let never = |word: &str| {
        if word == "never" {
            Ok(None)
        } else {
            values::positive_duration(word).map(Some)
        }
    };
    let (id, credential) = (
        ProviderId::new(name.get_ref()),
        raw.credential
            .as_ref()
            .map(|entry| credential(judge, file, (name, spoken), entry)),
    );
    let timeout = judge.parse_or(
        raw.timeout.as_ref(),
        DEFAULT_TIMEOUT,
        values::positive_duration,
    );
    let recheck = judge.parse_or(raw.recheck.as_ref(), Some(DEFAULT_RECHECK), never);
    let templates_only = judge.choice_or(
        raw.templates.as_ref(),
        false,
        &[("only", true), ("any", false)],
    );
    let operations = operations(judge, &raw.operations);
    let upstream = upstream(judge, name.get_ref(), raw);
    let sender = sender(judge, spoken, raw);
    let base_url = base_url(judge, spoken, name, raw);
    let params = params(judge, spoken, name, raw);
    let dialect = dialect?;
    let line = judge.line_number(&name.span());
    Some(Provider {
        id,
        line,
        dialect,
        credential,
        sender,
        timeout,
        recheck,
        templates_only,
        operations,
        base_url,
        params,
        upstream,
    })
}

fn dialect(
    judge: &mut ConfigChecker<'_>,
    name: &ConfigString,
    raw: &raw::RawProvider,
) -> Option<Arc<Dialect>> {
    let Some(word) = &raw.dialect else {
        judge.error(
            name.span(),
            "`dialect` is missing here",
            "say which service's API it speaks; `sms-sidecar dialects` lists them",
        );
        return None;
    };
    let Some(dialect) = judge.catalog.get(word.get_ref()).cloned() else {
        let catalog = judge.catalog;
        let names: Vec<&str> = catalog
            .iter()
            .map(|dialect| dialect.name.as_str())
            .collect();
        judge.check_name(word, &names, "dialect");
        return None;
    };
    if judge
        .catalog
        .get(name.get_ref())
        .is_some_and(|other| other.name != dialect.name)
    {
        let help = "a provider named like a dialect must speak it: the base-URL entrypoint could not tell which is meant";
        judge.error(name.span(), "this is the name of another dialect", help);
    }
    if dialect.requires_experimental() && !raw.experimental {
        let help = "set `experimental = true` to use it all the same: it may name a wrong cause";
        judge.error(
            word.span(),
            "no source but memory stands behind this dialect",
            help,
        );
    }
    Some(dialect)
}

/// Whether every call that could reach the provider is watched only.
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
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    (provider, dialect): (&ConfigString, Option<&Dialect>),
    entry: &Spanned<raw::RawCredentialRef>,
) -> CredentialRef {
    judge.record_span(
        ConfigKey::Credential(provider.get_ref().clone()),
        entry.span(),
    );
    let Some(dialect) = dialect else {
        return reference(judge, file, entry, BTreeMap::new());
    };
    let known: Vec<&str> = dialect
        .credential_fields()
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    for field in entry.get_ref().fields.keys() {
        judge.check_name(field, &known, "credential field");
    }
    let names = dialect
        .credential_fields()
        .iter()
        .map(|field| (field.name.clone(), field.env.clone()))
        .collect();
    reference(judge, file, entry, names)
}

fn reference(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    entry: &Spanned<raw::RawCredentialRef>,
    names: BTreeMap<String, Vec<String>>,
) -> CredentialRef {
    let raw = entry.get_ref();
    let vault = raw.vault.as_ref();
    match vault {
        Some(word) => judge.check_reference(word, &file.vaults, "vault"),
        None => judge.error(
            entry.span(),
            "`vault` is missing here",
            "say which of `[vaults]` holds it",
        ),
    }
    if raw.path.is_none()
        && vault
            .and_then(|word| file.vaults.get(word.get_ref().as_str()))
            .is_some_and(RawVault::needs_path)
    {
        judge.error(
            entry.span(),
            "`path` is missing here",
            "this vault holds many entries: say which, as `path = \"sms/playmobile\"`",
        );
    }
    CredentialRef {
        vault: vault.map(|word| word.get_ref().clone()).unwrap_or_default(),
        path: raw
            .path
            .as_ref()
            .map(|word| word.get_ref().clone())
            .unwrap_or_default(),
        fields: to_strings(&raw.fields),
        aliases: names,
    }
}

fn to_strings(named: &NamedTables<ConfigString>) -> BTreeMap<String, String> {
    named
        .iter()
        .map(|(name, word)| (name.get_ref().clone(), word.get_ref().clone()))
        .collect()
}

fn sender(
    judge: &mut ConfigChecker<'_>,
    dialect: Option<&Dialect>,
    raw: &raw::RawProvider,
) -> Option<String> {
    let word = raw.sender.as_ref()?;
    if word.get_ref().trim().is_empty() {
        judge.error(
            word.span(),
            "an empty sender",
            "leave the key out to send what the backend wrote",
        );
    }
    if dialect.is_some_and(|dialect| {
        dialect
            .test_senders()
            .iter()
            .any(|test| test == word.get_ref())
    }) {
        judge.warn(
            word.span(),
            "a test sender: the service accepts the message and delivers nothing",
            "put the account's own sender here",
        );
    }
    Some(word.get_ref().clone())
}

fn operations(judge: &mut ConfigChecker<'_>, words: &[ConfigString]) -> Vec<String> {
    for word in words {
        judge.require(word, values::operation);
    }
    words.iter().map(|word| word.get_ref().clone()).collect()
}

fn base_url(
    judge: &mut ConfigChecker<'_>,
    dialect: Option<&Dialect>,
    name: &ConfigString,
    raw: &raw::RawProvider,
) -> String {
    let own = raw.base_url.as_ref().map(|word| word.get_ref().as_str());
    let Some(url) = own.or_else(|| dialect.map(Dialect::base_url)) else {
        return String::new();
    };
    let span: Range<usize> = raw.base_url.as_ref().map_or(name.span(), Spanned::span);
    match values::base_url(url) {
        Err((what, help)) => judge.error(span, what, help),
        Ok(uri) if uri.scheme_str() == Some("http") && !raw.insecure_http => {
            let help = "use https, or set `insecure_http = true` where the way there is yours";
            judge.error(
                span,
                "the credential would travel in clear to this URL",
                help,
            );
        }
        Ok(_) if dialect.is_some_and(|dialect| dialect.is_retired_base_url(url)) => {
            let today = dialect.map_or("", Dialect::base_url);
            judge.warn(
                span,
                "the service has left this address, or its API was never there",
                format!("its address of today is {today}"),
            );
        }
        Ok(_) => warn_endpoint_in_base_url(judge, (dialect, own), span),
    }
    url.trim_end_matches('/').to_owned()
}

/// A backend's own setting is often the whole URL; the dialect would put its path behind it once more.
fn warn_endpoint_in_base_url(
    judge: &mut ConfigChecker<'_>,
    (dialect, own): (Option<&Dialect>, Option<&str>),
    span: Range<usize>,
) {
    let (Some(dialect), Some(url)) = (dialect, own) else {
        return;
    };
    let send = dialect
        .operations()
        .into_iter()
        .find(|(_, does)| *does == Operation::Send)
        .map(|(call, _)| call);
    let Some(path) = send
        .as_deref()
        .and_then(|call| call.split_once(' '))
        .map(|(_, path)| path.trim_end_matches('/'))
    else {
        return;
    };
    let base = url
        .trim_end_matches('/')
        .strip_suffix(path)
        .filter(|_| path.starts_with('/') && !path.contains('{'));
    if let Some(base) = base {
        let what = format!("the dialect adds `{path}` itself: it would stand there twice");
        judge.warn(span, what, format!("did you mean {base}?"));
    }
}

fn params(
    judge: &mut ConfigChecker<'_>,
    dialect: Option<&Dialect>,
    name: &ConfigString,
    raw: &raw::RawProvider,
) -> BTreeMap<String, String> {
    let Some(dialect) = dialect else {
        return BTreeMap::new();
    };
    let known = dialect.params();
    let names: Vec<&str> = known.iter().map(|param| param.name.as_str()).collect();
    for key in raw.param.keys() {
        judge.check_name(key, &names, "parameter of this dialect");
    }
    for param in known
        .iter()
        .filter(|param| param.default.is_none() && !raw.param.contains_key(param.name.as_str()))
    {
        let help = format!("add `param = {{ {} = \"…\" }}`", param.name);
        judge.error(
            name.span(),
            format!("this dialect needs the parameter `{}`", param.name),
            help,
        );
    }
    for (key, word) in &raw.param {
        let whole = known
            .iter()
            .any(|param| param.integer && param.name == *key.get_ref());
        if whole && word.get_ref().parse::<i64>().is_err() {
            judge.error(
                word.span(),
                "this parameter is a whole number",
                "write it in quotes: \"42\"",
            );
        }
    }
    to_strings(&raw.param)
}

fn upstream(
    judge: &mut ConfigChecker<'_>,
    provider: &str,
    raw: &raw::RawProvider,
) -> UpstreamSettings {
    if let Some(word) = &raw.ca_file {
        judge.record_span(ConfigKey::CaFile(provider.to_owned()), word.span());
    }
    UpstreamSettings {
        ca_file: raw.ca_file.as_ref().map(|word| judge.path(word)),
        insecure_http: raw.insecure_http,
        proxy: judge.parse_or(raw.outbound.proxy.as_ref(), None, |word| {
            values::proxy_url(word).map(Some)
        }),
        source_address: judge.parse_or(raw.outbound.source_address.as_ref(), None, |word| {
            values::source_address(word).map(Some)
        }),
    }
}

pub(super) fn callers(judge: &mut ConfigChecker<'_>, file: &RawConfig) -> Vec<Caller> {
    let mut callers = Vec::new();
    for (name, raw) in in_file_order(&file.callers) {
        judge.require(name, values::identifier);
        let proof = match (&raw.uid, &raw.token) {
            (Some(uid), None) => CallerProof::Uid(*uid.get_ref()),
            (None, Some(entry)) => {
                judge.record_span(ConfigKey::CallerToken(name.get_ref().clone()), entry.span());
                CallerProof::Token(reference(
                    judge,
                    file,
                    entry,
                    BTreeMap::from([("token".to_owned(), Vec::new())]),
                ))
            }
            (Some(_), Some(_)) | (None, None) => {
                judge.error(
                    name.span(),
                    "a caller is known by exactly one thing",
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
