//! The message of `--send-to`: its text, and what its result means. Pure: the command line sends it.

use crate::doctor::check::Check;
use crate::policy::{ParsedTemplate, TextTemplate};
use crate::status::{ControlReply, SendReport};

/// The text if the config has none of the backend's.
const DEFAULT_TEXT: &str = "sms-sidecar: 123456";

/// The first text of a template with a code in each placeholder: services may accept approved texts only.
pub(crate) fn sample_text(templates: &[TextTemplate]) -> String {
    let Some(template) = templates.first() else {
        return DEFAULT_TEXT.to_owned();
    };
    ParsedTemplate::parse(&template.text)
        .map_or_else(|_| template.text.clone(), |text| text.fill(|_| "123456"))
}

/// The result of the message as one check; `pinned` is the only provider that may take it.
pub(crate) fn send_check(reply: &ControlReply<SendReport>, pinned: Option<&str>) -> Check {
    let check = match reply {
        ControlReply::Report(report) if report.is_accepted() => accepted_check(report, pinned),
        ControlReply::Report(report) => unaccepted_check(report, pinned),
        ControlReply::Error(error) => Check::failed(
            "send",
            format!(
                "the message was not sent{}: {}",
                through(pinned),
                error.error
            ),
            "write a number in international form, and a provider of the running sidecar",
        ),
    };
    check.with_subject("message")
}

fn through(pinned: Option<&str>) -> String {
    pinned.map_or_else(String::new, |provider| format!(" through {provider} alone"))
}

/// A warning if an attempt before the accepted one failed.
fn accepted_check(report: &SendReport, pinned: Option<&str>) -> Check {
    let provider = report
        .attempts
        .last()
        .map_or("a provider", |last| last.provider.as_str());
    let recipient = report.recipient.as_deref().unwrap_or("the recipient");
    let alone = pinned.map_or("", |_| "; no other provider was allowed");
    let evidence = format!("{provider} accepted the message to {recipient}{alone}");
    match report.first_cause() {
        None => Check::ok("send", evidence),
        Some(cause) => Check::warning(
            "send",
            format!("{evidence}, after an attempt of another failed"),
            "see the failed attempt above",
        )
        .with_cause(cause),
    }
}

fn unaccepted_check(report: &SendReport, pinned: Option<&str>) -> Check {
    let evidence = report.evidence.as_deref().unwrap_or_default();
    let evidence = format!(
        "the result of the message{} is {}. {evidence}",
        through(pinned),
        report.result
    );
    let remedy = report
        .remedy
        .as_deref()
        .unwrap_or("see the attempts above, and the log of the sidecar");
    let check = Check::failed("send", evidence.trim_end(), remedy);
    match report.first_cause() {
        Some(cause) => check.with_cause(cause),
        None => check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckResult;
    use crate::sms::Cause;
    use crate::status::AttemptStatus;

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

    fn report(result: &str, causes: &[Option<Cause>]) -> SendReport {
        SendReport {
            result: result.to_owned(),
            recipient: Some("+998*****67".to_owned()),
            attempts: causes
                .iter()
                .map(|cause| AttemptStatus {
                    provider: "p".to_owned(),
                    cause: cause.map(|cause| cause.as_str().to_owned()),
                    ..AttemptStatus::default()
                })
                .collect(),
            ..SendReport::default()
        }
    }

    #[test]
    fn an_accepted_message_is_ok_unless_an_attempt_failed_before() {
        let check = |report, pinned| send_check(&ControlReply::Report(report), pinned);
        let ok = check(report("accepted", &[None]), None);
        assert_eq!(
            ok,
            Check::ok("send", "p accepted the message to +998*****67").with_subject("message")
        );
        let pinned = check(report("accepted", &[None]), Some("p"));
        assert!(pinned.evidence.ends_with("no other provider was allowed"));
        let after = check(report("accepted", &[Some(Cause::BalanceEmpty), None]), None);
        assert_eq!(
            (after.result, after.cause),
            (CheckResult::Warning, Some(Cause::BalanceEmpty))
        );
    }

    #[test]
    fn a_message_that_is_not_accepted_has_the_remedy_of_its_cause() {
        let failed = SendReport {
            evidence: Some("No money.".to_owned()),
            remedy: Some("top up".to_owned()),
            ..report("not-sent", &[Some(Cause::BalanceEmpty)])
        };
        let check = send_check(&ControlReply::Report(failed), None);
        assert_eq!(
            (check.result, check.cause, check.remedy.as_deref()),
            (
                CheckResult::Failed,
                Some(Cause::BalanceEmpty),
                Some("top up")
            )
        );
        assert_eq!(
            check.evidence,
            "the result of the message is not-sent. No money."
        );
        let unknown = send_check(
            &ControlReply::error("no provider `p`; the providers are q"),
            Some("p"),
        );
        assert_eq!(unknown.result, CheckResult::Failed);
        assert_eq!(
            unknown.evidence,
            "the message was not sent through p alone: no provider `p`; the providers are q"
        );
    }
}
