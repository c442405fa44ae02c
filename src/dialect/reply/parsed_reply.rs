//! A reply as the classification reads it: parsed once, and the wait that its headers ask for.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use serde_json::Value;

use crate::dialect::RecipientTexts;
use crate::dialect::Reply;
use crate::dialect::reply::own_text::{self, OwnText};
use crate::dialect::reply::sanitize;
use crate::dialect::wire::body;
use crate::dialect::wire::format::strip_bom;
use crate::parse_limit::ParseLimit;
use crate::sms::Message;

/// A reply, parsed once.
pub(crate) struct ParsedReply<'r> {
    pub(crate) status: u16,
    /// Null if the body has none, or one beyond `limit`.
    pub(crate) tree: Value,
    /// The limit that the body exceeds.
    pub(super) limit: Option<ParseLimit>,
    pub(super) text: Cow<'r, str>,
    pub(super) headers: &'r HeaderMap,
    /// The message that was sent; none: the request was none.
    message: Option<&'r Message>,
    /// The recipients of a request that is not one message.
    recipients: Option<&'r RecipientTexts>,
    /// What of it is not shown; made when the service first says something.
    own_text: OnceLock<OwnText>,
}

impl<'r> ParsedReply<'r> {
    pub(crate) fn parse(reply: &'r Reply) -> Self {
        let text = match String::from_utf8_lossy(strip_bom(&reply.body)) {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        let parsed = body::parse_reply(&reply.body);
        Self {
            status: reply.status.as_u16(),
            limit: parsed.as_ref().err().copied(),
            tree: parsed.unwrap_or_default(),
            text,
            headers: &reply.headers,
            message: None,
            recipients: None,
            own_text: OnceLock::new(),
        }
    }

    /// The same for a reply to a message or a batch: what the service quotes of it is not shown.
    pub(super) fn concealing(
        self,
        message: Option<&'r Message>,
        recipients: Option<&'r RecipientTexts>,
    ) -> Self {
        Self {
            message,
            recipients,
            ..self
        }
    }

    /// The service's words in a value, fit for a log.
    pub(super) fn message_text(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(self.shown(text)).filter(|text| !text.is_empty()),
            Value::Array(items) => items.iter().find_map(|item| self.message_text(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }

    /// The service's words, fit for a log.
    pub(super) fn shown(&self, words: &str) -> String {
        let own_text = match (self.message, self.recipients) {
            (Some(message), _) => self.own_text.get_or_init(|| OwnText::of(message)),
            (None, Some(batch)) => self.own_text.get_or_init(|| OwnText::of_recipients(batch)),
            (None, None) => return sanitize::sanitize(words),
        };
        sanitize::sanitize(&own_text.conceal(words))
    }

    /// Whether a service's code is a word of the text.
    pub(super) fn is_own_code(&self, code: &str) -> bool {
        self.message
            .is_some_and(|message| own_text::has_code(message.text.expose(), code))
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The maximum wait accepted from a service: one day.
pub(super) const MAX_RETRY_AFTER_MS: u64 = 86_400_000;

impl Reply {
    /// How long its `Retry-After` asks clients to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        parse_retry_after(&self.headers)
    }
}

/// `Retry-After` in seconds, or as a date beside the reply's own.
pub(super) fn parse_retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER_MS / 1000)));
    }
    let date = |text: &str| {
        jiff::fmt::rfc2822::parse(text)
            .ok()
            .map(|at| at.timestamp().as_second())
    };
    let until = date(value)?;
    let now = date(headers.get(DATE)?.to_str().ok()?)?;
    u64::try_from(until - now)
        .ok()
        .map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER_MS / 1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn words_about_a_batch_show_none_of_its_numbers() {
        let reply = Reply {
            status: http::StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
        };
        let recipients = RecipientTexts(vec!["998901234567".into(), "12345678".into()]);
        let shown = |recipients| {
            let parsed = ParsedReply::parse(&reply).concealing(None, recipients);
            parsed.shown("no 9,9,8,9,0,1,2,3,4,5,6,7 and 1234:5678")
        };
        assert_eq!(shown(Some(&recipients)), "no *** and ***");
        assert_eq!(shown(None), "no 9,9,8,9,0,1,2,3,4,5,6,7 and ****:****");
    }
}
