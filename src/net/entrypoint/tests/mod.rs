//! The entrypoints over in-memory streams, with a handler that records what it receives.

mod bounds;
mod ends;
mod half_close;
mod inside;
mod slots;
mod ways;

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::*;
use crate::clock::SystemClock;
use crate::diagnosis::{ClientKind, DenialReason};
use crate::net::ca::{Ca, CaConstraints, CaCreateMode, create};
use crate::net::settings::CaSettings;

/// More than the buffers of a connection hold.
const LARGE_REPLY: usize = 16 << 20;

/// What the entrypoints reported to the handler.
#[derive(Debug, PartialEq, Eq)]
enum HandlerEvent {
    TurnedAway(Entrypoint, u16, String),
    Tunnelled(Entrypoint, String, u64),
    Unconnected(Entrypoint, ConnectionDenialReason),
}

/// Intercepts `ours.test` and its subdomains, rejects `refused.test`, and tunnels to all other hosts.
#[derive(Debug)]
struct FakeHandler {
    arrivals: UnboundedSender<IncomingRequest>,
    events: UnboundedSender<HandlerEvent>,
    denials: UnboundedSender<(DenialReason, ClientKind)>,
    /// `/hold` waits for it; `/panic` panics.
    release: watch::Receiver<bool>,
}

impl RequestHandler for FakeHandler {
    fn admit(&self, authority: &Authority, _: &Peer) -> HostAdmission {
        match authority.host.as_str() {
            host if host.ends_with("ours.test") => HostAdmission::Intercept,
            "refused.test" => HostAdmission::Deny(
                StatusCode::FORBIDDEN,
                DenialReason::OtherHost.about("refused.test"),
            ),
            _ => HostAdmission::Tunnel,
        }
    }

    async fn handle(&self, arrival: IncomingRequest) -> HandlerReply {
        assert!(arrival.request.path != "/panic", "as asked");
        if arrival.request.path == "/hold" {
            self.release
                .clone()
                .wait_for(|released| *released)
                .await
                .unwrap();
        }
        if arrival.request.path == "/until-left" {
            arrival.connection.disconnected_or_draining().await;
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-sms-sidecar-provider", "one".parse().unwrap());
        headers.insert("transfer-encoding", "chunked".parse().unwrap());
        headers.insert("content-length", "999".parse().unwrap());
        let body = match arrival.request.path.as_str() {
            "/large" => Bytes::from(vec![b'x'; LARGE_REPLY]),
            _ => Bytes::from(format!("received {} bytes", arrival.request.body.len())),
        };
        let is_denied = arrival.request.path == "/denied";
        self.arrivals.send(arrival).unwrap();
        let reply = Reply {
            status: StatusCode::ACCEPTED,
            headers,
            body,
        };
        HandlerReply { reply, is_denied }
    }

    fn request_denied(&self, denied: &DeniedRequest<'_>) {
        let reason = denied.denial.reason;
        self.denials
            .send((reason, reason.client_kind(denied.client)))
            .unwrap();
        self.events
            .send(HandlerEvent::TurnedAway(
                denied.entrypoint,
                denied.status.as_u16(),
                denied.why.to_owned(),
            ))
            .unwrap();
    }

    fn connection_denied(&self, entrypoint: Entrypoint, reason: ConnectionDenialReason) {
        self.events
            .send(HandlerEvent::Unconnected(entrypoint, reason))
            .unwrap();
    }

    fn denied_client(&self, target: &EntrypointTarget, head: &Request, _: &Peer) -> DeniedClient {
        let is_ours = matches!(target, EntrypointTarget::Host(authority) if authority.host.ends_with("ours.test"));
        DeniedClient {
            addresses_provider: is_ours || head.path.starts_with("/send"),
            is_known_caller: false,
        }
    }

    fn error_reply(
        &self,
        _: &EntrypointTarget,
        head: &Request,
        status: StatusCode,
        _: &str,
    ) -> Option<Reply> {
        (head.path == "/dialect").then(|| Reply {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"in its words"),
        })
    }

    fn tunnel_closed(&self, entrypoint: Entrypoint, authority: &Authority, bytes: u64) {
        self.events
            .send(HandlerEvent::Tunnelled(
                entrypoint,
                authority.to_string(),
                bytes,
            ))
            .unwrap();
    }
}

/// The entrypoints under test, and what their handler received.
struct EntrypointFixture {
    service: ProxyService<FakeHandler>,
    arrivals: UnboundedReceiver<IncomingRequest>,
    events: UnboundedReceiver<HandlerEvent>,
    denials: UnboundedReceiver<(DenialReason, ClientKind)>,
    release: watch::Sender<bool>,
    drain: Drain,
    ca: CaSettings,
    _folder: TempDir,
}

fn limits() -> Limits {
    Limits {
        max_body: 1000,
        max_head: 4 << 10,
        max_connections: 3,
        ..Limits::default()
    }
}

