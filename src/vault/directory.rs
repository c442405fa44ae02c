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
use crate::vault::source::{Entry, Source, Warning, Watched, blocking, odd};

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

    fn entry(&self, path: &str) -> Result<Entry, ReadError> {
        match self.entry_once(path) {
            // The generation we resolved was swapped away under us.
            Err(ReadError::MissingFile { .. }) => self.entry_once(path),
            other => other,
        }
    }

    fn entry_once(&self, path: &str) -> Result<Entry, ReadError> {
        let folder = self.folder(path)?;
        let list = folder.read_dir().map_err(|error| ReadError::opening(&folder, error, HINT))?;
        let mut entry = Entry::default();
        for item in list {
            let item = item.map_err(|error| ReadError::opening(&folder, error, HINT))?.path();
            let Some(field) = item.file_name().and_then(|name| name.to_str()) else { continue };
            if field.starts_with('.') || !item.is_file() {
                continue;
            }
            let value = file::read_text(&item, HINT)?;
            let value = file::without_newline(&value);
            entry.warnings.extend(odd(value).map(|what| Warning { field: field.to_owned(), what }));
            entry.fields.insert(field.to_owned(), SecretString::from(value));
        }
        refuse_empty(entry, path, &folder)
    }

    /// The folder itself, past the symbolic links that a swap turns.
    fn folder(&self, path: &str) -> Result<PathBuf, ReadError> {
        let inside = Path::new(path).components().all(|part| match part {
            Component::Normal(_) => true,
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => false,
        });
        if !inside {
            let why = "it must lead downwards, without a leading `/`, `.` or `..`";
            return Err(ReadError::BadPath { path: path.into(), place: self.place().into(), why });
        }
        let named = self.path.join(path);
        let swapped = named.join("..data");
        let real = if swapped.exists() { swapped } else { named.clone() };
        real.canonicalize().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound && self.path.is_dir() {
                return ReadError::MissingEntry { path: path.into(), place: self.place().into() };
            }
            ReadError::opening(&named, error, HINT)
        })
    }
}

fn refuse_empty(entry: Entry, path: &str, folder: &Path) -> Result<Entry, ReadError> {
    if entry.fields.is_empty() {
        return Err(ReadError::MissingEntry { path: path.into(), place: folder.display().to_string().into() });
    }
    Ok(entry)
}

impl Source for Directory {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<Entry, ReadError>> {
        let (vault, path) = (self.clone(), path.to_owned());
        Box::pin(blocking(self.place(), move || vault.entry(&path)))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn piecewise(&self) -> bool {
        true
    }

    fn watched(&self) -> Watched {
        Watched::Folder(self.path.clone())
    }
}

#[cfg(test)]
mod tests;
