//! Requests that are not a message: a login (answered locally), a status query about an id of ours
//! (answered from memory), every other operation that a dialect names (passed through with our
//! credential, one attempt), and what observe mode passes unchanged.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::diagnosis::{DenialReason, Diagnosis, Evidence};
use crate::dialect::{
    Classification, Dialect, MissingCredential, ProviderRequest, RecognisedRequest, Reply,
    RequestFields,
};
use crate::net::authority::Authority;
use crate::net::drain::ClientConnection;
use crate::net::upstream::{ExchangeError, reply_status};
use crate::provider::ProviderRuntime;
use crate::provider::attempt::{AttemptResult, AttemptSpec, RequestBody};
use crate::provider::classification::lost_classification;
use crate::provider::diagnose::diagnosis_input;
use crate::proxy::Proxy;
use crate::proxy::answer::{error_reply, filter_headers};
use crate::proxy::authz::presented_in_dialect;
use crate::proxy::delivery::Delivery;
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::secret::redact::Redactor;
use crate::sms::{
    AttemptKind, Cause, Certainty, Concern, Family, Operation, Outcome, RequestResult,
};
use crate::telemetry::{AttemptFinished, LastSendOutcome};

/// Time limit of a request that is not a message of ours, its login included.
const PASSTHROUGH_TIMEOUT: Duration = Duration::from_secs(30);

/// An observed exchange: the attempt, and the reply as the backend gets it.
struct ObservedExchange {
    result: AttemptResult,
    reply: Option<Reply>,
}

impl Proxy {
    /// The backend's own login gets a placeholder: it never holds a real token.
    pub(super) fn answer_login(&self, recognised: &RecognisedRequest) -> CompletedRequest {
        let dialect = &recognised.dialect;
        let now = self.clock.timestamp();
        CompletedRequest::without_attempts(
            dialect.render_login(recognised, &RequestFields::default(), now),
            Operation::Login,
            &dialect.name,
            RequestResult::AnsweredLocally,
        )
    }

    /// An operation that would change the account is answered here, and nothing is forwarded.
    pub(super) fn answer_local(
        &self,
        context: &RequestContext,
        recognised: &RecognisedRequest,
    ) -> CompletedRequest {
        let dialect = &recognised.dialect;
        let fields = readable_fields(context, recognised);
        let answer = dialect.render_local(recognised, &fields, self.clock.timestamp());
        answer.map_or_else(
            || Self::deny_unnamed_operation(dialect),
            |reply| {
                let result = RequestResult::AnsweredLocally;
                let name = &dialect.name;
                CompletedRequest::without_attempts(reply, Operation::Local, name, result)
            },
        )
    }

    /// A status query about an id of ours is answered here; one about a provider's id is passed through.
    pub(super) async fn answer_status(
        &self,
        context: &RequestContext,
        recognised: &RecognisedRequest,
    ) -> CompletedRequest {
        let dialect = &recognised.dialect;
        let fields = readable_fields(context, recognised);
        let Some(mapped) = dialect
            .queried_id(recognised, &fields)
            .and_then(|id| self.deduplicator.resolve_id(&id))
        else {
            return self.pass_through(context, recognised).await;
        };
        let reply = dialect
            .render_status(recognised, &fields, &mapped.id, self.clock.timestamp())
            .unwrap_or_else(|| {
                let reason = "another service delivered this message, and this dialect cannot express its status";
                error_reply(dialect, StatusCode::NOT_FOUND, Cause::NotTranslatable, reason)
            });
        CompletedRequest::without_attempts(
            reply,
            Operation::Status,
            &dialect.name,
            RequestResult::AnsweredLocally,
        )
    }

    /// One attempt through one account. A failure that is not the request's own is a 502.
    pub(super) async fn pass_through(
        &self,
        context: &RequestContext,
        recognised: &RecognisedRequest,
    ) -> CompletedRequest {
        let Some(runtime) = context.snapshot.passthrough_provider(
            context.named_provider.as_ref(),
            &recognised.dialect,
            |runtime| recognised.is_allowed_by(&runtime.provider.operations),
        ) else {
            return Self::no_provider(&recognised.dialect, recognised.operation);
        };
        if let Some(cause) = self.health.rejected_credential(&runtime, self.now()) {
            return Self::not_passed_through(recognised, cause);
        }
        let spec = AttemptSpec {
            account: 0,
            kind: AttemptKind::Passthrough,
            body: RequestBody::Native(recognised, &context.request),
            message: None,
            recipients: None,
            time_left: PASSTHROUGH_TIMEOUT,
            trial: false,
            choice: self.health.credential_choice(&runtime, false),
            backend: &context.connection,
        };
        let result = runtime.attempt(&spec).await;
        self.record_passthrough(&result);
        let reply = passed_reply(&recognised.dialect, &result);
        let mut completed = CompletedRequest::without_attempts(
            reply,
            recognised.operation,
            &recognised.dialect.name,
            RequestResult::PassedThrough,
        );
        completed.cause = result.outcome().cause();
        completed.diagnosis = self.diagnose(&result);
        completed.attempts = vec![result];
        completed
    }

