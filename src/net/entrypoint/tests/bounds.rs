//! What an entrypoint rejects, and in which format it says so.

use super::*;
use crate::net::byte_budget::FREE_BYTES;
use crate::parse_limit::VALUE_BYTES;

#[tokio::test]
async fn forbidden_requests_are_rejected_and_reported() {
    let mut fixture = EntrypointFixture::new();
    let table = [
        (
            "POST /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            Entrypoint::BaseUrl,
            400,
        ),
        (
            "POST /a/../b HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::BaseUrl,
            400,
        ),
        (
            "POST https://ours.test//b HTTP/1.1\r\nHost: ours.test\r\n\r\n",
            Entrypoint::Absolute,
            400,
        ),
        (
            "TRACE /a HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::BaseUrl,
            405,
        ),
        (
            "POST /a HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.test\r\n\r\n",
            Entrypoint::BaseUrl,
            403,
        ),
        (
            "POST /a HTTP/1.1\r\nHost: x\r\nVia: 1.1 sms-sidecar-test1\r\n\r\n",
            Entrypoint::BaseUrl,
            508,
        ),
        (
            "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::Connect,
            403,
        ),
        (
            "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
            Entrypoint::Absolute,
            403,
        ),
        (
            "CONNECT 127.0.0.1:8125 HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::Connect,
            403,
        ),
        (
            "CONNECT localhost:8125 HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::Connect,
            403,
        ),
        // A spelling of an address that only the resolver recognises.
        (
            "CONNECT 2852039166:80 HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::Connect,
            403,
        ),
        (
            "CONNECT refused.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::Connect,
            403,
        ),
        (
            "GET http://refused.test/ HTTP/1.1\r\nHost: refused.test\r\n\r\n",
            Entrypoint::Absolute,
            403,
        ),
        (
            "CONNECT uncovered-ours.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
            Entrypoint::Connect,
            502,
        ),
    ];
    for (request, entrypoint, status) in table {
        let answer = fixture.ask(request).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.body);
        assert!(
            answer.body.starts_with("sms-sidecar: ") && answer.head.contains("connection: close"),
            "{}",
            answer.body
        );
        assert_eq!(
            fixture.turned_away().await,
            (entrypoint, status),
            "{request}"
        );
    }
    assert!(
        fixture.arrivals.try_recv().is_err(),
        "the handler received nothing"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let mut fixture = EntrypointFixture::new();
    let long = "x".repeat(1500);
    let declared = fixture
        .ask(&format!(
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1500\r\n\r\n{long}"
        ))
        .await;
    let chunked = fixture.ask(&format!("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n{long}\r\n0\r\n\r\n")).await;
    let huge = fixture
        .ask("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        .await;
    // Rejected before the body is requested.
    let expected = fixture
        .ask("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1500\r\nExpect: 100-continue\r\n\r\n")
        .await;
    for answer in [declared, chunked, huge, expected] {
        assert_eq!(answer.status, 413);
        assert!(answer.body.contains("1000 bytes"), "{}", answer.body);
        assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 413));
    }
    let exact = "x".repeat(1000);
    assert_eq!(
        fixture
            .ask(&format!(
                "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{exact}"
            ))
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn a_client_that_expects_continue_is_told_to_send_its_body() {
    let fixture = EntrypointFixture::new();
    for length in [4, 1000] {
        let head = format!(
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        let mut client = fixture.connect();
        client.send(&head).await;
        assert!(client.head().await.starts_with("http/1.1 100"), "{length}");
        client.send(&"x".repeat(length)).await;
        assert_eq!(client.answer().await.status, 202);
    }
}

/// A client that writes its whole body first can still read why it was rejected; one that never ends is cut off.
#[tokio::test]
async fn a_body_over_the_limit_is_discarded_to_its_end_or_cut_off() {
    let fixture = EntrypointFixture::new();
    let head = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    // Only what is discarded makes room for more.
    let mut client = fixture.connect_with_buffer(600);
    client.send(head).await;
    for _ in 0..15 {
        client.send(&chunk).await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 413);

    let mut endless = fixture.connect_with_buffer(600);
    endless.send(head).await;
    let mut sent = 0;
    while endless.0.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 500;
        assert!(sent < 2 << 20, "it reads on");
    }
}

#[tokio::test]
async fn a_rejection_uses_the_backends_dialect() {
    let fixture = EntrypointFixture::new();
    let answer = fixture
        .ask("POST /dialect HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (413, "in its words"));
}

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    let mut fixture = EntrypointFixture::new();
    let long = "x".repeat(5 << 10);
    let answer = fixture
        .ask(&format!(
            "GET /a HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.status, 431);
    assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 431));
    let many = "X-A: 1\r\n".repeat(200);
    assert_eq!(
        fixture
            .ask(&format!("GET /a HTTP/1.1\r\nHost: x\r\n{many}\r\n"))
            .await
            .status,
        431
    );
}

#[tokio::test]
async fn bytes_that_are_not_http_are_400() {
    let mut fixture = EntrypointFixture::new();
    assert_eq!(fixture.ask("\x16\x03\x01\x02\r\n\r\n").await.status, 400);
    assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 400));
    let smuggled =
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nto=1";
    assert_eq!(fixture.ask(smuggled).await.status, 400);
}

