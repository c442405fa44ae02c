//! One message, because the operator asked for it by `--send-to`: through the running sidecar, else
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

/// What came of it, as one check.
pub(super) fn send_check(answer: &Value, pinned: Option<&str>) -> Check {
    let word = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let attempts: Vec<&Value> = answer
        .get("attempts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let causes = attempts.iter().filter_map(|attempt| {
        attempt
            .get("cause")
            .and_then(Value::as_str)?
            .parse::<Cause>()
            .ok()
    });
    let to = word("recipient");
    if word("result") == "accepted" {
        let by = attempts
            .last()
            .and_then(|last| last.get("provider"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let alone = pinned.map_or("", |_| ", as it was sent through this provider alone");
        let evidence = format!("{by} took the message to {to}{alone}");
        return match causes.clone().next() {
            None => Check::ok("send", evidence),
            Some(cause) => Check::warning(
                "send",
                format!("{evidence}, after another failed"),
                "see what that provider said above",
            )
            .with_cause(cause),
        };
    }
    let result = if word("result").is_empty() {
        "not understood"
    } else {
        word("result")
    };
    let said = if word("diagnosis").is_empty() {
        word("error")
    } else {
        word("diagnosis")
    };
    let (told, remedy) = said.split_once(" → ").unwrap_or((
        said,
        "give a number in international form, and a provider that the sidecar runs with",
    ));
    // Its head names what stands beside it already.
    let evidence = told
        .split_once("). ")
        .map_or(told, |(_, evidence)| evidence);
    let alone = pinned.map_or_else(String::new, |provider| format!(" through {provider} alone"));
    let check = Check::failed(
        "send",
        format!("the message was {result}{alone}. {evidence}")
            .trim()
            .to_owned(),
        remedy,
    );
    match word("cause")
        .parse::<Cause>()
        .ok()
        .or_else(|| causes.clone().next())
    {
        Some(cause) => check.with_cause(cause),
        None => check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckResult;

    #[test]
    fn the_backends_own_words_are_sent_with_a_code_in_them() {
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