impl EntrypointFixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let ca = CaSettings {
            cert_file: folder.path().join("ca.pem"),
            key_file: folder.path().join("ca.key"),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        create(
            &ca,
            &CaConstraints::for_hosts(&["ours.test".to_owned()], &["*.ours.test".to_owned()])
                .unwrap(),
            Duration::from_secs(1 << 24),
            clock.wall_clock(),
            CaCreateMode::NewKey,
        )
        .unwrap();
        let (arrivals, received) = unbounded_channel();
        let (event_sender, events) = unbounded_channel();
        let (release, held) = watch::channel(false);
        let setup = EntrypointSetup {
            ca: Arc::default(),
            limits: limits(),
            own_addresses: vec!["127.0.0.1:8125".parse().unwrap()],
            own_names: vec!["x".to_owned()],
            via_marker: String::from("sms-sidecar-test1"),
            clock,
            open_connections: OpenConnections::default(),
        };
        let loaded = Ca::load(&ca, Arc::clone(&setup.clock)).unwrap();
        setup.ca.replace(Some(loaded));
        let (denial_sender, denials) = unbounded_channel();
        let service = ProxyService::new(
            Arc::new(FakeHandler {
                arrivals,
                events: event_sender,
                denials: denial_sender,
                release: held,
            }),
            setup,
        );
        Self {
            service,
            arrivals: received,
            events,
            denials,
            release,
            drain: Drain::default(),
            ca,
            _folder: folder,
        }
    }

    fn with_limits(limits: Limits) -> Self {
        let mut fixture = Self::new();
        let shared = &fixture.service.0;
        let setup = EntrypointSetup {
            limits,
            ..shared.setup.clone()
        };
        fixture.service = ProxyService::new(Arc::clone(&shared.handler), setup);
        fixture
    }

    /// A connection over TCP.
    async fn connect_tcp(&self) -> TestClient<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let near = TcpStream::connect(server).await.unwrap();
        let (far, client) = listener.accept().await.unwrap();
        let service = self.service.clone();
        let drain = self.drain.clone();
        let peer = Peer::from_tcp(client, server);
        tokio::spawn(async move { service.serve(far, peer, drain).await });
        TestClient(near)
    }

    /// Waits until no connection holds a slot.
    async fn slots_free(&self) {
        let slots = &self.service.0.slots;
        let all = u32::try_from(limits().max_connections).unwrap();
        drop(slots.acquire_many(all).await.unwrap());
    }

    fn without_ca() -> Self {
        let mut fixture = Self::new();
        let shared = &fixture.service.0;
        let setup = EntrypointSetup {
            ca: Arc::default(),
            ..shared.setup.clone()
        };
        fixture.service = ProxyService::new(Arc::clone(&shared.handler), setup);
        fixture
    }

    /// A connection from this machine.
    fn connect(&self) -> TestClient {
        self.connect_as(Peer {
            address: Some("127.0.0.1:40000".parse().unwrap()),
            ..Peer::default()
        })
    }

    /// The same, over a wire that holds this many bytes.
    fn connect_with_buffer(&self, bytes: usize) -> TestClient {
        let peer = Peer {
            address: Some("127.0.0.1:40000".parse().unwrap()),
            ..Peer::default()
        };
        self.connect_over(duplex(bytes), peer)
    }

    fn connect_as(&self, peer: Peer) -> TestClient {
        self.connect_over(duplex(64 << 10), peer)
    }

    fn connect_over(&self, (near, far): (DuplexStream, DuplexStream), peer: Peer) -> TestClient {
        let service = self.service.clone();
        let drain = self.drain.clone();
        tokio::spawn(async move { service.serve(far, peer, drain).await });
        TestClient(near)
    }

    /// One request on a fresh connection.
    async fn ask(&self, request: &str) -> TestResponse {
        let mut wire = self.connect();
        wire.send(request).await;
        wire.answer().await
    }

    async fn turned_away(&mut self) -> (Entrypoint, u16) {
        let (entrypoint, status, _) = self.turned_away_because().await;
        (entrypoint, status)
    }

    async fn turned_away_because(&mut self) -> (Entrypoint, u16, String) {
        loop {
            match self.events.recv().await.unwrap() {
                HandlerEvent::TurnedAway(entrypoint, status, why) => {
                    return (entrypoint, status, why);
                }
                HandlerEvent::Unconnected(..) => {}
                events @ HandlerEvent::Tunnelled(..) => panic!("{events:?}"),
            }
        }
    }
}

/// The client's end.
struct TestClient<S = DuplexStream>(S);

#[derive(Debug)]
struct TestResponse {
    status: u16,
    head: String,
    body: String,
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> TestClient<S> {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("an answer"));
        }
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    }

    async fn answer(&mut self) -> TestResponse {
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        TestResponse {
            status,
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }

    /// Whether the other side has closed without sending anything more.
    async fn closed(&mut self) -> bool {
        self.0.read_u8().await.is_err()
    }
}

fn authority(scheme: Scheme, host: &str, port: u16) -> Authority {
    Authority {
        scheme,
        host: host.to_owned(),
        port,
    }
}
