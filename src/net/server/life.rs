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
const OPENING: Duration = Duration::from_secs(10);
/// How long connections may take to close once nothing is in flight.
const PARTING: Duration = Duration::from_secs(1);
const KNOCK: Duration = Duration::from_millis(5);

/// Why the process ended, if it did not want to.
#[derive(Clone, Debug, Default)]
pub(super) struct Failed(Arc<Mutex<Option<BindError>>>);

impl Failed {
    pub(super) fn take(&self) -> Option<BindError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: BindError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

type Ready = Box<dyn FnOnce() + Send>;

/// What pingora asks when to end.
pub(super) struct Life {
    drain: Drain,
    limit: Duration,
    addresses: Vec<(String, SocketAddr)>,
    ready: Mutex<Option<Ready>>,
    reload: Box<dyn Fn() + Send + Sync>,
    failed: Failed,
}

impl Life {
    pub(super) fn new(
        drain: Drain,
        limit: Duration,
        addresses: Vec<(String, SocketAddr)>,
        ready: impl FnOnce() + Send + 'static,
        reload: impl Fn() + Send + Sync + 'static,
    ) -> (Self, Failed) {
        let failed = Failed::default();
        let ready: Ready = Box::new(ready);
        let life = Self { drain, limit, addresses, ready: Mutex::new(Some(ready)), reload: Box::new(reload), failed: failed.clone() };
        (life, failed)
    }

    /// From the first knock to the last call.
    async fn live(&self) -> ShutdownSignal {
        let Ok(mut signals) = Signals::new() else { return ShutdownSignal::FastShutdown };
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = signals.end() => return ShutdownSignal::FastShutdown,
        };
        if let Err(error) = opened {
            self.failed.set(error);
            return ShutdownSignal::FastShutdown;
        }
        loop {
            let Signals { term, int, quit, hup } = &mut signals;
            tokio::select! {
                _ = hup.recv() => (self.reload)(),
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = quit.recv() => break,
            }
        }
        tokio::select! {
            () = self.land() => ShutdownSignal::GracefulTerminate,
            () = signals.end() => ShutdownSignal::FastShutdown,
        }
    }

    async fn open(&self) -> Result<(), BindError> {
        for (name, address) in &self.addresses {
            let late = |_| BindError::Tcp { name: name.as_str().into(), address: *address, source: io::ErrorKind::TimedOut.into() };
            timeout(OPENING, knock(*address)).await.map_err(late)?;
        }
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ready) = ready {
            ready();
        }
        Ok(())
    }

    async fn land(&self) {
        self.drain.enter(Phase::Draining);
        let half = self.limit / 2;
        if timeout(half, self.drain.empty()).await.is_err() {
            self.drain.enter(Phase::Closing);
            // What has not landed by now is cut off: the limit is a promise too.
            timeout(half, self.drain.empty()).await.ok();
        }
        self.drain.enter(Phase::Closing);
        // The last call has landed, its answer may still be on the way to the socket.
        timeout(PARTING, self.drain.deserted()).await.ok();
    }
}

async fn knock(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(KNOCK).await;
    }
}

/// The signals that mean something to us.
struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let [term, int, quit, hup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup()].map(signal);
        Ok(Self { term: term?, int: int?, quit: quit?, hup: hup? })
    }

    /// Resolves when asked to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Life {
    async fn recv(&self) -> ShutdownSignal {
        let how = self.live().await;
        // However it ended: background tasks go by the phase, and the process waits for them.
        self.drain.enter(Phase::Closing);
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
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
        let drain = Drain::default();
        let (life, _) = Life::new(drain.clone(), Duration::ZERO, vec![("proxy".to_owned(), nobody)], || {}, || {});
        let mut ending = life.recv();
        assert!(poll!(&mut ending).is_pending(), "it listens for signals from its first moment on");
        kill_process(getpid(), Signal::TERM).unwrap();
        ending.await;
        assert_eq!(drain.phase(), Phase::Closing);
    }
}
