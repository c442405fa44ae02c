//! Why an entry could not be read. Each error names what happened, where, and what to do. None
//! quotes a value, or a parser's own message, which could quote one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::file_error::describe_read_error;
use crate::telemetry::VaultReadResult;

/// Why a vault returned no entry.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The vault can be read but has no such entry.
    #[error("there is no entry `{path}` in {location}; {hint}")]
    MissingEntry {
        /// The requested path.
        path: Box<str>,
        /// The file or folder that was read.
        location: Box<str>,
        /// What to do.
        hint: &'static str,
    },
    /// The entry exists, but has no field with the requested names.
    #[error(
        "{location} has none of {names}; set one of them, or name the vault's own in `credential.fields`"
    )]
    MissingFields {
        /// The file, folder or environment that was read.
        location: Box<str>,
        /// The requested names, comma separated.
        names: Box<str>,
    },
    /// A path that could lead out of the vault, or that is not valid for this kind of vault.
    #[error("`{path}` is not a valid path in {location}: {why}")]
    InvalidPath {
        /// The requested path.
        path: Box<str>,
        /// The vault.
        location: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file does not exist.
    #[error("{} does not exist; {hint}", file.display())]
    MissingFile {
        /// The file.
        file: Box<Path>,
        /// What to do.
        hint: &'static str,
    },
    /// The file exists and cannot be read.
    #[error("{}", describe_read_error(file, source))]
    Unreadable {
        /// The file.
        file: Box<Path>,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Others can read the key.
    #[error("{} can be read by others (mode {mode:04o}); run `chmod 0600 {}`, and rotate the key if others have been on this host", file.display(), file.display())]
    KeyExposed {
        /// The key file.
        file: Box<Path>,
        /// Its permission bits.
        mode: u32,
    },
    /// The vault exists, but its key does not.
    #[error("the key of {} is missing: {} does not exist; restore it from the backup. Without it what the vault holds is lost: move {} away, then `sms-sidecar vault init` and `sms-sidecar vault import-env` make a new one", file.display(), key_file.display(), file.display())]
    MissingKey {
        /// The encrypted file.
        file: Box<Path>,
        /// Where the key should be.
        key_file: Box<Path>,
    },
    /// The file contains no age identity.
    #[error("{} contains no age identity (a line that begins with AGE-SECRET-KEY-1); restore it from the backup, or, if there is no vault yet, move it away and run `sms-sidecar vault init`", file.display())]
    InvalidKey {
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
    /// The content is not valid for this kind of vault.
    #[error("{} is damaged: {what}; restore it from a backup, or write it again", file.display())]
    Malformed {
        /// The file.
        file: Box<Path>,
        /// What is wrong, without quoting it.
        what: Box<str>,
    },
    /// The vault did not respond in time.
    #[error("{location} did not answer within {limit:?}; {hint}")]
    Timeout {
        /// The vault.
        location: Box<str>,
        /// The time limit of the read.
        limit: Duration,
        /// What to do.
        hint: &'static str,
    },
    /// The vault server responds and has no entry at this path.
    #[error("there is no entry `{path}` in {location}: {why}")]
    EntryNotFound {
        /// The requested path.
        path: Box<str>,
        /// The server and mount.
        location: Box<str>,
        /// Why, and what to do.
        why: &'static str,
    },
    /// The vault server is sealed.
    #[error(
        "{location} is sealed; unseal it with `bao operator unseal`; the sidecar then reads it by itself"
    )]
    Sealed {
        /// The server.
        location: Box<str>,
    },
    /// The vault server does not respond.
    #[error(
        "{location} cannot be reached: {why}; check that it runs and that this host may connect to it"
    )]
    Unreachable {
        /// The server.
        location: Box<str>,
        /// What failed.
        why: Box<str>,
    },
    /// The certificate of the vault server is not trusted.
    #[error("{location} is not trusted: {why}")]
    Untrusted {
        /// The server.
        location: Box<str>,
        /// What is wrong, and what to do.
        why: Box<str>,
    },
    /// The vault server responds, but cannot serve requests.
    #[error("{location} answers with status {status}: {why}")]
    ServerError {
        /// The server.
        location: Box<str>,
        /// The HTTP status.
        status: u16,
        /// What that means, and what to do.
        why: &'static str,
    },
    /// The token is valid, but may not read this entry.
    #[error(
        "{location} does not let the sidecar's token read `{path}`; give its policy `read` on that path (KV v2: `MOUNT/data/PATH`), or compare `mount`, `kv` and `namespace`"
    )]
    Forbidden {
        /// The requested path.
        path: Box<str>,
        /// The server and mount.
        location: Box<str>,
    },
    /// The server rejects the login.
    #[error("{location} rejects the sidecar's {login_method}: {why}")]
    LoginRejected {
        /// The server.
        location: Box<str>,
        /// Which kind of login.
        login_method: &'static str,
        /// Why, and what to do.
        why: Box<str>,
    },
    /// The response is not an entry.
    #[error(
        "{location} has no usable entry at `{path}`: {what}; write it again as fields whose values are text"
    )]
    InvalidReply {
        /// The requested path.
        path: Box<str>,
        /// The server, or the command.
        location: Box<str>,
        /// What is wrong, without quoting it.
        what: Box<str>,
    },
    /// A field has no value that could be sent: somebody is writing it, emptied it, or wrote more than the value.
    #[error("field `{field}` of {location} {what}{}; write the value again", kept_clause(*is_kept))]
    UnusableField {
        /// The dialect's name of the field.
        field: Box<str>,
        /// The file, folder or server that was read.
        location: Box<str>,
        /// What is wrong, as a predicate.
        what: &'static str,
        /// Its last good value stays in use.
        is_kept: bool,
    },
    /// The files of the entry change with every read.
    #[error("{location} is still being written{}; it is read again until it stays the same", kept_clause(*is_kept))]
    Changing {
        /// The file or folder.
        location: Box<str>,
        /// Its last good content stays in use.
        is_kept: bool,
    },
    /// The command failed.
    #[error(
        "the command {command} returned no entry for `{path}`: {what}; run it by hand as the service's user, with the same path"
    )]
    CommandFailed {
        /// The program, without its arguments.
        command: Box<str>,
        /// The requested path.
        path: Box<str>,
        /// What happened, without the command's output.
        what: Box<str>,
    },
    /// The read was interrupted.
    #[error("reading {location} was interrupted, as happens while the sidecar stops; read again")]
    Interrupted {
        /// The vault.
        location: Box<str>,
    },
}

