//! What a kind of vault tells about itself. The settings answer, so that a vault can be described
//! without being opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::vault::reference::CredentialRef;
use crate::vault::source::VaultSource;

/// One kind of vault, implemented by its settings. A kind has one file: its settings, this trait
/// and its [`VaultSource`].
pub trait VaultKind {
    /// Its key under `[vaults.NAME]`.
    fn kind(&self) -> &'static str;

    /// The files and folders that must exist, in the order to report them.
    fn required_files(&self) -> Vec<&Path>;

    /// How to get a required file that is missing; may look at the disk. `config` is the path of
    /// the config.
    fn missing_file_help(&self, config: &str) -> String;

    /// Why no entry can have this path, and what to do; none: it can.
    fn path_problem(&self, _path: &str) -> Option<&'static str> {
        None
    }

    /// Whether any user who may read its files can read its values: no key, no server, no command.
    fn is_plain_file(&self) -> bool {
        false
    }

    /// The files whose modification time dates an entry; empty: the age is unknown.
    fn entry_files(&self, _reference: &CredentialRef) -> Vec<PathBuf> {
        Vec::new()
    }

    /// How an operator changes an entry, as a command or an imperative clause.
    fn write_instructions(&self, target: &WriteTarget<'_>) -> String;

    /// Whether a change is noticed without a restart.
    fn is_reread(&self) -> bool {
        true
    }

    /// Makes the source. Touches no file: a vault may become available after the start.
    fn open(&self, clock: &Arc<dyn Clock>) -> Arc<dyn VaultSource>;
}

/// The entry that an operator changes.
#[derive(Clone, Copy, Debug)]
pub struct WriteTarget<'a> {
    /// The path of the config.
    pub config: &'a str,
    /// The vault's name.
    pub vault: &'a str,
    /// The entry; empty where the vault has only one.
    pub path: &'a str,
    /// The fields to change, by the vault's names; empty: unknown.
    pub fields: &'a [String],
}

impl WriteTarget<'_> {
    /// The fields as part of a sentence; "the credential" if they are unknown.
    pub fn field_names(&self) -> String {
        if self.fields.is_empty() {
            "the credential".to_owned()
        } else {
            self.fields.join(" and ")
        }
    }
}

/// How an operator changes one entry, as its vault describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHelp {
    /// A command or an imperative clause.
    pub write_instructions: String,
    /// Whether the change is noticed without a restart.
    pub is_reread: bool,
}
