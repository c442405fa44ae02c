//! One call on its way through: what is known of it from the start, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::clock::Moment;
use crate::diagnosis::Diagnosis;
use crate::dialect::{Reply, Request};
use crate::net::authority::Authority;
use crate::net::drain::ClientConnection;
use crate::net::entrypoint::EntrypointTarget;
use crate::provider::attempt::AttemptResult;
use crate::proxy::snapshot::RoutingSnapshot;
use crate::sms::{Cause, Entrypoint, Msisdn, Operation, Outcome, ProviderId, RequestResult};
use crate::telemetry::{AttemptRecord, RequestFinished, Telemetry, TraceParent};

/// What is known of a call from the start.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) id: String,
    pub(super) entrypoint: Entrypoint,
    pub(super) target: EntrypointTarget,
    pub(super) caller: Option<String>,
    pub(super) request: Request,
    /// The path before it was read as one of the dialect's own.
    pub(super) original_path: String,
    /// The account that the base URL named.
    pub(super) named_provider: Option<ProviderId>,
    /// The operator asked for this one alone: no route is taken, no other is asked, no earlier answer will do.
    pub(super) pinned_provider: Option<ProviderId>,
    pub(super) connection: ClientConnection,
    pub(super) started_at: Moment,
    pub(super) snapshot: Arc<RoutingSnapshot>,
}

impl RequestContext {
    /// The host the backend named, where it named one.
    pub(super) fn authority(&self) -> Option<&Authority> {
        match &self.target {
            EntrypointTarget::Host(authority) => Some(authority),
            EntrypointTarget::BaseUrl | EntrypointTarget::Unspecified => None,
        }
    }
}

/// How a call ended.
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
    /// What to do where no service said anything to diagnose; of our words and the dialect's alone, for the log.
    pub(super) remedy: Option<String>,
    /// It was not sent again: the same message was answered so long ago.
    pub(super) duplicate_age: Option<Duration>,
}

impl CompletedRequest {
    /// An end that took no attempt.
    pub(super) fn without_attempts(
        reply: Reply,
        operation: Operation,
        dialect: &str,
        result: RequestResult,
    ) -> Self {
        let dialect = Some(dialect.to_owned());
        let (attempts, cause, route, recipient, diagnosis, remedy, duplicate_age) =
            (Vec::new(), None, None, None, None, None, None);
        Self {
            reply,
            operation,
            dialect,
            result,
            cause,
            route,
            recipient,
            attempts,
            diagnosis,
            remedy,
            duplicate_age,
        }
    }

    /// Who took the message.
    pub(super) fn accepted_attempt(&self) -> Option<&AttemptResult> {
        self.attempts
            .iter()
            .rfind(|tried| matches!(tried.outcome(), Outcome::Accepted { .. }))
    }

    /// Writes the call's line and counts it.
    pub(super) fn emit(&self, call: &RequestContext, took: Duration, telemetry: &Telemetry) {
        let parent = TraceParent::from_headers(&call.request.headers);
        let lines: Vec<AttemptRecord<'_>> = self
            .attempts
            .iter()
            .map(|tried| attempt_line(tried, call.started_at))
            .collect();
        RequestFinished {
            id: &call.id,
            caller: call.caller.as_deref(),
            entrypoint: call.entrypoint,
            dialect: self.dialect.as_deref(),
            operation: self.operation,
            route: self.route.as_deref(),
            recipient: self.recipient.as_ref(),
            attempts: &lines,
            result: self.result,
            method: call.request.method.as_str(),
            status: self.reply.status.as_u16(),
            cause: self.cause,
            certainty: self.diagnosis.as_ref().map(|diagnosis| diagnosis.certainty),
            remedy: self
                .diagnosis
                .as_ref()
                .map(|diagnosis| &diagnosis.remedy)
                .or(self.remedy.as_ref())
                .map(String::as_str),
            duplicate_age: self.duplicate_age,
            duration: took,
            parent: parent.as_ref(),
        }
        .emit(telemetry);
    }
}

fn attempt_line(tried: &AttemptResult, call: Moment) -> AttemptRecord<'_> {
    let at = tried
        .other_authority
        .as_ref()
        .or(tried.runtime.base_url.authority());
    AttemptRecord {
        provider: &tried.runtime.provider.id,
        kind: tried.kind,
        outcome: tried.outcome(),
        certainty: tried
            .outcome()
            .cause()
            .map(|_| tried.classification.certainty),
        status: tried.status,
        provider_message: tried.classification.provider_message.as_deref(),
        method: tried.method.as_ref().map(Method::as_str),
        server: at.map(|at| (at.host.as_str(), at.port)),
        started_after: tried.started_at.since(call),
        duration: tried.duration,
    }
}
