//! The CA's two files: replaced atomically, the key with mode 0600.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use zeroize::Zeroizing;

use crate::net::ca::CaError;

pub(super) fn read_key(file: &Path) -> Result<KeyPair, CaError> {
    let unusable = |source| CaError::from_read(file, source);
    let mode = fs::metadata(file).map_err(unusable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CaError::KeyExposed {
            file: file.to_path_buf(),
            mode,
        });
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(unusable)?);
    KeyPair::from_pem(&text).map_err(|_| CaError::InvalidContent {
        file: file.to_path_buf(),
        what: "private key",
    })
}

pub(super) fn write_file(file: &Path, content: &[u8], mode: u32) -> Result<(), CaError> {
    replace_atomically(file, content, mode).map_err(|source| CaError::Unwritable {
        file: file.to_path_buf(),
        source,
    })
}

fn replace_atomically(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = file
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let mut beside = name.to_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let beside: PathBuf = file.with_file_name(beside);
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    let done = out
        .write_all(content)
        .and_then(|()| out.sync_all())
        .and_then(|()| fs::rename(&beside, file));
    if done.is_err() {
        // The first error is the one to report; removing the leftover is best effort.
        fs::remove_file(&beside).ok();
    }
    done
}
