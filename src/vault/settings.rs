//! What the vaults are made from, free of the file's spelling.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// All vaults, by their name in the config.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `[vaults.NAME]`.
    pub sources: BTreeMap<String, SourceSettings>,
}

/// Where one vault's entries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// An age-encrypted file of ours.
    Embedded {
        /// The encrypted file.
        file: PathBuf,
        /// The age identity that opens it.
        key_file: PathBuf,
    },
    /// A `.env` file, or without one the environment of this process.
    Env {
        /// The `.env` file.
        file: Option<PathBuf>,
    },
    /// One file a field: `path/field`.
    Directory {
        /// The folder.
        path: PathBuf,
    },
}

/// What a provider's `credential` refers to. What it names is what it gets (`fields` and `names`
/// together); one that names nothing gets the whole entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Which vault.
    pub vault: String,
    /// Which entry; empty where the vault has only one (`env`, or a flat directory).
    pub path: String,
    /// The dialect's field → the vault's field, where they differ.
    pub fields: BTreeMap<String, String>,
    /// Every credential field of the dialect → what else it is called in `.env` files (may be empty), in the
    /// order to look; tried where the vault has neither the mapped nor the own name.
    pub names: BTreeMap<String, Vec<String>>,
}
