//! Tests the spans of a request's event, which requests are traced, and a queue that is not emptied.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prometheus::Registry;
use prost::Message;

use super::*;
use crate::clock::Moment;
use crate::sms::{
    Cause, Certainty, Entrypoint, Msisdn, Operation, Outcome, ProviderId, RequestResult,
};
use crate::telemetry::{AttemptRecord, MetricsSchema, TraceParent};

const ENDED: SystemTime = UNIX_EPOCH;

/// A clock whose time does not advance. A test sets the random fraction.
#[derive(Debug)]
struct TracerClock(Mutex<f64>);

impl Clock for TracerClock {
    fn now(&self) -> Moment {
        Moment::default()
    }
    fn wall_clock(&self) -> SystemTime {
        at(1_000_000)
    }
    fn random_fraction(&self) -> f64 {
        *self.0.lock().unwrap()
    }
}

struct TracerFixture {
    registry: Registry,
    telemetry: Telemetry,
    spans: SpanReceiver,
    clock: Arc<TracerClock>,
}

fn fixture(share: Option<f64>) -> TracerFixture {
    let (registry, clock) = (Registry::new(), Arc::new(TracerClock(Mutex::new(0.5))));
    let telemetry = Telemetry::new(&registry, &MetricsSchema::default(), clock.clone()).unwrap();
    telemetry.set_trace_sampling(share);
    let spans = telemetry.take_spans().unwrap();
    assert!(
        telemetry.take_spans().is_none(),
        "the receiver can be taken only once"
    );
    TracerFixture {
        registry,
        telemetry,
        spans,
        clock,
    }
}

impl TracerFixture {
    fn dropped(&self, reason: &str) -> Option<f64> {
        let family = self
            .registry
            .gather()
            .into_iter()
            .find(|family| family.name() == "sms_sidecar_spans_dropped_total")?;
        let series = family
            .get_metric()
            .iter()
            .find(|metric| metric.get_label().iter().any(|pair| pair.value() == reason))?;
        Some(series.get_counter().get_value())
    }
}

fn at(milliseconds: u64) -> SystemTime {
    ENDED + Duration::from_millis(milliseconds)
}

fn nanos(milliseconds: u64) -> u64 {
    milliseconds * 1_000_000
}

fn parent(sampled: bool) -> TraceParent {
    TraceParent {
        trace_id: TraceId([0x4b; 16]),
        span_id: SpanId([7; 8]),
        sampled,
        trace_state: "congo=1".into(),
    }
}

/// A request that needed a failover: the first provider rejected it and the second accepted it. Every field
/// holds a value that may be shown, or a canary.
fn rescued<T>(parent: Option<&TraceParent>, look: impl FnOnce(&RequestFinished<'_>) -> T) -> T {
    let (main, backup) = (ProviderId::new("main"), ProviderId::new("backup"));
    let (refused, accepted) = (
        Outcome::Rejected(Cause::CredentialRejected),
        Outcome::Accepted {
            id: "CANARY-id".into(),
        },
    );
    let line = |provider, outcome, status, after, took| AttemptRecord {
        provider,
        kind: AttemptKind::Send,
        outcome,
        certainty: Some(Certainty::Certain),
        status: Some(status),
        provider_message: Some("CANARY says"),
        method: Some("POST"),
        server: Some(("api.test", 8443)),
        started_after: Duration::from_millis(after),
        duration: Duration::from_millis(took),
    };
    look(&RequestFinished {
        id: "c-1",
        caller: Some("backend"),
        entrypoint: Entrypoint::BaseUrl,
        dialect: Some("playmobile"),
        operation: Operation::Send,
        route: Some("home"),
        recipient: Some(&Msisdn::parse("+998901234567").unwrap()),
        attempts: &[
            line(&main, &refused, 401, 2, 80),
            line(&backup, &accepted, 201, 85, 110),
        ],
        result: RequestResult::Accepted,
        method: "POST",
        status: 200,
        cause: Some(Cause::CredentialRejected),
        certainty: Some(Certainty::Certain),
        remedy: Some("CANARY remedy"),
        duplicate_age: None,
        duration: Duration::from_millis(200),
        parent,
    })
}

fn spans_of(call: &RequestFinished<'_>) -> Vec<Span> {
    let mut next = 0;
    let ids = || {
        next += 1;
        SpanId([next; 8])
    };
    from_event::request_spans(call, TraceId([0x4b; 16]), at(10_000), ids)
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let shown = |value: &Value| {
        if let Value::StringValue(text) = value {
            return text.clone();
        }
        let Value::IntValue(number) = value else {
            panic!("{value:?}")
        };
        number.to_string()
    };
    let pair = |pair: &'_ opentelemetry_proto::tonic::common::v1::KeyValue| {
        shown(pair.value.as_ref().unwrap().value.as_ref().unwrap())
    };
    span.attributes
        .iter()
        .map(|one| (one.key.as_str(), pair(one)))
        .collect()
}

