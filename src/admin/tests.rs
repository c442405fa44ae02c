//! Tests the probes and the page's headers, and uses a raw socket where the bytes on the wire matter.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::admin::{Admin, Pages, Readiness, serve_connection};
use crate::clock::SystemClock;
use crate::sms::ProviderId;
use crate::telemetry::{ConfigSummary, MetricsSchema, ProviderSummary, Telemetry};

fn admin(pages: Pages, readiness: &Readiness) -> Admin {
    let registry = Registry::new();
    let id = ProviderId::new("main");
    let provider = ProviderSummary {
        id: id.clone(),
        dialect: "playmobile".into(),
        base_url: "https://send.example".into(),
        credential: None,
    };
    let layout = ConfigSummary {
        providers: vec![provider],
        ..ConfigSummary::default()
    };
    let shape = MetricsSchema {
        providers: vec![(id, "playmobile".into())],
        config: layout,
        ..MetricsSchema::default()
    };
    let telemetry = Telemetry::new(&registry, &shape, Arc::new(SystemClock::start())).unwrap();
    Admin::new(registry, Arc::new(telemetry), readiness.clone(), pages)
}

fn all() -> Admin {
    admin(Pages::All, &Readiness::default())
}

async fn answer(admin: &Admin, request: http::request::Builder) -> (Response<()>, String) {
    let (parts, body) = admin.respond(&request.body(()).unwrap()).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(parts, ()),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn ask(admin: &Admin, method: Method, path: &str) -> (StatusCode, String) {
    let (reply, body) = answer(
        admin,
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:9125"),
    )
    .await;
    (reply.status(), body)
}

#[tokio::test]
async fn metrics_liveness_the_page_and_its_json_are_served() {
    let admin = all();
    let (status, text) = ask(&admin, Method::GET, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        text.contains("sms_sidecar_provider_state{provider=\"main\",state=\"healthy\"} 1"),
        "{text}"
    );
    assert_eq!(
        ask(&admin, Method::GET, "/live").await,
        (StatusCode::OK, "live\n".to_owned())
    );
    let (status, page) = ask(&admin, Method::GET, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("Do codes arrive?") && page.contains(">main</h3>"),
        "{page}"
    );
    let (status, json) = ask(&admin, Method::GET, "/status.json").await;
    assert_eq!(status, StatusCode::OK);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["providers"][0]["provider"], "main");
    assert_eq!(json["headline"]["deliverability"], "idle");
    for asset in ["/status.css", "/status.js", "/icon.svg"] {
        assert_eq!(
            ask(&admin, Method::GET, asset).await.0,
            StatusCode::OK,
            "{asset}"
        );
    }
    assert_eq!(
        ask(&admin, Method::GET, "/config").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_listener_for_other_hosts_serves_only_the_three_probes_under_any_name() {
    let admin = admin(Pages::Probes, &Readiness::default());
    for path in ["/metrics", "/live", "/ready"] {
        let (reply, _) = answer(
            &admin,
            Request::builder()
                .uri(path)
                .header("host", "sidecar.internal:9126"),
        )
        .await;
        assert_eq!(reply.status(), StatusCode::OK, "{path}");
    }
    for path in [
        "/",
        "/status.json",
        "/status.js",
        "/status.css",
        "/icon.svg",
    ] {
        assert_eq!(
            ask(&admin, Method::GET, path).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn methods_other_than_get_and_head_are_rejected() {
    let admin = all();
    for method in [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ] {
        for path in ["/", "/metrics", "/live", "/status.json"] {
            let (reply, _) = answer(
                &admin,
                Request::builder()
                    .method(&method)
                    .uri(path)
                    .header("host", "localhost"),
            )
            .await;
            assert_eq!(
                reply.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(reply.headers()["allow"], "GET, HEAD");
        }
    }
    assert_eq!(ask(&admin, Method::HEAD, "/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn every_response_forbids_foreign_content_and_framing() {
    let admin = all();
    for path in [
        "/",
        "/status.json",
        "/status.js",
        "/metrics",
        "/live",
        "/nowhere",
    ] {
        let (reply, _) = answer(
            &admin,
            Request::builder().uri(path).header("host", "localhost"),
        )
        .await;
        let header = |name: &str| reply.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"),
            "{path}: {policy}"
        );
        let expected = [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ];
        for (name, value) in expected {
            assert_eq!(header(name), value, "{path}");
        }
        assert!(!reply.headers().contains_key("set-cookie"), "{path}");
    }
}

#[tokio::test]
async fn other_host_names_and_other_sites_see_only_the_probes() {
    let admin = all();
    for path in ["/", "/status.json", "/metrics", "/status.js"] {
        let (rebound, text) = answer(
            &admin,
            Request::builder()
                .uri(path)
                .header("host", "evil.example:9125"),
        )
        .await;
        assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(
            !text.contains("main") && text.contains("localhost"),
            "{text}"
        );
        let foreign = Request::builder()
            .uri(path)
            .header("host", "localhost")
            .header("sec-fetch-site", "cross-site");
        assert_eq!(
            answer(&admin, foreign).await.0.status(),
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    let probe = Request::builder()
        .uri("/ready")
        .header("host", "pod.cluster.local");
    assert_eq!(answer(&admin, probe).await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn readiness_waits_for_every_guard_and_lists_them() {
    let readiness = Readiness::default();
    let admin = admin(Pages::All, &readiness);
    let (config, first, second) = (
        readiness.register("config"),
        readiness.register("listeners"),
        readiness.register("listeners"),
    );
    let expected = "not ready, waiting for: config, listeners\n".to_owned();
    assert_eq!(
        ask(&admin, Method::GET, "/ready").await,
        (StatusCode::SERVICE_UNAVAILABLE, expected)
    );
    assert!(
        ask(&admin, Method::GET, "/")
            .await
            .1
            .contains("Not ready yet; waiting for: config, listeners.")
    );
    drop(config);
    drop(first);
    assert_eq!(
        ask(&admin, Method::GET, "/ready").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        ask(&admin, Method::GET, "/live").await.0,
        StatusCode::OK,
        "still alive"
    );
    drop(second);
    assert_eq!(
        ask(&admin, Method::GET, "/ready").await,
        (StatusCode::OK, "ready\n".to_owned())
    );
}

/// The client end of a served connection.
fn connect(admin: &Admin) -> DuplexStream {
    let (ours, theirs) = duplex(256 << 10);
    tokio::spawn(serve_connection(theirs, admin.clone()));
    ours
}

/// Writes `request` and reads until the server closes the connection.
async fn raw(request: &[u8]) -> String {
    let mut socket = connect(&all());
    // The server may close the connection before it has read everything.
    socket.write_all(request).await.unwrap_or_default();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap_or_default();
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_gets_its_answer() {
    let mut socket = connect(&all());
    let request = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
}

#[tokio::test]
async fn head_responses_have_no_body_and_oversized_or_malformed_requests_are_rejected() {
    let page = raw(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\nlive\n"),
        "{page}"
    );
    let head = raw(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    for huge in [
        format!(
            "GET /live HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(64 << 10)
        ),
        format!(
            "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "x".repeat(64 << 10)
        ),
        format!(
            "GET /live HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
            "A: b\r\n".repeat(4_000)
        ),
    ] {
        let reply = raw(huge.as_bytes()).await;
        assert!(
            reply.is_empty() || reply.starts_with("HTTP/1.1 4"),
            "{reply}"
        );
    }
    for malformed in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"GET /live HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /live HTTP/1.1\r\nA B: c\r\n\r\n",
    ] {
        let reply = raw(malformed).await;
        assert!(
            reply.is_empty() || reply.starts_with("HTTP/1.1 4"),
            "{malformed:?}: {reply}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_an_incomplete_head_is_closed() {
    let mut socket = connect(&all());
    let began = tokio::time::Instant::now();
    socket
        .write_all(b"GET /live HTTP/1.1\r\nHost: loc")
        .await
        .unwrap();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap_or_default();
    assert!(
        began.elapsed() <= Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_client_that_holds_every_slot_cannot_block_a_probe() {
    let admin = all();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut socket = connect(&admin);
        socket
            .write_all(b"GET /live HTTP/1.1\r\nHost: ")
            .await
            .unwrap();
        held.push(socket);
    }
    let mut probe = connect(&admin);
    probe
        .write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut reply = String::new();
    probe.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    let mut first = Vec::new();
    held[0].read_to_end(&mut first).await.unwrap_or_default();
    assert!(first.is_empty(), "the oldest connection was evicted");
}
