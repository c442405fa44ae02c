//! Puts the parts together, in reading order: log, metrics, vaults, pipeline, listeners. What
//! is built here is all there is; nothing below knows that a config file exists.

mod metrics_schema;
mod reload;
mod trace_export;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use prometheus::Registry;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{Admin, Pages, Readiness, serve_connection};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigKey};
use crate::net::ca::Ca;
use crate::net::drain::{Drain, Phase};
use crate::net::entrypoint::{EntrypointSetup, ProxyService};
use crate::net::peer::Peer;
use crate::net::server::{ConnectionService, Server, Stream};
use crate::problem::ProblemReport;
use crate::proxy::{Control, Proxy, ProxyDeps};
use crate::telemetry::{
    BuildInfo, CaExpiry, Panicked, Started, Stopping, Telemetry, VaultRead, VaultReadResult,
};
use crate::trace_export::Exporter;
use crate::vault::{CredentialCache, ReadErrorKind, ReadEventSink, ReadOutcome};

use metrics_schema::listen_addresses;
pub use metrics_schema::metrics_schema;

/// A sidecar that is built and does not listen yet.
#[derive(Debug)]
pub struct App {
    loaded: Config,
    config_file: PathBuf,
    build: BuildInfo,
    clock: Arc<dyn Clock>,
    registry: Registry,
    telemetry: Arc<Telemetry>,
    keeper: watch::Sender<Arc<CredentialCache>>,
    proxy: Arc<Proxy>,
    exporter: watch::Sender<Option<Arc<Exporter>>>,
    /// Held by the one reload that runs: a signal and a command may come at once.
    reload_lock: Mutex<()>,
    /// Ours in `Via`, unique to this process.
    marker: String,
}

/// How often standings are looked at, so that a rest that ended by time is told.
const HEALTH_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

impl App {
    /// Builds everything that needs no socket.
    pub fn build(file: &Path, loaded: Config, build: BuildInfo) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let registry = Registry::new();
        let telemetry = Arc::new(Telemetry::new(
            &registry,
            &metrics_schema(&loaded, &loaded.listen, &build),
            Arc::clone(&clock),
        )?);
        let keeper = Arc::new(CredentialCache::new(
            &loaded.vault,
            Arc::clone(&clock),
            vault_read_sink(&telemetry),
        ));
        let marker = format!("sms-sidecar-{:016x}", rand::random::<u64>());
        let parts = ProxyDeps {
            keeper: Arc::clone(&keeper),
            telemetry: Arc::clone(&telemetry),
            clock: Arc::clone(&clock),
            via_marker: marker.clone(),
            config_path: file.display().to_string(),
            has_control: loaded.listen.control.is_some(),
        };
        let proxy = Proxy::new(
            loaded.proxy.clone(),
            &loaded.vault,
            &parts,
            rand::random(),
            loaded.limits.max_body,
        )?;
        telemetry.set_config_change_check(config_change_check(&loaded));
        let exporter = watch::Sender::new(trace_export::build_exporter(&loaded, &build)?);
        telemetry.set_trace_sampling(
            exporter
                .borrow()
                .as_ref()
                .map(|exporter| exporter.sample_ratio()),
        );
        let (keeper, proxy) = (watch::Sender::new(keeper), Arc::new(proxy));
        Ok(Self {
            config_file: file.to_owned(),
            loaded,
            build,
            clock,
            registry,
            telemetry,
            keeper,
            proxy,
            exporter,
            reload_lock: Mutex::default(),
            marker,
        })
    }

    /// Opens the listeners and serves until a signal ends the process; outside any runtime.
    pub fn serve(self) -> anyhow::Result<()> {
        let ca = self.load_ca()?;
        let app = Arc::new(self);
        let mut server = Server::new(app.loaded.limits);
        let readiness = Readiness::default();
        let waiting = readiness.register("listeners");
        app.open_listeners(&mut server, ca.as_ref(), &readiness)?;
        app.spawn_background_tasks(&mut server);
        app.spawn_trace_exporter(&mut server);
        let ready = {
            let app = Arc::clone(&app);
            move || {
                drop(waiting);
                app.emit_started();
            }
        };
        // What came of it stands in the log and in the status.
        server.run(ready, move || drop(app.reload()))?;
        Ok(())
    }

    /// One message of the operator's own; listens nowhere, and the answer is the control socket's.
    pub async fn send(&self, message: &serde_json::Value) -> serde_json::Value {
        Control::new(Arc::clone(&self.proxy)).send(message).await
    }

    fn load_ca(&self) -> anyhow::Result<Option<Arc<Ca>>> {
        let Some(settings) = &self.loaded.ca else {
            return Ok(None);
        };
        let ca = Ca::load(settings, Arc::clone(&self.clock)).map_err(|error| {
            let problem = self.loaded.error(&ConfigKey::Ca, error.to_string());
            ProblemReport {
                problems: vec![problem],
                texts: self.loaded.warnings.texts.clone(),
            }
        })?;
        CaExpiry { at: ca.expires() }.emit(&self.telemetry);
        Ok(Some(Arc::new(ca)))
    }

    fn open_listeners(
        self: &Arc<Self>,
        server: &mut Server,
        ca: Option<&Arc<Ca>>,
        readiness: &Readiness,
    ) -> anyhow::Result<()> {
        let listen = &self.loaded.listen;
        let own: Vec<_> = [listen.proxy, listen.admin, listen.metrics]
            .into_iter()
            .flatten()
            .collect();
        let setup = EntrypointSetup {
            ca: ca.cloned(),
            limits: self.loaded.limits,
            own_addresses: own,
            via_marker: self.marker.clone(),
            clock: Arc::clone(&self.clock),
        };
        let doors = ProxyService::new(Arc::clone(&self.proxy), setup);
        let pages = |pages| {
            AdminService(Admin::new(
                self.registry.clone(),
                Arc::clone(&self.telemetry),
                readiness.clone(),
                pages,
            ))
        };
        if let Some(address) = listen.proxy {
            server.add_tcp("proxy", address, doors.clone())?;
        }
        if let Some(path) = &listen.unix {
            server.add_unix("unix", path, doors.clone())?;
        }
        if let Some(address) = listen.admin {
            server.add_tcp("admin", address, pages(Pages::All))?;
        }
        if let Some(address) = listen.metrics {
            server.add_tcp("metrics", address, pages(Pages::Probes))?;
        }
        if let Some(path) = &listen.control {
            let app = Arc::clone(self);
            server.add_unix(
                "control",
                path,
                Control::new(Arc::clone(&self.proxy)).with_reload(move || app.reload()),
            )?;
        }
        Ok(())
    }

    /// What goes on beside the calls: reading vaults, telling of standings and new credentials.
    fn spawn_background_tasks(&self, server: &mut Server) {
        let (mut keepers, proxy) = (self.keeper.subscribe(), Arc::clone(&self.proxy));
        server.add_background("vaults", move |drain| async move {
            while drain.phase() == Phase::Serving {
                let keeper = Arc::clone(&keepers.borrow_and_update());
                let cadence = |reference: &_| proxy.vault_poll_interval(reference);
                keeper
                    .run(cadence, keeper_replaced(&mut keepers, &drain))
                    .await;
            }
        });
        let (mut changes, proxy) = (
            self.keeper.borrow().subscribe_changes(),
            Arc::clone(&self.proxy),
        );
        server.add_background("standings", move |drain| async move {
            let mut tick = tokio::time::interval(HEALTH_REFRESH_INTERVAL);
            while drain.phase() == Phase::Serving {
                tokio::select! {
                    _ = tick.tick() => {}
                    // Whatever changed, and however many changes were missed: all are looked at.
                    Ok(_) | Err(RecvError::Lagged(_)) = changes.recv() => {}
                    () = drain.wait_for(Phase::Draining) => {}
                }
                proxy.refresh();
                proxy.run_due_probes().await;
            }
            Stopping { reason: "signal" }.emit();
        });
        let proxy = Arc::clone(&self.proxy);
        server.add_background("refusals", move |drain| async move {
            let mut followed = JoinSet::new();
            while drain.phase() == Phase::Serving {
                tokio::select! {
                    suspicion = proxy.next_pending_probe() => {
                        let proxy = Arc::clone(&proxy);
                        followed.spawn(async move { proxy.disambiguate(suspicion).await });
                    }
                    Some(_) = followed.join_next() => {}
                    () = drain.wait_for(Phase::Draining) => {}
                }
            }
        });
    }

    fn emit_started(&self) {
        Started {
            build: &self.build,
            at: self.clock.wall_clock(),
            addresses: &listen_addresses(&self.loaded.listen),
        }
        .emit(&self.telemetry);
    }
}

