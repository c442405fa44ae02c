//! Whether a backend's environment sends its requests to the sidecar, and through which entrypoint.
//! Which client reads which variable was measured. Pure: names and shapes in, checks out; a proxy's
//! user info is a secret.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::doctor::check::Check;
use crate::net::authority::Authority;
use crate::node::Release;

/// What the checks depend on.
#[derive(Debug)]
pub(super) struct BackendFacts<'a> {
    /// The variables of the `.env`; of several with one name, the last.
    pub(super) variables: &'a BTreeMap<&'a str, &'a str>,
    /// The address of the proxy entrypoint.
    pub(super) entrypoint: Option<SocketAddr>,
    /// Hosts of the services that are configured.
    pub(super) hosts: &'a [String],
    /// The sidecar terminates TLS for them.
    pub(super) intercepts: bool,
    /// Whether the file of `NODE_EXTRA_CA_CERTS` holds our CA; none: it is not set.
    pub(super) trusts_ca: Option<Result<bool, String>>,
    /// Every axios below its `node_modules`.
    pub(super) axios: &'a [Release],
    /// Why an axios below it could not be read.
    pub(super) unreadable_axios: Option<&'a str>,
    /// The `node` that is on the path here.
    pub(super) node: Option<Release>,
    /// npm's dotenv is among its packages: the file is read after Node has started.
    pub(super) uses_dotenv: bool,
    /// Requests of a backend that the running sidecar has seen; none: not known.
    pub(super) requests: Option<u64>,
}

/// Where proxy variables point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxyTarget {
    Unset,
    Sidecar,
    Other,
}

/// Every check of the environment, the most important first.
pub(super) fn check_environment(facts: &BackendFacts<'_>) -> Vec<Check> {
    let mut checks = vec![check_entrypoint(facts)];
    if proxy_target(facts, &HTTPS_VARIABLES) == ProxyTarget::Sidecar
        || proxy_target(facts, &HTTP_VARIABLES) == ProxyTarget::Sidecar
    {
        checks.push(check_no_proxy(facts));
        checks.push(check_ca(facts));
    }
    checks.extend(check_double_proxying(facts));
    checks.push(check_traffic(facts));
    checks
}

const HTTPS_VARIABLES: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const HTTP_VARIABLES: [&str; 2] = ["http_proxy", "HTTP_PROXY"];

fn variable<'a>(facts: &BackendFacts<'a>, name: &str) -> Option<&'a str> {
    facts
        .variables
        .get(name)
        .copied()
        .filter(|value| !value.is_empty())
}

fn proxy_target(facts: &BackendFacts<'_>, names: &[&str]) -> ProxyTarget {
    let values: Vec<&str> = names
        .iter()
        .filter_map(|name| variable(facts, name))
        .collect();
    if values.is_empty() {
        return ProxyTarget::Unset;
    }
    if values
        .iter()
        .all(|value| is_sidecar_url(value, facts.entrypoint))
    {
        ProxyTarget::Sidecar
    } else {
        ProxyTarget::Other
    }
}

/// The same port, at the same address or by a name for this machine.
fn is_sidecar_url(url: &str, entrypoint: Option<SocketAddr>) -> bool {
    let url = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let (Some(entrypoint), Ok(url)) = (entrypoint, url.parse::<http::Uri>()) else {
        return false;
    };
    let Some(Authority { host, port, .. }) = Authority::from_uri(&url) else {
        return false;
    };
    let here = host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let same = host
        .parse::<IpAddr>()
        .is_ok_and(|address| address == entrypoint.ip());
    port == entrypoint.port()
        && (same || here && (entrypoint.ip().is_loopback() || entrypoint.ip().is_unspecified()))
}

