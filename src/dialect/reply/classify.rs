//! Classifies replies. The dialect's rules decide in their order; a fixed table of HTTP statuses
//! decides the rest. Success must be proved; a list is rejected only if all its parts are.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::{Captures, Regex};
use serde_json::Value;

use crate::dialect::RecipientTexts;
use crate::dialect::expr::filter::Inverse;
use crate::dialect::expr::path::JsonPath;
use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::{StringTemplate, ValueSource, to_text};
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::{Classifier, ReplyRule, ReplyTest, RetryAfterSource, RuleAction};
use crate::dialect::reply::access_denied::{DecidedByRule, classify_bare_denial};
use crate::dialect::reply::parsed_reply::{MAX_RETRY_AFTER_MS, ParsedReply, parse_retry_after};
use crate::dialect::{Classification, Dialect, Reply};
use crate::sms::{AttemptKind, Cause, Certainty, Message, Outcome};

/// By which values and groups a rule matches.
#[derive(Default)]
pub(super) struct RuleMatch<'r> {
    pub(super) values: Vec<&'r Value>,
    path: Option<&'r JsonPath>,
    pub(super) captures: BTreeMap<String, String>,
}

impl Dialect {
    /// Classifies a reply. `reference` is the message's, for services that return no id.
    pub fn classify(&self, kind: AttemptKind, reply: &Reply, reference: &str) -> Classification {
        self.classify_parsed(kind, reply, &ParsedReply::parse(reply), reference)
    }

    /// Classifies a reply to a message, if the request was one, or to a batch with these recipients: nothing shows what
    /// the reply quotes of it.
    pub fn classify_for(
        &self,
        kind: AttemptKind,
        reply: &Reply,
        message: Option<&Message>,
        recipients: Option<&RecipientTexts>,
    ) -> Classification {
        let parsed = ParsedReply::parse(reply).concealing(message, recipients);
        let reference = message.map_or("", |message| &message.reference);
        self.classify_parsed(kind, reply, &parsed, reference)
    }

    fn classify_parsed(
        &self,
        kind: AttemptKind,
        reply: &Reply,
        parsed: &ParsedReply<'_>,
        reference: &str,
    ) -> Classification {
        let by_rules = match kind {
            AttemptKind::Send => self.send.classifier.classify(parsed, Some(reference)),
            AttemptKind::Login => Some(self.classify_login(reply)),
            AttemptKind::Probe | AttemptKind::Passthrough => {
                let done = || {
                    reply
                        .status
                        .is_success()
                        .then(|| Classification::accepted(String::new()))
                };
                self.send.classifier.classify(parsed, None).or_else(done)
            }
        };
        let mut found = by_rules.unwrap_or_else(|| classify_by_status(parsed));
        self.send.classifier.add_unlisted(&mut found, parsed);
        if self.requires_experimental()
            && found.certainty == Certainty::Certain
            && found.outcome.cause().is_some()
        {
            found.certainty = Certainty::Likely;
        }
        if found.outcome.cause().is_some() && found.provider_message.is_none() {
            found.provider_message = parsed.limit.map(|limit| format!("not read: {limit}"));
        }
        found
    }
}

impl Classifier {
    /// By the first rule that decides, within what the status allows. Without a reference nothing can be accepted.
    pub(crate) fn classify(
        &self,
        parsed: &ParsedReply<'_>,
        reference: Option<&str>,
    ) -> Option<Classification> {
        let (index, classification) = self.classify_with_rule(parsed, reference)?;
        let Some(rule) = self.rules.get(index) else {
            return Some(classification);
        };
        let decided = DecidedByRule {
            rule,
            index,
            classification,
        };
        Some(self.hold_to_status(decided, parsed))
    }

    /// The first rule that decides, by its index, and what it says by itself.
    pub(crate) fn classify_with_rule(
        &self,
        parsed: &ParsedReply<'_>,
        reference: Option<&str>,
    ) -> Option<(usize, Classification)> {
        self.rules
            .iter()
            .enumerate()
            .find_map(|(at, rule)| Some((at, self.apply_rule(rule, parsed, reference)?)))
    }

