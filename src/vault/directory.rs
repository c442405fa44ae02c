//! One file per field, `path/field`: Kubernetes secrets, systemd credentials, Docker secrets, the
//! files of a Vault agent. When Kubernetes swaps `..data`, a read sees one generation only.
//!
//! A path that leads out of the folder is rejected.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::secret::SecretString;
use crate::vault::entry::VaultEntry;
use crate::vault::error::ReadError;
use crate::vault::file;
use crate::vault::kind::{VaultKind, WriteTarget};
use crate::vault::reference::CredentialRef;
use crate::vault::source::{VaultSource, WatchPaths, read_blocking};

const HINT: &str = "put each field in its own file there, and let the service's user read it";
const ENTRY_HINT: &str = "an entry is a folder there, a field is a file in it";

/// Where the folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySettings {
    /// The folder that holds `path/field`.
    pub path: PathBuf,
}

impl DirectorySettings {
    /// Its key under `[vaults.NAME]`.
    pub const KIND: &str = "directory";
}

impl VaultKind for DirectorySettings {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn required_files(&self) -> Vec<&Path> {
        vec![&self.path]
    }

    fn missing_file_help(&self, _: &str) -> String {
        "create or mount the folder: an entry is a folder in it, a field is a file in that folder"
            .to_owned()
    }

    fn path_problem(&self, path: &str) -> Option<&'static str> {
        path_problem(path)
    }

    fn is_plain_file(&self) -> bool {
        true
    }

    fn entry_files(&self, reference: &CredentialRef) -> Vec<PathBuf> {
        let folder = self.path.join(&reference.path);
        let names = reference
            .aliases
            .iter()
            .flat_map(|(own, others)| std::iter::once(own).chain(others));
        names
            .chain(reference.fields.values())
            .map(|name| folder.join(name))
            .filter(|file| file.is_file())
            .collect()
    }

    fn write_instructions(&self, target: &WriteTarget<'_>) -> String {
        let fields = target.field_names();
        let vault = target.vault;
        if target.path.is_empty() {
            format!("write the files {fields} in the folder of vault {vault}")
        } else {
            let path = target.path;
            format!("write the files {fields} under {path} in the folder of vault {vault}")
        }
    }

    fn open(&self, _: &Arc<dyn Clock>) -> Arc<dyn VaultSource> {
        Arc::new(Directory::new(self.path.clone()))
    }
}

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
            // Kubernetes replaced the resolved generation during the read.
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
            if field.starts_with('.') || !is_file(&item)? {
                continue;
            }
            let read = file::read_with_time(&item, HINT)?;
            entry.modified = entry.modified.max(read.modified);
            entry
                .fields
                .insert(field.to_owned(), SecretString::from(read.text.as_str()));
        }
        require_fields(entry, path, &folder)
    }

    /// The folder itself, with the symbolic links resolved that a swap replaces.
    fn resolve_folder(&self, path: &str) -> Result<PathBuf, ReadError> {
        if let Some(why) = path_problem(path) {
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
                    hint: ENTRY_HINT,
                };
            }
            ReadError::from_io(&named, error, HINT)
        })
    }
}

fn path_problem(path: &str) -> Option<&'static str> {
    let is_inside = Path::new(path).components().all(|part| match part {
        Component::Normal(_) => true,
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    });
    (!is_inside).then_some("it must lead downwards, without a leading `/`, `.` or `..`")
}

/// Whether it is a file, and not a folder or a link to nothing.
fn is_file(item: &Path) -> Result<bool, ReadError> {
    match item.metadata() {
        Ok(found) => Ok(found.is_file()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ReadError::from_io(item, error, HINT)),
    }
}

fn require_fields(entry: VaultEntry, path: &str, folder: &Path) -> Result<VaultEntry, ReadError> {
    if entry.fields.is_empty() {
        return Err(ReadError::MissingEntry {
            path: path.into(),
            location: folder.display().to_string().into(),
            hint: ENTRY_HINT,
        });
    }
    Ok(entry)
}

impl VaultSource for Directory {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>> {
        let vault = self.clone();
        let path = path.to_owned();
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
