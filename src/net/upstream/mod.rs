//! The client that speaks to providers: HTTP/1.1, whole bodies, and for every failure
//! the one thing that matters later: whether a byte of the request was written.
//! Follows no redirect, repeats nothing that was written, reads no proxy variable.

mod dial;
mod look;
mod pool;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, VIA};
use http::{HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::dialect::{ProviderRequest, Reply};
use crate::net::authority::{Authority, Scheme};
use crate::net::screen;
use crate::net::settings::Upstream;
use crate::net::upstream::dial::Dialer;
use crate::net::upstream::pool::{Connection, Pool};
use crate::sms::Cause;

pub use look::{Certificate, Way};

/// An exchange that brought no readable reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No byte was written.
    #[error("nothing was sent: {detail}")]
    Unsent {
        /// `unreachable`, `timeout`, `tls-untrusted`, `endpoint-wrong`.
        cause: Cause,
        /// For ops: what happened, and what to do.
        detail: String,
    },
    /// It may have been taken.
    #[error("the reply was lost: {detail}")]
    Unknown {
        /// `unreachable`, `timeout`, `reply-unreadable`.
        cause: Cause,
        /// For ops: what happened.
        detail: String,
    },
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `ca_file` cannot be read.
    #[error("the roots in {file} cannot be used: {source}; set `ca_file` to a readable PEM file")]
    Roots {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(std::io::Error),
    /// The way out is no plain HTTP proxy.
    #[error("the proxy of `outbound` must be `http://host:port`, plain HTTP")]
    Proxy,
}

/// One provider's connections.
#[derive(Debug)]
pub struct Client {
    dialer: Dialer,
    pool: Pool,
    body_limit: usize,
    marker: Option<HeaderValue>,
}

impl Client {
    /// Reads `ca_file`; opens nothing yet.
    pub fn new(settings: Upstream, body_limit: usize) -> Result<Self, ClientError> {
        Ok(Self { dialer: Dialer::new(settings)?, pool: Pool::default(), body_limit, marker: None })
    }

    /// Writes `marker` into `Via`, so that a loop through ourselves is seen at our door.
    #[must_use]
    pub fn marked(mut self, marker: &str) -> Self {
        self.marker = HeaderValue::try_from(format!("1.1 {marker}")).ok();
        self
    }

    /// Sends one request and reads the whole reply, within `timeout` for all of it.
    pub async fn exchange(&self, outgoing: ProviderRequest, timeout: Duration) -> Result<Reply, Lost> {
        self.exchanged(outgoing, timeout, self.dialer.allows_clear()).await
    }

    /// The same for a request that holds nothing of ours: whether it may go in clear was its writer's to decide.
    pub async fn exchange_theirs(&self, outgoing: ProviderRequest, timeout: Duration) -> Result<Reply, Lost> {
        self.exchanged(outgoing, timeout, true).await
    }

    async fn exchanged(&self, outgoing: ProviderRequest, timeout: Duration, clear: bool) -> Result<Reply, Lost> {
        let origin = Self::origin(&outgoing.url, clear)?;
        let deadline = Instant::now() + timeout;
        let mut request = self.request(outgoing, &origin)?;
        loop {
            let mut connection = self.connection(&origin, deadline, timeout).await?;
            let before = connection.counts.written();
            let sent = timeout_at(deadline, connection.sender.try_send_request(request)).await;
            let untouched = connection.counts.written() == before;
            match sent {
                Ok(Ok(response)) => return self.reply(response, connection, origin, deadline).await,
                Ok(Err(mut failed)) => match failed.take_message() {
                    // The pooled connection had died: the request came back whole, so this is no repeat.
                    Some(whole) if untouched && connection.pooled => request = whole,
                    Some(_) | None => return Err(broken(failed.error(), &origin, untouched)),
                },
                Err(_) => return Err(late(&origin, timeout, untouched)),
            }
        }
    }

    fn origin(url: &Uri, clear: bool) -> Result<Authority, Lost> {
        let wrong = |detail: String| Lost::Unsent { cause: Cause::EndpointWrong, detail };
        let origin = Authority::of(url).ok_or_else(|| wrong(String::from("the URL is not http:// or https://; compare `base_url`")))?;
        if origin.scheme == Scheme::Http && !clear {
            return Err(wrong(format!("{origin} would get credentials in clear; use https:// or set `insecure_http`")));
        }
        Ok(origin)
    }

    fn request(&self, outgoing: ProviderRequest, origin: &Authority) -> Result<http::Request<Full<Bytes>>, Lost> {
        let wrong =
            |_| Lost::Unsent { cause: Cause::EndpointWrong, detail: String::from("the URL's path cannot be sent; compare `base_url`") };
        let path = outgoing.url.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = outgoing.headers;
        screen::strip(&mut headers);
        screen::untrace(&mut headers);
        headers.insert(HOST, HeaderValue::try_from(origin.host_header()).map_err(http::Error::from).map_err(wrong)?);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if !outgoing.body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(&outgoing.method) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(outgoing.body.len()));
        }
        if let Some(marker) = &self.marker {
            headers.append(VIA, marker.clone());
        }
        let built = http::Request::builder().method(outgoing.method).uri(path).body(Full::new(outgoing.body));
        let mut request = built.map_err(wrong)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn connection(&self, origin: &Authority, deadline: Instant, limit: Duration) -> Result<Connection, Lost> {
        if let Ok(Some(pooled)) = timeout_at(deadline, self.pool.take(origin)).await {
            return Ok(pooled);
        }
        match timeout_at(deadline, self.dialer.connect(origin, limit)).await {
            Ok(connected) => connected.map_err(|failed| Lost::Unsent { cause: failed.cause, detail: failed.detail }),
            Err(_) => Err(late(origin, limit, true)),
        }
    }

    async fn reply(
        &self,
        response: http::Response<Incoming>,
        connection: Connection,
        origin: Authority,
        deadline: Instant,
    ) -> Result<Reply, Lost> {
        let unreadable = |detail: String| Lost::Unknown { cause: Cause::ReplyUnreadable, detail };
        let (parts, body) = response.into_parts();
        let encoding = parts.headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase());
        if encoding.is_some_and(|encoding| encoding != b"identity") {
            return Err(unreadable(format!("{origin} compressed its reply (status {}) though asked not to", parts.status.as_u16())));
        }
        let status = parts.status.as_u16();
        match timeout_at(deadline, Limited::new(body, self.body_limit).collect()).await {
            Ok(Ok(collected)) => {
                self.pool.put(origin, connection);
                Ok(Reply { status: parts.status, headers: parts.headers, body: collected.to_bytes() })
            }
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(unreadable(format!("{origin} sent more than {} bytes (status {status})", self.body_limit)))
            }
            Ok(Err(_)) => Err(unreadable(format!("{origin} broke off its reply (status {status})"))),
            Err(_) => {
                Err(Lost::Unknown { cause: Cause::Timeout, detail: format!("{origin} did not finish its reply in time (status {status})") })
            }
        }
    }
}

fn late(origin: &Authority, limit: Duration, untouched: bool) -> Lost {
    let cause = Cause::Timeout;
    let limit = limit.as_secs_f64();
    if untouched {
        Lost::Unsent { cause, detail: format!("no connection to {origin} within {limit} s; see if it can be reached from here") }
    } else {
        Lost::Unknown { cause, detail: format!("{origin} did not answer within {limit} s") }
    }
}

fn broken(error: &hyper::Error, origin: &Authority, untouched: bool) -> Lost {
    if untouched {
        return Lost::Unsent { cause: Cause::Unreachable, detail: format!("{origin} closed the connection before anything was written") };
    }
    if error.is_parse() {
        return Lost::Unknown { cause: Cause::ReplyUnreadable, detail: format!("{origin} answered with something that is not HTTP/1.1") };
    }
    Lost::Unknown { cause: Cause::Unreachable, detail: format!("{origin} closed the connection without an answer") }
}

#[cfg(test)]
mod tests;
