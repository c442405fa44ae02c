//! Puts the parts together, in reading order: log, metrics, vaults, pipeline, listeners. What
//! is built here is all there is; nothing below knows that a config file exists.

mod reload;
mod shape;
mod traces;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use prometheus::Registry;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{Admin, Pages, Readiness, serve_connection};
use crate::clock::{Clock, RealClock};
use crate::config::{Key, Loaded};
use crate::net::ca::Ca;
use crate::net::door::{Doors, Setup};
use crate::net::drain::{Drain, Phase};
use crate::net::peer::Peer;
use crate::net::server::{Server, Site, Stream};
use crate::problem::Report;
use crate::proxy::{Control, Parts, Proxy};
use crate::telemetry::{Build, CaExpiry, Panicked, ReadResult, Started, Stopping, Telemetry, VaultRead};
use crate::traces::Exporter;
use crate::vault::{Keeper, ReadKind, ReadOutcome, Sink};

use shape::addresses;
pub use shape::shape;

/// A sidecar that is built and does not listen yet.
#[derive(Debug)]
pub struct App {
    loaded: Loaded,
    file: PathBuf,
    build: Build,
    clock: Arc<dyn Clock>,
    registry: Registry,
    telemetry: Arc<Telemetry>,
    keeper: watch::Sender<Arc<Keeper>>,
    proxy: Arc<Proxy>,
    exporter: watch::Sender<Option<Arc<Exporter>>>,
    /// Held by the one reload that runs: a signal and a command may come at once.
    reloading: Mutex<()>,
    /// Ours in `Via`, unique to this process.
    marker: String,
}

/// How often standings are looked at, so that a rest that ended by time is told.
const LOOK: Duration = Duration::from_secs(1);

