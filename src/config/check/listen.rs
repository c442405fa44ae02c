//! `[listen]`, `[intercept]`, `[limits]`: who may come in, and how much at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::ConfigKey;
use crate::config::check::checker::ConfigChecker;
use crate::config::raw::RawConfig;
use crate::config::spanned::ConfigString;
use crate::config::values;
use crate::net::{CaSettings, Limits, Listen, OtherHosts};

/// Where the backend finds us unless the file says otherwise.
const DEFAULT_PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8125);
/// Where Prometheus finds us unless the file says otherwise.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9125);

/// `sun_path` has 108 bytes on Linux, the one that ends it included.
const MAX_SOCKET_PATH: usize = 107;

pub(super) fn listen(judge: &mut ConfigChecker<'_>, file: &RawConfig) -> Listen {
    let raw = &file.listen;
    if let Some(word) = &raw.transparent {
        judge.error(
            word.span(),
            "this version has no transparent entrypoint",
            "take the key away; `proxy` and `unix` are there",
        );
    }
    let listen = Listen {
        proxy: judge.parse_or(
            raw.proxy.as_ref(),
            Some(DEFAULT_PROXY),
            values::listen_address,
        ),
        unix: raw.unix.as_ref().map(|word| socket_path(judge, word)),
        admin: judge.parse_or(
            raw.admin.as_ref(),
            Some(DEFAULT_ADMIN),
            values::listen_address,
        ),
        metrics: judge.parse_or(raw.metrics.as_ref(), None, values::listen_address),
        control: raw.control.as_ref().map(|word| socket_path(judge, word)),
    };
    if let (None, None, Some(word)) = (listen.proxy, &listen.unix, &raw.proxy) {
        judge.error(
            word.span(),
            "no entrypoint is left for the backend",
            "set `proxy` to an address or add `unix`",
        );
    }
    check_remote_access(judge, file, listen.proxy);
    check_admin_exposure(judge, file, listen.admin);
    check_duplicate_addresses(judge, file, &listen);
    listen
}

/// A door that strangers can reach asks who they are.
fn check_remote_access(judge: &mut ConfigChecker<'_>, file: &RawConfig, proxy: Option<SocketAddr>) {
    let (Some(address), Some(word)) = (proxy, &file.listen.proxy) else {
        return;
    };
    if address.ip().is_loopback() || file.callers.values().any(|caller| caller.token.is_some()) {
        return;
    }
    let what = if file.callers.is_empty() {
        "this entrypoint can be reached from other hosts, and anyone there could send through your accounts"
    } else {
        "this entrypoint can be reached from other hosts, where a uid says nothing"
    };
    judge.error(
        word.span(),
        what,
        "listen on 127.0.0.1, or add `[callers.NAME]` with a `token`",
    );
}

/// Nothing on the page is a secret, and yet it is nobody's business.
fn check_admin_exposure(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    admin: Option<SocketAddr>,
) {
    let (Some(address), Some(word)) = (admin, &file.listen.admin) else {
        return;
    };
    if !address.ip().is_loopback() {
        let what = "whoever reaches this address reads the status page: accounts, what they are refused for, balances, the last calls";
        let help = "listen on 127.0.0.1, and give a Prometheus on another host `metrics = \"ADDRESS:9126\"`, which has no page; or let a firewall say who gets here";
        judge.warn(word.span(), what, help);
    }
}

/// A path that a socket can have.
fn socket_path(judge: &mut ConfigChecker<'_>, word: &ConfigString) -> PathBuf {
    let path = judge.path(word);
    let long = path.as_os_str().len();
    if long > MAX_SOCKET_PATH {
        let help = format!(
            "shorten it, like \"/run/sms-sidecar/NAME.sock\": the system takes {MAX_SOCKET_PATH}, the config's folder before a relative one included"
        );
        judge.error(
            word.span(),
            format!("this socket's path has {long} bytes, too many to listen at"),
            help,
        );
    }
    path
}

fn check_duplicate_addresses(judge: &mut ConfigChecker<'_>, file: &RawConfig, listen: &Listen) {
    let raw = &file.listen;
    let mut seen: Vec<SocketAddr> = Vec::new();
    let addresses = [listen.proxy, listen.admin, listen.metrics];
    for (address, word) in addresses
        .into_iter()
        .zip([&raw.proxy, &raw.admin, &raw.metrics])
    {
        let Some(address) = address.filter(|address| address.port() != 0) else {
            continue;
        };
        let taken = seen.contains(&address);
        seen.push(address);
        // Left out, the key has no place of its own: the one that took its default's address is to blame.
        let blamed = word.as_ref().or(raw.proxy.as_ref());
        if let (true, Some(word)) = (taken, blamed) {
            judge.error(
                word.span(),
                "two listeners on one address",
                "give each its own port; left out, `proxy` is 127.0.0.1:8125 and `admin` 127.0.0.1:9125",
            );
        }
    }
    if let (Some(door), Some(control), Some(word)) = (&listen.unix, &listen.control, &raw.control)
        && door == control
    {
        judge.error(
            word.span(),
            "two listeners on one socket",
            "give each its own path",
        );
    }
}

pub(super) fn intercept(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
) -> (Option<CaSettings>, Option<OtherHosts>) {
    let Some(table) = &file.intercept else {
        return (None, None);
    };
    let raw = table.get_ref();
    let hosts = judge.choice_or(
        raw.other_hosts.as_ref(),
        OtherHosts::Tunnel,
        &[("tunnel", OtherHosts::Tunnel), ("deny", OtherHosts::Deny)],
    );
    let Some(ca) = &raw.ca else {
        return (None, Some(hosts));
    };
    let span = ca.span();
    judge.record_span(ConfigKey::Ca, span.clone());
    let ca = CaSettings {
        cert_file: judge.required_path(ca.get_ref().cert_file.as_ref(), &span, "cert_file"),
        key_file: judge.required_path(ca.get_ref().key_file.as_ref(), &span, "key_file"),
    };
    (Some(ca), Some(hosts))
}

pub(super) fn limits(judge: &mut ConfigChecker<'_>, file: &RawConfig) -> Limits {
    let (raw, usual) = (&file.limits, Limits::default());
    let connections = raw
        .connections
        .as_ref()
        .map_or(Ok(usual.max_connections), |number| {
            usize::try_from(*number.get_ref())
                .ok()
                .filter(|count| *count > 0)
                .ok_or(number.span())
        });
    if let Err(span) = &connections {
        judge.error(
            span.clone(),
            "no connection at all is too few",
            "write at least 1, or leave it out",
        );
    }
    Limits {
        max_body: judge.parse_or(raw.body.as_ref(), usual.max_body, values::size),
        max_head: judge.parse_or(raw.headers.as_ref(), usual.max_head, values::size),
        client_timeout: judge.parse_or(
            raw.client.as_ref(),
            usual.client_timeout,
            values::positive_duration,
        ),
        max_connections: connections.unwrap_or(usual.max_connections),
        idle_timeout: judge.parse_or(
            raw.idle.as_ref(),
            usual.idle_timeout,
            values::positive_duration,
        ),
        drain_timeout: judge.parse_or(raw.drain.as_ref(), usual.drain_timeout, values::duration),
    }
}
