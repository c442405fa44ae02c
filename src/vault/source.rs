//! What every opened vault can do: read one entry. Dynamic, because the config chooses the vaults.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::vault::entry::VaultEntry;
use crate::vault::error::ReadError;

/// Longer than any healthy disk needs, shorter than a backend waits.
const DISK_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// One opened vault.
pub trait VaultSource: Send + Sync + std::fmt::Debug {
    /// Reads the current entry at `path`, past every cache.
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>>;

    /// Its location for errors: a file, a folder, "the process environment".
    fn location(&self) -> String;

    /// Whether the fields of one entry can change one after the other, so that a read may fall in
    /// between.
    fn allows_torn_reads(&self) -> bool;

    /// What to watch on disk.
    fn watch_paths(&self) -> WatchPaths;

    /// The maximum age of an entry; none: the cache's own interval applies.
    fn poll_interval(&self) -> Option<Duration> {
        None
    }

    /// Whether the lease of an entry requires a read now, or forbids one.
    fn read_schedule(&self, _path: &str) -> ReadSchedule {
        ReadSchedule::ByCadence
    }

    /// Renews the tokens and leases that are due; called about once a second.
    fn keep_alive(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// When an entry is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadSchedule {
    /// At the interval of the cache.
    ByCadence,
    /// Not while its lease is renewed: each read would create another secret.
    NotYet,
    /// At once: its lease ends.
    Now,
}

/// The files that change when an entry changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchPaths {
    /// These files.
    Files(Vec<PathBuf>),
    /// Everything under a folder.
    Folder(PathBuf),
    /// Nothing on disk.
    Nothing,
}

/// Runs a blocking read of `location` (a disk, or a network share behind a path) on its own thread,
/// for at most [`DISK_READ_TIMEOUT`].
pub(crate) async fn read_blocking<T: Send + 'static>(
    location: String,
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::time::timeout(DISK_READ_TIMEOUT, tokio::task::spawn_blocking(read)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ReadError::Interrupted {
            location: location.into(),
        }),
        Err(_) => Err(ReadError::Timeout {
            location: location.into(),
            limit: DISK_READ_TIMEOUT,
            hint: "check that its disk or network share responds",
        }),
    }
}
