//! Opens a connection that can send a request: resolves the name, connects (through `outbound`
//! if set), starts TLS. When any of this fails, no byte of a request was written.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::authority::{Authority, Scheme};
use crate::net::byte_counters::MeteredStream;
use crate::net::resolver::{ResolveError, Resolver};
use crate::net::server::Stream;
use crate::net::settings::UpstreamSettings;
use crate::net::upstream::ClientError;
use crate::net::upstream::driver::Driver;
use crate::net::upstream::pool::{DEFAULT_IDLE_TIME, UpstreamConnection};
use crate::net::upstream::watched_stream::{CloseEvidence, WatchedStream};
use crate::reply_parser::handshake;
use crate::sms::Cause;
use crate::tls;

/// The longest response to a CONNECT that the sidecar reads.
const MAX_PROXY_HEAD: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct DialError {
    pub(super) cause: Cause,
    pub(super) detail: String,
}

#[derive(Debug)]
pub(super) struct Dialer {
    settings: UpstreamSettings,
    proxy: Option<OutboundProxy>,
    tls: Arc<ClientConfig>,
    pub(super) resolver: Resolver,
}

struct OutboundProxy {
    authority: Authority,
    /// User info, ready for the header; a secret.
    credentials: Option<String>,
}

impl std::fmt::Debug for OutboundProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.authority)
    }
}

impl Dialer {
    pub(super) fn new(settings: UpstreamSettings) -> Result<Self, ClientError> {
        let tls =
            tls::client_config(settings.ca_file.as_deref()).map_err(|source| {
                match &settings.ca_file {
                    Some(file) => ClientError::Roots {
                        file: file.clone(),
                        source,
                    },
                    None => ClientError::Tls(source),
                }
            })?;
        let proxy = settings.proxy.as_ref().map(parse_proxy).transpose()?;
        Ok(Self {
            settings,
            proxy,
            tls,
            resolver: Resolver::default(),
        })
    }

    /// How long a connection is used for new requests after it was opened.
    pub(super) fn max_connection_age(&self) -> Duration {
        self.settings.max_connection_age
    }

    pub(super) fn allows_cleartext(&self) -> bool {
        self.settings.insecure_http
    }

    pub(super) async fn connect(
        &self,
        origin: &Authority,
        limit: Duration,
    ) -> Result<UpstreamConnection, DialError> {
        let tcp = self.connect_tcp(self.first_hop(origin), limit).await?;
        let tcp = self
            .within_connect_timeout("tunnel", origin, self.through_proxy(tcp, origin))
            .await?;
        let (tcp, evidence) = WatchedStream::new(tcp);
        match origin.scheme {
            Scheme::Http => http_handshake(tcp, evidence, origin).await,
            Scheme::Https => {
                let tls = self
                    .within_connect_timeout("TLS handshake", origin, self.connect_tls(tcp, origin))
                    .await?;
                http_handshake(tls, evidence, origin).await
            }
        }
    }

    /// One step of opening a connection, within its limit.
    async fn within_connect_timeout<T>(
        &self,
        step: &str,
        origin: &Authority,
        opening: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let limit = self.settings.connect_timeout;
        timeout(limit, opening).await.unwrap_or_else(|_| {
            let limit = limit.as_secs_f64();
            let detail = format!(
                "no {step} with {origin} within {limit} s; see if it can be reached from here, or raise `connect_timeout`"
            );
            Err(dial_error(Cause::Timeout, detail))
        })
    }

    /// The first hop: the proxy of `outbound`, else the origin itself.
    pub(super) fn first_hop<'a>(&'a self, origin: &'a Authority) -> &'a Authority {
        self.proxy.as_ref().map_or(origin, |proxy| &proxy.authority)
    }

    /// Connects through the first hop if it is a proxy.
    pub(super) async fn through_proxy(
        &self,
        tcp: TcpStream,
        origin: &Authority,
    ) -> Result<TcpStream, DialError> {
        match &self.proxy {
            None => Ok(tcp),
            Some(proxy) => open_tunnel(tcp, proxy, origin).await,
        }
    }

