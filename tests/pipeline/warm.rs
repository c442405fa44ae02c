//! Connections that are opened before a message needs them: a lone message finds one, and nobody is dialled in vain.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{CertificateParams, KeyPair};
use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::fake::{Fake, Say, refuses, say, takes};
use crate::stage::{Stage, route};

/// TLS in front of a fake service; counts handshakes and open connections.
struct TlsFront {
    address: SocketAddr,
    certificate: NamedTempFile,
    /// Of each handshake, whether it was resumed.
    handshakes: Arc<watch::Sender<Vec<bool>>>,
    open: Arc<watch::Sender<usize>>,
    /// Raised to close the connections that are open.
    closings: Arc<watch::Sender<usize>>,
    task: tokio::task::JoinHandle<()>,
}

/// What the connections of a front report to it.
#[derive(Clone)]
struct Counters {
    handshakes: Arc<watch::Sender<Vec<bool>>>,
    open: Arc<watch::Sender<usize>>,
    closings: Arc<watch::Sender<usize>>,
}

/// One connection to the service, until one side or the test closes it.
async fn relay(stream: TcpStream, acceptor: TlsAcceptor, service: SocketAddr, counters: Counters) {
    let mut closed = counters.closings.subscribe();
    let mut client = acceptor.accept(stream).await.unwrap();
    let is_resumed = client.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    counters.open.send_modify(|open| *open += 1);
    counters.handshakes.send_modify(|all| all.push(is_resumed));
    let mut service = TcpStream::connect(service).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut service) => {}
        _ = closed.changed() => {}
    }
    drop(client);
    counters.open.send_modify(|open| *open -= 1);
}

impl TlsFront {
    async fn open(fake: &Fake) -> Self {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(certificate.pem().as_bytes()).unwrap();
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![certificate.der().clone()],
                    PrivateKeyDer::Pkcs8(key.serialize_der().into()),
                )
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::new(watch::Sender::new(Vec::new()));
        let open = Arc::new(watch::Sender::new(0));
        let closings = Arc::new(watch::Sender::new(0));
        let service = fake.address;
        let counters = Counters {
            handshakes: Arc::clone(&handshakes),
            open: Arc::clone(&open),
            closings: Arc::clone(&closings),
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, acceptor.clone(), service, counters.clone()));
            }
        });
        Self {
            address,
            certificate: file,
            handshakes,
            open,
            closings,
            task,
        }
    }

    fn handshakes(&self) -> Vec<bool> {
        self.handshakes.borrow().clone()
    }

    async fn wait_for_handshakes(&self, many: usize) {
        let mut handshakes = self.handshakes.subscribe();
        handshakes.wait_for(|all| all.len() >= many).await.unwrap();
    }

    async fn wait_for_open(&self, many: usize) {
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open == many).await.unwrap();
    }

    /// Closes every connection, as a service does after its idle time.
    async fn close_all(&self) {
        self.closings.send_modify(|closings| *closings += 1);
        self.wait_for_open(0).await;
    }
}

/// The providers `a` and `b`, each behind TLS, and a route over them.
struct Fixture {
    stage: Stage,
    services: [Fake; 2],
    fronts: [TlsFront; 2],
}

impl Fixture {
    async fn open(more: &str) -> Self {
        let services = [
            Fake::open(|_, _| takes()).await,
            Fake::open(|_, _| takes()).await,
        ];
        let fronts = [
            TlsFront::open(&services[0]).await,
            TlsFront::open(&services[1]).await,
        ];
        let stage = Stage::open(&config(&fronts, more));
        Self {
            stage,
            services,
            fronts,
        }
    }

    /// One look at the connections; returns how many were opened.
    async fn look(&self) -> usize {
        let due = self.stage.proxy.due_warm_ups();
        join_all(due).await.len()
    }

    async fn send(&self, text: &str) {
        assert_eq!(self.stage.send(text).await.status, 202, "{text}");
    }
}

fn config(fronts: &[TlsFront; 2], more: &str) -> String {
    let provider = |name: &str, front: &TlsFront| {
        format!(
            "[providers.{name}]\ndialect = \"plain\"\nbase_url = \"https://{}\"\nca_file = \"{}\"\n\
             credential = {{ vault = \"v\", path = \"{name}\" }}\n{more}\n",
            front.address,
            front.certificate.path().display(),
        )
    };
    format!(
        "{}{}{}",
        provider("a", &fronts[0]),
        provider("b", &fronts[1]),
        route("a b", "")
    )
}