fn all<'a>(pairs: &[(&'a str, &str)]) -> BTreeMap<&'a str, String> {
    pairs
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()))
        .collect()
}

/// The bytes that a queued span takes in memory.
fn held_bytes(span: &Span) -> usize {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.capacity(),
        _ => 0,
    };
    let pairs = span.attributes.iter();
    let texts: usize = pairs.map(|pair| pair.key.capacity() + text(pair)).sum();
    let ids = span.trace_id.capacity() + span.span_id.capacity() + span.parent_span_id.capacity();
    let names = span.name.capacity() + span.trace_state.capacity();
    size_of::<Span>() + span.attributes.capacity() * size_of::<KeyValue>() + texts + ids + names
}

/// The longest values that traffic can bring: the rest are names of the config.
#[test]
fn the_queue_is_bounded_in_bytes() {
    let mut headers = http::HeaderMap::new();
    let trace_parent = format!("00-{}-{}-01", "4b".repeat(16), "07".repeat(8));
    headers.insert("traceparent", trace_parent.parse().unwrap());
    let longest = (0..4096)
        .rev()
        .map(|length| {
            headers.insert("tracestate", "a".repeat(length).parse().unwrap());
            TraceParent::from_headers(&headers).unwrap()
        })
        .find(|parent| !parent.trace_state.is_empty())
        .unwrap();
    let host = format!("{}.test", "a".repeat(248));
    let held = rescued(Some(&longest), |call| {
        let attempts = call.attempts.iter().map(|attempt| AttemptRecord {
            server: Some((&host, 8443)),
            ..*attempt
        });
        let call = RequestFinished {
            attempts: &attempts.collect::<Vec<_>>(),
            ..*call
        };
        spans_of(&call).iter().map(held_bytes).max()
    });
    let held = held.unwrap() * MAX_QUEUED_SPANS;
    assert!(held <= 8 << 20, "{held} bytes");
}

#[test]
fn a_request_is_a_span_of_the_backends_trace_and_its_attempts_are_below_it() {
    let spans = rescued(Some(&parent(true)), spans_of);
    let [whole, first, second] = spans.as_slice() else {
        panic!("{spans:?}")
    };
    assert!(
        spans
            .iter()
            .all(|span| span.trace_id == [0x4b; 16] && span.trace_state == "congo=1")
    );
    assert_eq!(
        (&whole.parent_span_id[..], &whole.span_id[..], whole.flags),
        (&[7; 8][..], &[1; 8][..], 0x301)
    );
    for attempt in [first, second] {
        assert_eq!(
            (&attempt.parent_span_id[..], attempt.flags),
            (&[1; 8][..], 0x101)
        );
        assert_eq!(attempt.kind, i32::from(SpanKind::Client));
    }
    assert_eq!(
        (
            whole.name.as_str(),
            first.name.as_str(),
            second.name.as_str()
        ),
        ("send playmobile", "send main", "send backup")
    );
    assert_eq!(whole.kind, i32::from(SpanKind::Server));
    let times = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    assert_eq!(times(whole), (nanos(9_800), nanos(10_000)));
    assert_eq!(
        (times(first), times(second)),
        ((nanos(9_802), nanos(9_882)), (nanos(9_885), nanos(9_995)))
    );
}

