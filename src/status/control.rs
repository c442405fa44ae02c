//! The requests and replies of the control socket: the running sidecar writes them, and the command line and `doctor`
//! read them. In JSON a reply is the report, or an object with the one field `error`.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::diagnosis::RemedyStep;
use crate::sms::{Cause, RequestResult};
use crate::status::AttemptStatus;

/// `POST /send`: one message of the operator.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequest {
    /// The only provider that may take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The message, in the fields of the dialect `plain`.
    #[serde(flatten)]
    pub message: Map<String, Value>,
}

impl SendRequest {
    /// A message to the number `to`, by the route that matches.
    pub fn new(to: &str, text: &str) -> Self {
        let fields = [("to", to), ("text", text)];
        Self {
            provider: None,
            message: fields
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into_iter()
                .collect(),
        }
    }

    /// Sets the sender name.
    #[must_use]
    pub fn with_sender(mut self, sender: Option<&str>) -> Self {
        let sender = sender.map(|sender| ("sender".to_owned(), sender.into()));
        self.message.extend(sender);
        self
    }

    /// Pins it to one provider.
    #[must_use]
    pub fn with_provider(mut self, provider: Option<&str>) -> Self {
        self.provider = provider.map(str::to_owned);
        self
    }
}

/// Number and text stay out of every output.
impl std::fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendRequest")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// The reply to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ControlReply<T> {
    /// The command failed.
    Error(ControlError),
    /// It succeeded, or reports itself how it ended.
    Report(T),
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// What is wrong, and what to do about it.
    pub error: String,
}

/// By way of a `Value`: serde's own buffer of an untagged enum cannot hold the numbers of `arbitrary_precision`.
impl<'de, T: DeserializeOwned> Deserialize<'de> for ControlReply<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let reply = if value.get("error").is_some() {
            serde_json::from_value(value).map(Self::Error)
        } else {
            serde_json::from_value(value).map(Self::Report)
        };
        reply.map_err(D::Error::custom)
    }
}

impl<T> ControlReply<T> {
    /// The reply to a command that failed.
    pub fn error(what: impl Into<String>) -> Self {
        Self::Error(ControlError { error: what.into() })
    }

    /// The report, or the text of the error.
    pub fn into_result(self) -> Result<T, String> {
        match self {
            Self::Error(ControlError { error }) => Err(error),
            Self::Report(report) => Ok(report),
        }
    }
}

/// The reply to `POST /send`: numbers are masked, the text is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendReport {
    /// As the label `result` of `requests_total`.
    pub result: String,
    /// The route that matched.
    pub route: Option<String>,
    /// Masked: `+998*****67`.
    pub recipient: Option<String>,
    /// Why it was not accepted.
    pub cause: Option<String>,
    /// How certain the cause is.
    pub certainty: Option<String>,
    /// The diagnosis in one line: provider, cause, evidence, remedy; none if there is nothing to do.
    pub diagnosis: Option<String>,
    /// What speaks for the cause.
    pub evidence: Option<String>,
    /// What to do, if there is something to do.
    pub remedy: Option<String>,
    /// The same as steps.
    pub steps: Vec<RemedyStep>,
    /// Whether it was not sent, because the same message was already answered.
    pub duplicate: bool,
    /// For a duplicate: when the same message was answered.
    pub answered_seconds_ago: Option<u64>,
    /// The attempts, in order.
    pub attempts: Vec<AttemptStatus>,
}

impl SendReport {
    /// Whether a provider accepted it.
    pub fn is_accepted(&self) -> bool {
        self.result == RequestResult::Accepted.as_str()
    }

    /// Its cause, else that of the first attempt that has one.
    pub fn first_cause(&self) -> Option<Cause> {
        std::iter::once(&self.cause)
            .chain(self.attempts.iter().map(|attempt| &attempt.cause))
            .find_map(|cause| cause.as_ref()?.parse().ok())
    }
}

