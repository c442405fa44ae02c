//! Wires the components together, in reading order: metrics, vaults, pipeline, listeners,
//! background tasks. No module below this one is aware of the config file.

mod metrics_schema;
mod notify;
mod reload;
mod trace_export;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{Admin, Pages, Readiness, serve_connection};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigKey};
use crate::diagnosis::complete_commands;
use crate::net::byte_budget::ByteBudget;
use crate::net::ca::{ActiveCa, Ca};
use crate::net::drain::{Drain, Phase};
use crate::net::entrypoint::{EntrypointSetup, ProxyService};
use crate::net::file_limit::{self, FileLimitInsufficient};
use crate::net::peer::Peer;
use crate::net::server::{AcceptErrorHook, ConnectionService, LifecycleHooks, Server, Stream};
use crate::notify::Notifier;
use crate::policy::WARM_INTERVAL;
use crate::problem::ProblemReport;
use crate::proxy::{Control, Proxy, ProxyDeps};
use crate::sms::Entrypoint;
use crate::status::{ControlReply, SendReport, SendRequest};
use crate::telemetry::{
    AcceptFailed, BuildInfo, CaExpiry, ConfigChange, FileLimitLow, LogWriter, Panicked, Started,
    Stopping, Telemetry, VaultRead, VaultReadResult,
};
use crate::trace_export::Exporter;
use crate::vault::{CredentialCache, ReadEventSink, ReadOutcome};

pub(crate) use metrics_schema::listen_addresses;
pub use metrics_schema::metrics_schema;

/// A sidecar that is built but does not listen yet.
#[derive(Debug)]
pub struct App {
    process: ProcessContext,
    loaded: Config,
    registry: Registry,
    credential_cache: watch::Sender<Arc<CredentialCache>>,
    proxy: Arc<Proxy>,
    ca: Arc<ActiveCa>,
    exporter: watch::Sender<Option<Arc<Exporter>>>,
    notifier: watch::Sender<Option<Arc<Notifier>>>,
    /// Held during a reload: a signal and a command may arrive at the same time.
    reload_lock: Mutex<()>,
}

/// State that lives as long as the process and survives reloads.
#[derive(Debug)]
struct ProcessContext {
    config_file: PathBuf,
    build: BuildInfo,
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
    /// Marks our own requests in `Via`; unique to this process.
    via_marker: String,
    reply_bytes: ByteBudget,
}

/// How often provider states are published, so that the end of a cooldown is logged in time.
const HEALTH_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

impl ProcessContext {
    fn new(
        file: &Path,
        loaded: &Config,
        build: BuildInfo,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let schema = metrics_schema(loaded, &loaded.listen, &build);
        let telemetry = Telemetry::new(registry, &schema, Arc::clone(&clock))?;
        Ok(Self {
            config_file: file.to_owned(),
            build,
            clock,
            telemetry: Arc::new(telemetry),
            via_marker: format!("sms-sidecar-{:016x}", rand::random::<u64>()),
            reply_bytes: loaded.limits.byte_budget(),
        })
    }

    fn credential_cache(&self, loaded: &Config) -> CredentialCache {
        let sink = vault_read_sink(&self.telemetry, loaded.file().to_owned());
        CredentialCache::new(&loaded.vault, Arc::clone(&self.clock), sink)
    }

    fn proxy_deps(&self, loaded: &Config, credential_cache: &Arc<CredentialCache>) -> ProxyDeps {
        ProxyDeps {
            credential_cache: Arc::clone(credential_cache),
            telemetry: Arc::clone(&self.telemetry),
            clock: Arc::clone(&self.clock),
            via_marker: self.via_marker.clone(),
            config_path: self.config_file.display().to_string(),
            has_control: loaded.listen.control.is_some(),
            reply_bytes: self.reply_bytes.clone(),
            max_requests: loaded.limits.max_connections,
        }
    }
}