#[tokio::test]
async fn ambiguous_framing_is_reported_by_name() {
    let mut fixture = EntrypointFixture::new();
    for (request, why) in [
        ("GET /a HTTP/1.1\nHost: x\r\n\r\n", "LF alone"),
        (
            "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding is not `chunked`",
        ),
        (
            "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n",
            "its framing is not valid",
        ),
        (
            "POST /a HTTP/1.1\r\nHost: x\r\nTransfer_Encoding: chunked\r\n\r\n",
            "transfer_encoding is spelt with an underscore",
        ),
    ] {
        assert_eq!(fixture.ask(request).await.status, 400, "{request}");
        let (_, status, reason) = fixture.turned_away_because().await;
        assert!(status == 400 && reason.contains(why), "{reason}");
    }
    assert!(fixture.arrivals.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_408() {
    let mut fixture = EntrypointFixture::new();
    let mut wire = fixture.connect();
    wire.send("POST /a HTTP/1.1\r\nHo").await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 408);
    assert!(wire.closed().await);
    assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 408));
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_408() {
    let mut fixture = EntrypointFixture::new();
    let answer = fixture
        .ask("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nto")
        .await;
    assert_eq!(answer.status, 408);
    assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 408));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_ten_minutes() {
    let fixture = EntrypointFixture::new();
    let mut wire = fixture.connect();
    for _ in 0..2 {
        wire.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 202);
        tokio::time::sleep(Duration::from_secs(595)).await;
    }
    let before = tokio::time::Instant::now();
    assert!(wire.closed().await);
    let more = before.elapsed();
    assert!(more < Duration::from_secs(20), "{more:?}");
}

#[tokio::test]
async fn one_connection_too_many_is_503() {
    let mut fixture = EntrypointFixture::new();
    let mut kept: Vec<_> = (0..3).map(|_| fixture.connect()).collect();
    for wire in &mut kept {
        wire.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 202);
    }
    let mut extra = fixture.connect();
    let answer = extra.answer().await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"));
    let denied = HandlerEvent::Unconnected(Entrypoint::BaseUrl, ConnectionDenialReason::Limit);
    assert_eq!(fixture.events.recv().await, Some(denied));
    assert!(fixture.events.try_recv().is_err(), "it is reported once");
}

/// 2 KiB for the bodies of requests, beside what is free.
fn with_small_memory() -> EntrypointFixture {
    EntrypointFixture::with_limits(Limits {
        max_body: 64 << 10,
        max_in_flight: 4 << 10,
        ..limits()
    })
}