/// The reply to `POST /pause/NAME` and `POST /resume/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderReport {
    /// Its name in the config.
    pub provider: String,
    /// Its dialect.
    pub dialect: String,
    /// Its state after the command.
    pub state: String,
    /// Why it is in this state.
    pub cause: Option<String>,
    /// The newest version of its credential; 0 if none was read.
    pub credential_version: u64,
}

/// The reply to `POST /reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum ReloadReport {
    /// The new config is in force.
    Ok {
        /// The file, as the operator named it.
        file: String,
        /// The settings that take effect only at the next start, if there are any.
        needs_restart: Option<String>,
    },
    /// The config has errors; the old one stays in force.
    Failed {
        /// The problems as text.
        problem: String,
        /// The same for a program.
        problems: Value,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::status::Status;

    #[test]
    fn a_request_keeps_every_field_of_the_message() {
        let text = r#"{"provider":"p","reference":"r","text":"t","to":"+998901234567"}"#;
        let request: SendRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request.provider.as_deref(), Some("p"));
        assert_eq!(request.message["reference"], "r");
        let built = SendRequest::new("+998901234567", "t").with_sender(Some("Acme"));
        assert_eq!(
            serde_json::to_value(&built).unwrap(),
            json!({ "to": "+998901234567", "text": "t", "sender": "Acme" })
        );
        assert!(
            !format!("{built:?}").contains("998"),
            "{built:?} shows no number"
        );
    }

    #[test]
    fn a_reply_is_a_report_or_an_error() {
        let read = |value: Value| serde_json::from_value::<ControlReply<SendReport>>(value);
        let report = read(json!({ "result": "accepted", "later_field": 1 })).unwrap();
        assert!(report.into_result().unwrap().is_accepted());
        let error = read(json!({ "error": "no provider `p`" })).unwrap();
        assert_eq!(error.into_result(), Err("no provider `p`".to_owned()));
        for reply in [
            ControlReply::Report(SendReport::default()),
            ControlReply::error("x"),
        ] {
            assert_eq!(read(serde_json::to_value(&reply).unwrap()).unwrap(), reply);
        }
    }

    /// As text, because numbers of a `Value` take another path than those of a reply.
    #[test]
    fn numbers_are_read_as_they_were_written() {
        let text = r#"{"to":"+998901234567","text":"t","validity_seconds":300,"weight":1.50}"#;
        let request: SendRequest = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        let text = r#"{"result":"failed","problem":"x","problems":[{"line":7,"share":0.25}]}"#;
        let reply: ControlReply<ReloadReport> = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&reply).unwrap(), text);
        let text = r#"{"result":"accepted","answered_seconds_ago":3,"attempts":[{"status":200,"took_ms":12}]}"#;
        let reply: ControlReply<SendReport> = serde_json::from_str(text).unwrap();
        let report = reply.into_result().unwrap();
        assert_eq!(
            (report.answered_seconds_ago, report.attempts[0].took_ms),
            (Some(3), 12)
        );
    }

    #[test]
    fn a_status_with_a_fractional_balance_is_read() {
        let reply = r#"{"providers":[{"provider":"p","state":"healthy","balance":{"value":12.6,"unit":"USD","daily_spend":2.5}}]}"#;
        let reply: ControlReply<Status> = serde_json::from_str(reply).unwrap();
        let status = reply.into_result().unwrap();
        let balance = status.providers[0].balance.as_ref().unwrap();
        assert_eq!(balance.daily_spend, Some(2.5));
    }

    #[test]
    fn a_reload_has_its_result_beside_the_rest() {
        let ok = ReloadReport::Ok {
            file: "c.toml".into(),
            needs_restart: None,
        };
        let value = serde_json::to_value(ControlReply::Report(ok)).unwrap();
        assert_eq!(
            value,
            json!({ "result": "ok", "file": "c.toml", "needs_restart": null })
        );
    }
}
