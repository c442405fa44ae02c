//! Turns a finished request into spans: one for the request and one below it for each attempt, in
//! the order of their times. Pure: an event goes in, spans come out. Attributes have the names of
//! OpenTelemetry's conventions where these exist, otherwise `sms_sidecar.` and our own word. Paths,
//! queries and URLs are left out on purpose, although the conventions require them, because they
//! contain numbers and accounts. Provider messages, texts, recipients and remedies are for the log,
//! not for spans.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::sms::{AttemptKind, Cause, Certainty, Outcome, ProviderId, RequestResult};
use crate::telemetry::{AttemptFinished, AttemptRecord, RequestFinished, SpanId, TraceId};

/// Flags of a span: the trace is recorded, and the parent is known not to be a span of another process.
/// With `FLAGS_REMOTE_PARENT` it is one.
const FLAGS_LOCAL_PARENT: u32 = 0x101;
const FLAGS_REMOTE_PARENT: u32 = 0x301;

/// The spans of a request that ended at `ended`, the request's own span first.
pub(super) fn request_spans(
    call: &RequestFinished<'_>,
    trace: TraceId,
    ended: SystemTime,
    mut fresh: impl FnMut() -> SpanId,
) -> Vec<Span> {
    let own = fresh();
    let began = ended.checked_sub(call.duration).unwrap_or(UNIX_EPOCH);
    let mut whole = new_span(trace, own, began, call.duration);
    if let Some(parent) = call.parent {
        whole.parent_span_id = parent.span_id.0.to_vec();
        whole.flags = FLAGS_REMOTE_PARENT;
        whole.trace_state.clone_from(&parent.trace_state);
    }
    whole.name = format!("{} {}", call.operation, call.dialect.unwrap_or("none"));
    whole.kind = SpanKind::Server.into();
    let failed = matches!(call.result, RequestResult::NotSent | RequestResult::InDoubt)
        || call.status >= 500;
    whole.status = failed.then(|| error_status(call.cause));
    whole.attributes = request_attributes(call, failed);
    let attempts = call.attempts.iter().map(|line| Span {
        parent_span_id: own.0.to_vec(),
        trace_state: whole.trace_state.clone(),
        attributes: attempt_record_attributes(line),
        ..client_span(
            (line.provider, line.kind, line.outcome),
            new_span(trace, fresh(), began + line.started_after, line.duration),
        )
    });
    let attempts: Vec<Span> = attempts.collect();
    [whole].into_iter().chain(attempts).collect()
}

/// The span of an attempt that ended at `ended` and belongs to no request.
pub(super) fn attempt_span(
    ended_one: &AttemptFinished<'_>,
    trace: TraceId,
    ended: SystemTime,
    own: SpanId,
) -> Span {
    let AttemptFinished {
        provider,
        kind,
        outcome,
        status,
        duration: took,
    } = *ended_one;
    let began = ended.checked_sub(took).unwrap_or(UNIX_EPOCH);
    let attributes = attempt_attributes((provider, kind, outcome), None, status).0;
    Span {
        attributes,
        ..client_span((provider, kind, outcome), new_span(trace, own, began, took))
    }
}

fn new_span(trace: TraceId, own: SpanId, began: SystemTime, duration: Duration) -> Span {
    let nanos = |at: SystemTime| {
        at.duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| u64::try_from(since.as_nanos()).ok())
    };
    Span {
        trace_id: trace.0.to_vec(),
        span_id: own.0.to_vec(),
        flags: FLAGS_LOCAL_PARENT,
        start_time_unix_nano: nanos(began).unwrap_or_default(),
        end_time_unix_nano: nanos(began + duration).unwrap_or_default(),
        ..Span::default()
    }
}

/// Provider, kind and outcome, which every attempt has.
type AttemptParts<'a> = (&'a ProviderId, AttemptKind, &'a Outcome);

fn client_span((provider, kind, outcome): AttemptParts<'_>, bare: Span) -> Span {
    let status = outcome.cause().map(|cause| error_status(Some(cause)));
    Span {
        name: format!("{kind} {provider}"),
        kind: SpanKind::Client.into(),
        status,
        ..bare
    }
}

fn error_status(cause: Option<Cause>) -> Status {
    Status {
        code: StatusCode::Error.into(),
        message: cause.map_or("", Cause::as_str).to_owned(),
    }
}

fn request_attributes(call: &RequestFinished<'_>, failed: bool) -> Vec<KeyValue> {
    let mut about = SpanAttributes::default();
    about.add_text("http.request.method", Some(call.method));
    about.add_number("http.response.status_code", Some(call.status));
    about.add_text(
        "error.type",
        call.cause.map(Cause::as_str).filter(|_| failed),
    );
    about.add_text("sms_sidecar.id", Some(call.id));
    about.add_text("sms_sidecar.caller", call.caller);
    about.add_text("sms_sidecar.entrypoint", Some(call.entrypoint.as_str()));
    about.add_text("sms_sidecar.dialect", call.dialect);
    about.add_text("sms_sidecar.operation", Some(call.operation.as_str()));
    about.add_text("sms_sidecar.route", call.route);
    about.add_text("sms_sidecar.result", Some(call.result.as_str()));
    about.add_cause(call.cause, call.certainty);
    about.0
}

fn attempt_record_attributes(line: &AttemptRecord<'_>) -> Vec<KeyValue> {
    let mut about = attempt_attributes(
        (line.provider, line.kind, line.outcome),
        line.certainty,
        line.status,
    );
    about.add_text("http.request.method", line.method);
    about.add_text("server.address", line.server.map(|(address, _)| address));
    about.add_number("server.port", line.server.map(|(_, port)| port));
    about.0
}

fn attempt_attributes(
    (provider, kind, outcome): AttemptParts<'_>,
    certainty: Option<Certainty>,
    status: Option<u16>,
) -> SpanAttributes {
    let mut about = SpanAttributes::default();
    about.add_number("http.response.status_code", status);
    about.add_text("error.type", outcome.cause().map(Cause::as_str));
    about.add_text("sms_sidecar.provider", Some(provider.as_str()));
    about.add_text("sms_sidecar.kind", Some(kind.as_str()));
    about.add_text("sms_sidecar.outcome", Some(outcome.as_str()));
    about.add_cause(outcome.cause(), certainty);
    about
}

/// Collects the attributes of a span.
#[derive(Default)]
struct SpanAttributes(Vec<KeyValue>);

impl SpanAttributes {
    fn add_text(&mut self, key: &str, value: Option<&str>) {
        self.add(key, value.map(|text| Value::StringValue(text.to_owned())));
    }

    fn add_number(&mut self, key: &str, value: Option<u16>) {
        self.add(key, value.map(|number| Value::IntValue(number.into())));
    }

    fn add_cause(&mut self, cause: Option<Cause>, certainty: Option<Certainty>) {
        self.add_text("sms_sidecar.cause", cause.map(Cause::as_str));
        self.add_text("sms_sidecar.certainty", certainty.map(Certainty::as_str));
    }

    fn add(&mut self, key: &str, value: Option<Value>) {
        let value = value.map(|value| AnyValue { value: Some(value) });
        self.0.extend(value.map(|value| KeyValue {
            key: key.to_owned(),
            value: Some(value),
            ..KeyValue::default()
        }));
    }
}
