//! The end of the process, seen from a call: phases everyone can watch, a count of calls
//! in flight and one of open connections that the shutdown waits for, and whether one
//! call's backend has hung up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// How far the shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Business as usual.
    Serving,
    /// Calls are served, answers carry `Connection: close`, waits are cut short.
    Draining,
    /// New calls get 503; those in flight may finish.
    Closing,
}

/// The one owner of the phase; clones share it.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
    requests: Arc<DrainCounter>,
    connections: Arc<DrainCounter>,
}

#[derive(Debug, Default)]
struct DrainCounter {
    count: AtomicUsize,
    became_zero: Notify,
}

/// Counts one call, or one connection, until it is dropped.
#[derive(Debug)]
pub struct DrainGuard(Arc<DrainCounter>);

impl Default for Drain {
    fn default() -> Self {
        Self {
            phase: Arc::new(watch::Sender::new(Phase::Serving)),
            requests: Arc::default(),
            connections: Arc::default(),
        }
    }
}

impl Drain {
    /// Moves on; never back.
    pub fn advance_to(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Where we are.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Resolves once the phase is `phase` or later.
    pub async fn wait_for(&self, phase: Phase) {
        let mut watch = self.phase.subscribe();
        // An error means that the sender is gone, which our own clone rules out.
        watch.wait_for(|now| *now >= phase).await.ok();
    }

    /// Counts a call in flight.
    pub fn track_request(&self) -> DrainGuard {
        DrainGuard::new(&self.requests)
    }

    /// Counts an open connection: a call that has landed may still be writing its answer there.
    pub fn track_connection(&self) -> DrainGuard {
        DrainGuard::new(&self.connections)
    }

    /// No call is in flight.
    pub fn is_idle(&self) -> bool {
        self.requests.is_zero()
    }

    /// Resolves when no call is in flight.
    pub async fn requests_finished(&self) {
        self.requests.wait_until_zero().await;
    }

    /// Resolves when no connection is open.
    pub async fn connections_closed(&self) {
        self.connections.wait_until_zero().await;
    }
}

impl DrainCounter {
    fn is_zero(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    async fn wait_until_zero(&self) {
        loop {
            let mut landed = std::pin::pin!(self.became_zero.notified());
            // Listening before looking: what lands in between is not missed.
            landed.as_mut().enable();
            if self.is_zero() {
                return;
            }
            landed.await;
        }
    }
}

impl DrainGuard {
    fn new(among: &Arc<DrainCounter>) -> Self {
        among.count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(among))
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.became_zero.notify_waiters();
        }
    }
}

/// One call's view of its backend and of the shutdown.
#[derive(Clone, Debug)]
pub struct ClientConnection {
    disconnected: watch::Receiver<bool>,
    drain: Drain,
}

/// Held by the connection; dropping it says that the backend has hung up.
#[derive(Debug)]
pub struct ClientConnectionGuard(watch::Sender<bool>);

impl ClientConnection {
    /// A line and the end the connection holds.
    pub fn new(drain: Drain) -> (ClientConnectionGuard, Self) {
        let (sender, gone) = watch::channel(false);
        (
            ClientConnectionGuard(sender),
            Self {
                disconnected: gone,
                drain,
            },
        )
    }

    /// A line on which nobody hangs up: for calls of our own, and tests.
    pub fn always_connected() -> Self {
        let (presence, line) = Self::new(Drain::default());
        presence.0.send_replace(true);
        Self {
            disconnected: watch::channel(false).1,
            ..line
        }
    }

    /// The backend has hung up: begin no attempt for it.
    pub fn is_disconnected(&self) -> bool {
        *self.disconnected.borrow()
    }

    /// The process is ending: cut waits short and answer.
    pub fn is_draining(&self) -> bool {
        self.drain.phase() > Phase::Serving
    }

    /// Counts the call among those the shutdown waits for.
    pub fn track_request(&self) -> DrainGuard {
        self.drain.track_request()
    }

    /// Resolves when the backend hangs up or the process begins to end.
    pub async fn disconnected_or_draining(&self) {
        let mut gone = self.disconnected.clone();
        let left = async {
            if gone.wait_for(|gone| *gone).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = left => {}
            () = self.drain.wait_for(Phase::Draining) => {}
        }
    }
}

impl Drop for ClientConnectionGuard {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
