//! What a reply says. The dialect's rules decide in their order; what none of them knows
//! falls to one fixed table of HTTP statuses. Success must be proved; over a list a
//! refusal of one part is a refusal only if every part is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use regex::Captures;
use serde_json::Value;

use crate::dialect::body;
use crate::dialect::filter::Undone;
use crate::dialect::place::Place;
use crate::dialect::says;
use crate::dialect::scope::Scope;
use crate::dialect::shape::{Judge, Rule, Test, Then, Wait};
use crate::dialect::template::text_of;
use crate::dialect::{Finding, Reply};
use crate::sms::{Cause, Certainty, Outcome};

/// A reply, parsed once.
pub(crate) struct Heard<'r> {
    pub(crate) status: u16,
    pub(crate) tree: Value,
    text: String,
    headers: &'r HeaderMap,
}

impl<'r> Heard<'r> {
    pub(crate) fn of(reply: &'r Reply) -> Self {
        let text = String::from_utf8_lossy(body::unmarked(&reply.body)).trim().to_owned();
        Self { status: reply.status.as_u16(), tree: body::reply_tree(&reply.body), text, headers: &reply.headers }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A rule that fits, and by what.
struct Hit<'r> {
    values: Vec<&'r Value>,
    at: Option<&'r Place>,
    matched: BTreeMap<String, String>,
}

impl Judge {
    /// The first rule that decides; none leaves it to `by_status`. Without a reference there is nothing that could be accepted.
    pub(crate) fn decide(&self, heard: &Heard<'_>, reference: Option<&str>) -> Option<Finding> {
        self.deciding(heard, reference).map(|(_, finding)| finding)
    }

    /// The same, with the rule's place.
    pub(crate) fn deciding(&self, heard: &Heard<'_>, reference: Option<&str>) -> Option<(usize, Finding)> {
        self.rules.iter().enumerate().find_map(|(at, rule)| Some((at, self.apply(rule, heard, reference)?)))
    }

    fn apply(&self, rule: &Rule, heard: &Heard<'_>, reference: Option<&str>) -> Option<Finding> {
        let hit = rule.hits(heard)?;
        let outcome = match &rule.then {
            Then::AcceptedAt(_) | Then::AcceptedAs(_) if reference.is_none() || !rule.proves(heard) => return None,
            Then::AcceptedAt(place) => Outcome::Accepted { id: place.all(&heard.tree).into_iter().find_map(id_of)? },
            Then::AcceptedAs(template) if is_reference(template) => Outcome::Accepted { id: reference?.to_owned() },
            Then::AcceptedAs(template) => {
                Outcome::Accepted { id: template.text(&Scope { matched: Some(&hit.matched), ..Scope::default() })? }
            }
            Then::Refused(cause) => self.refused(*cause, &hit, rule),
            Then::Unknown(cause) => Outcome::Unknown(*cause),
            Then::Codes => {
                let code = hit.matched.get("code").map(|code| Value::String(code.clone()));
                let cause = hit.values.iter().copied().chain(&code).find_map(|value| self.codes.cause(value))?;
                self.refused(cause, &hit, rule)
            }
        };
        Some(self.finding(rule, heard, &hit, outcome))
    }

    fn finding(&self, rule: &Rule, heard: &Heard<'_>, hit: &Hit<'_>, outcome: Outcome) -> Finding {
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        let certainty = match (accepted || !rule.guess, accepted || rule.or.is_empty()) {
            (_, false) => Certainty::Ambiguous,
            (true, true) => Certainty::Certain,
            (false, true) => Certainty::Likely,
        };
        let says = rule.says.iter().flat_map(|place| place.all(&heard.tree)).find_map(spoken);
        Finding {
            code: if accepted { None } else { self.code(rule, hit) },
            says: says.filter(|_| !accepted),
            retry_after: rule.wait(heard, &hit.matched).or_else(|| retry_after(heard.headers)),
            alternatives: if accepted { Vec::new() } else { rule.or.clone() },
            outcome,
            certainty,
        }
    }

    fn code(&self, rule: &Rule, hit: &Hit<'_>) -> Option<String> {
        let code = hit.values.iter().copied().find(|value| match rule.then {
            Then::Codes => self.codes.cause(value).is_some(),
            Then::AcceptedAt(_) | Then::AcceptedAs(_) | Then::Refused(_) | Then::Unknown(_) => rule.fits(value),
        });
        let code = code.map(text_of).or_else(|| hit.matched.get("code").cloned())?;
        let long = code.chars().filter(char::is_ascii_digit).count() > 8;
        let word = !code.is_empty() && code.len() <= 64 && code.chars().all(|c| c.is_ascii_graphic());
        (word && !long).then_some(code)
    }

