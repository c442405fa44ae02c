//! A literal HTTP 401 or 403 is about the account, whatever a code in its body means under other
//! statuses: a cause of the message is at most an alternative, and the service's words are kept.
//! Where nothing but the status decides, the causes that services are known to report this way are
//! all possible; the service's words only put some of them first, and nothing is certain.

use std::str::FromStr;

use http::header::WWW_AUTHENTICATE;
use serde_json::Value;

use crate::dialect::Classification;
use crate::dialect::model::{Classifier, ReplyRule, ReplyTest, RuleAction};
use crate::dialect::reply::parsed_reply::{ParsedReply, parse_retry_after};
use crate::sms::{Cause, Certainty, Family, Outcome};

/// The words of each cause; the file says how it is read.
const CAUSE_WORDS: &str = include_str!("cause_words.txt");

/// What services mean by a 401 that says nothing more, the most frequent first.
const CAUSES_OF_401: &[Cause] = &[
    Cause::CredentialRejected,
    Cause::BalanceEmpty,
    Cause::IpNotAllowed,
    Cause::AccountSuspended,
    Cause::CredentialExpired,
    Cause::SandboxMismatch,
];

/// The same for a 403. Some services answer a wrong credential with it.
const CAUSES_OF_403: &[Cause] = &[
    Cause::PermissionDenied,
    Cause::IpNotAllowed,
    Cause::AccountSuspended,
    Cause::BalanceEmpty,
    Cause::SandboxMismatch,
    Cause::CredentialRejected,
];

/// Fields that services put their message in, in the order in which they are read.
const MESSAGE_FIELDS: &[&str] = &[
    "errordescription",
    "detail",
    "description",
    "errormessage",
    "errormsg",
    "errmsg",
    "errortext",
    "message",
    "msg",
    "text",
    "error",
    "title",
    "reason",
];

/// How deep a reply is searched for words.
const MAX_DEPTH: usize = 8;
/// How much of a reply is searched for words, in characters.
const MAX_SEARCHED: usize = 2_000;

/// Whether a reply with this status can have this cause in the first place.
pub(super) fn may_be_cause(status: u16, cause: Cause) -> bool {
    causes_of(status).is_none() || is_account(cause)
}

/// Whether a probe's condition for a healthy account proves it under this status. A 401 is never
/// healthy, and a 403 only by what its body says, unless the condition names the status itself.
pub(super) fn proves_health(test: &ReplyTest, status: u16) -> bool {
    let reads_values = !test.equals.is_empty() || test.pattern.is_some();
    match status {
        401 => test.status.is_some(),
        403 => test.status.is_some() || reads_values,
        _ => true,
    }
}

fn causes_of(status: u16) -> Option<&'static [Cause]> {
    match status {
        401 => Some(CAUSES_OF_401),
        403 => Some(CAUSES_OF_403),
        _ => None,
    }
}

/// The classification of a 401 or 403 by nothing but its status and the service's words; none for
/// another status.
pub(crate) fn classify_bare_denial(parsed: &ParsedReply<'_>) -> Option<Classification> {
    let known = causes_of(parsed.status)?;
    let mut causes = CauseList::default();
    causes.extend(&suggested_causes(&service_words(parsed)));
    causes.extend(known);
    Some(Classification {
        outcome: Outcome::Rejected(causes.first()?),
        certainty: Certainty::Ambiguous,
        alternatives: causes.others(),
        code: None,
        provider_message: generic_message(parsed),
        retry_after: parse_retry_after(parsed.headers),
    })
}

impl Classifier {
    /// Keeps what a rule decided within the account's causes, if the status is 401 or 403.
    pub(super) fn hold_to_status(
        &self,
        decided: DecidedByRule<'_>,
        parsed: &ParsedReply<'_>,
    ) -> Classification {
        let DecidedByRule {
            rule,
            index,
            classification: first,
        } = decided;
        let (Some(cause), Some(bare)) = (first.outcome.cause(), classify_bare_denial(parsed))
        else {
            return first;
        };
        let mut causes = CauseList::default();
        if is_account(cause) {
            if rule.reads_values() {
                return with_message(first, bare);
            }
            causes.extend(&rule.widened(&first, parsed));
        } else {
            causes.extend_where(&first.alternatives, is_account);
            match self.later_account_rule(index, parsed) {
                Some((rule, later)) => causes.extend(&rule.widened(&later, parsed)),
                None => causes.extend(&causes_in(&bare)),
            }
            causes.extend_where(&causes_in(&first), |cause| cause != Cause::Unexplained);
        }
        first.with_causes(&causes, bare)
    }

