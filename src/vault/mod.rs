//! Where credentials come from, which version of them we have seen, and how a newer
//! one is noticed without a restart. Nothing above this layer reads a secret store.
//!
//! A [`Source`] reads one entry; the [`Keeper`] caches entries, counts their versions, and lets
//! everyone who doubts a credential wait for one read. Refuses to show a value anywhere: errors,
//! events and `Debug` carry names of vaults, files and fields only.

mod cache;
mod directory;
pub mod dotenv;
pub mod embedded;
mod env;
mod error;
mod exec;
pub mod file;
mod openbao;
mod settings;
mod source;
mod watch;

pub use cache::{CredentialCache, CredentialSeenAt, Error, ReadEvent, ReadEventSink, ReadOutcome};
pub use error::{ReadError, ReadErrorKind};
pub use openbao::KvVersion;
pub use settings::{CredentialRef, OpenBaoAuth, OpenBaoSettings, Settings, SourceSettings};
pub use source::{
    FieldWarning, ReadSchedule, VaultEntry, VaultSource, WatchPaths, suspicious_value,
};
