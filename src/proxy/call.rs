//! One call on its way through: what is known of it from the start, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::clock::Moment;
use crate::diagnosis::Diagnosis;
use crate::dialect::{Reply, Request};
use crate::net::authority::Authority;
use crate::net::door::Target;
use crate::net::drain::Line;
use crate::proxy::attempt::Tried;
use crate::proxy::world::World;
use crate::sms::{Cause, Door, Msisdn, Operation, Outcome, ProviderId, Verdict};
use crate::telemetry::{AttemptLine, CallEnded, Parent, Telemetry};

/// What is known of a call from the start.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) door: Door,
    pub(super) target: Target,
    pub(super) caller: Option<String>,
    pub(super) request: Request,
    /// The path before it was read as one of the dialect's own.
    pub(super) came: String,
    /// The account that the base URL named.
    pub(super) named: Option<ProviderId>,
    /// The operator asked for this one alone: no route is taken, no other is asked, no earlier answer will do.
    pub(super) only: Option<ProviderId>,
    pub(super) line: Line,
    pub(super) began: Moment,
    pub(super) world: Arc<World>,
}

impl Call {
    /// The host the backend named, where it named one.
    pub(super) fn authority(&self) -> Option<&Authority> {
        match &self.target {
            Target::Host(authority) => Some(authority),
            Target::Base | Target::Nowhere => None,
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reply: Reply,
    pub(super) operation: Operation,
    pub(super) dialect: Option<String>,
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) route: Option<String>,
    pub(super) recipient: Option<Msisdn>,
    pub(super) tried: Vec<Tried>,
    pub(super) diagnosis: Option<Diagnosis>,
    /// What to do where no service said anything to diagnose; of our words and the dialect's alone, for the log.
    pub(super) remedy: Option<String>,
    /// It was not sent again: the same message was answered so long ago.
    pub(super) repeat: Option<Duration>,
}

impl Ended {
    /// An end that took no attempt.
    pub(super) fn at_once(reply: Reply, operation: Operation, dialect: &str, verdict: Verdict) -> Self {
        let dialect = Some(dialect.to_owned());
        let (tried, cause, route, recipient, diagnosis, remedy, repeat) = (Vec::new(), None, None, None, None, None, None);
        Self { reply, operation, dialect, verdict, cause, route, recipient, tried, diagnosis, remedy, repeat }
    }

    /// Who took the message.
    pub(super) fn carrier(&self) -> Option<&Tried> {
        self.tried.iter().rfind(|tried| matches!(tried.outcome(), Outcome::Accepted { .. }))
    }

    /// Writes the call's line and counts it.
    pub(super) fn tell(&self, call: &Call, took: Duration, telemetry: &Telemetry) {
        let parent = Parent::read(&call.request.headers);
        let lines: Vec<AttemptLine<'_>> = self.tried.iter().map(|tried| line(tried, call.began)).collect();
        CallEnded {
            id: &call.id,
            caller: call.caller.as_deref(),
            door: call.door,
            dialect: self.dialect.as_deref(),
            operation: self.operation,
            route: self.route.as_deref(),
            recipient: self.recipient.as_ref(),
            attempts: &lines,
            verdict: self.verdict,
            method: call.request.method.as_str(),
            status: self.reply.status.as_u16(),
            cause: self.cause,
            certainty: self.diagnosis.as_ref().map(|diagnosis| diagnosis.certainty),
            remedy: self.diagnosis.as_ref().map(|diagnosis| &diagnosis.remedy).or(self.remedy.as_ref()).map(String::as_str),
            repeat: self.repeat,
            took,
            parent: parent.as_ref(),
        }
        .emit(telemetry);
    }
}

fn line(tried: &Tried, call: Moment) -> AttemptLine<'_> {
    let at = tried.elsewhere.as_ref().or(tried.link.base.authority());
    AttemptLine {
        provider: &tried.link.provider.id,
        kind: tried.kind,
        outcome: tried.outcome(),
        certainty: tried.outcome().cause().map(|_| tried.finding.certainty),
        status: tried.status,
        says: tried.finding.says.as_deref(),
        method: tried.method.as_ref().map(Method::as_str),
        server: at.map(|at| (at.host.as_str(), at.port)),
        after: tried.began.since(call),
        took: tried.took,
    }
}
