//! Which messages a route means, and in which order its providers are asked.

use crate::sms::{Msisdn, ProviderId};

/// What a route asks of a call. Empty: nothing.
#[derive(Clone, Copy, Debug)]
pub struct RouteCriteria<'a> {
    /// Prefixes of the recipient, written with or without `+`.
    pub recipients: &'a [String],
    /// Names of callers.
    pub callers: &'a [String],
    /// Dialects spoken.
    pub dialects: &'a [String],
}

/// What is known of a call when its route is looked for.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// Who gets it; none where that is no phone number, several in a batch.
    pub recipients: &'a [Msisdn],
    /// Who calls, where it is known.
    pub caller: Option<&'a str>,
    /// What it speaks.
    pub dialect: &'a str,
}

impl RouteCriteria<'_> {
    /// Whether the route means this call. A batch is whole: every one of its recipients must be meant.
    pub fn matches(&self, seen: &RouteInput<'_>) -> bool {
        let meant = |number: &Msisdn| {
            self.recipients
                .iter()
                .any(|prefix| number.has_prefix(prefix))
        };
        let recipients = self.recipients.is_empty()
            || (!seen.recipients.is_empty() && seen.recipients.iter().all(meant));
        let caller = self.callers.is_empty()
            || seen
                .caller
                .is_some_and(|caller| self.callers.iter().any(|name| name == caller));
        let dialect =
            self.dialects.is_empty() || self.dialects.iter().any(|name| name == seen.dialect);
        recipients && caller && dialect
    }
}

/// The providers in the order to be asked: those of the dialect spoken first, because an attempt in the
/// backend's own words loses nothing; else, and always with `prefer_listed`, as listed.
pub fn order_providers(
    listed: &[ProviderId],
    speaks: impl Fn(&ProviderId) -> bool,
    prefer_listed: bool,
) -> Vec<ProviderId> {
    let mut order = listed.to_vec();
    if !prefer_listed {
        order.sort_by_key(|provider| !speaks(provider));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn means(rule: [&[&str]; 3], numbers: &[&str], caller: Option<&str>, dialect: &str) -> bool {
        let [recipients, callers, dialects] = rule.map(words);
        let numbers: Vec<_> = numbers
            .iter()
            .map(|number| Msisdn::parse(number).unwrap())
            .collect();
        let rule = RouteCriteria {
            recipients: &recipients,
            callers: &callers,
            dialects: &dialects,
        };
        rule.matches(&RouteInput {
            recipients: &numbers,
            caller,
            dialect,
        })
    }

    #[test]
    fn a_route_means_what_it_lists() {
        let uz = "+998901234567";
        assert!(means([&[], &[], &[]], &[], None, "plain"));
        assert!(means([&["+998"], &[], &[]], &[uz], None, "plain"));
        assert!(means([&["+7", "998"], &[], &[]], &[uz], None, "plain"));
        assert!(!means([&["+99890999"], &[], &[]], &[uz], None, "plain"));
        assert!(
            !means([&["+998"], &[], &[]], &[], None, "plain"),
            "no number is known"
        );
        assert!(
            !means([&["+998"], &[], &[]], &[uz, "+12025550123"], None, "plain"),
            "a batch is whole"
        );
        assert!(means(
            [&["+998", "+1"], &[], &[]],
            &[uz, "+12025550123"],
            None,
            "plain"
        ));
        assert!(means(
            [&[], &["backend"], &[]],
            &[uz],
            Some("backend"),
            "plain"
        ));
        assert!(!means(
            [&[], &["backend"], &[]],
            &[uz],
            Some("other"),
            "plain"
        ));
        assert!(!means([&[], &["backend"], &[]], &[uz], None, "plain"));
        assert!(means([&[], &[], &["plain"]], &[uz], None, "plain"));
        assert!(!means([&[], &[], &["plain"]], &[uz], None, "other"));
        assert!(
            !means(
                [&["+998"], &["backend"], &["plain"]],
                &[uz],
                Some("backend"),
                "other"
            ),
            "all of it"
        );
    }

    #[test]
    fn those_who_speak_it_come_first() {
        let listed: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .map(ProviderId::new)
            .collect();
        let speaks = |provider: &ProviderId| matches!(provider.as_str(), "b" | "d");
        let names = |prefer_listed| {
            order_providers(&listed, speaks, prefer_listed)
                .iter()
                .map(ProviderId::as_str)
                .collect::<Vec<_>>()
                .join("")
        };
        assert_eq!(
            (names(false), names(true)),
            ("bdac".to_owned(), "abcd".to_owned())
        );
    }
}
