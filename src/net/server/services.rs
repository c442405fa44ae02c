//! Our sites as pingora services: a TCP application, the unix accept loop (tokio's, because
//! pingora's stream has no peer credentials), and a background task.

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
use crate::net::server::ConnectionService;

/// The pause after an accept that failed because no file descriptor was left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A TCP site.
pub(super) struct TcpApp<S> {
    pub(super) service: S,
    pub(super) drain: Drain,
}

#[async_trait]
impl<S: ConnectionService> ServerApp for TcpApp<S> {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let digest = stream.get_socket_digest()?;
        let client = *digest.peer_addr()?.as_inet()?;
        let server = *digest.local_addr()?.as_inet()?;
        let peer = Peer::from_tcp(client, server);
        self.service.serve(stream, peer, self.drain.clone()).await;
        None
    }
}

type TaskFn = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A task; taken out when pingora starts it.
pub(super) struct BackgroundTask(Mutex<Option<TaskFn>>);

/// Wraps a future that is created on the thread that runs it.
pub(super) fn background_service<F>(
    name: &str,
    drain: Drain,
    work: impl FnOnce(Drain) -> F + Send + 'static,
) -> GenBackgroundService<BackgroundTask>
where
    F: Future<Output = ()> + Send + 'static,
{
    let work: TaskFn = Box::new(move || Box::pin(work(drain)));
    GenBackgroundService::new(
        name.to_owned(),
        Arc::new(BackgroundTask(Mutex::new(Some(work)))),
    )
}

#[async_trait]
impl BackgroundService for BackgroundTask {
    async fn start(&self, _: ShutdownWatch) {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work().await;
        }
    }
}

/// Creates the missing folder of a socket, writable by its owner only.
pub(super) fn create_socket_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
}

/// Opens a unix socket for its owner and group; replaces a stale one.
pub(super) fn bind_unix(path: &Path) -> io::Result<StdListener> {
    if path
        .symlink_metadata()
        .is_ok_and(|there| there.file_type().is_socket())
    {
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

/// Resolves when no request is in flight any more and none is accepted.
async fn drain_ended(drain: &Drain) {
    drain.wait_for(Phase::Closing).await;
    drain.requests_finished().await;
}

/// The unix accept loop.
pub(super) async fn serve_unix<S: ConnectionService>(listener: StdListener, site: S, drain: Drain) {
    let Ok(listener) = UnixListener::from_std(listener) else {
        return;
    };
    let site = Arc::new(site);
    loop {
        // Served to the end, so that a late client gets a reply, and operators see the drain.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain_ended(&drain) => return,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        let site = Arc::clone(&site);
        let drain = drain.clone();
        let peer = Peer::from_unix(stream.peer_cred().ok().map(|owner| owner.uid()));
        // Owned by this service's runtime, which ends after the drain.
        tokio::spawn(async move { site.serve(stream, peer, drain).await });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::server::Stream as Connection;

    /// Answers each connection with one byte.
    struct OneByte;

    impl ConnectionService for OneByte {
        async fn serve<S: Connection>(&self, mut stream: S, _: Peer, _: Drain) {
            stream.write_u8(7).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_unix_listener_serves_until_the_last_request_has_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let drain = Drain::default();
        let in_flight = drain.track_request();
        let serving = tokio::spawn(serve_unix(
            bind_unix(&path).unwrap(),
            OneByte,
            drain.clone(),
        ));
        for phase in [Phase::Serving, Phase::Draining, Phase::Closing] {
            drain.advance_to(phase);
            let mut client = UnixStream::connect(&path).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), 7, "{phase:?}");
        }
        drop(in_flight);
        serving.await.unwrap();
    }
}
