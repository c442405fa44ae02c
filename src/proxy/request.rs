//! One request on its way through the pipeline: what is known of it from the start, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::clock::Moment;
use crate::diagnosis::{Denial, Diagnosis, needs_operator};
use crate::dialect::{Reply, Request};
use crate::net::authority::Authority;
use crate::net::drain::ClientConnection;
use crate::net::entrypoint::EntrypointTarget;
use crate::provider::attempt::AttemptResult;
use crate::proxy::snapshot::RoutingSnapshot;
use crate::sms::{Cause, Entrypoint, Msisdn, Operation, Outcome, ProviderId, RequestResult};
use crate::telemetry::{AttemptRecord, RequestFinished, Telemetry, TraceParent};

/// What is known of a request from the start.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) id: String,
    pub(super) entrypoint: Entrypoint,
    pub(super) target: EntrypointTarget,
    pub(super) caller: Option<String>,
    /// With the path as the dialect defines it.
    pub(super) request: Request,
    /// The path that the backend sent.
    pub(super) original_path: String,
    /// The account that the base URL names.
    pub(super) named_provider: Option<ProviderId>,
    /// The only provider an operator's send may use: no route, no failover, no duplicate window.
    pub(super) pinned_provider: Option<ProviderId>,
    pub(super) connection: ClientConnection,
    pub(super) started_at: Moment,
    pub(super) snapshot: Arc<RoutingSnapshot>,
}

impl RequestContext {
    /// The request as the backend sent it.
    pub(super) fn original_request(&self) -> Request {
        Request {
            method: self.request.method.clone(),
            path: self.original_path.clone(),
            query: self.request.query.clone(),
            headers: self.request.headers.clone(),
            body: self.request.body.clone(),
        }
    }

    /// The host that the backend named; none at the base-URL entrypoint.
    pub(super) fn authority(&self) -> Option<&Authority> {
        match &self.target {
            EntrypointTarget::Host(authority) => Some(authority),
            EntrypointTarget::BaseUrl | EntrypointTarget::Unspecified => None,
        }
    }
}

/// How a request ended.
#[derive(Debug)]
pub(super) struct CompletedRequest {
    pub(super) reply: Reply,
    pub(super) operation: Operation,
    pub(super) dialect: Option<String>,
    pub(super) result: RequestResult,
    pub(super) cause: Option<Cause>,
    pub(super) route: Option<String>,
    pub(super) recipient: Option<Msisdn>,
    pub(super) attempts: Vec<AttemptResult>,
    pub(super) diagnosis: Option<Diagnosis>,
    /// Why the sidecar itself denied it.
    pub(super) denial: Option<Denial>,
    /// How long ago the same message was answered, if this request is its duplicate.
    pub(super) duplicate_age: Option<Duration>,
}

impl CompletedRequest {
    /// A request that made no attempt.
    pub(super) fn without_attempts(
        reply: Reply,
        operation: Operation,
        dialect: &str,
        result: RequestResult,
    ) -> Self {
        Self {
            reply,
            operation,
            dialect: Some(dialect.to_owned()),
            result,
            cause: None,
            route: None,
            recipient: None,
            attempts: Vec::new(),
            diagnosis: None,
            denial: None,
            duplicate_age: None,
        }
    }

    /// A request whose reply is set later; until then it is an empty 503.
    pub(super) fn unanswered(operation: Operation, dialect: &str, result: RequestResult) -> Self {
        let reply = Reply {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        Self::without_attempts(reply, operation, dialect, result)
    }

    /// A request that was denied before a dialect was known.
    pub(super) fn denied(reply: Reply, denial: Denial) -> Self {
        let completed = Self::without_attempts(reply, Operation::Other, "", RequestResult::Denied);
        Self {
            dialect: None,
            cause: Some(Cause::DeniedByPolicy),
            denial: Some(denial),
            ..completed
        }
    }

    /// The attempt that delivered the message.
    pub(super) fn accepted_attempt(&self) -> Option<&AttemptResult> {
        self.attempts
            .iter()
            .rfind(|attempt| matches!(attempt.outcome(), Outcome::Accepted { .. }))
    }

    /// What an operator has to act on; none after a message that was accepted although an attempt failed, if the
    /// same provider accepted it in the end, or if it recovers by itself.
    pub(super) fn open_diagnosis(&self) -> Option<&Diagnosis> {
        let is_done = |diagnosis: &Diagnosis| {
            self.accepted_attempt().is_some_and(|accepted| {
                accepted.runtime.provider.id.as_str() == diagnosis.provider
                    || !needs_operator(diagnosis.cause)
            })
        };
        self.diagnosis
            .as_ref()
            .filter(|diagnosis| !is_done(diagnosis))
    }

    /// Writes the request's log line, counts it and makes its spans. `config` is the path that the commands of a
    /// remedy name.
    pub(super) fn emit(
        &self,
        context: &RequestContext,
        duration: Duration,
        config: &str,
        telemetry: &Telemetry,
    ) {
        let parent = TraceParent::from_headers(&context.request.headers);
        let records: Vec<AttemptRecord<'_>> = self
            .attempts
            .iter()
            .map(|attempt| attempt_record(attempt, context.started_at))
            .collect();
        let diagnosis = self.diagnosis.as_ref();
        let denial = self.denial.as_ref().map(|denial| denial.log_text(config));
        RequestFinished {
            id: &context.id,
            caller: context.caller.as_deref(),
            entrypoint: context.entrypoint,
            dialect: self.dialect.as_deref(),
            operation: self.operation,
            route: self.route.as_deref(),
            recipient: self.recipient.as_ref(),
            attempts: &records,
            result: self.result,
            method: context.request.method.as_str(),
            status: self.reply.status.as_u16(),
            cause: self.cause,
            certainty: diagnosis.map(|diagnosis| diagnosis.certainty),
            remedy: self
                .open_diagnosis()
                .map(|diagnosis| diagnosis.remedy.as_str())
                .or(denial.as_deref()),
            duplicate_age: self.duplicate_age,
            duration,
            parent: parent.as_ref(),
        }
        .emit(telemetry);
    }
}

fn attempt_record(attempt: &AttemptResult, request_started_at: Moment) -> AttemptRecord<'_> {
    let classification = &attempt.classification;
    let server = attempt
        .other_authority
        .as_ref()
        .or(attempt.runtime.base_url.authority());
    AttemptRecord {
        provider: &attempt.runtime.provider.id,
        kind: attempt.kind,
        outcome: attempt.outcome(),
        certainty: attempt.outcome().cause().map(|_| classification.certainty),
        status: attempt.status,
        provider_message: classification.provider_message.as_deref(),
        method: attempt.method.as_ref().map(Method::as_str),
        server: server.map(|authority| (authority.host.as_str(), authority.port)),
        started_after: attempt.started_at.since(request_started_at),
        duration: attempt.duration,
    }
}
