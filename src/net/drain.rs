//! Graceful shutdown: its phases, the requests in flight and open connections that it waits for,
//! and whether the backend of a request has hung up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// The phase of the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No shutdown yet.
    Serving,
    /// Requests are served, responses have `Connection: close`, and waits are cut short.
    Draining,
    /// New requests get 503; those in flight may finish.
    Closing,
}

/// Owns the phase and the counts; clones share them.
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

/// Counts one request, or one connection, until it is dropped.
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
    /// Advances to `phase`; never goes back.
    pub fn advance_to(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Resolves once the phase is `phase` or later.
    pub async fn wait_for(&self, phase: Phase) {
        let mut watch = self.phase.subscribe();
        // An error means that the sender is gone; `self` owns one.
        watch.wait_for(|now| *now >= phase).await.ok();
    }

    /// Counts a request in flight.
    pub fn track_request(&self) -> DrainGuard {
        DrainGuard::new(&self.requests)
    }

    /// Counts an open connection: the response of a finished request may still be on its way there.
    pub fn track_connection(&self) -> DrainGuard {
        DrainGuard::new(&self.connections)
    }

    /// The number of requests in flight.
    #[cfg(test)]
    pub(crate) fn requests_in_flight(&self) -> usize {
        self.requests.count.load(Ordering::SeqCst)
    }

    /// Whether no request is in flight.
    pub fn is_idle(&self) -> bool {
        self.requests.is_zero()
    }

    /// Resolves when no request is in flight.
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
            let mut became_zero = std::pin::pin!(self.became_zero.notified());
            // Subscribes before the check, so that a change in between is not missed.
            became_zero.as_mut().enable();
            if self.is_zero() {
                return;
            }
            became_zero.await;
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

/// Whether the backend of a request is still connected, and whether the sidecar is draining.
#[derive(Clone, Debug)]
pub struct ClientConnection {
    disconnected: watch::Receiver<bool>,
    drain: Drain,
}

/// Held by the connection; dropping it means that the backend has hung up.
#[derive(Debug)]
pub struct ClientConnectionGuard(watch::Sender<bool>);

impl ClientConnection {
    /// The guard for the connection to hold, and the view for its requests.
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

    /// Never disconnects: for requests of the sidecar itself, and for tests.
    pub fn always_connected() -> Self {
        let (presence, line) = Self::new(Drain::default());
        presence.0.send_replace(true);
        Self {
            disconnected: watch::channel(false).1,
            ..line
        }
    }

    /// Whether the backend has hung up; if so, start no attempt for it.
    pub fn is_disconnected(&self) -> bool {
        *self.disconnected.borrow()
    }

    /// Whether the shutdown has begun; if so, cut waits short and respond.
    pub fn is_draining(&self) -> bool {
        self.drain.phase() > Phase::Serving
    }

    /// Counts the request among those that the shutdown waits for.
    pub fn track_request(&self) -> DrainGuard {
        self.drain.track_request()
    }

    /// Resolves when the backend hangs up or the shutdown begins.
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
