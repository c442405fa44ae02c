//! Why an entry could not be read. Each says what happened, to what, and what to do; none quotes
//! a value, nor a parser's own message, which would quote one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::VaultReadResult;

/// Why a vault gave no entry.
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
    /// The entry is there, but nothing in it goes by the names asked for.
    #[error(
        "{location} has none of {names}; set one of them, or name the vault's own in `credential.fields`"
    )]
    MissingFields {
        /// The file, folder or environment looked into.
        location: Box<str>,
        /// What was looked for, comma separated.
        names: Box<str>,
    },
    /// A path that could lead out of the vault, or that this kind of vault does not have.
    #[error("`{path}` is no path in {location}: {why}")]
    InvalidPath {
        /// The path asked for.
        path: Box<str>,
        /// The vault.
        location: Box<str>,
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
    /// The vault is there, and what opens it is not.
    #[error("the key of {} is missing: {} is not there; restore it from the backup. Without it what the vault holds is lost: move {} away, then `sms-sidecar vault init` and `sms-sidecar vault import-env` make a new one", file.display(), key_file.display(), file.display())]
    MissingKey {
        /// The encrypted file.
        file: Box<Path>,
        /// Where the key should be.
        key_file: Box<Path>,
    },
    /// The file holds no age identity.
    #[error("{} holds no age identity (a line that begins with AGE-SECRET-KEY-1); restore it from the backup, or, if there is no vault yet, move it away and run `sms-sidecar vault init`", file.display())]
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
    /// The content is not what this kind of vault holds.
    #[error("{} is damaged: {what}; restore it from a backup, or write it anew", file.display())]
    Malformed {
        /// The file.
        file: Box<Path>,
        /// What is wrong, without quoting it.
        what: Box<str>,
    },
    /// The vault did not answer in time.
    #[error("{location} did not answer within {limit:?}; {hint}")]
    Timeout {
        /// The vault.
        location: Box<str>,
        /// How long we waited.
        limit: Duration,
        /// What to do.
        hint: &'static str,
    },
    /// A vault server that answers and has nothing there.
    #[error("there is no entry `{path}` in {location}: {why}")]
    EntryNotFound {
        /// The path asked for.
        path: Box<str>,
        /// The server and mount.
        location: Box<str>,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A vault server that has lost its key on purpose.
    #[error(
        "{location} is sealed; unseal it with `bao operator unseal`, it is read again by itself"
    )]
    Sealed {
        /// The server.
        location: Box<str>,
    },
    /// A vault server that does not answer at all.
    #[error(
        "{location} cannot be reached: {why}; see that it runs and that this host may connect to it"
    )]
    Unreachable {
        /// The server.
        location: Box<str>,
        /// What failed.
        why: Box<str>,
    },
    /// A vault server whose certificate is not trusted.
    #[error("{location} is not trusted: {why}")]
    Untrusted {
        /// The server.
        location: Box<str>,
        /// What is wrong, and what to do.
        why: Box<str>,
    },
    /// A vault server that answers and cannot serve.
    #[error("{location} answers with status {status}: {why}")]
    ServerError {
        /// The server.
        location: Box<str>,
        /// The HTTP status.
        status: u16,
        /// What that means, and what to do.
        why: &'static str,
    },
    /// Our token is good and may not read this.
    #[error(
        "{location} forbids our token to read `{path}`; give its policy `read` on that path (KV v2: `MOUNT/data/PATH`), or compare `mount`, `kv` and `namespace`"
    )]
    Forbidden {
        /// The path asked for.
        path: Box<str>,
        /// The server and mount.
        location: Box<str>,
    },
    /// What we prove ourselves with is refused.
    #[error("{location} refuses our {login_method}: {why}")]
    LoginRejected {
        /// The server.
        location: Box<str>,
        /// Which kind of login.
        login_method: &'static str,
        /// Why, and what to do.
        why: Box<str>,
    },
    /// An answer that is no entry.
    #[error(
        "what {location} holds or answers for `{path}` is no entry: {what}; write it anew as fields whose values are text"
    )]
    InvalidReply {
        /// The path asked for.
        path: Box<str>,
        /// The server, or the command.
        location: Box<str>,
        /// What is wrong, without quoting it.
        what: Box<str>,
    },
    /// The command failed.
    #[error(
        "the command {command} gave no entry for `{path}`: {what}; run it by hand as the service's user, with the same path"
    )]
    CommandFailed {
        /// The program, without its arguments.
        command: Box<str>,
        /// The path asked for.
        path: Box<str>,
        /// What happened, without what it said.
        what: Box<str>,
    },
    /// The read was broken off.
    #[error("reading {location} was broken off, as happens while the service stops; read again")]
    Interrupted {
        /// The vault.
        location: Box<str>,
    },
}

impl ReadError {
    /// The vault was read and has nothing under that name: nobody put it there yet.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::MissingEntry { .. } | Self::MissingFields { .. } | Self::EntryNotFound { .. }
        )
    }

    /// The label of the failure in metrics.
    pub fn result(&self) -> VaultReadResult {
        match self {
            Self::MissingEntry { .. } | Self::MissingFields { .. } | Self::EntryNotFound { .. } => {
                VaultReadResult::NotFound
            }
            Self::Malformed { .. } | Self::InvalidReply { .. } => VaultReadResult::Malformed,
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

    /// Tells a file that is not there from one that cannot be read.
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
            hint,
        }
    }
}
