//! Each way an exchange can fail, distinguished by whether a byte was written.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::pool::{MAX_IDLE_CONNECTIONS, MAX_ORIGINS};
use super::*;
use crate::net::byte_budget::FREE_BYTES;
use crate::net::drain::Drain;
use crate::reply_parser::tests::flooding_server;

const SECOND: Duration = Duration::from_secs(1);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn client() -> UpstreamClient {
    UpstreamClient::new(
        UpstreamSettings {
            insecure_http: true,
            ..UpstreamSettings::default()
        },
        1 << 16,
    )
    .unwrap()
}

fn post(scheme: &str, to: SocketAddr) -> ProviderRequest {
    let url = format!("{scheme}://{to}/send?a=1").parse().unwrap();
    ProviderRequest {
        method: Method::POST,
        url,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"to=1"),
    }
}

/// One request's head and 4-byte body, or nothing if the other side closed.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\nto=1") {
        text.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(text).ok()
}

/// Reads the same on a thread of its own.
fn read_request_blocking(stream: &mut impl std::io::Read) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\nto=1") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
}

/// Answers every request on a connection.
async fn answer_all(stream: &mut TcpStream, sender: impl Fn(String)) {
    while let Some(text) = request(stream).await {
        sender(text);
        stream.write_all(OK.as_bytes()).await.unwrap();
    }
}

/// The same; tells when the other side has closed.
async fn answer_until_closed(mut stream: TcpStream, closed: UnboundedSender<()>) {
    answer_all(&mut stream, |_| {}).await;
    closed.send(()).unwrap();
}

/// Writes megabytes until the other side closes; returns how many.
async fn poured(stream: &mut TcpStream, most: usize) -> usize {
    let block = vec![0; 1 << 20];
    for sent in 0..most {
        if stream.write_all(&block).await.is_err() {
            return sent;
        }
    }
    most
}

/// A server that runs `script` on every connection, with the connection's number; returns its address.
async fn server<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(number, stream));
        }
    });
    address
}

/// A server that keeps its connections open.
async fn keep_answering() -> SocketAddr {
    server(|_, mut stream| async move {
        answer_all(&mut stream, |_| {}).await;
    })
    .await
}

/// A server that reads one request, writes `answer`, and closes.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    server(move |_, mut stream| async move {
        request(&mut stream).await.unwrap();
        stream.write_all(answer).await.unwrap();
    })
    .await
}

async fn lost(answer: &'static [u8]) -> ExchangeError {
    let address = answering(answer).await;
    client()
        .exchange(post("http", address), 5 * SECOND)
        .await
        .unwrap_err()
}

fn cause(lost: &ExchangeError) -> (&'static str, Cause) {
    match lost {
        ExchangeError::Unsent { cause, .. } => ("unsent", *cause),
        ExchangeError::Unknown { cause, .. } => ("unknown", *cause),
        ExchangeError::BodyLost { cause, .. } => ("body lost", *cause),
    }
}

#[tokio::test]
async fn a_request_goes_out_plain_and_whole() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |number, mut stream| {
        let sender = sender.clone();
        async move {
            answer_all(&mut stream, |text| sender.send((number, text)).unwrap()).await;
        }
    })
    .await;
    let client = client().with_via_marker("sms-sidecar-1");
    let mut outgoing = post("http", address);
    outgoing
        .headers
        .insert("accept-encoding", HeaderValue::from_static("gzip"));
    outgoing
        .headers
        .insert("proxy-authorization", HeaderValue::from_static("Basic x"));
    outgoing
        .headers
        .insert("authorization", HeaderValue::from_static("Basic y"));
    outgoing.headers.insert(
        "traceparent",
        HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    );
    for _ in 0..2 {
        let reply = client.exchange(outgoing.clone(), SECOND).await.unwrap();
        assert_eq!(
            (reply.status, &reply.body[..]),
            (StatusCode::OK, &b"ok"[..])
        );
    }
    let (first, text) = received.recv().await.unwrap();
    assert!(text.starts_with("POST /send?a=1 HTTP/1.1\r\n"), "{text}");
    for line in [
        &format!("host: {address}"),
        "accept-encoding: identity",
        "content-length: 4",
        "via: 1.1 sms-sidecar-1",
        "authorization: Basic y",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    assert!(
        !text.contains("proxy-") && !text.contains("gzip") && !text.contains("trace"),
        "{text}"
    );
    assert_eq!(
        received.recv().await.unwrap().0,
        first,
        "the connection is used again"
    );
}

