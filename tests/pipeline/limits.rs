//! What is foreign is bounded: a body of many values, in requests and replies, and connections to the control socket.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use sms_sidecar::net::drain::Drain;
use sms_sidecar::net::peer::Peer;
use sms_sidecar::net::server::ConnectionService;
use sms_sidecar::parse_limit::{MAX_DEPTH, MAX_VALUES};
use sms_sidecar::policy::MAX_ID_BYTES;
use sms_sidecar::proxy::Control;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake::{Fake, say, takes};
use crate::stage::{Stage, body, header, message, post, provider, route, with};

async fn stage_of(dialect: &str) -> (Fake, Stage) {
    let fake = Fake::open(|_, _| takes()).await;
    let stage = Stage::open(&(provider("a", dialect, &fake, "") + &route("a", "")));
    (fake, stage)
}

/// A body of half the size limit, made of one repeated value.
fn list_of(item: &str) -> String {
    let count = (1 << 19) / (item.len() + 1) - 1;
    format!("[{}]", vec![item; count].join(","))
}

#[tokio::test]
async fn a_request_of_too_many_values_is_denied_in_its_dialect() {
    let (fake, stage) = stage_of("playmobile").await;
    let deep = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    for (body, reason) in [
        (list_of("{}"), "10000 values"),
        (list_of(r#"{"a":1}"#), "10000 values"),
        (list_of("[1]"), "10000 values"),
        (
            format!(r#"{{"messages":{}}}"#, list_of("1")),
            "10000 values",
        ),
        (format!(r#"{{"messages":{deep}}}"#), "64 levels"),
    ] {
        let reply = stage.ask(post("/playmobile/broker-api/send", &body)).await;
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(
            (reply.status.as_u16(), header(&reply, "x-sms-sidecar-cause")),
            (413, "denied-by-policy")
        );
        assert!(
            text.contains("error-code") && text.contains(reason) && text.contains("split"),
            "{text}"
        );
    }
    assert_eq!(fake.count(), 0);
    let denied = stage.metric(
        "requests_total",
        &[("dialect", "playmobile"), ("result", "denied")],
    );
    assert_eq!(denied, 5.0);
}

#[tokio::test]
async fn forms_and_queries_are_bounded_too() {
    let (fake, stage) = stage_of("twilio").await;
    let path = "/twilio/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json";
    let pairs = "a=1&".repeat(MAX_VALUES);
    let mut form = post(path, &pairs);
    form.headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    let mut query = form.clone();
    query.body = Bytes::from_static(b"To=%2B998901234567&From=3700&Body=kod");
    query.query = Some(pairs.clone());
    let mut parts = form.clone();
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    parts.body = Bytes::from(part.repeat(MAX_VALUES + 1) + "--b--");
    let parts = with(parts, "content-type", "multipart/form-data; boundary=b");
    for request in [form, query, parts] {
        let reply = stage.ask(request).await;
        assert_eq!(reply.status.as_u16(), 413, "{}", body(&reply));
    }
    assert_eq!(fake.count(), 0);
}

/// The longest batch of the service is far from the limit.
#[tokio::test]
async fn a_full_batch_passes() {
    let (fake, stage) = stage_of("playmobile").await;
    fake.now(|_, _| say(200, "Request is received"));
    let one = |nth: usize| {
        let sms = serde_json::json!({ "originator": "3700", "content": { "text": "t" } });
        serde_json::json!({ "recipient": format!("99890{nth:07}"), "message-id": "m", "sms": sms })
    };
    let messages: Vec<_> = (0..100).map(one).collect();
    let batch = serde_json::json!({ "messages": messages }).to_string();
    let reply = stage.ask(post("/playmobile/broker-api/send", &batch)).await;
    assert_eq!((reply.status.as_u16(), fake.count()), (200, 1));
}

/// The reply cannot be read: what was sent stays in doubt, unless the status says that it was not taken.
#[tokio::test]
async fn a_reply_of_too_many_values_proves_nothing() {
    for (status, expected) in [(202, 504), (500, 504), (503, 503), (400, 503)] {
        let (fake, stage) = stage_of("plain").await;
        fake.now(move |_, _| {
            say(
                status,
                &format!(
                    r#"{{"id":"id-1","status":"accepted","more":{}}}"#,
                    list_of("{}")
                ),
            )
        });
        let reply = stage.ask(message("kod 1")).await;
        assert_eq!(
            reply.status.as_u16(),
            expected,
            "{status}: {}",
            body(&reply)
        );
        assert!(reply.body.len() < 1000);
    }
}

/// An id longer than any service issues passes, and is not remembered; nor is a large reply. A duplicate is not sent.
#[tokio::test]
async fn a_huge_id_passes_and_is_not_remembered() {
    let (fake, stage) = stage_of("plain").await;
    let id = "i".repeat(900_000);
    let reply = format!(r#"{{"id":"{id}","status":"accepted"}}"#);
    fake.now(move |_, _| say(202, &reply));
    let first = stage.ask(message("kod 1")).await;
    assert_eq!(
        (first.status.as_u16(), body(&first).contains(&id)),
        (202, true)
    );
    let duplicate = stage.ask(message("kod 1")).await;
    assert_eq!((duplicate.status.as_u16(), fake.count()), (202, 1));
    let own: serde_json::Value = serde_json::from_slice(&duplicate.body).unwrap();
    let own = own["id"].as_str().unwrap();
    assert!((1..100).contains(&own.len()), "{own}");

    let translated = Stage::open(
        &(provider("a", "plain", &fake, "")
            + &provider("t", "twilio", &fake, "")
            + &route("a", "")),
    );
    let path = "/twilio/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json";
    let form = with(
        post(path, "To=%2B998901234567&From=3700&Body=kod"),
        "content-type",
        "application/x-www-form-urlencoded",
    );
    for _ in 0..2 {
        assert_eq!(translated.ask(form.clone()).await.status.as_u16(), 201);
    }
    assert_eq!(fake.count(), 2);
}

/// A reply that is too large to be remembered whole; its id is remembered up to the limit of ids.
#[tokio::test]
async fn an_id_is_remembered_up_to_its_limit() {
    let (fake, stage) = stage_of("plain").await;
    for (length, is_remembered) in [(MAX_ID_BYTES, true), (MAX_ID_BYTES + 1, false)] {
        let id = "i".repeat(length);
        let more = "x".repeat(5000);
        let reply = format!(r#"{{"id":"{id}","status":"accepted","more":"{more}"}}"#);
        fake.now(move |_, _| say(202, &reply));
        let text = format!("kod {length}");
        stage.ask(message(&text)).await;
        let duplicate = stage.ask(message(&text)).await;
        assert_eq!(body(&duplicate).contains(&id), is_remembered, "{length}");
    }
    assert_eq!(fake.count(), 2);
}

/// Clients that connect to the control socket and send half a request, in its head or in its body.
#[tokio::test]
async fn half_requests_keep_no_operator_out() {
    let a = Fake::open(|_, _| takes()).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
    let control = Control::new(Arc::clone(&stage.proxy));
    let mut held = Vec::new();
    for half in [
        "",
        "GET /sta",
        "POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ]
    .repeat(20)
    {
        let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        ours.write_all(half.as_bytes()).await.unwrap();
        let shared = control.clone();
        tokio::spawn(async move {
            shared
                .serve(theirs, Peer::default(), Drain::default())
                .await;
        });
        held.push(ours);
        let answer = stage.control_over(&control, "GET /status", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let mut first = held.remove(0);
    assert_eq!(
        first.read(&mut [0]).await.unwrap(),
        0,
        "the oldest is evicted"
    );
}