    /// A rejected credential holds for every other request too. A rejection of this one operation (a right that the
    /// key lacks, a balance that it may not read) does not. Counts the attempt in any case.
    fn record_passthrough(&self, result: &AttemptResult) {
        let cause = result.outcome().cause();
        if cause.is_some_and(|cause| cause.concern() == Concern::Credential) {
            let diagnosis = self.diagnose(result);
            self.health
                .record_attempt(&result.runtime, &result.attempt, diagnosis, self.now());
        }
        self.count_when_settled(result);
    }

    fn not_passed_through(recognised: &RecognisedRequest, cause: Cause) -> CompletedRequest {
        let mut completed = CompletedRequest::without_attempts(
            bad_gateway(&recognised.dialect, cause),
            recognised.operation,
            &recognised.dialect.name,
            RequestResult::PassedThrough,
        );
        completed.cause = Some(cause);
        completed
    }

    /// Sends the backend's own request to the host it named, once, and passes the reply back unchanged. `delivery` is
    /// there if the request is a message that could be read.
    pub(super) async fn observe(
        &self,
        context: &RequestContext,
        dialect: &Dialect,
        operation: Operation,
        delivery: Option<&Delivery<'_>>,
    ) -> CompletedRequest {
        let named = context.named_provider.as_ref();
        let Some(runtime) = context
            .snapshot
            .passthrough_provider(named, dialect, |_| true)
        else {
            return Self::no_provider(dialect, operation);
        };
        let kind = observed_kind(operation);
        let message = delivery.and_then(|delivery| delivery.message.as_ref());
        let ObservedExchange { result, reply } = self
            .observe_exchange(context, &runtime, operation, delivery)
            .await;
        let mut completed = CompletedRequest::without_attempts(
            reply.unwrap_or_else(|| lost_reply(dialect, result.outcome())),
            operation,
            &dialect.name,
            observed_result(kind, result.outcome()),
        );
        completed.cause = result.outcome().cause();
        completed.diagnosis = diagnose_observed(&result)
            .map(|diagnosis| correct_endpoint_remedy(diagnosis, context, dialect, operation));
        completed.route = delivery
            .and_then(|delivery| delivery.route)
            .map(|route| route.name.clone());
        completed.recipient = message.map(|message| message.recipient.clone());
        completed.attempts = vec![result];
        self.emit_observed_send(&runtime, kind, &completed);
        completed
    }

    /// Reports the outcome of an observed message, and of a request that was probably meant to be one.
    fn emit_observed_send(
        &self,
        runtime: &ProviderRuntime,
        kind: AttemptKind,
        completed: &CompletedRequest,
    ) {
        let cause = completed.cause;
        let is_message = kind == AttemptKind::Send
            && cause.is_none_or(|cause| cause.family() != Family::Message);
        let is_misplaced =
            completed.operation == Operation::Other && cause == Some(Cause::EndpointWrong);
        if is_message || is_misplaced {
            LastSendOutcome {
                provider: &runtime.provider.id,
                diagnosis: completed.diagnosis.as_ref(),
            }
            .emit(&self.telemetry);
        }
    }

    async fn observe_exchange(
        &self,
        context: &RequestContext,
        runtime: &Arc<ProviderRuntime>,
        operation: Operation,
        delivery: Option<&Delivery<'_>>,
    ) -> ObservedExchange {
        let kind = observed_kind(operation);
        let started_at = self.now();
        let request = unchanged_request(context, runtime);
        let method = request.as_ref().map(|request| request.method.clone());
        let reply = exchange_unchanged(runtime, request, &context.connection).await;
        let dialect = &runtime.provider.dialect;
        let presented = presented_in_dialect(dialect, &context.request);
        let redactor = Redactor::new(presented.iter().map(String::as_str));
        let mut classification = match &reply {
            Err(lost) => lost_classification(lost, &redactor),
            Ok(reply) => {
                let redacted = redactor
                    .redact_reply_aside(reply.clone(), PASSTHROUGH_TIMEOUT)
                    .await;
                let message = delivery.and_then(|delivery| delivery.message.as_ref());
                let recipients = delivery.map(|delivery| &delivery.recipients);
                dialect.classify_for(kind, &redacted, message, recipients)
            }
        };
        let missing = dialect.missing_credential(operation, &context.request);
        let evidence = narrow_to_missing(&mut classification, missing);
        let status = reply_status(&reply);
        let duration = self.now().since(started_at);
        let revision = runtime.newest_revision();
        let mut result = AttemptResult::new(runtime, kind, classification, revision, started_at);
        result.attempt.ended = duration;
        result.evidence = evidence;
        result.status = status;
        result.method = method;
        result.other_authority = context.authority().cloned();
        result.duration = duration;
        AttemptFinished {
            provider: &runtime.provider.id,
            kind,
            outcome: result.outcome(),
            status: result.status,
            duration,
        }
        .emit(&self.telemetry);
        ObservedExchange {
            result,
            reply: reply.or_else(denied_head).ok(),
        }
    }

