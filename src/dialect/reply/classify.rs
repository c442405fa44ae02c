//! What a reply says. The dialect's rules decide in their order; what none of them knows
//! falls to one fixed table of HTTP statuses. Success must be proved; over a list a
//! refusal of one part is a refusal only if every part is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use regex::Captures;
use serde_json::Value;

use crate::dialect::expr::filter::Inverse;
use crate::dialect::expr::path::JsonPath;
use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{Classifier, ReplyRule, ReplyTest, RetryAfterSource, RuleAction};
use crate::dialect::reply::sanitize;
use crate::dialect::wire::body;
use crate::dialect::{Classification, Reply};
use crate::sms::{Cause, Certainty, Outcome};

/// A reply, parsed once.
pub(crate) struct ParsedReply<'r> {
    pub(crate) status: u16,
    pub(crate) tree: Value,
    text: String,
    headers: &'r HeaderMap,
}

impl<'r> ParsedReply<'r> {
    pub(crate) fn parse(reply: &'r Reply) -> Self {
        let text = String::from_utf8_lossy(body::strip_bom(&reply.body))
            .trim()
            .to_owned();
        Self {
            status: reply.status.as_u16(),
            tree: body::parse_reply(&reply.body),
            text,
            headers: &reply.headers,
        }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A rule that fits, and by what.
struct RuleMatch<'r> {
    values: Vec<&'r Value>,
    path: Option<&'r JsonPath>,
    captures: BTreeMap<String, String>,
}

impl Classifier {
    /// The first rule that decides; none leaves it to `by_status`. Without a reference there is nothing that could be accepted.
    pub(crate) fn classify(
        &self,
        heard: &ParsedReply<'_>,
        reference: Option<&str>,
    ) -> Option<Classification> {
        self.classify_with_rule(heard, reference)
            .map(|(_, finding)| finding)
    }

    /// The same, with the rule's place.
    pub(crate) fn classify_with_rule(
        &self,
        heard: &ParsedReply<'_>,
        reference: Option<&str>,
    ) -> Option<(usize, Classification)> {
        self.rules
            .iter()
            .enumerate()
            .find_map(|(at, rule)| Some((at, self.apply_rule(rule, heard, reference)?)))
    }

    fn apply_rule(
        &self,
        rule: &ReplyRule,
        heard: &ParsedReply<'_>,
        reference: Option<&str>,
    ) -> Option<Classification> {
        let hit = rule.match_reply(heard)?;
        let outcome = match &rule.action {
            RuleAction::AcceptIdAt(_) | RuleAction::AcceptIdFrom(_)
                if reference.is_none() || !rule.may_accept(heard) =>
            {
                return None;
            }
            RuleAction::AcceptIdAt(place) => Outcome::Accepted {
                id: place.find_all(&heard.tree).into_iter().find_map(id_text)?,
            },
            RuleAction::AcceptIdFrom(template) if is_reference(template) => Outcome::Accepted {
                id: reference?.to_owned(),
            },
            RuleAction::AcceptIdFrom(template) => Outcome::Accepted {
                id: template.render(&Scope {
                    captures: Some(&hit.captures),
                    ..Scope::default()
                })?,
            },
            RuleAction::Reject(cause) => self.rejected_outcome(*cause, &hit, rule),
            RuleAction::MarkUnknown(cause) => Outcome::Unknown(*cause),
            RuleAction::LookUpCode => {
                let code = hit
                    .captures
                    .get("code")
                    .map(|code| Value::String(code.clone()));
                let cause = hit
                    .values
                    .iter()
                    .copied()
                    .chain(&code)
                    .find_map(|value| self.codes.cause(value))?;
                self.rejected_outcome(cause, &hit, rule)
            }
        };
        Some(self.build_classification(rule, heard, &hit, outcome))
    }

    fn build_classification(
        &self,
        rule: &ReplyRule,
        heard: &ParsedReply<'_>,
        hit: &RuleMatch<'_>,
        outcome: Outcome,
    ) -> Classification {
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        let certainty = match (
            accepted || !rule.inferred,
            accepted || rule.alternatives.is_empty(),
        ) {
            (_, false) => Certainty::Ambiguous,
            (true, true) => Certainty::Certain,
            (false, true) => Certainty::Likely,
        };
        let says = rule
            .message_paths
            .iter()
            .flat_map(|place| place.find_all(&heard.tree))
            .find_map(message_text);
        Classification {
            code: if accepted {
                None
            } else {
                self.provider_code(rule, hit)
            },
            provider_message: says.filter(|_| !accepted),
            retry_after: rule
                .retry_delay(heard, &hit.captures)
                .or_else(|| parse_retry_after(heard.headers)),
            alternatives: if accepted {
                Vec::new()
            } else {
                rule.alternatives.clone()
            },
            outcome,
            certainty,
        }
    }

