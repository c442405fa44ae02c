//! The scheme, host and port that a backend names and that a client connects to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

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
    /// The authority of a URL of ours, without a user name; none without a host or with an invalid port, or with a
    /// scheme other than `http` and `https`.
    pub fn from_uri(url: &http::Uri) -> Option<Self> {
        let scheme = match url.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let named = url.authority()?.as_str().rsplit('@').next()?;
        let HostPort { host, port } = HostPort::parse(named)?;
        Some(Self {
            scheme,
            host,
            port: port.unwrap_or(scheme.default_port()),
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

/// The longest name of a host (RFC 1035, section 2.3.4).
const MAX_HOST_LEN: usize = 253;

/// `host` or `host:port`, in the one spelling that every parser reads alike. `http::uri::Authority` also
/// reads a user name, and a port that is not a number as no port at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Lower case, no brackets, no trailing dot.
    pub host: String,
    /// None if none is written.
    pub port: Option<u16>,
}

impl HostPort {
    /// None for a user name, an empty host or one longer than a name can be, an IPv6 address without brackets, and a
    /// port that is not a number from 1 to 65535.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, rest) = if let Some(inner) = text.strip_prefix('[') {
            let (address, rest) = inner.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, rest)
        } else {
            let (name, rest) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (name.bytes().all(is_name).then_some(name)?, rest)
        };
        let host = normalize_host(host);
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        (1..=MAX_HOST_LEN)
            .contains(&host.len())
            .then_some(Self { host, port })
    }
}

/// Digits only: the standard library also reads `+80`.
fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port > 0)
}

/// Whether a Host header names this machine: by an IP address, which nobody can point elsewhere, or as
/// `localhost`, which is this machine in every browser. Any other name can be rebound by its owner.
pub fn is_local_host_header(header: &str) -> bool {
    HostPort::parse(header).is_some_and(|HostPort { host, .. }| {
        host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok()
    })
}

/// Whether a Host header has one of these names, with any port.
pub fn is_one_of_hosts(header: &str, names: &[String]) -> bool {
    HostPort::parse(header)
        .is_some_and(|HostPort { host, .. }| names.iter().any(|name| normalize_host(name) == host))
}

/// Normalizes a host: lower case, no brackets, no trailing dot.
pub fn normalize_host(host: &str) -> String {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        let read = |text: &str| HostPort::parse(text).map(|own| (own.host, own.port));
        for (text, host, port) in [
            ("API.test", "api.test", None),
            ("api.test.:443", "api.test", Some(443)),
            ("sms_fake:1", "sms_fake", Some(1)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "::1", None),
            ("[2001:DB8::1]:8125", "2001:db8::1", Some(8125)),
        ] {
            assert_eq!(read(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in [
            "",
            ":80",
            ".",
            "a:",
            "a:0",
            "a:65536",
            "a:99999999999",
            "a:+80",
            "a:-1",
            "a:8o",
            "a:80:80",
            "a:80/",
            "u@a",
            "u:p@a:80",
            "a b",
            "a/b",
            "::1",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[]",
            "[a]",
            "[1.2.3.4]",
            "[::1%1]",
            "a%2eb",
            "ä.test",
            "https://a",
            "a,b",
            "a:80 ",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let name = |length: usize| format!("{}.test", "a".repeat(length - ".test".len()));
        assert!(read(&name(MAX_HOST_LEN)).is_some());
        assert_eq!(read(&name(MAX_HOST_LEN + 1)), None);
    }

    #[test]
    fn a_url_without_a_valid_port_has_no_authority() {
        let of = |text: &str| Authority::from_uri(&text.parse().ok()?);
        assert_eq!(of("https://a.test/x").map(|own| own.port), Some(443));
        assert_eq!(
            of("http://[::1]:81").map(|own| own.to_string()),
            Some("[::1]:81".to_owned())
        );
        for text in [
            "http://a.test:99999/",
            "http://a.test:http/",
            "ftp://a.test/",
            "/x",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