/// A request with a body that is not read into a tree.
fn request_of(path: &str, length: usize) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
    let body = "x".repeat(length);
    format!("{head}Content-Type: text/html\r\n\r\n{body}")
}

#[tokio::test]
async fn a_response_that_is_not_read_keeps_the_memory_of_its_request() {
    let mut fixture = with_small_memory();
    let request = |path| request_of(path, FREE_BYTES + 2000);
    let mut wire = fixture.connect();
    wire.send(&request("/large")).await;
    drop(fixture.arrivals.recv().await.unwrap());
    fixture.drain.requests_finished().await;
    assert_eq!(fixture.ask(&request("/a")).await.status, 503);
    assert_eq!(wire.answer().await.status, 202);
    assert_eq!(fixture.ask(&request("/a")).await.status, 202);
}

#[tokio::test]
async fn bodies_beyond_the_memory_are_503_until_others_have_ended() {
    let mut fixture = with_small_memory();
    let request = |path: &str| request_of(path, FREE_BYTES + 700);
    let mut held = Vec::new();
    for _ in 0..2 {
        assert_eq!(fixture.ask(&request("/a")).await.status, 202);
        held.push(fixture.arrivals.recv().await.unwrap());
    }
    let denied = fixture.ask(&request("/a")).await;
    assert_eq!(denied.status, 503);
    assert!(denied.head.contains("retry-after: 1"), "{}", denied.head);
    assert!(
        denied.body.contains("`in_flight`") && denied.body.contains("nothing was sent"),
        "{}",
        denied.body
    );
    assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 503));
    let denied = fixture.ask(&request("/dialect")).await;
    assert_eq!((denied.status, denied.body.as_str()), (503, "in its words"));
    assert!(denied.head.contains("retry-after: 1"), "{}", denied.head);
    let ordinary = fixture.ask(&request_of("/a", FREE_BYTES)).await;
    assert_eq!(ordinary.status, 202, "an ordinary message always passes");
    assert_eq!(fixture.ask(&request("/send")).await.status, 503);
    for client in [
        ClientKind::Stranger,
        ClientKind::Stranger,
        ClientKind::Backend,
    ] {
        let denial = fixture.denials.recv().await.unwrap();
        assert_eq!(denial, (DenialReason::BytesInFlight, client));
    }
    held.clear();
    assert_eq!(fixture.ask(&request("/a")).await.status, 202);
}

/// What is parsed counts too: a small body of many values takes more memory than its bytes.
#[tokio::test]
async fn values_count_as_memory() {
    let mut fixture = with_small_memory();
    let request = |body: &str| {
        let length = body.len();
        format!(
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let list = |length: usize| format!("[{}1]", "1,".repeat(length - 1));
    let free_values = FREE_BYTES / VALUE_BYTES;
    let many = request(&list(free_values + 8));
    assert_eq!(fixture.ask(&many).await.status, 202, "one may take it all");
    let held = fixture.arrivals.recv().await.unwrap();
    assert_eq!(fixture.ask(&request(&list(free_values))).await.status, 503);
    assert_eq!(
        fixture.ask(&request(&list(free_values / 2))).await.status,
        202
    );
    drop(held);
    assert_eq!(fixture.ask(&many).await.status, 202);
}

/// How many turns others get while one client's requests, sent together, are answered.
#[tokio::test]
async fn a_client_that_sends_many_requests_at_once_leaves_others_their_turn() {
    const REQUESTS: usize = 300;
    let mut fixture = EntrypointFixture::new();
    let mut client = fixture.connect();
    let request = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send(&request.repeat(REQUESTS)).await;
    let mut turns = 0;
    let mut answered = 0;
    while answered < REQUESTS {
        turns += 1;
        tokio::task::yield_now().await;
        while fixture.arrivals.try_recv().is_ok() {
            answered += 1;
        }
    }
    assert!(turns * 3 >= REQUESTS, "{turns} turns");
}