    pub(super) fn apply_rule(
        &self,
        rule: &ReplyRule,
        parsed: &ParsedReply<'_>,
        reference: Option<&str>,
    ) -> Option<Classification> {
        let found = rule.match_reply(parsed)?;
        let outcome = match &rule.action {
            RuleAction::AcceptIdAt(_) | RuleAction::AcceptIdFrom(_) => Outcome::Accepted {
                id: rule.accepted_id(parsed, &found, reference?)?,
            },
            RuleAction::Reject(cause) => self.rejected_outcome(*cause, &found, rule),
            RuleAction::MarkUnknown(cause) => Outcome::Unknown(*cause),
            RuleAction::LookUpCode => {
                self.rejected_outcome(self.look_up_code(&found)?, &found, rule)
            }
        };
        Some(match outcome {
            Outcome::Accepted { .. } => Classification {
                retry_after: rule.wait(parsed, &found),
                outcome,
                ..Classification::accepted(String::new())
            },
            Outcome::Rejected(_) | Outcome::Unknown(_) | Outcome::Unsent(_) => Classification {
                outcome,
                certainty: certainty_of(rule.inferred, &rule.alternatives),
                alternatives: rule.alternatives.clone(),
                code: self
                    .provider_code(rule, &found)
                    .filter(|code| !parsed.is_own_code(code)),
                provider_message: rule.provider_message(parsed),
                retry_after: rule.wait(parsed, &found),
            },
        })
    }

    /// The cause of the first code that the table has: at the rule's path, else in its group `code`.
    fn look_up_code(&self, found: &RuleMatch<'_>) -> Option<Cause> {
        let captured = found
            .captures
            .get("code")
            .map(|code| Value::String(code.clone()));
        found
            .values
            .iter()
            .copied()
            .chain(&captured)
            .find_map(|value| self.codes.cause(value))
    }

    fn provider_code(&self, rule: &ReplyRule, found: &RuleMatch<'_>) -> Option<String> {
        let code = found
            .values
            .iter()
            .copied()
            .find(|value| match rule.action {
                RuleAction::LookUpCode => self.codes.cause(value).is_some(),
                RuleAction::AcceptIdAt(_)
                | RuleAction::AcceptIdFrom(_)
                | RuleAction::Reject(_)
                | RuleAction::MarkUnknown(_) => rule.matches_value(value),
            });
        let code = code
            .map(to_text)
            .or_else(|| found.captures.get("code").cloned())?;
        shown_code(code)
    }

    /// Rejected, unless another part of the same list was not.
    fn rejected_outcome(&self, cause: Cause, found: &RuleMatch<'_>, rule: &ReplyRule) -> Outcome {
        let whole = match found.path {
            Some(place) if found.values.len() > 1 => found.values.iter().all(|value| {
                self.rejects_value(place, value)
                    || matches!(rule.action, RuleAction::Reject(_)) && rule.matches_value(value)
            }),
            Some(_) | None => true,
        };
        if whole {
            Outcome::Rejected(cause)
        } else {
            Outcome::Unknown(cause)
        }
    }

    fn rejects_value(&self, place: &JsonPath, value: &Value) -> bool {
        let is_rejected = self
            .rules
            .iter()
            .filter(|rule| rule.paths.contains(place) && rule.matches_value(value))
            .find_map(|rule| match rule.action {
                RuleAction::Reject(_) => Some(true),
                RuleAction::MarkUnknown(_)
                | RuleAction::AcceptIdAt(_)
                | RuleAction::AcceptIdFrom(_) => Some(false),
                RuleAction::LookUpCode => self.codes.cause(value).map(|_| true),
            });
        is_rejected == Some(true)
    }
}

/// A code that may be shown: one word, and not a number of a person.
pub(super) fn shown_code(code: String) -> Option<String> {
    let long = code.chars().filter(char::is_ascii_digit).count() > 8;
    let word = !code.is_empty() && code.len() <= 64 && code.chars().all(|c| c.is_ascii_graphic());
    (word && !long).then_some(code)
}

/// An id is a string or a number; a list or an object proves nothing.
fn id_text(value: &Value) -> Option<String> {
    (value.is_string() || value.is_number())
        .then(|| to_text(value))
        .filter(|id| !id.is_empty())
}

fn is_reference(template: &StringTemplate) -> bool {
    template
        .as_single_expr()
        .is_some_and(|hole| hole.source == ValueSource::Reference)
}

