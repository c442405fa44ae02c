//! Probes the connection to a provider step by step: name, connection, certificate. Writes no
//! request, keeps no connection, and stops at the first step that fails.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::Uri;
use tokio::time::timeout;
use x509_parser::parse_x509_certificate;

use crate::net::authority::{Authority, Scheme};
use crate::net::upstream::dial::{DialError, Dialer, dial_error};
use crate::net::upstream::{ExchangeError, UpstreamClient};
use crate::sms::Cause;

/// The result of each step; none for the steps after one that failed.
#[derive(Clone, Debug)]
pub struct Connectivity {
    /// The first hop: the service, or the proxy of `outbound`.
    pub first_hop: String,
    /// Whether the first hop is such a proxy.
    pub via_proxy: bool,
    /// The first hop's addresses that can be used from here.
    pub addresses: Result<Vec<IpAddr>, ExchangeError>,
    /// A connection, through the proxy if there is one.
    pub connection: Option<Result<(), ExchangeError>>,
    /// The verified certificate; also none for an `http://` URL.
    pub certificate: Option<Result<PeerCertificate, ExchangeError>>,
}

/// A trusted certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// When it expires.
    pub expires: SystemTime,
}

impl UpstreamClient {
    /// Probes the connection to `url` without writing a byte of a request; each step within `limit`.
    pub async fn probe_connectivity(
        &self,
        url: &Uri,
        limit: Duration,
    ) -> Result<Connectivity, ExchangeError> {
        // Nothing is sent, so `http://` is allowed.
        let origin = Self::checked_origin(url, true)?;
        let first = self.dialer.first_hop(&origin);
        let mut way = Connectivity {
            first_hop: first.to_string(),
            via_proxy: *first != origin,
            addresses: Ok(Vec::new()),
            connection: None,
            certificate: None,
        };
        match self.dialer.resolve(first, limit).await {
            Ok(addresses) => {
                way.addresses = Ok(addresses.iter().map(SocketAddr::ip).collect());
                self.probe_addresses(&origin, addresses, limit, &mut way)
                    .await;
            }
            Err(failed) => way.addresses = Err(failed.into()),
        }
        Ok(way)
    }

    /// The steps after the name: connection and certificate.
    async fn probe_addresses(
        &self,
        origin: &Authority,
        addresses: Vec<SocketAddr>,
        limit: Duration,
        way: &mut Connectivity,
    ) {
        let first = self.dialer.first_hop(origin);
        let reached = async {
            let tcp = self.dialer.connect_any(first, addresses, limit).await?;
            self.dialer.through_proxy(tcp, origin).await
        };
        match with_timeout(limit, first, reached).await {
            Ok(tcp) => {
                way.connection = Some(Ok(()));
                if origin.scheme == Scheme::Https {
                    let certificate = peer_certificate(&self.dialer, tcp, origin);
                    way.certificate = Some(with_timeout(limit, origin, certificate).await);
                }
            }
            Err(failed) => way.connection = Some(Err(failed)),
        }
    }
}

impl From<DialError> for ExchangeError {
    fn from(DialError { cause, detail }: DialError) -> Self {
        Self::Unsent { cause, detail }
    }
}

async fn with_timeout<T>(
    limit: Duration,
    to: &Authority,
    step: impl Future<Output = Result<T, DialError>>,
) -> Result<T, ExchangeError> {
    let late = || {
        dial_error(
            Cause::Timeout,
            format!("{to} did not answer within {} s", limit.as_secs_f64()),
        )
    };
    let done = timeout(limit, step).await.unwrap_or_else(|_| Err(late()));
    done.map_err(ExchangeError::from)
}

async fn peer_certificate(
    dialer: &Dialer,
    tcp: tokio::net::TcpStream,
    origin: &Authority,
) -> Result<PeerCertificate, DialError> {
    let stream = dialer.connect_tls(tcp, origin).await?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let read = leaf.and_then(|leaf| parse_x509_certificate(leaf).ok());
    let expires =
        read.and_then(|(_, leaf)| u64::try_from(leaf.validity().not_after.timestamp()).ok());
    let expires = expires
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let expires = expires.ok_or_else(|| {
        dial_error(
            Cause::TlsUntrusted,
            format!("{origin} shows a certificate that cannot be read"),
        )
    })?;
    Ok(PeerCertificate { expires })
}
