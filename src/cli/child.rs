//! Signals to child processes.

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// Sends a signal to a child; a child that has ended needs none.
pub(super) fn send_signal(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        kill_process(pid, signal).unwrap_or_default();
    }
}
