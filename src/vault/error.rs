//! Why an entry could not be read. Each says what happened, to what, and what to do; none quotes
//! a value, nor a parser's own message, which would quote one.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// Why a vault gave no entry.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The vault can be read but has no such entry.
    #[error("there is no entry `{path}` in {place}; `sms-sidecar vault list` shows what is there")]
    MissingEntry {
        /// The path asked for.
        path: Box<str>,
        /// The file or folder looked into.
        place: Box<str>,
    },
    /// The entry is there, but nothing in it goes by the names asked for.
    #[error("{place} has none of {names}; set one of them, or name the vault's own in `credential.fields`")]
    NoFields {
        /// The file, folder or environment looked into.
        place: Box<str>,
        /// What was looked for, comma separated.
        names: Box<str>,
    },
    /// A path that could lead out of the vault, or that this kind of vault does not have.
    #[error("`{path}` is no path in {place}: {why}")]
    BadPath {
        /// The path asked for.
        path: Box<str>,
        /// The vault.
        place: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file is not there.
    #[error("{} is not there; {hint}", file.display())]
    MissingFile {
        /// The file.
        file: Box<Path>,
        /// What to do.
        hint: &'static str,
    },
    /// The file is there and cannot be read.
    #[error("{} cannot be read ({source}); {hint}", file.display())]
    Unreadable {
        /// The file.
        file: Box<Path>,
        /// What the system said.
        source: Arc<io::Error>,
        /// What to do.
        hint: &'static str,
    },
    /// Others can read the key.
    #[error("{} can be read by others (mode {mode:04o}); run `chmod 0600 {}`, and rotate the key if others have been on this host", file.display(), file.display())]
    KeyExposed {
        /// The key file.
        file: Box<Path>,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no age identity.
    #[error("{} holds no age identity (a line that begins with AGE-SECRET-KEY-1); `sms-sidecar vault init` makes one", file.display())]
    BadKey {
        /// The key file.
        file: Box<Path>,
    },
    /// The key does not open the vault.
    #[error("the key in {} does not open {}; name the key it was encrypted to, or restore both from the same backup", key_file.display(), file.display())]
    WrongKey {
        /// The encrypted file.
        file: Box<Path>,
        /// The key file.
        key_file: Box<Path>,
    },
    /// The content is not what this kind of vault holds.
    #[error("{} is damaged: {what}; restore it from a backup, or write it anew", file.display())]
    Malformed {
        /// The file.
        file: Box<Path>,
        /// What is wrong, without quoting it.
        what: Box<str>,
    },
    /// The vault did not answer in time.
    #[error("reading {place} took longer than {seconds} s; see whether its disk or network share answers")]
    TooSlow {
        /// The vault.
        place: Box<str>,
        /// The limit.
        seconds: u64,
    },
    /// The read was broken off.
    #[error("reading {place} was broken off, as happens while the service stops; read again")]
    Interrupted {
        /// The vault.
        place: Box<str>,
    },
}

impl ReadError {
    /// The vault was read and has nothing under that name: nobody put it there yet.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::MissingEntry { .. } | Self::NoFields { .. })
    }

    /// One word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::MissingEntry { .. } => "missing-entry",
            Self::NoFields { .. } => "no-fields",
            Self::BadPath { .. } => "bad-path",
            Self::MissingFile { .. } => "missing-file",
            Self::Unreadable { .. } => "unreadable",
            Self::KeyExposed { .. } => "key-exposed",
            Self::BadKey { .. } => "bad-key",
            Self::WrongKey { .. } => "wrong-key",
            Self::Malformed { .. } => "malformed",
            Self::TooSlow { .. } => "too-slow",
            Self::Interrupted { .. } => "interrupted",
        }
    }

    /// Every label, for metrics that are born at zero.
    pub const LABELS: [&str; 11] = [
        "missing-entry",
        "no-fields",
        "bad-path",
        "missing-file",
        "unreadable",
        "key-exposed",
        "bad-key",
        "wrong-key",
        "malformed",
        "too-slow",
        "interrupted",
    ];

    /// Tells a file that is not there from one that cannot be read.
    pub(crate) fn opening(file: &Path, error: io::Error, hint: &'static str) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::MissingFile { file: file.into(), hint };
        }
        Self::Unreadable { file: file.into(), source: Arc::new(error), hint }
    }
}
