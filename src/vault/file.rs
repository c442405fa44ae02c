//! Files that hold secrets: replaced atomically, with owner and mode kept, and read up to a size
//! limit. A write that cannot keep the owner fails, because a file that only root can read stops
//! the service at its next start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Gid, Uid};
use zeroize::Zeroizing;

use crate::vault::error::ReadError;

/// A vault holds a few credentials; a larger file is something else.
const MAX_FILE_SIZE: u64 = 1 << 20;

/// The text of a file.
pub(crate) struct FileText {
    pub(crate) text: Zeroizing<String>,
    /// When it was changed; `None`: the file system does not say.
    pub(crate) modified: Option<SystemTime>,
}

/// Reads a whole file.
pub fn read(file: &Path, hint: &'static str) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    read_opened(file, &mut open(file, hint)?, hint)
}

fn open(file: &Path, hint: &'static str) -> Result<File, ReadError> {
    File::open(file).map_err(|error| ReadError::from_io(file, error, hint))
}

fn read_opened(
    file: &Path,
    opened: &mut File,
    hint: &'static str,
) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(8 << 10));
    opened
        .take(MAX_FILE_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ReadError::from_io(file, error, hint))?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(ReadError::Malformed {
            file: file.into(),
            what: "it is larger than 1 MiB".into(),
        });
    }
    Ok(bytes)
}

/// The same, as text.
pub fn read_text(file: &Path, hint: &'static str) -> Result<Zeroizing<String>, ReadError> {
    into_text(file, &read(file, hint)?)
}

/// The same, with the time of the last change, which is asked for after the read: a write during the read shows.
pub(crate) fn read_with_time(file: &Path, hint: &'static str) -> Result<FileText, ReadError> {
    let mut opened = open(file, hint)?;
    let text = into_text(file, &read_opened(file, &mut opened, hint)?)?;
    let modified = opened.metadata().and_then(|found| found.modified()).ok();
    Ok(FileText { text, modified })
}

fn into_text(file: &Path, bytes: &[u8]) -> Result<Zeroizing<String>, ReadError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(ReadError::Malformed {
            file: file.into(),
            what: "it is not UTF-8".into(),
        }),
    }
}

/// Rejects a key that others than its owner can read. If another user owns it, its group may read
/// it: systemd credentials and Kubernetes grant access in this way.
pub fn ensure_private(file: &Path) -> Result<(), ReadError> {
    let found = file
        .metadata()
        .map_err(|error| ReadError::from_io(file, error, "`sms-sidecar vault init` makes one"))?;
    let ours =
        found.uid() == rustix::process::geteuid().as_raw() || rustix::process::geteuid().is_root();
    let refused = if ours { 0o077 } else { 0o037 };
    let mode = found.mode() & 0o7777;
    if mode & refused == 0 {
        Ok(())
    } else {
        Err(ReadError::KeyExposed {
            file: file.into(),
            mode,
        })
    }
}

/// Replaces the content of `file` by `bytes` atomically and keeps its owner and mode; follows a symbolic link.
pub fn replace_atomically(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = file.canonicalize()?;
    let before = target.metadata()?;
    let mut fresh = TempFile::create_beside(&target)?;
    fresh.write_all(bytes)?;
    rustix::fs::fchown(
        &fresh.handle,
        Some(Uid::from_raw(before.uid())),
        Some(Gid::from_raw(before.gid())),
    )?;
    // After the owner, because a change of owner clears mode bits.
    fresh
        .handle
        .set_permissions(std::fs::Permissions::from_mode(before.mode() & 0o7777))?;
    fresh.handle.sync_all()?;
    std::fs::rename(&fresh.path, &target)?;
    fresh.persisted = true;
    sync_folder(&target)
}

/// Creates a file of mode 0600, and its folder (0700) if that is missing; fails if the file exists.
/// The folder's owner owns it, so that a service can read what root creates in its folder.
pub fn create(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = parent_folder(file);
    if !folder.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut fresh = TempFile::create_beside(file)?;
    fresh.write_all(bytes)?;
    let owner = folder.metadata()?;
    if rustix::process::geteuid().is_root() {
        rustix::fs::fchown(
            &fresh.handle,
            Some(Uid::from_raw(owner.uid())),
            Some(Gid::from_raw(owner.gid())),
        )?;
    }
    fresh.handle.sync_all()?;
    // A link fails if the target exists; a rename would overwrite it.
    std::fs::hard_link(&fresh.path, file)?;
    sync_folder(file)
}

/// Locks a second writer out until the handle is dropped: two concurrent read-modify-write cycles
/// would lose one of the changes.
pub fn lock(file: &Path) -> io::Result<File> {
    let folder = File::open(parent_folder(&file.canonicalize()?))?;
    folder.lock()?;
    Ok(folder)
}

/// A new file beside its target; removed on drop unless it has replaced the target.
struct TempFile {
    path: PathBuf,
    handle: File,
    persisted: bool,
}

impl TempFile {
    fn create_beside(target: &Path) -> io::Result<Self> {
        let name = target
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_string_lossy();
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for attempt in 0..16 {
            let path =
                parent_folder(target).join(format!(".{name}.{}-{attempt}.new", std::process::id()));
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
            {
                Ok(handle) => {
                    return Ok(Self {
                        path,
                        handle,
                        persisted: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.handle.write_all(bytes)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.persisted {
            // Removing the leftover is best effort; the caller gets the write's own error.
            std::fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

fn parent_folder(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(parent_folder(file))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (length, is_read) in [(MAX_FILE_SIZE, true), (MAX_FILE_SIZE + 1, false)] {
            file.as_file().set_len(length).unwrap();
            assert_eq!(read(file.path(), "").is_ok(), is_read, "{length}");
        }
    }
}
