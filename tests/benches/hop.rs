//! The cost of a hop: the CPU time of a whole request through the sidecar over loopback, beside a
//! minimal proxy built on the same HTTP library (reads a request, sets a header, forwards it and the
//! reply). Run with `cargo bench --bench hop`; `SMS_SIDECAR_BIN=FILE` measures another build. CPU
//! time is read from the kernel per process, so a busy machine changes it little. Compare figures of
//! one run only: caches and clock speed differ between runs.
//!
//! Both have the same release profile, one core, one worker thread, keep-alive on both sides, and
//! bodies with a Content-Length. The sidecar runs as users run it: every request is read, classified,
//! counted, remembered for duplicates, and logged as one JSON line. The minimal proxy streams the
//! body through. About half of the sidecar's CPU time is the kernel's, for the same two sockets; one
//! connection or eight makes no difference.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(clippy::unwrap_used, reason = "a failure ends the benchmark")]

use std::convert::Infallible;
use std::fs;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sms_sidecar::clock::{Clock, SystemClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
const REQUESTS: u32 = 8_000;
const CONNECTIONS: u32 = 8;
const PATIENCE: u32 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, listen, upstream] = arguments.as_slice()
        && word == "minimal-hop"
    {
        return runtime().block_on(minimal_hop(
            listen.parse().unwrap(),
            upstream.parse().unwrap(),
        ));
    }
    let provider = provider();
    let folder = tempfile::tempdir().unwrap();
    let minimal = Hop::minimal(provider);
    let sidecar = Hop::sidecar(provider, folder.path());
    let (minimal_costs, sidecar_costs): (Vec<Cost>, Vec<Cost>) = (0..ROUNDS)
        .map(|_| (minimal.round(), sidecar.round()))
        .unzip();
    println!(
        "one request over loopback, median of {ROUNDS} rounds of {REQUESTS} requests on {CONNECTIONS} connections"
    );
    println!("{:<40} {:>14} {:>16}", "", "CPU µs/request", "median µs");
    let minimal_cpu = show(minimal.name, &minimal_costs);
    let sidecar_cpu = show(sidecar.name, &sidecar_costs);
    println!("ratio of CPU time: {:.2}", sidecar_cpu / minimal_cpu);
}

/// Prints the medians of a hop, and returns its CPU time.
fn show(name: &str, rounds: &[Cost]) -> f64 {
    let cpu = median(rounds.iter().map(|cost| cost.cpu).collect());
    let wall = median(rounds.iter().map(|cost| cost.wall).collect());
    println!("{name:<40} {cpu:>14.1} {wall:>16.0}");
    cpu
}

/// One proxy in its own process; dropping it ends the process.
struct Hop {
    name: &'static str,
    process: Child,
    address: SocketAddr,
    path: &'static str,
}

/// CPU time and wall time per request.
struct Cost {
    cpu: f64,
    wall: f64,
}

/// Increases with each request, because the same text to the same number is a duplicate.
static CODE: AtomicU32 = AtomicU32::new(100_000);

impl Hop {
    fn minimal(provider: SocketAddr) -> Self {
        let address = free();
        let mut command = pinned(&std::env::current_exe().unwrap());
        command.args([
            "minimal-hop".to_owned(),
            address.to_string(),
            provider.to_string(),
        ]);
        Self::start(
            "minimal proxy: hyper, one header set",
            command,
            address,
            "/broker-api/send",
        )
    }

