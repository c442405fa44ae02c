//! What a raw request must be before anything else looks at it. Pure: a head goes in, and
//! either where it is addressed comes out, or the reason it is turned away. It exists
//! because the HTTP library passes on what could smuggle a request, or let a browser
//! page speak with our credentials.

mod target;
mod trace;

use http::header::{CONNECTION, EXPECT, HOST, ORIGIN, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};

use crate::net::authority::{Authority, Scheme, plain};

pub use target::{address, host};
pub use trace::untrace;

/// Names that concern one connection only, and never travel on.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("proxy-connection"),
];
/// Names that mean something only between us and our caller.
const OWN_PREFIX: &str = "x-sms-sidecar-";

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 405.
    #[error("the method {0} is not served here; GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and CONNECT are")]
    Method(String),
    /// 400.
    #[error("the request has {0} Host headers; send exactly one")]
    Hosts(usize),
    /// 400.
    #[error("the Host header names another host than the request line; send the same in both")]
    OtherHost,
    /// 400.
    #[error("the request line's target cannot be used here: {0}")]
    Form(&'static str),
    /// 400.
    #[error("the path has {0}, which services read in different ways; send the plain path")]
    Path(&'static str),
    /// 400.
    #[error("the Connection header names {0}, which is no connection option; leave it out")]
    Connection(String),
    /// 403.
    #[error("requests from browser pages are not served (the header {0} gives it away); call from a backend")]
    Browser(&'static str),
    /// 508.
    #[error("this request has passed through here before; check base URLs and proxy settings for a loop")]
    Loop,
    /// 403.
    #[error("https:// in clear is served to callers on this machine only; use CONNECT from elsewhere")]
    ClearText,
    /// 403.
    #[error("{0} is a metadata address and is never reached through here")]
    Metadata(String),
    /// 403.
    #[error("{0} is one of this sidecar's own addresses; call it directly, or list it in NO_PROXY")]
    Own(String),
    /// 403.
    #[error("{0} is in a private range, which is open to callers on this machine only")]
    Private(String),
    /// 403.
    #[error("{0} is no address of a single host")]
    Nobody(String),
}

impl Refusal {
    /// What the backend gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Hosts(_) | Self::OtherHost | Self::Form(_) | Self::Path(_) | Self::Connection(_) => StatusCode::BAD_REQUEST,
            Self::Browser(_) | Self::ClearText | Self::Metadata(_) | Self::Own(_) | Self::Private(_) | Self::Nobody(_) => {
                StatusCode::FORBIDDEN
            }
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }
}

/// How the request came to us.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Inside a CONNECT for this authority.
    pub inside: Option<&'a Authority>,
    /// From this machine.
    pub local: bool,
    /// What we write into `Via`, unique to this process.
    pub marker: &'a str,
}

/// What the request line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A path at our own address, with the Host header if it has one.
    Path(Option<String>),
    /// A host: absolute form, or inside a CONNECT.
    Host(Authority),
    /// CONNECT.
    Connect(Authority),
}

/// Judges a request's head.
pub fn head(parts: &Parts, way: Way<'_>) -> Result<Named, Refusal> {
    method(&parts.method)?;
    browser(&parts.headers)?;
    looped(&parts.headers, way.marker)?;
    connection(&parts.headers)?;
    let host = one_host(&parts.headers, parts.version)?;
    if parts.method == Method::CONNECT {
        return connect(parts, way);
    }
    match (parts.uri.scheme_str(), way.inside) {
        (Some(_), Some(_)) => Err(Refusal::Form("an absolute URL inside a CONNECT")),
        (Some(_), None) => absolute(parts, host.as_deref(), way),
        (None, inside) => {
            if !parts.uri.path().starts_with('/') {
                return Err(Refusal::Form("it does not begin with a slash"));
            }
            let Some(authority) = inside else { return Ok(Named::Path(host)) };
            // A hint only, never the route: but two names for one request are one too many. The port may differ:
            // Node writes `:80` into a TLS tunnel if the socket was made by hand.
            if host.as_deref().is_some_and(|host| !same_name(host, authority)) {
                return Err(Refusal::OtherHost);
            }
            Ok(Named::Host(authority.clone()))
        }
    }
}

/// Judges the path of a request that will carry our credentials.
pub fn path(path: &str) -> Result<(), Refusal> {
    let lower = path.to_ascii_lowercase();
    let told = [("%2f", "an encoded slash"), ("%5c", "an encoded backslash"), ("%2e", "an encoded dot"), ("%00", "an encoded zero byte")];
    for (sign, what) in told {
        if lower.contains(sign) {
            return Err(Refusal::Path(what));
        }
    }
    if path.contains('\\') {
        return Err(Refusal::Path("a backslash"));
    }
    if path.contains("//") {
        return Err(Refusal::Path("an empty segment"));
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Refusal::Path("a dot segment"));
    }
    Ok(())
}

