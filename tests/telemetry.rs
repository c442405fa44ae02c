//! The log of a whole process: it is installed once, it takes the events of the `log` crate,
//! and even at `trace` it shows no byte that went over a socket.
#![expect(clippy::unwrap_used, reason = "a socket that fails is a failed test")]

use std::io;
use std::sync::{Arc, Mutex};

use sms_sidecar::admin::{Admin, Pages, Readiness, serve_connection};
use sms_sidecar::clock::SystemClock;
use sms_sidecar::telemetry::log::{Format, InitError, init};
use sms_sidecar::telemetry::{MetricsSchema, Telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_at_trace_shows_no_bytes_of_a_request() {
    let lines = Lines::default();
    let copy = lines.clone();
    init(Format::Json, "trace", move || copy.clone()).unwrap();
    assert!(
        matches!(
            init(Format::Json, "info", io::sink),
            Err(InitError::AlreadyInitialized)
        ),
        "the log is installed once"
    );

    tracing_log::log::trace!(target: "pingora_core::protocols", "read CANARY-LOG-TRACE");
    tracing_log::log::debug!(target: "rustls::client::hs", "sending CANARY-LOG-DEBUG");
    tracing_log::log::warn!(target: "pingora_core::server", "a warning of a library");
    tracing::trace!(target: "hyper::proto::h1::conn", "CANARY-TRACE");
    request_with_canary().await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("CANARY"), "{text}");
    assert!(text.contains("a warning of a library"), "{text}");
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

/// A real request over a real socket, with a secret in query, header and body.
async fn request_with_canary() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = prometheus::Registry::new();
    let telemetry = Telemetry::new(
        &registry,
        &MetricsSchema::default(),
        Arc::new(SystemClock::start()),
    )
    .unwrap();
    let admin = Admin::new(
        registry,
        Arc::new(telemetry),
        Readiness::default(),
        Pages::All,
    );
    let server =
        tokio::spawn(
            async move { serve_connection(listener.accept().await.unwrap().0, admin).await },
        );
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics?key=CANARY-QUERY HTTP/1.1\r\nHost: localhost\r\nAuthorization: CANARY-HEADER\r\nContent-Length: 11\r\nConnection: close\r\n\r\nCANARY-BODY";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    server.await.unwrap();
}