fn check_entrypoint(facts: &BackendFacts<'_>) -> Check {
    let direct: Vec<&str> = facts
        .variables
        .iter()
        .filter(|(name, value)| {
            !name.to_ascii_uppercase().ends_with("_PROXY")
                && value.starts_with("http://")
                && is_sidecar_url(value, facts.entrypoint)
        })
        .map(|(name, _)| *name)
        .collect();
    if !direct.is_empty() {
        return Check::ok(
            "entrypoint",
            format!("the base-URL entrypoint, by {}", direct.join(", ")),
        );
    }
    let address = facts.entrypoint.map_or_else(
        || "the sidecar's `listen.proxy`".to_owned(),
        |entrypoint| format!("http://{entrypoint}"),
    );
    let https = proxy_target(facts, &HTTPS_VARIABLES);
    let http = proxy_target(facts, &HTTP_VARIABLES);
    match (https, http) {
        (ProxyTarget::Other, _) | (ProxyTarget::Unset, ProxyTarget::Other) => Check::failed(
            "entrypoint",
            "HTTPS_PROXY or HTTP_PROXY points to a proxy that is not the sidecar",
            format!("set HTTP_PROXY and HTTPS_PROXY, in upper and in lower case, to {address}"),
        ),
        (ProxyTarget::Sidecar, ProxyTarget::Sidecar) => {
            Check::ok("entrypoint", describe_axios(facts))
        }
        (ProxyTarget::Sidecar, _) => Check::warning(
            "entrypoint",
            format!(
                "{}; HTTP_PROXY is not set, and some SDKs read nothing else",
                describe_axios(facts)
            ),
            format!("set HTTP_PROXY={address} too"),
        ),
        (ProxyTarget::Unset, ProxyTarget::Sidecar) => Check::warning(
            "entrypoint",
            "HTTPS_PROXY is not set: axios sends `https://` requests directly, whatever HTTP_PROXY is",
            format!("set HTTPS_PROXY={address} too"),
        ),
        (ProxyTarget::Unset, ProxyTarget::Unset) => no_proxy_variable_check(facts, &address),
    }
}

/// No variable points to the sidecar; the requests may come all the same.
fn no_proxy_variable_check(facts: &BackendFacts<'_>, address: &str) -> Check {
    if facts.requests.is_some_and(|requests| requests > 0) {
        return Check::ok(
            "entrypoint",
            "the file sets none, but requests arrive: through `wrap` or the unit's environment",
        );
    }
    Check::warning(
        "entrypoint",
        "nothing in the file points to the sidecar",
        format!(
            "start it with `sms-sidecar wrap -- npm start`, or set HTTP_PROXY and HTTPS_PROXY to {address}, or point the service's base URL at {address}/NAME"
        ),
    )
}

fn describe_unreadable_axios(facts: &BackendFacts<'_>) -> Option<String> {
    let why = facts.unreadable_axios?;
    Some(format!(
        "the release of axios below `node_modules` cannot be read: {why}"
    ))
}

/// What each axios does with a proxy for `https://`.
fn describe_axios(facts: &BackendFacts<'_>) -> String {
    let one = |release: &Release| {
        if *release < Release::USES_CONNECT {
            format!(
                "axios {release} uses the absolute form, also for `https://` (unencrypted up to the sidecar)"
            )
        } else {
            format!("axios {release} uses CONNECT; the sidecar terminates TLS with its CA")
        }
    };
    let mut releases = facts.axios.to_vec();
    releases.sort_unstable();
    releases.dedup();
    if let Some(why) = describe_unreadable_axios(facts) {
        return why;
    }
    match releases.as_slice() {
        [] => {
            "no axios below `node_modules`: Node's own fetch and https read proxy variables only with NODE_USE_ENV_PROXY=1 from Node 22 on"
                .to_owned()
        }
        releases => releases.iter().map(one).collect::<Vec<_>>().join("; "),
    }
}

/// Hosts that `NO_PROXY` keeps away from us.
fn check_no_proxy(facts: &BackendFacts<'_>) -> Check {
    let entries: Vec<String> = ["no_proxy", "NO_PROXY"]
        .iter()
        .filter_map(|name| variable(facts, name))
        .flat_map(|list| list.split([',', ' ']))
        .map(|entry| entry.trim().to_ascii_lowercase())
        .filter(|entry| !entry.is_empty())
        .collect();
    let kept: Vec<&str> = facts
        .hosts
        .iter()
        .filter(|host| entries.iter().any(|entry| is_excluded(entry, host)))
        .map(String::as_str)
        .collect();
    if kept.is_empty() {
        return Check::ok(
            "no-proxy",
            "NO_PROXY keeps no service's host away from the sidecar",
        );
    }
    Check::failed(
        "no-proxy",
        format!("NO_PROXY keeps {} away from the sidecar", kept.join(", ")),
        "remove these hosts from NO_PROXY",
    )
}

/// Some clients also match a bare suffix, so it is reported.
fn is_excluded(entry: &str, host: &str) -> bool {
    let entry = entry.split_once(':').map_or(entry, |(name, _)| name);
    let suffix = entry.trim_start_matches('*').trim_start_matches('.');
    entry == "*"
        || host == suffix
        || !suffix.is_empty()
            && host
                .strip_suffix(suffix)
                .is_some_and(|rest| rest.ends_with('.'))
}

