//! The control socket, for `send`, `pause`, `resume`, `reload` and `status`: small JSON over HTTP/1.1 on a
//! unix socket that only its owner and group can open. Not an entrypoint for backends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::diagnosis::remedy_steps;
use crate::dialect;
use crate::net::connection_limit::{ConnectionLimit, ConnectionSlot};
use crate::net::drain::{ClientConnection, Drain, Phase};
use crate::net::entrypoint::EntrypointTarget;
use crate::net::operator::operator;
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
use crate::status::{
    self, AttemptStatus, ControlReply, ProviderReport, ReloadReport, SendReport, SendRequest,
};
use crate::telemetry::{CommandKind, Operator, OperatorCommand};

/// The dialect of our own small API, which `send` uses.
const OWN_DIALECT: &str = "plain";
/// The `Content-Type` of both directions.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// More than any request here needs.
const MAX_BODY: usize = 64 << 10;
/// More than an operator and a script need at once.
const MAX_CONNECTIONS: usize = 16;
/// How long a client may take for the head of a request, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any command takes; a client that does not read its reply holds its place no longer.
const MAX_CONNECTION_AGE: Duration = Duration::from_mins(5);

/// The result of a reload: another config is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadSummary {
    /// The file, as the operator named it.
    pub file: String,
    /// The settings that take effect only at the next start, if there are any.
    pub needs_restart: Option<String>,
}

type ReloadFn = Arc<dyn Fn(&Operator) -> Result<ReloadSummary, ProblemReport> + Send + Sync>;

/// Serves the control socket.
#[derive(Clone)]
pub struct Control {
    proxy: Arc<Proxy>,
    reload: Option<ReloadFn>,
    connection_limit: ConnectionLimit,
}

