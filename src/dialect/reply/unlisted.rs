//! What a service says in a failure of which no rule knows the code: its code and its words are kept,
//! because nobody can look up a reply that is gone.

use serde_json::Value;

use crate::dialect::Classification;
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{Classifier, RuleAction};
use crate::dialect::reply::access_denied::generic_message;
use crate::dialect::reply::classify::shown_code;
use crate::dialect::reply::parsed_reply::ParsedReply;

impl Classifier {
    /// Adds the code and the words of a failure, if the rule that decided it read none.
    pub(super) fn add_unlisted(&self, found: &mut Classification, parsed: &ParsedReply<'_>) {
        if found.outcome.cause().is_none() {
            return;
        }
        if found.code.is_none() {
            found.code = self.unlisted_code(parsed);
        }
        if found.provider_message.is_none() {
            let by_rules = self
                .rules
                .iter()
                .find_map(|rule| rule.provider_message(parsed));
            found.provider_message = by_rules
                .or_else(|| generic_message(parsed).filter(|_| !parsed.is_success()))
                .or_else(|| found.code.as_ref().map(|_| parsed.shown(&parsed.text)))
                .filter(|words| Some(words) != found.code.as_ref());
        }
    }

    /// The code where the rules look one up, whether the table has it or not.
    fn unlisted_code(&self, parsed: &ParsedReply<'_>) -> Option<String> {
        self.rules
            .iter()
            .filter(|rule| matches!(rule.action, RuleAction::LookUpCode))
            .filter_map(|rule| rule.match_reply(parsed))
            .find_map(|found| {
                let read = found.values.iter().copied().find(|value| is_code(value));
                read.map(to_text)
                    .or_else(|| found.captures.get("code").cloned())
            })
            .and_then(shown_code)
            .filter(|code| !parsed.is_own_code(code))
    }
}

/// A text or a number, but not the 0 of a success.
fn is_code(value: &Value) -> bool {
    (value.is_string() || value.is_number()) && !matches!(to_text(value).as_str(), "" | "0")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::dialect::expr::path::JsonPath;
    use crate::dialect::expr::scope::Scope;
    use crate::dialect::model::ReplyRule;
    use crate::dialect::{Catalog, Dialect, Reply};
    use crate::sms::AttemptKind;

    const CODE: u32 = 97_531;
    const WORDS: &str = "originator is not active today";

    /// A reply with this code at the place where the rule reads one, and words where it reads words.
    fn failure(rule: &ReplyRule) -> Option<Value> {
        let mut tree = json!({});
        let place = rule.paths.first()?;
        place.set(&mut tree, &json!(CODE), &Scope::default());
        // A place under a name that is not known cannot be written.
        place.find_all(&tree).first()?;
        if let Some(path) = words_path(rule) {
            path.set(&mut tree, &json!(WORDS), &Scope::default());
        }
        Some(tree)
    }

    /// Where the rule reads words, if they are not the code itself.
    fn words_path(rule: &ReplyRule) -> Option<&JsonPath> {
        let mut paths = rule.message_paths.iter();
        paths.find(|path| !rule.paths.contains(path))
    }

    /// What the dialect reads from an unlisted code where this rule reads one; returns the number of statuses.
    fn check(dialect: &Dialect, rule: &ReplyRule, tree: &Value) -> usize {
        let may_decide = |status: &u16| rule.status.is_none_or(|wanted| wanted.is_match(*status));
        let statuses = [200, 400, 403, 422, 500].into_iter().filter(may_decide);
        let check = |status| {
            let reply = Reply {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: tree.to_string().into(),
            };
            let found = dialect.classify(AttemptKind::Send, &reply, "reference");
            let place = format!("{} {status} {tree}", dialect.name);
            assert!(found.outcome.cause().is_some(), "{place}");
            assert_eq!(found.code, Some(CODE.to_string()), "{place}");
            let words = found.provider_message.unwrap_or_default();
            assert!(
                words_path(rule).is_none() || words.contains(WORDS),
                "{place}"
            );
        };
        statuses.map(check).count()
    }

    #[test]
    fn an_unlisted_code_and_its_words_are_kept_in_each_dialect() {
        let catalog = Catalog::built_in();
        let checked = catalog.iter().flat_map(|dialect| {
            let rules = dialect.send.classifier.rules.iter();
            rules
                .filter(|rule| matches!(rule.action, RuleAction::LookUpCode))
                .filter_map(|rule| Some(check(dialect, rule, &failure(rule)?)))
        });
        let count: usize = checked.sum();
        assert!(count > 60, "{count}");
    }

    #[test]
    fn playmobile_keeps_a_code_that_its_list_has_not() {
        let reply = Reply {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: r#"{"error-code":999,"error-description":"originator is not active today"}"#
                .into(),
        };
        let catalog = Catalog::built_in();
        let dialect = catalog.get("playmobile").unwrap();
        let found = dialect.classify(AttemptKind::Send, &reply, "reference");
        assert_eq!(found.code.as_deref(), Some("999"));
        assert_eq!(found.provider_message.as_deref(), Some(WORDS));
    }
}
