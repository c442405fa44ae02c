//! Checks a raw request before anything else reads it. Pure: a head goes in; its target or the
//! reason for its rejection comes out. It exists because the HTTP library lets through requests
//! that could smuggle another one, or that let a browser page use our credentials.

mod framing;
mod target;
mod trace_headers;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, ORIGIN, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};

use crate::diagnosis::DenialReason;
use crate::net::authority::{Authority, HostPort, Scheme, is_local_host_header, is_one_of_hosts};

pub use framing::{FramingError, FramingFault, FramingScanner};
pub use target::{check_address, check_host};
pub use trace_headers::strip_trace_headers;

/// Headers of one connection; they are never forwarded.
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
/// Headers beside those that decide how a request is read.
static DECISIVE: [HeaderName; 3] = [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING];
/// Headers between the sidecar and its backend.
const OWN_PREFIX: &str = "x-sms-sidecar-";

/// Why a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// 405.
    #[error(
        "the method {0} is not supported; use GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS or CONNECT"
    )]
    Method(String),
    /// 400.
    #[error("the request has {0} Host headers; send exactly one")]
    HostHeaderCount(usize),
    /// 400.
    #[error("the Host header names another host than the request line; send the same in both")]
    HostMismatch,
    /// 400.
    #[error("the request line's target cannot be used here: {0}")]
    InvalidTarget(&'static str),
    /// 400.
    #[error("the path has {0}, which services read in different ways; send the plain path")]
    AmbiguousPath(&'static str),
    /// 400.
    #[error("the Connection header names {0}, which is not a connection option; leave it out")]
    ConnectionOption(String),
    /// 400.
    #[error(
        "the header {0} is spelt with an underscore, which some servers read as {1}; leave it out"
    )]
    LookAlikeHeader(String, String),
    /// 421.
    #[error(
        "the Host header names another host; use an IP address or localhost in the base URL, or add the name to `names` in [listen]"
    )]
    ForeignHost,
    /// 403.
    #[error("requests from browser pages are denied (header {0}); send them from a backend")]
    BrowserRequest(&'static str),
    /// 508.
    #[error(
        "this request has already passed through this sidecar; check base URLs and proxy settings for a loop"
    )]
    Loop,
    /// 403.
    #[error(
        "an absolute https:// URL is accepted from callers on this machine only; use CONNECT from elsewhere"
    )]
    HttpsInCleartext,
    /// 403.
    #[error("{0} is a metadata address; the sidecar never connects to it")]
    MetadataAddress(String),
    /// 403.
    #[error("{0} is one of this sidecar's own addresses; call it directly, or list it in NO_PROXY")]
    OwnAddress(String),
    /// 403.
    #[error("{0} is in a private range, which is open to callers on this machine only")]
    PrivateAddress(String),
    /// 403.
    #[error("{0} is not the address of a single host")]
    NotUnicast(String),
}

impl ScreenError {
    /// The status that the backend gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::HostHeaderCount(_)
            | Self::HostMismatch
            | Self::InvalidTarget(_)
            | Self::AmbiguousPath(_)
            | Self::ConnectionOption(_)
            | Self::LookAlikeHeader(..) => StatusCode::BAD_REQUEST,
            Self::BrowserRequest(_)
            | Self::HttpsInCleartext
            | Self::MetadataAddress(_)
            | Self::OwnAddress(_)
            | Self::PrivateAddress(_)
            | Self::NotUnicast(_) => StatusCode::FORBIDDEN,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    /// The reason in the list of denials.
    pub fn denial_reason(&self) -> DenialReason {
        match self {
            Self::Method(_)
            | Self::HostHeaderCount(_)
            | Self::HostMismatch
            | Self::InvalidTarget(_)
            | Self::AmbiguousPath(_)
            | Self::ConnectionOption(_)
            | Self::LookAlikeHeader(..) => DenialReason::Malformed,
            Self::BrowserRequest(_) => DenialReason::BrowserRequest,
            Self::HttpsInCleartext => DenialReason::InsecureHttps,
            Self::MetadataAddress(_)
            | Self::OwnAddress(_)
            | Self::PrivateAddress(_)
            | Self::NotUnicast(_) => DenialReason::BlockedAddress,
            Self::ForeignHost => DenialReason::ForeignHost,
            Self::Loop => DenialReason::Loop,
        }
    }
}

/// How the request reached the sidecar.
#[derive(Clone, Copy, Debug)]
pub struct ScreenContext<'a> {
    /// The authority of the CONNECT that the request is inside of.
    pub connect_target: Option<&'a Authority>,
    /// Whether it comes from this machine.
    pub is_local: bool,
    /// The sidecar's entry in `Via`, unique to this process.
    pub via_marker: &'a str,
}

