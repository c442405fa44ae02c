//! The scheme, host and port that a backend names and that a client connects to.

use std::fmt;
use std::net::IpAddr;

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme as written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The destination of a request: a CONNECT's target or an absolute URI, never a CONNECT's Host header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Authority {
    /// For CONNECT: `Https` until the first byte inside shows plain HTTP.
    pub scheme: Scheme,
    /// Lower case, no port, no brackets, no trailing dot.
    pub host: String,
    /// Explicit, or the scheme's default.
    pub port: u16,
}

impl Authority {
    /// The authority of a URL; none without a host, or with a scheme other than `http` and `https`.
    pub fn from_uri(url: &http::Uri) -> Option<Self> {
        let scheme = match url.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let host = normalize_host(url.host()?);
        (!host.is_empty()).then(|| Self {
            scheme,
            host,
            port: url.port_u16().unwrap_or(scheme.default_port()),
        })
    }

    /// The value of a Host header: without the scheme's default port.
    pub fn host_header(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == self.scheme.default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Whether a Host header names this machine: by an IP address, which nobody can point elsewhere, or as
/// `localhost`, which is this machine in every browser. Any other name can be rebound by its owner.
pub fn is_local_host_header(authority: &str) -> bool {
    let (host, port) = split_port(authority);
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let local =
        name == "localhost" || name.ends_with(".localhost") || host.parse::<IpAddr>().is_ok();
    local && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Whether a Host header has one of these names, with any port.
pub fn is_one_of_hosts(authority: &str, names: &[String]) -> bool {
    let (host, port) = split_port(authority);
    let host = normalize_host(host);
    port.is_none_or(|port| port.parse::<u16>().is_ok())
        && names.iter().any(|name| normalize_host(name) == host)
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, port)) => (
            host,
            Some(port.strip_prefix(':').unwrap_or(port)).filter(|port| !port.is_empty()),
        ),
        None => authority
            .rsplit_once(':')
            .map_or((authority, None), |(host, port)| (host, Some(port))),
    }
}

/// Normalizes a host: lower case, no brackets, no trailing dot.
pub fn normalize_host(host: &str) -> String {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase()
}
