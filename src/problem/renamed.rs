//! Keys and words that had another name before the first release. Only the help line of an
//! error reads this table: an old name is never accepted.

/// The old name and the new one. One old name may have several new ones; the place where it
/// stands decides, because only one of them is known there.
const RENAMED: &[(&str, &str)] = &[
    // the config
    ("repeat_window", "duplicate_window"),
    ("refuse", "deny"),
    // descriptions: the top, the send and the operations
    ("like", "extends"),
    ("left", "retired_hosts"),
    ("otherwise", "default"),
    ("call", "endpoint"),
    ("may_drop", "droppable"),
    ("drops", "dropped"),
    ("takes", "accepts"),
    ("reads", "also_reads"),
    ("match", "where"),
    ("do", "kind"),
    ("carry", "passthrough"),
    ("repeat", "idempotency"),
    ("again", "duplicate_codes"),
    ("asked", "queried"),
    // descriptions: rules and probes
    ("at", "path"),
    ("is", "equals"),
    ("like", "matches"),
    ("body_like", "body_matches"),
    ("refused", "rejected"),
    ("says", "message_path"),
    ("or", "alternatives"),
    ("guess", "inferred"),
    ("asks", "about"),
    ("alive", "healthy_when"),
    ("dead", "cause_when"),
    // causes
    ("refused-by-policy", "denied-by-policy"),
];

/// The new name of `old`, if it was renamed and the new name is one of `known`.
pub fn renamed_to<'a>(old: &str, known: &[&'a str]) -> Option<&'a str> {
    RENAMED
        .iter()
        .filter(|(before, _)| *before == old)
        .find_map(|(_, now)| known.iter().find(|name| *name == now).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_name_is_the_one_that_is_known_there() {
        let top = ["dialect", "extends"];
        let rule = ["path", "matches"];
        assert_eq!(renamed_to("like", &top), Some("extends"));
        assert_eq!(renamed_to("like", &rule), Some("matches"));
        assert_eq!(renamed_to("like", &["sender"]), None);
        assert_eq!(renamed_to("extends", &top), None);
    }
}