    fn no_provider(dialect: &Dialect, operation: Operation) -> CompletedRequest {
        let denial = DenialReason::MissingProvider.about(&dialect.name);
        let (status, cause) = (StatusCode::SERVICE_UNAVAILABLE, Cause::NoProvider);
        let reply = error_reply(dialect, status, cause, &denial.sentence());
        let mut completed = CompletedRequest::without_attempts(
            reply,
            operation,
            &dialect.name,
            RequestResult::Denied,
        );
        completed.cause = Some(cause);
        completed.denial = Some(denial);
        completed
    }
}

/// The fields of a request that is not a send; none if it cannot be read.
fn readable_fields(context: &RequestContext, recognised: &RecognisedRequest) -> RequestFields {
    let read = recognised.dialect.read(recognised, &context.request, "");
    read.map(|decoded| decoded.fields).unwrap_or_default()
}

const fn observed_kind(operation: Operation) -> AttemptKind {
    match operation {
        Operation::Send => AttemptKind::Send,
        Operation::Login
        | Operation::Status
        | Operation::Local
        | Operation::Passthrough
        | Operation::Other => AttemptKind::Passthrough,
    }
}

/// The request has no credential: that is why it was rejected, if the reply can mean it. Returns the evidence.
fn narrow_to_missing(
    classification: &mut Classification,
    missing: Option<MissingCredential>,
) -> Vec<Evidence> {
    let Some(missing) = missing.filter(|_| may_lack_credential(classification)) else {
        return Vec::new();
    };
    classification.outcome = Outcome::Rejected(Cause::CredentialMissing);
    classification.certainty = Certainty::Certain;
    classification.alternatives.clear();
    vec![Evidence::from_backend_request(missing.to_string())]
}

/// Whether the service can have rejected a request because it has no credential: the reply leaves the credential open, or
/// names only the request, which some services check first.
fn may_lack_credential(classification: &Classification) -> bool {
    let Outcome::Rejected(cause) = classification.outcome else {
        return false;
    };
    let is_open = |cause: Cause| {
        cause.concern() == Concern::Credential
            || matches!(cause, Cause::MessageInvalid | Cause::Unexplained)
    };
    is_open(cause)
        || classification
            .alternatives
            .iter()
            .any(|cause| is_open(*cause))
}

/// Why an observed request failed; the account's own credential and history have no part in it.
fn diagnose_observed(result: &AttemptResult) -> Option<Diagnosis> {
    let failed = diagnosis_input(
        result.kind,
        &result.classification,
        result.status,
        &result.evidence,
    )?;
    Some(result.runtime.diagnose_observed(&failed))
}

/// The provider's reply if it is about the request itself; otherwise a 502.
fn passed_reply(dialect: &Dialect, result: &AttemptResult) -> Reply {
    let cause = result.outcome().cause();
    let is_about_request =
        cause.is_none_or(|cause| !matches!(cause.family(), Family::Account | Family::Ours));
    let may_pass = |reply: &&Reply| {
        is_about_request
            && !reply.status.is_server_error()
            && reply.status != StatusCode::UNAUTHORIZED
    };
    match result.native_reply.as_ref().filter(may_pass) {
        Some(reply) => filter_headers(reply.clone()),
        None => bad_gateway(dialect, cause.unwrap_or(Cause::Unexplained)),
    }
}

/// The head of a 401 or 403 is what the service says to an observed request, whether or not its body can be read.
fn denied_head(lost: ExchangeError) -> Result<Reply, ExchangeError> {
    match lost {
        ExchangeError::BodyLost { head, .. } if matches!(head.status.as_u16(), 401 | 403) => {
            Ok(filter_headers(*head))
        }
        ExchangeError::BodyLost { .. }
        | ExchangeError::Unsent { .. }
        | ExchangeError::Unknown { .. } => Err(lost),
    }
}

