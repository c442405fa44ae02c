//! The answer: lines for people, one JSON object for programs. Colours on a terminal only.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::diagnosis::remedy_steps;
use crate::doctor::check::{Check, CheckResult, exit_code};
use crate::sms::{Cause, Certainty};
use crate::status::{ControlReply, SendReport, cause_phrase};

/// All checks, one heading for each they are about.
pub(super) fn render_text(checks: &[Check]) -> String {
    let mut lines = Vec::new();
    for group in checks.chunk_by(|one, other| one.subject == other.subject) {
        if let Some(about) = group
            .first()
            .map(|check| &check.subject)
            .filter(|about| !about.is_empty())
        {
            lines.push(about.clone());
        }
        lines.extend(
            group
                .iter()
                .enumerate()
                .filter_map(|(at, check)| render_unless_repeated(group, at, check)),
        );
    }
    lines.push(summary(checks));
    lines.join("\n")
}

/// Unknown checks with one reason share one line, in the place of the last, so that the reason comes first.
fn render_unless_repeated(group: &[Check], at: usize, check: &Check) -> Option<String> {
    let same = |other: &&Check| {
        other.result == CheckResult::Skipped
            && check.result == CheckResult::Skipped
            && other.evidence == check.evidence
    };
    let names: Vec<&str> = group.iter().filter(same).map(|check| check.name).collect();
    let is_told_later = group.iter().skip(at + 1).any(|other| same(&other));
    match names.as_slice() {
        _ if is_told_later => None,
        [] | [_] => Some(render_check(check)),
        names => {
            let style = style(check.result);
            Some(format!(
                "  {style}{:7}{style:#}  {}: {}",
                check.result.as_str(),
                names.join(", "),
                check.evidence
            ))
        }
    }
}

fn render_check(check: &Check) -> String {
    let style = style(check.result);
    let cause = check
        .cause
        .map(|cause| format!("{}: ", cause_label(cause, check)))
        .unwrap_or_default();
    let first = format!(
        "  {style}{:7}{style:#}  {:14} {cause}{}",
        check.result.as_str(),
        check.name,
        check.evidence
    );
    check.remedy.as_ref().map_or_else(
        || first.clone(),
        |remedy| format!("{first}\n{:26}→ {remedy}", ""),
    )
}

fn cause_label(cause: Cause, check: &Check) -> String {
    let certainty = check.certainty.map(Certainty::as_str);
    let alternatives = check.alternatives.iter().map(|other| other.as_str());
    cause_phrase(cause.as_str(), certainty, &alternatives.collect::<Vec<_>>())
}

fn style(mark: CheckResult) -> Style {
    match mark {
        CheckResult::Ok => AnsiColor::Green.on_default(),
        CheckResult::Skipped => Style::new().dimmed(),
        CheckResult::Warning => AnsiColor::Yellow.on_default().bold(),
        CheckResult::Failed => AnsiColor::Red.on_default().bold(),
    }
}

fn count(checks: &[Check], mark: CheckResult) -> usize {
    checks.iter().filter(|check| check.result == mark).count()
}

fn summary(checks: &[Check]) -> String {
    let all = [
        (CheckResult::Failed, "failed"),
        (CheckResult::Warning, "with a warning"),
        (CheckResult::Skipped, "not known"),
        (CheckResult::Ok, "ok"),
    ];
    let told = all.map(|(mark, words)| format!("{} {words}", count(checks, mark)));
    format!("{} checks: {}", checks.len(), told.join(", "))
}

/// The same for a program; `sent` is the reply to the message of `--send-to`.
pub(super) fn render_json(checks: &[Check], sent: Option<&ControlReply<SendReport>>) -> Value {
    json!({
        "exit_code": exit_code(checks),
        "failed": count(checks, CheckResult::Failed),
        "warnings": count(checks, CheckResult::Warning),
        "checks": checks.iter().map(check_json).collect::<Vec<_>>(),
        "send": sent,
    })
}

fn check_json(check: &Check) -> Value {
    json!({
        "about": check.subject,
        "check": check.name,
        "result": check.result.as_str(),
        "cause": check.cause.map(Cause::as_str),
        "certainty": check.certainty.map(Certainty::as_str),
        "alternatives": check.alternatives.iter().map(|cause| cause.as_str()).collect::<Vec<_>>(),
        "evidence": check.evidence,
        "remedy": check.remedy,
        "steps": remedy_steps(check.remedy.as_deref().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_output_has_headings_marks_causes_and_remedies() {
        let checks = [
            Check::ok("config", "c.toml is sound"),
            Check::failed("credential", "it said no", "put another in")
                .with_cause(Cause::CredentialRejected)
                .with_subject("alpha"),
            Check::skipped("balance", "not known").with_subject("alpha"),
        ];
        let told = anstream::adapter::strip_str(&render_text(&checks)).to_string();
        let expected = "  ok       config         c.toml is sound\nalpha\n  failed   credential     credential-rejected: it said no\n                          → put another in\n  skipped  balance        not known\n3 checks: 1 failed, 0 with a warning, 1 not known, 1 ok";
        assert_eq!(told, expected);
    }

    #[test]
    fn unknown_checks_with_one_reason_share_one_line_after_it() {
        let unknown =
            |name| Check::skipped(name, "not known, as `credential` says").with_subject("alpha");
        let (lead, other) = (
            Check::skipped("credential", "left out").with_subject("alpha"),
            Check::skipped("sender", "not told").with_subject("alpha"),
        );
        let checks = [
            unknown("endpoint"),
            lead,
            unknown("account"),
            unknown("balance"),
            other,
            unknown("account").with_subject("beta"),
        ];
        let told = anstream::adapter::strip_str(&render_text(&checks)).to_string();
        let expected = "alpha\n  skipped  credential     left out\n  skipped  endpoint, account, balance: not known, as `credential` says\n  skipped  sender         not told\nbeta\n  skipped  account        not known, as `credential` says\n6 checks: 0 failed, 0 with a warning, 6 not known, 0 ok";
        assert_eq!(told, expected);
        assert_eq!(
            render_json(&checks, None)["checks"]
                .as_array()
                .map(Vec::len),
            Some(6),
            "a program reads each"
        );
    }

    #[test]
    fn the_json_output_has_the_same_content() {
        let checks = [Check::failed("balance", "0 left", "top up")
            .with_cause(Cause::BalanceEmpty)
            .with_subject("alpha")];
        let value = render_json(&checks, None);
        assert_eq!(
            (value["exit_code"].as_u64(), value["failed"].as_u64()),
            (Some(2), Some(1))
        );
        assert_eq!(value["checks"][0]["cause"], "balance-empty");
        assert_eq!(value["checks"][0]["result"], "failed");
    }
}
