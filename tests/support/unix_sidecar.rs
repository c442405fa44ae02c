//! A running sidecar with one listener, a unix socket: no port that another process could take.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// How long a response may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends with the test.
pub(crate) struct UnixSidecar {
    pub(crate) child: Child,
    socket: PathBuf,
    _folder: TempDir,
}

impl UnixSidecar {
    /// Starts it with the config that `config` makes of its `[listen]` table and a folder for other files.
    pub(crate) fn start(config: impl FnOnce(&str, &Path) -> String, log: impl Into<Stdio>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sidecar.sock");
        let file = folder.path().join("config.toml");
        let listen = format!(
            "[listen]\nproxy = \"off\"\nadmin = \"off\"\nunix = \"{}\"\n",
            socket.display()
        );
        std::fs::write(&file, config(&listen, folder.path())).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            socket,
            _folder: folder,
        }
    }

    /// A connection, as soon as it listens.
    pub(crate) fn connect(&mut self) -> UnixStream {
        loop {
            if let Ok(stream) = UnixStream::connect(&self.socket) {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended");
            thread::yield_now();
        }
    }
}

impl Drop for UnixSidecar {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
