//! The client: a closed loop, an open loop at a fixed rate, and idle connections.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sms_sidecar::clock::{Clock, Moment, SystemClock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::peer::{Entry, Peer};
use crate::service::runtime;

/// The host that the backend names in CONNECT.
const HOST_NAME: &str = "send.smsxabar.uz";
/// Connections of the open loop; at 2,000/s few of them are busy at once.
const OPEN_CONNECTIONS: usize = 16;

/// Increases with each request, because the same text to the same number is a duplicate.
static CODE: AtomicU32 = AtomicU32::new(100_000);

/// A backend of one peer.
#[derive(Clone)]
pub(crate) struct Client(Arc<Target>);

struct Target {
    address: SocketAddr,
    entry: Entry,
    ca_file: PathBuf,
    clock: SystemClock,
}

/// The result of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) requests: u32,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) median_us: f64,
    pub p99_us: f64,
}

/// The memory of a peer before, during and after many idle connections, in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleMemory {
    pub(crate) before: f64,
    pub(crate) open: f64,
    pub(crate) after: f64,
}

/// The result of a load beyond the capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    /// Those that were accepted; the time counts from when each was written.
    pub(crate) answered: Load,
    /// Those that the peer sent away.
    pub(crate) shed: u32,
    /// How many seconds passed until the last answer.
    pub(crate) took: f64,
}

type Sender = SendRequest<Full<Bytes>>;

impl Client {
    /// A client for the peer that listens on `listen`.
    pub(crate) fn new(peer: &Peer, folder: &Path, listen: SocketAddr, service: SocketAddr) -> Self {
        Self(Arc::new(Target {
            address: if peer.is_started() { listen } else { service },
            entry: peer.entry(),
            ca_file: folder.join("ca.pem"),
            clock: SystemClock::start(),
        }))
    }

    /// Whether the peer accepts a message now.
    pub(crate) fn is_answered(&self) -> bool {
        runtime().block_on(async {
            let Some(mut sender) = self.try_connect().await else {
                return false;
            };
            let reply = sender.send_request(self.request()).await;
            reply.is_ok_and(|reply| reply.status().is_success())
        })
    }

    /// Each of `connections` sends the next request when it has the reply to the last one.
    pub(crate) fn closed_loop(&self, connections: usize, seconds: u32) -> Load {
        let times = runtime().block_on(async {
            let until = self.now() + Duration::from_secs(seconds.into());
            let mut workers = JoinSet::new();
            for _ in 0..connections {
                workers.spawn(self.clone().send_until(until));
            }
            workers.join_all().await.concat()
        });
        Load::new(times, seconds)
    }

    async fn send_until(self, until: Duration) -> Vec<f64> {
        let mut sender = self.connect().await;
        let mut times = Vec::new();
        while self.now() < until {
            times.push(self.send(&mut sender, self.0.clock.now()).await);
        }
        times
    }

    /// Requests come at a fixed rate, whether or not earlier ones are answered; each one's time counts from when it was due.
    pub(crate) fn open_loop(&self, rate: u32, seconds: u32) -> Load {
        let count = rate * seconds;
        let (due, dues) = mpsc::channel(count as usize);
        let dues = Arc::new(Mutex::new(dues));
        let times = runtime().block_on(async {
            let mut workers = JoinSet::new();
            for _ in 0..OPEN_CONNECTIONS {
                let sender = self.connect().await;
                workers.spawn(self.clone().send_due(sender, Arc::clone(&dues)));
            }
            let client = self.clone();
            let pace = std::thread::spawn(move || client.pace(rate, count, &due));
            let times = workers.join_all().await.concat();
            pace.join().unwrap();
            times
        });
        Load::new(times, seconds)
    }

    /// Requests come at a fixed rate over many connections; one for which no connection is free is not sent, and one that
    /// the peer sends away is lost.
    pub(crate) fn flood(&self, rate: u32, seconds: u32, connections: usize) -> Flood {
        let (due, dues) = mpsc::channel(connections);
        let dues = Arc::new(Mutex::new(dues));
        let shed = Arc::new(AtomicU32::new(0));
        let began = self.now();
        let times = runtime().block_on(async {
            let mut workers = JoinSet::new();
            for _ in 0..connections {
                let client = self.clone();
                workers.spawn(client.send_if_accepted(Arc::clone(&dues), Arc::clone(&shed)));
            }
            let client = self.clone();
            let pace = std::thread::spawn(move || client.pace_lossy(rate, rate * seconds, &due));
            let times = workers.join_all().await.concat();
            pace.join().unwrap();
            times
        });
        // Those that wait at the end are answered later.
        let took = self.now().saturating_sub(began).as_secs_f64();
        let answered = Load::new(times, seconds);
        let answered = Load {
            rate: f64::from(answered.requests) / took,
            ..answered
        };
        Flood {
            answered,
            shed: shed.load(Ordering::Relaxed),
            took,
        }
    }

