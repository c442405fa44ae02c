//! Tests the request to a collector, the meaning of its replies, and how long a failing one is retried.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prometheus::Registry;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::SystemClock;
use crate::dialect::Reply;
use crate::net::background::SHUTDOWN_GRACE;
use crate::net::drain::Phase;
use crate::net::upstream::ExchangeError;
use crate::sms::{AttemptKind, Cause, Outcome, ProviderId};
use crate::telemetry::{AttemptFinished, MetricsSchema};

fn endpoint(text: &str) -> Uri {
    text.parse().unwrap()
}

fn answered(
    status: u16,
    headers: &[(&'static str, &str)],
    body: Vec<u8>,
) -> Result<usize, ExportError> {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, value.parse().unwrap());
    }
    let reply = Reply {
        status: status.try_into().unwrap(),
        headers: all,
        body: body.into(),
    };
    otlp::parse_reply(&endpoint("http://collector.test:4318"), Ok(reply))
}

#[test]
fn the_request_is_otlp_over_http() {
    let span = Span {
        name: "send main".into(),
        ..Span::default()
    };
    let body = otlp::encode_request(vec![span], "login-sms", "1.2.3");
    for (base, url) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        (
            "https://collector.test/otlp/",
            "https://collector.test/otlp/v1/traces",
        ),
    ] {
        let outgoing = otlp::build_request(&endpoint(base), body.clone(), "1.2.3").unwrap();
        assert_eq!(
            (outgoing.method.as_str(), outgoing.url.to_string().as_str()),
            ("POST", url)
        );
        assert_eq!(outgoing.headers["content-type"], "application/x-protobuf");
        assert_eq!(outgoing.headers["user-agent"], "sms-sidecar/1.2.3");
    }
    let whole = ExportTraceServiceRequest::decode(body).unwrap();
    let [one] = whole.resource_spans.as_slice() else {
        panic!("{whole:?}")
    };
    let resource = format!("{:?}", one.resource);
    assert!(
        resource.contains("service.name")
            && resource.contains("login-sms")
            && resource.contains("1.2.3"),
        "{resource}"
    );
    assert_eq!(
        one.scope_spans[0].scope.as_ref().unwrap().name,
        "sms-sidecar"
    );
    assert_eq!(one.scope_spans[0].spans[0].name, "send main");
}

#[test]
fn a_success_may_reject_some_of_the_spans() {
    assert_eq!(answered(200, &[], Vec::new()), Ok(0));
    assert_eq!(
        answered(202, &[], b"<html>".to_vec()),
        Ok(0),
        "an unreadable success still accepts them"
    );
    let partial = |rejected_spans| {
        let partial_success = Some(ExportTracePartialSuccess {
            rejected_spans,
            error_message: "CANARY".into(),
        });
        answered(
            200,
            &[],
            ExportTraceServiceResponse { partial_success }.encode_to_vec(),
        )
    };
    assert_eq!((partial(3), partial(0), partial(-1)), (Ok(3), Ok(0), Ok(0)));
}

#[test]
fn only_a_batch_that_was_certainly_not_accepted_is_sent_again() {
    for (status, again, loss) in [
        (429, true, SpanDropReason::Failed),
        (502, true, SpanDropReason::Failed),
        (503, true, SpanDropReason::Failed),
        (504, true, SpanDropReason::Failed),
        (400, false, SpanDropReason::Rejected),
        (401, false, SpanDropReason::Rejected),
        (413, false, SpanDropReason::Rejected),
        (500, false, SpanDropReason::Failed),
        (301, false, SpanDropReason::Failed),
    ] {
        let error = answered(status, &[], b"CANARY".to_vec()).unwrap_err();
        assert_eq!((error.is_retryable, error.loss), (again, loss), "{status}");
        assert_eq!(
            error.message,
            format!("the collector at http://collector.test:4318/ answers {status}")
        );
    }
    let wait = |value| {
        answered(503, &[("retry-after", value)], Vec::new())
            .unwrap_err()
            .retry_after
    };
    assert_eq!(
        (wait("7"), wait("Wed, 21 Oct 2026 07:28:00 GMT"), wait("-1")),
        (Some(Duration::from_secs(7)), None, None)
    );
    let lost = |lost| {
        otlp::parse_reply(&endpoint("http://c.test"), Err(lost))
            .unwrap_err()
            .is_retryable
    };
    assert!(lost(ExchangeError::Unsent {
        cause: Cause::Unreachable,
        detail: "no connection".into()
    }));
    assert!(!lost(ExchangeError::Unknown {
        cause: Cause::Timeout,
        detail: "no answer".into()
    }));
    let without_body = |status: u16| {
        let head = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let lost = ExchangeError::BodyLost {
            head: Box::new(head),
            cause: Cause::ReplyUnreadable,
            detail: "cut".into(),
        };
        otlp::parse_reply(&endpoint("http://c.test"), Err(lost))
    };
    assert_eq!(without_body(200), Ok(0), "its status says enough");
    assert_eq!(
        without_body(401).unwrap_err().loss,
        SpanDropReason::Rejected
    );
}