#[test]
fn attributes_match_the_log_under_conventional_names_or_our_own() {
    let spans = rescued(None, spans_of);
    let [whole, first, second] = spans.as_slice() else {
        panic!("{spans:?}")
    };
    let call = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("sms_sidecar.id", "c-1"),
        ("sms_sidecar.caller", "backend"),
        ("sms_sidecar.entrypoint", "base-url"),
        ("sms_sidecar.dialect", "playmobile"),
        ("sms_sidecar.operation", "send"),
        ("sms_sidecar.route", "home"),
        ("sms_sidecar.result", "accepted"),
        ("sms_sidecar.cause", "credential-rejected"),
        ("sms_sidecar.certainty", "certain"),
    ];
    assert_eq!(attributes(whole), all(&call));
    let refused = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "401"),
        ("server.address", "api.test"),
        ("server.port", "8443"),
        ("error.type", "credential-rejected"),
        ("sms_sidecar.provider", "main"),
        ("sms_sidecar.kind", "send"),
        ("sms_sidecar.outcome", "rejected"),
        ("sms_sidecar.cause", "credential-rejected"),
        ("sms_sidecar.certainty", "certain"),
    ];
    assert_eq!(attributes(first), all(&refused));
    assert_eq!(attributes(second)["sms_sidecar.outcome"], "accepted");
    assert_eq!(
        (&whole.parent_span_id[..], whole.flags),
        (&[][..], 0x101),
        "without a span of the backend it is a root"
    );
    let status = |span: &Span| {
        span.status
            .as_ref()
            .map(|status| (status.code, status.message.clone()))
    };
    assert_eq!(
        (status(whole), status(second)),
        (None, None),
        "a request that was accepted after a failover has not failed"
    );
    assert_eq!(
        status(first),
        Some((StatusCode::Error.into(), "credential-rejected".to_owned()))
    );
    let bytes: Vec<u8> = spans.iter().flat_map(Message::encode_to_vec).collect();
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        !text.contains("CANARY") && !text.contains("1234567"),
        "{text}"
    );
}

#[test]
fn a_failed_request_is_an_error_but_a_request_that_is_itself_at_fault_is_not() {
    let ended = |result, status| {
        rescued(None, |call| {
            let spans = spans_of(&RequestFinished {
                result,
                status,
                attempts: &[],
                ..*call
            });
            let failed = attributes(&spans[0]).contains_key("error.type");
            assert_eq!(failed, spans[0].status.is_some());
            failed
        })
    };
    assert!(
        ended(RequestResult::NotSent, 503)
            && ended(RequestResult::InDoubt, 504)
            && ended(RequestResult::NotSent, 401)
    );
    assert!(ended(RequestResult::PassedThrough, 502) && ended(RequestResult::Denied, 503));
    assert!(
        !ended(RequestResult::MessageRejected, 400)
            && !ended(RequestResult::Denied, 403)
            && !ended(RequestResult::PassedThrough, 404)
    );
}

