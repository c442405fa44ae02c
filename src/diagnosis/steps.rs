//! A remedy as steps. A log line has a remedy as one sentence; a person follows it step by step, and
//! copies its commands. Both come from the one sentence: `; ` and `, then ` separate its steps, and a
//! command stands in backticks.

use serde::{Deserialize, Serialize};

/// One step of a remedy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemedyStep {
    /// What to do.
    pub text: String,
    /// The command to run, complete: it stands alone on a line.
    pub command: Option<String>,
}

/// What separates two steps.
const SEPARATORS: [&str; 2] = ["; ", ", then "];

/// The programs whose calls in backticks are commands. Other code in backticks (a key, a value) is part
/// of the text.
const PROGRAMS: [&str; 11] = [
    "sms-sidecar",
    "bao",
    "chmod",
    "chown",
    "curl",
    "kill",
    "npm",
    "pass",
    "setfacl",
    "systemctl",
    "timedatectl",
];

/// What the text says in place of a command that is in the middle of its sentence.
const REFERENCE: &str = "the command below";

/// The text of a step that is only a command.
const RUN: &str = "run";

/// Notes about the step before them; not steps of their own.
pub(super) const TRIED_AT_ONCE: &str = "tried at once, no restart";
pub(super) const RECOVERS_ITSELF: &str = "it recovers by itself within its `recheck`";
pub(super) const NO_OTHER_PROVIDER: &str = "no other provider is tried";
const NOTES: [&str; 3] = [TRIED_AT_ONCE, RECOVERS_ITSELF, NO_OTHER_PROVIDER];

/// The steps of a remedy; none for an empty one.
pub fn remedy_steps(remedy: &str) -> Vec<RemedyStep> {
    let mut steps: Vec<RemedyStep> = Vec::new();
    for clause in split_clauses(remedy) {
        match steps.last_mut() {
            Some(step) if NOTES.contains(&clause.as_str()) => {
                step.text = format!("{} ({clause})", step.text);
            }
            Some(_) | None => steps.push(RemedyStep::read(&clause)),
        }
    }
    steps
}

/// The clauses between separators. A separator inside of parentheses, quotes or code belongs to its clause.
fn split_clauses(remedy: &str) -> Vec<String> {
    let mut clauses = Vec::new();
    let mut clause = String::new();
    let mut depth = 0_usize;
    let mut is_code = false;
    let mut rest = remedy;
    while let Some(first) = rest.chars().next() {
        let after = SEPARATORS
            .iter()
            .find_map(|separator| rest.strip_prefix(separator));
        if let Some(after) = after.filter(|_| depth == 0 && !is_code) {
            clauses.push(std::mem::take(&mut clause));
            rest = after;
            continue;
        }
        match first {
            '`' => is_code = !is_code,
            '(' | '“' if !is_code => depth += 1,
            ')' | '”' if !is_code => depth = depth.saturating_sub(1),
            _ => {}
        }
        clause.push(first);
        rest = rest.strip_prefix(first).unwrap_or_default();
    }
    clauses.push(clause);
    clauses.retain(|clause| !clause.is_empty());
    clauses
}

impl RemedyStep {
    fn read(clause: &str) -> Self {
        let parts: Vec<&str> = clause.split('`').collect();
        // Every second part is code; the last part is not, because a backtick ends it.
        let closed = parts.len().saturating_sub(1);
        let command = (1..closed)
            .step_by(2)
            .find_map(|at| Some((at, *parts.get(at).filter(|code| is_command(code))?)));
        let Some((at, command)) = command else {
            return Self {
                text: clause.to_owned(),
                command: None,
            };
        };
        let before = parts.iter().take(at).copied().collect::<Vec<_>>();
        let after = parts.iter().skip(at + 1).copied().collect::<Vec<_>>();
        Self {
            text: text_without_command(&before.join("`"), &after.join("`")),
            command: Some(command.to_owned()),
        }
    }
}

fn is_command(code: &str) -> bool {
    code.split_once(' ')
        .is_some_and(|(program, arguments)| PROGRAMS.contains(&program) && !arguments.is_empty())
}

/// The clause around a command: a command at its end is left out, one in its middle is referred to.
fn text_without_command(before: &str, after: &str) -> String {
    let lead = before.trim_end_matches([' ', ':', ',']);
    match (lead.strip_suffix(" ("), after) {
        (Some(lead), ")") => lead.to_owned(),
        _ if !after.is_empty() && !after.starts_with(" (") => format!("{before}{REFERENCE}{after}"),
        _ if lead.is_empty() => format!("{RUN}{after}"),
        _ => format!("{lead}{after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str, command: &str) -> RemedyStep {
        RemedyStep {
            text: text.to_owned(),
            command: Some(command.to_owned()).filter(|command| !command.is_empty()),
        }
    }

    #[test]
    fn each_form_of_a_clause_has_its_step() {
        for (remedy, steps) in [
            ("", vec![]),
            ("top up", vec![step("top up", "")]),
            (
                "top up, then `sms-sidecar resume a`",
                vec![step("top up", ""), step("run", "sms-sidecar resume a")],
            ),
            (
                "put it into v: `bao kv patch a b=-` (reads it from standard input); tried at once, no restart",
                vec![step(
                    "put it into v (reads it from standard input) (tried at once, no restart)",
                    "bao kv patch a b=-",
                )],
            ),
            (
                "when that is in order: `sms-sidecar resume a`",
                vec![step("when that is in order", "sms-sidecar resume a")],
            ),
            (
                "`sms-sidecar check --config c` shows what fails",
                vec![step(
                    "the command below shows what fails",
                    "sms-sidecar check --config c",
                )],
            ),
            (
                "reload it (`kill -HUP PID`)",
                vec![step("reload it", "kill -HUP PID")],
            ),
            (
                "set `a; b` (one; two) to “x; y”; leave `recheck` as it is",
                vec![
                    step("set `a; b` (one; two) to “x; y”", ""),
                    step("leave `recheck` as it is", ""),
                ],
            ),
            ("an open ` tick; and", vec![step("an open ` tick; and", "")]),
        ] {
            assert_eq!(remedy_steps(remedy), steps, "{remedy}");
        }
    }
}
