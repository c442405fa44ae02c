//! A pipeline made from config text over fake services and a folder as vault, with a clock that
//! tests can move on.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use prometheus::Registry;
use sms_sidecar::app::metrics_schema;
use sms_sidecar::clock::{Clock, Moment, SystemClock};
use sms_sidecar::config::{Config, check_text};
use sms_sidecar::dialect::{Catalog, Reply, Request};
use sms_sidecar::net::byte_budget::ByteBudget;
use sms_sidecar::net::drain::{ClientConnection, Drain};
use sms_sidecar::net::entrypoint::{
    Authority, Entrypoint, EntrypointTarget, HandlerReply, IncomingRequest, RequestHandler, Scheme,
};
use sms_sidecar::net::peer::Peer;
use sms_sidecar::net::server::ConnectionService;
use sms_sidecar::proxy::{Control, Proxy, ProxyDeps};
use sms_sidecar::status::{self, Status};
use sms_sidecar::telemetry::{BuildInfo, Telemetry};
use sms_sidecar::vault::CredentialCache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake::Fake;

/// The machine's clock, advanced by tests.
#[derive(Debug)]
pub(crate) struct Warp(SystemClock, Mutex<Duration>);

impl Clock for Warp {
    fn now(&self) -> Moment {
        self.0.now().saturating_add(*self.1.lock().unwrap())
    }

    fn wall_clock(&self) -> SystemTime {
        self.0.wall_clock() + *self.1.lock().unwrap()
    }

    fn random_fraction(&self) -> f64 {
        self.0.random_fraction()
    }
}

/// The pipeline and its environment.
pub(crate) struct Stage {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) loaded: Config,
    parts: ProxyDeps,
    clock: Arc<Warp>,
    registry: Registry,
    vault: PathBuf,
}

/// One `[providers.NAME]` at this service.
pub(crate) fn provider(name: &str, dialect: &str, fake: &Fake, more: &str) -> String {
    format!(
        "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"http://{}\"\ninsecure_http = true\ntimeout = \"2s\"\n{}{more}\n",
        fake.address,
        if more.contains("credential") {
            String::new()
        } else {
            format!("credential = {{ vault = \"v\", path = \"{name}\" }}\n")
        }
    )
}

/// One route over these providers.
pub(crate) fn route(providers: &str, more: &str) -> String {
    let list: Vec<String> = providers
        .split_ascii_whitespace()
        .map(|name| format!("\"{name}\""))
        .collect();
    format!(
        "[[routes]]\nname = \"r\"\nproviders = [{}]\n{more}\n",
        list.join(", ")
    )
}

impl Stage {
    pub(crate) fn open(config: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "sms-sidecar-pipeline-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let vault = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&vault).unwrap();
        let loaded = load(&vault, config);
        let clock = Arc::new(Warp(SystemClock::start(), Mutex::default()));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let registry = Registry::new();
        let telemetry = Arc::new(
            Telemetry::new(
                &registry,
                &metrics_schema(&loaded, &loaded.listen, &BuildInfo::default()),
                Arc::clone(&shared),
            )
            .unwrap(),
        );
        let credential_cache = Arc::new(CredentialCache::new(
            &loaded.vault,
            Arc::clone(&shared),
            Box::new(|_| {}),
        ));
        let parts = ProxyDeps {
            credential_cache,
            telemetry,
            clock: shared,
            via_marker: "test-marker".into(),
            config_path: "test.toml".into(),
            has_control: true,
            reply_bytes: ByteBudget::unlimited(),
            max_requests: loaded.limits.max_connections,
        };
        let proxy = Proxy::new(
            loaded.proxy.clone(),
            &loaded.vault,
            &parts,
            [7; 64],
            1 << 20,
        )
        .unwrap();
        let stage = Self {
            proxy: Arc::new(proxy),
            loaded,
            parts,
            clock,
            registry,
            vault,
        };
        for provider in &stage.loaded.proxy.providers {
            stage.put(provider.id.as_str(), &usual(&provider.dialect.name));
        }
        stage
    }

    /// Continues with another config.
    pub(crate) fn reload(&mut self, config: &str) {
        self.loaded = load(&self.vault, config);
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let credential_cache = CredentialCache::new(&self.loaded.vault, clock, Box::new(|_| {}))
            .continue_from(&self.parts.credential_cache);
        self.parts = ProxyDeps {
            credential_cache: Arc::new(credential_cache),
            ..self.parts.clone()
        };
        self.parts.telemetry.update_schema(&metrics_schema(
            &self.loaded,
            &self.loaded.listen,
            &BuildInfo::default(),
        ));
        self.proxy
            .reload(
                self.loaded.proxy.clone(),
                &self.loaded.vault,
                &self.parts,
                1 << 20,
            )
            .unwrap();
    }

