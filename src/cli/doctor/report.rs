//! The answer: lines for people, one JSON object for programs. Colours on a terminal only.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::cli::layout::render_steps;
use crate::diagnosis::remedy_steps;
use crate::doctor::check::{Check, CheckResult, exit_code};
use crate::sms::{Cause, Certainty};
use crate::status::{ControlReply, SendReport, cause_phrase};

/// The number of checks that fill more than a screen: what failed is then repeated at the end.
const LONG_REPORT: usize = 10;

/// Where the name of a check begins, and under it what to do.
const NAME_COLUMN: usize = 11;

/// All checks, one heading for each they are about; the failed ones of a long report once more at its end.
pub(super) fn render_text(checks: &[Check]) -> String {
    let mut lines = check_lines(checks);
    if checks.len() > LONG_REPORT {
        lines.extend(failure_lines(checks));
    }
    lines.push(summary(checks));
    lines.join("\n")
}

/// Failures and warnings only; empty if there are none.
pub(super) fn render_quiet(checks: &[Check]) -> String {
    let is_loud = |check: &&Check| check.result >= CheckResult::Warning;
    let loud: Vec<Check> = checks.iter().filter(is_loud).cloned().collect();
    if loud.is_empty() {
        return String::new();
    }
    let mut lines = check_lines(&loud);
    lines.push(summary(checks));
    lines.join("\n")
}

fn check_lines(checks: &[Check]) -> Vec<String> {
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
    lines
}

/// What failed, and under it what to do: each remedy once, under all the failures that it mends.
fn failure_lines(checks: &[Check]) -> Vec<String> {
    let failed: Vec<&Check> = checks
        .iter()
        .filter(|check| check.result == CheckResult::Failed)
        .collect();
    let mut lines = Vec::new();
    for (at, check) in failed.iter().enumerate() {
        let is_same = |other: &&&Check| other.remedy == check.remedy;
        if failed.iter().take(at).any(|earlier| is_same(&earlier)) {
            continue;
        }
        lines.extend(
            failed
                .iter()
                .filter(is_same)
                .map(|same| render_failure(same)),
        );
        lines.extend(remedy_lines(check, 4));
    }
    if !lines.is_empty() {
        let bold = Style::new().bold();
        lines.insert(0, format!("\n{bold}Failed, and what to do{bold:#}"));
        lines.push(String::new());
    }
    lines
}

fn render_failure(check: &Check) -> String {
    let style = style(check.result);
    let subject = match check.subject.as_str() {
        "" => String::new(),
        subject => format!("{subject}: "),
    };
    format!(
        "  {style}✕{style:#} {subject}{}: {}{}",
        check.name,
        cause_prefix(check),
        check.evidence
    )
}

/// The steps of the remedy, behind an arrow.
fn remedy_lines(check: &Check, indent: usize) -> Vec<String> {
    let remedy = check.remedy.as_deref().unwrap_or_default();
    let marks = std::iter::once("→").chain(std::iter::repeat(" "));
    marks
        .zip(render_steps(&remedy_steps(remedy)))
        .map(|(mark, step)| format!("{:indent$}{mark} {step}", ""))
        .collect()
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
    let first = format!(
        "  {style}{:7}{style:#}  {:14} {}{}",
        check.result.as_str(),
        check.name,
        cause_prefix(check),
        check.evidence
    );
    let remedy = remedy_lines(check, NAME_COLUMN);
    std::iter::once(first)
        .chain(remedy)
        .collect::<Vec<_>>()
        .join("\n")
}

fn cause_prefix(check: &Check) -> String {
    check
        .cause
        .map(|cause| format!("{}: ", cause_label(cause, check)))
        .unwrap_or_default()
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
        let expected = "  ok       config         c.toml is sound\nalpha\n  failed   credential     credential-rejected: it said no\n           → put another in\n  skipped  balance        not known\n3 checks: 1 failed, 0 with a warning, 1 not known, 1 ok";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_long_report_repeats_what_failed_with_each_remedy_once() {
        let remedy = "top up, then `sms-sidecar resume alpha`";
        let failed = |name, about| Check::failed(name, "0 left", remedy).with_subject(about);
        let mut checks = vec![failed("balance", "alpha"), failed("route", "route all")];
        let told =
            |checks: &[Check]| anstream::adapter::strip_str(&render_text(checks)).to_string();
        assert!(!told(&checks).contains("Failed, and what to do"));
        checks.extend(std::iter::repeat_n(Check::ok("dns", "found"), 9));
        let told = told(&checks).replace('\u{a0}', " ");
        let expected = "\n\nFailed, and what to do\n  ✕ alpha: balance: 0 left\n  ✕ route all: route: 0 left\n    → 1. top up\n      2. run:\n           sms-sidecar resume alpha\n\n11 checks: 2 failed, 0 with a warning, 0 not known, 9 ok";
        assert!(told.ends_with(expected), "{told}");
    }

    #[test]
    fn quiet_shows_failures_and_warnings_and_nothing_else() {
        let mut checks = vec![Check::ok("config", "sound"), Check::skipped("dns", "no")];
        assert_eq!(render_quiet(&checks), "");
        checks.push(Check::warning("clock", "3 s off", "set it"));
        let told = anstream::adapter::strip_str(&render_quiet(&checks)).to_string();
        assert!(told.starts_with("  warning  clock "), "{told}");
        assert!(
            !told.contains("config")
                && told.ends_with("3 checks: 0 failed, 1 with a warning, 1 not known, 1 ok"),
            "{told}"
        );
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
