//! How a call, a connection and a tunnel end.

use super::*;
use crate::net::drain::Phase;

const HOLD: &str = "POST /hold HTTP/1.1\r\nHost: x\r\n\r\n";
const PLAIN: &str = "POST /a HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_backend_that_hangs_up_does_not_cut_its_call_off() {
    let mut bench = EntrypointFixture::new();
    let mut wire = bench.connect();
    wire.send(HOLD).await;
    while bench.drain.is_idle() {
        tokio::task::yield_now().await;
    }
    drop(wire);
    // The connection must see the close before the call is let go on.
    while bench.service.0.slots.available_permits() < 3 {
        tokio::task::yield_now().await;
    }
    bench.release.send(true).unwrap();
    let arrival = bench.arrivals.recv().await.expect("the call went on");
    assert!(arrival.connection.is_disconnected());
    arrival.connection.disconnected_or_draining().await;
    bench.drain.requests_finished().await;
}

#[tokio::test]
async fn a_backend_that_waits_is_there() {
    let mut bench = EntrypointFixture::new();
    bench.release.send(true).unwrap();
    let mut wire = bench.connect();
    wire.send(HOLD).await;
    assert_eq!(wire.answer().await.status, 202);
    assert!(
        !bench
            .arrivals
            .recv()
            .await
            .unwrap()
            .connection
            .is_draining()
    );
}

#[tokio::test]
async fn draining_serves_on_and_closes_behind_each_answer() {
    let mut bench = EntrypointFixture::new();
    let (mut busy, mut idle, mut third) = (bench.connect(), bench.connect(), bench.connect());
    idle.send(PLAIN).await;
    assert!(!idle.answer().await.head.contains("connection: close"));
    third.send(PLAIN).await;
    third.answer().await;
    busy.send(HOLD).await;
    while bench.drain.is_idle() {
        tokio::task::yield_now().await;
    }
    bench.drain.advance_to(Phase::Draining);
    idle.send(PLAIN).await;
    let answer = idle.answer().await;
    assert!(
        answer.status == 202 && answer.head.contains("connection: close"),
        "{answer:?}"
    );
    assert!(idle.closed().await);
    bench.drain.advance_to(Phase::Closing);
    assert!(third.closed().await, "idle connections are closed last");
    bench.release.send(true).unwrap();
    assert_eq!(
        busy.answer().await.status,
        202,
        "a call in flight is finished"
    );
    bench.drain.requests_finished().await;
    let late = bench.ask(PLAIN).await;
    assert!(
        late.status == 503 && late.head.contains("retry-after: 1"),
        "{late:?}"
    );
    assert_eq!(bench.turned_away().await, (Entrypoint::BaseUrl, 503));
}

#[tokio::test]
async fn the_drain_tells_a_waiting_call() {
    let mut bench = EntrypointFixture::new();
    bench.ask(PLAIN).await;
    let arrival = bench.arrivals.recv().await.unwrap();
    bench.drain.advance_to(Phase::Draining);
    arrival.connection.disconnected_or_draining().await;
    assert!(arrival.connection.is_draining());
}

#[tokio::test(start_paused = true)]
async fn quiet_tunnels_end_with_the_process() {
    let mut bench = EntrypointFixture::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = listener.local_addr().unwrap();
    let mut wire = bench.connect();
    wire.send(&format!("CONNECT {far} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert!(wire.head().await.starts_with("http/1.1 200"));
    assert!(!bench.drain.is_idle());
    bench.drain.advance_to(Phase::Draining);
    assert!(wire.closed().await);
    assert_eq!(
        bench.told.recv().await.unwrap(),
        HandlerEvent::Tunnelled(Entrypoint::Connect, far.to_string(), 0)
    );
    bench.drain.requests_finished().await;
}

#[tokio::test]
async fn a_panic_of_ours_is_in_doubt_and_told() {
    let mut bench = EntrypointFixture::new();
    let answer = bench.ask("POST /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.status, 504);
    assert!(!answer.body.contains("as asked"));
    assert_eq!(bench.turned_away().await, (Entrypoint::BaseUrl, 504));
    bench.drain.requests_finished().await;
}
