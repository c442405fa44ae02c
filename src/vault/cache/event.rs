//! What the keeper tells: of every read, and why there is no credential. Names, never values.

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
    /// The vault gave nothing.
    #[error("vault `{vault}`: {error}")]
    Read {
        /// The vault's name.
        vault: Box<str>,
        /// What it said.
        #[source]
        error: Arc<ReadError>,
    },
}

/// What a read of a vault came to; for metrics and the log.
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
    /// New content, with what looks like a mistake in it.
    New(Version, &'a [FieldWarning]),
    /// Nothing; the last good version stays.
    Failed(&'a ReadError),
}

/// Hears of every read.
pub type ReadEventSink = Box<dyn Fn(ReadEvent<'_>) + Send + Sync>;