impl App {
    /// Builds everything that needs no socket.
    pub fn build(file: &Path, loaded: Loaded, build: Build) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(RealClock::start());
        let registry = Registry::new();
        let telemetry = Arc::new(Telemetry::new(&registry, &shape(&loaded, &loaded.listen, &build), Arc::clone(&clock))?);
        let keeper = Arc::new(Keeper::new(&loaded.vault, Arc::clone(&clock), reads(&telemetry)));
        let marker = format!("sms-sidecar-{:016x}", rand::random::<u64>());
        let parts = Parts {
            keeper: Arc::clone(&keeper),
            telemetry: Arc::clone(&telemetry),
            clock: Arc::clone(&clock),
            marker: marker.clone(),
            config: file.display().to_string(),
            has_control: loaded.listen.control.is_some(),
        };
        let proxy = Proxy::new(loaded.proxy.clone(), &loaded.vault, &parts, rand::random(), loaded.limits.body)?;
        telemetry.follow_config(following(&loaded));
        let exporter = watch::Sender::new(traces::exporter(&loaded, &build)?);
        telemetry.trace(exporter.borrow().as_ref().map(|exporter| exporter.share()));
        let (keeper, proxy) = (watch::Sender::new(keeper), Arc::new(proxy));
        Ok(Self {
            file: file.to_owned(),
            loaded,
            build,
            clock,
            registry,
            telemetry,
            keeper,
            proxy,
            exporter,
            reloading: Mutex::default(),
            marker,
        })
    }

    /// Opens the listeners and serves until a signal ends the process; outside any runtime.
    pub fn serve(self) -> anyhow::Result<()> {
        let ca = self.ca()?;
        let app = Arc::new(self);
        let mut server = Server::new(app.loaded.limits);
        let readiness = Readiness::default();
        let waiting = readiness.wait_for("listeners");
        app.listen(&mut server, ca.as_ref(), &readiness)?;
        app.tend(&mut server);
        app.trace(&mut server);
        let ready = {
            let app = Arc::clone(&app);
            move || {
                drop(waiting);
                app.started();
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

    fn ca(&self) -> anyhow::Result<Option<Arc<Ca>>> {
        let Some(settings) = &self.loaded.ca else { return Ok(None) };
        let ca = Ca::load(settings, Arc::clone(&self.clock)).map_err(|error| {
            let problem = self.loaded.error(&Key::Ca, error.to_string());
            Report { problems: vec![problem], texts: self.loaded.warnings.texts.clone() }
        })?;
        CaExpiry { at: ca.expires() }.emit(&self.telemetry);
        Ok(Some(Arc::new(ca)))
    }

    fn listen(self: &Arc<Self>, server: &mut Server, ca: Option<&Arc<Ca>>, readiness: &Readiness) -> anyhow::Result<()> {
        let listen = &self.loaded.listen;
        let own: Vec<_> = [listen.proxy, listen.admin, listen.metrics].into_iter().flatten().collect();
        let setup = Setup { ca: ca.cloned(), limits: self.loaded.limits, own, marker: self.marker.clone(), clock: Arc::clone(&self.clock) };
        let doors = Doors::new(Arc::clone(&self.proxy), setup);
        let pages = |pages| Pagesite(Admin::new(self.registry.clone(), Arc::clone(&self.telemetry), readiness.clone(), pages));
        if let Some(address) = listen.proxy {
            server.tcp("proxy", address, doors.clone())?;
        }
        if let Some(path) = &listen.unix {
            server.unix("unix", path, doors.clone())?;
        }
        if let Some(address) = listen.admin {
            server.tcp("admin", address, pages(Pages::All))?;
        }
        if let Some(address) = listen.metrics {
            server.tcp("metrics", address, pages(Pages::Probes))?;
        }
        if let Some(path) = &listen.control {
            let app = Arc::clone(self);
            server.unix("control", path, Control::new(Arc::clone(&self.proxy)).reloading(move || app.reload()))?;
        }
        Ok(())
    }

    /// What goes on beside the calls: reading vaults, telling of standings and new credentials.
    fn tend(&self, server: &mut Server) {
        let (mut keepers, proxy) = (self.keeper.subscribe(), Arc::clone(&self.proxy));
        server.background("vaults", move |drain| async move {
            while drain.phase() == Phase::Serving {
                let keeper = Arc::clone(&keepers.borrow_and_update());
                let cadence = |reference: &_| proxy.cadence(reference);
                keeper.run(cadence, replaced(&mut keepers, &drain)).await;
            }
        });
        let (mut changes, proxy) = (self.keeper.borrow().changes(), Arc::clone(&self.proxy));
        server.background("standings", move |drain| async move {
            let mut tick = tokio::time::interval(LOOK);
            while drain.phase() == Phase::Serving {
                tokio::select! {
                    _ = tick.tick() => {}
                    // Whatever changed, and however many changes were missed: all are looked at.
                    Ok(_) | Err(RecvError::Lagged(_)) = changes.recv() => {}
                    () = drain.reached(Phase::Draining) => {}
                }
                proxy.refresh();
                proxy.probe().await;
            }
            Stopping { why: "signal" }.emit();
        });
        let proxy = Arc::clone(&self.proxy);
        server.background("refusals", move |drain| async move {
            let mut followed = JoinSet::new();
            while drain.phase() == Phase::Serving {
                tokio::select! {
                    suspicion = proxy.suspicion() => {
                        let proxy = Arc::clone(&proxy);
                        followed.spawn(async move { proxy.settle(suspicion).await });
                    }
                    Some(_) = followed.join_next() => {}
                    () = drain.reached(Phase::Draining) => {}
                }
            }
        });
    }

    fn started(&self) {
        Started { build: &self.build, at: self.clock.wall(), addresses: &addresses(&self.loaded.listen) }.emit(&self.telemetry);
    }
}

/// Resolves when a reload brought another keeper, or the process begins to end.
async fn replaced(keepers: &mut watch::Receiver<Arc<Keeper>>, drain: &Drain) {
    tokio::select! {
        Ok(()) = keepers.changed() => {}
        () = drain.reached(Phase::Draining) => {}
    }
}

/// Asks the disk whether it still says the same.
fn following(loaded: &Loaded) -> impl Fn() -> Option<SystemTime> + Send + Sync + 'static {
    let read = loaded.read.clone();
    move || read.changed()
}

/// Loads the config and serves it.
pub fn run(file: &Path, loaded: Loaded, build: Build) -> anyhow::Result<()> {
    crate::harden::panics(|place| Panicked { location: &place.location, thread: &place.thread }.emit());
    crate::harden::memory().context("the process's memory could not be protected")?;
    App::build(file, loaded, build)?.serve()
}

/// One admin listener.
struct Pagesite(Admin);

impl Site for Pagesite {
    async fn serve<S: Stream>(&self, stream: S, _: Peer, drain: Drain) {
        tokio::select! {
            () = serve_connection(stream, self.0.clone()) => {}
            () = drain.reached(Phase::Closing) => {}
        }
    }
}

/// Reads of vaults become events.
fn reads(telemetry: &Arc<Telemetry>) -> Sink {
    let telemetry = Arc::clone(telemetry);
    Box::new(move |event| {
        let (result, problem) = match event.outcome {
            ReadOutcome::Unchanged(_) => (ReadResult::Unchanged, None),
            ReadOutcome::New(_, warnings) => {
                (ReadResult::Changed, warnings.first().map(|warning| format!("field `{}` {}", warning.field, warning.what)))
            }
            ReadOutcome::Failed(error) => (failure(error.kind()), Some(error.to_string())),
        };
        VaultRead { vault: event.vault, path: event.path, result, problem: problem.as_deref() }.emit(&telemetry);
    })
}

/// What a kind of trouble is called in metrics.
fn failure(kind: ReadKind) -> ReadResult {
    match kind {
        ReadKind::NotFound => ReadResult::NotFound,
        ReadKind::Malformed => ReadResult::Malformed,
        ReadKind::Slow => ReadResult::Slow,
        ReadKind::Down => ReadResult::Down,
        ReadKind::Sealed => ReadResult::Sealed,
        ReadKind::Forbidden => ReadResult::Forbidden,
        ReadKind::Tls => ReadResult::Tls,
        ReadKind::Failed => ReadResult::Failed,
    }
}