/// The reply to an observed request that was sent and got no reply.
fn lost_reply(dialect: &Dialect, outcome: &Outcome) -> Reply {
    let cause = outcome.cause().unwrap_or(Cause::Unexplained);
    match outcome {
        Outcome::Unknown(_) => {
            let reason =
                "the service may have taken it, but its reply was lost; the sidecar's log says why";
            error_reply(dialect, StatusCode::GATEWAY_TIMEOUT, cause, reason)
        }
        Outcome::Accepted { .. } | Outcome::Rejected(_) | Outcome::Unsent(_) => {
            bad_gateway(dialect, cause)
        }
    }
}

fn bad_gateway(dialect: &Dialect, cause: Cause) -> Reply {
    let reason = "the request to the service failed; the sidecar's log says why";
    error_reply(dialect, StatusCode::BAD_GATEWAY, cause, reason)
}

/// The remedy for a request at a path that the dialect does not have: the config's `base_url` is right, the backend's
/// is wrong.
fn correct_endpoint_remedy(
    diagnosis: Diagnosis,
    context: &RequestContext,
    dialect: &Dialect,
    operation: Operation,
) -> Diagnosis {
    if operation != Operation::Other || diagnosis.cause != Cause::EndpointWrong {
        return diagnosis;
    }
    let send = dialect.send_endpoint();
    let requested = format!(
        "{} {}",
        context.request.method,
        redact_path(&context.request.path, &send)
    );
    let remedy = format!(
        "the backend requested {requested}; {}'s message is {send}: correct the backend's base URL",
        diagnosis.provider
    );
    Diagnosis {
        remedy,
        ..diagnosis
    }
}

/// A path of the backend's for the log. Segments that the dialect's own path does not have may be a number or a
/// secret, and become `…`.
fn redact_path(path: &str, send: &str) -> String {
    let is_known =
        |segment: &str| segment.is_empty() || send.split(['/', ' ']).any(|known| known == segment);
    path.split('/')
        .map(|segment| if is_known(segment) { segment } else { "…" })
        .collect::<Vec<_>>()
        .join("/")
}

fn observed_result(kind: AttemptKind, outcome: &Outcome) -> RequestResult {
    if kind != AttemptKind::Send {
        return RequestResult::PassedThrough;
    }
    match outcome {
        Outcome::Accepted { .. } => RequestResult::Accepted,
        Outcome::Rejected(cause) if cause.family() == Family::Message => {
            RequestResult::MessageRejected
        }
        // The backend has the service's own rejection, and decides what follows.
        Outcome::Rejected(_) => RequestResult::PassedThrough,
        Outcome::Unsent(_) => RequestResult::NotSent,
        Outcome::Unknown(_) => RequestResult::InDoubt,
    }
}

async fn exchange_unchanged(
    runtime: &ProviderRuntime,
    request: Option<ProviderRequest>,
    backend: &ClientConnection,
) -> Result<Reply, ExchangeError> {
    let Some(request) = request else {
        return Err(ExchangeError::Unsent {
            cause: Cause::EndpointWrong,
            detail: "the path of the request is not valid in a URL".to_owned(),
        });
    };
    runtime
        .client
        .exchange_without_credentials(request, PASSTHROUGH_TIMEOUT, Some(backend))
        .await
}

/// To the host and path that the backend named; at the base-URL entrypoint, to the account's own. None: that is not a
/// valid URL.
fn unchanged_request(
    context: &RequestContext,
    runtime: &ProviderRuntime,
) -> Option<ProviderRequest> {
    let request = &context.request;
    let address = match context.authority() {
        Some(Authority { scheme, host, port }) => format!(
            "{}://{}:{port}{}",
            scheme.as_str(),
            bracket_ipv6(host),
            context.original_path
        ),
        None => runtime.base_url.to_account_url(&request.path)?,
    };
    let query = request
        .query
        .as_ref()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    Some(ProviderRequest {
        method: request.method.clone(),
        url: format!("{address}{query}").parse().ok()?,
        headers: request.headers.clone(),
        body: request.body.clone(),
    })
}

fn bracket_ipv6(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_log_shows_only_the_segments_of_the_dialect() {
        for (path, shown) in [
            ("/broker-api/send", "/broker-api/send"),
            ("/broker-api/send/", "/broker-api/send/"),
            ("/v2/send/998901234567", "/…/send/…"),
            ("/", "/"),
        ] {
            assert_eq!(redact_path(path, "POST /broker-api/send"), shown, "{path}");
        }
    }
}