/// The target of the request line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestLineTarget {
    /// A path at our own address, with the Host header if it has one.
    Path(Option<String>),
    /// A host: absolute form, or inside a CONNECT.
    Host(Authority),
    /// CONNECT.
    Connect(Authority),
}

/// Checks a request's head and returns its target.
pub fn check_head(parts: &Parts, way: ScreenContext<'_>) -> Result<RequestLineTarget, ScreenError> {
    check_method(&parts.method)?;
    reject_browser(&parts.headers)?;
    reject_loop(&parts.headers, way.via_marker)?;
    check_connection_header(&parts.headers)?;
    reject_look_alikes(&parts.headers)?;
    let host = single_host(&parts.headers, parts.version)?;
    if parts.method == Method::CONNECT {
        return parse_connect(parts, way);
    }
    match (parts.uri.scheme_str(), way.connect_target) {
        (Some(_), Some(_)) => Err(ScreenError::InvalidTarget(
            "an absolute URL inside a CONNECT",
        )),
        (Some(_), None) => parse_absolute(parts, host.as_deref(), way),
        (None, inside) => {
            if !parts.uri.path().starts_with('/') {
                return Err(ScreenError::InvalidTarget("it does not begin with a slash"));
            }
            let Some(authority) = inside else {
                return Ok(RequestLineTarget::Path(host));
            };
            // The Host header never decides the route, but it must not contradict it. The port may differ:
            // Node writes `:80` inside a TLS tunnel if the application created the socket itself.
            if host
                .as_deref()
                .is_some_and(|host| !host_name_matches(host, authority))
            {
                return Err(ScreenError::HostMismatch);
            }
            Ok(RequestLineTarget::Host(authority.clone()))
        }
    }
}

/// Checks the Host header at the base-URL entrypoint, so that no web page reaches it by pointing a name of its own
/// here. A client that sends none is not a browser.
pub fn check_own_host(host: Option<&str>, names: &[String]) -> Result<(), ScreenError> {
    if host.is_none_or(|host| is_local_host_header(host) || is_one_of_hosts(host, names)) {
        Ok(())
    } else {
        Err(ScreenError::ForeignHost)
    }
}

/// Checks the path of a request that will be sent with our credentials.
pub fn check_path(path: &str) -> Result<(), ScreenError> {
    let lower = path.to_ascii_lowercase();
    let expected = [
        ("%2f", "an encoded slash"),
        ("%5c", "an encoded backslash"),
        ("%2e", "an encoded dot"),
        ("%00", "an encoded zero byte"),
    ];
    for (sign, what) in expected {
        if lower.contains(sign) {
            return Err(ScreenError::AmbiguousPath(what));
        }
    }
    if path.contains('\\') {
        return Err(ScreenError::AmbiguousPath("a backslash"));
    }
    if path.contains("//") {
        return Err(ScreenError::AmbiguousPath("an empty segment"));
    }
    if path
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(ScreenError::AmbiguousPath("a dot segment"));
    }
    Ok(())
}