    fn provider_code(&self, rule: &ReplyRule, hit: &RuleMatch<'_>) -> Option<String> {
        let code = hit.values.iter().copied().find(|value| match rule.action {
            RuleAction::LookUpCode => self.codes.cause(value).is_some(),
            RuleAction::AcceptIdAt(_)
            | RuleAction::AcceptIdFrom(_)
            | RuleAction::Reject(_)
            | RuleAction::MarkUnknown(_) => rule.matches_value(value),
        });
        let code = code
            .map(to_text)
            .or_else(|| hit.captures.get("code").cloned())?;
        let long = code.chars().filter(char::is_ascii_digit).count() > 8;
        let word =
            !code.is_empty() && code.len() <= 64 && code.chars().all(|c| c.is_ascii_graphic());
        (word && !long).then_some(code)
    }

    /// Refused, unless another part of the same list was not.
    fn rejected_outcome(&self, cause: Cause, hit: &RuleMatch<'_>, rule: &ReplyRule) -> Outcome {
        let whole = match hit.path {
            Some(place) if hit.values.len() > 1 => hit.values.iter().all(|value| {
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
        let verdict = self
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
        verdict == Some(true)
    }
}

/// An id is a word or a number; a list or an object in its place proves nothing.
fn id_text(value: &Value) -> Option<String> {
    (value.is_string() || value.is_number())
        .then(|| to_text(value))
        .filter(|id| !id.is_empty())
}

fn is_reference(template: &crate::dialect::expr::template::StringTemplate) -> bool {
    template
        .as_single_expr()
        .is_some_and(|hole| hole.source == crate::dialect::expr::template::ValueSource::Reference)
}

impl ReplyRule {
    fn match_reply<'r>(&'r self, heard: &'r ParsedReply<'_>) -> Option<RuleMatch<'r>> {
        let plain = self
            .status
            .is_none_or(|status| status.is_match(heard.status))
            && self
                .required_path
                .as_ref()
                .is_none_or(|place| !place.find_all(&heard.tree).is_empty())
            && self.body.as_ref().is_none_or(|body| *body == heard.text);
        let captures = match &self.body_pattern {
            Some(regex) => Some(regex.captures(&heard.text)?),
            None => None,
        };
        let mut hit = RuleMatch {
            values: Vec::new(),
            path: None,
            captures: BTreeMap::new(),
        };
        collect_captures(
            self.body_pattern.as_ref(),
            captures.as_ref(),
            &mut hit.captures,
        );
        if let Some((place, values)) = self
            .paths
            .iter()
            .map(|place| (place, place.find_all(&heard.tree)))
            .find(|(_, values)| !values.is_empty())
        {
            let proof = matches!(
                self.action,
                RuleAction::AcceptIdAt(_) | RuleAction::AcceptIdFrom(_)
            );
            let fits = if proof {
                values.iter().all(|value| self.matches_value(value))
            } else {
                values.iter().any(|value| self.matches_value(value))
            };
            if !fits {
                return None;
            }
            let like = self.pattern.as_ref().zip(
                values
                    .iter()
                    .find(|value| self.matches_value(value))
                    .map(|value| to_text(value)),
            );
            if let Some((regex, text)) = like {
                collect_captures(
                    Some(regex),
                    regex.captures(&text).as_ref(),
                    &mut hit.captures,
                );
            }
            (hit.path, hit.values) = (Some(place), values);
        } else if !self.paths.is_empty() {
            return None;
        }
        plain.then_some(hit)
    }

    fn matches_value(&self, value: &Value) -> bool {
        let is = self.equals.is_empty() || self.equals.iter().any(|test| test.is_match(value));
        is && self
            .pattern
            .as_ref()
            .is_none_or(|regex| regex.is_match(&to_text(value)))
    }

    /// Success stands under a 2xx, unless the rule names its status.
    fn may_accept(&self, heard: &ParsedReply<'_>) -> bool {
        heard.is_success() || self.status.is_some()
    }

    fn retry_delay(
        &self,
        heard: &ParsedReply<'_>,
        matched: &BTreeMap<String, String>,
    ) -> Option<Duration> {
        let (value, unit) = match self.retry_after.as_ref()? {
            RetryAfterSource::Path(place, unit) => (
                place.find_all(&heard.tree).into_iter().next()?.clone(),
                unit,
            ),
            RetryAfterSource::Capture(name, unit) => {
                (Value::String(matched.get(name)?.clone()), unit)
            }
        };
        match unit.invert(value) {
            Inverse::Value(milliseconds) => milliseconds
                .as_u64()
                .map(|count| Duration::from_millis(count.min(MAX_RETRY_AFTER_MS))),
            Inverse::Ignored | Inverse::Mismatch => None,
        }
    }
}

fn collect_captures(
    regex: Option<&regex::Regex>,
    captures: Option<&Captures<'_>>,
    matched: &mut BTreeMap<String, String>,
) {
    let (Some(regex), Some(captures)) = (regex, captures) else {
        return;
    };
    for name in regex.capture_names().flatten() {
        if let Some(held) = captures.name(name) {
            matched.insert(name.to_owned(), held.as_str().to_owned());
        }
    }
}

impl ReplyTest {
    /// Whether a probe's reply says it; with the value that did.
    pub(crate) fn is_match(&self, heard: &ParsedReply<'_>) -> bool {
        let status = self
            .status
            .is_none_or(|status| status.is_match(heard.status));
        let values: Vec<&Value> = self
            .paths
            .iter()
            .map(|place| place.find_all(&heard.tree))
            .find(|values| !values.is_empty())
            .unwrap_or_default();
        let fits = |value: &&Value| {
            let is = self.equals.is_empty() || self.equals.iter().any(|test| test.is_match(value));
            is && self
                .pattern
                .as_ref()
                .is_none_or(|regex| regex.is_match(&to_text(value)))
        };
        status && (self.paths.is_empty() || values.iter().any(fits))
    }
}

/// Nobody waits longer than a day on a service's word.
const MAX_RETRY_AFTER_MS: u64 = 86_400_000;

/// `Retry-After` in seconds, or as a date beside the reply's own.
pub(crate) fn parse_retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER_MS / 1000)));
    }
    let date = |text: &str| {
        jiff::fmt::rfc2822::parse(text)
            .ok()
            .map(|at| at.timestamp().as_second())
    };
    let (until, now) = (date(value)?, date(headers.get(DATE)?.to_str().ok()?)?);
    u64::try_from(until - now)
        .ok()
        .map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER_MS / 1000)))
}

