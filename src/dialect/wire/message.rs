//! Requests and replies with whole bodies; nothing here has a socket.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// A backend's request. Prints neither query, headers nor body.
#[derive(Clone)]
pub struct Request {
    /// GET, POST …
    pub method: Method,
    /// As sent, without the query; at the base-URL entrypoint without its first segment.
    pub path: String,
    /// As sent, without the question mark.
    pub query: Option<String>,
    /// Without hop-by-hop headers and our own.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Request({} {}, {} bytes)",
            self.method,
            self.path,
            self.body.len()
        )
    }
}

/// A request to a provider, ready to send; holds credentials. Prints method and host only.
#[derive(Clone)]
pub struct ProviderRequest {
    /// GET, POST …
    pub method: Method,
    /// Absolute.
    pub url: http::Uri,
    /// Without Host and Content-Length, which the client adds.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl fmt::Debug for ProviderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ProviderRequest({} {}, {} bytes)",
            self.method,
            self.url.host().unwrap_or_default(),
            self.body.len()
        )
    }
}

/// A reply, from a provider or to the backend. Prints its status only.
#[derive(Clone)]
pub struct Reply {
    /// 200, 401 …
    pub status: StatusCode,
    /// As received, or to be sent.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.body.len())
    }
}
