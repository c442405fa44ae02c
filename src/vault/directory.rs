//! One file a field, `path/field`: Kubernetes secrets, systemd credentials, Docker secrets, what a
//! Vault agent writes. Where Kubernetes swaps `..data`, one read sees one generation.
//!
//! One trailing newline is an editor's, not the secret's; anything else is passed on as it stands
//! and warned about. A path that leads out of the folder is refused.

use std::path::{Component, Path, PathBuf};

use futures_util::future::BoxFuture;

use crate::secret::SecretString;
use crate::vault::error::ReadError;
use crate::vault::file;
use crate::vault::source::{
    FieldWarning, VaultEntry, VaultSource, WatchPaths, read_blocking, suspicious_value,
};

const HINT: &str = "put each field in its own file there, and let the service's user read it";

/// A folder of secrets.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The folder at `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn read_entry(&self, path: &str) -> Result<VaultEntry, ReadError> {
        match self.read_entry_once(path) {
            // The generation we resolved was swapped away under us.
            Err(ReadError::MissingFile { .. }) => self.read_entry_once(path),
            other => other,
        }
    }

    fn read_entry_once(&self, path: &str) -> Result<VaultEntry, ReadError> {
        let folder = self.resolve_folder(path)?;
        let list = folder
            .read_dir()
            .map_err(|error| ReadError::from_io(&folder, error, HINT))?;
        let mut entry = VaultEntry::default();
        for item in list {
            let item = item
                .map_err(|error| ReadError::from_io(&folder, error, HINT))?
                .path();
            let Some(field) = item.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if field.starts_with('.') || !item.is_file() {
                continue;
            }
            let value = file::read_text(&item, HINT)?;
            let value = file::strip_newline(&value);
            entry
                .warnings
                .extend(suspicious_value(value).map(|what| FieldWarning {
                    field: field.to_owned(),
                    problem: what,
                }));
            entry
                .fields
                .insert(field.to_owned(), SecretString::from(value));
        }
        require_fields(entry, path, &folder)
    }

    /// The folder itself, past the symbolic links that a swap turns.
    fn resolve_folder(&self, path: &str) -> Result<PathBuf, ReadError> {
        let inside = Path::new(path).components().all(|part| match part {
            Component::Normal(_) => true,
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => false,
        });
        if !inside {
            let why = "it must lead downwards, without a leading `/`, `.` or `..`";
            return Err(ReadError::InvalidPath {
                path: path.into(),
                location: self.location().into(),
                why,
            });
        }
        let named = self.path.join(path);
        let swapped = named.join("..data");
        let real = if swapped.exists() {
            swapped
        } else {
            named.clone()
        };
        real.canonicalize().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound && self.path.is_dir() {
                return ReadError::MissingEntry {
                    path: path.into(),
                    location: self.location().into(),
                };
            }
            ReadError::from_io(&named, error, HINT)
        })
    }
}

fn require_fields(entry: VaultEntry, path: &str, folder: &Path) -> Result<VaultEntry, ReadError> {
    if entry.fields.is_empty() {
        return Err(ReadError::MissingEntry {
            path: path.into(),
            location: folder.display().to_string().into(),
        });
    }
    Ok(entry)
}

impl VaultSource for Directory {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>> {
        let (vault, path) = (self.clone(), path.to_owned());
        Box::pin(read_blocking(self.location(), move || {
            vault.read_entry(&path)
        }))
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn allows_torn_reads(&self) -> bool {
        true
    }

    fn watch_paths(&self) -> WatchPaths {
        WatchPaths::Folder(self.path.clone())
    }
}

#[cfg(test)]
mod tests;
