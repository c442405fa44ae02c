//! Writes a notification as the body that a receiver expects: our own JSON, Slack's or Telegram's.

use std::time::Duration;

use serde_json::{Value, json};

use crate::diagnosis::format_duration;
use crate::status::notification::{Notification, NotificationEvent};
use crate::status::{cause_phrase, short_time};

/// A longer text is cut: chats have limits, and the status has the whole text.
const MAX_TEXT_CHARS: usize = 1000;
/// This many digits in a row may be a phone number.
const MIN_NUMBER_DIGITS: usize = 7;

/// The body that a receiver expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NotificationFormat {
    /// Our own JSON object.
    #[default]
    Json,
    /// `{"text": …}`, as Slack's incoming webhooks and receivers compatible with it expect.
    Slack,
    /// The `sendMessage` method of Telegram's bot API.
    Telegram {
        /// The chat that gets the message.
        chat_id: String,
    },
}

impl Notification {
    /// The body of the request. `sidecar` names the sidecar that sends it.
    pub fn render(&self, format: &NotificationFormat, sidecar: &str) -> Value {
        match format {
            NotificationFormat::Json => self.to_json(sidecar),
            NotificationFormat::Slack => json!({ "text": escape_slack(&self.to_text(sidecar)) }),
            NotificationFormat::Telegram { chat_id } => json!({
                "chat_id": chat_id,
                "text": self.to_text(sidecar),
                "link_preview_options": { "is_disabled": true },
            }),
        }
    }

    fn to_json(&self, sidecar: &str) -> Value {
        let mut body = json!({
            "event": self.event.as_str(),
            "severity": self.event.severity(),
            "name": self.subject.name(),
            "summary": self.summary(),
            "cause": self.cause,
            "certainty": self.certainty,
            "alternatives": self.alternatives,
            "explanation": self.explanation_text(),
            "remedy": self.remedy_text(),
            "since": self.since,
            "lasted_seconds": self.lasted_seconds,
            "changes": self.changes,
            "at": self.at,
            "sidecar": sidecar,
        });
        if let Value::Object(fields) = &mut body {
            fields
                .retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!(""));
        }
        body
    }

    /// The lines that a person reads.
    fn to_text(&self, sidecar: &str) -> String {
        let place = if sidecar.is_empty() {
            String::new()
        } else {
            format!(" on {sidecar}")
        };
        let mut lines = vec![format!("[sms-sidecar{place}] {}", self.summary())];
        lines.extend(
            self.remedy_text()
                .map(|remedy| format!("What to do: {remedy}")),
        );
        let changes = self.changes.filter(|_| self.event.severity() != "info");
        lines.extend(changes.map(|changes| {
            format!("It began {changes} times since the last notification about it.")
        }));
        lines.join("\n")
    }

    /// What has happened, in one sentence.
    fn summary(&self) -> String {
        let name = self.subject.name().unwrap_or_default();
        let since = self.since.as_deref().unwrap_or_default();
        let time = short_time(since, &self.at);
        let why = self.why();
        match self.event {
            NotificationEvent::ProviderQuarantined => {
                format!("Provider {name} is quarantined{why}.")
            }
            NotificationEvent::ProviderCooldown => {
                format!("Provider {name} has been in cooldown since {time}{why}.")
            }
            NotificationEvent::ProviderFailing => {
                format!("Most messages through provider {name} fail{why}.")
            }
            NotificationEvent::ProviderWithoutCredential => {
                format!("The credential of provider {name} cannot be read.")
            }
            NotificationEvent::ProviderRecovered => {
                format!("Provider {name} is in use again{}.", self.lasted())
            }
            NotificationEvent::RouteBlocked => {
                format!("Route {name} cannot deliver: all its providers are out.")
            }
            NotificationEvent::RouteRecovered => {
                format!("Route {name} can deliver again{}.", self.lasted())
            }
            NotificationEvent::TokenExpiring => {
                format!("The token of provider {name} expires at {time} and was not renewed.")
            }
            NotificationEvent::TokenRenewed => format!("The token of provider {name} was renewed."),
            NotificationEvent::CaExpiring => format!("The local CA expires at {time}."),
            NotificationEvent::CaRenewed => "The local CA was renewed.".to_owned(),
            NotificationEvent::RequestsDenied => self.denied_requests(),
            NotificationEvent::RequestsAccepted => {
                format!("The sidecar accepts messages again{}.", self.lasted())
            }
            NotificationEvent::Test => "This is a test: notifications arrive here.".to_owned(),
        }
    }

    fn denied_requests(&self) -> String {
        let reason = self.cause.as_deref().unwrap_or_default();
        let explanation = self.explanation_text().unwrap_or_default();
        format!("The sidecar denies the backend’s requests ({reason}): {explanation}.")
    }

    /// `: credential-rejected (likely)`.
    fn why(&self) -> String {
        let cause = self.cause.as_deref();
        let phrase = |cause| cause_phrase(cause, self.certainty.as_deref(), &self.alternatives);
        cause.map_or_else(String::new, |cause| format!(": {}", phrase(cause)))
    }

    /// ` after 4 min`.
    fn lasted(&self) -> String {
        let lasted = self.lasted_seconds.map(Duration::from_secs);
        lasted.map_or_else(String::new, |time| {
            format!(" after {}", format_duration(time))
        })
    }

    fn explanation_text(&self) -> Option<String> {
        short_text(self.explanation.as_deref()?)
    }

    fn remedy_text(&self) -> Option<String> {
        short_text(self.remedy.as_deref()?)
    }
}

/// The text, cut and without anything that may be a phone number; none if it is empty.
fn short_text(text: &str) -> Option<String> {
    let cut = text.char_indices().nth(MAX_TEXT_CHARS);
    let end = cut.map_or(text.len(), |(end, _)| end);
    let mark = if cut.is_some() { "…" } else { "" };
    let kept = conceal_numbers(text.get(..end).unwrap_or_default());
    Some(kept + mark).filter(|text| !text.is_empty())
}

/// Replaces long runs of digits.
fn conceal_numbers(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        let (run, after) = digits.split_at(end);
        shown.push_str(before);
        shown.push_str(if run.len() < MIN_NUMBER_DIGITS {
            run
        } else {
            "…"
        });
        rest = after;
    }
    shown + rest
}

/// Slack reads `<…>` as a link or a mention and `&` as an entity.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
