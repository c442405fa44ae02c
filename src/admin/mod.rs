//! `/metrics`, `/live`, `/ready` and a plain page for people. Reads the registry and
//! the readiness and nothing else: it can change no state, knows no secret, and its few
//! connections are its own, so that a slow scrape never disturbs a call.

mod page;
mod ready;
mod serve;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use prometheus::{Encoder, Registry, TEXT_FORMAT, TextEncoder};

pub use ready::{Readiness, Waiting};
pub use serve::{serve, serve_connection};

/// What one admin listener shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// `/` as well: for people on this host.
    All,
    /// `/metrics` `/live` `/ready` only: for a Prometheus on another host.
    Probes,
}

/// Answers admin requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    registry: Registry,
    readiness: Readiness,
    pages: Pages,
}

impl Admin {
    /// Over the registry that telemetry counts on.
    pub fn new(registry: Registry, readiness: Readiness, pages: Pages) -> Self {
        Self { registry, readiness, pages }
    }

    /// The answer to one request; its body was not read and is not.
    pub fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD: nothing here changes anything.\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match (path, self.pages) {
            ("/metrics", _) => self.metrics(),
            ("/live", _) => plain(StatusCode::OK, "live\n"),
            ("/ready", _) => self.ready(),
            ("/", Pages::All) => plain(StatusCode::OK, page::index(&self.registry.gather(), &self.readiness)),
            (_, Pages::All) => plain(StatusCode::NOT_FOUND, "Not here. See /metrics /live /ready and /.\n"),
            (_, Pages::Probes) => plain(StatusCode::NOT_FOUND, "Not here. See /metrics /live /ready.\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => reply(StatusCode::OK, TEXT_FORMAT, text),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written; the log says why.\n")
            }
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let waiting = self.readiness.waiting_for();
        if waiting.is_empty() {
            return plain(StatusCode::OK, "ready\n");
        }
        plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready, waiting for: {}\n", waiting.join(", ")))
    }
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", text.into().into_bytes())
}

fn reply(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    reply
}
