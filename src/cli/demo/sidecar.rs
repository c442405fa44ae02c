//! The real sidecar of the demo: this binary in its own process, with its log read line by line.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;

use crate::cli::child::send_signal;

/// Lines of the log that wait to be read; the sidecar itself drops what its reader does not take.
const MAX_LINES: usize = 1024;
/// How long to wait for a line of the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// The process and its log.
pub(super) struct SidecarProcess {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl SidecarProcess {
    /// Starts `run` with this config, and waits until it has started.
    pub(super) async fn start(config: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("run")
            .arg("--config")
            .arg(config)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the sidecar could not be started")?;
        let stderr = child
            .stderr
            .take()
            .context("the sidecar's log cannot be read")?;
        let (send, lines) = mpsc::channel(MAX_LINES);
        tokio::spawn(read_log(stderr, send));
        let mut sidecar = Self { child, lines };
        sidecar.read_until("started").await?;
        Ok(sidecar)
    }

    /// Reads the log up to the first line whose message begins with `message`, and returns it all.
    pub(super) async fn read_until(&mut self, message: &str) -> anyhow::Result<Vec<Value>> {
        let mut log = Vec::new();
        match tokio::time::timeout(LOG_TIMEOUT, self.collect_until(message, &mut log)).await {
            Ok(true) => Ok(log),
            Ok(false) => bail!("the sidecar ended; its log:\n{}", join_lines(&log)),
            Err(_) => bail!(
                "the sidecar did not log `{message}` within {} s; its log:\n{}",
                LOG_TIMEOUT.as_secs(),
                join_lines(&log)
            ),
        }
    }

    /// Returns false if the log ended before.
    async fn collect_until(&mut self, message: &str, log: &mut Vec<Value>) -> bool {
        let wanted = |line: &Value| {
            line.get("message")
                .and_then(Value::as_str)
                .is_some_and(|text| text.starts_with(message))
        };
        while let Some(line) = self.lines.recv().await {
            log.push(line);
            if log.last().is_some_and(wanted) {
                return true;
            }
        }
        false
    }

    /// Ends the process with SIGTERM, as a service manager does, and waits for it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        send_signal(&self.child, Signal::TERM);
        self.child.wait().await?;
        Ok(())
    }
}

/// Sends each line of the log, until the process ends or the receiver is gone.
async fn read_log(stderr: ChildStderr, send: mpsc::Sender<Value>) {
    let mut text = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = text.next_line().await {
        let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
        if send.send(value).await.is_err() {
            return;
        }
    }
}

fn join_lines(log: &[Value]) -> String {
    log.iter()
        .map(|line| {
            line.as_str()
                .map_or_else(|| line.to_string(), str::to_owned)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// A free port on loopback.
pub(super) async fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await?
        .local_addr()?)
}
