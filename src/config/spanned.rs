//! What the tables of the file are made of: strings and named tables that keep their position,
//! so that an error can point at them.

use std::collections::BTreeMap;

use toml::Spanned;

/// A string and its position in the file.
pub(super) type ConfigString = Spanned<String>;
/// `[kind.NAME]` tables, sorted by name; the spans of the keys give their order in the file.
pub(super) type NamedTables<T> = BTreeMap<ConfigString, T>;

/// The entries of a `[kind.NAME]` table in the order of the file.
pub(super) fn in_file_order<T>(named: &NamedTables<T>) -> Vec<(&ConfigString, &T)> {
    let mut entries: Vec<_> = named.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// The plain values of a table of strings.
pub(super) fn string_map(named: &NamedTables<ConfigString>) -> BTreeMap<String, String> {
    named
        .iter()
        .map(|(name, word)| (name.get_ref().clone(), word.get_ref().clone()))
        .collect()
}

/// The plain values of a list of strings.
pub(super) fn string_list(words: &[ConfigString]) -> Vec<String> {
    words.iter().map(|word| word.get_ref().clone()).collect()
}
