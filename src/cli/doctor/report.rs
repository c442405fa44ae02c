//! The answer: lines for people, one JSON object for programs. Colours on a terminal only.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::cli::doctor::check::{Check, Mark, exit_code};
use crate::sms::Cause;

/// All checks, one heading for each they are about.
pub(super) fn lines(checks: &[Check]) -> String {
    let mut lines = Vec::new();
    for group in checks.chunk_by(|one, other| one.about == other.about) {
        if let Some(about) = group.first().map(|check| &check.about).filter(|about| !about.is_empty()) {
            lines.push(about.clone());
        }
        lines.extend(group.iter().enumerate().filter_map(|(at, check)| told_once(group, at, check)));
    }
    lines.push(summary(checks));
    lines.join("\n")
}

/// What is not known for one reason stands in one line, where the last of it would: what it refers to is read before.
fn told_once(group: &[Check], at: usize, check: &Check) -> Option<String> {
    let same = |other: &&Check| other.mark == Mark::Skipped && check.mark == Mark::Skipped && other.evidence == check.evidence;
    let names: Vec<&str> = group.iter().filter(same).map(|check| check.name).collect();
    let is_told_later = group.iter().skip(at + 1).any(|other| same(&other));
    match names.as_slice() {
        _ if is_told_later => None,
        [] | [_] => Some(line(check)),
        names => {
            let style = style(check.mark);
            Some(format!("  {style}{:7}{style:#}  {}: {}", check.mark.as_str(), names.join(", "), check.evidence))
        }
    }
}

fn line(check: &Check) -> String {
    let style = style(check.mark);
    let cause = check.cause.map(|cause| format!("{}: ", told(cause, check))).unwrap_or_default();
    let first = format!("  {style}{:7}{style:#}  {:14} {cause}{}", check.mark.as_str(), check.name, check.evidence);
    check.remedy.as_ref().map_or_else(|| first.clone(), |remedy| format!("{first}\n{:26}→ {remedy}", ""))
}

/// `credential-rejected (ambiguous, or ip-not-allowed)`.
fn told(cause: Cause, check: &Check) -> String {
    let Some(certainty) = check.certainty else { return cause.to_string() };
    let others: Vec<&str> = check.alternatives.iter().map(|other| other.as_str()).collect();
    let others = if others.is_empty() { String::new() } else { format!(", or {}", others.join(" or ")) };
    format!("{cause} ({}{others})", certainty.as_str())
}

fn style(mark: Mark) -> Style {
    match mark {
        Mark::Ok => AnsiColor::Green.on_default(),
        Mark::Skipped => Style::new().dimmed(),
        Mark::Warning => AnsiColor::Yellow.on_default().bold(),
        Mark::Failed => AnsiColor::Red.on_default().bold(),
    }
}

fn counted(checks: &[Check], mark: Mark) -> usize {
    checks.iter().filter(|check| check.mark == mark).count()
}

fn summary(checks: &[Check]) -> String {
    let all = [(Mark::Failed, "failed"), (Mark::Warning, "with a warning"), (Mark::Skipped, "not known"), (Mark::Ok, "ok")];
    let told = all.map(|(mark, words)| format!("{} {words}", counted(checks, mark)));
    format!("{} checks: {}", checks.len(), told.join(", "))
}

/// The same for a program; `sent` is the control socket's answer to a send.
pub(super) fn json(checks: &[Check], sent: Option<&Value>) -> Value {
    json!({
        "exit_code": exit_code(checks),
        "failed": counted(checks, Mark::Failed),
        "warnings": counted(checks, Mark::Warning),
        "checks": checks.iter().map(one).collect::<Vec<_>>(),
        "send": sent,
    })
}

fn one(check: &Check) -> Value {
    json!({
        "about": check.about,
        "check": check.name,
        "result": check.mark.as_str(),
        "cause": check.cause.map(Cause::as_str),
        "certainty": check.certainty.map(crate::sms::Certainty::as_str),
        "alternatives": check.alternatives.iter().map(|cause| cause.as_str()).collect::<Vec<_>>(),
        "evidence": check.evidence,
        "remedy": check.remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_headings_marks_causes_and_remedies() {
        let checks = [
            Check::ok("config", "c.toml is sound"),
            Check::failed("credential", "it said no", "put another in").because(Cause::CredentialRejected).of("alpha"),
            Check::skipped("balance", "not known").of("alpha"),
        ];
        let told = anstream::adapter::strip_str(&lines(&checks)).to_string();
        let expected = "  ok       config         c.toml is sound\nalpha\n  failed   credential     credential-rejected: it said no\n                          → put another in\n  skipped  balance        not known\n3 checks: 1 failed, 0 with a warning, 1 not known, 1 ok";
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_not_known_for_one_reason_is_one_line_after_the_reason() {
        let unknown = |name| Check::skipped(name, "not known, as `credential` says").of("alpha");
        let (lead, other) = (Check::skipped("credential", "left out").of("alpha"), Check::skipped("sender", "not told").of("alpha"));
        let checks = [unknown("endpoint"), lead, unknown("account"), unknown("balance"), other, unknown("account").of("beta")];
        let told = anstream::adapter::strip_str(&lines(&checks)).to_string();
        let expected = "alpha\n  skipped  credential     left out\n  skipped  endpoint, account, balance: not known, as `credential` says\n  skipped  sender         not told\nbeta\n  skipped  account        not known, as `credential` says\n6 checks: 0 failed, 0 with a warning, 6 not known, 0 ok";
        assert_eq!(told, expected);
        assert_eq!(json(&checks, None)["checks"].as_array().map(Vec::len), Some(6), "a program reads each");
    }

    #[test]
    fn a_program_reads_the_same() {
        let checks = [Check::failed("balance", "0 left", "top up").because(Cause::BalanceEmpty).of("alpha")];
        let value = json(&checks, None);
        assert_eq!((value["exit_code"].as_u64(), value["failed"].as_u64()), (Some(2), Some(1)));
        assert_eq!(value["checks"][0]["cause"], "balance-empty");
        assert_eq!(value["checks"][0]["result"], "failed");
    }
}
