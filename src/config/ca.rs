//! The hosts of the config for which the CA signs, and whether the CA on the disk is the one that they need.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use crate::config::{Config, ConfigKey};
use crate::diagnosis::format_command;
use crate::net::ca::{self, CaConstraints, CaError};
use crate::problem::Problem;
use crate::proxy::Settings;

/// Compares the CA with the hosts of the config.
pub(super) fn check_ca(loaded: &Config) -> Vec<Problem> {
    let Some(settings) = &loaded.ca else {
        return Vec::new();
    };
    match ca::inspect(settings) {
        Ok(ca) => uncovered_hosts(&loaded.proxy, |host| ca.constraints.covers(host))
            .iter()
            .map(|host| uncovered_host(loaded, host))
            .chain(too_broad_ca(loaded, &ca.constraints))
            .collect(),
        Err(CaError::Missing(_))
            if is_missing(&settings.cert_file) && is_missing(&settings.key_file) =>
        {
            vec![missing_ca(loaded)]
        }
        Err(error) => vec![loaded.error(&ConfigKey::Ca, error.to_string())],
    }
}

/// False too if a folder above the file cannot be entered.
fn is_missing(file: &Path) -> bool {
    matches!(file.try_exists(), Ok(false))
}

fn uncovered_host(loaded: &Config, host: &str) -> Problem {
    let what = format!(
        "the CA does not cover {host}: the backend will reject the sidecar's certificate for it"
    );
    let renew = format_command("ca renew", loaded.file());
    let reload = format_command("reload", loaded.file());
    let help = format!(
        "{renew} makes one that does; then {reload}, and restart the backend: it reads the CA once"
    );
    loaded.warning(&ConfigKey::Ca, what).with_help(help)
}

/// A warning: the CA works, and a new one could do less harm with a stolen key.
fn too_broad_ca(loaded: &Config, found: &CaConstraints) -> Option<Problem> {
    let excess = excess_of_ca(&loaded.proxy, found);
    if excess.is_empty() {
        return None;
    }
    let what = format!(
        "the CA can also sign for what no provider needs: {}",
        excess.join("; ")
    );
    let renew = format_command("ca renew", loaded.file());
    let reload = format_command("reload", loaded.file());
    let help = format!(
        "{renew} limits it to the configured hosts and keeps its key; then {reload}, and restart the backend: it reads the CA once"
    );
    Some(loaded.warning(&ConfigKey::Ca, what).with_help(help))
}

/// A warning, as for a vault: the config is sound and the CA is made next. `run` does not start without it.
fn missing_ca(loaded: &Config) -> Problem {
    let init = format_command("ca init", loaded.file());
    let help = format!("{init} makes it; `run` does not start without it");
    loaded
        .warning(&ConfigKey::Ca, "the CA does not exist yet")
        .with_help(help)
}

/// The literal host names for which TLS is ended: those of the configured dialects and of the base URLs. IP addresses
/// are recognised in plain HTTP only.
pub fn intercepted_hosts(settings: &Settings) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    for provider in &settings.providers {
        hosts.extend(provider.dialect.literal_hosts());
        hosts.extend(
            provider
                .base_url
                .parse::<http::Uri>()
                .ok()
                .and_then(|url| url.host().map(str::to_ascii_lowercase)),
        );
    }
    hosts
        .into_iter()
        .filter(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err())
        .collect()
}

/// Those of them that a CA does not cover.
pub fn uncovered_hosts(settings: &Settings, covers: impl Fn(&str) -> bool) -> Vec<String> {
    intercepted_hosts(settings)
        .into_iter()
        .filter(|host| !covers(host))
        .collect()
}

/// The constraints of a CA that is made for this config: its literal host names with a dot. Sub-domains are excluded
/// where no description and no base URL names any.
pub fn needed_constraints(settings: &Settings) -> Result<CaConstraints, CaError> {
    let hosts: Vec<_> = intercepted_hosts(settings)
        .into_iter()
        .filter(|host| ca::is_literal_host(host))
        .collect();
    let dialects = settings.providers.iter().map(|provider| &provider.dialect);
    let patterns: Vec<_> = dialects
        .flat_map(|dialect| dialect.host_patterns())
        .collect();
    CaConstraints::for_hosts(&hosts, &patterns)
}

/// What the CA may sign for and a new one could not, as a list of phrases.
pub fn excess_of_ca(settings: &Settings, found: &CaConstraints) -> Vec<String> {
    needed_constraints(settings).map_or_else(|_| Vec::new(), |needed| found.excess_over(&needed))
}