#[tokio::test]
async fn a_closed_port_is_unsent() {
    let address = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let lost = client()
        .exchange(post("http", address), SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unsent", Cause::Unreachable));
}

#[tokio::test]
async fn credentials_are_not_sent_in_clear_unless_configured() {
    let strict = UpstreamClient::new(UpstreamSettings::default(), 100).unwrap();
    let lost = strict
        .exchange(post("http", "127.0.0.1:9".parse().unwrap()), SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unsent", Cause::EndpointWrong));
    assert!(lost.to_string().contains("insecure_http"), "{lost}");
}

#[tokio::test]
async fn failures_after_the_request_are_in_doubt() {
    assert_eq!(cause(&lost(b"").await), ("unknown", Cause::Unreachable));
    assert_eq!(
        cause(&lost(b"220 mail.test ESMTP\r\n\r\n").await),
        ("unknown", Cause::ReplyUnreadable)
    );
    assert_eq!(
        cause(&lost(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").await),
        ("body lost", Cause::ReplyUnreadable)
    );
    let packed =
        lost(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx").await;
    assert_eq!(cause(&packed), ("body lost", Cause::ReplyUnreadable));
    assert!(packed.to_string().contains("compressed"), "{packed}");
}

fn numbered_headers(many: usize) -> String {
    let lines: Vec<String> = (0..many).map(|at| format!("X-{at}: 1\r\n")).collect();
    lines.concat()
}

/// A reply of these header lines, in one piece.
async fn headed(lines: String) -> Result<Reply, ExchangeError> {
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok");
    let address = server(move |_, mut stream| {
        let text = text.clone();
        async move {
            request(&mut stream).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    })
    .await;
    client().exchange(post("http", address), 5 * SECOND).await
}

#[tokio::test]
async fn replies_that_are_not_quite_http_are_read() {
    let many = numbered_headers(250);
    for (lines, value) in [
        ("X-A: 1\r\n".to_owned(), "1"),
        ("X-A: 1\r\n 2\r\n\t3\r\n".to_owned(), "1 2 3"),
        ("X-A : 1\r\n".to_owned(), "1"),
        ("X-A\t: 1\r\n".to_owned(), "1"),
        ("X-A: 1\nX-B: 2\n".to_owned(), "1"),
        ("this is not a header\r\nX-A: 1\r\n".to_owned(), "1"),
        ("X B: 1\r\nX-A: 1\r\n".to_owned(), "1"),
        (format!("{many}X-A: 1\r\n"), "1"),
        (format!("X-Long: {}\r\nX-A: 1\r\n", "x".repeat(60_000)), "1"),
    ] {
        let shown: String = lines.chars().take(60).collect();
        let reply = headed(lines)
            .await
            .unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        let read = reply
            .headers
            .get("x-a")
            .map(|value| value.to_str().unwrap());
        let read = read.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(read.as_deref(), Some(value), "{shown:?}");
        assert_eq!(&reply.body[..], b"ok", "{shown:?}");
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_is_named_for_what_it_is() {
    let many = numbered_headers(300);
    for lines in [many, format!("X-Long: {}\r\n", "x".repeat(70_000))] {
        let lost = headed(lines).await.unwrap_err();
        assert_eq!(cause(&lost), ("body lost", Cause::ReplyUnreadable));
        assert!(
            lost.to_string()
                .contains("more than 256 headers or more than 64 KiB"),
            "{lost}"
        );
    }
    for (answer, why) in [
        (
            &b"220 mail.test ESMTP\r\n\r\n"[..],
            "not HTTP/1.1 (invalid HTTP version",
        ),
        (
            b"HTTP/1.1 99999 OK\r\n\r\n",
            "not HTTP/1.1 (invalid HTTP status-code",
        ),
    ] {
        let lost = lost(answer).await;
        assert_eq!(cause(&lost), ("unknown", Cause::ReplyUnreadable), "{lost}");
        assert!(lost.to_string().contains(why), "{lost}");
    }
    for (answer, why) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"[..],
            "not HTTP/1.1 (invalid content-length parsed) (status 200)",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "not HTTP/1.1 (invalid content-length parsed) (status 200)",
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Le",
            "broke off its reply (status 200)",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ntwo\r\nok\r\n0\r\n\r\n",
            "chunks are not valid (status 200)",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok",
            "broke off its reply (status 200)",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal",
            "broke off its reply (status 200)",
        ),
    ] {
        let lost = lost(answer).await;
        assert_eq!(
            cause(&lost),
            ("body lost", Cause::ReplyUnreadable),
            "{lost}"
        );
        assert_eq!(lost.head().unwrap().status, StatusCode::OK, "{lost}");
        assert!(lost.to_string().contains(why), "{lost}");
    }
}

/// Sends requests to a healthy provider, one after the other.
async fn send_to_healthy(client: &UpstreamClient, healthy: SocketAddr) {
    for _ in 0..20 {
        let reply = client.exchange(post("http", healthy), 10 * SECOND).await;
        assert_eq!(reply.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_flood_of_interim_replies_ends_the_exchange_and_holds_up_nobody() {
    let healthy = keep_answering().await;
    let client = client();
    for _ in 0..3 {
        let (flooding, end) = flooding_server();
        let attempt = client.exchange(post("http", flooding), 60 * SECOND);
        let (attempt, ()) = tokio::join!(attempt, send_to_healthy(&client, healthy));
        let error = attempt.unwrap_err();
        assert_eq!(cause(&error), ("unknown", Cause::ReplyUnreadable));
        let text = error.to_string();
        assert!(
            text.contains("more than 20 interim replies (1xx)"),
            "{text}"
        );
        let written = end.recv_timeout(10 * SECOND);
        assert!(written.unwrap() < 16 << 20, "{written:?}");
    }
}

#[tokio::test]
async fn interim_replies_within_the_limits_are_skipped_on_each_request_of_a_connection() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let at = server(|_, mut stream| async move {
        while request(&mut stream).await.is_some() {
            let reply = HINTS.repeat(15) + OK;
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await;
    let client = client();
    for _ in 0..4 {
        let reply = client.exchange(post("http", at), 10 * SECOND).await;
        assert_eq!(reply.unwrap().body, "ok");
    }
}

/// Interim replies that come one by one, below the limits.
#[tokio::test(start_paused = true)]
async fn the_time_limit_holds_while_interim_replies_come() {
    let at = server(|_, mut stream| async move {
        request(&mut stream).await;
        for _ in 0..20 {
            // Fails when the client has left.
            stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .ok();
            tokio::time::sleep(SECOND).await;
        }
    })
    .await;
    let error = client().exchange(post("http", at), 3 * SECOND).await;
    assert_eq!(cause(&error.unwrap_err()), ("unknown", Cause::Timeout));
}

#[tokio::test]
async fn silence_after_the_request_is_in_doubt() {
    let address = server(|_, mut stream| async move {
        request(&mut stream).await.unwrap();
        stream.read_u8().await.ok();
    })
    .await;
    let lost = client()
        .exchange(post("http", address), SECOND / 5)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unknown", Cause::Timeout));
}

#[tokio::test]
async fn a_stalled_body_is_in_doubt() {
    let address = server(|_, mut stream| async move {
        request(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
            .await
            .unwrap();
        stream.read_u8().await.ok();
    })
    .await;
    let lost = client()
        .exchange(post("http", address), SECOND / 5)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("body lost", Cause::Timeout));
}

#[tokio::test]
async fn silence_before_the_request_is_unsent() {
    let address = server(|_, mut stream| async move {
        let mut hello = [0; 4096];
        while stream.read(&mut hello).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let lost = client()
        .exchange(post("https", address), SECOND / 5)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unsent", Cause::Timeout));
}

#[tokio::test]
async fn two_hundred_megabytes_are_not_read() {
    let (sender, received) = tokio::sync::oneshot::channel();
    let sender = Arc::new(std::sync::Mutex::new(Some(sender)));
    let address = server(move |_, mut stream| {
        let sender = sender.lock().unwrap().take();
        async move {
            request(&mut stream).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
                .await
                .unwrap();
            sender
                .unwrap()
                .send(poured(&mut stream, 200).await)
                .unwrap();
        }
    })
    .await;
    let lost = client()
        .exchange(post("http", address), 5 * SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("body lost", Cause::ReplyUnreadable));
    assert!(received.await.unwrap() < 100);
}

/// Memory for one reply, and one that goes beyond it.
#[tokio::test]
async fn large_replies_wait_for_memory_and_say_so_if_there_is_none() {
    let length = FREE_BYTES + 1;
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let large: &'static str = (large + &"x".repeat(length)).leak();
    let address = answering(large.as_bytes()).await;
    let client = client().with_reply_budget(ByteBudget::new(1 << 10));
    let exchange = |timeout| client.exchange(post("http", address), timeout);
    let first = exchange(5 * SECOND).await.unwrap();
    let _beyond = exchange(5 * SECOND).await.unwrap();
    let lost = exchange(2 * SECOND).await.unwrap_err();
    assert_eq!(cause(&lost), ("body lost", Cause::DeniedByPolicy));
    assert!(lost.to_string().contains("`in_flight`"), "{lost}");
    let small = answering(OK.as_bytes()).await;
    let ordinary = client.exchange(post("http", small), 5 * SECOND).await;
    assert_eq!(ordinary.unwrap().body, "ok");
    let (second, ()) = tokio::join!(exchange(5 * SECOND), async {
        tokio::task::yield_now().await;
        drop(first);
    });
    assert_eq!(second.unwrap().body.len(), length);
}

#[tokio::test]
async fn a_redirect_is_only_reported() {
    let address = answering(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let reply = client()
        .exchange(post("http", address), SECOND)
        .await
        .unwrap();
    assert_eq!(reply.status, StatusCode::FOUND);
}

#[tokio::test]
async fn a_closed_pooled_connection_loses_no_request() {
    let (closed, mut closings) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |_, mut stream| {
        let closed = closed.clone();
        async move {
            request(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    })
    .await;
    let client = client();
    for _ in 0..20 {
        client
            .exchange(post("http", address), SECOND)
            .await
            .unwrap();
        closings.recv().await.unwrap();
    }
}

/// It may have acted on it: only a request that it cannot have is sent again.
#[tokio::test]
async fn a_request_that_the_provider_read_before_it_hung_up_is_not_repeated() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |number, mut stream| {
        let sender = sender.clone();
        async move {
            request(&mut stream).await.unwrap();
            sender.send(number).unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            request(&mut stream).await.unwrap();
            sender.send(number).unwrap();
        }
    })
    .await;
    let client = client();
    client
        .exchange(post("http", address), SECOND)
        .await
        .unwrap();
    let lost = client
        .exchange(post("http", address), SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost).0, "unknown", "{lost}");
    drop(client);
    assert_eq!(
        (received.recv().await, received.recv().await),
        (Some(0), Some(0))
    );
    assert!(received.try_recv().is_err(), "on one connection, once each");
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_not_reused() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |number, mut stream| {
        let sender = sender.clone();
        async move {
            answer_all(&mut stream, |_| sender.send(number).unwrap()).await;
        }
    })
    .await;
    let client = client();
    client
        .exchange(post("http", address), SECOND)
        .await
        .unwrap();
    tokio::time::pause();
    tokio::time::advance(5 * SECOND).await;
    tokio::time::resume();
    client
        .exchange(post("http", address), SECOND)
        .await
        .unwrap();
    assert_eq!(
        (received.recv().await, received.recv().await),
        (Some(0), Some(1))
    );
}

/// Nobody uses it meanwhile: a task closes it.
#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_in_time() {
    let (closed, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |_, stream| answer_until_closed(stream, closed.clone())).await;
    let client = client();
    for _ in 0..2 {
        client
            .exchange(post("http", address), SECOND)
            .await
            .unwrap();
        ends.recv().await.unwrap();
    }
}

/// In observe mode the backend names the hosts.
#[tokio::test]
async fn idle_connections_are_kept_to_a_limited_number_of_origins() {
    let client = client();
    for _ in 0..MAX_ORIGINS + 3 {
        let address = keep_answering().await;
        let request = post("http", address);
        client.exchange(request, 5 * SECOND).await.unwrap();
        assert!((1..=MAX_ORIGINS).contains(&client.pool.idle_counts().len()));
    }
    tokio::time::pause();
    tokio::time::advance(5 * SECOND).await;
    tokio::time::resume();
    let address = keep_answering().await;
    let request = post("http", address);
    client.exchange(request, 5 * SECOND).await.unwrap();
    assert_eq!(
        client.pool.idle_counts(),
        [1],
        "those that are too old make room"
    );
}

/// All requests of a crowd are in flight at once; afterwards only some of their connections are kept.
#[tokio::test]
async fn idle_connections_of_one_origin_are_limited() {
    let crowd = MAX_IDLE_CONNECTIONS + 3;
    let everybody = Arc::new(tokio::sync::Barrier::new(crowd));
    let address = server(move |_, mut stream| {
        let everybody = Arc::clone(&everybody);
        async move {
            request(&mut stream).await.unwrap();
            everybody.wait().await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            assert_eq!(request(&mut stream).await, None);
        }
    })
    .await;
    let client = Arc::new(client());
    let mut exchanges = tokio::task::JoinSet::new();
    for _ in 0..crowd {
        let client = Arc::clone(&client);
        exchanges.spawn(async move { client.exchange(post("http", address), 60 * SECOND).await });
    }
    assert!(exchanges.join_all().await.iter().all(Result::is_ok));
    assert_eq!(client.pool.idle_counts(), [MAX_IDLE_CONNECTIONS]);
}

/// The provider closes, and the sidecar writes before it has seen it: no task of the client runs
/// between the two.
#[tokio::test]
async fn a_request_that_meets_the_close_is_sent_on_another_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closing) = std::sync::mpsc::channel::<()>();
    let (closed, closings) = std::sync::mpsc::channel();
    let (sender, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request_blocking(&mut stream);
            sender.send(()).unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
            closing.recv().unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let client = client();
    for _ in 0..20 {
        client
            .exchange(post("http", address), 5 * SECOND)
            .await
            .unwrap();
        close.send(()).unwrap();
        // It blocks the only thread on purpose.
        closings.recv().unwrap();
    }
    assert_eq!(received.try_iter().count(), 20, "each request once");
}

/// The same with one that was opened in advance and has served nothing.
#[tokio::test]
async fn a_request_that_meets_the_close_of_a_warm_connection_is_sent_on_another_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closing) = std::sync::mpsc::channel::<()>();
    let (closed, closings) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        loop {
            let (warm, _) = listener.accept().unwrap();
            closing.recv().unwrap();
            drop(warm);
            closed.send(()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            read_request_blocking(&mut stream);
            stream
                .write_all(
                    OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
                        .as_bytes(),
                )
                .unwrap();
        }
    });
    let client = client();
    let origin = Authority::from_uri(&post("http", address).url).unwrap();
    for round in 0..20 {
        client.warm_up(&origin, 5 * SECOND).await.unwrap();
        assert_eq!(client.pool.idle_counts(), [1], "round {round}");
        close.send(()).unwrap();
        // It blocks the only thread on purpose.
        closings.recv().unwrap();
        let reply = client.exchange(post("http", address), 5 * SECOND).await;
        assert_eq!(reply.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn nothing_is_written_for_a_backend_that_left_or_after_the_deadline() {
    let address = server(|_, mut stream| async move {
        assert_eq!(request(&mut stream).await, None, "nothing is written");
    })
    .await;
    let (guard, backend) = ClientConnection::new(Drain::default());
    drop(guard);
    let lost = client()
        .exchange_for(&backend, post("http", address), SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unsent", Cause::DeniedByPolicy));
    let lost = client()
        .exchange(post("http", address), Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unsent", Cause::Timeout));
}

/// A TLS server on 127.0.0.1 with a certificate for `name`, and that certificate in a file.
async fn tls_server(name: &str) -> (SocketAddr, NamedTempFile, JoinHandle<()>) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(cert.pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            if request(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    });
    (address, file, task)
}

fn trusting(file: &NamedTempFile) -> UpstreamSettings {
    UpstreamSettings {
        ca_file: Some(file.path().to_path_buf()),
        ..UpstreamSettings::default()
    }
}

#[tokio::test]
async fn an_untrusted_certificate_is_unsent_and_the_error_names_the_setting() {
    let (address, file, _task) = tls_server("127.0.0.1").await;
    let without_ca = UpstreamClient::new(UpstreamSettings::default(), 100).unwrap();
    let lost = without_ca
        .exchange(post("https", address), SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unsent", Cause::TlsUntrusted));
    assert!(lost.to_string().contains("set `ca_file`"), "{lost}");
    let with_ca = UpstreamClient::new(trusting(&file), 100).unwrap();
    assert_eq!(
        with_ca
            .exchange(post("https", address), SECOND)
            .await
            .unwrap()
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_unsent() {
    let (address, file, _task) = tls_server("other.test").await;
    let lost = UpstreamClient::new(trusting(&file), 100)
        .unwrap()
        .exchange(post("https", address), SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&lost), ("unsent", Cause::TlsUntrusted));
    assert!(lost.to_string().contains("another name"), "{lost}");
}

#[test]
fn unreadable_roots_are_reported() {
    let none = UpstreamSettings {
        ca_file: Some("/nonexistent/roots.pem".into()),
        ..UpstreamSettings::default()
    };
    let error = UpstreamClient::new(none, 100).unwrap_err().to_string();
    assert!(
        error.contains("/nonexistent/roots.pem") && error.contains("ca_file"),
        "{error}"
    );
    let empty = NamedTempFile::new().unwrap();
    assert!(
        UpstreamClient::new(trusting(&empty), 100)
            .unwrap_err()
            .to_string()
            .contains("no certificate")
    );
}

async fn connect_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A CONNECT proxy that requires `pu:pp`.
async fn proxy() -> SocketAddr {
    server(|_, mut stream: TcpStream| async move {
        let head = connect_head(&mut stream).await;
        if !head.contains("Proxy-Authorization: Basic cHU6cHA=\r\n") {
            stream
                .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                .await
                .unwrap();
            return;
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let mut onward = TcpStream::connect(target).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .unwrap();
        copy(&mut stream, &mut onward).await;
    })
    .await
}

async fn copy(
    a: &mut (impl AsyncRead + AsyncWrite + Unpin),
    b: &mut (impl AsyncRead + AsyncWrite + Unpin),
) {
    tokio::io::copy_bidirectional(a, b).await.ok();
}

#[tokio::test]
async fn the_head_of_an_outbound_proxys_reply_is_limited() {
    for (length, is_read) in [(8 << 10, true), ((8 << 10) + 1, false)] {
        let proxy = server(move |_, mut stream| async move {
            connect_head(&mut stream).await;
            let start = "HTTP/1.1 200 OK\r\nx: ";
            let rest = "x".repeat(length - start.len() - 4);
            let head = format!("{start}{rest}\r\n\r\n");
            // A client that gives up closes before it has read all.
            stream.write_all(head.as_bytes()).await.unwrap_or_default();
        })
        .await;
        let settings = UpstreamSettings {
            proxy: Some(format!("http://{proxy}").parse().unwrap()),
            ..UpstreamSettings::default()
        };
        let lost = UpstreamClient::new(settings, 100)
            .unwrap()
            .exchange(post("https", proxy), 5 * SECOND)
            .await
            .unwrap_err()
            .to_string();
        let is_too_long = lost.contains("does not answer like one");
        assert_eq!(is_too_long, !is_read, "{length}: {lost}");
    }
}

#[tokio::test]
async fn the_outbound_proxy_is_used() {
    let (address, file, _task) = tls_server("127.0.0.1").await;
    let proxy = proxy().await;
    let through = |url: String| {
        let settings = UpstreamSettings {
            proxy: Some(url.parse().unwrap()),
            source_address: Some([127, 0, 0, 1].into()),
            ..trusting(&file)
        };
        UpstreamClient::new(settings, 100).unwrap()
    };
    let known = through(format!("http://pu:pp@{proxy}"));
    assert_eq!(
        known
            .exchange(post("https", address), SECOND)
            .await
            .unwrap()
            .status,
        StatusCode::OK
    );
    let shown = format!("{known:?}");
    assert!(
        !shown.contains("cHU6cHA=") && !shown.contains("pu:pp"),
        "{shown}"
    );
    let unknown = through(format!("http://{proxy}"))
        .exchange(post("https", address), SECOND)
        .await
        .unwrap_err();
    assert_eq!(cause(&unknown), ("unsent", Cause::Unreachable));
    assert!(unknown.to_string().contains("407"), "{unknown}");
}

#[tokio::test]
async fn connectivity_is_probed_step_by_step_and_nothing_is_written() {
    let (address, file, _task) = tls_server("127.0.0.1").await;
    let url =
        |scheme: &str, to: SocketAddr| -> Uri { format!("{scheme}://{to}/send").parse().unwrap() };
    let way = UpstreamClient::new(trusting(&file), 100)
        .unwrap()
        .probe_connectivity(&url("https", address), SECOND)
        .await
        .unwrap();
    assert_eq!(
        (way.first_hop, way.via_proxy, way.addresses.unwrap()),
        (address.to_string(), false, vec![address.ip()])
    );
    assert!(
        matches!(way.connection, Some(Ok(()))),
        "{:?}",
        way.connection
    );
    let certificate = way.certificate.unwrap().unwrap();
    assert!(
        certificate.expires
            > std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 1_000),
        "rcgen's last until 4096"
    );

    let without_ca = UpstreamClient::new(UpstreamSettings::default(), 100)
        .unwrap()
        .probe_connectivity(&url("https", address), SECOND)
        .await
        .unwrap();
    let distrusted = without_ca.certificate.unwrap().unwrap_err();
    assert_eq!(cause(&distrusted), ("unsent", Cause::TlsUntrusted));

    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let way = client()
        .probe_connectivity(&url("http", closed), SECOND)
        .await
        .unwrap();
    assert_eq!(
        way.connection.unwrap().as_ref().map_err(cause),
        Err(("unsent", Cause::Unreachable))
    );
    assert!(way.certificate.is_none());

    let unreachable = client()
        .probe_connectivity(&"https://sms.invalid/".parse().unwrap(), SECOND)
        .await
        .unwrap();
    assert_eq!(
        unreachable.addresses.as_ref().map_err(cause),
        Err(("unsent", Cause::Unreachable))
    );
    assert!(unreachable.connection.is_none());
    assert_eq!(
        cause(
            &client()
                .probe_connectivity(&"ftp://x/".parse().unwrap(), SECOND)
                .await
                .unwrap_err()
        ),
        ("unsent", Cause::EndpointWrong)
    );
}

#[tokio::test]
async fn a_connectivity_step_that_hangs_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Uri = format!("https://{}/", silent.local_addr().unwrap())
        .parse()
        .unwrap();
    let way = UpstreamClient::new(UpstreamSettings::default(), 100)
        .unwrap()
        .probe_connectivity(&url, Duration::from_millis(200))
        .await
        .unwrap();
    assert_eq!(
        way.certificate.unwrap().as_ref().map_err(cause).map(|_| ()),
        Err(("unsent", Cause::Timeout))
    );
}

#[tokio::test]
async fn connectivity_is_probed_through_the_proxy() {
    let (address, file, _task) = tls_server("127.0.0.1").await;
    let proxy = proxy().await;
    let settings = UpstreamSettings {
        proxy: Some(format!("http://pu:pp@{proxy}").parse().unwrap()),
        ..trusting(&file)
    };
    let url: Uri = format!("https://{address}/").parse().unwrap();
    let way = UpstreamClient::new(settings, 100)
        .unwrap()
        .probe_connectivity(&url, SECOND)
        .await
        .unwrap();
    assert_eq!((way.first_hop, way.via_proxy), (proxy.to_string(), true));
    assert!(
        way.certificate
            .is_some_and(|certificate| certificate.is_ok())
    );
}

/// Answers every request on every connection with `keep_alive`; sends the connection's number for each.
async fn keep_alive_server(
    keep_alive: &'static str,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<usize>) {
    let (report, connections) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |number, mut stream| {
        let report = report.clone();
        async move {
            while request(&mut stream).await.is_some() {
                report.send(number).unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\n{keep_alive}Content-Length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, connections)
}

/// The connections of two requests with `pause` between them.
async fn two_requests(
    client: &UpstreamClient,
    keep_alive: &'static str,
    pause: Duration,
) -> [usize; 2] {
    let (address, mut connections) = keep_alive_server(keep_alive).await;
    client
        .exchange(post("http", address), 5 * SECOND)
        .await
        .unwrap();
    tokio::time::pause();
    tokio::time::advance(pause).await;
    tokio::time::resume();
    client
        .exchange(post("http", address), 5 * SECOND)
        .await
        .unwrap();
    [
        connections.recv().await.unwrap(),
        connections.recv().await.unwrap(),
    ]
}

#[tokio::test]
async fn the_announced_keep_alive_time_is_honoured() {
    let cases = [
        ("", 3, [0, 0]),
        ("", 5, [0, 1]),
        ("Keep-Alive: timeout=2\r\n", 2, [0, 1]),
        ("Keep-Alive: timeout=1\r\n", 0, [0, 1]),
        ("Keep-Alive: max=100, Timeout=\"30\"\r\n", 28, [0, 0]),
        ("Keep-Alive: timeout=30\r\n", 29, [0, 1]),
        ("Keep-Alive: timeout=999999\r\n", 59, [0, 0]),
        ("Keep-Alive: timeout=999999\r\n", 60, [0, 1]),
        ("Keep-Alive: timeout=soon\r\n", 3, [0, 0]),
    ];
    for (header, pause, expected) in cases {
        let used = two_requests(&client(), header, Duration::from_secs(pause)).await;
        assert_eq!(used, expected, "{header:?} after {pause} s");
    }
}

#[tokio::test]
async fn a_connection_serves_no_longer_than_its_maximum_age() {
    let settings = UpstreamSettings {
        insecure_http: true,
        max_connection_age: 20 * SECOND,
        ..UpstreamSettings::default()
    };
    for (pause, expected) in [(19, [0, 0]), (20, [0, 1])] {
        let client = UpstreamClient::new(settings.clone(), 1 << 16).unwrap();
        let keep_alive = "Keep-Alive: timeout=60\r\n";
        let used = two_requests(&client, keep_alive, Duration::from_secs(pause)).await;
        assert_eq!(used, expected, "after {pause} s");
    }
}

/// A service that answers no SYN, one that accepts and never answers TLS, and an outbound proxy that is mute: each is left
/// long before the time of the whole exchange, and nothing was sent.
#[tokio::test]
async fn a_connection_that_does_not_open_is_left_after_its_own_limit() {
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let full_address = full.local_addr().unwrap();
    let mut queued = Vec::new();
    for _ in 0..4 {
        // Beyond the queue the kernel drops each SYN.
        let connecting = TcpStream::connect(full_address);
        queued.extend(tokio::time::timeout(SECOND / 4, connecting).await.ok());
    }
    let mute = server(|_, stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let client_with = |proxy: Option<SocketAddr>| {
        let settings = UpstreamSettings {
            insecure_http: true,
            connect_timeout: SECOND / 10,
            proxy: proxy.map(|proxy| format!("http://{proxy}").parse().unwrap()),
            ..UpstreamSettings::default()
        };
        UpstreamClient::new(settings, 1 << 16).unwrap()
    };
    for (scheme, to, proxy, words) in [
        ("http", full_address, None, "no connection to"),
        ("https", mute, None, "no TLS handshake with"),
        ("https", mute, Some(mute), "no tunnel with"),
    ] {
        let exchange = client_with(proxy);
        let exchange = exchange.exchange(post(scheme, to), 600 * SECOND);
        let lost = exchange.await.unwrap_err();
        assert_eq!(cause(&lost), ("unsent", Cause::Timeout), "{lost}");
        assert!(lost.to_string().contains(words), "{lost}");
    }
}
