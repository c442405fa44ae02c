//! What holds the slot of a connection, and for how long.

use super::*;
use crate::reply_parser::tests::flooding_server;

/// A limit that a test can wait for.
const SHORT: Duration = Duration::from_millis(200);

/// A host that accepts connections and reads them, and answers `first` only.
async fn mute_host(first: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(first.as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    address
}

fn short_limits() -> Limits {
    Limits {
        forward_timeout: SHORT,
        ..limits()
    }
}

#[tokio::test]
async fn a_request_that_the_handler_denies_closes_its_connection() {
    let fixture = EntrypointFixture::new();
    let mut wire = fixture.connect();
    wire.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!wire.answer().await.head.contains("connection:"));
    wire.send("GET /denied HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(wire.answer().await.head.contains("connection: close"));
    assert!(wire.closed().await);
    drop(wire);
    fixture.slots_free().await;
}

/// A client that keeps its end open, or goes on sending, holds the slot for a second.
#[tokio::test(start_paused = true)]
async fn a_denied_client_that_does_not_close_loses_its_slot() {
    let fixture = EntrypointFixture::new();
    for request in [
        "GET /denied HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT refused.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://refused.test/ HTTP/1.1\r\nHost: refused.test\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nsome",
        "not HTTP\r\n\r\n",
    ] {
        let began = tokio::time::Instant::now();
        let mut wire = fixture.connect();
        wire.send(request).await;
        assert!(wire.answer().await.head.contains("connection: close"));
        fixture.slots_free().await;
        let took = began.elapsed();
        assert!(took <= Duration::from_secs(2), "{request}: {took:?}");
        drop(wire);
    }
}

/// Bytes that nobody reads would turn the close into a reset, and the reset could overtake the response.
#[tokio::test]
async fn a_denied_client_reads_the_response_though_it_sent_more() {
    let fixture = EntrypointFixture::new();
    let more = "x".repeat(200 << 10);
    for head in [
        "CONNECT refused.test:443 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n".to_owned(),
        "GET /denied HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let mut wire = fixture.connect_tcp().await;
        wire.send(&head).await;
        wire.send(&more).await;
        let mut response = String::new();
        wire.0.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 "), "{response}");
    }
}

/// Otherwise clients that leave at once would start any number of messages.
#[tokio::test]
async fn a_request_whose_client_has_left_holds_its_slot_until_it_ends() {
    let fixture = EntrypointFixture::new();
    for _ in 0..3 {
        let mut wire = fixture.connect();
        let in_flight = fixture.drain.requests_in_flight();
        wire.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").await;
        while fixture.drain.requests_in_flight() == in_flight {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(fixture.connect().answer().await.status, 503);
    fixture.release.send_replace(true);
    fixture.slots_free().await;
}

/// Its response stays in memory as long as it is not read.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_response_loses_its_slot() {
    let fixture = EntrypointFixture::new();
    let began = tokio::time::Instant::now();
    let mut wire = fixture.connect();
    // More than the pipe between the two holds.
    for _ in 0..3 {
        wire.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    fixture.slots_free().await;
    assert!(began.elapsed() <= 2 * limits().client_timeout);
}

#[tokio::test]
async fn a_client_beyond_the_limit_reads_the_response_though_it_sent_a_request() {
    let mut fixture = EntrypointFixture::new();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut wire = fixture.connect();
        wire.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        wire.answer().await;
        kept.push(wire);
    }
    let open = &fixture.service.0.setup.open_connections;
    assert_eq!(open.total(), 3);
    let mut wire = fixture.connect_tcp().await;
    wire.send(&"GET /a HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20))
        .await;
    let mut response = String::new();
    wire.0.read_to_string(&mut response).await.unwrap();
    assert!(response.contains("503 Service Unavailable"), "{response}");
    let denied = HandlerEvent::Unconnected(Entrypoint::BaseUrl, ConnectionDenialReason::Limit);
    assert_eq!(fixture.events.recv().await, Some(denied));
    drop(kept);
    fixture.slots_free().await;
    assert_eq!(fixture.service.0.setup.open_connections.total(), 0);
}

#[tokio::test]
async fn a_host_that_does_not_answer_a_forwarded_request_is_504() {
    let mut fixture = EntrypointFixture::with_limits(short_limits());
    let far = mute_host("").await;
    let mut wire = fixture.connect();
    wire.send(&format!(
        "GET http://{far}/ HTTP/1.1\r\nHost: {far}\r\n\r\n"
    ))
    .await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 504);
    assert!(
        answer.body.contains("no answer in 0.2 s"),
        "{}",
        answer.body
    );
    drop(wire);
    fixture.slots_free().await;
    let events = [fixture.events.recv().await, fixture.events.recv().await].map(Option::unwrap);
    assert!(
        events.iter().any(|event| matches!(
            event,
            HandlerEvent::TurnedAway(Entrypoint::Absolute, 504, _)
        )),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_host_that_floods_a_forwarded_request_is_502() {
    let fixture = EntrypointFixture::new();
    let (far, end) = flooding_server();
    let answer = fixture
        .ask(&format!(
            "GET http://{far}/ HTTP/1.1\r\nHost: {far}\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.status, 502);
    let fault = "it sent more than 20 interim replies (1xx)";
    assert!(answer.body.contains(fault), "{}", answer.body);
    end.recv_timeout(Duration::from_mins(1)).unwrap();
    fixture.slots_free().await;
}

#[tokio::test]
async fn a_host_that_pauses_in_its_answer_ends_the_connection() {
    let fixture = EntrypointFixture::with_limits(short_limits());
    let far = mute_host("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    let mut wire = fixture.connect();
    wire.send(&format!(
        "GET http://{far}/ HTTP/1.1\r\nHost: {far}\r\n\r\n"
    ))
    .await;
    assert!(wire.head().await.starts_with("http/1.1 200"));
    let mut rest = String::new();
    wire.0.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "half");
    drop(wire);
    fixture.slots_free().await;
}

#[tokio::test]
async fn a_tunnel_to_a_host_that_never_answers_ends() {
    let mut fixture = EntrypointFixture::with_limits(short_limits());
    let far = mute_host("").await;
    let mut wire = fixture.connect();
    wire.send(&format!("CONNECT {far} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert!(wire.head().await.starts_with("http/1.1 200"));
    wire.send("hello").await;
    assert!(wire.closed().await);
    assert_eq!(
        fixture.events.recv().await.unwrap(),
        HandlerEvent::Tunnelled(Entrypoint::Connect, far.to_string(), 5)
    );
    fixture.slots_free().await;
}

/// The host has answered: its tunnel may be silent for as long as a kept-alive connection.
#[tokio::test]
async fn a_tunnel_that_was_answered_may_be_silent_for_longer() {
    let limits = Limits {
        idle_timeout: SHORT * 5,
        ..short_limits()
    };
    let fixture = EntrypointFixture::with_limits(limits);
    let far = mute_host("hello").await;
    let mut wire = fixture.connect();
    wire.send(&format!("CONNECT {far} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert!(wire.head().await.starts_with("http/1.1 200"));
    let began = tokio::time::Instant::now();
    let mut greeting = String::new();
    wire.0.read_to_string(&mut greeting).await.unwrap();
    assert_eq!(greeting, "hello");
    let silent = began.elapsed();
    assert!(silent >= SHORT * 4, "{silent:?}");
}