impl ReplyRule {
    /// The values and groups by which the rule matches; none: it does not match.
    pub(super) fn match_reply<'r>(&'r self, parsed: &'r ParsedReply<'_>) -> Option<RuleMatch<'r>> {
        let has_required = |path: &JsonPath| path.is_in(&parsed.tree);
        let matches = self
            .status
            .is_none_or(|status| status.is_match(parsed.status))
            && self.required_path.as_ref().is_none_or(has_required)
            && self.body.as_ref().is_none_or(|body| *body == parsed.text);
        if !matches {
            return None;
        }
        let mut found = RuleMatch::default();
        if let Some(regex) = &self.body_pattern {
            let captures = regex.captures(&parsed.text)?;
            collect_captures(regex, &captures, &mut found.captures);
        }
        if self.paths.is_empty() {
            return Some(found);
        }
        let (path, values) = self
            .paths
            .iter()
            .map(|path| (path, path.find_all(&parsed.tree)))
            .find(|(_, values)| !values.is_empty())?;
        let matching = values.iter().find(|value| self.matches_value(value))?;
        if self.accepts() && !values.iter().all(|value| self.matches_value(value)) {
            return None;
        }
        if let Some(regex) = &self.pattern
            && let Some(captures) = regex.captures(&to_text(matching))
        {
            collect_captures(regex, &captures, &mut found.captures);
        }
        found.path = Some(path);
        found.values = values;
        Some(found)
    }

    fn accepts(&self) -> bool {
        matches!(
            self.action,
            RuleAction::AcceptIdAt(_) | RuleAction::AcceptIdFrom(_)
        )
    }

    fn matches_value(&self, value: &Value) -> bool {
        is_value_match(&self.equals, self.pattern.as_ref(), value)
    }

    /// The id of an accepted message; none if the reply does not prove the success.
    fn accepted_id(
        &self,
        parsed: &ParsedReply<'_>,
        found: &RuleMatch<'_>,
        reference: &str,
    ) -> Option<String> {
        if !self.may_accept(parsed) {
            return None;
        }
        match &self.action {
            RuleAction::AcceptIdAt(path) => {
                path.find_all(&parsed.tree).into_iter().find_map(id_text)
            }
            RuleAction::AcceptIdFrom(template) if is_reference(template) => {
                Some(reference.to_owned())
            }
            RuleAction::AcceptIdFrom(template) => template.render(&Scope {
                captures: Some(&found.captures),
                ..Scope::default()
            }),
            RuleAction::Reject(_) | RuleAction::MarkUnknown(_) | RuleAction::LookUpCode => None,
        }
    }

    /// The service's own message.
    pub(super) fn provider_message(&self, parsed: &ParsedReply<'_>) -> Option<String> {
        self.message_paths
            .iter()
            .flat_map(|path| path.find_all(&parsed.tree))
            .find_map(|value| parsed.message_text(value))
    }

    /// How long to wait: as the rule reads it, else by the header.
    fn wait(&self, parsed: &ParsedReply<'_>, found: &RuleMatch<'_>) -> Option<Duration> {
        self.retry_delay(parsed, &found.captures)
            .or_else(|| parse_retry_after(parsed.headers))
    }

    /// A success needs a 2xx, unless the rule names its status.
    fn may_accept(&self, parsed: &ParsedReply<'_>) -> bool {
        parsed.is_success() || self.status.is_some()
    }

    fn retry_delay(
        &self,
        parsed: &ParsedReply<'_>,
        matched: &BTreeMap<String, String>,
    ) -> Option<Duration> {
        let wait = match self.retry_after.as_ref()? {
            RetryAfterSource::Path(path, unit) => {
                unit.invert(path.find_all(&parsed.tree).into_iter().next()?.clone())
            }
            RetryAfterSource::Capture(name, unit) => {
                unit.invert(Value::String(matched.get(name)?.clone()))
            }
        };
        match wait {
            Inverse::Value(milliseconds) => milliseconds
                .as_u64()
                .map(|count| Duration::from_millis(count.min(MAX_RETRY_AFTER_MS))),
            Inverse::Ignored | Inverse::Mismatch => None,
        }
    }
}

/// Whether a value is one of the codes, if there are any, and matches the pattern, if there is one.
fn is_value_match(equals: &[CodeTest], pattern: Option<&Regex>, value: &Value) -> bool {
    let is_listed = equals.is_empty() || equals.iter().any(|test| test.is_match(value));
    is_listed && pattern.is_none_or(|regex| regex.is_match(&to_text(value)))
}

fn collect_captures(regex: &Regex, captures: &Captures<'_>, found: &mut BTreeMap<String, String>) {
    for name in regex.capture_names().flatten() {
        if let Some(group) = captures.name(name) {
            found.insert(name.to_owned(), group.as_str().to_owned());
        }
    }
}

impl ReplyTest {
    /// Whether a probe's reply matches.
    pub(crate) fn is_match(&self, parsed: &ParsedReply<'_>) -> bool {
        let status = self
            .status
            .is_none_or(|status| status.is_match(parsed.status));
        let values: Vec<&Value> = self
            .paths
            .iter()
            .map(|path| path.find_all(&parsed.tree))
            .find(|values| !values.is_empty())
            .unwrap_or_default();
        let matches = |value: &&Value| is_value_match(&self.equals, self.pattern.as_ref(), value);
        status && (self.paths.is_empty() || values.iter().any(matches))
    }
}

/// How certain a cause is that has these alternatives, or that is inferred.
pub(crate) fn certainty_of(inferred: bool, alternatives: &[Cause]) -> Certainty {
    match (alternatives.is_empty(), inferred) {
        (false, _) => Certainty::Ambiguous,
        (true, true) => Certainty::Likely,
        (true, false) => Certainty::Certain,
    }
}