impl App {
    /// Builds everything that needs no socket.
    pub fn build(file: &Path, loaded: Config, build: BuildInfo) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let process = ProcessContext::new(file, &loaded, build, &registry)?;
        let credential_cache = Arc::new(process.credential_cache(&loaded));
        let proxy = Proxy::new(
            loaded.proxy.clone(),
            &loaded.vault,
            &process.proxy_deps(&loaded, &credential_cache),
            rand::random(),
            loaded.limits.max_body,
        )?;
        let exporter = trace_export::build_exporter(&loaded, &process.build)?;
        let notifier = notify::build_notifier(&loaded, &credential_cache, &process.build)?;
        if notifier.is_some() {
            process.telemetry.init_notifications();
        }
        process
            .telemetry
            .set_config_change_check(config_change_check(&loaded));
        process
            .telemetry
            .set_trace_sampling(exporter.as_ref().map(|exporter| exporter.sample_ratio()));
        Ok(Self {
            process,
            loaded,
            registry,
            credential_cache: watch::Sender::new(credential_cache),
            proxy: Arc::new(proxy),
            ca: Arc::default(),
            exporter: watch::Sender::new(exporter),
            notifier: watch::Sender::new(notifier),
            reload_lock: Mutex::default(),
        })
    }

    /// Opens the listeners and serves until a signal ends the process. Call outside any runtime.
    pub fn serve(self) -> anyhow::Result<()> {
        let ca = load_ca(&self.loaded, &self.process.clock)?;
        self.activate_ca(ca);
        let app = Arc::new(self);
        let mut server = Server::new(app.loaded.limits, app.accept_error_hook());
        let readiness = Readiness::default();
        let waiting = readiness.register("listeners");
        app.open_listeners(&mut server, &readiness)?;
        app.spawn_background_tasks(&mut server);
        app.spawn_trace_exporter(&mut server);
        app.spawn_notifier(&mut server);
        let ready = {
            let app = Arc::clone(&app);
            move || {
                drop(waiting);
                app.emit_started();
            }
        };
        // The log and the status already report the result of a reload.
        let reload = move || drop(app.reload(None));
        let stopping = |signal| Stopping { signal }.emit();
        server.run(LifecycleHooks::new(ready, reload, stopping));
        Ok(())
    }

    /// Sends one message for an operator without any listener. The response is the same as that of the
    /// control socket's `/send`.
    pub async fn send(&self, request: SendRequest) -> ControlReply<SendReport> {
        Control::new(Arc::clone(&self.proxy)).send(request).await
    }

    /// Puts the CA in force, at the start and after a reload.
    fn activate_ca(&self, ca: Option<Ca>) {
        let at = ca.as_ref().map(Ca::expires);
        self.ca.replace(ca);
        CaExpiry { at }.emit(&self.process.telemetry);
    }

    fn open_listeners(
        self: &Arc<Self>,
        server: &mut Server,
        readiness: &Readiness,
    ) -> anyhow::Result<()> {
        let listen = &self.loaded.listen;
        let entrypoints = ProxyService::new(Arc::clone(&self.proxy), self.entrypoint_setup());
        if let Some(address) = listen.proxy {
            server.add_tcp("proxy", address, entrypoints.clone())?;
        }
        if let Some(path) = &listen.unix {
            server.add_unix("unix", path, entrypoints.clone())?;
        }
        if let Some(address) = listen.admin {
            server.add_tcp("admin", address, self.admin_service(readiness, Pages::All))?;
        }
        if let Some(address) = listen.metrics {
            let service = self.admin_service(readiness, Pages::Probes);
            server.add_tcp("metrics", address, service)?;
        }
        if let Some(path) = &listen.control {
            let app = Arc::clone(self);
            server.add_unix(
                "control",
                path,
                Control::new(Arc::clone(&self.proxy)).with_reload(move |by| app.reload(Some(by))),
            )?;
        }
        Ok(())
    }

    fn entrypoint_setup(&self) -> EntrypointSetup {
        let listen = &self.loaded.listen;
        let tcp = [listen.proxy, listen.admin, listen.metrics];
        let limits = file_limit::cap_connections(self.loaded.limits);
        EntrypointSetup {
            ca: Arc::clone(&self.ca),
            limits,
            own_names: listen.names.clone(),
            own_addresses: tcp.into_iter().flatten().collect(),
            via_marker: self.process.via_marker.clone(),
            clock: Arc::clone(&self.process.clock),
            open_connections: self
                .process
                .telemetry
                .open_connections(limits.max_connections),
        }
    }

    fn accept_error_hook(&self) -> AcceptErrorHook {
        let telemetry = Arc::clone(&self.process.telemetry);
        Arc::new(move |listener, error| {
            AcceptFailed {
                listener,
                entrypoint: listen_entrypoint(listener),
                problem: &error.to_string(),
                remedy: file_limit::accept_remedy(error),
            }
            .emit(&telemetry);
        })
    }

    /// Raises the limit of open files as far as the kernel allows, and reports one that stays too low. Fails if
    /// nothing can be served with it.
    fn raise_file_limit(&self) -> Result<(), FileLimitInsufficient> {
        if let Err(error) = file_limit::raise() {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
        if let Some(shortage) = file_limit::shortage(&self.loaded.limits) {
            FileLimitLow {
                problem: &shortage.to_string(),
                remedy: &shortage.remedy(),
            }
            .emit(&self.process.telemetry);
        }
        file_limit::require_minimum(&self.loaded.limits)
    }

    fn admin_service(&self, readiness: &Readiness, pages: Pages) -> AdminService {
        AdminService(Admin::new(
            self.registry.clone(),
            Arc::clone(&self.process.telemetry),
            readiness.clone(),
            pages,
        ))
    }

    fn spawn_background_tasks(&self, server: &mut Server) {
        self.spawn_vault_reader(server);
        self.spawn_state_refresh(server);
        self.spawn_disambiguation(server);
        self.spawn_warm_ups(server);
    }

    /// Reads the vaults, and starts over with the cache of a new config.
    fn spawn_vault_reader(&self, server: &mut Server) {
        let mut credential_caches = self.credential_cache.subscribe();
        let proxy = Arc::clone(&self.proxy);
        server.add_background("vaults", move |drain| async move {
            while drain.phase() == Phase::Serving {
                let credential_cache = Arc::clone(&credential_caches.borrow_and_update());
                let cadence = |reference: &_| proxy.vault_poll_interval(reference);
                credential_cache
                    .run(cadence, cache_replaced(&mut credential_caches, &drain))
                    .await;
            }
        });
    }

    /// Publishes provider states and new credentials, and runs the probes that are due.
    fn spawn_state_refresh(&self, server: &mut Server) {
        let mut changes = self.credential_cache.borrow().subscribe_changes();
        let proxy = Arc::clone(&self.proxy);
        server.add_background("provider-states", move |drain| async move {
            let mut tick = tokio::time::interval(HEALTH_REFRESH_INTERVAL);
            while drain.phase() == Phase::Serving {
                tokio::select! {
                    _ = tick.tick() => {}
                    // A refresh reads all entries, so missed changes do no harm.
                    Ok(_) | Err(RecvError::Lagged(_)) = changes.recv() => {}
                    () = drain.wait_for(Phase::Draining) => {}
                }
                proxy.refresh();
                proxy.run_due_probes().await;
            }
        });
    }

    /// Probes the causes of ambiguous rejections.
    fn spawn_disambiguation(&self, server: &mut Server) {
        let proxy = Arc::clone(&self.proxy);
        server.add_background("disambiguation", move |drain| async move {
            let mut running = JoinSet::new();
            while drain.phase() == Phase::Serving {
                tokio::select! {
                    pending = proxy.next_pending_probe() => {
                        let proxy = Arc::clone(&proxy);
                        running.spawn(async move { proxy.disambiguate(pending).await });
                    }
                    Some(_) = running.join_next() => {}
                    () = drain.wait_for(Phase::Draining) => {}
                }
            }
        });
    }

    /// Opens connections in advance. The end of the process aborts those that are being opened.
    fn spawn_warm_ups(&self, server: &mut Server) {
        let proxy = Arc::clone(&self.proxy);
        server.add_background("warm-connections", move |drain| async move {
            let mut tick = tokio::time::interval(WARM_INTERVAL);
            let mut running = JoinSet::new();
            while drain.phase() == Phase::Serving {
                tokio::select! {
                    _ = tick.tick() => {
                        for warm_up in proxy.due_warm_ups() {
                            running.spawn(warm_up);
                        }
                    }
                    Some(_) = running.join_next() => {}
                    () = drain.wait_for(Phase::Draining) => {}
                }
            }
        });
    }

    fn emit_started(&self) {
        Started {
            build: &self.process.build,
            at: self.process.clock.wall_clock(),
            addresses: &listen_addresses(&self.loaded.listen),
        }
        .emit(&self.process.telemetry);
    }
}

