//! A backend's `.env`, judged: which variables of the services are there, which are cut, quoted wrongly
//! or given twice, and what they hold beside the vault: a placeholder, the vault's own value, another.
//! Pure. Says names and shapes; a value is compared and never leaves this file.

use std::collections::BTreeMap;

use crate::diagnosis::format_command;
use crate::doctor::check::Check;
use crate::secret::Credential;
use crate::vault::credential_names::{CredentialVariable, credential_variables};
use crate::vault::dotenv::{self, DotenvVariable};

/// A credential field of one provider, as the backend may know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackendField<'a> {
    pub(super) provider: &'a str,
    pub(super) name: &'a str,
    /// It may be shown, so that the backend may know it.
    pub(super) public: bool,
    pub(super) required: bool,
    pub(super) placeholder: Option<&'a str>,
    /// Its name in `.env` files.
    pub(super) names: &'a [String],
    /// What the vault has; none: observe mode, or it could not be read.
    pub(super) vault: Option<&'a Credential>,
    pub(super) role: ValueRole,
}

/// The command that takes credentials out of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImportCommand<'a> {
    /// The `.env`.
    pub(super) file: &'a str,
    /// The config, as commands name it.
    pub(super) config: &'a str,
}

impl ImportCommand<'_> {
    fn render(&self, options: &str) -> String {
        let file = self.file;
        let arguments = format!("vault import-env {file} {options}--replace-with-placeholders");
        format_command(&arguments, self.config)
    }
}

/// What becomes of a value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueRole {
    /// The sidecar puts the vault's in its place.
    Replaced,
    /// The backend sends it: no vault has the credential.
    Sent,
    /// This very file is the vault.
    Vault,
}

/// Something about how a variable is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum VariableFault {
    /// There is nothing after the equals sign.
    Empty,
    /// A line begins with its name and assigns nothing.
    Unassigned,
    /// Assigned more than once; the last one counts.
    Duplicate,
    /// Without quotes, and a `#` in it: what follows is a comment.
    Truncated,
    /// It begins with a quote that does not end, or the reverse.
    UnbalancedQuote,
    /// Quotes within quotes are part of the value.
    NestedQuotes,
    /// Quotes of a word processor are part of the value.
    TypographicQuotes,
    /// A quote that does not end has taken the lines below in.
    SwallowedLines,
    /// More than one line.
    LineBreak,
    /// `$` means itself to dotenv, and a variable to dotenv-expand, compose and a shell.
    Interpolated,
    /// A blank at its beginning or end, within the quotes.
    SurroundingSpace,
    /// It ends in a comma or semicolon.
    TrailingPunctuation,
}

impl VariableFault {
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::Unassigned => "is on a line without an equals sign",
            Self::Duplicate => "is assigned more than once, and the last one counts",
            Self::Truncated => {
                "is cut off at a `#`, where a comment begins: put the value in single quotes"
            }
            Self::UnbalancedQuote => "has a quote at one end only, which becomes part of the value",
            Self::NestedQuotes => "has quotes inside its quotes, which become part of the value",
            Self::TypographicQuotes => {
                "has typographic quotes, which become part of the value: use plain ones"
            }
            Self::SwallowedLines => {
                "has a quote that is not closed, so it includes the lines below"
            }
            Self::LineBreak => "contains a line break",
            Self::Interpolated => {
                "contains a `$`, which dotenv keeps and dotenv-expand, compose or a shell replaces: put the value in single quotes"
            }
            Self::SurroundingSpace => {
                "has a space at its beginning or end, which becomes part of the value"
            }
            Self::TrailingPunctuation => {
                "ends with a comma or semicolon, which becomes part of the value"
            }
        }
    }
}

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueOrigin {
    Empty,
    Placeholder,
    /// What the vault holds.
    VaultValue,
    Other,
    /// There is nothing to compare with.
    Unknown,
}