    /// Refused, unless another part of the same list was not.
    fn refused(&self, cause: Cause, hit: &Hit<'_>, rule: &Rule) -> Outcome {
        let whole = match hit.at {
            Some(place) if hit.values.len() > 1 => {
                hit.values.iter().all(|value| self.refuses_alone(place, value) || matches!(rule.then, Then::Refused(_)) && rule.fits(value))
            }
            Some(_) | None => true,
        };
        if whole { Outcome::Refused(cause) } else { Outcome::Unknown(cause) }
    }

    fn refuses_alone(&self, place: &Place, value: &Value) -> bool {
        let verdict = self.rules.iter().filter(|rule| rule.at.contains(place) && rule.fits(value)).find_map(|rule| match rule.then {
            Then::Refused(_) => Some(true),
            Then::Unknown(_) | Then::AcceptedAt(_) | Then::AcceptedAs(_) => Some(false),
            Then::Codes => self.codes.cause(value).map(|_| true),
        });
        verdict == Some(true)
    }
}

/// An id is a word or a number; a list or an object in its place proves nothing.
fn id_of(value: &Value) -> Option<String> {
    (value.is_string() || value.is_number()).then(|| text_of(value)).filter(|id| !id.is_empty())
}

fn is_reference(template: &crate::dialect::template::Template) -> bool {
    template.lone().is_some_and(|hole| hole.source == crate::dialect::template::Source::Reference)
}

impl Rule {
    fn hits<'r>(&'r self, heard: &'r Heard<'_>) -> Option<Hit<'r>> {
        let plain = self.status.is_none_or(|status| status.fits(heard.status))
            && self.with.as_ref().is_none_or(|place| !place.all(&heard.tree).is_empty())
            && self.body.as_ref().is_none_or(|body| *body == heard.text);
        let captures = match &self.body_like {
            Some(regex) => Some(regex.captures(&heard.text)?),
            None => None,
        };
        let mut hit = Hit { values: Vec::new(), at: None, matched: BTreeMap::new() };
        keep(self.body_like.as_ref(), captures.as_ref(), &mut hit.matched);
        if let Some((place, values)) = self.at.iter().map(|place| (place, place.all(&heard.tree))).find(|(_, values)| !values.is_empty()) {
            let proof = matches!(self.then, Then::AcceptedAt(_) | Then::AcceptedAs(_));
            let fits = if proof { values.iter().all(|value| self.fits(value)) } else { values.iter().any(|value| self.fits(value)) };
            if !fits {
                return None;
            }
            let like = self.like.as_ref().zip(values.iter().find(|value| self.fits(value)).map(|value| text_of(value)));
            if let Some((regex, text)) = like {
                keep(Some(regex), regex.captures(&text).as_ref(), &mut hit.matched);
            }
            (hit.at, hit.values) = (Some(place), values);
        } else if !self.at.is_empty() {
            return None;
        }
        plain.then_some(hit)
    }

    fn fits(&self, value: &Value) -> bool {
        let is = self.is.is_empty() || self.is.iter().any(|test| test.fits(value));
        is && self.like.as_ref().is_none_or(|regex| regex.is_match(&text_of(value)))
    }

    /// Success stands under a 2xx, unless the rule names its status.
    fn proves(&self, heard: &Heard<'_>) -> bool {
        heard.is_success() || self.status.is_some()
    }

    fn wait(&self, heard: &Heard<'_>, matched: &BTreeMap<String, String>) -> Option<Duration> {
        let (value, unit) = match self.retry_after.as_ref()? {
            Wait::At(place, unit) => (place.all(&heard.tree).into_iter().next()?.clone(), unit),
            Wait::Matched(name, unit) => (Value::String(matched.get(name)?.clone()), unit),
        };
        match unit.undo(value) {
            Undone::Value(milliseconds) => milliseconds.as_u64().map(|count| Duration::from_millis(count.min(MOST_WAIT))),
            Undone::Nothing | Undone::Mismatch => None,
        }
    }
}

fn keep(regex: Option<&regex::Regex>, captures: Option<&Captures<'_>>, matched: &mut BTreeMap<String, String>) {
    let (Some(regex), Some(captures)) = (regex, captures) else { return };
    for name in regex.capture_names().flatten() {
        if let Some(held) = captures.name(name) {
            matched.insert(name.to_owned(), held.as_str().to_owned());
        }
    }
}

impl Test {
    /// Whether a probe's reply says it; with the value that did.
    pub(crate) fn fits(&self, heard: &Heard<'_>) -> bool {
        let status = self.status.is_none_or(|status| status.fits(heard.status));
        let values: Vec<&Value> = self.at.iter().map(|place| place.all(&heard.tree)).find(|values| !values.is_empty()).unwrap_or_default();
        let fits = |value: &&Value| {
            let is = self.is.is_empty() || self.is.iter().any(|test| test.fits(value));
            is && self.like.as_ref().is_none_or(|regex| regex.is_match(&text_of(value)))
        };
        status && (self.at.is_empty() || values.iter().any(fits))
    }
}