/// Lets connections grow older.
async fn grow_older(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_lone_message_finds_a_connection_after_the_provider_closed_the_last() {
    let it = Fixture::open("").await;
    assert_eq!(it.look().await, 0, "nothing was accepted yet");
    it.send("one").await;
    assert_eq!(it.look().await, 0, "the connection of the message is idle");
    it.fronts[0].close_all().await;
    assert_eq!(it.look().await, 1);
    it.fronts[0].wait_for_handshakes(2).await;
    it.send("two").await;
    let handshakes = it.fronts[0].handshakes();
    assert_eq!(
        handshakes,
        [false, true],
        "none in the time of the message, and resumed"
    );
    assert!(
        it.fronts[1].handshakes().is_empty(),
        "the backup is not in use"
    );
    let opened = [("provider", "a"), ("result", "opened")];
    assert_eq!(it.stage.metric("warm_connections_total", &opened), 1.0);
}

#[tokio::test]
async fn one_is_kept_and_is_replaced_before_its_time_is_over() {
    let it = Fixture::open("").await;
    it.send("one").await;
    it.fronts[0].close_all().await;
    for round in 1..=5 {
        assert_eq!(it.look().await, 1, "round {round}");
        it.fronts[0].wait_for_handshakes(1 + round).await;
        it.fronts[0].wait_for_open(1).await;
        grow_older(Duration::from_secs(1)).await;
        it.stage.pass(Duration::from_secs(1));
        assert_eq!(it.look().await, 0, "round {round}: it is still fresh");
        grow_older(Duration::from_secs(2)).await;
        it.stage.pass(Duration::from_secs(2));
    }
    it.send("two").await;
    assert_eq!(it.services[0].count(), 2);
    assert_eq!(it.fronts[0].handshakes().len(), 6);
}

#[tokio::test]
async fn a_message_that_meets_a_closed_one_goes_on_a_new_one() {
    let it = Fixture::open("").await;
    it.send("one").await;
    it.fronts[0].close_all().await;
    assert_eq!(it.look().await, 1);
    it.fronts[0].wait_for_open(1).await;
    it.fronts[0].close_all().await;
    it.send("two").await;
    assert_eq!(it.services[0].count(), 2, "each message once");
    assert_eq!(it.services[1].count(), 0, "no failover");
    assert_eq!(it.fronts[0].handshakes().len(), 3);
}

#[tokio::test]
async fn a_provider_that_refuses_is_not_hammered_and_stays_healthy() {
    let it = Fixture::open("").await;
    it.send("one").await;
    it.fronts[0].task.abort();
    it.fronts[0].close_all().await;
    let mut tries = 0;
    for _ in 0..600 {
        tries += it.look().await;
        it.stage.pass(Duration::from_secs(1));
    }
    assert_eq!(
        tries, 7,
        "5 s between the first two, and twice as long each time"
    );
    assert_eq!(it.stage.standing("a"), "healthy");
    let failed = [("provider", "a"), ("result", "failed")];
    assert_eq!(it.stage.metric("warm_connections_total", &failed), 7.0);
    let attempts = it.stage.metric("attempts_total", &[("provider", "a")]);
    assert_eq!(attempts, 1.0, "they are no attempts");
}

#[tokio::test]
async fn none_is_opened_to_a_provider_that_is_quarantined_or_long_unused_or_has_it_switched_off() {
    let it = Fixture::open("").await;
    it.send("one").await;
    it.services[0].now(|_, _| refuses("balance-empty"));
    it.send("two").await;
    assert_eq!(it.stage.standing("a"), "quarantined");
    it.fronts[0].close_all().await;
    it.fronts[1].close_all().await;
    assert_eq!(it.look().await, 1, "the backup is in use now");
    assert_eq!(it.fronts[0].handshakes().len(), 1);

    let it = Fixture::open("").await;
    it.send("one").await;
    it.fronts[0].close_all().await;
    it.stage.pass(Duration::from_hours(12));
    assert_eq!(it.look().await, 0);

    let it = Fixture::open("warm_connection = false").await;
    it.send("one").await;
    it.fronts[0].close_all().await;
    assert_eq!(it.look().await, 0);
}

#[tokio::test]
async fn a_reload_is_followed() {
    let mut it = Fixture::open("").await;
    it.send("one").await;
    it.stage.reload(&config(&it.fronts, ""));
    assert_eq!(it.look().await, 1, "the new client has no connection yet");
    it.fronts[0].wait_for_open(1).await;
    it.stage
        .reload(&config(&it.fronts, "warm_connection = false"));
    it.fronts[0].wait_for_open(0).await;
    assert_eq!(it.look().await, 0);
    let swapped = Fixture::open("").await;
    it.stage.reload(&config(&swapped.fronts, ""));
    assert_eq!(it.look().await, 0, "another address is another account");
}

#[tokio::test]
async fn where_the_announced_time_is_too_short_none_is_opened() {
    let announcing = |seconds: &str| -> Say {
        let all = format!("timeout={seconds}");
        say(202, &takes().body).with("keep-alive", &all)
    };
    for (seconds, is_opened) in [("2", 0), ("3", 0), ("4", 1), ("60", 1)] {
        let it = Fixture::open("").await;
        it.services[0].now(move |_, _| announcing(seconds));
        it.send("one").await;
        it.fronts[0].close_all().await;
        assert_eq!(it.look().await, is_opened, "timeout={seconds}");
    }
}
