//! The process's sockets, and its threads and life cycle, which pingora-core runs: every address is bound
//! before the sidecar reports that it is ready, SIGTERM drains within a limit, SIGHUP reloads.
//! Independent of what its sites serve.

mod lifecycle;
mod services;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server as Pingora};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::file_error::describe_write_error;
use crate::net::drain::Drain;
use crate::net::peer::Peer;
use crate::net::server::lifecycle::Lifecycle;
pub use crate::net::server::lifecycle::LifecycleHooks;
use crate::net::server::services::{Listener, background_service, serve_listener};
use crate::net::settings::Limits;

/// A connected socket.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Serves the connections of one listener.
pub trait ConnectionService: Send + Sync + 'static {
    /// Whether it gets a thread per core.
    const MULTI_THREADED: bool = false;
    /// Serves one connection to its end.
    fn serve<S: Stream>(
        &self,
        stream: S,
        peer: Peer,
        drain: Drain,
    ) -> impl Future<Output = ()> + Send;
}

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A TCP address.
    #[error(
        "{name} cannot listen on {address}: {source}; free that address or change `[listen] {name}`"
    )]
    Tcp {
        /// The key under `[listen]`.
        name: Box<str>,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A unix socket.
    #[error(
        "{name} cannot listen: {}; or change `[listen] {name}`",
        describe_socket_error(path, source)
    )]
    Unix {
        /// The key under `[listen]`.
        name: Box<str>,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of a unix socket is missing and cannot be created.
    #[error(
        "{name} needs a folder: {}; or change `[listen] {name}`",
        describe_write_error(folder, source)
    )]
    Folder {
        /// The key under `[listen]`.
        name: Box<str>,
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn describe_socket_error(path: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        return format!(
            "{} is in use: {error}; remove what is there",
            path.display()
        );
    }
    describe_write_error(path, error).to_string()
}

/// Reports that a listener could not accept a connection; gets its key under `[listen]`.
pub type AcceptErrorHook = Arc<dyn Fn(&'static str, &io::Error) + Send + Sync>;

/// All listeners and background tasks, until `run`.
pub struct Server {
    pingora: Pingora,
    limits: Limits,
    drain: Drain,
    worker_threads: usize,
    accept_failed: AcceptErrorHook,
    listeners: Vec<&'static str>,
    unix_sockets: Vec<PathBuf>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({:?})", self.listeners)
    }
}

impl Server {
    /// Nothing listens yet.
    pub fn new(limits: Limits, accept_failed: AcceptErrorHook) -> Self {
        // `Lifecycle` does the waiting: it can see when the last request has finished.
        // A request stays on the thread of its connection: moving it costs more CPU than handling it.
        let conf = ServerConf {
            grace_period_seconds: Some(0),
            graceful_shutdown_timeout_seconds: Some(1),
            work_stealing: false,
            // Otherwise a thread of pingora's own wakes a hundred times a second, for timers that we do not use.
            fast_timeout_to_tokio_threshold_seconds: Some(0),
            ..ServerConf::default()
        };
        let worker_threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(4);
        let pingora = Pingora::new_with_opt_and_conf(None, conf);
        Self {
            pingora,
            limits,
            drain: Drain::default(),
            worker_threads,
            accept_failed,
            listeners: Vec::new(),
            unix_sockets: Vec::new(),
        }
    }

    /// The phase of the shutdown, for other tasks to watch.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Adds a TCP listener; `name` is its key under `[listen]`. Fails at once if the address is taken. Returns the
    /// address, with the actual port if the configured one is 0.
    pub fn add_tcp<S: ConnectionService>(
        &mut self,
        name: &'static str,
        address: SocketAddr,
        site: S,
    ) -> Result<SocketAddr, BindError> {
        let taken = |source| BindError::Tcp {
            name: name.into(),
            address,
            source,
        };
        let listener = services::bind_tcp(address).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        self.add_listener::<TcpListener, S>(name, listener, site);
        Ok(address)
    }

    /// Adds a unix listener, open to its owner and group. Replaces a stale socket and creates a missing folder:
    /// `/run` is empty after every boot.
    pub fn add_unix<S: ConnectionService>(
        &mut self,
        name: &'static str,
        path: &Path,
        site: S,
    ) -> Result<(), BindError> {
        if let Some(folder) = path.parent() {
            let missing = |source| BindError::Folder {
                name: name.into(),
                folder: folder.to_path_buf(),
                source,
            };
            services::create_socket_folder(folder).map_err(missing)?;
        }
        let taken = |source| BindError::Unix {
            name: name.into(),
            path: path.to_path_buf(),
            source,
        };
        let listener = services::bind_unix(path).map_err(taken)?;
        self.unix_sockets.push(path.to_path_buf());
        self.add_listener::<UnixListener, S>(name, listener, site);
        Ok(())
    }

    fn add_listener<L: Listener + 'static, S: ConnectionService>(
        &mut self,
        name: &'static str,
        open: L::Open,
        site: S,
    ) {
        let hook = Arc::clone(&self.accept_failed);
        let failed = Arc::new(move |error: &io::Error| hook(name, error));
        let mut service = background_service(name, self.drain(), move |drain| {
            serve_listener::<L, S>(open, site, drain, failed)
        });
        service.threads = Some(if S::MULTI_THREADED {
            self.worker_threads
        } else {
            1
        });
        self.pingora.add_service(service);
        self.listeners.push(name);
    }

    /// Adds a task that runs as long as the process, on its own thread; `Drain` signals when to end.
    pub fn add_background<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &str,
        work: impl FnOnce(Drain) -> F + Send + 'static,
    ) {
        let service = background_service(name, self.drain(), work);
        self.pingora.add_service(service);
    }

    /// Serves until SIGTERM, SIGINT or SIGQUIT, then drains; a second signal ends the process at
    /// once. Call outside any runtime.
    pub fn run(self, hooks: LifecycleHooks) {
        let life = Lifecycle::new(self.drain, self.limits.drain_timeout, hooks);
        self.pingora.run(RunArgs {
            shutdown_signal: Box::new(life),
        });
        for socket in self.unix_sockets {
            // If it is gone already or belongs to another process, there is nothing to clean up.
            std::fs::remove_file(socket).ok();
        }
    }
}
