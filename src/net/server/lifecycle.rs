//! The server's life cycle: readiness, reload, and a shutdown that waits for the requests in
//! flight, within a limit.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::net::drain::{Drain, Phase};

/// How long connections may take to close once no request is in flight.
const CONNECTION_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type ReadyFn = Box<dyn FnOnce() + Send>;

/// The owner's callbacks at each step of the life cycle.
pub struct LifecycleHooks {
    ready: ReadyFn,
    reload: Box<dyn Fn() + Send + Sync>,
    stopping: Box<dyn Fn(&'static str) + Send + Sync>,
}

impl LifecycleHooks {
    /// `ready` is called when signals are handled and every address takes connections, `reload` at every SIGHUP, and `stopping`
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
    ready: Mutex<Option<ReadyFn>>,
    reload: Box<dyn Fn() + Send + Sync>,
    stopping: Box<dyn Fn(&'static str) + Send + Sync>,
}

impl Lifecycle {
    pub(super) fn new(drain: Drain, limit: Duration, hooks: LifecycleHooks) -> Self {
        Self {
            drain,
            drain_timeout: limit,
            ready: Mutex::new(Some(hooks.ready)),
            reload: hooks.reload,
            stopping: hooks.stopping,
        }
    }

    /// Runs from the first signal handler to the last request.
    async fn run(&self) {
        let Ok(mut signals) = ProcessSignals::new() else {
            return;
        };
        self.announce_ready();
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

    fn announce_ready(&self) {
        let ready = self
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ready) = ready {
            ready();
        }
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
    use futures_util::poll;
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_ends_background_tasks_and_harmless_ones_do_not() {
        let drain = Drain::default();
        let (sender, received) = std::sync::mpsc::channel();
        let life = Lifecycle::new(
            drain.clone(),
            Duration::ZERO,
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
