//! `vault import-env FILE`: which variables of a backend's `.env` are which provider's credentials,
//! by the names that the dialects know. Shows names only, and writes after a yes.

mod config_snippet;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;

use crate::cli::output;
use crate::cli::vault::value;
use crate::config::Config;
use crate::dialect::{Catalog, Dialect, unset_problem};
use crate::file_error::describe_write_error;
use crate::problem::suggest;
use crate::secret::SecretString;
use crate::vault::credential_names::{CredentialVariable, credential_variables};
use crate::vault::dotenv::{self, DotenvVariable};
use crate::vault::embedded::{Embedded, EmbeddedEntries};
use crate::vault::file;
use report::{
    confirmation_prompt, import_json, left_lines, render_proposals, report_nothing_found,
    report_written, unusable_notes,
};

/// Exit code: 0 every credential that was found is in the vault; 1 none was found, or you answered no; 2 failed.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Args {
    /// The backend's `.env`, read as npm's dotenv reads it.
    file: PathBuf,
    /// Write without asking.
    #[arg(long)]
    yes: bool,
    /// Then replace the values in the `.env` with placeholders of the right form, so that the backend still starts.
    #[arg(long)]
    replace_with_placeholders: bool,
    /// Take this variable for that field (may be repeated): `--take SMS_API_KEY=infobip.api_key`.
    #[arg(long, value_name = "VARIABLE=DIALECT.FIELD", value_parser = parse_take)]
    take: Vec<TakenVariable>,
    /// Import only this dialect's credentials (may be repeated): `AWS_ACCESS_KEY_ID`, for example, may not be for SMS.
    #[arg(long, value_name = "DIALECT")]
    only: Vec<String>,
    /// The entries get the names PREFIX/DIALECT.
    #[arg(long, value_name = "PREFIX", default_value = "sms")]
    prefix: String,
    /// Print one JSON object: `entries`, `written`, `replaced`, `left_in_clear`, `unusable`. Writes with --yes only.
    #[arg(long)]
    json: bool,
}

/// A variable that the operator names for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TakenVariable {
    name: String,
    dialect: String,
    field: String,
}

fn parse_take(text: &str) -> Result<TakenVariable, String> {
    let parts = text
        .split_once('=')
        .and_then(|(name, target)| Some((name, target.rsplit_once('.')?)));
    match parts {
        Some((name, (dialect, field))) if ![name, dialect, field].contains(&"") => {
            Ok(TakenVariable {
                name: name.to_owned(),
                dialect: dialect.to_owned(),
                field: field.to_owned(),
            })
        }
        _ => Err("write VARIABLE=DIALECT.FIELD, such as SMS_API_KEY=infobip.api_key".to_owned()),
    }
}

/// How far it got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ImportStatus {
    Proposed,
    Written,
    Replaced,
}

impl Args {
    fn final_status(&self) -> ImportStatus {
        if self.replace_with_placeholders {
            ImportStatus::Replaced
        } else {
            ImportStatus::Written
        }
    }
}

/// A credential field of a dialect, and its names in `.env` files.
#[derive(Clone, Debug)]
pub(super) struct KnownField {
    pub(super) dialect: String,
    pub(super) field: String,
    pub(super) names: Vec<String>,
    pub(super) placeholder: String,
    pub(super) required: bool,
    /// The other settings that the config of a provider of this dialect needs.
    pub(super) extra_config: String,
}

/// The fields of the built-in descriptions and of those that the config's providers use.
pub(super) fn known_fields(loaded: Option<&Config>) -> Vec<KnownField> {
    let (built_in, _) = Catalog::load(&Catalog::built_in_sources());
    let configured = loaded
        .into_iter()
        .flat_map(|loaded| &loaded.proxy.providers)
        .map(|provider| &provider.dialect);
    let dialects: BTreeMap<&str, &Arc<Dialect>> = built_in
        .iter()
        .chain(configured)
        .map(|dialect| (dialect.name.as_str(), dialect))
        .collect();
    let fields = dialects.into_values().flat_map(|dialect| {
        dialect
            .credential_fields()
            .iter()
            .map(move |field| (dialect, field))
    });
    fields
        .map(|(dialect, field)| KnownField {
            dialect: dialect.name.clone(),
            field: field.name.clone(),
            names: field.env.clone(),
            placeholder: field
                .placeholder
                .clone()
                .unwrap_or_else(|| "sms-sidecar".to_owned()),
            required: field.required,
            extra_config: config_snippet::extra_config(dialect),
        })
        .collect()
}

/// The planned entry of one dialect.
#[derive(Debug, Default, PartialEq, Eq)]
struct Proposal {
    dialect: String,
    /// Field → the variable it comes from.
    fields: BTreeMap<String, String>,
    /// Fields that the dialect needs and no variable holds.
    missing: Vec<String>,
    /// Further variables of the same field with a different value.
    differing: Vec<String>,
    /// Variables that hold the placeholder, if none holds a value.
    placeholders: Vec<String>,
    /// Variables whose value only stands for one, if none holds a value; and what is wrong with it.
    unusable: BTreeMap<String, String>,
}