#[test]
fn the_backend_decides_what_is_traced_and_otherwise_a_share_is_traced() {
    for (share, parent_sampled, dice, traced, named) in [
        (None, None, 0.0, false, false),
        (None, Some(true), 0.0, false, true),
        (Some(0.0), Some(true), 0.99, true, true),
        (Some(1.0), Some(false), 0.0, false, true),
        (Some(0.3), None, 0.29, true, true),
        (Some(0.3), None, 0.3, false, false),
        (Some(0.0), None, 0.0, false, false),
        (Some(1.0), None, 0.999_999, true, true),
    ] {
        let mut fixture = fixture(share);
        *fixture.clock.0.lock().unwrap() = dice;
        let parent = parent_sampled.map(parent);
        let trace = rescued(parent.as_ref(), |call| {
            fixture
                .telemetry
                .tracer
                .record_request(call, &fixture.telemetry)
        });
        let case = format!("{share:?} {parent_sampled:?} {dice}");
        assert_eq!(
            fixture.spans.take_batch().map(|spans| spans.len()),
            traced.then_some(3),
            "{case}"
        );
        assert_eq!(trace.is_some(), named, "{case}: the trace id for the log");
        assert!(trace.is_none_or(|trace| trace.0 != [0; 16]), "{case}");
        assert_eq!(
            trace.map(|trace| trace.0 == [0x4b; 16]),
            parent.as_ref().map(|_| true).or(named.then_some(false)),
            "{case}"
        );
    }
}

#[test]
fn logins_and_probes_are_separate_traces_and_a_send_belongs_to_its_request() {
    let mut fixture = fixture(Some(1.0));
    let (main, refused) = (
        ProviderId::new("main"),
        Outcome::Rejected(Cause::CredentialRejected),
    );
    for kind in [
        AttemptKind::Send,
        AttemptKind::Passthrough,
        AttemptKind::Login,
        AttemptKind::Probe,
    ] {
        let took = Duration::from_millis(40);
        AttemptFinished {
            provider: &main,
            kind,
            outcome: &refused,
            status: Some(401),
            duration: took,
        }
        .emit(&fixture.telemetry);
    }
    let spans = fixture.spans.take_batch().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["login main", "probe main"]);
    assert!(
        spans
            .iter()
            .all(|span| span.parent_span_id.is_empty() && span.kind == i32::from(SpanKind::Client))
    );
    assert_eq!(
        spans[0].end_time_unix_nano - spans[0].start_time_unix_nano,
        nanos(40)
    );
    assert_eq!(
        attributes(&spans[0])["sms_sidecar.cause"],
        "credential-rejected"
    );
}

#[test]
fn with_a_full_queue_requests_continue_and_all_their_spans_are_dropped_and_counted() {
    let mut fixture = fixture(Some(1.0));
    assert_eq!(fixture.dropped("queue-full"), Some(0.0), "starts at zero");
    for _ in 0..1_000 {
        rescued(None, |call| call.emit(&fixture.telemetry));
    }
    let kept = MAX_QUEUED_SPANS / 3;
    assert_eq!(
        fixture.dropped("queue-full"),
        Some(f64::from(u32::try_from((1_000 - kept) * 3).unwrap()))
    );
    assert_eq!(fixture.spans.queued(), kept * 3);
    assert_eq!(
        fixture.spans.take_batch().map(|batch| batch.len()),
        Some(MAX_BATCH)
    );
    rescued(None, |call| call.emit(&fixture.telemetry));
    assert_eq!(
        fixture.spans.queued(),
        kept * 3 - MAX_BATCH + 3,
        "there is room again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_for_the_interval() {
    let fixture = fixture(Some(1.0));
    let soon = |limit| {
        tokio::time::timeout(
            Duration::from_secs(limit),
            fixture.spans.wait_for_batch(Duration::from_mins(1)),
        )
    };
    rescued(None, |call| call.emit(&fixture.telemetry));
    assert!(soon(59).await.is_err());
    assert!(soon(61).await.is_ok());
    for _ in 0..MAX_BATCH / 3 {
        rescued(None, |call| call.emit(&fixture.telemetry));
    }
    assert!(soon(0).await.is_ok());
}

#[test]
fn without_traces_there_are_no_span_series() {
    let mut fixture = fixture(None);
    rescued(Some(&parent(true)), |call| call.emit(&fixture.telemetry));
    assert!(fixture.spans.take_batch().is_none());
    let names: Vec<String> = fixture
        .registry
        .gather()
        .iter()
        .map(|family| family.name().to_owned())
        .collect();
    assert!(!names.iter().any(|name| name.contains("span")), "{names:?}");
}
