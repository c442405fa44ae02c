//! The way to a provider looked at step by step, for people who ask why it fails: name, connection,
//! certificate. Writes no request, keeps no connection, and stops at the first step that fails.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::Uri;
use tokio::time::timeout;
use x509_parser::parse_x509_certificate;

use crate::net::authority::{Authority, Scheme};
use crate::net::upstream::dial::{Dialer, Failed, failed};
use crate::net::upstream::{Client, Lost};
use crate::sms::Cause;

/// How far one gets. A step after one that failed was not tried: none.
#[derive(Clone, Debug)]
pub struct Way {
    /// What is connected to first: the service, or the proxy of `outbound`.
    pub first: String,
    /// Whether the first hop is such a proxy.
    pub by_proxy: bool,
    /// The first hop's addresses that can be used from here.
    pub addresses: Result<Vec<IpAddr>, Lost>,
    /// A connection, through the proxy if there is one.
    pub connected: Option<Result<(), Lost>>,
    /// The certificate, checked; none as well where the URL is `http://`.
    pub certificate: Option<Result<Certificate, Lost>>,
}

/// What a trusted certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// When it runs out.
    pub expires: SystemTime,
}

impl Client {
    /// Goes the way to where `url` points and writes no byte of a request; each step within `limit`.
    pub async fn look(&self, url: &Uri, limit: Duration) -> Result<Way, Lost> {
        // Nothing is sent, so that it may be in clear.
        let origin = Self::origin(url, true)?;
        let first = self.dialer.first(&origin);
        let mut way =
            Way { first: first.to_string(), by_proxy: *first != origin, addresses: Ok(Vec::new()), connected: None, certificate: None };
        let addresses = match within(limit, first, self.dialer.resolved(first)).await {
            Ok(addresses) => addresses,
            Err(lost) => return Ok(Way { addresses: Err(lost), ..way }),
        };
        way.addresses = Ok(addresses.iter().map(std::net::SocketAddr::ip).collect());
        let reached = async { self.dialer.through(self.dialer.reached(first, addresses, limit).await?, &origin).await };
        let tcp = match within(limit, first, reached).await {
            Ok(tcp) => tcp,
            Err(lost) => return Ok(Way { connected: Some(Err(lost)), ..way }),
        };
        way.connected = Some(Ok(()));
        if origin.scheme == Scheme::Https {
            way.certificate = Some(within(limit, &origin, shown(&self.dialer, tcp, &origin)).await);
        }
        Ok(way)
    }
}

async fn within<T>(limit: Duration, to: &Authority, step: impl Future<Output = Result<T, Failed>>) -> Result<T, Lost> {
    let late = || failed(Cause::Timeout, format!("{to} did not answer within {} s", limit.as_secs_f64()));
    let done = timeout(limit, step).await.unwrap_or_else(|_| Err(late()));
    done.map_err(|Failed { cause, detail }| Lost::Unsent { cause, detail })
}

async fn shown(dialer: &Dialer, tcp: tokio::net::TcpStream, origin: &Authority) -> Result<Certificate, Failed> {
    let stream = dialer.secured(tcp, origin).await?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let read = leaf.and_then(|leaf| parse_x509_certificate(leaf).ok());
    let expires = read.and_then(|(_, leaf)| u64::try_from(leaf.validity().not_after.timestamp()).ok());
    let expires = expires.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let expires = expires.ok_or_else(|| failed(Cause::TlsUntrusted, format!("{origin} shows a certificate that cannot be read")))?;
    Ok(Certificate { expires })
}
