//! The report of `import-env`: what it imports, what it leaves, and what remains to do. Names only.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::output;
use crate::cli::vault::import::{
    Args, ImportStatus, KnownField, Proposal, entry_path, unusable_variables,
};
use crate::vault::credential_names::CredentialVariable;
use crate::vault::embedded::{Embedded, EmbeddedEntries};

pub(super) fn report_nothing_found(
    args: &Args,
    proposals: &[Proposal],
    left: &[CredentialVariable],
    known: &[KnownField],
) -> ExitCode {
    if args.json {
        output::verbatim(import_json(
            &[],
            left,
            &unusable_variables(proposals),
            args,
            ImportStatus::Proposed,
        ));
        return ExitCode::from(1);
    }
    for name in proposals.iter().flat_map(|proposal| &proposal.placeholders) {
        output::note(placeholder_note(name));
    }
    let file = args.file.display();
    for line in left_lines(left, known) {
        output::note(line);
    }
    if !left.is_empty() {
        output::note(format_args!(
            "{file} has no variable that a dialect names as a credential, but still contains secrets"
        ));
    } else if proposals.is_empty() {
        output::note(format_args!(
            "{file} has no variable that a dialect names as a credential; `sms-sidecar dialects show NAME` lists the names, and `sms-sidecar vault set` stores any field"
        ));
    } else {
        output::note(format_args!(
            "{file} contains only placeholders; `sms-sidecar vault list` lists what the vault has"
        ));
    }
    ExitCode::from(1)
}

/// One line for each variable whose value only stands for one.
pub(super) fn unusable_notes(unusable: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    unusable.iter().map(|(name, problem)| {
        format!("{name} {problem}; it is not imported: write the real value into the file, or use `sms-sidecar vault set`")
    })
}

fn placeholder_note(name: &str) -> String {
    format!("{name} contains the placeholder")
}

pub(super) fn confirmation_prompt(vault: &Embedded, args: &Args) -> String {
    let also = if args.replace_with_placeholders {
        format!(", and put placeholders into {}", args.file.display())
    } else {
        String::new()
    };
    format!("Write these into {}{also}?", vault.file().display())
}

pub(super) fn render_proposals(
    proposals: &[Proposal],
    entries: &EmbeddedEntries,
    args: &Args,
) -> String {
    let mut lines = Vec::new();
    for proposal in proposals {
        let path = entry_path(&args.prefix, &proposal.dialect);
        for (field, name) in &proposal.fields {
            let there = entries
                .get(&path)
                .is_some_and(|entry| entry.contains_key(field));
            lines.push(format!(
                "{path} {field} = {name}{}",
                if there {
                    "  (replaces the present value)"
                } else {
                    ""
                }
            ));
        }
        lines.extend(
            proposal
                .placeholders
                .iter()
                .map(|name| format!("{path}: {}", placeholder_note(name))),
        );
        lines.extend(proposal.missing.iter().map(|field| {
            format!("{path} {field}: no variable contains it; use `sms-sidecar vault set`")
        }));
        lines.extend(
            proposal
                .differing
                .iter()
                .map(|name| format!("{path}: {name} has a different value and is not imported")),
        );
    }
    if let (Some(first), true) = (proposals.first(), proposals.len() > 1) {
        lines.push(format!(
            "if some of these are not for SMS: `--only {}` imports that dialect alone",
            first.dialect
        ));
    }
    lines.join("\n")
}

/// One line for each variable that stays in clear: a question if it may be a service's, else a note.
pub(super) fn left_lines(left: &[CredentialVariable], known: &[KnownField]) -> Vec<String> {
    let mut lines: Vec<String> = left
        .iter()
        .filter(|variable| variable.is_for_sms)
        .map(|variable| take_question(variable, known))
        .collect();
    let others: Vec<&str> = left
        .iter()
        .filter(|variable| !variable.is_for_sms)
        .map(|variable| variable.name.as_str())
        .collect();
    if !others.is_empty() {
        lines.push(format!(
            "left in clear, because no SMS service is in the name: {}",
            others.join(", ")
        ));
    }
    lines
}

/// `SMS_API_KEY looks like a credential and is left in clear: whose is it? …`
fn take_question(variable: &CredentialVariable, known: &[KnownField]) -> String {
    let name = &variable.name;
    let fields: Vec<&str> = known
        .iter()
        .filter(|known| Some(&known.dialect) == variable.dialect.as_ref())
        .map(|known| known.field.as_str())
        .collect();
    match (&variable.dialect, fields.first()) {
        (Some(dialect), Some(first)) => format!(
            "{name} looks like a credential of {dialect} and is left in clear: is it its {}? `--take {name}={dialect}.{first}` takes it",
            fields.join(" or ")
        ),
        _ => format!(
            "{name} looks like a credential and is left in clear: whose is it? `--take {name}=DIALECT.FIELD` takes it"
        ),
    }
}

pub(super) fn import_json(
    proposals: &[Proposal],
    left: &[CredentialVariable],
    unusable: &BTreeMap<String, String>,
    args: &Args,
    done: ImportStatus,
) -> serde_json::Value {
    let entry = |proposal: &Proposal| {
        json!({
            "path": entry_path(&args.prefix, &proposal.dialect),
            "dialect": proposal.dialect,
            "fields": proposal.fields,
            "missing": proposal.missing,
            "differing": proposal.differing,
        })
    };
    let left: Vec<&str> = left.iter().map(|variable| variable.name.as_str()).collect();
    json!({ "entries": proposals.iter().map(entry).collect::<Vec<_>>(), "written": done != ImportStatus::Proposed, "replaced": done == ImportStatus::Replaced, "left_in_clear": left, "unusable": unusable.keys().collect::<Vec<_>>() })
}

pub(super) fn report_written(
    proposals: &[Proposal],
    left: &[CredentialVariable],
    text: &str,
    args: &Args,
) {
    output::line(format_args!(
        "written: {}",
        proposals
            .iter()
            .map(|proposal| entry_path(&args.prefix, &proposal.dialect))
            .collect::<Vec<_>>()
            .join(", ")
    ));
    if args.replace_with_placeholders {
        let file = args.file.display();
        if !left.is_empty() {
            let names: Vec<&str> = left.iter().map(|variable| variable.name.as_str()).collect();
            output::note(format_args!(
                "warning: {file} still holds what looks like secrets, in clear: {}",
                names.join(", ")
            ));
        }
        output::line(format_args!(
            "{} contains placeholders for what was imported; its backups and its history in git still have the values: replace every credential that was committed",
            args.file.display()
        ));
        for line in commented_lines(text, proposals) {
            output::note(format_args!(
                "warning: {}:{line} is a comment that names an imported variable; check that it contains no old value",
                args.file.display()
            ));
        }
    }
}

/// Comment lines that name an imported variable.
pub(super) fn commented_lines(text: &str, proposals: &[Proposal]) -> Vec<usize> {
    let names: Vec<&String> = proposals
        .iter()
        .flat_map(|proposal| proposal.fields.values())
        .collect();
    let tells = |line: &str| {
        line.trim_start().starts_with('#') && names.iter().any(|name| line.contains(name.as_str()))
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| tells(line))
        .map(|(at, _)| at + 1)
        .collect()
}
