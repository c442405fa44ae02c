//! A command whose JSON on standard output is the entry: for secret stores that we do not speak to.
//! No shell; the path comes as `SMS_SIDECAR_VAULT_PATH` and in place of `{path}` in an argument, in an
//! environment of almost nothing. At its time limit it is killed with everything it started. What it
//! complains of is not even read: a script under `set -x` writes its secrets there.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::vault::error::ReadError;
use crate::vault::openbao::reply::fields_of;
use crate::vault::source::{Entry, Source, Watched};

/// An entry is some credentials; what is larger is something else.
const LIMIT: u64 = 256 << 10;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    command: Vec<String>,
    timeout: Duration,
}

/// What it left behind.
struct Ended {
    status: ExitStatus,
    out: Zeroizing<Vec<u8>>,
}

/// Whatever a command started, until it is over.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody is left to be killed: it ended by itself, as it should.
        if let Some(group) = self.0 {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

impl Exec {
    /// `command` is a program and its arguments. Starts nothing.
    pub(crate) fn new(command: Vec<String>, timeout: Duration) -> Self {
        Self { command, timeout }
    }

    async fn entry(self, path: String) -> Result<Entry, ReadError> {
        if path.contains('\0') {
            return Err(ReadError::BadPath { path: path.into(), place: self.place().into(), why: "no argument holds a zero byte" });
        }
        let child = self.start(&path).map_err(|error| self.failed(&path, format!("it cannot be started ({error})")))?;
        let ended = tokio::time::timeout(self.timeout, ended(child)).await;
        let ended = match ended {
            Err(_) => {
                let hint = "it was killed; see what it waits for, or raise `timeout` of the vault";
                return Err(ReadError::TooSlow { place: self.place().into(), limit: self.timeout, hint });
            }
            Ok(ended) => ended.map_err(|error| self.failed(&path, format!("its output cannot be read ({error})")))?,
        };
        self.judge(&path, &ended)
    }

    fn start(&self, path: &str) -> std::io::Result<Child> {
        let (program, arguments) = self.command.split_first().ok_or(std::io::ErrorKind::NotFound)?;
        Command::new(program)
            .args(arguments.iter().map(|argument| argument.replace("{path}", path)))
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("SMS_SIDECAR_VAULT_PATH", path)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    fn judge(&self, path: &str, ended: &Ended) -> Result<Entry, ReadError> {
        let bad = |what: &str| ReadError::BadReply { path: path.into(), place: self.place().into(), what: what.into() };
        if ended.out.len() as u64 > LIMIT {
            return Err(bad("its output is larger than 256 KiB"));
        }
        if !ended.status.success() {
            return Err(
                self.failed(path, format!("it ended with {}; what it wrote to stderr may hold secrets and is not shown", ended.status))
            );
        }
        match serde_json::from_slice(&ended.out) {
            Ok(Value::Object(object)) => Ok(fields_of(object)),
            Ok(_) => Err(bad("its output is JSON, but no object")),
            Err(_) => Err(bad("its output is not JSON")),
        }
    }

    fn failed(&self, path: &str, what: String) -> ReadError {
        ReadError::Command { command: self.program().into(), path: path.into(), what: what.into() }
    }

    fn program(&self) -> String {
        self.command.first().cloned().unwrap_or_default()
    }
}

/// Waits for the program and for its output, both to the end.
async fn ended(mut child: Child) -> std::io::Result<Ended> {
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let out = first(child.stdout.take(), LIMIT + 1).await?;
    let status = child.wait().await?;
    drop(group);
    Ok(Ended { status, out })
}

/// The first bytes of a stream; the pipe is closed after them.
async fn first(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 << 10));
    if let Some(stream) = stream {
        stream.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

impl Source for Exec {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<Entry, ReadError>> {
        Box::pin(self.clone().entry(path.to_owned()))
    }

    fn place(&self) -> String {
        format!("the command {}", self.program())
    }

    fn piecewise(&self) -> bool {
        false
    }

    fn watched(&self) -> Watched {
        Watched::Nothing
    }
}

#[cfg(test)]
mod tests;