    /// Writes fields of one vault entry.
    pub(crate) fn put(&self, path: &str, fields: &[(&str, &str)]) {
        std::fs::create_dir_all(self.vault.join(path)).unwrap();
        for (field, value) in fields {
            std::fs::write(self.vault.join(path).join(field), value).unwrap();
        }
    }

    /// Removes a vault entry.
    pub(crate) fn lose(&self, path: &str) {
        std::fs::remove_dir_all(self.vault.join(path)).unwrap();
    }

    /// Makes a vault entry unreadable.
    pub(crate) fn spoil(&self, path: &str) {
        std::fs::write(self.vault.join(path).join("token"), [0xff, 0xfe, 0x00]).unwrap();
    }

    /// Reads this provider's vault entry, as the periodic read does.
    pub(crate) async fn looked(&self, provider: &str) {
        let provider = self
            .loaded
            .proxy
            .providers
            .iter()
            .find(|own| own.id.as_str() == provider)
            .unwrap();
        let reference = provider.credential.as_ref().unwrap();
        self.parts.credential_cache.poll(reference).await;
        self.proxy.refresh();
    }

    /// The paths of the first entries that the watch of the vaults reads.
    pub(crate) async fn watched_entries(&self, many: usize) -> Vec<String> {
        let cache = &self.parts.credential_cache;
        let mut changes = cache.subscribe_changes();
        let read = async {
            let mut paths = Vec::new();
            while paths.len() < many {
                paths.push(changes.recv().await.unwrap().path);
            }
            paths.sort();
            paths
        };
        let watch = Arc::clone(cache).run(|_| Duration::from_hours(1), std::future::pending());
        tokio::select! {
            paths = read => paths,
            () = watch => Vec::new(),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("not {many} entries"),
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.clock.1.lock().unwrap() += time;
    }

    /// One request, as the base-URL entrypoint passes it on.
    pub(crate) async fn ask(&self, request: Request) -> Reply {
        self.call(
            request,
            EntrypointTarget::BaseUrl,
            Peer::default(),
            ClientConnection::always_connected(),
        )
        .await
    }

    pub(crate) async fn call(
        &self,
        request: Request,
        target: EntrypointTarget,
        peer: Peer,
        line: ClientConnection,
    ) -> Reply {
        self.handle(request, target, peer, line).await.reply
    }

    /// The reply, and whether it denies the request.
    pub(crate) async fn handle(
        &self,
        request: Request,
        target: EntrypointTarget,
        peer: Peer,
        line: ClientConnection,
    ) -> HandlerReply {
        let arrival = IncomingRequest {
            id: "0".into(),
            entrypoint: Entrypoint::BaseUrl,
            target,
            request,
            peer,
            connection: line,
        };
        self.proxy.handle(arrival).await
    }

    /// This text in our own small API.
    pub(crate) async fn send(&self, text: &str) -> Reply {
        self.ask(message(text)).await
    }

    /// The sum of all series of this family that have these labels.
    pub(crate) fn metric(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("sms_sidecar_{family}");
        let families = self.registry.gather();
        let series = families
            .iter()
            .filter(|family| family.name() == name)
            .flat_map(prometheus::proto::MetricFamily::get_metric);
        let has = |metric: &&prometheus::proto::Metric| {
            labels.iter().all(|(name, value)| {
                metric
                    .get_label()
                    .iter()
                    .any(|pair| pair.name() == *name && pair.value() == *value)
            })
        };
        series
            .filter(has)
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }

    /// What the status page shows.
    pub(crate) fn shown_status(&self) -> Status {
        status::build(&self.parts.telemetry.snapshot())
    }

    /// The state of a provider.
    pub(crate) fn standing(&self, provider: &str) -> String {
        self.proxy.refresh();
        let is = |word: &&&str| {
            self.metric("provider_state", &[("provider", provider), ("state", word)]) > 0.5
        };
        ["healthy", "cooldown", "quarantined", "paused"]
            .iter()
            .find(is)
            .unwrap_or(&"")
            .to_string()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.vault).unwrap_or_default();
    }
}

fn load(vault: &std::path::Path, config: &str) -> Config {
    let head = format!(
        "[listen]\nproxy = \"127.0.0.1:1\"\n[vaults.v]\ndirectory = {{ path = \"{}\" }}\n",
        vault.display()
    );
    let (top, rest) = if config.starts_with("mode") {
        config.split_once('\n').unwrap()
    } else {
        ("", config)
    };
    let (loaded, problems) = check_text(
        "test.toml",
        &format!("{top}\n{head}{rest}"),
        &Catalog::built_in(),
    );
    loaded.unwrap_or_else(|| panic!("{problems:?}"))
}

