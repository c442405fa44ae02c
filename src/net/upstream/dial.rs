//! From a name to a connection that can carry a request: resolving, connecting (through
//! `outbound` if set), TLS. Whatever fails here, no byte of a request was written.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::authority::{Authority, Scheme};
use crate::net::meter::Metered;
use crate::net::server::Stream;
use crate::net::settings::Upstream;
use crate::net::upstream::ClientError;
use crate::net::upstream::pool::Connection;
use crate::sms::Cause;
use crate::tls;

/// The longest answer to a CONNECT that we read.
const PROXY_HEAD: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) detail: String,
}

#[derive(Debug)]
pub(super) struct Dialer {
    settings: Upstream,
    proxy: Option<Proxy>,
    tls: Arc<ClientConfig>,
}

struct Proxy {
    authority: Authority,
    /// User info, ready for the header; a secret.
    credentials: Option<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.authority)
    }
}

impl Dialer {
    pub(super) fn new(settings: Upstream) -> Result<Self, ClientError> {
        let tls = tls::client_config(settings.ca_file.as_deref()).map_err(|source| match &settings.ca_file {
            Some(file) => ClientError::Roots { file: file.clone(), source },
            None => ClientError::Tls(source),
        })?;
        let proxy = settings.proxy.as_ref().map(proxy).transpose()?;
        Ok(Self { settings, proxy, tls })
    }

    pub(super) fn allows_clear(&self) -> bool {
        self.settings.insecure_http
    }

    pub(super) async fn connect(&self, origin: &Authority, limit: Duration) -> Result<Connection, Failed> {
        let tcp = self.through(self.tcp(self.first(origin), limit).await?, origin).await?;
        match origin.scheme {
            Scheme::Http => speak(tcp, origin).await,
            Scheme::Https => speak(self.secured(tcp, origin).await?, origin).await,
        }
    }

    /// The first hop: the proxy of `outbound`, else the origin itself.
    pub(super) fn first<'a>(&'a self, origin: &'a Authority) -> &'a Authority {
        self.proxy.as_ref().map_or(origin, |proxy| &proxy.authority)
    }

    /// Through the first hop, where that is a proxy.
    pub(super) async fn through(&self, tcp: TcpStream, origin: &Authority) -> Result<TcpStream, Failed> {
        match &self.proxy {
            None => Ok(tcp),
            Some(proxy) => tunnel(tcp, proxy, origin).await,
        }
    }

    /// TLS over a connection.
    pub(super) async fn secured(&self, tcp: TcpStream, origin: &Authority) -> Result<TlsStream<TcpStream>, Failed> {
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| failed(Cause::EndpointWrong, format!("{} is no host name; compare `base_url`", origin.host)))?;
        let connected = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        connected.map_err(|error| untrusted(&error, origin))
    }

    async fn tcp(&self, to: &Authority, limit: Duration) -> Result<TcpStream, Failed> {
        self.reached(to, self.resolved(to).await?, limit).await
    }

    /// The addresses behind a name that can be used from here.
    pub(super) async fn resolved(&self, to: &Authority) -> Result<Vec<SocketAddr>, Failed> {
        let found = lookup_host((to.host.as_str(), to.port)).await;
        let found =
            found.map_err(|error| failed(Cause::Unreachable, format!("the name {} cannot be resolved ({error}); compare DNS", to.host)))?;
        Ok(found.filter(|address| self.settings.source_address.is_none_or(|source| source.is_ipv4() == address.is_ipv4())).collect())
    }

    /// One address after the other, so that a dead one cannot use up all the time.
    pub(super) async fn reached(&self, to: &Authority, addresses: Vec<SocketAddr>, limit: Duration) -> Result<TcpStream, Failed> {
        let share = limit / u32::try_from(addresses.len().clamp(1, 3)).unwrap_or(1);
        let mut last = failed(Cause::Unreachable, format!("{} has no usable address; compare DNS and `source_address`", to.host));
        for address in addresses {
            match timeout(share, dial(address, self.settings.source_address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => last = self.homeless(&error),
                Ok(Err(error)) => last = failed(Cause::Unreachable, format!("no connection to {to} at {}: {error}", address.ip())),
                Err(_) => last = failed(Cause::Timeout, format!("no connection to {to} at {} in time", address.ip())),
            }
        }
        Err(last)
    }

    /// The address that attempts are to leave from is none of this machine's.
    fn homeless(&self, error: &io::Error) -> Failed {
        let source = self.settings.source_address.map_or_else(|| "an address".to_owned(), |source| source.to_string());
        failed(Cause::Unreachable, format!("this machine cannot send from {source} ({error}); compare `outbound.source_address`"))
    }
}

async fn dial(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn speak<S: Stream>(stream: S, origin: &Authority) -> Result<Connection, Failed> {
    let (stream, counts) = Metered::new(stream);
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| failed(Cause::Unreachable, format!("{origin} closed the connection at once")))?;
    // Owned by its sender: it ends when the pool or the exchange drops that. What went wrong, the sender is told.
    tokio::spawn(async move { connection.await.ok() });
    Ok(Connection { sender, counts, pooled: false })
}

fn proxy(url: &http::Uri) -> Result<Proxy, ClientError> {
    let authority = Authority::of(url).filter(|authority| authority.scheme == Scheme::Http).ok_or(ClientError::Proxy)?;
    let user = url.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| user);
    let decoded = user.map(|user| percent_encoding::percent_decode_str(user).collect::<Vec<u8>>());
    Ok(Proxy { authority, credentials: decoded.map(|user| STANDARD.encode(user)) })
}

async fn tunnel(mut stream: TcpStream, proxy: &Proxy, origin: &Authority) -> Result<TcpStream, Failed> {
    let login = proxy.credentials.as_ref().map(|basic| format!("Proxy-Authorization: Basic {basic}\r\n")).unwrap_or_default();
    let ask = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n{login}\r\n");
    let at = &proxy.authority;
    let cut = |error: io::Error| failed(Cause::Unreachable, format!("the proxy {at} closed the connection: {error}; compare `outbound`"));
    stream.write_all(ask.as_bytes()).await.map_err(cut)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD {
            return Err(failed(Cause::Unreachable, format!("the proxy {at} does not answer like one; compare `outbound`")));
        }
        // Byte by byte: what follows the head belongs to TLS.
        head.push(stream.read_u8().await.map_err(cut)?);
    }
    let status = head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()).unwrap_or("no status");
    if head.starts_with(b"HTTP/1.") && status.starts_with('2') {
        return Ok(stream);
    }
    let status: String = status.chars().filter(char::is_ascii_digit).collect();
    Err(failed(Cause::Unreachable, format!("the proxy {at} refused a tunnel to {origin} with status {status}; compare `outbound`")))
}

fn untrusted(error: &io::Error, origin: &Authority) -> Failed {
    match tls::describe_certificate_error(error, "base_url") {
        Some(why) => failed(Cause::TlsUntrusted, format!("{origin} is not trusted: {why}")),
        None => failed(Cause::Unreachable, format!("the TLS handshake with {origin} failed: {error}")),
    }
}

pub(super) fn failed(cause: Cause, detail: String) -> Failed {
    Failed { cause, detail }
}