    fn pace_lossy(&self, rate: u32, count: u32, due: &mpsc::Sender<Moment>) {
        let began = self.now();
        for number in 0..count {
            let at = began + Duration::from_secs(1) * number / rate;
            std::thread::sleep(at.saturating_sub(self.now()));
            // Full: as many wait in the load as it has connections.
            due.try_send(self.0.clock.now()).unwrap_or_default();
        }
    }

    async fn send_if_accepted(
        self,
        dues: Arc<Mutex<mpsc::Receiver<Moment>>>,
        shed: Arc<AtomicU32>,
    ) -> Vec<f64> {
        let mut times = Vec::new();
        let mut open = None;
        while dues.lock().await.recv().await.is_some() {
            let began = self.0.clock.now();
            match self.try_send(open.take()).await {
                Some(sender) => {
                    times.push(self.0.clock.now().since(began).as_secs_f64() * 1e6);
                    open = Some(sender);
                }
                None => {
                    shed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        times
    }

    /// Sends one code; the connection comes back if it was accepted.
    async fn try_send(&self, open: Option<Sender>) -> Option<Sender> {
        let mut sender = match open {
            Some(sender) if !sender.is_closed() => sender,
            Some(_) | None => self.try_connect().await?,
        };
        sender.ready().await.ok()?;
        let reply = sender.send_request(self.request()).await.ok()?;
        let is_accepted = reply.status().is_success();
        reply.into_body().collect().await.ok()?;
        is_accepted.then_some(sender)
    }

    /// A thread of its own, because the timers of the runtime have a resolution of a millisecond.
    fn pace(&self, rate: u32, count: u32, due: &mpsc::Sender<Moment>) {
        let began = self.now();
        for number in 0..count {
            let at = began + Duration::from_secs(1) * number / rate;
            std::thread::sleep(at.saturating_sub(self.now()));
            due.try_send(self.0.clock.now()).unwrap();
        }
    }

    async fn send_due(
        self,
        mut sender: Sender,
        dues: Arc<Mutex<mpsc::Receiver<Moment>>>,
    ) -> Vec<f64> {
        let mut times = Vec::new();
        loop {
            let due = dues.lock().await.recv().await;
            let Some(due) = due else {
                return times;
            };
            times.push(self.send(&mut sender, due).await);
        }
    }

    /// Opens connections, sends one request on each, and lets them idle.
    pub(crate) fn idle_connections(&self, count: u32, memory: impl Fn() -> f64) -> IdleMemory {
        let open = RefCell::new(Vec::with_capacity(count as usize));
        let before = memory();
        runtime().block_on(async {
            for _ in 0..count {
                let mut sender = self.connect().await;
                self.send(&mut sender, self.0.clock.now()).await;
                open.borrow_mut().push(sender);
            }
            let during = memory();
            open.borrow_mut().clear();
            tokio::time::sleep(Duration::from_secs(2)).await;
            IdleMemory {
                before,
                open: during,
                after: memory(),
            }
        })
    }

    fn now(&self) -> Duration {
        self.0.clock.now().since(Moment::default())
    }

    /// Sends one code and reads the success; returns the microseconds since `due`.
    async fn send(&self, sender: &mut Sender, due: Moment) -> f64 {
        let reply = sender.send_request(self.request()).await.unwrap();
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status}: {body:?}");
        self.0.clock.now().since(due).as_secs_f64() * 1e6
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let (path, host) = match self.0.entry {
            Entry::BaseUrl(path) => (path, self.0.address.to_string()),
            Entry::Connect => ("", HOST_NAME.to_owned()),
        };
        let code = CODE.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            r#"{{"messages":[{{"recipient":"998901234567","message-id":"otp{code}","sms":{{"originator":"3700","content":{{"text":"1port: kodingiz {code}. Uni hech kimga bermang, hatto bizning xodimlarga ham. Kod 3 daqiqa amal qiladi, so'ng yangisini oling"}}}}}}]}}"#
        );
        Request::post(format!("{path}/broker-api/send"))
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, "Basic c21zLXNpZGVjYXI6c21zLXNpZGVjYXI=")
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    }

    async fn connect(&self) -> Sender {
        self.try_connect().await.unwrap()
    }

    async fn try_connect(&self) -> Option<Sender> {
        let stream = TcpStream::connect(self.0.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        match self.0.entry {
            Entry::BaseUrl(_) => http_on(stream).await,
            Entry::Connect => http_on(self.tls_inside(stream).await?).await,
        }
    }

    async fn tls_inside(
        &self,
        mut stream: TcpStream,
    ) -> Option<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let head = format!("CONNECT {HOST_NAME}:443 HTTP/1.1\r\nhost: {HOST_NAME}:443\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.ok()?);
        }
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&self.0.ca_file).ok()?)
            .ok()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().ok()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(HOST_NAME).ok()?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .ok()
    }
}

async fn http_on(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Option<Sender> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

impl Load {
    fn new(mut times: Vec<f64>, seconds: u32) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: usize| {
            times
                .get(times.len() * share / 100)
                .copied()
                .unwrap_or_default()
        };
        let requests = u32::try_from(times.len()).unwrap();
        Self {
            requests,
            rate: f64::from(requests) / f64::from(seconds),
            median_us: at(50),
            p99_us: at(99),
        }
    }
}