    /// What a rule after the one that decided reads from the same reply, if it is about the account.
    fn later_account_rule(
        &self,
        index: usize,
        parsed: &ParsedReply<'_>,
    ) -> Option<(&ReplyRule, Classification)> {
        self.rules
            .iter()
            .skip(index + 1)
            .filter_map(|rule| Some((rule, self.apply_rule(rule, parsed, None)?)))
            .find(|(_, found)| found.outcome.cause().is_some_and(is_account))
    }
}

/// What a rule made of a reply.
pub(super) struct DecidedByRule<'r> {
    pub(super) rule: &'r ReplyRule,
    pub(super) index: usize,
    pub(super) classification: Classification,
}

impl ReplyRule {
    /// Whether the rule reads something that the service says, not only the status or that a field exists.
    fn reads_values(&self) -> bool {
        !self.equals.is_empty()
            || self.pattern.is_some()
            || self.body.is_some()
            || self.body_pattern.is_some()
            || matches!(self.action, RuleAction::LookUpCode)
    }

    /// The causes of a rule that reads only the status: its own, the ones that the service's words
    /// suggest before them, and those of a bare denial after them. A documented reply with a field of
    /// the service's own is no bare denial: only its words add a cause.
    fn widened(&self, found: &Classification, parsed: &ParsedReply<'_>) -> Vec<Cause> {
        let mut causes = CauseList::default();
        if !self.reads_values() {
            causes.extend(&suggested_causes(&service_words(parsed)));
        }
        causes.extend(&causes_in(found));
        causes.extend(self.undocumented_causes(parsed.status));
        causes.0
    }

    /// The causes that this rule leaves open under a status, because it adds nothing to a bare denial.
    pub(super) fn undocumented_causes(&self, status: u16) -> &'static [Cause] {
        let reads_nothing = self.paths.is_empty() && self.required_path.is_none();
        causes_of(status)
            .filter(|_| !self.reads_values() && (self.inferred || reads_nothing))
            .unwrap_or_default()
    }
}

impl Classification {
    fn with_causes(self, causes: &CauseList, bare: Self) -> Self {
        let Some(cause) = causes.first() else {
            return self;
        };
        let alternatives = causes.others();
        let certainty = if alternatives.is_empty() {
            self.certainty
        } else {
            Certainty::Ambiguous
        };
        let outcome = match self.outcome {
            Outcome::Unknown(_) => Outcome::Unknown(cause),
            Outcome::Rejected(_) | Outcome::Unsent(_) | Outcome::Accepted { .. } => {
                Outcome::Rejected(cause)
            }
        };
        let held = Self {
            outcome,
            certainty,
            alternatives,
            ..self
        };
        with_message(held, bare)
    }
}

/// With the service's words where the rule names no path to them.
fn with_message(found: Classification, bare: Classification) -> Classification {
    Classification {
        provider_message: found.provider_message.or(bare.provider_message),
        ..found
    }
}

fn is_account(cause: Cause) -> bool {
    cause.family() == Family::Account
}

fn causes_in(found: &Classification) -> Vec<Cause> {
    let first = found.outcome.cause().into_iter();
    first.chain(found.alternatives.iter().copied()).collect()
}

/// Causes in order, each once.
#[derive(Default)]
struct CauseList(Vec<Cause>);

impl CauseList {
    fn extend(&mut self, causes: &[Cause]) {
        self.extend_where(causes, |_| true);
    }

    fn extend_where(&mut self, causes: &[Cause], keep: impl Fn(Cause) -> bool) {
        for &cause in causes.iter().filter(|cause| keep(**cause)) {
            if !self.0.contains(&cause) {
                self.0.push(cause);
            }
        }
    }

    fn first(&self) -> Option<Cause> {
        self.0.first().copied()
    }

    fn others(&self) -> Vec<Cause> {
        self.0.iter().skip(1).copied().collect()
    }
}

/// The causes that the words name, the one with the most phrases first.
fn suggested_causes(words: &[String]) -> Vec<Cause> {
    let mut found: Vec<(usize, Cause)> = Vec::new();
    for (cause, phrase) in cause_phrases() {
        if contains_phrase(words, phrase) {
            match found.iter_mut().find(|(_, known)| *known == cause) {
                Some((count, _)) => *count += 1,
                None => found.push((1, cause)),
            }
        }
    }
    // Stable: of two causes with equally many phrases, the table's order decides.
    found.sort_by_key(|(count, _)| usize::MAX - count);
    found.into_iter().map(|(_, cause)| cause).collect()
}