/// A collector that answers the first `busy` requests with 503 and the others with 200. It sends the
/// number of each to the channel.
async fn collector(busy: usize) -> (Exporter, tokio::sync::mpsc::UnboundedReceiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings {
        endpoint: endpoint(&format!("http://{}", listener.local_addr().unwrap())),
        sample_ratio: 1.0,
        service_name: "sms-sidecar".into(),
        ca_file: None,
    };
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            assert!(read > 0);
            let status = if number < busy {
                "503 Busy\r\nRetry-After: 9"
            } else {
                "200 OK"
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send(number).unwrap();
        }
    });
    (Exporter::new(settings, "1.2.3").unwrap(), received)
}

#[tokio::test(start_paused = true)]
async fn a_busy_collector_is_retried_after_the_requested_delay_until_the_retries_run_out() {
    let (exporter, mut received) = collector(2).await;
    let began = tokio::time::Instant::now();
    assert_eq!(
        exporter
            .export_batch(
                vec![Span::default()],
                &watch::channel(None).1,
                &Drain::default()
            )
            .await,
        Ok(0)
    );
    assert!(
        began.elapsed() >= Duration::from_secs(18),
        "two delays of 9 s: {:?}",
        began.elapsed()
    );
    assert_eq!(
        (
            received.recv().await,
            received.recv().await,
            received.recv().await
        ),
        (Some(0), Some(1), Some(2))
    );
    let (exporter, mut received) = collector(usize::MAX).await;
    let error = exporter
        .export_batch(
            vec![Span::default()],
            &watch::channel(None).1,
            &Drain::default(),
        )
        .await
        .unwrap_err();
    assert_eq!(error.loss, SpanDropReason::Failed);
    received.close();
    let mut tries = 0;
    while received.recv().await.is_some() {
        tries += 1;
    }
    assert_eq!(tries, 1 + RETRY_DELAYS.len());
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_a_batch_is_sent_once_and_no_collector_is_waited_for() {
    let (exporter, _told) = collector(usize::MAX).await;
    let drain = Drain::default();
    drain.advance_to(Phase::Draining);
    let began = tokio::time::Instant::now();
    assert_eq!(
        exporter
            .export_batch(vec![Span::default()], &watch::channel(None).1, &drain)
            .await
            .unwrap_err()
            .loss,
        SpanDropReason::Failed
    );
    assert!(began.elapsed() <= SHUTDOWN_GRACE, "{:?}", began.elapsed());
}

/// Emits the end of one probe, which creates one span.
fn emit_probe(telemetry: &Telemetry) {
    AttemptFinished {
        provider: &ProviderId::new("main"),
        kind: AttemptKind::Probe,
        outcome: &Outcome::Accepted { id: String::new() },
        status: Some(200),
        duration: Duration::ZERO,
    }
    .emit(telemetry);
}

fn exported_spans(registry: &Registry) -> f64 {
    let family = registry
        .gather()
        .into_iter()
        .find(|family| family.name() == "sms_sidecar_spans_exported_total")
        .unwrap();
    family.get_metric()[0].get_counter().get_value()
}

#[tokio::test]
async fn queued_spans_are_exported_when_the_process_ends_and_when_the_config_changes() {
    let (exporter, mut received) = collector(0).await;
    let registry = Registry::new();
    let telemetry = Arc::new(
        Telemetry::new(
            &registry,
            &MetricsSchema::default(),
            Arc::new(SystemClock::start()),
        )
        .unwrap(),
    );
    let (current, exporters) = watch::channel(None);
    let drain = Drain::default();
    let task = tokio::spawn(export(
        exporters,
        telemetry.take_spans().unwrap(),
        Arc::clone(&telemetry),
        drain.clone(),
    ));
    telemetry.set_trace_sampling(Some(1.0));
    emit_probe(&telemetry);
    current.send_replace(Some(Arc::new(exporter)));
    assert_eq!(
        received.recv().await,
        Some(0),
        "spans that were queued before a collector was configured are exported"
    );
    emit_probe(&telemetry);
    current.send_replace(None);
    assert_eq!(
        received.recv().await,
        Some(1),
        "the old collector gets the spans that were queued for it"
    );
    while exported_spans(&registry) < 2.0 {
        tokio::task::yield_now().await;
    }
    let (exporter, mut received) = collector(0).await;
    current.send_replace(Some(Arc::new(exporter)));
    emit_probe(&telemetry);
    drain.advance_to(Phase::Draining);
    task.await.unwrap();
    assert_eq!(
        received.recv().await,
        Some(0),
        "the last spans are exported too"
    );
}

#[tokio::test(start_paused = true)]
async fn another_config_ends_the_retries_of_a_failing_collector() {
    let (exporter, mut received) = collector(usize::MAX).await;
    let (current, exporters) = watch::channel(None);
    let began = tokio::time::Instant::now();
    let drain = Drain::default();
    let deliver = exporter.export_batch(vec![Span::default()], &exporters, &drain);
    let change = async {
        assert_eq!(received.recv().await, Some(0));
        current.send_replace(None);
    };
    let (error, ()) = tokio::join!(deliver, change);
    assert_eq!(error.unwrap_err().loss, SpanDropReason::Failed);
    assert!(began.elapsed() < RETRY_DELAYS[0], "{:?}", began.elapsed());
    assert!(
        exporters.has_changed().unwrap(),
        "the change stays visible to later checks"
    );
}
