//! What a background task waits for that posts to another host: other settings after a reload, and
//! the end of the process.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::net::drain::{Drain, Phase};

/// How long a request of such a task may still take at shutdown, after the last backend request has
/// finished. The process then waits one second for it.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(700);

/// Waits for other settings. The change stays unseen for later checks of `current`.
pub async fn replaced<T>(current: &watch::Receiver<T>) {
    let mut current = current.clone();
    if current.changed().await.is_err() {
        // The sender is gone, so no other settings can come.
        std::future::pending::<()>().await;
    }
}

/// Waits until the settings have changed or the process is shutting down; then it is time to stop waiting
/// for a receiver.
pub async fn replaced_or_draining<T>(current: &watch::Receiver<T>, drain: &Drain) {
    tokio::select! {
        () = replaced(current) => {}
        () = drain.wait_for(Phase::Draining) => {}
    }
}

/// Whether the settings have changed or the process is shutting down.
pub fn is_replaced_or_draining<T>(current: &watch::Receiver<T>, drain: &Drain) -> bool {
    current.has_changed().unwrap_or_default() || drain.phase() > Phase::Serving
}

/// Waits until the process is shutting down and the last request has finished.
pub async fn requests_drained(drain: &Drain) {
    drain.wait_for(Phase::Draining).await;
    drain.requests_finished().await;
}

/// Waits until the time for such requests at shutdown is over.
pub async fn shutdown_deadline(drain: &Drain) {
    requests_drained(drain).await;
    sleep(SHUTDOWN_GRACE).await;
}
