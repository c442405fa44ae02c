//! The control socket, for `send`, `pause`, `resume`, `reload` and `status`: small JSON over HTTP/1.1 on a
//! unix socket that only its owner and group can open. Not an entrypoint for backends.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::dialect;
use crate::net::drain::{ClientConnection, Drain, Phase};
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
use crate::sms::{Cause, Entrypoint, ProviderId};
use crate::status;

/// The dialect of our own small API, which `send` uses.
const OWN_DIALECT: &str = "plain";
/// The `Content-Type` of both directions.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// More than any request here needs.
const MAX_BODY: usize = 64 << 10;

/// The result of a reload: another config is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadSummary {
    /// The file, as the operator named it.
    pub file: String,
    /// The settings that take effect only at the next start, if there are any.
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
    /// Serves this pipeline.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self {
            proxy,
            reload: None,
        }
    }

    /// Adds the function that reads the config again, because the pipeline does not know the file.
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

    /// `POST /send` without a socket, for a process that serves no backend.
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
        let path: Vec<&str> = parts.uri.path().split('/').collect();
        let (status, value) = self.run_command(&parts.method, &path, body).await;
        Ok(json_response(status, &value))
    }

    async fn run_command(
        &self,
        method: &Method,
        path: &[&str],
        body: Bytes,
    ) -> (StatusCode, Value) {
        match (method, path) {
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
                json!({ "error": "unknown command; the control socket has send, pause, resume, reload and status" }),
            ),
        }
    }

    fn reload_config(&self) -> (StatusCode, Value) {
        match self.reload.as_ref().map(|reload| reload()) {
            Some(Ok(summary)) => (
                StatusCode::OK,
                json!({ "result": "ok", "file": summary.file, "waits": summary.needs_restart }),
            ),
            Some(Err(report)) => {
                let error = json!({ "result": "failed", "problem": report.to_string(), "problems": report.to_json() });
                (StatusCode::UNPROCESSABLE_ENTITY, error)
            }
            None => (
                StatusCode::NOT_FOUND,
                json!({ "error": "this process cannot reload its config" }),
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
            // A client that hung up does not read our answer.
            completed = &mut connection => return completed.unwrap_or_default(),
            () = drain.wait_for(Phase::Draining) => connection.as_mut().graceful_shutdown(),
        }
        connection.await.unwrap_or_default();
    }
}

impl Proxy {
    /// Sends a message of the operator through the same pipeline as every other. Its field `provider` pins it to one
    /// provider.
    async fn send_operator_message(&self, body: Bytes) -> (StatusCode, Value) {
        let snapshot = self.snapshot.load_full();
        let (body, pinned) = split_pinned_provider(body);
        if let Some(unknown) = pinned
            .as_ref()
            .filter(|pinned| !snapshot.providers.contains_key(pinned))
        {
            return (
                StatusCode::NOT_FOUND,
                unknown_provider_error(&snapshot, unknown.as_str()),
            );
        }
        if pinned.is_some() && snapshot.settings.mode == Mode::Observe {
            let reason =
                "this config only observes: the sidecar has no credentials of its own to send with";
            return (StatusCode::CONFLICT, json!({ "error": reason }));
        }
        let RequestMatch {
            recognition,
            named_provider,
            request,
        } = snapshot.match_request(&EntrypointTarget::BaseUrl, operator_request(body));
        let started_at = self.now();
        let context = RequestContext {
            id: self.generate_reference(),
            entrypoint: Entrypoint::Control,
            target: EntrypointTarget::BaseUrl,
            caller: None,
            original_path: request.path.clone(),
            request,
            named_provider,
            pinned_provider: pinned,
            connection: ClientConnection::always_connected(),
            started_at,
            snapshot,
        };
        let completed = self.run_pipeline(&context, recognition).await;
        completed.emit(&context, self.now().since(started_at), &self.telemetry);
        (completed.reply.status, completed_json(&completed))
    }

    fn apply_operator_event(&self, name: &str, event: &HealthEvent) -> (StatusCode, Value) {
        let snapshot = self.snapshot.load();
        let Some(runtime) = snapshot.providers.get(&ProviderId::new(name)) else {
            return (
                StatusCode::NOT_FOUND,
                unknown_provider_error(&snapshot, name),
            );
        };
        if *event == HealthEvent::Resumed {
            runtime.reset();
        }
        self.health.record_event(runtime, event, None, self.now());
        (StatusCode::OK, self.provider_json(runtime))
    }

    /// The facts that the status page shows too.
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

    fn provider_json(&self, runtime: &ProviderRuntime) -> Value {
        let state = self.health.health_state(runtime, self.now());
        json!({
            "provider": runtime.provider.id.as_str(),
            "dialect": runtime.provider.dialect.name,
            "state": state.as_str(),
            "cause": state.cause().map(Cause::as_str),
            "credential_version": runtime.newest_revision().version.0,
        })
    }
}

/// An operator's message as a request of our own dialect.
fn operator_request(body: Bytes) -> dialect::Request {
    dialect::Request {
        method: Method::POST,
        path: format!("/{OWN_DIALECT}/v1/messages"),
        query: None,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, JSON)]),
        body,
    }
}

/// The message without `provider`, and the provider that it is pinned to.
fn split_pinned_provider(body: Bytes) -> (Bytes, Option<ProviderId>) {
    let Ok(Value::Object(mut message)) = serde_json::from_slice(&body) else {
        return (body, None);
    };
    match message.remove("provider") {
        Some(Value::String(name)) => (
            Value::Object(message).to_string().into(),
            Some(ProviderId::new(&name)),
        ),
        // The dialect rejects any other value.
        Some(_) | None => (body, None),
    }
}

fn unknown_provider_error(snapshot: &RoutingSnapshot, name: &str) -> Value {
    let known: Vec<&str> = snapshot.providers.keys().map(ProviderId::as_str).collect();
    json!({ "error": format!("no provider `{name}`; the providers are {}", known.join(", ")) })
}

/// A request's end for the terminal: numbers masked, no text.
fn completed_json(completed: &CompletedRequest) -> Value {
    json!({
        "result": completed.result.as_str(),
        "route": completed.route,
        "recipient": completed.recipient.as_ref().map(ToString::to_string),
        "cause": completed.cause.map(Cause::as_str),
        "certainty": completed.diagnosis.as_ref().map(|diagnosis| diagnosis.certainty.as_str()),
        "diagnosis": completed.diagnosis.as_ref().map(ToString::to_string),
        "duplicate": completed.duplicate_age.is_some(),
        "answered_seconds_ago": completed.duplicate_age.map(|ago| ago.as_secs()),
        "attempts": completed.attempts.iter().map(attempt_json).collect::<Vec<_>>(),
    })
}

fn attempt_json(attempt: &AttemptResult) -> Value {
    json!({
        "provider": attempt.runtime.provider.id.as_str(),
        "outcome": attempt.outcome().as_str(),
        "cause": attempt.outcome().cause().map(Cause::as_str),
        "status": attempt.status,
        "provider_message": attempt.classification.provider_message,
        "took_ms": u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
    })
}

fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
