//! Serves `/metrics`, `/live`, `/ready` and the status page for people. It reads only the registry, the
//! readiness and the status: it cannot change any state and holds no secrets. Its few connections are
//! separate, so that a slow scrape never disturbs a request.

mod guard;
mod page;
mod ready;
mod serve;
mod throttle;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use prometheus::{Encoder, Registry, TEXT_FORMAT, TextEncoder};

use crate::admin::throttle::Throttle;
use crate::net::connection_limit::ConnectionLimit;
use crate::status;
use crate::telemetry::Telemetry;

pub use ready::{Readiness, ReadinessGuard};
pub use serve::serve_connection;

/// The pages that an admin listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// The status page at `/` as well: for people on this host.
    All,
    /// Only `/metrics`, `/live` and `/ready`: for a Prometheus server on another host.
    Probes,
}

/// Responds to admin requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    registry: Registry,
    telemetry: Arc<Telemetry>,
    readiness: Readiness,
    pages: Pages,
    connection_limit: ConnectionLimit,
    throttle: Throttle,
}

/// More than legitimate clients need, and few compared with the file descriptors that requests need.
const MAX_CONNECTIONS: usize = 128;

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Headers of every response. The page loads only its own script, style sheet and icon from this address
/// and embeds nothing. Browsers do not sniff content types and do not show a response in a frame.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

impl Admin {
    /// `registry` is the one on which telemetry registers its metrics.
    pub fn new(
        registry: Registry,
        telemetry: Arc<Telemetry>,
        readiness: Readiness,
        pages: Pages,
    ) -> Self {
        Self {
            registry,
            telemetry,
            readiness,
            pages,
            connection_limit: ConnectionLimit::new(MAX_CONNECTIONS),
            throttle: Throttle::default(),
        }
    }

    /// Responds to one request without reading its body.
    pub async fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refusal = plain_response(
                StatusCode::METHOD_NOT_ALLOWED,
                "Only GET and HEAD: nothing here changes anything.\n",
            );
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        // Probes reveal only yes or no, and clients use all kinds of host names for them.
        match request.uri().path() {
            "/live" => return plain_response(StatusCode::OK, "live\n"),
            "/ready" => return self.ready(),
            _ => {}
        }
        let refusal = (self.pages == Pages::All)
            .then(|| guard::access_denial(request.uri(), request.headers()))
            .flatten();
        match (request.uri().path(), self.pages) {
            (_, Pages::All) if let Some((status, why)) = refusal => plain_response(status, why),
            ("/metrics", _) => self.throttle.run(|| self.metrics()).await,
            ("/", Pages::All) => self.throttle.run(|| self.page()).await,
            ("/status.json", Pages::All) => self.throttle.run(|| self.status()).await,
            (path, Pages::All) if let Some((kind, asset)) = page::asset(path) => {
                build_response(StatusCode::OK, kind, asset)
            }
            (_, Pages::All) => plain_response(
                StatusCode::NOT_FOUND,
                "Not here. See /, /status.json, /runbook, /metrics, /live and /ready.\n",
            ),
            (_, Pages::Probes) => plain_response(
                StatusCode::NOT_FOUND,
                "Not here. See /metrics, /live and /ready.\n",
            ),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => build_response(StatusCode::OK, TEXT_FORMAT, text),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                plain_response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The metrics cannot be written; the log says why.\n",
                )
            }
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let waiting = self.readiness.pending();
        if waiting.is_empty() {
            return plain_response(StatusCode::OK, "ready\n");
        }
        plain_response(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready, waiting for: {}\n", waiting.join(", ")),
        )
    }

    fn page(&self) -> Response<Full<Bytes>> {
        build_response(
            StatusCode::OK,
            HTML,
            page::render_page(
                &status::build(&self.telemetry.snapshot()),
                &self.readiness.pending(),
            ),
        )
    }

    fn status(&self) -> Response<Full<Bytes>> {
        match serde_json::to_vec(&status::build(&self.telemetry.snapshot())) {
            Ok(json) => build_response(StatusCode::OK, "application/json", json),
            Err(error) => {
                tracing::error!(%error, "the status cannot be written");
                plain_response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The status cannot be written; the log says why.\n",
                )
            }
        }
    }
}

fn plain_response(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    build_response(status, PLAIN, text.into())
}

fn build_response(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}
