//! The control socket: what `send`, `pause`, `resume`, `reload` and `status` speak to. Small JSON over
//! HTTP/1.1 on a unix socket that only its owner and group can open; not a door for backends.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::dialect;
use crate::net::drain::{ClientConnection, Drain};
use crate::net::entrypoint::EntrypointTarget;
use crate::net::peer::Peer;
use crate::net::server::{ConnectionService, Stream};
use crate::policy::HealthEvent;
use crate::problem::ProblemReport;
use crate::provider::ProviderRuntime;
use crate::provider::attempt::AttemptResult;
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::proxy::snapshot::{RequestMatch, RoutingSnapshot};
use crate::proxy::{Mode, Proxy};
use crate::sms::{Entrypoint, ProviderId};
use crate::status;

/// The dialect of our own small API, in which `send` speaks.
const OWN_DIALECT: &str = "plain";
/// More than any request here needs.
const MAX_BODY: usize = 64 << 10;

/// Another config is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadSummary {
    /// The file, as the operator named it.
    pub file: String,
    /// What of it takes effect at the next start, if anything.
    pub needs_restart: Option<&'static str>,
}

type ReloadFn = Arc<dyn Fn() -> Result<ReloadSummary, ProblemReport> + Send + Sync>;

/// Serves the control socket.
#[derive(Clone)]
pub struct Control {
    proxy: Arc<Proxy>,
    reload: Option<ReloadFn>,
}

impl Control {
    /// Over this pipeline.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self {
            proxy,
            reload: None,
        }
    }

    /// With what reads the config again: the pipeline knows of no file.
    #[must_use]
    pub fn with_reload(
        self,
        reload: impl Fn() -> Result<ReloadSummary, ProblemReport> + Send + Sync + 'static,
    ) -> Self {
        Self {
            reload: Some(Arc::new(reload)),
            ..self
        }
    }

    /// `POST /send` without a socket, for a process that serves nobody else.
    pub async fn send(&self, message: &Value) -> Value {
        self.proxy
            .send_operator_message(Bytes::from(message.to_string()))
            .await
            .1
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                return Ok(json_response(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    &json!({ "error": "the request is too large or was cut short" }),
                ));
            }
        };
        let (status, value) = match (
            &parts.method,
            parts.uri.path().split('/').collect::<Vec<_>>().as_slice(),
        ) {
            (&Method::POST, ["", "send"]) => self.proxy.send_operator_message(body).await,
            (&Method::POST, ["", "pause", name]) => {
                self.proxy.apply_operator_event(name, &HealthEvent::Paused)
            }
            (&Method::POST, ["", "resume", name]) => {
                self.proxy.apply_operator_event(name, &HealthEvent::Resumed)
            }
            (&Method::GET, ["", "status"]) => self.proxy.status_json(),
            (&Method::POST, ["", "reload"]) => self.reload_config(),
            _ => (
                StatusCode::NOT_FOUND,
                json!({ "error": "the control socket knows send, pause, resume, reload and status" }),
            ),
        };
        Ok(json_response(status, &value))
    }

    fn reload_config(&self) -> (StatusCode, Value) {
        match self.reload.as_ref().map(|reload| reload()) {
            Some(Ok(taken)) => (
                StatusCode::OK,
                json!({ "result": "ok", "file": taken.file, "waits": taken.needs_restart }),
            ),
            Some(Err(report)) => {
                let told = json!({ "result": "failed", "problem": report.to_string(), "problems": report.to_json() });
                (StatusCode::UNPROCESSABLE_ENTITY, told)
            }
            None => (
                StatusCode::NOT_FOUND,
                json!({ "error": "nothing here reads a config" }),
            ),
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Control").field(&self.proxy).finish()
    }
}