/// The format of the file as a whole: what programs other than dotenv would read differently.
pub(super) fn check_file_format(text: &str) -> Check {
    let mut problems = Vec::new();
    if text.starts_with('\u{feff}') {
        problems.push("it begins with a byte order mark, which a shell, systemd and `docker --env-file` read as part of the first name");
    }
    if text.contains("\r\n") {
        problems.push("its lines end with CR LF: a shell, systemd and `docker --env-file` read the CR as part of each value");
    }
    if text.lines().any(|line| {
        line.trim_start_matches(['\u{feff}', ' ', '\t'])
            .starts_with("export ")
    }) {
        problems.push(
            "it uses `export`, which systemd and `docker --env-file` read as part of the name",
        );
    }
    match problems.as_slice() {
        [] => Check::ok(
            "env-file",
            "all readers of `.env` files read it the same way",
        ),
        problems => Check::warning(
            "env-file",
            format!("dotenv reads it, but {}", problems.join("; ")),
            "save it as UTF-8 without a byte order mark, with LF line ends and without `export`",
        ),
    }
}

/// One check for each provider's variables that has something to say, else one that all is well.
pub(super) fn check_variables(
    text: &str,
    fields: &[BackendField<'_>],
    import: &ImportCommand<'_>,
) -> Vec<Check> {
    let variables = dotenv::parse(text);
    fields
        .chunk_by(|one, other| one.provider == other.provider)
        .map(|fields| check_provider(text, &variables, fields, import))
        .collect()
}

/// What looks like a credential under a name that no examined provider knows; none: nothing does.
pub(super) fn check_other_variables(
    text: &str,
    fields: &[BackendField<'_>],
    dialects: &[&str],
    import: &ImportCommand<'_>,
) -> Option<Check> {
    // This very file is a vault: it holds secrets by design.
    if fields.iter().any(|field| field.role == ValueRole::Vault) {
        return None;
    }
    let is_known = |name: &String| fields.iter().any(|field| field.names.contains(name));
    let other = credential_variables(&dotenv::parse(text), dialects);
    let (sms, rest): (Vec<_>, Vec<_>) = other
        .into_iter()
        .filter(|variable| !is_known(&variable.name))
        .partition(|variable| variable.is_for_sms);
    let names = |variables: &[CredentialVariable]| {
        let names: Vec<&str> = variables.iter().map(|other| other.name.as_str()).collect();
        names.join(", ")
    };
    let unexamined = format!(
        "not examined, because no SMS service is in the name: {}",
        names(&rest)
    );
    let Some(first) = sms.first() else {
        return (!rest.is_empty()).then(|| Check::ok("other-variables", unexamined));
    };
    let mut evidence = format!(
        "these look like credentials in clear text, under names that no configured provider uses: {}",
        names(&sms)
    );
    if !rest.is_empty() {
        evidence = format!("{evidence}; {unexamined}");
    }
    let dialect = first.dialect.as_deref().unwrap_or("DIALECT");
    let take = format!("--take {}={dialect}.FIELD ", first.name);
    let remedy = format!("import each into the vault: {}", import.render(&take));
    Some(Check::warning("other-variables", evidence, remedy))
}

fn check_provider(
    text: &str,
    variables: &[DotenvVariable],
    fields: &[BackendField<'_>],
    import: &ImportCommand<'_>,
) -> Check {
    let provider = fields.first().map_or("", |field| field.provider);
    let present: BTreeMap<&str, Vec<&str>> = fields
        .iter()
        .map(|field| (field.name, present_names(text, variables, field)))
        .collect();
    if present.values().all(Vec::is_empty) {
        return Check::skipped(
            "variables",
            format!(
                "{provider}: the file has none of its usual variables; variables with other names that look like credentials are listed below"
            ),
        );
    }
    let mut findings = VariableFindings::default();
    for field in fields {
        let names = present
            .get(field.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if names.is_empty() && field.required {
            findings.record(
                field,
                format!(
                    "`{}` is not set: its usual variable is {}",
                    field.name,
                    field.names.first().map_or("", String::as_str)
                ),
            );
        }
        for name in names {
            check_variable(text, variables, field, name, &mut findings);
        }
        if have_different_values(variables, names) {
            findings.warnings.push(format!(
                "{} mean the same and have different values",
                names.join(" and ")
            ));
        }
    }
    findings.into_check(provider, import)
}

/// What there is to say about a provider's variables, by how bad it is.
#[derive(Debug, Default)]
struct VariableFindings {
    /// What the backend itself sends is broken by it.
    broken: Vec<String>,
    warnings: Vec<String>,
    /// Real secrets where placeholders should be.
    real_secrets: Vec<String>,
    correct: Vec<String>,
}

impl VariableFindings {
    fn record(&mut self, field: &BackendField<'_>, words: String) {
        if field.role == ValueRole::Replaced {
            self.warnings.push(words);
        } else {
            self.broken.push(words);
        }
    }

    fn into_check(self, provider: &str, import: &ImportCommand<'_>) -> Check {
        let evidence = |parts: &[&Vec<String>]| {
            format!(
                "{provider}: {}",
                parts
                    .iter()
                    .flat_map(|part| part.iter().cloned())
                    .collect::<Vec<_>>()
                    .join("; ")
            )
        };
        if !self.broken.is_empty() {
            let remedy =
                "correct these lines of the `.env` and restart the backend: it sends these values";
            return Check::failed(
                "variables",
                evidence(&[&self.broken, &self.warnings, &self.real_secrets]),
                remedy,
            );
        }
        if !self.warnings.is_empty() || !self.real_secrets.is_empty() {
            let remedy = if self.real_secrets.is_empty() {
                "correct these lines of the `.env`; the sidecar injects the vault's values anyway"
                    .to_owned()
            } else {
                let command = import.render("");
                format!(
                    "replace them with placeholders: {command}; then change the credentials that were in the file"
                )
            };
            return Check::warning(
                "variables",
                evidence(&[&self.warnings, &self.real_secrets]),
                remedy,
            );
        }
        Check::ok("variables", evidence(&[&self.correct]))
    }
}

/// The known names that the file has, assigned or not, in its order.
fn present_names<'a>(
    text: &str,
    variables: &[DotenvVariable],
    field: &BackendField<'a>,
) -> Vec<&'a str> {
    let there = |name: &&String| {
        variables.iter().any(|variable| variable.name == **name)
            || is_unassigned(text, variables, name)
    };
    field
        .names
        .iter()
        .filter(there)
        .map(String::as_str)
        .collect()
}

fn check_variable(
    text: &str,
    variables: &[DotenvVariable],
    field: &BackendField<'_>,
    name: &str,
    findings: &mut VariableFindings,
) {
    let faults = find_faults(text, variables, name);
    for fault in &faults {
        findings.record(field, format!("{name} {}", fault.description()));
    }
    let value = variables
        .iter()
        .rfind(|variable| variable.name == name)
        .map(|variable| variable.value.as_str());
    match value_origin(field, value) {
        ValueOrigin::Placeholder => findings.correct.push(format!("{name} has a placeholder")),
        ValueOrigin::VaultValue if field.role == ValueRole::Vault => {
            findings
                .correct
                .push(format!("{name} is the value that the vault reads"));
        }
        ValueOrigin::VaultValue if field.public => {
            findings.correct.push(format!("{name} names the account"));
        }
        ValueOrigin::VaultValue => findings
            .real_secrets
            .push(format!("{name} has the vault's real value")),
        ValueOrigin::Other if faults.is_empty() => findings.warnings.push(format!(
            "{name} has neither a placeholder nor the vault's value"
        )),
        ValueOrigin::Unknown => findings.correct.push(format!("{name} is set")),
        ValueOrigin::Other | ValueOrigin::Empty => {}
    }
}

fn value_origin(field: &BackendField<'_>, value: Option<&str>) -> ValueOrigin {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return ValueOrigin::Empty;
    };
    if field.placeholder == Some(value) && field.role != ValueRole::Sent {
        return ValueOrigin::Placeholder;
    }
    match field.vault.and_then(|vault| vault.expose(field.name)) {
        None => ValueOrigin::Unknown,
        Some(vault) if vault == value => ValueOrigin::VaultValue,
        Some(_) => ValueOrigin::Other,
    }
}

/// How `name` is written, from its last assignment.
pub(super) fn find_faults(
    text: &str,
    variables: &[DotenvVariable],
    name: &str,
) -> Vec<VariableFault> {
    let all: Vec<&DotenvVariable> = variables
        .iter()
        .filter(|variable| variable.name == name)
        .collect();
    let Some(variable) = all.last() else {
        return if is_unassigned(text, variables, name) {
            vec![VariableFault::Unassigned]
        } else {
            Vec::new()
        };
    };
    let mut faults = Vec::new();
    let mut note = |fault, holds| {
        if holds {
            faults.push(fault);
        }
    };
    let value = variable.value.as_str();
    note(VariableFault::Empty, value.is_empty());
    note(VariableFault::Duplicate, all.len() > 1);
    let after = text.get(variable.span.end..).unwrap_or_default();
    let is_quoted = variable.quote.is_some();
    let is_truncated = !is_quoted && !value.is_empty() && after.starts_with('#');
    note(VariableFault::Truncated, is_truncated);
    faults.extend(quote_fault(value, is_quoted));
    faults.extend(line_fault(text, variable));
    faults.extend(content_faults(variable));
    faults
}

/// Quotes that are part of the value.
fn quote_fault(value: &str, is_quoted: bool) -> Option<VariableFault> {
    let first = value.chars().next()?;
    let last = value.chars().next_back()?;
    let is_quote = |c: char| matches!(c, '"' | '\'' | '`');
    if is_quoted && value.len() > 1 && is_quote(first) && first == last {
        Some(VariableFault::NestedQuotes)
    } else if !is_quoted && (is_quote(first) || is_quote(last)) {
        Some(VariableFault::UnbalancedQuote)
    } else if matches!(first, '“' | '”' | '„' | '«' | '‘' | '’' | '‚') {
        Some(VariableFault::TypographicQuotes)
    } else {
        None
    }
}

/// More lines than one.
fn line_fault(text: &str, variable: &DotenvVariable) -> Option<VariableFault> {
    let written = text.get(variable.span.clone()).unwrap_or_default();
    if !has_line_break(&variable.value) {
        None
    } else if written.lines().skip(1).any(looks_like_assignment) {
        Some(VariableFault::SwallowedLines)
    } else {
        Some(VariableFault::LineBreak)
    }
}

fn content_faults(variable: &DotenvVariable) -> Vec<VariableFault> {
    let value = variable.value.as_str();
    let has_space = variable.quote.is_some()
        && !has_line_break(value)
        && !value.is_empty()
        && value.trim() != value;
    let is_interpolated = variable.quote != Some('\'') && interpolates(value);
    let mut faults = Vec::new();
    if is_interpolated {
        faults.push(VariableFault::Interpolated);
    }
    if has_space {
        faults.push(VariableFault::SurroundingSpace);
    }
    if value.ends_with([',', ';']) {
        faults.push(VariableFault::TrailingPunctuation);
    }
    faults
}

fn has_line_break(value: &str) -> bool {
    value.contains(['\n', '\r'])
}

/// A line begins with the name, and dotenv reads no assignment of it anywhere.
fn is_unassigned(text: &str, variables: &[DotenvVariable], name: &str) -> bool {
    let begins = |line: &str| {
        let line = line.trim_start_matches(['\u{feff}', ' ', '\t']);
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        line.strip_prefix(name)
            .is_some_and(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t']))
    };
    !variables.iter().any(|variable| variable.name == name) && text.lines().any(begins)
}

fn looks_like_assignment(line: &str) -> bool {
    let line = line
        .trim_start()
        .strip_prefix("export ")
        .unwrap_or(line.trim_start());
    line.split_once('=').is_some_and(|(name, _)| {
        let name = name.trim_end();
        name.chars()
            .next()
            .is_some_and(|c| c.is_ascii_uppercase() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    })
}

/// `$NAME` or `${NAME}`.
fn interpolates(value: &str) -> bool {
    let mut parts = value.split('$').skip(1);
    parts.any(|after| after.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic()))
}

/// Several names of one field with unlike values.
fn have_different_values(variables: &[DotenvVariable], names: &[&str]) -> bool {
    let value = |name: &&str| {
        variables
            .iter()
            .rfind(|variable| variable.name == **name)
            .map(|variable| variable.value.as_str())
    };
    let mut values = names.iter().filter_map(value);
    let first = values.next();
    values.any(|value| Some(value) != first)
}

#[cfg(test)]
mod tests;