/// Takes out what concerns this connection or only us, before anything is put in.
pub fn strip(headers: &mut HeaderMap) {
    let mut gone: Vec<HeaderName> = options(headers).filter_map(|name| HeaderName::try_from(name).ok()).collect();
    gone.extend(headers.keys().filter(|name| is_ours(name.as_str())).cloned());
    for name in gone {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(HOST);
    headers.remove(http::header::CONTENT_LENGTH);
}

/// Takes out of a reply what concerns the connection it came over.
pub fn strip_framing(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = options(headers).filter_map(|name| HeaderName::try_from(name).ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("proxy-") || name.starts_with(OWN_PREFIX)
}

fn method(method: &Method) -> Result<(), Refusal> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"];
    if known.contains(&method.as_str()) {
        return Ok(());
    }
    // Foreign text in a log line: cut and plain.
    Err(Refusal::Method(method.as_str().chars().filter(char::is_ascii_alphanumeric).take(16).collect()))
}

/// `Sec-Fetch-Mode` alone is Node's fetch; the other two come from pages.
fn browser(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Browser("Origin"));
    }
    if headers.contains_key("sec-fetch-site") {
        return Err(Refusal::Browser("Sec-Fetch-Site"));
    }
    Ok(())
}

fn looped(headers: &HeaderMap, marker: &str) -> Result<(), Refusal> {
    let passed = headers.get_all(VIA).iter().any(|via| via.to_str().is_ok_and(|via| via.contains(marker)));
    if passed { Err(Refusal::Loop) } else { Ok(()) }
}

/// `Connection: authorization` would have the next hop drop what it must see.
fn connection(headers: &HeaderMap) -> Result<(), Refusal> {
    for option in options(headers) {
        let harmless = HOP_BY_HOP.iter().any(|name| *name == option.as_str()) || is_ours(&option);
        if !harmless && headers.contains_key(option.as_str()) {
            return Err(Refusal::Connection(option.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect()));
        }
    }
    Ok(())
}

fn options(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|option| option.trim().to_ascii_lowercase()).filter(|option| !option.is_empty())
}

fn one_host(headers: &HeaderMap, version: Version) -> Result<Option<String>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map(|host| Some(host.to_ascii_lowercase())).map_err(|_| Refusal::Form("its Host is no text")),
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (None, _) => Err(Refusal::Hosts(0)),
        (Some(_), Some(_)) => Err(Refusal::Hosts(headers.get_all(HOST).iter().count())),
    }
}

/// The Host header of a CONNECT is not looked at: clients write four different things there.
fn connect(parts: &Parts, way: Way<'_>) -> Result<Named, Refusal> {
    if way.inside.is_some() {
        return Err(Refusal::Form("CONNECT inside a CONNECT"));
    }
    let authority = parts.uri.authority().ok_or(Refusal::Form("CONNECT without host and port"))?;
    let port = authority.port_u16().filter(|port| *port > 0).ok_or(Refusal::Form("CONNECT without a port"))?;
    Ok(Named::Connect(named(Scheme::Https, authority, port)?))
}

fn absolute(parts: &Parts, host: Option<&str>, way: Way<'_>) -> Result<Named, Refusal> {
    let scheme = match parts.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(_) | None => return Err(Refusal::Form("only http:// and https:// are served")),
    };
    if scheme == Scheme::Https && !way.local {
        return Err(Refusal::ClearText);
    }
    let authority = parts.uri.authority().ok_or(Refusal::Form("an absolute URL without a host"))?;
    let named = named(scheme, authority, authority.port_u16().unwrap_or(scheme.default_port()))?;
    if host.is_some_and(|host| !same_host(host, &named)) {
        return Err(Refusal::OtherHost);
    }
    Ok(Named::Host(named))
}

fn named(scheme: Scheme, authority: &http::uri::Authority, port: u16) -> Result<Authority, Refusal> {
    if authority.as_str().contains('@') {
        return Err(Refusal::Form("a user name in the URL"));
    }
    let host = plain(authority.host());
    if host.is_empty() {
        return Err(Refusal::Form("an empty host"));
    }
    Ok(Authority { scheme, host, port })
}

fn same_name(header: &str, authority: &Authority) -> bool {
    !header.contains('@') && header.parse::<http::uri::Authority>().is_ok_and(|parsed| plain(parsed.host()) == authority.host)
}

/// A Host header against the URL it should repeat; the default port may be left out.
fn same_host(header: &str, authority: &Authority) -> bool {
    let port = header.parse::<http::uri::Authority>().ok().and_then(|parsed| parsed.port_u16());
    same_name(header, authority) && port.unwrap_or(authority.scheme.default_port()) == authority.port
}

#[cfg(test)]
mod tests;