impl ConnectionService for Control {
    async fn serve<S: Stream>(&self, stream: S, _: Peer, drain: Drain) {
        let service = service_fn(|request| self.respond(request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            // Whoever hung up does not read our answer.
            ended = &mut connection => return ended.unwrap_or_default(),
            () = drain.wait_for(crate::net::drain::Phase::Draining) => connection.as_mut().graceful_shutdown(),
        }
        connection.await.unwrap_or_default();
    }
}

impl Proxy {
    /// A message of the operator's own, through the same pipeline as every other; `provider` in it names the one
    /// that it is to go through.
    async fn send_operator_message(&self, body: Bytes) -> (StatusCode, Value) {
        let world = self.snapshot.load_full();
        let (body, only) = split_pinned_provider(body);
        if let Some(unknown) = only
            .as_ref()
            .filter(|only| !world.providers.contains_key(only))
        {
            return (
                StatusCode::NOT_FOUND,
                unknown_provider_error(&world, unknown.as_str()),
            );
        }
        if only.is_some() && world.settings.mode == Mode::Observe {
            let why = "this config only observes: without a credential of its own the sidecar sends through nobody by name";
            return (StatusCode::CONFLICT, json!({ "error": why }));
        }
        let mut headers = http::HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        let request = dialect::Request {
            method: Method::POST,
            path: format!("/{OWN_DIALECT}/v1/messages"),
            query: None,
            headers,
            body,
        };
        let RequestMatch {
            recognition,
            named_provider: named,
            request,
        } = world.match_request(&EntrypointTarget::BaseUrl, request);
        let (began, id) = (self.now(), self.generate_reference());
        let call = RequestContext {
            id,
            entrypoint: Entrypoint::Control,
            target: EntrypointTarget::BaseUrl,
            caller: None,
            original_path: request.path.clone(),
            request,
            named_provider: named,
            pinned_provider: only,
            connection: ClientConnection::always_connected(),
            started_at: began,
            snapshot: world,
        };
        let ended = self.run_pipeline(&call, recognition).await;
        ended.emit(&call, self.now().since(began), &self.telemetry);
        (ended.reply.status, completed_json(&ended))
    }

    fn apply_operator_event(&self, name: &str, event: &HealthEvent) -> (StatusCode, Value) {
        let world = self.snapshot.load();
        let Some(link) = world.providers.get(&ProviderId::new(name)) else {
            return (StatusCode::NOT_FOUND, unknown_provider_error(&world, name));
        };
        if *event == HealthEvent::Resumed {
            link.reset();
        }
        self.health.record_event(link, event, None, self.now());
        (StatusCode::OK, self.provider_json(link))
    }

    /// What the status page shows too.
    fn status_json(&self) -> (StatusCode, Value) {
        self.refresh();
        match serde_json::to_value(status::build(&self.telemetry.snapshot())) {
            Ok(status) => (StatusCode::OK, status),
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({ "error": format!("the status cannot be written: {error}") }),
            ),
        }
    }

    fn provider_json(&self, link: &ProviderRuntime) -> Value {
        let standing = self.health.health_state(link, self.now());
        json!({
            "provider": link.provider.id.as_str(),
            "dialect": link.provider.dialect.name,
            "state": standing.as_str(),
            "cause": standing.cause().map(crate::sms::Cause::as_str),
            "credential_version": link.newest_revision().version.0,
        })
    }
}

/// The message itself, and the provider that it is pinned to.
fn split_pinned_provider(body: Bytes) -> (Bytes, Option<ProviderId>) {
    let Ok(Value::Object(mut message)) = serde_json::from_slice(&body) else {
        return (body, None);
    };
    match message.remove("provider") {
        Some(Value::String(name)) => (
            Value::Object(message).to_string().into(),
            Some(ProviderId::new(&name)),
        ),
        // Whatever else stands there is the dialect's to refuse.
        Some(_) | None => (body, None),
    }
}

fn unknown_provider_error(world: &RoutingSnapshot, name: &str) -> Value {
    let known: Vec<&str> = world.providers.keys().map(ProviderId::as_str).collect();
    json!({ "error": format!("no provider `{name}`; the providers are {}", known.join(", ")) })
}

/// A call's end, for whoever watches a terminal; numbers masked, no text.
fn completed_json(ended: &CompletedRequest) -> Value {
    json!({
        "result": ended.result.as_str(),
        "route": ended.route,
        "recipient": ended.recipient.as_ref().map(ToString::to_string),
        "cause": ended.cause.map(crate::sms::Cause::as_str),
        "certainty": ended.diagnosis.as_ref().map(|diagnosis| diagnosis.certainty.as_str()),
        "diagnosis": ended.diagnosis.as_ref().map(ToString::to_string),
        "duplicate": ended.duplicate_age.is_some(),
        "answered_seconds_ago": ended.duplicate_age.map(|ago| ago.as_secs()),
        "attempts": ended.attempts.iter().map(attempt_json).collect::<Vec<_>>(),
    })
}

fn attempt_json(tried: &AttemptResult) -> Value {
    json!({
        "provider": tried.runtime.provider.id.as_str(),
        "outcome": tried.outcome().as_str(),
        "cause": tried.outcome().cause().map(crate::sms::Cause::as_str),
        "status": tried.status,
        "provider_message": tried.classification.provider_message,
        "took_ms": u64::try_from(tried.duration.as_millis()).unwrap_or(u64::MAX),
    })
}

fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
