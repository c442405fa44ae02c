//! A finished call as spans: one of its own and one for each attempt below it, in the order of
//! their times. Pure: an event goes in, spans come out. Attributes are named as OpenTelemetry's
//! conventions name them where these have a name, else `sms_sidecar.` and our own word. Left out
//! on purpose, though the conventions ask for them: paths, queries and URLs, which hold numbers and
//! accounts. What a provider says, texts, recipients and remedies are for the log, not for here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::sms::{Cause, Certainty, Kind, Outcome, ProviderId, Verdict};
use crate::telemetry::{AttemptEnded, AttemptLine, CallEnded, SpanId, TraceId};

/// The trace is recorded; and whether its parent is another process's span is known: it is not, or it is.
const LOCAL: u32 = 0x101;
const REMOTE: u32 = 0x301;

/// The spans of a call that ended at `ended`, the call's own first.
pub(super) fn of_call(call: &CallEnded<'_>, trace: TraceId, ended: SystemTime, mut fresh: impl FnMut() -> SpanId) -> Vec<Span> {
    let own = fresh();
    let began = ended.checked_sub(call.took).unwrap_or(UNIX_EPOCH);
    let mut whole = span(trace, own, (began, call.took));
    if let Some(parent) = call.parent {
        (whole.parent_span_id, whole.flags) = (parent.span.0.to_vec(), REMOTE);
        whole.trace_state.clone_from(&parent.state);
    }
    whole.name = format!("{} {}", call.operation, call.dialect.unwrap_or("none"));
    whole.kind = SpanKind::Server.into();
    let failed = matches!(call.verdict, Verdict::NotSent | Verdict::InDoubt) || call.status >= 500;
    whole.status = failed.then(|| error(call.cause));
    whole.attributes = about_call(call, failed);
    let attempts = call.attempts.iter().map(|line| Span {
        parent_span_id: own.0.to_vec(),
        trace_state: whole.trace_state.clone(),
        attributes: about_line(line),
        ..attempt((line.provider, line.kind, line.outcome), span(trace, fresh(), (began + line.after, line.took)))
    });
    let attempts: Vec<Span> = attempts.collect();
    [whole].into_iter().chain(attempts).collect()
}

/// The span of an attempt that ended at `ended` and belongs to no call.
pub(super) fn of_attempt(ended_one: &AttemptEnded<'_>, trace: TraceId, ended: SystemTime, own: SpanId) -> Span {
    let AttemptEnded { provider, kind, outcome, status, took } = *ended_one;
    let began = ended.checked_sub(took).unwrap_or(UNIX_EPOCH);
    let attributes = about_attempt((provider, kind, outcome), None, status).0;
    Span { attributes, ..attempt((provider, kind, outcome), span(trace, own, (began, took))) }
}

fn span(trace: TraceId, own: SpanId, (began, took): (SystemTime, Duration)) -> Span {
    let nanos = |at: SystemTime| at.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok());
    Span {
        trace_id: trace.0.to_vec(),
        span_id: own.0.to_vec(),
        flags: LOCAL,
        start_time_unix_nano: nanos(began).unwrap_or_default(),
        end_time_unix_nano: nanos(began + took).unwrap_or_default(),
        ..Span::default()
    }
}

/// Provider, kind and outcome: what every attempt has.
type Attempted<'a> = (&'a ProviderId, Kind, &'a Outcome);

fn attempt((provider, kind, outcome): Attempted<'_>, bare: Span) -> Span {
    let status = outcome.cause().map(|cause| error(Some(cause)));
    Span { name: format!("{kind} {provider}"), kind: SpanKind::Client.into(), status, ..bare }
}

fn error(cause: Option<Cause>) -> Status {
    Status { code: StatusCode::Error.into(), message: cause.map_or("", Cause::as_str).to_owned() }
}

fn about_call(call: &CallEnded<'_>, failed: bool) -> Vec<KeyValue> {
    let mut about = About::default();
    about.text("http.request.method", Some(call.method));
    about.number("http.response.status_code", Some(call.status));
    about.text("error.type", call.cause.map(Cause::as_str).filter(|_| failed));
    about.text("sms_sidecar.id", Some(call.id));
    about.text("sms_sidecar.caller", call.caller);
    about.text("sms_sidecar.door", Some(call.door.as_str()));
    about.text("sms_sidecar.dialect", call.dialect);
    about.text("sms_sidecar.operation", Some(call.operation.as_str()));
    about.text("sms_sidecar.route", call.route);
    about.text("sms_sidecar.verdict", Some(call.verdict.as_str()));
    about.cause(call.cause, call.certainty);
    about.0
}

fn about_line(line: &AttemptLine<'_>) -> Vec<KeyValue> {
    let mut about = about_attempt((line.provider, line.kind, line.outcome), line.certainty, line.status);
    about.text("http.request.method", line.method);
    about.text("server.address", line.server.map(|(address, _)| address));
    about.number("server.port", line.server.map(|(_, port)| port));
    about.0
}

fn about_attempt((provider, kind, outcome): Attempted<'_>, certainty: Option<Certainty>, status: Option<u16>) -> About {
    let mut about = About::default();
    about.number("http.response.status_code", status);
    about.text("error.type", outcome.cause().map(Cause::as_str));
    about.text("sms_sidecar.provider", Some(provider.as_str()));
    about.text("sms_sidecar.kind", Some(kind.as_str()));
    about.text("sms_sidecar.outcome", Some(outcome.as_str()));
    about.cause(outcome.cause(), certainty);
    about
}

/// Attributes in the making.
#[derive(Default)]
struct About(Vec<KeyValue>);

impl About {
    fn text(&mut self, key: &str, value: Option<&str>) {
        self.put(key, value.map(|text| Value::StringValue(text.to_owned())));
    }

    fn number(&mut self, key: &str, value: Option<u16>) {
        self.put(key, value.map(|number| Value::IntValue(number.into())));
    }

    fn cause(&mut self, cause: Option<Cause>, certainty: Option<Certainty>) {
        self.text("sms_sidecar.cause", cause.map(Cause::as_str));
        self.text("sms_sidecar.certainty", certainty.map(Certainty::as_str));
    }

    fn put(&mut self, key: &str, value: Option<Value>) {
        let value = value.map(|value| AnyValue { value: Some(value) });
        self.0.extend(value.map(|value| KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }));
    }
}