    #[expect(clippy::disallowed_methods, reason = "names another build")]
    fn sidecar(provider: SocketAddr, folder: &Path) -> Self {
        let address = free();
        let config = folder.join("config.toml");
        let secrets = folder.join("backend.env");
        fs::write(
            &secrets,
            "PLAYMOBILE_LOGIN=backend\nPLAYMOBILE_PASSWORD=a-password\n",
        )
        .unwrap();
        let text = format!(
            "[listen]\nproxy = \"{address}\"\nadmin = \"{}\"\n[vaults.local]\nenv = {{ file = \"{}\" }}\n\
             [providers.playmobile]\ndialect = \"playmobile\"\ncredential = {{ vault = \"local\" }}\n\
             base_url = \"http://{provider}/broker-api\"\ninsecure_http = true\n",
            free(),
            secrets.display()
        );
        fs::write(&config, text).unwrap();
        let program = std::env::var_os("SMS_SIDECAR_BIN")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_sms-sidecar").into());
        let mut command = pinned(Path::new(&program));
        command.arg("run").arg("--config").arg(&config);
        Self::start(
            "sms-sidecar, base-URL entrypoint",
            command,
            address,
            "/playmobile/broker-api/send",
        )
    }

    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        path: &'static str,
    ) -> Self {
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let hop = Self {
            name,
            process,
            address,
            path,
        };
        let up = (0..PATIENCE).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            std::net::TcpStream::connect(address).is_ok()
        });
        assert!(up, "{name} does not listen on {address}");
        hop
    }

    fn round(&self) -> Cost {
        runtime().block_on(self.load(REQUESTS / 10));
        let before = cpu(self.process.id());
        let walls = runtime().block_on(self.load(REQUESTS));
        let spent = cpu(self.process.id()).saturating_sub(before);
        Cost {
            cpu: spent.as_secs_f64() * 1e6 / f64::from(REQUESTS),
            wall: median(walls),
        }
    }

    /// Sends `requests` requests on keep-alive connections; returns the time of each in µs.
    async fn load(&self, requests: u32) -> Vec<f64> {
        let mut workers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            workers.spawn(connection(self.address, self.path, requests / CONNECTIONS));
        }
        workers.join_all().await.concat()
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

/// Sends requests one after the other on one connection.
async fn connection(address: SocketAddr, path: &'static str, requests: u32) -> Vec<f64> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let clock = SystemClock::start();
    let mut walls = Vec::new();
    for _ in 0..requests {
        let began = clock.now();
        send_code(&mut sender, address, path).await;
        walls.push(clock.now().since(began).as_secs_f64() * 1e6);
    }
    walls
}

/// Sends one code, and reads the success.
async fn send_code(sender: &mut SendRequest<Full<Bytes>>, address: SocketAddr, path: &str) {
    let code = CODE.fetch_add(1, Ordering::Relaxed);
    let body = format!(
        r#"{{"messages":[{{"recipient":"998901234567","message-id":"otp{code}","sms":{{"originator":"3700","content":{{"text":"1port: kodingiz {code}. Uni hech kimga bermang, hatto bizning xodimlarga ham. Kod 3 daqiqa amal qiladi, so'ng yangisini oling"}}}}}}]}}"#
    );
    let request = Request::post(path)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, "Basic c21zLXNpZGVjYXI6c21zLXNpZGVjYXI=")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Request is received");
}

/// A service that accepts everything, on a thread of this process.
fn provider() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        runtime().block_on(serve(listener, |request: Request<Incoming>| async move {
            let authorized = request.headers().contains_key(AUTHORIZATION);
            request.into_body().collect().await.unwrap();
            Response::builder()
                .status(if authorized { 200 } else { 401 })
                .body(Full::<Bytes>::from("Request is received"))
                .unwrap()
        }));
    });
    address
}

/// Reads a request, sets a header, forwards it, and returns the reply.
async fn minimal_hop(listen: SocketAddr, upstream: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Arc<Client<HttpConnector, Incoming>> =
        Arc::new(Client::builder(TokioExecutor::new()).build(connector));
    let listener = StdListener::bind(listen).unwrap();
    listener.set_nonblocking(true).unwrap();
    serve(listener, move |mut request: Request<Incoming>| {
        let client = Arc::clone(&client);
        async move {
            let path = request.uri().path().to_owned();
            *request.uri_mut() = Uri::builder()
                .scheme("http")
                .authority(upstream.to_string())
                .path_and_query(path)
                .build()
                .unwrap();
            request.headers_mut().insert(
                AUTHORIZATION,
                HeaderValue::from_static("Basic YmFja2VuZDphLXBhc3N3b3Jk"),
            );
            client.request(request).await.unwrap()
        }
    })
    .await;
}

async fn serve<A, F, B>(listener: StdListener, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request).map(Ok::<_, Infallible>));
            // A broken connection fails the round.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

/// Runs on the first core, so that both hops use the same one and neither moves between cores.
fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

/// The CPU time of all threads of a process; the kernel counts it in nanoseconds.
fn cpu(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let spent =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    Duration::from_nanos(
        spent
            .map(|text| {
                text.split(' ')
                    .next()
                    .unwrap_or_default()
                    .parse::<u64>()
                    .unwrap_or_default()
            })
            .sum(),
    )
}

/// A free address on loopback.
fn free() -> SocketAddr {
    StdListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
