//! What the headline says of vaults that cannot be read: pure functions from facts to sentences.

use crate::status::times::short_time;
use crate::status::{VaultEntryStatus, VaultStatus};

/// Says which entries of a vault are absent, and which cannot be read: an absent entry says nothing about the vault.
pub(super) fn failing_vault_warnings(vault: &VaultStatus, now: &str) -> Vec<String> {
    let failing = vault
        .entries
        .iter()
        .filter(|entry| entry.failing_since.is_some());
    let (absent, unreadable): (Vec<_>, Vec<_>) = failing.partition(|entry| entry.is_absent());
    let name = &vault.vault;
    let paths = |entries: &[&VaultEntryStatus]| {
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        paths.join(", ")
    };
    let what_is_absent = if absent.iter().any(|entry| entry.path.is_empty()) {
        format!("Vault {name} lacks the fields of a credential")
    } else {
        format!("Vault {name} has no entry {}", paths(&absent))
    };
    let is_whole = unreadable.len() == vault.entries.len();
    let what_is_unreadable = if is_whole || unreadable.iter().any(|entry| entry.path.is_empty()) {
        format!("Vault {name} cannot be read")
    } else {
        format!("{} of vault {name} cannot be read", paths(&unreadable))
    };
    [(absent, what_is_absent), (unreadable, what_is_unreadable)]
        .into_iter()
        .filter_map(|(entries, what)| {
            let since = entries
                .iter()
                .filter_map(|entry| entry.failing_since.as_deref());
            let since = short_time(since.min()?, now);
            let is_kept = entries.iter().any(|entry| entry.last_success_at.is_some());
            let kept = if is_kept {
                "; the last good credentials stay in use"
            } else {
                ""
            };
            Some(format!("{what} since {since}{kept}."))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One absent entry does not mean that the vault cannot be read.
    #[test]
    fn an_absent_entry_and_an_unreadable_vault_differ() {
        let entry = |path: &str, result: &str| VaultEntryStatus {
            path: path.to_owned(),
            result: result.to_owned(),
            failing_since: (result != "unchanged").then(|| "2026-11-25T20:46:00Z".to_owned()),
            ..VaultEntryStatus::default()
        };
        for (entries, expected) in [
            (vec![entry("a", "unchanged")], vec![]),
            (
                vec![entry("a", "unchanged"), entry("b", "not-found")],
                vec!["Vault v has no entry b since 20:46:00 UTC."],
            ),
            (
                vec![entry("", "not-found")],
                vec!["Vault v lacks the fields of a credential since 20:46:00 UTC."],
            ),
            (
                vec![entry("a", "unchanged"), entry("b", "malformed")],
                vec!["b of vault v cannot be read since 20:46:00 UTC."],
            ),
            (
                vec![entry("a", "timeout"), entry("b", "timeout")],
                vec!["Vault v cannot be read since 20:46:00 UTC."],
            ),
            (
                vec![entry("a", "not-found"), entry("b", "malformed")],
                vec![
                    "Vault v has no entry a since 20:46:00 UTC.",
                    "b of vault v cannot be read since 20:46:00 UTC.",
                ],
            ),
        ] {
            let vault = VaultStatus {
                vault: "v".to_owned(),
                entries,
                ..VaultStatus::default()
            };
            assert_eq!(
                failing_vault_warnings(&vault, "2026-11-25T20:50:00Z"),
                expected
            );
        }
    }
}