/// Whether the backend would believe the certificates that the sidecar shows in a tunnel.
fn check_ca(facts: &BackendFacts<'_>) -> Check {
    if variable(facts, "NODE_TLS_REJECT_UNAUTHORIZED") == Some("0") {
        let remedy = "remove it, and set NODE_EXTRA_CA_CERTS to the CA's file";
        return Check::warning(
            "ca",
            "NODE_TLS_REJECT_UNAUTHORIZED=0 makes the backend accept every certificate, of every server",
            remedy,
        );
    }
    let tunnels = facts.axios.is_empty()
        || facts.unreadable_axios.is_some()
        || facts
            .axios
            .iter()
            .any(|release| *release >= Release::USES_CONNECT);
    if !tunnels {
        return Check::ok(
            "ca",
            "the absolute form needs no CA; axios 1.16.1 and later do, so set it up before you upgrade",
        );
    }
    if !facts.intercepts {
        let remedy = "create a CA with `sms-sidecar ca init` and set it in [intercept], or use the base-URL entrypoint";
        return Check::failed(
            "ca",
            "its clients request tunnels, and without [intercept] the sidecar denies a tunnel to a service's host",
            remedy,
        );
    }
    match &facts.trusts_ca {
        None => Check::warning(
            "ca",
            "NODE_EXTRA_CA_CERTS is not in the file; unless the unit or `wrap` sets it, the backend rejects the sidecar's certificate",
            "set NODE_EXTRA_CA_CERTS to the CA's file in the environment that starts Node",
        ),
        Some(Err(why)) => Check::failed(
            "ca",
            format!("cannot compare NODE_EXTRA_CA_CERTS with the sidecar's CA: {why}"),
            "set NODE_EXTRA_CA_CERTS to the CA's file of [intercept], and make it readable by the backend and by this user",
        ),
        Some(Ok(false)) => Check::failed(
            "ca",
            "the file of NODE_EXTRA_CA_CERTS does not contain the sidecar's CA",
            "set it to the CA's file of [intercept]",
        ),
        Some(Ok(true)) if facts.uses_dotenv => Check::warning(
            "ca",
            "NODE_EXTRA_CA_CERTS is in the `.env`, which dotenv reads only after Node has read this variable",
            "set it in the environment that starts Node (the unit's or the container's), or start Node with `wrap`",
        ),
        Some(Ok(true)) => Check::ok(
            "ca",
            "the file of NODE_EXTRA_CA_CERTS contains the sidecar's CA",
        ),
    }
}

/// Node and an older axios would both proxy the same request.
fn check_double_proxying(facts: &BackendFacts<'_>) -> Option<Check> {
    let is_enabled = variable(facts, "NODE_USE_ENV_PROXY").is_some_and(|value| value != "0")
        || variable(facts, "NODE_OPTIONS").is_some_and(|value| value.contains("--use-env-proxy"));
    let old: Vec<String> = facts
        .axios
        .iter()
        .filter(|release| **release < Release::DEFERS_TO_NODE)
        .map(ToString::to_string)
        .collect();
    if !is_enabled {
        return None;
    }
    let known = facts.node.map_or_else(
        || "Node".to_owned(),
        |node| format!("Node {node} (as found here)"),
    );
    if let Some(why) = describe_unreadable_axios(facts) {
        return Some(Check::skipped("node-env-proxy", why));
    }
    Some(match (old.as_slice(), facts.node) {
        ([], _) => Check::ok(
            "node-env-proxy",
            "Node itself uses the proxy, and this release of axios leaves the proxy to Node",
        ),
        (_, Some(Release(..22, ..))) => Check::ok(
            "node-env-proxy",
            format!("{known} does not support NODE_USE_ENV_PROXY"),
        ),
        (old, _) => Check::failed(
            "node-env-proxy",
            format!(
                "with NODE_USE_ENV_PROXY, {known} sends through the proxy what axios {} has already addressed to the proxy: such a request fails",
                old.join(", ")
            ),
            "remove NODE_USE_ENV_PROXY, or upgrade axios to 1.18.1 or later",
        ),
    })
}

fn check_traffic(facts: &BackendFacts<'_>) -> Check {
    match facts.requests {
        None => Check::skipped(
            "seen",
            "no sidecar is running, so it is not known whether the backend ever sent a request",
        ),
        Some(requests) if requests > 0 => Check::ok(
            "seen",
            format!("the running sidecar has seen {requests} request(s) of a backend"),
        ),
        Some(_) => Check::warning(
            "seen",
            "the running sidecar has seen no request of a backend since it started",
            "make the backend send one code and run doctor again; if the sidecar still sees none, the requests bypass it",
        ),
    }
}

#[cfg(test)]
mod tests;
