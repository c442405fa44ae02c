//! Where credentials come from, which versions of them were read, and how a newer one is noticed
//! without a restart. Nothing above this layer reads a secret store.
//!
//! A kind of vault is one file: its settings, how they describe it ([`VaultKind`]), and the
//! [`VaultSource`] that reads one entry. The [`CredentialCache`] keeps entries, counts their
//! versions, and shares one read among all requests that wait for it. No value is ever shown:
//! errors, events and `Debug` carry names of vaults, files and fields only.

mod cache;
pub(crate) mod credential_names;
mod directory;
pub mod dotenv;
pub mod embedded;
mod entry;
mod env;
mod error;
mod exec;
pub mod file;
mod kind;
mod openbao;
mod reference;
mod settings;
mod source;
mod watch;

pub use cache::{CredentialCache, CredentialSeenAt, Error, ReadEvent, ReadEventSink, ReadOutcome};
pub use directory::DirectorySettings;
pub use embedded::EmbeddedSettings;
pub use entry::{FieldWarning, UsableValue, VaultEntry, usable_value};
pub use env::EnvSettings;
pub use error::ReadError;
pub use exec::ExecSettings;
pub use kind::{EntryHelp, VaultKind, WriteTarget};
pub use openbao::{KvVersion, OpenBaoAuth, OpenBaoSettings};
pub use reference::CredentialRef;
pub use settings::{Settings, SourceSettings, entry_help};
pub use source::{ReadSchedule, VaultSource, WatchPaths};