    /// Starts TLS over a connection.
    pub(super) async fn connect_tls<S: Stream>(
        &self,
        tcp: S,
        origin: &Authority,
    ) -> Result<TlsStream<S>, DialError> {
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| {
            dial_error(
                Cause::EndpointWrong,
                format!("{} is not a host name; compare `base_url`", origin.host),
            )
        })?;
        let connected = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, tcp)
            .await;
        connected.map_err(|error| tls_error(&error, origin))
    }

    async fn connect_tcp(&self, to: &Authority, limit: Duration) -> Result<TcpStream, DialError> {
        let addresses = self.resolve(to, limit * 2 / 3).await?;
        let limit = limit.min(self.settings.connect_timeout);
        self.connect_any(to, addresses, limit).await
    }

    /// The addresses of a name that can be used from here, within `limit`.
    pub(super) async fn resolve(
        &self,
        to: &Authority,
        limit: Duration,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let found = self.resolver.resolve(&to.host, limit).await;
        let found = found.map_err(|error| {
            let cause = match error {
                ResolveError::Timeout { .. } => Cause::Timeout,
                ResolveError::NotFound { .. } | ResolveError::Failed { .. } => Cause::Unreachable,
            };
            dial_error(cause, error.to_string())
        })?;
        Ok(found
            .into_iter()
            .map(|address| SocketAddr::new(address, to.port))
            .filter(|address| {
                self.settings
                    .source_address
                    .is_none_or(|source| source.is_ipv4() == address.is_ipv4())
            })
            .collect())
    }

    /// Tries one address after the other, within `limit` for all, so that a dead one cannot use up all the time.
    pub(super) async fn connect_any(
        &self,
        to: &Authority,
        addresses: Vec<SocketAddr>,
        limit: Duration,
    ) -> Result<TcpStream, DialError> {
        let share = limit / u32::try_from(addresses.len().clamp(1, 3)).unwrap_or(1);
        let deadline = Instant::now() + limit;
        let mut last = dial_error(
            Cause::Unreachable,
            format!(
                "{} has no usable address; compare DNS and `source_address`",
                to.host
            ),
        );
        for address in addresses {
            let until = deadline.min(Instant::now() + share);
            let connecting = connect_from(address, self.settings.source_address);
            match timeout_at(until, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    last = self.source_address_error(&error);
                }
                Ok(Err(error)) => {
                    last = dial_error(
                        Cause::Unreachable,
                        format!("no connection to {to} at {}: {error}", address.ip()),
                    );
                }
                Err(_) => {
                    last = dial_error(
                        Cause::Timeout,
                        format!("no connection to {to} at {} in time", address.ip()),
                    );
                }
            }
        }
        Err(last)
    }

    /// The configured source address does not belong to this machine.
    fn source_address_error(&self, error: &io::Error) -> DialError {
        let source = self
            .settings
            .source_address
            .map_or_else(|| "an address".to_owned(), |source| source.to_string());
        dial_error(
            Cause::Unreachable,
            format!(
                "this machine cannot send from {source} ({error}); compare `outbound.source_address`"
            ),
        )
    }
}

async fn connect_from(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn http_handshake<S: Stream>(
    stream: S,
    evidence: CloseEvidence,
    origin: &Authority,
) -> Result<UpstreamConnection, DialError> {
    let (stream, counts) = MeteredStream::new(stream);
    let http = handshake(stream).await.map_err(|_| {
        dial_error(
            Cause::Unreachable,
            format!("{origin} closed the connection at once"),
        )
    })?;
    Ok(UpstreamConnection {
        sender: http.sender,
        driver: Driver::new(http.connection),
        counts,
        evidence,
        reply_mark: http.mark,
        is_reused: false,
        opened_at: Instant::now(),
        max_idle_time: DEFAULT_IDLE_TIME,
    })
}

fn parse_proxy(url: &http::Uri) -> Result<OutboundProxy, ClientError> {
    let authority = Authority::from_uri(url)
        .filter(|authority| authority.scheme == Scheme::Http)
        .ok_or(ClientError::InvalidProxy)?;
    let user = url
        .authority()
        .and_then(|authority| authority.as_str().rsplit_once('@'))
        .map(|(user, _)| user);
    let decoded = user.map(|user| percent_encoding::percent_decode_str(user).collect::<Vec<u8>>());
    Ok(OutboundProxy {
        authority,
        credentials: decoded.map(|user| STANDARD.encode(user)),
    })
}

async fn open_tunnel(
    mut stream: TcpStream,
    proxy: &OutboundProxy,
    origin: &Authority,
) -> Result<TcpStream, DialError> {
    let login = proxy
        .credentials
        .as_ref()
        .map(|basic| format!("Proxy-Authorization: Basic {basic}\r\n"))
        .unwrap_or_default();
    let ask = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n{login}\r\n");
    let at = &proxy.authority;
    let cut = |error: io::Error| {
        dial_error(
            Cause::Unreachable,
            format!("the proxy {at} closed the connection: {error}; compare `outbound`"),
        )
    };
    stream.write_all(ask.as_bytes()).await.map_err(cut)?;
    let head = read_head(&mut stream).await.map_err(cut)?.ok_or_else(|| {
        let detail = format!("the proxy {at} does not answer like one; compare `outbound`");
        dial_error(Cause::Unreachable, detail)
    })?;
    let status = head
        .get(9..12)
        .and_then(|code| std::str::from_utf8(code).ok())
        .unwrap_or("no status");
    if head.starts_with(b"HTTP/1.") && status.starts_with('2') {
        return Ok(stream);
    }
    let status: String = status.chars().filter(char::is_ascii_digit).collect();
    Err(dial_error(
        Cause::Unreachable,
        format!(
            "the proxy {at} refused a tunnel to {origin} with status {status}; compare `outbound`"
        ),
    ))
}

/// Reads up to the empty line, byte by byte, because the bytes after the head belong to TLS; none if the
/// head is too long.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_PROXY_HEAD {
            return Ok(None);
        }
        head.push(stream.read_u8().await?);
    }
    Ok(Some(head))
}

fn tls_error(error: &io::Error, origin: &Authority) -> DialError {
    match tls::describe_certificate_error(error, "base_url") {
        Some(why) => dial_error(
            Cause::TlsUntrusted,
            format!("{origin} is not trusted: {why}"),
        ),
        None => dial_error(
            Cause::Unreachable,
            format!("the TLS handshake with {origin} failed: {error}"),
        ),
    }
}

pub(super) fn dial_error(cause: Cause, detail: String) -> DialError {
    DialError { cause, detail }
}
