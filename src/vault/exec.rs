//! A command whose JSON on standard output is the entry: for secret stores without built-in support.
//! It runs without a shell and with a minimal environment; the path is in `SMS_SIDECAR_VAULT_PATH`
//! and replaces `{path}` in an argument. At its time limit it is killed with everything it started.
//! Its standard error is not read: a script under `set -x` writes its secrets there.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::parse_limit::{JsonError, read_json};
use crate::vault::entry::{VaultEntry, entry_from_object};
use crate::vault::error::ReadError;
use crate::vault::kind::{VaultKind, WriteTarget};
use crate::vault::source::{VaultSource, WatchPaths};

/// An entry holds a few credentials; larger output is something else.
const MAX_OUTPUT: u64 = 256 << 10;
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSettings {
    /// A program and its arguments; `{path}` in an argument is replaced by the entry's path.
    pub command: Vec<String>,
    /// The time limit of one read.
    pub timeout: Duration,
}

impl ExecSettings {
    /// Its key under `[vaults.NAME]`.
    pub const KIND: &str = "exec";
}

impl VaultKind for ExecSettings {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn required_files(&self) -> Vec<&Path> {
        self.command.iter().take(1).map(Path::new).collect()
    }

    fn missing_file_help(&self, _: &str) -> String {
        "install the program, or write its absolute path in `command`".to_owned()
    }

    fn write_instructions(&self, target: &WriteTarget<'_>) -> String {
        format!(
            "change {} where {} reads it for `{}`",
            target.field_names(),
            self.command.first().map(String::as_str).unwrap_or_default(),
            target.path
        )
    }

    fn path_problem(&self, path: &str) -> Option<&'static str> {
        path_problem(path)
    }

    fn open(&self, _: &Arc<dyn Clock>) -> Arc<dyn VaultSource> {
        Arc::new(Exec::new(self.command.clone(), self.timeout))
    }
}

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    command: Vec<String>,
    timeout: Duration,
}

/// The result of a command that has ended.
struct CommandOutput {
    status: ExitStatus,
    stdout: Zeroizing<Vec<u8>>,
}

/// The processes that a command started; killed on drop.
struct ProcessGroup(Option<Pid>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // An error means that no process is left to kill.
        if let Some(group) = self.0 {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

impl Exec {
    /// `command` is a program and its arguments. Starts nothing yet.
    pub(crate) fn new(command: Vec<String>, timeout: Duration) -> Self {
        Self { command, timeout }
    }

    async fn read_entry(self, path: String) -> Result<VaultEntry, ReadError> {
        if let Some(why) = path_problem(&path) {
            return Err(ReadError::InvalidPath {
                path: path.into(),
                location: self.location().into(),
                why,
            });
        }
        let child = self.spawn(&path).map_err(|error| {
            self.command_error(&path, format!("it cannot be started ({error})"))
        })?;
        let ended = tokio::time::timeout(self.timeout, wait_with_output(child)).await;
        let ended = match ended {
            Err(_) => {
                let hint = "it was killed; see what it waits for, or raise `timeout` of the vault";
                return Err(ReadError::Timeout {
                    location: self.location().into(),
                    limit: self.timeout,
                    hint,
                });
            }
            Ok(ended) => ended.map_err(|error| {
                self.command_error(&path, format!("its output cannot be read ({error})"))
            })?,
        };
        self.parse_output(&path, &ended)
    }

    fn spawn(&self, path: &str) -> std::io::Result<Child> {
        let (program, arguments) = self
            .command
            .split_first()
            .ok_or(std::io::ErrorKind::NotFound)?;
        Command::new(program)
            .args(
                arguments
                    .iter()
                    .map(|argument| argument.replace("{path}", path)),
            )
            .env_clear()
            .env("PATH", SEARCH_PATH)
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

    fn parse_output(&self, path: &str, ended: &CommandOutput) -> Result<VaultEntry, ReadError> {
        let bad = |what: &str| ReadError::InvalidReply {
            path: path.into(),
            location: self.location().into(),
            what: what.into(),
        };
        if ended.stdout.len() as u64 > MAX_OUTPUT {
            return Err(bad("its output is larger than 256 KiB"));
        }
        if !ended.status.success() {
            return Err(self.command_error(
                path,
                format!(
                    "it ended with {}; what it wrote to stderr may hold secrets and is not shown",
                    ended.status
                ),
            ));
        }
        match read_json(&ended.stdout) {
            Ok(Value::Object(object)) => Ok(entry_from_object(object)),
            Ok(_) => Err(bad("its output is JSON, but no object")),
            Err(JsonError::Limit(limit)) => Err(bad(&format!("its output is no entry: {limit}"))),
            Err(JsonError::Malformed(_)) => Err(bad("its output is not JSON")),
        }
    }

    fn command_error(&self, path: &str, what: String) -> ReadError {
        ReadError::CommandFailed {
            command: self.program().into(),
            path: path.into(),
            what: what.into(),
        }
    }

    fn program(&self) -> String {
        self.command.first().cloned().unwrap_or_default()
    }
}

fn path_problem(path: &str) -> Option<&'static str> {
    path.contains('\0')
        .then_some("no argument holds a zero byte")
}

/// Waits for the program and for its output, both to the end.
async fn wait_with_output(mut child: Child) -> std::io::Result<CommandOutput> {
    let group = ProcessGroup(
        child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
    );
    let out = read_up_to(child.stdout.take(), MAX_OUTPUT + 1).await?;
    let status = child.wait().await?;
    drop(group);
    Ok(CommandOutput {
        status,
        stdout: out,
    })
}

/// The first bytes of a stream; the pipe is closed after them.
async fn read_up_to(
    stream: Option<impl AsyncRead + Unpin>,
    limit: u64,
) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 << 10));
    if let Some(stream) = stream {
        stream.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

impl VaultSource for Exec {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>> {
        Box::pin(self.clone().read_entry(path.to_owned()))
    }

    fn location(&self) -> String {
        format!("the command {}", self.program())
    }

    fn allows_torn_reads(&self) -> bool {
        false
    }

    fn watch_paths(&self) -> WatchPaths {
        WatchPaths::Nothing
    }
}

#[cfg(test)]
mod tests;