/// The entrypoint of a connection that no request has been read from; none for the admin listeners.
fn listen_entrypoint(listener: &str) -> Option<Entrypoint> {
    match listener {
        "proxy" => Some(Entrypoint::BaseUrl),
        "unix" => Some(Entrypoint::Unix),
        "control" => Some(Entrypoint::Control),
        _ => None,
    }
}

/// Reads the CA that a config names.
fn load_ca(loaded: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Ca>, ProblemReport> {
    let Some(settings) = &loaded.ca else {
        return Ok(None);
    };
    let ca = Ca::load(settings, Arc::clone(clock)).map_err(|error| ProblemReport {
        problems: vec![loaded.error(&ConfigKey::Ca, error.to_string())],
        texts: loaded.warnings.texts.clone(),
    })?;
    Ok(Some(ca))
}

/// Waits for a reload to replace the credential cache, or for the process to drain.
async fn cache_replaced(
    credential_caches: &mut watch::Receiver<Arc<CredentialCache>>,
    drain: &Drain,
) {
    tokio::select! {
        Ok(()) = credential_caches.changed() => {}
        () = drain.wait_for(Phase::Draining) => {}
    }
}

/// Returns a check for changes to the config's files after they were read. The check returns the
/// file and the time of the change.
fn config_change_check(
    loaded: &Config,
) -> impl Fn() -> Option<ConfigChange> + Send + Sync + 'static {
    let read = loaded.fingerprint.clone();
    move || {
        let (file, at) = read.change()?;
        Some(ConfigChange { file, at })
    }
}

