//! Which messages a route selects, and the order of its providers.

use crate::sms::{Msisdn, ProviderId};

/// The conditions of a route. An empty list matches every request.
#[derive(Clone, Copy, Debug)]
pub struct RouteCriteria<'a> {
    /// Recipient prefixes, with or without `+`.
    pub recipients: &'a [String],
    /// Caller names.
    pub callers: &'a [String],
    /// Dialects of the request.
    pub dialects: &'a [String],
}

/// The properties of a request that select its route.
#[derive(Clone, Debug)]
pub struct RouteInput<'a> {
    /// The phone numbers: several for a batch, none if the recipient is not a phone number.
    pub recipients: Vec<Msisdn>,
    /// The caller's name, if it is known.
    pub caller: Option<&'a str>,
    /// The dialect that the backend uses.
    pub dialect: &'a str,
}

impl RouteCriteria<'_> {
    /// Whether the route selects this request. A batch is never split, so all of its recipients
    /// must match.
    pub fn matches(&self, input: &RouteInput<'_>) -> bool {
        let has_prefix = |number: &Msisdn| {
            self.recipients
                .iter()
                .any(|prefix| number.has_prefix(prefix))
        };
        let recipients = self.recipients.is_empty()
            || (!input.recipients.is_empty() && input.recipients.iter().all(has_prefix));
        let caller = self.callers.is_empty()
            || input
                .caller
                .is_some_and(|caller| self.callers.iter().any(|name| name == caller));
        let dialect =
            self.dialects.is_empty() || self.dialects.iter().any(|name| name == input.dialect);
        recipients && caller && dialect
    }
}

/// The order in which providers are tried: first those of the backend's dialect, because a native
/// attempt loses nothing, then the rest as listed. With `prefer_listed` all are as listed.
pub fn order_providers(
    listed: &[ProviderId],
    is_native: impl Fn(&ProviderId) -> bool,
    prefer_listed: bool,
) -> Vec<ProviderId> {
    let mut order = listed.to_vec();
    if !prefer_listed {
        order.sort_by_key(|provider| !is_native(provider));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    fn matches(rule: [&[&str]; 3], numbers: &[&str], caller: Option<&str>, dialect: &str) -> bool {
        let [recipients, callers, dialects] = rule.map(strings);
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
            recipients: numbers,
            caller,
            dialect,
        })
    }

    #[test]
    fn a_route_selects_what_it_lists() {
        let uz = "+998901234567";
        assert!(matches([&[], &[], &[]], &[], None, "plain"));
        assert!(matches([&["+998"], &[], &[]], &[uz], None, "plain"));
        assert!(matches([&["+7", "998"], &[], &[]], &[uz], None, "plain"));
        assert!(!matches([&["+99890999"], &[], &[]], &[uz], None, "plain"));
        assert!(
            !matches([&["+998"], &[], &[]], &[], None, "plain"),
            "without a number"
        );
        assert!(
            !matches([&["+998"], &[], &[]], &[uz, "+12025550123"], None, "plain"),
            "a batch matches as a whole or not at all"
        );
        assert!(matches(
            [&["+998", "+1"], &[], &[]],
            &[uz, "+12025550123"],
            None,
            "plain"
        ));
        assert!(matches(
            [&[], &["backend"], &[]],
            &[uz],
            Some("backend"),
            "plain"
        ));
        assert!(!matches(
            [&[], &["backend"], &[]],
            &[uz],
            Some("other"),
            "plain"
        ));
        assert!(!matches([&[], &["backend"], &[]], &[uz], None, "plain"));
        assert!(matches([&[], &[], &["plain"]], &[uz], None, "plain"));
        assert!(!matches([&[], &[], &["plain"]], &[uz], None, "other"));
        assert!(
            !matches(
                [&["+998"], &["backend"], &["plain"]],
                &[uz],
                Some("backend"),
                "other"
            ),
            "all conditions must match"
        );
    }

    #[test]
    fn native_providers_come_first() {
        let listed: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .map(ProviderId::new)
            .collect();
        let is_native = |provider: &ProviderId| matches!(provider.as_str(), "b" | "d");
        let names = |prefer_listed| {
            order_providers(&listed, is_native, prefer_listed)
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
