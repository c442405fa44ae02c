//! Our listeners and background tasks as pingora services, and the accept loop of every listener. The loop is ours:
//! pingora's stream has no peer credentials, and its loop neither says what to do when no file descriptor is left
//! nor pauses when the host has none.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::{BackgroundService, GenBackgroundService};
use pingora_runtime::current_handle;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Duration, sleep};

use crate::net::drain::{Drain, Phase};
use crate::net::peer::Peer;
use crate::net::server::{ConnectionService, Stream};

/// The pause after an accept that failed, for example because no file descriptor was left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How many connections may wait to be accepted; the kernel's own limit is usually lower.
const BACKLOG: i32 = 65_535;

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

/// Listens on a TCP address. Connections wait there until the accept loop runs.
pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<StdTcpListener> {
    let listener = StdTcpListener::bind(address)?;
    // Again, because the standard library's backlog is 128.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
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

/// A listener's socket.
pub(super) trait Listener: Sized + Send + Sync {
    type Open: Send + 'static;
    type Connection: Stream;

    /// Registers the open socket with the runtime of this thread.
    fn register(open: Self::Open) -> io::Result<Self>;
    fn accept_peer(&self) -> impl Future<Output = io::Result<(Self::Connection, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Open = StdTcpListener;
    type Connection = TcpStream;

    fn register(open: StdTcpListener) -> io::Result<Self> {
        Self::from_std(open)
    }

    async fn accept_peer(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, client) = self.accept().await?;
        // It fails only for a client that is gone already.
        stream.set_nodelay(true).ok();
        let peer = Peer::from_tcp(client, stream.local_addr()?);
        Ok((stream, peer))
    }
}

impl Listener for UnixListener {
    type Open = StdListener;
    type Connection = UnixStream;

    fn register(open: StdListener) -> io::Result<Self> {
        Self::from_std(open)
    }

    async fn accept_peer(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.accept().await?;
        let owner = stream.peer_cred().ok();
        Ok((stream, Peer::from_unix(owner.map(|owner| owner.uid()))))
    }
}

/// Reports that a listener could not accept a connection.
pub(super) type AcceptErrorSink = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// The accept loop of every listener. A connection that cannot be accepted waits in the kernel's queue.
pub(super) async fn serve_listener<L: Listener, S: ConnectionService>(
    open: L::Open,
    site: S,
    drain: Drain,
    failed: AcceptErrorSink,
) {
    let listener = match L::register(open) {
        Ok(listener) => listener,
        Err(error) => return failed(&error),
    };
    let site = Arc::new(site);
    loop {
        // Served to the end, so that a late client gets a reply, and operators see the drain.
        let accepted = tokio::select! {
            accepted = listener.accept_peer() => accepted,
            () = drain_ended(&drain) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (site, drain) = (Arc::clone(&site), drain.clone());
                // Owned by the threads of this service, which end after the drain.
                current_handle().spawn(async move { site.serve(stream, peer, drain).await });
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                failed(&error);
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Whether the client ended its connection before it was accepted: the next one is not affected.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
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

    fn ignore() -> AcceptErrorSink {
        Arc::new(|_| {})
    }

    /// Fails to accept with each of these errors, then never returns.
    struct Failing(Mutex<Vec<io::Error>>);

    impl Listener for Failing {
        type Open = Vec<io::Error>;
        type Connection = UnixStream;

        fn register(open: Vec<io::Error>) -> io::Result<Self> {
            Ok(Self(Mutex::new(open)))
        }

        async fn accept_peer(&self) -> io::Result<(UnixStream, Peer)> {
            let next = self.0.lock().unwrap().pop();
            match next {
                Some(error) => Err(error),
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_accept_is_reported_and_pauses_the_loop_but_not_for_a_client_that_left() {
        let began = tokio::time::Instant::now();
        let (sender, mut reported) = tokio::sync::mpsc::unbounded_channel();
        let failed: AcceptErrorSink =
            Arc::new(move |error| sender.send(error.to_string()).unwrap());
        let errors = [12, 103, 23, 103, 24].map(io::Error::from_raw_os_error);
        tokio::spawn(serve_listener::<Failing, _>(
            errors.into(),
            OneByte,
            Drain::default(),
            failed,
        ));
        for (pauses, number) in (0..).zip([24, 23, 12]) {
            let error = io::Error::from_raw_os_error(number).to_string();
            assert_eq!(reported.recv().await, Some(error));
            assert_eq!(began.elapsed(), ACCEPT_RETRY_DELAY * pauses);
        }
        assert!(reported.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_unix_listener_serves_until_the_last_request_has_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let drain = Drain::default();
        let in_flight = drain.track_request();
        let open = bind_unix(&path).unwrap();
        let serving = serve_listener::<UnixListener, _>(open, OneByte, drain.clone(), ignore());
        let serving = tokio::spawn(serving);
        for phase in [Phase::Serving, Phase::Draining, Phase::Closing] {
            drain.advance_to(phase);
            let mut client = UnixStream::connect(&path).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), 7, "{phase:?}");
        }
        drop(in_flight);
        serving.await.unwrap();
    }
}
