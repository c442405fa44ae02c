//! The command that `wrap` runs: it gets the signals that `wrap` gets, and its exit code is returned.

use std::io::IsTerminal;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::child::send_signal;

/// How long the command may take to end after SIGTERM, before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The signals that ask us to stop or reload.
pub(super) struct ForwardedSignals {
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl ForwardedSignals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// The command while it runs.
pub(super) struct WrappedCommand {
    signals: ForwardedSignals,
    child: Child,
    /// A signal has asked it to stop.
    is_stopping: bool,
}

impl WrappedCommand {
    pub(super) fn start(signals: ForwardedSignals, mut command: Command) -> anyhow::Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("{} could not be started", program_name(&command)))?;
        Ok(Self {
            signals,
            child,
            is_stopping: false,
        })
    }

    /// Whether a signal has asked it to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Waits for the command, and hands it every one of these signals.
    pub(super) async fn wait(&mut self) -> anyhow::Result<ExitCode> {
        loop {
            let received = tokio::select! {
                ended = self.child.wait() => return Ok(exit_code(ended?)),
                _ = self.signals.terminate.recv() => Signal::TERM,
                _ = self.signals.hangup.recv() => Signal::HUP,
                _ = self.signals.quit.recv() => Signal::QUIT,
                _ = self.signals.interrupt.recv() => Signal::INT,
            };
            self.is_stopping |= received != Signal::HUP;
            // On a terminal the kernel has given Ctrl-C and Ctrl-\ to the command already.
            let given =
                matches!(received, Signal::INT | Signal::QUIT) && std::io::stdin().is_terminal();
            if !given {
                send_signal(&self.child, received);
            }
        }
    }

    /// Ends the command.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        send_signal(&self.child, Signal::TERM);
        match tokio::time::timeout(STOP_TIMEOUT, self.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => Ok(self.child.kill().await?),
        }
    }
}

fn program_name(command: &Command) -> String {
    command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned()
}

/// The command's own code; 128 and the signal's number where a signal ended it, as shells say it.
fn exit_code(ended: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = ended
        .code()
        .or_else(|| ended.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