/// Removes the headers of this connection and the sidecar's own, before any are added.
pub fn strip_connection_headers(headers: &mut HeaderMap) {
    let mut gone: Vec<HeaderName> = connection_options(headers)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect();
    gone.extend(
        headers
            .keys()
            .filter(|name| is_proxy_header(name.as_str()))
            .cloned(),
    );
    for name in gone {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
}

/// Removes the headers of the upstream connection from a reply.
pub fn strip_framing(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn is_proxy_header(name: &str) -> bool {
    name.starts_with("proxy-") || name.starts_with(OWN_PREFIX)
}

fn check_method(method: &Method) -> Result<(), ScreenError> {
    let known = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT",
    ];
    if known.contains(&method.as_str()) {
        return Ok(());
    }
    // The method goes into a log line: truncated, and alphanumeric only.
    Err(ScreenError::Method(
        method
            .as_str()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(16)
            .collect(),
    ))
}

/// Node's fetch sends `Sec-Fetch-Mode` only; `Origin` and `Sec-Fetch-Site` come from browser pages.
fn reject_browser(headers: &HeaderMap) -> Result<(), ScreenError> {
    if headers.contains_key(ORIGIN) {
        return Err(ScreenError::BrowserRequest("Origin"));
    }
    if headers.contains_key("sec-fetch-site") {
        return Err(ScreenError::BrowserRequest("Sec-Fetch-Site"));
    }
    Ok(())
}

fn reject_loop(headers: &HeaderMap, marker: &str) -> Result<(), ScreenError> {
    let passed = headers
        .get_all(VIA)
        .iter()
        .any(|via| via.to_str().is_ok_and(|via| via.contains(marker)));
    if passed {
        Err(ScreenError::Loop)
    } else {
        Ok(())
    }
}

/// `Connection: authorization` would make the next hop drop a header that it needs.
fn check_connection_header(headers: &HeaderMap) -> Result<(), ScreenError> {
    for option in connection_options(headers) {
        let harmless =
            HOP_BY_HOP.iter().any(|name| *name == option.as_str()) || is_proxy_header(&option);
        if !harmless && headers.contains_key(option.as_str()) {
            return Err(ScreenError::ConnectionOption(
                option
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                    .take(40)
                    .collect(),
            ));
        }
    }
    Ok(())
}

/// CGI and its successors read `_` as `-`: `Transfer_Encoding` passes one parser and frames the body for the next.
fn reject_look_alikes(headers: &HeaderMap) -> Result<(), ScreenError> {
    for name in headers.keys().map(HeaderName::as_str) {
        let read_as = name.replace('_', "-");
        let matters = HOP_BY_HOP
            .iter()
            .chain(&DECISIVE)
            .any(|own| *own == read_as.as_str())
            || is_proxy_header(&read_as);
        if read_as != name && matters {
            return Err(ScreenError::LookAlikeHeader(name.to_owned(), read_as));
        }
    }
    Ok(())
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .filter(|option| !option.is_empty())
}

fn single_host(headers: &HeaderMap, version: Version) -> Result<Option<String>, ScreenError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host
            .to_str()
            .map(|host| Some(host.to_ascii_lowercase()))
            .map_err(|_| ScreenError::InvalidTarget("its Host header is not text")),
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (None, _) => Err(ScreenError::HostHeaderCount(0)),
        (Some(_), Some(_)) => Err(ScreenError::HostHeaderCount(
            headers.get_all(HOST).iter().count(),
        )),
    }
}

/// Ignores the Host header of a CONNECT: clients write four different things there.
fn parse_connect(parts: &Parts, way: ScreenContext<'_>) -> Result<RequestLineTarget, ScreenError> {
    if way.connect_target.is_some() {
        return Err(ScreenError::InvalidTarget("CONNECT inside a CONNECT"));
    }
    if parts.uri.scheme().is_some() || parts.uri.path_and_query().is_some() {
        return Err(ScreenError::InvalidTarget(
            "CONNECT takes host and port, not a URL",
        ));
    }
    let named = parse_target_authority(parts, "CONNECT without host and port")?;
    let port = named
        .port
        .ok_or(ScreenError::InvalidTarget("CONNECT without a port"))?;
    Ok(RequestLineTarget::Connect(Authority {
        scheme: Scheme::Https,
        host: named.host,
        port,
    }))
}

fn parse_absolute(
    parts: &Parts,
    host: Option<&str>,
    way: ScreenContext<'_>,
) -> Result<RequestLineTarget, ScreenError> {
    let scheme = match parts.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(_) | None => {
            return Err(ScreenError::InvalidTarget(
                "only http:// and https:// are served",
            ));
        }
    };
    if scheme == Scheme::Https && !way.is_local {
        return Err(ScreenError::HttpsInCleartext);
    }
    let HostPort { host: name, port } =
        parse_target_authority(parts, "an absolute URL without a host")?;
    let named = Authority {
        scheme,
        host: name,
        port: port.unwrap_or(scheme.default_port()),
    };
    if host.is_some_and(|host| !host_header_matches(host, &named)) {
        return Err(ScreenError::HostMismatch);
    }
    Ok(RequestLineTarget::Host(named))
}

fn parse_target_authority(parts: &Parts, absent: &'static str) -> Result<HostPort, ScreenError> {
    let authority = parts
        .uri
        .authority()
        .ok_or(ScreenError::InvalidTarget(absent))?;
    if authority.as_str().contains('@') {
        return Err(ScreenError::InvalidTarget("a user name in the URL"));
    }
    HostPort::parse(authority.as_str()).ok_or(ScreenError::InvalidTarget(
        "it has no valid host, or its port is not a number from 1 to 65535",
    ))
}

fn host_name_matches(header: &str, authority: &Authority) -> bool {
    HostPort::parse(header).is_some_and(|named| named.host == authority.host)
}

/// Whether a Host header matches the URL; it may omit the default port.
fn host_header_matches(header: &str, authority: &Authority) -> bool {
    HostPort::parse(header).is_some_and(|named| {
        named.host == authority.host
            && named.port.unwrap_or(authority.scheme.default_port()) == authority.port
    })
}

#[cfg(test)]
mod tests;
