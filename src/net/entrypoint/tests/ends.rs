//! How a request, a connection and a tunnel end.

use super::*;
use crate::net::drain::Phase;

const HOLD: &str = "POST /hold HTTP/1.1\r\nHost: x\r\n\r\n";
const PLAIN: &str = "POST /a HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_backend_that_hangs_up_does_not_cancel_its_request() {
    let mut fixture = EntrypointFixture::new();
    let (mut near, far) = duplex(64 << 10);
    let (service, drain) = (fixture.service.clone(), fixture.drain.clone());
    let connection = tokio::spawn(async move {
        service.serve(far, Peer::default(), drain).await;
    });
    near.write_all(HOLD.as_bytes()).await.unwrap();
    while fixture.drain.is_idle() {
        tokio::task::yield_now().await;
    }
    drop(near);
    // The connection must see the close before the request continues.
    connection.await.unwrap();
    fixture.release.send(true).unwrap();
    let arrival = fixture.arrivals.recv().await.expect("the call went on");
    assert!(arrival.connection.is_disconnected());
    arrival.connection.disconnected_or_draining().await;
    fixture.drain.requests_finished().await;
}

#[tokio::test]
async fn a_backend_that_waits_counts_as_connected() {
    let mut fixture = EntrypointFixture::new();
    fixture.release.send(true).unwrap();
    let mut wire = fixture.connect();
    wire.send(HOLD).await;
    assert_eq!(wire.answer().await.status, 202);
    assert!(
        !fixture
            .arrivals
            .recv()
            .await
            .unwrap()
            .connection
            .is_draining()
    );
}

#[tokio::test]
async fn draining_serves_requests_and_closes_after_each_response() {
    let mut fixture = EntrypointFixture::new();
    let mut busy = fixture.connect();
    let mut idle = fixture.connect();
    let mut third = fixture.connect();
    idle.send(PLAIN).await;
    assert!(!idle.answer().await.head.contains("connection: close"));
    third.send(PLAIN).await;
    third.answer().await;
    busy.send(HOLD).await;
    while fixture.drain.is_idle() {
        tokio::task::yield_now().await;
    }
    fixture.drain.advance_to(Phase::Draining);
    idle.send(PLAIN).await;
    let answer = idle.answer().await;
    assert!(
        answer.status == 202 && answer.head.contains("connection: close"),
        "{answer:?}"
    );
    assert!(idle.closed().await);
    fixture.drain.advance_to(Phase::Closing);
    assert!(third.closed().await, "idle connections are closed last");
    fixture.release.send(true).unwrap();
    assert_eq!(
        busy.answer().await.status,
        202,
        "a call in flight is finished"
    );
    fixture.drain.requests_finished().await;
    drop((idle, third, busy));
    fixture.slots_free().await;
    let late = fixture.ask(PLAIN).await;
    assert!(
        late.status == 503 && late.head.contains("retry-after: 1"),
        "{late:?}"
    );
    assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 503));
}

#[tokio::test]
async fn the_drain_reaches_a_waiting_request() {
    let mut fixture = EntrypointFixture::new();
    fixture.ask(PLAIN).await;
    let arrival = fixture.arrivals.recv().await.unwrap();
    fixture.drain.advance_to(Phase::Draining);
    arrival.connection.disconnected_or_draining().await;
    assert!(arrival.connection.is_draining());
}

#[tokio::test(start_paused = true)]
async fn idle_tunnels_end_with_the_process() {
    let mut fixture = EntrypointFixture::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = listener.local_addr().unwrap();
    let mut wire = fixture.connect();
    wire.send(&format!("CONNECT {far} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert!(wire.head().await.starts_with("http/1.1 200"));
    assert!(!fixture.drain.is_idle());
    fixture.drain.advance_to(Phase::Draining);
    assert!(wire.closed().await);
    assert_eq!(
        fixture.events.recv().await.unwrap(),
        HandlerEvent::Tunnelled(Entrypoint::Connect, far.to_string(), 0)
    );
    fixture.drain.requests_finished().await;
}

#[tokio::test]
async fn a_panic_of_the_handler_is_reported_as_in_doubt() {
    let mut fixture = EntrypointFixture::new();
    let answer = fixture.ask("POST /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.status, 504);
    assert!(!answer.body.contains("as asked"));
    assert_eq!(fixture.turned_away().await, (Entrypoint::BaseUrl, 504));
    fixture.drain.requests_finished().await;
}