/// Nobody waits longer than a day on a service's word.
const MOST_WAIT: u64 = 86_400_000;

/// `Retry-After` in seconds, or as a date beside the reply's own.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(MOST_WAIT / 1000)));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().as_second());
    let (until, now) = (date(value)?, date(headers.get(DATE)?.to_str().ok()?)?);
    u64::try_from(until - now).ok().map(|seconds| Duration::from_secs(seconds.min(MOST_WAIT / 1000)))
}

/// What a status alone says, where no rule knew better.
pub(crate) fn by_status(heard: &Heard<'_>) -> Finding {
    use Outcome::{Refused, Unknown};
    let (outcome, certainty) = match heard.status {
        401 => (Refused(Cause::CredentialRejected), Certainty::Likely),
        402 => (Refused(Cause::BalanceEmpty), Certainty::Likely),
        403 => (Refused(Cause::PermissionDenied), Certainty::Likely),
        404 | 405 | 410 | 300..400 => (Refused(Cause::EndpointWrong), Certainty::Likely),
        408 => (Unknown(Cause::Timeout), Certainty::Certain),
        429 => (Refused(Cause::Throttled), Certainty::Certain),
        503 if is_lost_upstream(&heard.text) => (Unknown(Cause::ProviderFault), Certainty::Likely),
        503 => (Refused(Cause::ProviderFault), Certainty::Certain),
        400..500 => (Refused(Cause::Unexplained), Certainty::Likely),
        500..600 => (Unknown(Cause::ProviderFault), Certainty::Certain),
        _ => (Unknown(Cause::ReplyUnreadable), Certainty::Certain),
    };
    let words = ["error_description", "detail", "description", "message", "error", "title", "reason"];
    let says = if heard.is_success() { None } else { words.iter().filter_map(|word| heard.tree.get(word)).find_map(spoken) };
    Finding { outcome, certainty, alternatives: Vec::new(), code: None, says, retry_after: retry_after(heard.headers) }
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
    let never_left = ["connection failure", "connection refused", "no healthy upstream", "reset reason: overflow"];
    lost.iter().any(|mark| text.contains(mark)) && !never_left.iter().any(|mark| text.contains(mark))
}

fn spoken(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(says::clean(text)).filter(|text| !text.is_empty()),
        Value::Array(items) => items.iter().find_map(spoken),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, body: &'static str) -> Outcome {
        let reply = Reply { status: http::StatusCode::from_u16(code).unwrap(), headers: HeaderMap::new(), body: body.into() };
        by_status(&Heard::of(&reply)).outcome
    }

    #[test]
    fn after_the_rules_the_status_decides() {
        use Outcome::{Refused, Unknown};
        for (code, wanted) in [
            (200, Unknown(Cause::ReplyUnreadable)),
            (204, Unknown(Cause::ReplyUnreadable)),
            (301, Refused(Cause::EndpointWrong)),
            (400, Refused(Cause::Unexplained)),
            (401, Refused(Cause::CredentialRejected)),
            (402, Refused(Cause::BalanceEmpty)),
            (403, Refused(Cause::PermissionDenied)),
            (404, Refused(Cause::EndpointWrong)),
            (405, Refused(Cause::EndpointWrong)),
            (408, Unknown(Cause::Timeout)),
            (410, Refused(Cause::EndpointWrong)),
            (413, Refused(Cause::Unexplained)),
            (422, Refused(Cause::Unexplained)),
            (429, Refused(Cause::Throttled)),
            (500, Unknown(Cause::ProviderFault)),
            (502, Unknown(Cause::ProviderFault)),
            (503, Refused(Cause::ProviderFault)),
            (504, Unknown(Cause::ProviderFault)),
        ] {
            assert_eq!(status(code, "x"), wanted, "{code}");
        }
        let lost = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        assert_eq!(status(503, lost), Unknown(Cause::ProviderFault));
        assert_eq!(
            status(503, "upstream connect error or disconnect/reset before headers. reset reason: connection failure"),
            Refused(Cause::ProviderFault)
        );
    }

    #[test]
    fn a_wait_is_read_in_both_forms_of_the_header() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let seconds = |pairs: &[(&'static str, &'static str)]| retry_after(&headers(pairs)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7));
        assert_eq!(seconds(&[("retry-after", "Fri, 02 Jan 2026 03:04:35 GMT"), ("date", "Fri, 02 Jan 2026 03:04:05 GMT")]), Some(30));
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        assert_eq!(seconds(&[("retry-after", "99999999999")]), Some(86_400));
    }
}
