//! The events of the cache: every read, and why there is no credential. Names, never values.

use std::sync::Arc;

use crate::secret::Version;
use crate::vault::entry::FieldWarning;
use crate::vault::error::ReadError;

/// Why there is no credential.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The config has no such vault.
    #[error("there is no `[vaults.{0}]` in the config")]
    UnknownVault(Box<str>),
    /// The vault returned no entry.
    #[error("vault `{vault}`: {error}")]
    Read {
        /// The vault's name.
        vault: Box<str>,
        /// The error of the read.
        #[source]
        error: Arc<ReadError>,
    },
}

impl Error {
    /// Whether the vault can be read, and what is wrong is in the entry: it is absent, or has a value that cannot be
    /// sent.
    pub fn is_about_entry(&self) -> bool {
        match self {
            Self::UnknownVault(_) => false,
            Self::Read { error, .. } => {
                error.is_missing() || matches!(**error, ReadError::UnusableField { .. })
            }
        }
    }
}

/// The result of a read of a vault; for metrics and the log.
#[derive(Clone, Debug)]
pub struct ReadEvent<'a> {
    /// The vault's name.
    pub vault: &'a str,
    /// The entry.
    pub path: &'a str,
    /// How it went.
    pub outcome: ReadOutcome<'a>,
}

/// How a read went.
#[derive(Clone, Debug)]
pub enum ReadOutcome<'a> {
    /// The same content as before.
    Unchanged(Version),
    /// New content, with the values that look like a mistake.
    New(Version, &'a [FieldWarning]),
    /// The read failed; the last good version stays.
    Failed(&'a ReadError),
}

/// Receives every read.
pub type ReadEventSink = Box<dyn Fn(ReadEvent<'_>) + Send + Sync>;
