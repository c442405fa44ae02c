//! The HTTP client for providers: HTTP/1.1, whole bodies, and for every failure whether a byte
//! of the request was written. Follows no redirect, repeats nothing that was written, and reads
//! no proxy variable.

mod connectivity;
mod dial;
mod driver;
mod exchange_error;
mod pool;
mod watched_stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, VIA};
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};

use crate::dialect::{ProviderRequest, Reply};
use crate::file_error::describe_read_error;
use crate::net::authority::{Authority, Scheme};
use crate::net::byte_budget::ByteBudget;
use crate::net::drain::ClientConnection;
use crate::net::resolver::ResolverChange;
use crate::net::screen;
use crate::net::settings::UpstreamSettings;
use crate::net::upstream::dial::Dialer;
use crate::net::upstream::exchange_error::{
    LostBody, backend_left, connection_error, lost_body, lost_head, timeout_error,
};
use crate::net::upstream::pool::{ConnectionPool, UpstreamConnection};
use crate::policy::IdleSummary;
use crate::reply_parser::describe_body_error;
use crate::sms::Cause;

pub use connectivity::{Connectivity, PeerCertificate};
pub use exchange_error::{ExchangeError, reply_status};

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `ca_file` cannot be read.
    #[error(
        "the roots of `ca_file` cannot be used: {}",
        describe_read_error(file, source)
    )]
    Roots {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(std::io::Error),
    /// The proxy of `outbound` is not a plain HTTP proxy.
    #[error("the proxy of `outbound` must be `http://host:port`, plain HTTP")]
    InvalidProxy,
}

/// One provider's connections.
#[derive(Debug)]
pub struct UpstreamClient {
    dialer: Dialer,
    pool: ConnectionPool,
    body_limit: usize,
    reply_bytes: ByteBudget,
    via_marker: Option<HeaderValue>,
}

impl UpstreamClient {
    /// Reads `ca_file`; opens nothing yet.
    pub fn new(settings: UpstreamSettings, body_limit: usize) -> Result<Self, ClientError> {
        let dialer = Dialer::new(settings)?;
        Ok(Self {
            pool: ConnectionPool::new(dialer.max_connection_age()),
            dialer,
            body_limit,
            reply_bytes: ByteBudget::unlimited(),
            via_marker: None,
        })
    }

    /// Reads replies within a budget that is shared with other clients.
    #[must_use]
    pub fn with_reply_budget(mut self, budget: ByteBudget) -> Self {
        self.reply_bytes = budget;
        self
    }

    /// Writes `marker` into `Via`, so that a loop through this sidecar is recognised at its entrypoint.
    #[must_use]
    pub fn with_via_marker(mut self, marker: &str) -> Self {
        self.via_marker = HeaderValue::try_from(format!("1.1 {marker}")).ok();
        self
    }

    /// Calls `observer` when the resolver fails and known addresses are used instead, and when it works again.
    #[must_use]
    pub fn with_resolver_observer(
        mut self,
        observer: impl Fn(ResolverChange) + Send + Sync + 'static,
    ) -> Self {
        self.dialer.resolver.set_observer(Arc::new(observer));
        self
    }

    /// Uses the addresses that the client of the previous config has resolved: the resolver may fail
    /// during a reload.
    pub fn keep_known_addresses_of(&mut self, old: &Self) {
        self.dialer
            .resolver
            .share_known_addresses(&old.dialer.resolver);
    }

    /// What is idle for requests to `origin`.
    pub fn idle_summary(&self, origin: &Authority) -> IdleSummary {
        self.pool.summary(origin)
    }

    /// Opens a connection for a later request to `origin`, and keeps it.
    pub async fn warm_up(&self, origin: &Authority, limit: Duration) -> Result<(), ExchangeError> {
        let connected = timeout(limit, self.dialer.connect(origin, limit)).await;
        let connected = connected.map_err(|_| timeout_error(origin, limit, true))?;
        self.pool.put_warm(origin.clone(), connected?);
        Ok(())
    }

