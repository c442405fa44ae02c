//! The real sidecar of the demo: this very binary, as a process of its own, with its log read line by line.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;

/// How long it may take to start, and a line that must come to come.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// The process and its log.
pub(super) struct SidecarProcess {
    child: Child,
    lines: mpsc::UnboundedReceiver<Value>,
}

impl SidecarProcess {
    /// Starts `run` with this config and waits until it says that it has started.
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
        let (send, lines) = mpsc::unbounded_channel();
        tokio::spawn(read_log(stderr, send));
        let mut sidecar = Self { child, lines };
        sidecar.read_until("started").await?;
        Ok(sidecar)
    }

    /// Every line up to and with the first whose message begins so.
    pub(super) async fn read_until(&mut self, message: &str) -> anyhow::Result<Vec<Value>> {
        let mut said = Vec::new();
        match tokio::time::timeout(LOG_TIMEOUT, self.collect_until(message, &mut said)).await {
            Ok(true) => Ok(said),
            Ok(false) => bail!("the sidecar ended; it said: {}", join_lines(&said)),
            Err(_) => bail!(
                "the sidecar did not say `{message}` within {} s; it said: {}",
                LOG_TIMEOUT.as_secs(),
                join_lines(&said)
            ),
        }
    }

    /// False: the log has ended.
    async fn collect_until(&mut self, message: &str, said: &mut Vec<Value>) -> bool {
        let wanted = |line: &Value| {
            line.get("message")
                .and_then(Value::as_str)
                .is_some_and(|text| text.starts_with(message))
        };
        while let Some(line) = self.lines.recv().await {
            said.push(line);
            if said.last().is_some_and(wanted) {
                return true;
            }
        }
        false
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

/// Line by line, until the process ends or nobody listens.
async fn read_log(stderr: ChildStderr, send: mpsc::UnboundedSender<Value>) {
    let mut text = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = text.next_line().await {
        let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
        if send.send(value).is_err() {
            return;
        }
    }
}

fn join_lines(said: &[Value]) -> String {
    said.iter()
        .map(|line| {
            line.as_str()
                .map_or_else(|| line.to_string(), str::to_owned)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// A port that is free now.
pub(super) async fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await?
        .local_addr()?)
}
