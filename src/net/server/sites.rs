//! Our sites in pingora's terms: a TCP application, the unix accept loop (its stream
//! cannot tell peer credentials, so that one is tokio's), a background task.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::{BackgroundService, GenBackgroundService};
use tokio::net::UnixListener;
use tokio::time::{Duration, sleep};

use crate::net::drain::{Drain, Phase};
use crate::net::peer::Peer;
use crate::net::server::Site;

/// After an accept that failed for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// A TCP site.
pub(super) struct App<S> {
    pub(super) site: S,
    pub(super) drain: Drain,
}

#[async_trait]
impl<S: Site> ServerApp for App<S> {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let digest = stream.get_socket_digest()?;
        let client = *digest.peer_addr()?.as_inet()?;
        let server = *digest.local_addr()?.as_inet()?;
        let peer = Peer::tcp(client, server);
        self.site.serve(stream, peer, self.drain.clone()).await;
        None
    }
}

type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A task, taken when pingora starts it.
pub(super) struct Task(Mutex<Option<Work>>);

/// Wraps a future that is made on the thread it runs on.
pub(super) fn task<F>(name: &str, drain: Drain, work: impl FnOnce(Drain) -> F + Send + 'static) -> GenBackgroundService<Task>
where
    F: Future<Output = ()> + Send + 'static,
{
    let work: Work = Box::new(move || Box::pin(work(drain)));
    GenBackgroundService::new(name.to_owned(), Arc::new(Task(Mutex::new(Some(work)))))
}

#[async_trait]
impl BackgroundService for Task {
    async fn start(&self, _: ShutdownWatch) {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work().await;
        }
    }
}

/// Makes the folder of a socket, where it is missing, for nobody else to write into.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Opens a unix socket for its owner and group, replacing one that nobody answers at.
pub(super) fn bind(path: &Path) -> io::Result<StdListener> {
    if path.symlink_metadata().is_ok_and(|there| there.file_type().is_socket()) {
        if StdStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = StdListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The unix accept loop.
pub(super) async fn unix<S: Site>(listener: StdListener, site: S, drain: Drain) {
    let Ok(listener) = UnixListener::from_std(listener) else { return };
    let site = Arc::new(site);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.reached(Phase::Closing) => return drain.empty().await,
        };
        let Ok((stream, _)) = accepted else {
            sleep(BREATH).await;
            continue;
        };
        let (site, drain) = (Arc::clone(&site), drain.clone());
        let peer = Peer::unix(stream.peer_cred().ok().map(|owner| owner.uid()));
        // Owned by this service's runtime, which ends after the drain.
        tokio::spawn(async move { site.serve(stream, peer, drain).await });
    }
}
