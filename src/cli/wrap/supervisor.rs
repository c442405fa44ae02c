//! Keeps a sidecar listening while the command runs. All HTTP(S) of the command goes there: when nobody
//! listens, each request fails with ECONNREFUSED, so the end of a sidecar is always reported.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, sleep};

use crate::cli::child::send_signal;
use crate::cli::wrap::backoff::RestartBackoff;
use crate::cli::wrap::listener::{ListenerKind, identify_listener, port_taken};
use crate::telemetry::LogWriter;

/// How long a sidecar that we start may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often to look for a listener while one starts.
const START_POLL: Duration = Duration::from_millis(20);
/// How often to look whether a sidecar that is not our child still listens.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a sidecar that is not our child may be away. A service manager restarts its own within that time, and
/// one of ours would keep the port from it.
const ABSENCE_LIMIT: Duration = Duration::from_secs(30);
/// How long the last notes may take to be written.
const NOTES_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What happens when the sidecar ends before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OnSidecarExit {
    /// Start it again, after 0.5 s at first and at most 30 s in a crash loop.
    Restart,
    /// Stop the command with SIGTERM, and exit with code 2.
    Stop,
}

/// The sidecar beside the command: our child, or one that another process started.
pub(super) struct Supervisor<'a> {
    config: &'a Path,
    address: SocketAddr,
    notes: &'a Notes,
    child: Option<Child>,
    /// Another process started it, and may start it again.
    is_foreign: bool,
    listens_since: Instant,
    backoff: RestartBackoff,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(config: &'a Path, address: SocketAddr, notes: &'a Notes) -> Self {
        Self {
            config,
            address,
            notes,
            child: None,
            is_foreign: false,
            listens_since: Instant::now(),
            backoff: RestartBackoff::default(),
        }
    }

    /// Uses the sidecar that listens, else starts one. Returns whether it is our child.
    pub(super) async fn attach(&mut self) -> anyhow::Result<bool> {
        match identify_listener(self.address).await {
            ListenerKind::Sidecar => {}
            ListenerKind::Absent => self.start_child().await?,
            ListenerKind::Foreign => bail!("{}", port_taken(self.address)),
        }
        self.listens_since = Instant::now();
        self.is_foreign = self.child.is_none();
        Ok(!self.is_foreign)
    }

    /// Restarts the sidecar whenever it ends. Returns only where that stops the command, with the reason.
    pub(super) async fn keep(&mut self, on_exit: OnSidecarExit) -> String {
        loop {
            let ended = self.ended().await;
            if on_exit == OnSidecarExit::Stop {
                return ended;
            }
            self.restore(ended).await;
        }
    }

    /// Waits until the sidecar ends.
    async fn ended(&mut self) -> String {
        if let Some(child) = &mut self.child {
            let status = child.wait().await;
            self.child = None;
            return describe_end(status);
        }
        let mut tick = interval(WATCH_INTERVAL);
        while !is_refused(self.address).await {
            tick.tick().await;
        }
        format!(
            "the sidecar on {}, which another process started, does not listen any more",
            self.address
        )
    }

    /// Starts a sidecar after a wait, again and again until one listens.
    async fn restore(&mut self, mut ended: String) {
        let mut listened_for = self.listens_since.elapsed();
        loop {
            let delay = if self.is_foreign {
                ABSENCE_LIMIT
            } else {
                self.backoff.delay_after(listened_for)
            };
            self.notes.write(format_args!(
                "{ended}; the command's requests fail until one listens again, which is started in {} s",
                delay.as_secs_f32()
            ));
            tokio::select! {
                () = sleep(delay) => {}
                () = listening(self.address, WATCH_INTERVAL) => {}
            }
            match self.attach().await {
                Ok(_) => break,
                Err(error) => ended = format!("{error:#}"),
            }
            // Kills a child that does not listen.
            self.child = None;
            self.is_foreign = false;
            listened_for = Duration::ZERO;
        }
        let address = self.address;
        self.notes
            .write(format_args!("a sidecar listens on {address} again"));
    }

    async fn start_child(&mut self) -> anyhow::Result<()> {
        let child = spawn_sidecar(self.config)?;
        let child = self.child.insert(child);
        tokio::select! {
            () = listening(self.address, START_POLL) => Ok(()),
            status = child.wait() => bail!("{} before it listened; it printed the reason above", describe_end(status)),
            () = sleep(START_TIMEOUT) => bail!("the sidecar did not listen on {} within {} s", self.address, START_TIMEOUT.as_secs()),
        }
    }

    /// Lets our child finish its requests.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child {
            send_signal(&child, Signal::TERM);
            child.wait().await?;
        }
        Ok(())
    }
}

/// In its own process group, so that a Ctrl-C meant for the command lets requests in flight finish.
fn spawn_sidecar(config: &Path) -> anyhow::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("run")
        .arg("--config")
        .arg(config)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("the sidecar could not be started")
}

fn describe_end(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("the sidecar ended ({status})"),
        Err(error) => format!("the sidecar's end could not be read: {error}"),
    }
}

async fn listening(address: SocketAddr, poll: Duration) {
    let mut tick = interval(poll);
    while TcpStream::connect(address).await.is_err() {
        tick.tick().await;
    }
}

/// A full backlog or a lack of file descriptors here does not mean that nobody listens.
async fn is_refused(address: SocketAddr) -> bool {
    matches!(TcpStream::connect(address).await, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

/// What `wrap` says beside the command, on standard error. A reader that stalls must not keep signals from the
/// command or the sidecar from its restart, so a thread of its own writes.
pub(super) struct Notes(LogWriter);

impl Notes {
    pub(super) fn start() -> anyhow::Result<Self> {
        let writer = LogWriter::start(io::stderr());
        let writer = writer.context("the thread that writes messages cannot be started")?;
        Ok(Self(writer))
    }

    pub(super) fn write(&self, text: impl Display) {
        let line = format!("sms-sidecar wrap: {text}\n");
        (&self.0).write_all(line.as_bytes()).unwrap_or_default();
    }

    pub(super) fn close(&self) {
        self.0.close(NOTES_CLOSE_TIMEOUT);
    }
}
