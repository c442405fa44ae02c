//! The server's life cycle: readiness, reload, and a shutdown that waits for the requests in
//! flight, within a limit.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::net::drain::{Drain, Phase};
use crate::net::server::BindError;

/// How long listeners may take to open.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections may take to close once no request is in flight.
const CONNECTION_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_RETRY_DELAY: Duration = Duration::from_millis(5);

/// The bind error that ended the process, if there was one.
#[derive(Clone, Debug, Default)]
pub(super) struct BindFailure(Arc<Mutex<Option<BindError>>>);

impl BindFailure {
    pub(super) fn take(&self) -> Option<BindError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: BindError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

type ReadyFn = Box<dyn FnOnce() + Send>;

/// The owner's callbacks at each step of the life cycle.
pub struct LifecycleHooks {
    ready: ReadyFn,
    reload: Box<dyn Fn() + Send + Sync>,
    stopping: Box<dyn Fn(&'static str) + Send + Sync>,
}

impl LifecycleHooks {
    /// `ready` is called when every address accepts connections, `reload` at every SIGHUP, and `stopping`
    /// before the drain, with the name of the signal.
    pub fn new(
        ready: impl FnOnce() + Send + 'static,
        reload: impl Fn() + Send + Sync + 'static,
        stopping: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            ready: Box::new(ready),
            reload: Box::new(reload),
            stopping: Box::new(stopping),
        }
    }
}

impl std::fmt::Debug for LifecycleHooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LifecycleHooks")
    }
}

/// Signals pingora when to end.
pub(super) struct Lifecycle {
    drain: Drain,
    drain_timeout: Duration,
    addresses: Vec<(String, SocketAddr)>,
    ready: Mutex<Option<ReadyFn>>,
    reload: Box<dyn Fn() + Send + Sync>,
    stopping: Box<dyn Fn(&'static str) + Send + Sync>,
    failed: BindFailure,
}

impl Lifecycle {
    pub(super) fn new(
        drain: Drain,
        limit: Duration,
        addresses: Vec<(String, SocketAddr)>,
        hooks: LifecycleHooks,
    ) -> (Self, BindFailure) {
        let failed = BindFailure::default();
        let life = Self {
            drain,
            drain_timeout: limit,
            addresses,
            ready: Mutex::new(Some(hooks.ready)),
            reload: hooks.reload,
            stopping: hooks.stopping,
            failed: failed.clone(),
        };
        (life, failed)
    }

    /// Runs from the first connection check to the last request.
    async fn run(&self) {
        let Ok(mut signals) = ProcessSignals::new() else {
            return;
        };
        let opened = tokio::select! {
            opened = self.wait_for_listeners() => opened,
            signal = signals.wait_for_shutdown() => {
                (self.stopping)(signal);
                return;
            }
        };
        if let Err(error) = opened {
            self.failed.set(error);
            return;
        }
        let signal = loop {
            match signals.next().await {
                SignalAction::Reload => (self.reload)(),
                SignalAction::Stop(signal) => break signal,
            }
        };
        (self.stopping)(signal);
        tokio::select! {
            () = self.drain() => {}
            _ = signals.wait_for_shutdown() => {}
        }
    }

    async fn wait_for_listeners(&self) -> Result<(), BindError> {
        for (name, address) in &self.addresses {
            let late = |_| BindError::Tcp {
                name: name.as_str().into(),
                address: *address,
                source: io::ErrorKind::TimedOut.into(),
            };
            timeout(LISTENER_TIMEOUT, wait_until_accepting(*address))
                .await
                .map_err(late)?;
        }
        let ready = self
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ready) = ready {
            ready();
        }
        Ok(())
    }

    async fn drain(&self) {
        self.drain.advance_to(Phase::Draining);
        let half = self.drain_timeout / 2;
        if timeout(half, self.drain.requests_finished()).await.is_err() {
            self.drain.advance_to(Phase::Closing);
            // Requests that are still in flight after this are cut off: the limit is a guarantee too.
            timeout(half, self.drain.requests_finished()).await.ok();
        }
        self.drain.advance_to(Phase::Closing);
        // The last request has finished; its response may still be on its way to the socket.
        timeout(CONNECTION_CLOSE_TIMEOUT, self.drain.connections_closed())
            .await
            .ok();
    }
}

async fn wait_until_accepting(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(CONNECT_RETRY_DELAY).await;
    }
}

/// The signals that the sidecar handles.
struct ProcessSignals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    /// Kept so that they do not end the process: tools for log rotation and profiling send them.
    _ignored: [Signal; 2],
}

impl ProcessSignals {
    fn new() -> io::Result<Self> {
        let [term, int, quit, hup] = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::hangup(),
        ]
        .map(signal);
        let [usr1, usr2] = [SignalKind::user_defined1(), SignalKind::user_defined2()].map(signal);
        Ok(Self {
            _ignored: [usr1?, usr2?],
            term: term?,
            int: int?,
            quit: quit?,
            hup: hup?,
        })
    }

    async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.hup.recv() => SignalAction::Reload,
            _ = self.term.recv() => SignalAction::Stop("SIGTERM"),
            _ = self.int.recv() => SignalAction::Stop("SIGINT"),
            _ = self.quit.recv() => SignalAction::Stop("SIGQUIT"),
        }
    }

    /// Waits for a signal that ends the process; returns its name.
    async fn wait_for_shutdown(&mut self) -> &'static str {
        loop {
            if let SignalAction::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }
}

/// What a signal requests.
enum SignalAction {
    Reload,
    /// End the process; the signal's name.
    Stop(&'static str),
}

#[async_trait]
impl ShutdownSignalWatch for Lifecycle {
    async fn recv(&self) -> ShutdownSignal {
        self.run().await;
        // On every path: background tasks end by the phase, and the process waits for them.
        self.drain.advance_to(Phase::Closing);
        // Never `FastShutdown`: it does not end pingora's accept loops. When the first runtime ends, its
        // listeners return errors to the loops of the others, which then spin for ever.
        ShutdownSignal::GracefulTerminate
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_util::poll;
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_before_the_listeners_are_ready_ends_background_tasks_too() {
        let listener = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let drain = Drain::default();
        let (sender, received) = std::sync::mpsc::channel();
        let (life, _) = Lifecycle::new(
            drain.clone(),
            Duration::ZERO,
            vec![("proxy".to_owned(), listener)],
            LifecycleHooks::new(
                || {},
                || {},
                move |signal| sender.send(signal).unwrap_or_default(),
            ),
        );
        let mut ending = life.recv();
        assert!(
            poll!(&mut ending).is_pending(),
            "it listens for signals from its first moment on"
        );
        for harmless in [Signal::USR1, Signal::USR2] {
            kill_process(getpid(), harmless).unwrap();
        }
        assert!(poll!(&mut ending).is_pending(), "the process goes on");
        kill_process(getpid(), Signal::TERM).unwrap();
        let how = ending.await;
        assert!(
            matches!(how, ShutdownSignal::GracefulTerminate),
            "only this one ends the accept loops"
        );
        assert_eq!(drain.phase(), Phase::Closing);
        assert_eq!(received.try_recv(), Ok("SIGTERM"));
    }
}
