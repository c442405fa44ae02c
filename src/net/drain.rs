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
    flights: Arc<Flights>,
    guests: Arc<Flights>,
}

#[derive(Debug, Default)]
struct Flights {
    count: AtomicUsize,
    landed: Notify,
}

/// Counts one call, or one connection, until it is dropped.
#[derive(Debug)]
pub struct Flight(Arc<Flights>);

impl Default for Drain {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Serving)), flights: Arc::default(), guests: Arc::default() }
    }
}

impl Drain {
    /// Moves on; never back.
    pub fn enter(&self, phase: Phase) {
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
    pub async fn reached(&self, phase: Phase) {
        let mut watch = self.phase.subscribe();
        // An error means that the sender is gone, which our own clone rules out.
        watch.wait_for(|now| *now >= phase).await.ok();
    }

    /// Counts a call in flight.
    pub fn flight(&self) -> Flight {
        Flight::begin(&self.flights)
    }

    /// Counts an open connection: a call that has landed may still be writing its answer there.
    pub fn guest(&self) -> Flight {
        Flight::begin(&self.guests)
    }

    /// No call is in flight.
    pub fn is_empty(&self) -> bool {
        self.flights.none()
    }

    /// Resolves when no call is in flight.
    pub async fn empty(&self) {
        self.flights.ended().await;
    }

    /// Resolves when no connection is open.
    pub async fn deserted(&self) {
        self.guests.ended().await;
    }
}

impl Flights {
    fn none(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    async fn ended(&self) {
        loop {
            let mut landed = std::pin::pin!(self.landed.notified());
            // Listening before looking: what lands in between is not missed.
            landed.as_mut().enable();
            if self.none() {
                return;
            }
            landed.await;
        }
    }
}

impl Flight {
    fn begin(among: &Arc<Flights>) -> Self {
        among.count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(among))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.landed.notify_waiters();
        }
    }
}

/// One call's view of its backend and of the shutdown.
#[derive(Clone, Debug)]
pub struct Line {
    gone: watch::Receiver<bool>,
    drain: Drain,
}

/// Held by the connection; dropping it says that the backend has hung up.
#[derive(Debug)]
pub struct Presence(watch::Sender<bool>);

impl Line {
    /// A line and the end the connection holds.
    pub fn open(drain: Drain) -> (Presence, Self) {
        let (sender, gone) = watch::channel(false);
        (Presence(sender), Self { gone, drain })
    }

    /// A line on which nobody hangs up: for calls of our own, and tests.
    pub fn steady() -> Self {
        let (presence, line) = Self::open(Drain::default());
        presence.0.send_replace(true);
        Self { gone: watch::channel(false).1, ..line }
    }

    /// The backend has hung up: begin no attempt for it.
    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// The process is ending: cut waits short and answer.
    pub fn is_draining(&self) -> bool {
        self.drain.phase() > Phase::Serving
    }

    /// Counts the call among those the shutdown waits for.
    pub fn flight(&self) -> Flight {
        self.drain.flight()
    }

    /// Resolves when the backend hangs up or the process begins to end.
    pub async fn hurry(&self) {
        let mut gone = self.gone.clone();
        let left = async {
            if gone.wait_for(|gone| *gone).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = left => {}
            () = self.drain.reached(Phase::Draining) => {}
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