const fn kept_clause(is_kept: bool) -> &'static str {
    if is_kept {
        ", so its last good value stays in use"
    } else {
        ""
    }
}

impl ReadError {
    /// Whether the vault can be read but does not have the entry yet.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::MissingEntry { .. } | Self::MissingFields { .. } | Self::EntryNotFound { .. }
        )
    }

    /// The failure's label in metrics.
    pub fn result(&self) -> VaultReadResult {
        match self {
            Self::MissingEntry { .. } | Self::MissingFields { .. } | Self::EntryNotFound { .. } => {
                VaultReadResult::NotFound
            }
            Self::Malformed { .. }
            | Self::InvalidReply { .. }
            | Self::UnusableField { .. }
            | Self::Changing { .. } => VaultReadResult::Malformed,
            Self::Timeout { .. } => VaultReadResult::Timeout,
            Self::Unreachable { .. } | Self::ServerError { .. } => VaultReadResult::Unreachable,
            Self::Sealed { .. } => VaultReadResult::Sealed,
            Self::Forbidden { .. } | Self::LoginRejected { .. } => VaultReadResult::Forbidden,
            Self::Untrusted { .. } => VaultReadResult::Tls,
            Self::InvalidPath { .. }
            | Self::MissingFile { .. }
            | Self::Unreadable { .. }
            | Self::KeyExposed { .. }
            | Self::MissingKey { .. }
            | Self::InvalidKey { .. }
            | Self::WrongKey { .. }
            | Self::CommandFailed { .. }
            | Self::Interrupted { .. } => VaultReadResult::Failed,
        }
    }

    /// Distinguishes a missing file from one that cannot be read. `hint` is for the missing one.
    pub(crate) fn from_io(file: &Path, error: io::Error, hint: &'static str) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::MissingFile {
                file: file.into(),
                hint,
            };
        }
        Self::Unreadable {
            file: file.into(),
            source: Arc::new(error),
        }
    }
}
