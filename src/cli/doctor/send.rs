//! One message, because the operator passed `--send-to`: through the running sidecar, else
//! through the same pipeline in this process. It goes to a real handset.

use std::path::Path;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::control::exchange;
use crate::config::Config;
use crate::doctor::check::Check;
use crate::doctor::running::RunningSidecar;
use crate::policy::{ParsedTemplate, TextTemplate};
use crate::sms::Cause;
use crate::telemetry::BuildInfo;

/// What is sent where the config has no text of the backend's.
const DEFAULT_TEXT: &str = "sms-sidecar: 123456";

/// What is sent, through one provider alone where it is named.
pub(super) fn build_message(
    loaded: &Config,
    to: &str,
    text: Option<&str>,
    provider: Option<&str>,
) -> Value {
    let text = text.map_or_else(|| sample_text(&loaded.proxy.templates), str::to_owned);
    let mut message = json!({ "to": to, "text": text });
    if let (Some(provider), Some(fields)) = (provider, message.as_object_mut()) {
        fields.insert("provider".to_owned(), json!(provider));
    }
    message
}

/// The answer, as the control socket gives it.
pub(super) async fn send(
    file: &Path,
    loaded: &Config,
    running: &RunningSidecar,
    message: &Value,
) -> anyhow::Result<Value> {
    if let Some(socket) = loaded
        .listen
        .control
        .as_deref()
        .filter(|_| running.has_control)
    {
        let (_, answer) = exchange(socket, Method::POST, "/send", message)
            .await
            .context("the running sidecar did not answer")?;
        return Ok(answer);
    }
    let build = BuildInfo {
        version: String::new(),
        commit: String::new(),
    };
    let app = App::build(file, loaded.clone(), build)
        .context("no pipeline could be made to send with")?;
    Ok(app.send(message).await)
}

/// The backend's first text with a code in each hole: it may be one that is approved.
fn sample_text(templates: &[TextTemplate]) -> String {
    let Some(template) = templates.first() else {
        return DEFAULT_TEXT.to_owned();
    };
    ParsedTemplate::parse(&template.text)
        .map_or_else(|_| template.text.clone(), |text| text.fill(|_| "123456"))
}

/// The result of the message as one check; `pinned` is the provider that `--provider` names.
pub(super) fn send_check(answer: &Value, pinned: Option<&str>) -> Check {
    if word(answer, "result") == "accepted" {
        accepted_check(answer, pinned)
    } else {
        unaccepted_check(answer, pinned)
    }
}

/// A warning if an attempt before the accepted one failed.
fn accepted_check(answer: &Value, pinned: Option<&str>) -> Check {
    let by = attempts(answer)
        .last()
        .map_or("", |last| word(last, "provider"));
    let to = word(answer, "recipient");
    let alone = pinned.map_or("", |_| ", as it was sent through this provider alone");
    let evidence = format!("{by} took the message to {to}{alone}");
    match first_attempt_cause(answer) {
        None => Check::ok("send", evidence),
        Some(cause) => Check::warning(
            "send",
            format!("{evidence}, after another failed"),
            "see what that provider said above",
        )
        .with_cause(cause),
    }
}

fn unaccepted_check(answer: &Value, pinned: Option<&str>) -> Check {
    let result = non_empty(word(answer, "result")).unwrap_or("not understood");
    let diagnosis = SendDiagnosis::of(answer);
    let alone = pinned.map_or_else(String::new, |provider| format!(" through {provider} alone"));
    let evidence = format!("the message was {result}{alone}. {}", diagnosis.evidence);
    let check = Check::failed("send", evidence.trim().to_owned(), diagnosis.remedy);
    let cause = word(answer, "cause").parse().ok();
    match cause.or_else(|| first_attempt_cause(answer)) {
        Some(cause) => check.with_cause(cause),
        None => check,
    }
}

/// Why the message was not accepted, and what to do about it.
struct SendDiagnosis<'a> {
    evidence: &'a str,
    remedy: &'a str,
}

impl<'a> SendDiagnosis<'a> {
    /// Reads `diagnosis`, else `error`, of the answer.
    fn of(answer: &'a Value) -> Self {
        let text = non_empty(word(answer, "diagnosis")).unwrap_or_else(|| word(answer, "error"));
        let (diagnosis, remedy) = text.split_once(" → ").unwrap_or((
            text,
            "give a number in international form, and a provider that the sidecar runs with",
        ));
        // The check shows provider and cause beside the evidence already.
        let evidence = diagnosis
            .split_once("). ")
            .map_or(diagnosis, |(_, evidence)| evidence);
        Self { evidence, remedy }
    }
}

/// The text of one field; empty if it is absent or no text.
fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn attempts(answer: &Value) -> &[Value] {
    answer
        .get("attempts")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The cause of the first attempt that has one.
fn first_attempt_cause(answer: &Value) -> Option<Cause> {
    attempts(answer)
        .iter()
        .find_map(|attempt| word(attempt, "cause").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckResult;

    #[test]
    fn the_backends_own_text_is_sent_with_a_code() {
        let template = |text: &str| TextTemplate {
            name: "t".into(),
            text: text.into(),
            texts: [].into(),
            ids: [].into(),
        };
        assert_eq!(sample_text(&[]), DEFAULT_TEXT);
        assert_eq!(
            sample_text(&[template("app: kod {code}")]),
            "app: kod 123456"
        );
        assert_eq!(
            sample_text(&[template("{a} and {b}.")]),
            "123456 and 123456."
        );
    }

    #[test]
    fn a_send_is_judged_by_its_result() {
        let attempt = |cause: Value| json!({ "provider": "p", "outcome": "x", "cause": cause });
        let ok = json!({ "result": "accepted", "recipient": "+998*****67", "attempts": [attempt(Value::Null)] });
        assert_eq!(
            send_check(&ok, None),
            Check::ok("send", "p took the message to +998*****67")
        );
        assert!(
            send_check(&ok, Some("p"))
                .evidence
                .ends_with("through this provider alone")
        );
        let after = json!({ "result": "accepted", "attempts": [attempt("balance-empty".into()), attempt(Value::Null)] });
        assert_eq!(
            (
                send_check(&after, None).result,
                send_check(&after, None).cause
            ),
            (CheckResult::Warning, Some(Cause::BalanceEmpty))
        );
        let not = json!({ "result": "not-sent", "cause": "balance-empty", "diagnosis": "p: balance-empty (certain). No money. → top up" });
        assert_eq!(
            (
                send_check(&not, None).result,
                send_check(&not, None).cause,
                send_check(&not, None).remedy.as_deref()
            ),
            (
                CheckResult::Failed,
                Some(Cause::BalanceEmpty),
                Some("top up")
            )
        );
        let unknown = send_check(
            &json!({ "error": "no provider `p`; the providers are q" }),
            Some("p"),
        );
        assert_eq!(unknown.result, CheckResult::Failed);
        assert!(
            unknown
                .evidence
                .ends_with("through p alone. no provider `p`; the providers are q"),
            "{}",
            unknown.evidence
        );
    }
}