/// Serves a config until a signal ends the process. Panics are logged from here on.
pub fn run(file: &Path, loaded: Config, build: BuildInfo, log: &LogWriter) -> anyhow::Result<()> {
    crate::harden::set_panic_hook(|place| {
        Panicked {
            location: &place.location,
            thread: &place.thread,
        }
        .emit();
    });

    let app = App::build(file, loaded, build)?;
    app.process.telemetry.count_dropped_lines(log);
    app.raise_file_limit()?;
    app.serve()
}

/// One admin listener.
struct AdminService(Admin);

impl ConnectionService for AdminService {
    async fn serve<S: Stream>(&self, stream: S, _: Peer, drain: Drain) {
        tokio::select! {
            () = serve_connection(stream, self.0.clone()) => {}
            () = drain.wait_for(Phase::Closing) => {}
        }
    }
}

/// Emits an event for each read of a vault.
fn vault_read_sink(telemetry: &Arc<Telemetry>, config: String) -> ReadEventSink {
    let telemetry = Arc::clone(telemetry);
    Box::new(move |event| {
        let (result, problem) = match event.outcome {
            ReadOutcome::Unchanged(_) => (VaultReadResult::Unchanged, None),
            ReadOutcome::New(_, warnings) => (
                VaultReadResult::Changed,
                warnings
                    .first()
                    .map(|warning| format!("field `{}` {}", warning.field, warning.problem)),
            ),
            ReadOutcome::Failed(error) => {
                let problem = complete_commands(&error.to_string(), &config);
                (error.result(), Some(problem))
            }
        };
        VaultRead {
            vault: event.vault,
            path: event.path,
            result,
            problem: problem.as_deref(),
        }
        .emit(&telemetry);
    })
}
