//! A client that has ended its side gets its answer; one that has gone is a hang-up.

use tokio::net::UnixStream;

use super::*;

const HOLD: &str = "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
const UNTIL_LEFT: &str = "GET /until-left HTTP/1.1\r\nHost: x\r\n\r\n";
const LARGE: &str = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
const PLAIN: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

/// A real connection of either kind.
type RealClient = TestClient<Box<dyn Wire>>;

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl EntrypointFixture {
    fn connect_unix(&self) -> TestClient<UnixStream> {
        let (near, far) = UnixStream::pair().unwrap();
        let (service, drain) = (self.service.clone(), self.drain.clone());
        let peer = Peer::from_unix(Some(7));
        tokio::spawn(async move { service.serve(far, peer, drain).await });
        TestClient(near)
    }

    async fn connect_both(&self) -> [RealClient; 2] {
        let tcp = self.connect_tcp().await.0;
        [
            TestClient(Box::new(tcp)),
            TestClient(Box::new(self.connect_unix().0)),
        ]
    }

    /// Waits until the handler has this many requests.
    async fn held(&self, many: usize) {
        while self.drain.requests_in_flight() < many {
            tokio::task::yield_now().await;
        }
    }

    /// One request over TCP and one over unix: what happened on other connections before is seen by then.
    async fn round_trip(&self) {
        let limit = self.service.0.slots.available_permits();
        for mut wire in self.connect_both().await {
            wire.send(PLAIN).await;
            assert_eq!(wire.answer().await.status, 202);
        }
        while self.service.0.slots.available_permits() < limit {
            tokio::task::yield_now().await;
        }
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> TestClient<S> {
    async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    async fn rest(&mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).await.unwrap();
        text
    }
}

async fn end(wires: &mut [RealClient]) {
    for wire in wires {
        wire.end().await;
    }
}

fn crowded() -> EntrypointFixture {
    EntrypointFixture::with_limits(Limits {
        max_connections: 4,
        ..limits()
    })
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_gets_its_answer() {
    // The end comes after the request was read, or together with it.
    for apart in [1, 0] {
        let fixture = crowded();
        let mut wires = fixture.connect_both().await;
        for (wire, many) in wires.iter_mut().zip(1..) {
            wire.send(HOLD).await;
            fixture.held(many * apart).await;
            wire.end().await;
        }
        fixture.held(2).await;
        fixture.round_trip().await;
        fixture.release.send(true).unwrap();
        for mut wire in wires {
            let text = wire.rest().await;
            assert!(text.starts_with("HTTP/1.1 202"), "{text}");
            assert!(text.ends_with("received 2 bytes"), "{text}");
        }
        fixture.slots_free().await;
    }
}

#[tokio::test]
async fn requests_that_were_sent_together_are_all_answered() {
    let fixture = crowded();
    fixture.release.send(true).unwrap();
    for mut wire in fixture.connect_both().await {
        wire.send(&HOLD.repeat(5)).await;
        wire.end().await;
        assert_eq!(wire.rest().await.matches("HTTP/1.1 202").count(), 5);
    }
}

#[tokio::test]
async fn a_large_answer_is_read_to_its_end() {
    let fixture = crowded();
    for mut wire in fixture.connect_both().await {
        wire.send(LARGE).await;
        wire.end().await;
        let text = wire.rest().await;
        assert!(text.len() > LARGE_REPLY, "{}", text.len());
    }
    fixture.slots_free().await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_dropped_in_time() {
    let fixture = EntrypointFixture::with_limits(Limits {
        client_timeout: Duration::from_millis(200),
        ..limits()
    });
    for ends in [false, true] {
        let mut wires = fixture.connect_both().await;
        for wire in &mut wires {
            wire.send(LARGE).await;
        }
        end(wires.get_mut(..if ends { 2 } else { 0 }).unwrap()).await;
        fixture.slots_free().await;
        drop(wires);
    }
}

/// The client ends its side while the other host is in the middle of its answer.
#[tokio::test]
async fn a_forwarded_answer_is_streamed_to_its_end() {
    let fixture = crowded();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = listener.local_addr().unwrap();
    let (go_on, wait) = watch::channel(false);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
        stream.write_all(head.as_bytes()).await.unwrap();
        wait.clone().wait_for(|go_on| *go_on).await.unwrap();
        stream.write_all(b"rest").await.unwrap();
    });
    let mut wire = fixture.connect_tcp().await;
    wire.send(&format!(
        "GET http://{far}/ HTTP/1.1\r\nHost: {far}\r\n\r\n"
    ))
    .await;
    wire.head().await;
    let mut half = [0; 4];
    wire.0.read_exact(&mut half).await.unwrap();
    wire.end().await;
    fixture.round_trip().await;
    go_on.send(true).unwrap();
    assert_eq!(wire.rest().await, "rest");
}

#[tokio::test]
async fn inside_a_connect_it_is_the_same_on_loopback() {
    let fixture = crowded();
    let mut wire = fixture.connect_tcp().await;
    wire.send("CONNECT ours.test:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    wire.head().await;
    wire.send(&HOLD.replace(": x", ": ours.test")).await;
    fixture.held(1).await;
    wire.end().await;
    fixture.round_trip().await;
    fixture.release.send(true).unwrap();
    assert!(wire.rest().await.starts_with("HTTP/1.1 202"));
    fixture.slots_free().await;
}

#[tokio::test]
async fn a_client_that_closes_has_hung_up() {
    // At once, and after it had ended its side.
    for ends_first in [false, true] {
        let mut fixture = crowded();
        let mut wires = fixture.connect_both().await;
        for wire in &mut wires {
            wire.send(UNTIL_LEFT).await;
        }
        fixture.held(2).await;
        if ends_first {
            end(&mut wires).await;
            fixture.round_trip().await;
        }
        drop(wires);
        hung_up(&mut fixture, 2).await;
    }
}

/// Waits until the handler has seen that the clients of its requests have gone.
async fn hung_up(fixture: &mut EntrypointFixture, many: usize) {
    let mut seen = 0;
    while seen < many {
        let arrival = fixture.arrivals.recv().await.unwrap();
        if arrival.request.path == "/until-left" {
            assert!(arrival.connection.is_disconnected());
            seen += 1;
        }
    }
}

#[tokio::test]
async fn a_reset_is_a_hangup() {
    let mut fixture = crowded();
    let mut wire = fixture.connect_tcp().await;
    wire.send(UNTIL_LEFT).await;
    fixture.held(1).await;
    wire.0.set_zero_linger().unwrap();
    drop(wire);
    hung_up(&mut fixture, 1).await;
}

#[tokio::test]
async fn on_another_machine_and_inside_unix_the_end_is_a_hangup() {
    let mut fixture = crowded();
    let mut far = fixture.connect_as(Peer::from_tcp(
        "192.0.2.1:40000".parse().unwrap(),
        "192.0.2.2:8125".parse().unwrap(),
    ));
    let mut inside = fixture.connect_unix();
    inside
        .send("CONNECT ours.test:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    inside.head().await;
    far.send(UNTIL_LEFT).await;
    inside.send(&UNTIL_LEFT.replace(": x", ": ours.test")).await;
    fixture.held(2).await;
    far.end().await;
    inside.end().await;
    hung_up(&mut fixture, 2).await;
}

#[tokio::test]
async fn the_end_inside_a_body_is_an_error_at_once() {
    for body in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let mut fixture = crowded();
        for mut wire in fixture.connect_both().await {
            wire.send(&format!("POST /a HTTP/1.1\r\nHost: x\r\n{body}"))
                .await;
            wire.end().await;
            assert_eq!(fixture.turned_away().await.1, 400, "{body}");
            fixture.slots_free().await;
            drop(wire);
        }
    }
}
