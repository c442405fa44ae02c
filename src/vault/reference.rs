//! What a provider or caller refers to in a vault.

use std::collections::BTreeMap;

/// A provider's `credential`. It gets the fields that `fields` and `aliases` name together; a
/// reference that names none gets the whole entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CredentialRef {
    /// The vault's name.
    pub vault: String,
    /// The entry; empty where the vault has only one (`env`, or a flat directory).
    pub path: String,
    /// The dialect's field → the vault's field, where they differ.
    pub fields: BTreeMap<String, String>,
    /// Every credential field of the dialect → its names in `.env` files (may be empty), in the
    /// order of the search; used where the vault has neither the mapped nor the own name.
    pub aliases: BTreeMap<String, Vec<String>>,
}
