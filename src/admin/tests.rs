//! The three probes, the page, and a raw socket where the wire matters.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use prometheus::{IntGaugeVec, Opts, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::admin::{Admin, Pages, Readiness, serve};

fn registry() -> Registry {
    let registry = Registry::new();
    let standing = IntGaugeVec::new(Opts::new("sms_sidecar_provider_standing", "standing"), &["provider", "standing"]).unwrap();
    registry.register(Box::new(standing.clone())).unwrap();
    standing.with_label_values(&["main", "aside"]).set(1);
    standing.with_label_values(&["main", "open"]).set(0);
    let first = IntGaugeVec::new(Opts::new("sms_sidecar_route_first_choice", "first"), &["route"]).unwrap();
    registry.register(Box::new(first.clone())).unwrap();
    first.with_label_values(&["uzbekistan"]).set(0);
    registry
}

async fn ask(admin: &Admin, method: Method, path: &str) -> (StatusCode, String) {
    let reply = admin.answer(&method, path);
    let status = reply.status();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn metrics_live_and_the_page_answer() {
    let admin = Admin::new(registry(), Readiness::default(), Pages::All);
    let (status, text) = ask(&admin, Method::GET, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("sms_sidecar_provider_standing{provider=\"main\",standing=\"aside\"} 1"), "{text}");
    assert_eq!(ask(&admin, Method::GET, "/live").await, (StatusCode::OK, "live\n".to_owned()));
    let (status, page) = ask(&admin, Method::GET, "/").await;
    assert_eq!(status, StatusCode::OK);
    for part in ["ready", "/metrics", "main                     aside", "uzbekistan               runs on a backup"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(page.matches("  main ").count(), 1, "{page}");
    assert_eq!(ask(&admin, Method::GET, "/config").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_listener_for_other_hosts_has_the_three_probes_only() {
    let admin = Admin::new(registry(), Readiness::default(), Pages::Probes);
    for path in ["/metrics", "/live", "/ready"] {
        assert_eq!(ask(&admin, Method::GET, path).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(ask(&admin, Method::GET, "/").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_but_get_and_head() {
    let admin = Admin::new(registry(), Readiness::default(), Pages::All);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT, Method::TRACE] {
        let reply = admin.answer(&method, "/metrics");
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.headers()["allow"], "GET, HEAD");
    }
    assert_eq!(ask(&admin, Method::HEAD, "/ready").await.0, StatusCode::OK);
}

#[tokio::test]
async fn ready_waits_for_every_guard_and_names_them() {
    let readiness = Readiness::default();
    let admin = Admin::new(registry(), readiness.clone(), Pages::All);
    let (config, first, second) = (readiness.wait_for("config"), readiness.wait_for("listeners"), readiness.wait_for("listeners"));
    let expected = "not ready, waiting for: config, listeners\n".to_owned();
    assert_eq!(ask(&admin, Method::GET, "/ready").await, (StatusCode::SERVICE_UNAVAILABLE, expected));
    drop(config);
    drop(first);
    assert_eq!(ask(&admin, Method::GET, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&admin, Method::GET, "/live").await.0, StatusCode::OK, "alive all the same");
    drop(second);
    assert_eq!(ask(&admin, Method::GET, "/ready").await, (StatusCode::OK, "ready\n".to_owned()));
}

/// Writes `request` to a served listener and reads until the other side closes.
async fn raw(request: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let admin = Admin::new(registry(), Readiness::default(), Pages::All);
    let server = tokio::spawn(serve(listener, admin, async move { drop(stopped.await) }));
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap_or_default();
    stop.send(()).unwrap();
    server.await.unwrap();
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn the_wire_shows_a_page_a_head_without_body_and_a_limit() {
    let page = raw(b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\nlive\n"), "{page}");
    let head = raw(b"HEAD /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(head.contains("content-length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let mut large = b"GET /live HTTP/1.1\r\nHost: x\r\nX-Large: ".to_vec();
    large.extend(std::iter::repeat_n(b'a', 20_000));
    let refused = raw(&large).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
}