/// Resolves when a reload brought another keeper, or the process begins to end.
async fn keeper_replaced(keepers: &mut watch::Receiver<Arc<CredentialCache>>, drain: &Drain) {
    tokio::select! {
        Ok(()) = keepers.changed() => {}
        () = drain.wait_for(Phase::Draining) => {}
    }
}

/// Asks the disk whether it still says the same.
fn config_change_check(loaded: &Config) -> impl Fn() -> Option<SystemTime> + Send + Sync + 'static {
    let read = loaded.fingerprint.clone();
    move || read.changed_at()
}

/// Loads the config and serves it.
pub fn run(file: &Path, loaded: Config, build: BuildInfo) -> anyhow::Result<()> {
    crate::harden::set_panic_hook(|place| {
        Panicked {
            location: &place.location,
            thread: &place.thread,
        }
        .emit();
    });
    crate::harden::protect_memory().context("the process's memory could not be protected")?;
    App::build(file, loaded, build)?.serve()
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

/// Reads of vaults become events.
fn vault_read_sink(telemetry: &Arc<Telemetry>) -> ReadEventSink {
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
            ReadOutcome::Failed(error) => (read_result(error.kind()), Some(error.to_string())),
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

/// What a kind of trouble is called in metrics.
fn read_result(kind: ReadErrorKind) -> VaultReadResult {
    match kind {
        ReadErrorKind::NotFound => VaultReadResult::NotFound,
        ReadErrorKind::Malformed => VaultReadResult::Malformed,
        ReadErrorKind::Timeout => VaultReadResult::Timeout,
        ReadErrorKind::Unreachable => VaultReadResult::Unreachable,
        ReadErrorKind::Sealed => VaultReadResult::Sealed,
        ReadErrorKind::Forbidden => VaultReadResult::Forbidden,
        ReadErrorKind::Tls => VaultReadResult::Tls,
        ReadErrorKind::Failed => VaultReadResult::Failed,
    }
}