/// The phrases of the table, each with its cause.
fn cause_phrases() -> impl Iterator<Item = (Cause, &'static str)> {
    let lines = CAUSE_WORDS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, phrases)| Some((Cause::from_str(name).ok()?, phrases)));
    lines.flat_map(|(cause, phrases)| {
        phrases
            .split(',')
            .map(move |phrase| (cause, phrase.trim()))
            .filter(|(_, phrase)| !phrase.is_empty())
    })
}

/// Whether the words of a phrase follow each other in `words`.
fn contains_phrase(words: &[String], phrase: &str) -> bool {
    let wanted: Vec<&str> = phrase.split(' ').collect();
    words.windows(wanted.len()).any(|words| {
        words
            .iter()
            .zip(&wanted)
            .all(|(word, wanted)| match wanted.strip_suffix('*') {
                Some(stem) => word.starts_with(stem),
                None => word == wanted,
            })
    })
}

/// What the service says, as words in lower case: the texts of its reply, and its challenge.
fn service_words(parsed: &ParsedReply<'_>) -> Vec<String> {
    let mut text = String::new();
    collect_text(&parsed.tree, MAX_DEPTH, &mut text);
    if text.is_empty() {
        text.extend(parsed.text.chars().take(MAX_SEARCHED));
    }
    text.push(' ');
    text.push_str(&challenge(parsed).unwrap_or_default());
    split_words(&text)
}

fn split_words(text: &str) -> Vec<String> {
    let lower: String = text
        .to_lowercase()
        .chars()
        .map(|c| {
            if matches!(c, '’' | '‘' | 'ʻ' | 'ʼ' | '`') {
                '\''
            } else {
                c
            }
        })
        .collect();
    lower
        .split(|c: char| !(c.is_alphanumeric() || c == '\''))
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn collect_text(value: &Value, depth: usize, text: &mut String) {
    if depth == 0 || text.len() > MAX_SEARCHED {
        return;
    }
    match value {
        Value::String(found) => {
            text.extend(found.chars().take(MAX_SEARCHED));
            text.push(' ');
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_text(item, depth - 1, text)),
        Value::Object(fields) => fields
            .values()
            .for_each(|field| collect_text(field, depth - 1, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The service's message at whichever field it puts it: else all its texts, else its challenge.
pub(super) fn generic_message(parsed: &ParsedReply<'_>) -> Option<String> {
    let is_page = parsed.tree.is_null() || parsed.tree.get("html").is_some();
    let from_reply = if is_page {
        page_text(parsed)
    } else {
        message_in(&parsed.tree, MAX_DEPTH).or_else(|| {
            let mut all = String::new();
            collect_text(&parsed.tree, MAX_DEPTH, &mut all);
            Some(all)
        })
    };
    let own = from_reply.map(|text| parsed.shown(&text));
    own.filter(|text| !text.is_empty())
        .or_else(|| challenge(parsed).map(|text| parsed.shown(&text)))
        .filter(|text| !text.is_empty())
}

fn message_in(tree: &Value, depth: usize) -> Option<String> {
    if depth == 0 {
        return None;
    }
    let inner = |value: &Value| message_in(value, depth - 1);
    match tree {
        Value::Array(items) => items.iter().find_map(inner),
        Value::Object(fields) => {
            let named = MESSAGE_FIELDS.iter().find_map(|wanted| {
                fields
                    .iter()
                    .filter(|(name, _)| is_field(name, wanted))
                    .find_map(|(_, value)| field_text(value))
            });
            named.or_else(|| fields.values().find_map(inner))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Whether a field has this name, in whichever spelling: `errorDescription`, `error-description`.
fn is_field(name: &str, wanted: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).eq(wanted.chars())
}

fn field_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Array(items) => items.iter().find_map(field_text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// A text or page without its markup.
fn page_text(parsed: &ParsedReply<'_>) -> Option<String> {
    if parsed.text.starts_with(['{', '[']) {
        return None;
    }
    let mut in_tag = false;
    let plain: String = parsed
        .text
        .chars()
        .take(MAX_SEARCHED)
        .filter_map(|c| match c {
            '<' => {
                in_tag = true;
                Some(' ')
            }
            '>' if in_tag => {
                in_tag = false;
                None
            }
            _ => (!in_tag).then_some(c),
        })
        .collect();
    Some(plain)
}

/// The `WWW-Authenticate` header, which carries the error of a token.
fn challenge(parsed: &ParsedReply<'_>) -> Option<String> {
    let text = parsed.headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    Some(text.chars().take(MAX_SEARCHED).collect())
}

#[cfg(test)]
mod tests;