impl Proposal {
    /// The variables that it found, with a value, a placeholder or what only stands for a value.
    fn variables(&self) -> impl Iterator<Item = &String> {
        self.fields
            .values()
            .chain(&self.placeholders)
            .chain(self.unusable.keys())
    }

    /// A field of which no variable holds a value.
    fn add_without_value(&mut self, known: &KnownField, values: &BTreeMap<&str, &str>) {
        let held = known.names.iter().filter_map(|name| {
            let value = values
                .get(name.as_str())
                .filter(|value| !value.trim().is_empty())?;
            Some((name, *value))
        });
        let is_placeholder = |(_, value): &(&String, &str)| *value == known.placeholder;
        let (placeholders, others): (Vec<_>, Vec<_>) = held.partition(is_placeholder);
        if let Some((name, _)) = placeholders.first() {
            self.placeholders.push((*name).clone());
        } else if others.is_empty() && known.required {
            self.missing.push(known.field.clone());
        }
        let unusable = |(name, value): (&String, &str)| Some((name.clone(), unset_problem(value)?));
        self.unusable
            .extend(others.into_iter().filter_map(unusable));
    }
}

pub(super) fn run(
    vault: &Embedded,
    args: &Args,
    known: &[KnownField],
    loaded: Option<&Config>,
) -> anyhow::Result<ExitCode> {
    check_only(&args.only, known)?;
    let known = &with_taken(known, &args.take)?;
    let text = file::read_text(&args.file, "name the backend's `.env`")?;
    let variables = dotenv::parse(&text);
    let mut proposals = propose(&variables, known);
    proposals.retain(|proposal| args.only.is_empty() || args.only.contains(&proposal.dialect));
    let mut proposals = without_repeats(proposals);
    let unusable = unusable_variables(&proposals);
    if !args.json {
        unusable_notes(&unusable).for_each(output::note);
    }
    if proposals.iter().all(|proposal| proposal.fields.is_empty()) {
        let left = left_in_clear(&text, &[], known);
        return Ok(report_nothing_found(args, &proposals, &left, known));
    }
    proposals.retain(|proposal| !proposal.fields.is_empty());
    let entries = vault.entries()?;
    let left = left_in_clear(&text, &proposals, known);
    let print_json = |done| output::verbatim(import_json(&proposals, &left, &unusable, args, done));
    if !args.json {
        output::line(render_proposals(&proposals, &entries, args));
        for line in left_lines(&left, known) {
            output::line(line);
        }
    }
    if !(args.yes || !args.json && value::confirm(&confirmation_prompt(vault, args))?) {
        if args.json {
            print_json(ImportStatus::Proposed);
        } else {
            output::note("nothing written");
        }
        return Ok(ExitCode::from(1));
    }
    vault.update(|entries| write_entries(entries, &proposals, &variables, &args.prefix))?;
    if args.replace_with_placeholders {
        write_placeholders(args, &text, &proposals, known)?;
    }
    if args.json {
        print_json(args.final_status());
    } else {
        report_written(&proposals, &left, &text, args);
        output::verbatim(config_snippet::render_config(
            vault, args, &proposals, known, loaded,
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The variables whose value only stands for one, each once.
fn unusable_variables(proposals: &[Proposal]) -> BTreeMap<String, String> {
    let all = proposals.iter().flat_map(|proposal| &proposal.unusable);
    all.map(|(name, problem)| (name.clone(), problem.clone()))
        .collect()
}

/// The known fields, with the variables that the operator names first.
fn with_taken(known: &[KnownField], taken: &[TakenVariable]) -> anyhow::Result<Vec<KnownField>> {
    let mut known = known.to_vec();
    for taken in taken {
        let is_it =
            |known: &&mut KnownField| known.dialect == taken.dialect && known.field == taken.field;
        let Some(field) = known.iter_mut().find(is_it) else {
            let fields: Vec<String> = known
                .iter()
                .filter(|known| known.dialect == taken.dialect)
                .map(|known| format!("`{}.{}`", known.dialect, known.field))
                .collect();
            bail!(
                "no field `{}.{}`; {}",
                taken.dialect.escape_debug(),
                taken.field.escape_debug(),
                if fields.is_empty() {
                    "`sms-sidecar dialects` lists the dialects".to_owned()
                } else {
                    format!("use {}", fields.join(" or "))
                }
            );
        };
        field.names.insert(0, taken.name.clone());
    }
    Ok(known)
}

/// The variables that look like credentials and are neither imported nor placeholders.
fn left_in_clear(
    text: &str,
    proposals: &[Proposal],
    known: &[KnownField],
) -> Vec<CredentialVariable> {
    let variables = dotenv::parse(text);
    let dialects: Vec<&str> = known.iter().map(|known| known.dialect.as_str()).collect();
    let replaced = placeholder_values(proposals, known);
    let is_placeholder = |name: &str| {
        let value = variables.iter().rfind(|variable| variable.name == name);
        let is_known = |known: &KnownField| {
            known.names.iter().any(|known| known == name)
                && value.is_some_and(|variable| *variable.value == known.placeholder)
        };
        known.iter().any(is_known)
    };
    let mut left = credential_variables(&variables, &dialects);
    left.retain(|variable| {
        !replaced.contains_key(&variable.name) && !is_placeholder(&variable.name)
    });
    left
}

/// Rejects an unknown dialect: `--only sms` would never find anything.
fn check_only(only: &[String], known: &[KnownField]) -> anyhow::Result<()> {
    let mut names: Vec<&str> = known.iter().map(|known| known.dialect.as_str()).collect();
    names.dedup();
    match only.iter().find(|name| !names.contains(&name.as_str())) {
        Some(name) => bail!(
            "no dialect `{}`; {}",
            name.escape_debug(),
            suggest(name, &names)
        ),
        None => Ok(()),
    }
}

/// By dialect, in the order of `known`; the first name of a field that has a value is used.
fn propose(variables: &[DotenvVariable], known: &[KnownField]) -> Vec<Proposal> {
    let values: BTreeMap<&str, &str> = variables
        .iter()
        .map(|variable| (variable.name.as_str(), variable.value.as_str()))
        .collect();
    let dialects: BTreeSet<&str> = known.iter().map(|known| known.dialect.as_str()).collect();
    dialects
        .into_iter()
        .filter_map(|dialect| proposal(&values, dialect, known))
        .collect()
}

fn proposal(
    values: &BTreeMap<&str, &str>,
    dialect: &str,
    known: &[KnownField],
) -> Option<Proposal> {
    let mut proposal = Proposal {
        dialect: dialect.to_owned(),
        ..Proposal::default()
    };
    for known in known.iter().filter(|known| known.dialect == dialect) {
        let mut given = known
            .names
            .iter()
            .filter_map(|name| Some((name, *values.get(name.as_str())?)));
        let mut given = given
            .by_ref()
            .filter(|(_, value)| *value != known.placeholder && unset_problem(value).is_none());
        match given.next() {
            Some((name, first)) => {
                proposal.fields.insert(known.field.clone(), name.clone());
                proposal.differing.extend(
                    given
                        .filter(|(_, value)| *value != first)
                        .map(|(name, _)| name.clone()),
                );
            }
            None => proposal.add_without_value(known, values),
        }
    }
    let has_variables = proposal.variables().next().is_some();
    has_variables.then_some(proposal)
}

/// One account is one entry: the dialects of one service know the same variables, and the first takes them.
fn without_repeats(proposals: Vec<Proposal>) -> Vec<Proposal> {
    let mut kept: Vec<Proposal> = Vec::new();
    for proposal in proposals {
        let is_taken = |name: &String| {
            kept.iter()
                .any(|first| first.variables().any(|own| own == name))
        };
        if !proposal.variables().all(is_taken) {
            kept.push(proposal);
        }
    }
    kept
}

fn entry_path(prefix: &str, dialect: &str) -> String {
    if prefix.is_empty() {
        dialect.to_owned()
    } else {
        format!("{prefix}/{dialect}")
    }
}

fn write_entries(
    entries: &mut EmbeddedEntries,
    proposals: &[Proposal],
    variables: &[DotenvVariable],
    prefix: &str,
) {
    for proposal in proposals {
        let entry = entries
            .entry(entry_path(prefix, &proposal.dialect))
            .or_default();
        for (field, name) in &proposal.fields {
            // The last assignment of a name is used.
            if let Some(variable) = variables.iter().rfind(|variable| variable.name == *name) {
                entry.insert(field.clone(), SecretString::from(variable.value.as_str()));
            }
        }
    }
}

/// Every known name of each imported field, so that no second copy of a secret stays behind.
fn placeholder_values(proposals: &[Proposal], known: &[KnownField]) -> BTreeMap<String, String> {
    let taken = |known: &&KnownField| {
        proposals.iter().any(|proposal| {
            proposal.dialect == known.dialect && proposal.fields.contains_key(&known.field)
        })
    };
    let each = |known: &KnownField| {
        known
            .names
            .iter()
            .map(|name| (name.clone(), known.placeholder.clone()))
            .collect::<Vec<_>>()
    };
    known.iter().filter(taken).flat_map(each).collect()
}

fn write_placeholders(
    args: &Args,
    text: &str,
    proposals: &[Proposal],
    known: &[KnownField],
) -> anyhow::Result<()> {
    let Some(replaced) = dotenv::replace_values(text, &placeholder_values(proposals, known)) else {
        bail!(
            "the credentials are in the vault, but {} is unchanged: a placeholder cannot be written there",
            args.file.display()
        );
    };
    // The file may have changed while the prompt waited.
    let now = file::read_text(&args.file, "name the backend's `.env`")?;
    if *now != text {
        bail!(
            "the credentials are in the vault, but {} was changed meanwhile, so it got no placeholders; run the command again",
            args.file.display()
        );
    }
    if let Err(error) = file::replace_atomically(&args.file, replaced.as_bytes()) {
        bail!(
            "the credentials are in the vault, but {}",
            describe_write_error(&args.file, &error)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
