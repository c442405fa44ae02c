//! From the first listener that answers to the last call that lands: readiness, reload,
//! and an end that waits for what is in flight, but not for ever.

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
/// How long connections may take to close once nothing is in flight.
const CONNECTION_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_RETRY_DELAY: Duration = Duration::from_millis(5);

/// Why the process ended, if it did not want to.
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

/// What pingora asks when to end.
pub(super) struct Lifecycle {
    drain: Drain,
    drain_timeout: Duration,
    addresses: Vec<(String, SocketAddr)>,
    ready: Mutex<Option<ReadyFn>>,
    reload: Box<dyn Fn() + Send + Sync>,
    failed: BindFailure,
}

impl Lifecycle {
    pub(super) fn new(
        drain: Drain,
        limit: Duration,
        addresses: Vec<(String, SocketAddr)>,
        ready: impl FnOnce() + Send + 'static,
        reload: impl Fn() + Send + Sync + 'static,
    ) -> (Self, BindFailure) {
        let failed = BindFailure::default();
        let ready: ReadyFn = Box::new(ready);
        let life = Self {
            drain,
            drain_timeout: limit,
            addresses,
            ready: Mutex::new(Some(ready)),
            reload: Box::new(reload),
            failed: failed.clone(),
        };
        (life, failed)
    }

    /// From the first knock to the last call.
    async fn run(&self) -> ShutdownSignal {
        let Ok(mut signals) = ProcessSignals::new() else {
            return ShutdownSignal::FastShutdown;
        };
        let opened = tokio::select! {
            opened = self.wait_for_listeners() => opened,
            () = signals.wait_for_shutdown() => return ShutdownSignal::FastShutdown,
        };
        if let Err(error) = opened {
            self.failed.set(error);
            return ShutdownSignal::FastShutdown;
        }
        loop {
            let ProcessSignals {
                term,
                int,
                quit,
                hup,
            } = &mut signals;
            tokio::select! {
                _ = hup.recv() => (self.reload)(),
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = quit.recv() => break,
            }
        }
        tokio::select! {
            () = self.drain() => ShutdownSignal::GracefulTerminate,
            () = signals.wait_for_shutdown() => ShutdownSignal::FastShutdown,
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
            // What has not landed by now is cut off: the limit is a promise too.
            timeout(half, self.drain.requests_finished()).await.ok();
        }
        self.drain.advance_to(Phase::Closing);
        // The last call has landed, its answer may still be on the way to the socket.
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

/// The signals that mean something to us.
struct ProcessSignals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
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
        Ok(Self {
            term: term?,
            int: int?,
            quit: quit?,
            hup: hup?,
        })
    }

    /// Resolves when asked to end.
    async fn wait_for_shutdown(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Lifecycle {
    async fn recv(&self) -> ShutdownSignal {
        let how = self.run().await;
        // However it ended: background tasks go by the phase, and the process waits for them.
        self.drain.advance_to(Phase::Closing);
        how
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_util::poll;
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_before_the_listeners_answer_ends_background_tasks_too() {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let drain = Drain::default();
        let (life, _) = Lifecycle::new(
            drain.clone(),
            Duration::ZERO,
            vec![("proxy".to_owned(), nobody)],
            || {},
            || {},
        );
        let mut ending = life.recv();
        assert!(
            poll!(&mut ending).is_pending(),
            "it listens for signals from its first moment on"
        );
        kill_process(getpid(), Signal::TERM).unwrap();
        ending.await;
        assert_eq!(drain.phase(), Phase::Closing);
    }
}