/// What a status alone says, where no rule knew better.
pub(crate) fn classify_by_status(heard: &ParsedReply<'_>) -> Classification {
    use Outcome::{Rejected, Unknown};
    let (outcome, certainty) = match heard.status {
        401 => (Rejected(Cause::CredentialRejected), Certainty::Likely),
        402 => (Rejected(Cause::BalanceEmpty), Certainty::Likely),
        403 => (Rejected(Cause::PermissionDenied), Certainty::Likely),
        404 | 405 | 410 | 300..400 => (Rejected(Cause::EndpointWrong), Certainty::Likely),
        408 => (Unknown(Cause::Timeout), Certainty::Certain),
        429 => (Rejected(Cause::Throttled), Certainty::Certain),
        503 if is_lost_upstream(&heard.text) => (Unknown(Cause::ProviderFault), Certainty::Likely),
        503 => (Rejected(Cause::ProviderFault), Certainty::Certain),
        400..500 => (Rejected(Cause::Unexplained), Certainty::Likely),
        500..600 => (Unknown(Cause::ProviderFault), Certainty::Certain),
        _ => (Unknown(Cause::ReplyUnreadable), Certainty::Certain),
    };
    let words = [
        "error_description",
        "detail",
        "description",
        "message",
        "error",
        "title",
        "reason",
    ];
    let says = if heard.is_success() {
        None
    } else {
        words
            .iter()
            .filter_map(|word| heard.tree.get(word))
            .find_map(message_text)
    };
    Classification {
        outcome,
        certainty,
        alternatives: Vec::new(),
        code: None,
        provider_message: says,
        retry_after: parse_retry_after(heard.headers),
    }
}

/// Pages by which an edge proxy says that it lost its upstream after it may have passed the request on.
fn is_lost_upstream(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let lost = [
        "upstream connect error",
        "disconnect/reset before headers",
        "upstream request timeout",
        "backend fetch failed",
        "guru meditation",
    ];
    let never_left = [
        "connection failure",
        "connection refused",
        "no healthy upstream",
        "reset reason: overflow",
    ];
    lost.iter().any(|mark| text.contains(mark))
        && !never_left.iter().any(|mark| text.contains(mark))
}

fn message_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(sanitize::sanitize(text)).filter(|text| !text.is_empty()),
        Value::Array(items) => items.iter().find_map(message_text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_wait_is_read_in_both_forms_of_the_header() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect()
        };
        let seconds = |pairs: &[(&'static str, &'static str)]| {
            parse_retry_after(&headers(pairs)).map(|wait| wait.as_secs())
        };
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7));
        assert_eq!(
            seconds(&[
                ("retry-after", "Fri, 02 Jan 2026 03:04:35 GMT"),
                ("date", "Fri, 02 Jan 2026 03:04:05 GMT")
            ]),
            Some(30)
        );
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        assert_eq!(seconds(&[("retry-after", "99999999999")]), Some(86_400));
    }
}
