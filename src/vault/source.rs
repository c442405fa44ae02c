//! What every vault can do: read one entry. Dynamic, because which vaults there are is the
//! config's choice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::secret::SecretFields;
use crate::vault::directory::Directory;
use crate::vault::embedded::Embedded;
use crate::vault::env::Env;
use crate::vault::error::ReadError;
use crate::vault::exec::Exec;
use crate::vault::openbao::OpenBao;
use crate::vault::openbao::reply::NonTextFields;
use crate::vault::settings::SourceSettings;

/// Longer than any disk needs, shorter than a backend waits.
const DISK_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// One vault.
pub trait VaultSource: Send + Sync + std::fmt::Debug {
    /// Reads the entry at `path` as it is now, past every cache.
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>>;

    /// Where it is, for errors: a file, a folder, "the process environment".
    fn location(&self) -> String;

    /// Whether fields of one entry can change one after the other, so that a read may fall between.
    fn allows_torn_reads(&self) -> bool;

    /// What to watch on disk.
    fn watch_paths(&self) -> WatchPaths;

    /// How old a look at an entry may get at the most; none: its user's business alone.
    fn poll_interval(&self) -> Option<Duration> {
        None
    }

    /// Whether an entry is to be read again because of what the vault said of its end.
    fn read_schedule(&self, _path: &str) -> ReadSchedule {
        ReadSchedule::ByCadence
    }

    /// Keeps alive what we hold of the vault; called about every second.
    fn keep_alive(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a vault says of the next read of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadSchedule {
    /// Nothing: as often as whoever uses it wants.
    ByCadence,
    /// It is kept alive, and a read would make another.
    NotYet,
    /// It ends.
    Now,
}

/// One entry, as read.
#[derive(Clone, Default)]
pub struct VaultEntry {
    /// Its fields, under the vault's names.
    pub fields: SecretFields,
    /// What looks like a mistake and was passed on as it stands.
    pub warnings: Vec<FieldWarning>,
    /// Fields that hold no text, and what they hold; only who names one is told.
    pub non_text: NonTextFields,
}

/// A value that looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWarning {
    /// The vault's name of the field.
    pub field: String,
    /// What about it.
    pub problem: &'static str,
}

/// What tells us that an entry may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchPaths {
    /// These files.
    Files(Vec<PathBuf>),
    /// Everything under a folder.
    Folder(PathBuf),
    /// Nothing on disk.
    Nothing,
}

/// Makes the vault that `settings` describe. Touches no file: a vault may come up after us.
pub(crate) fn open_source(
    settings: &SourceSettings,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn VaultSource> {
    match settings {
        SourceSettings::Embedded { file, key_file } => {
            Arc::new(Embedded::new(file.clone(), key_file.clone()))
        }
        SourceSettings::Env { file: Some(file) } => Arc::new(Env::from_file(file.clone())),
        SourceSettings::Env { file: None } => Arc::new(Env::from_process()),
        SourceSettings::Directory { path } => Arc::new(Directory::new(path.clone())),
        SourceSettings::OpenBao(settings) => Arc::new(OpenBao::new(settings, clock)),
        SourceSettings::Exec { command, timeout } => Arc::new(Exec::new(command.clone(), *timeout)),
    }
}

/// What about a value looks like a mistake.
pub fn suspicious_value(value: &str) -> Option<&'static str> {
    let quoted = ['"', '\'', '`']
        .iter()
        .any(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote));
    if value.is_empty() {
        Some("is empty")
    } else if quoted {
        Some("stands in quotes, which are sent as part of it")
    } else if value.trim() != value {
        Some("begins or ends with a blank or a further newline")
    } else {
        None
    }
}

/// Runs what waits for a disk (or a network share behind a path) where it holds nobody up for longer than the limit.
pub(crate) async fn read_blocking<T: Send + 'static>(
    place: String,
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::time::timeout(DISK_READ_TIMEOUT, tokio::task::spawn_blocking(read)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(ReadError::Interrupted {
            location: place.into(),
        }),
        Err(_) => Err(ReadError::Timeout {
            location: place.into(),
            limit: DISK_READ_TIMEOUT,
            hint: "see whether its disk or network share answers",
        }),
    }
}

impl std::fmt::Debug for VaultEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Entry({} fields, {} warnings)",
            self.fields.len(),
            self.warnings.len()
        )
    }
}