    /// Sends one request and reads the whole reply, within `timeout` for all of it.
    pub async fn exchange(
        &self,
        outgoing: ProviderRequest,
        timeout: Duration,
    ) -> Result<Reply, ExchangeError> {
        let origin = Self::checked_origin(&outgoing.url, self.dialer.allows_cleartext())?;
        self.exchange_with(origin, outgoing, timeout, None).await
    }

    /// The same; nothing is written if the `backend` has hung up meanwhile.
    pub async fn exchange_for(
        &self,
        backend: &ClientConnection,
        outgoing: ProviderRequest,
        timeout: Duration,
    ) -> Result<Reply, ExchangeError> {
        let origin = Self::checked_origin(&outgoing.url, self.dialer.allows_cleartext())?;
        self.exchange_with(origin, outgoing, timeout, Some(backend))
            .await
    }

    /// The same for a request without our credentials: its sender has decided whether to use TLS.
    pub async fn exchange_without_credentials(
        &self,
        outgoing: ProviderRequest,
        timeout: Duration,
        backend: Option<&ClientConnection>,
    ) -> Result<Reply, ExchangeError> {
        let origin = Self::checked_origin(&outgoing.url, true)?;
        self.exchange_with(origin, outgoing, timeout, backend).await
    }

    /// Boxed, because it is the innermost and largest of the futures of a request: each of those around it would have
    /// room for it, and be copied with it.
    fn exchange_with<'a>(
        &'a self,
        origin: Authority,
        outgoing: ProviderRequest,
        timeout: Duration,
        backend: Option<&'a ClientConnection>,
    ) -> BoxFuture<'a, Result<Reply, ExchangeError>> {
        Box::pin(async move { self.try_exchange(&origin, outgoing, timeout, backend).await })
    }

    async fn try_exchange(
        &self,
        origin: &Authority,
        outgoing: ProviderRequest,
        timeout: Duration,
        backend: Option<&ClientConnection>,
    ) -> Result<Reply, ExchangeError> {
        let deadline = Instant::now() + timeout;
        let request = self.build_request(outgoing, origin)?;
        loop {
            let mut connection = self.acquire_connection(origin, deadline, timeout).await?;
            if Instant::now() >= deadline {
                return Err(timeout_error(origin, timeout, true));
            }
            if backend.is_some_and(ClientConnection::is_disconnected) {
                return Err(backend_left());
            }
            let before = connection.start_request();
            let request = request.clone();
            let sending = timeout_at(deadline, connection.sender.try_send_request(request));
            let sent = connection.driver.drive(sending).await;
            let untouched = connection.is_untouched_since(before);
            let status = connection.reply_mark.status().filter(|_| !untouched);
            match sent {
                Ok(Ok(response)) => {
                    return self
                        .read_reply(response, connection, origin.clone(), deadline)
                        .await;
                }
                // The provider had closed the pooled connection and has nothing of the request, so this does not
                // repeat it.
                Ok(Err(_)) if untouched && connection.is_reused => {}
                Ok(Err(failed)) => {
                    let lost = || connection_error(failed.error(), origin, untouched);
                    let head = status.map(|status| lost_head(status, Some(failed.error()), origin));
                    return Err(head.unwrap_or_else(lost));
                }
                Err(_) => {
                    let lost = || timeout_error(origin, timeout, untouched);
                    let head = status.map(|status| lost_head(status, None, origin));
                    return Err(head.unwrap_or_else(lost));
                }
            }
        }
    }

    fn checked_origin(url: &Uri, clear: bool) -> Result<Authority, ExchangeError> {
        let wrong = |detail: String| ExchangeError::Unsent {
            cause: Cause::EndpointWrong,
            detail,
        };
        let origin = Authority::from_uri(url).ok_or_else(|| {
            wrong(String::from(
                "the URL is not http:// or https://; compare `base_url`",
            ))
        })?;
        if origin.scheme == Scheme::Http && !clear {
            return Err(wrong(format!(
                "{origin} would get credentials in clear; use https:// or set `insecure_http`"
            )));
        }
        Ok(origin)
    }

    fn build_request(
        &self,
        outgoing: ProviderRequest,
        origin: &Authority,
    ) -> Result<http::Request<Full<Bytes>>, ExchangeError> {
        let wrong = |_| ExchangeError::Unsent {
            cause: Cause::EndpointWrong,
            detail: String::from("the URL's path cannot be sent; compare `base_url`"),
        };
        let path = outgoing
            .url
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let mut headers = outgoing.headers;
        screen::strip_connection_headers(&mut headers);
        screen::strip_trace_headers(&mut headers);
        headers.insert(
            HOST,
            HeaderValue::try_from(origin.host_header())
                .map_err(http::Error::from)
                .map_err(wrong)?,
        );
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if !outgoing.body.is_empty()
            || [Method::POST, Method::PUT, Method::PATCH].contains(&outgoing.method)
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(outgoing.body.len()));
        }
        if let Some(marker) = &self.via_marker {
            headers.append(VIA, marker.clone());
        }
        let built = http::Request::builder()
            .method(outgoing.method)
            .uri(path)
            .body(Full::new(outgoing.body));
        let mut request = built.map_err(wrong)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn acquire_connection(
        &self,
        origin: &Authority,
        deadline: Instant,
        limit: Duration,
    ) -> Result<UpstreamConnection, ExchangeError> {
        if let Ok(Some(pooled)) = timeout_at(deadline, self.pool.take(origin)).await {
            return Ok(pooled);
        }
        // Boxed, because it is rare and large: every request would have room for it.
        let connecting = Box::pin(self.dialer.connect(origin, limit));
        match timeout_at(deadline, connecting).await {
            Ok(connected) => connected.map_err(ExchangeError::from),
            Err(_) => Err(timeout_error(origin, limit, true)),
        }
    }

    async fn read_reply(
        &self,
        response: http::Response<Incoming>,
        mut connection: UpstreamConnection,
        origin: Authority,
        deadline: Instant,
    ) -> Result<Reply, ExchangeError> {
        let (parts, body) = response.into_parts();
        let head = Reply {
            status: parts.status,
            headers: parts.headers,
            body: Bytes::new(),
        };
        if is_compressed(&head.headers) {
            return Err(lost_body(&LostBody::Compressed, &origin, head));
        }
        let collecting = self.collect_reply(body, deadline);
        match connection.driver.drive(collecting).await {
            Ok(body) => {
                connection.note_keep_alive(&head.headers);
                self.pool.put(origin, connection);
                Ok(Reply { body, ..head })
            }
            Err(lost) => Err(lost_body(&lost, &origin, head)),
        }
    }

    async fn collect_reply(
        &self,
        mut body: Incoming,
        deadline: Instant,
    ) -> Result<Bytes, LostBody> {
        let mut whole = self.reply_bytes.buffer();
        loop {
            let next = async {
                // Pieces that are always there must not keep the thread from others, or from the time limit.
                tokio::task::consume_budget().await;
                body.frame().await
            };
            let frame = match timeout_at(deadline, next).await {
                Err(_) => return Err(LostBody::Late),
                Ok(None) => return Ok(whole.into_bytes()),
                Ok(Some(frame)) => {
                    frame.map_err(|error| LostBody::Broken(describe_body_error(&error)))?
                }
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if whole.len() + data.len() > self.body_limit {
                return Err(LostBody::TooLong(self.body_limit));
            }
            timeout_at(deadline, whole.append(&data))
                .await
                .map_err(|_| LostBody::NoRoom)?;
        }
    }
}

fn is_compressed(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests;
