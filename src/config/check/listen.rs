//! `[listen]`, `[intercept]`, `[limits]`: where clients connect, and the limits there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use toml::Spanned;

use crate::config::ConfigKey;
use crate::config::checker::ConfigChecker;
use crate::config::choices::OTHER_HOSTS;
use crate::config::raw::RawConfig;
use crate::config::spanned::ConfigString;
use crate::config::values;
use crate::net::{CaSettings, Limits, Listen, OtherHosts};

/// Where the backend connects by default.
const DEFAULT_PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8125);
/// Where Prometheus connects by default.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9125);

/// `sun_path` has 108 bytes on Linux, including the terminating one.
const MAX_SOCKET_PATH: usize = 107;

pub(super) fn listen(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Listen {
    let raw = &file.listen;
    if let Some(word) = &raw.transparent {
        checker.error(
            word.span(),
            "`transparent` is not supported",
            "remove the key; use `proxy` or `unix`",
        );
    }
    let listen = Listen {
        proxy: checker.parse_or(
            raw.proxy.as_ref(),
            Some(DEFAULT_PROXY),
            values::listen_address,
        ),
        names: raw
            .names
            .iter()
            .filter_map(|word| host_name(checker, word))
            .collect(),
        unix: socket(checker, raw.unix.as_ref()),
        admin: checker.parse_or(
            raw.admin.as_ref(),
            Some(DEFAULT_ADMIN),
            values::listen_address,
        ),
        metrics: checker.parse_or(raw.metrics.as_ref(), None, values::listen_address),
        control: socket(checker, raw.control.as_ref()),
    };
    let is_unreachable = listen.proxy.is_none() && listen.unix.is_none();
    if let Some(word) = raw.proxy.as_ref().filter(|_| is_unreachable) {
        checker.error(
            word.span(),
            "the backend has no entrypoint",
            "set `proxy` to an address, or add `unix`",
        );
    }
    check_remote_access(checker, file, listen.proxy);
    check_admin_exposure(checker, file, listen.admin);
    check_duplicate_addresses(checker, file, &listen);
    listen
}

/// A host name without scheme, port and path.
fn host_name(checker: &mut ConfigChecker<'_>, word: &ConfigString) -> Option<String> {
    let name = word.get_ref();
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !is_name {
        checker.error(
            word.span(),
            "this is not a host name",
            "write the name alone, like \"sms-sidecar.internal\": no scheme, no port, no `*`",
        );
    }
    is_name.then(|| name.clone())
}

/// An entrypoint that is reachable from other hosts requires a caller with a token.
fn check_remote_access(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    proxy: Option<SocketAddr>,
) {
    let (Some(address), Some(word)) = (proxy, &file.listen.proxy) else {
        return;
    };
    if address.ip().is_loopback() || file.callers.values().any(|caller| caller.token.is_some()) {
        return;
    }
    let what = if file.callers.is_empty() {
        "this entrypoint is reachable from other hosts, and anyone there could send through your accounts"
    } else {
        "this entrypoint is reachable from other hosts, where a `uid` cannot be verified"
    };
    checker.error(
        word.span(),
        what,
        "listen on 127.0.0.1, or add `[callers.NAME]` with a `token`",
    );
}

/// The status page holds no secret, but should not be public.
fn check_admin_exposure(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    admin: Option<SocketAddr>,
) {
    let (Some(address), Some(word)) = (admin, &file.listen.admin) else {
        return;
    };
    if !address.ip().is_loopback() {
        let what = "the status page is readable from other hosts: accounts, causes of rejections, balances, the last requests";
        let help = "listen on 127.0.0.1 and give a Prometheus on another host `metrics = \"ADDRESS:9126\"`, which serves no page; or restrict access with a firewall";
        checker.warn(word.span(), what, help);
    }
}

/// The path of a socket that is to be opened.
fn socket(checker: &mut ConfigChecker<'_>, word: Option<&ConfigString>) -> Option<PathBuf> {
    let word = word.filter(|word| !values::is_off(word.get_ref()))?;
    Some(socket_path(checker, word))
}

/// A path that is short enough for a socket.
fn socket_path(checker: &mut ConfigChecker<'_>, word: &ConfigString) -> PathBuf {
    let path = checker.path(word);
    let long = path.as_os_str().len();
    if long > MAX_SOCKET_PATH {
        let help = format!(
            "shorten it to {MAX_SOCKET_PATH} bytes, like \"/run/sms-sidecar/NAME.sock\"; the config's folder counts if the path is relative"
        );
        checker.error(
            word.span(),
            format!("this socket's path has {long} bytes, more than the system allows"),
            help,
        );
    }
    path
}

fn check_duplicate_addresses(checker: &mut ConfigChecker<'_>, file: &RawConfig, listen: &Listen) {
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
        // A key that is left out has no span: then `proxy` took its default address.
        let blamed = word.as_ref().or(raw.proxy.as_ref());
        if let (true, Some(word)) = (taken, blamed) {
            checker.error(
                word.span(),
                "two listeners have the same address",
                "give each its own port; the default of `proxy` is 127.0.0.1:8125, that of `admin` 127.0.0.1:9125",
            );
        }
    }
    let is_shared = listen.unix.is_some() && listen.unix == listen.control;
    if let Some(word) = raw.control.as_ref().filter(|_| is_shared) {
        checker.error(
            word.span(),
            "two listeners have the same socket",
            "give each its own path",
        );
    }
}

pub(super) fn ca(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Option<CaSettings> {
    let table = file.intercept.as_ref()?.get_ref().ca.as_ref()?;
    let raw = table.get_ref();
    checker.record_span(ConfigKey::Ca, table.span());
    Some(CaSettings {
        cert_file: checker.required_path(raw.cert_file.as_ref(), &table.span(), "cert_file"),
        key_file: checker.required_path(raw.key_file.as_ref(), &table.span(), "key_file"),
    })
}

pub(super) fn other_hosts(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> OtherHosts {
    let table = file.intercept.as_ref().map(Spanned::get_ref);
    let word = table.and_then(|raw| raw.other_hosts.as_ref());
    checker.choice_or(word, OtherHosts::Tunnel, OTHER_HOSTS)
}

pub(super) fn limits(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Limits {
    let raw = &file.limits;
    let usual = Limits::default();
    Limits {
        max_body: checker.parse_or(raw.body.as_ref(), usual.max_body, values::size),
        max_in_flight: checker.parse_or(raw.in_flight.as_ref(), usual.max_in_flight, values::size),
        max_head: checker.parse_or(raw.headers.as_ref(), usual.max_head, values::size),
        client_timeout: checker.parse_or(
            raw.client.as_ref(),
            usual.client_timeout,
            values::positive_duration,
        ),
        max_connections: max_connections(checker, file).unwrap_or(usual.max_connections),
        idle_timeout: checker.parse_or(
            raw.idle.as_ref(),
            usual.idle_timeout,
            values::positive_duration,
        ),
        forward_timeout: checker.parse_or(
            raw.forward.as_ref(),
            usual.forward_timeout,
            values::positive_duration,
        ),
        drain_timeout: checker.parse_or(raw.drain.as_ref(), usual.drain_timeout, values::duration),
    }
}

fn max_connections(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Option<usize> {
    let number = file.limits.connections.as_ref()?;
    checker.record_span(ConfigKey::Connections, number.span());
    let count = usize::try_from(*number.get_ref()).ok();
    let valid = count.filter(|count| *count > 0);
    if valid.is_none() {
        checker.error(
            number.span(),
            "`connections` must be at least 1",
            "write at least 1, or leave the key out",
        );
    }
    valid
}