/// A credential of the right shape.
fn usual(dialect: &str) -> Vec<(&'static str, &'static str)> {
    match dialect {
        "plain" => vec![("token", "token-number-1")],
        "eskiz" => vec![("email", "we@example.com"), ("password", "password-1")],
        "infobip" => vec![(
            "api_key",
            "0123456789abcdef0123456789abcdef-01234567-0123-0123-0123-0123456789ab",
        )],
        "twilio" => vec![
            ("account_sid", "AC0123456789abcdef0123456789abcdef"),
            ("auth_token", "0123456789abcdef0123456789abcdef"),
        ],
        _ => vec![("username", "our-user"), ("password", "password-1")],
    }
}

/// A message in our own small API.
pub(crate) fn message(text: &str) -> Request {
    post(
        "/plain/v1/messages",
        &serde_json::json!({ "to": "+998901234567", "text": text, "sender": "3700" }).to_string(),
    )
}

/// A message in Playmobile's format.
pub(crate) fn playmobile(id: &str, text: &str) -> Request {
    let body = serde_json::json!({ "messages": [{
        "recipient": "998901234567", "message-id": id, "sms": { "originator": "3700", "content": { "text": text } } }] });
    post("/playmobile/broker-api/send", &body.to_string())
}

pub(crate) fn post(path: &str, body: &str) -> Request {
    let headers = HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )]);
    let (path, query) = path
        .split_once('?')
        .map_or((path, None), |(path, query)| (path, Some(query.to_owned())));
    Request {
        method: Method::POST,
        path: path.into(),
        query,
        headers,
        body: Bytes::from(body.to_owned()),
    }
}

pub(crate) fn get(path: &str) -> Request {
    Request {
        method: Method::GET,
        body: Bytes::new(),
        ..post(path, "")
    }
}

pub(crate) fn with(mut request: Request, name: &str, value: &str) -> Request {
    request.headers.insert(
        name.parse::<HeaderName>().unwrap(),
        HeaderValue::from_str(value).unwrap(),
    );
    request
}

/// A host that the backend named.
pub(crate) fn host(fake: &Fake) -> EntrypointTarget {
    EntrypointTarget::Host(Authority {
        scheme: Scheme::Http,
        host: fake.address.ip().to_string(),
        port: fake.address.port(),
    })
}

pub(crate) fn body(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

pub(crate) fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// What the log gets from this thread, from INFO on.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

thread_local! {
    static LINES: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

impl Lines {
    /// Collects from now on. One log serves all threads: each test has its own, and a log per test would be missed by
    /// the events that another test met first.
    pub(crate) fn of_this_thread() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            tracing_subscriber::fmt()
                .with_writer(|| ThreadLog)
                .with_ansi(false)
                .init();
        });
        let lines = Self::default();
        LINES.set(Some(lines.clone()));
        lines
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Hands each line to the test of its thread.
struct ThreadLog;

impl std::io::Write for ThreadLog {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow(|lines| {
            if let Some(lines) = lines {
                lines.0.lock().unwrap().extend_from_slice(line);
            }
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Stage {
    /// The control socket's reply.
    pub(crate) async fn control(&self, line: &str, body: &str) -> String {
        let control = Control::new(Arc::clone(&self.proxy));
        self.control_over(&control, line, body).await
    }

    /// The same by this socket, which other clients use, too.
    pub(crate) async fn control_over(&self, control: &Control, line: &str, body: &str) -> String {
        let control = control.clone();
        let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let served = tokio::spawn(async move {
            control
                .serve(theirs, Peer::default(), Drain::default())
                .await;
        });
        let request = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        ours.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        ours.read_to_string(&mut text).await.unwrap();
        served.await.unwrap();
        text
    }

    /// Probes the queued rejections and returns their number.
    pub(crate) async fn settle(&self) -> usize {
        let mut count = 0;
        while let Some(suspicion) = self.proxy.next_pending_probe().now_or_never() {
            self.proxy.disambiguate(suspicion).await;
            count += 1;
        }
        count
    }

    /// The cause of the provider's quarantine or cooldown, as `status` shows it.
    pub(crate) async fn cause(&self, provider: &str) -> String {
        let own = self.provider_status(provider).await;
        own["cause"].as_str().unwrap_or_default().to_owned()
    }

    /// The status as JSON.
    pub(crate) async fn status(&self) -> serde_json::Value {
        let answer = self.control("GET /status", "").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{head}");
        serde_json::from_str(body).unwrap()
    }

    /// A provider as `status` shows it.
    pub(crate) async fn provider_status(&self, provider: &str) -> serde_json::Value {
        let status = self.status().await;
        let all = status["providers"].as_array().unwrap();
        let own = all.iter().find(|own| own["provider"] == provider);
        own.unwrap().clone()
    }

    /// Reads a provider's vault entry for the first time, as the watch does at the start.
    pub(crate) async fn looked_first(&self, provider: &str) {
        let provider = self
            .loaded
            .proxy
            .providers
            .iter()
            .find(|own| own.id.as_str() == provider)
            .unwrap();
        self.parts
            .credential_cache
            .get(provider.credential.as_ref().unwrap())
            .await
            .unwrap();
    }
}