impl Control {
    /// Serves this pipeline.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self {
            proxy,
            reload: None,
            connection_limit: ConnectionLimit::new(MAX_CONNECTIONS),
        }
    }

    /// Adds the function that reads the config again, because the pipeline does not know the file.
    #[must_use]
    pub fn with_reload(
        self,
        reload: impl Fn(&Operator) -> Result<ReloadSummary, ProblemReport> + Send + Sync + 'static,
    ) -> Self {
        Self {
            reload: Some(Arc::new(reload)),
            ..self
        }
    }

    /// `POST /send` without a socket, for a process that serves no backend.
    pub async fn send(&self, request: SendRequest) -> ControlReply<SendReport> {
        self.proxy.send_operator_message(Ok(request)).await.1
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        slot: Option<&ConnectionSlot>,
        drain: &Drain,
        peer: &Peer,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = match timeout(READ_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Err(_) => {
                return Ok(error_response(
                    StatusCode::REQUEST_TIMEOUT,
                    "the request's body took too long",
                ));
            }
            Ok(Err(_)) => {
                return Ok(error_response(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the request is too large or was cut short",
                ));
            }
        };
        let Some(_busy) = slot.and_then(ConnectionSlot::mark_busy) else {
            return Ok(error_response(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many commands at once; repeat this one",
            ));
        };
        // The shutdown waits for the command.
        let _in_flight = drain.track_request();
        let path: Vec<&str> = parts.uri.path().split('/').collect();
        let by = operator(peer).await;
        Ok(self.run_command(&parts.method, &path, body, &by).await)
    }

    async fn run_command(
        &self,
        method: &Method,
        path: &[&str],
        body: Bytes,
        by: &Operator,
    ) -> Response<Full<Bytes>> {
        let proxy = &self.proxy;
        match (method, path) {
            (&Method::POST, ["", "send"]) => self.run_send(body, by).await,
            (&Method::POST, ["", "pause", name]) => {
                let (status, reply) = proxy.apply_operator_event(name, CommandKind::Pause, by);
                json_response(status, &reply)
            }
            (&Method::POST, ["", "resume", name]) => {
                let (status, reply) = proxy.apply_operator_event(name, CommandKind::Resume, by);
                json_response(status, &reply)
            }
            (&Method::GET, ["", "status"]) => {
                proxy.refresh();
                let status = status::build(&proxy.telemetry.snapshot());
                json_response(StatusCode::OK, &ControlReply::Report(status))
            }
            (&Method::POST, ["", "reload"]) => {
                let (status, reply) = self.reload_config(by);
                json_response(status, &reply)
            }
            _ => error_response(
                StatusCode::NOT_FOUND,
                "unknown command; the control socket has send, pause, resume, reload and status",
            ),
        }
    }

    async fn run_send(&self, body: Bytes, by: &Operator) -> Response<Full<Bytes>> {
        let proxy = &self.proxy;
        let request = serde_json::from_slice(&body).map_err(|_| body);
        OperatorCommand {
            command: CommandKind::Send,
            provider: None,
            by,
        }
        .emit(&proxy.telemetry);
        let (status, reply) = proxy.send_operator_message(request).await;
        json_response(status, &reply)
    }

    fn reload_config(&self, by: &Operator) -> (StatusCode, ControlReply<ReloadReport>) {
        match self.reload.as_ref().map(|reload| reload(by)) {
            Some(Ok(summary)) => {
                let report = ReloadReport::Ok {
                    file: summary.file,
                    needs_restart: summary.needs_restart,
                };
                (StatusCode::OK, ControlReply::Report(report))
            }
            Some(Err(problems)) => {
                let report = ReloadReport::Failed {
                    problem: problems.to_string(),
                    problems: problems.to_json(),
                };
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                (status, ControlReply::Report(report))
            }
            None => (
                StatusCode::NOT_FOUND,
                ControlReply::error("this process cannot reload its config"),
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
    async fn serve<S: Stream>(&self, stream: S, peer: Peer, drain: Drain) {
        let slot = self.connection_limit.acquire();
        let service =
            service_fn(async |request| self.respond(request, slot.as_ref(), &drain, &peer).await);
        // While draining, a connection serves one command; a kept one that is idle ends.
        let is_late = drain.phase() > Phase::Serving;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // A client that has ended its side still reads, and a command runs to its end.
            .half_close(true)
            .header_read_timeout(READ_TIMEOUT)
            .keep_alive(!is_late && slot.is_some())
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let served = async {
            tokio::select! {
                completed = connection.as_mut() => return completed,
                () = drain.wait_for(Phase::Draining), if !is_late => {
                    connection.as_mut().graceful_shutdown();
                }
            }
            connection.await
        };
        let evicted = async {
            match &slot {
                Some(slot) => slot.evicted().await,
                None => std::future::pending().await,
            }
        };
        // A client that hung up, or that is too slow, does not read our answer.
        tokio::select! {
            _ = timeout(MAX_CONNECTION_AGE, served) => {}
            () = evicted => {}
        }
    }
}

impl Proxy {
    /// Sends a message of the operator through the same pipeline as every other. `Err`: a body that is not a request;
    /// the dialect says what is wrong with it.
    async fn send_operator_message(
        &self,
        request: Result<SendRequest, Bytes>,
    ) -> (StatusCode, ControlReply<SendReport>) {
        let snapshot = self.snapshot.load_full();
        let (body, pinned) = match request {
            Ok(request) => (
                Value::Object(request.message).to_string().into(),
                request.provider.as_deref().map(ProviderId::new),
            ),
            Err(body) => (body, None),
        };
        if let Some(error) = pinned.as_ref().and_then(|id| pin_error(&snapshot, id)) {
            return error;
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
        let duration = self.now().since(started_at);
        completed.emit(&context, duration, &self.config_path, &self.telemetry);
        let report = ControlReply::Report(send_report(&completed));
        (completed.reply.status, report)
    }

    fn apply_operator_event(
        &self,
        name: &str,
        command: CommandKind,
        by: &Operator,
    ) -> (StatusCode, ControlReply<ProviderReport>) {
        let snapshot = self.snapshot.load();
        let Some(runtime) = snapshot.providers.get(&ProviderId::new(name)) else {
            return (
                StatusCode::NOT_FOUND,
                unknown_provider_error(&snapshot, name),
            );
        };
        OperatorCommand {
            command,
            provider: Some(&runtime.provider.id),
            by,
        }
        .emit(&self.telemetry);
        let event = if command == CommandKind::Pause {
            HealthEvent::Paused
        } else {
            runtime.reset();
            HealthEvent::Resumed
        };
        self.health.record_event(runtime, &event, None, self.now());
        let report = self.provider_report(runtime);
        (StatusCode::OK, ControlReply::Report(report))
    }

    fn provider_report(&self, runtime: &ProviderRuntime) -> ProviderReport {
        let state = self.health.health_state(runtime, self.now());
        ProviderReport {
            provider: runtime.provider.id.as_str().to_owned(),
            dialect: runtime.provider.dialect.name.clone(),
            state: state.as_str().to_owned(),
            cause: state.cause().map(cause_name),
            credential_version: runtime.newest_revision().version.0,
        }
    }
}

/// Why a message cannot be pinned to this provider.
fn pin_error<T>(
    snapshot: &RoutingSnapshot,
    pinned: &ProviderId,
) -> Option<(StatusCode, ControlReply<T>)> {
    if !snapshot.providers.contains_key(pinned) {
        let error = unknown_provider_error(snapshot, pinned.as_str());
        return Some((StatusCode::NOT_FOUND, error));
    }
    let reason =
        "this config only observes: the sidecar has no credentials of its own to send with";
    (snapshot.settings.mode == Mode::Observe)
        .then(|| (StatusCode::CONFLICT, ControlReply::error(reason)))
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

fn unknown_provider_error<T>(snapshot: &RoutingSnapshot, name: &str) -> ControlReply<T> {
    let known: Vec<&str> = snapshot.providers.keys().map(ProviderId::as_str).collect();
    ControlReply::error(format!(
        "no provider `{name}`; the providers are {}",
        known.join(", ")
    ))
}

fn cause_name(cause: Cause) -> String {
    cause.as_str().to_owned()
}

fn send_report(completed: &CompletedRequest) -> SendReport {
    let diagnosis = completed.diagnosis.as_ref();
    let open = completed.open_diagnosis();
    SendReport {
        result: completed.result.as_str().to_owned(),
        route: completed.route.clone(),
        recipient: completed.recipient.as_ref().map(ToString::to_string),
        cause: completed.cause.map(cause_name),
        certainty: diagnosis.map(|diagnosis| diagnosis.certainty.as_str().to_owned()),
        diagnosis: open.map(ToString::to_string),
        evidence: diagnosis.map(|diagnosis| diagnosis.evidence.clone()),
        remedy: open.map(|diagnosis| diagnosis.remedy.clone()),
        steps: open.map_or_else(Vec::new, |diagnosis| remedy_steps(&diagnosis.remedy)),
        duplicate: completed.duplicate_age.is_some(),
        answered_seconds_ago: completed.duplicate_age.map(|ago| ago.as_secs()),
        attempts: completed.attempts.iter().map(attempt_status).collect(),
    }
}

fn attempt_status(attempt: &AttemptResult) -> AttemptStatus {
    let outcome = attempt.outcome();
    AttemptStatus {
        provider: attempt.runtime.provider.id.as_str().to_owned(),
        kind: attempt.kind.as_str().to_owned(),
        outcome: outcome.as_str().to_owned(),
        cause: outcome.cause().map(cause_name),
        status: attempt.status,
        provider_message: attempt.classification.provider_message.clone(),
        took_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
    }
}

fn error_response(status: StatusCode, what: &str) -> Response<Full<Bytes>> {
    json_response(status, &ControlReply::<()>::error(what))
}

fn json_response<T: Serialize>(
    status: StatusCode,
    reply: &ControlReply<T>,
) -> Response<Full<Bytes>> {
    let (status, body) = match serde_json::to_vec(reply) {
        Ok(body) => (status, body),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "error": format!("the reply cannot be written: {error}") })
                .to_string()
                .into_bytes(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