/// Fields that services put their message in, in the order in which they are read.
const MESSAGE_FIELDS: &[&str] = &[
    "error_description",
    "detail",
    "description",
    "message",
    "error",
    "title",
    "reason",
];

/// The classification by the HTTP status, for a reply that no rule decides.
pub(crate) fn classify_by_status(parsed: &ParsedReply<'_>) -> Classification {
    use Outcome::{Rejected, Unknown};
    if let Some(denial) = classify_bare_denial(parsed) {
        return denial;
    }
    let (outcome, certainty) = match parsed.status {
        402 => (Rejected(Cause::BalanceEmpty), Certainty::Likely),
        404 | 405 | 410 | 300..400 => (Rejected(Cause::EndpointWrong), Certainty::Likely),
        408 => (Unknown(Cause::Timeout), Certainty::Certain),
        429 => (Rejected(Cause::Throttled), Certainty::Certain),
        503 if is_lost_upstream(&parsed.text) => (Unknown(Cause::ProviderFault), Certainty::Likely),
        503 => (Rejected(Cause::ProviderFault), Certainty::Certain),
        400..500 => (Rejected(Cause::Unexplained), Certainty::Likely),
        500..600 => (Unknown(Cause::ProviderFault), Certainty::Certain),
        _ => (Unknown(Cause::ReplyUnreadable), Certainty::Certain),
    };
    let fields = MESSAGE_FIELDS
        .iter()
        .filter_map(|field| parsed.tree.get(field));
    Classification {
        outcome,
        certainty,
        alternatives: Vec::new(),
        code: None,
        provider_message: fields
            .filter(|_| !parsed.is_success())
            .find_map(|value| parsed.message_text(value)),
        retry_after: parse_retry_after(parsed.headers),
    }
}

/// Classifies a reply whose body could not be read, for the reason in `detail`. A 401 or 403 is about the account,
/// whatever its body says; any other status proves nothing by itself: none.
pub fn classify_without_body(head: &Reply, detail: &str) -> Option<Classification> {
    let mut denial = classify_bare_denial(&ParsedReply::parse(head))?;
    denial.provider_message = Some(match denial.provider_message {
        Some(challenge) => format!("{challenge}; {detail}"),
        None => detail.to_owned(),
    });
    Some(denial)
}

/// Whether this is an edge proxy's page about an upstream that was lost after it may have received the request.
fn is_lost_upstream(text: &str) -> bool {
    const LOST: [&str; 5] = [
        "upstream connect error",
        "disconnect/reset before headers",
        "upstream request timeout",
        "backend fetch failed",
        "guru meditation",
    ];
    const NOT_SENT: [&str; 4] = [
        "connection failure",
        "connection refused",
        "no healthy upstream",
        "reset reason: overflow",
    ];
    let text = text.to_ascii_lowercase();
    LOST.iter().any(|mark| text.contains(mark)) && !NOT_SENT.iter().any(|mark| text.contains(mark))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn status(code: u16, body: &'static str) -> Outcome {
        let reply = Reply {
            status: http::StatusCode::from_u16(code).unwrap(),
            headers: HeaderMap::new(),
            body: body.into(),
        };
        classify_by_status(&ParsedReply::parse(&reply)).outcome
    }

    #[test]
    fn after_the_rules_the_status_decides() {
        use Outcome::{Rejected, Unknown};
        for (code, wanted) in [
            (200, Unknown(Cause::ReplyUnreadable)),
            (204, Unknown(Cause::ReplyUnreadable)),
            (301, Rejected(Cause::EndpointWrong)),
            (400, Rejected(Cause::Unexplained)),
            (401, Rejected(Cause::CredentialRejected)),
            (402, Rejected(Cause::BalanceEmpty)),
            (403, Rejected(Cause::PermissionDenied)),
            (404, Rejected(Cause::EndpointWrong)),
            (405, Rejected(Cause::EndpointWrong)),
            (408, Unknown(Cause::Timeout)),
            (410, Rejected(Cause::EndpointWrong)),
            (413, Rejected(Cause::Unexplained)),
            (422, Rejected(Cause::Unexplained)),
            (429, Rejected(Cause::Throttled)),
            (500, Unknown(Cause::ProviderFault)),
            (502, Unknown(Cause::ProviderFault)),
            (503, Rejected(Cause::ProviderFault)),
            (504, Unknown(Cause::ProviderFault)),
        ] {
            assert_eq!(status(code, "x"), wanted, "{code}");
        }
        let lost = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        assert_eq!(status(503, lost), Unknown(Cause::ProviderFault));
        assert_eq!(
            status(
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: connection failure"
            ),
            Rejected(Cause::ProviderFault)
        );
    }
}
