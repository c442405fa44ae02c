//! `sms-sidecar dialects`: the services with a description, the evidence behind each, and the
//! placeholders that a backend's `.env` may hold. Shows descriptions, never a vault's values.

mod causes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::output;
use crate::config::read_descriptions;
use crate::dialect::{Catalog, Dialect, FieldSpec, Probe, ProbeSubject, SourceFile};
use crate::problem::{ProblemReport, SourceText, suggest};

/// A description defines one service's API. Exit code: 0 shown; 1 shown, but a file of the folder has
/// an error; 2 failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder of your own descriptions, which extend or override the built-in ones.
    #[arg(long, value_name = "DIR", global = true)]
    dialects: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<DialectsAction>,
}

#[derive(Debug, clap::Subcommand)]
enum DialectsAction {
    /// List all descriptions (the default).
    List,
    /// Show one description: fields, placeholders for the backend's .env, hosts, operations, limits.
    Show {
        /// The description's name, as the list shows it.
        name: String,
        /// Show which reply has which cause, how certain, and what settles an ambiguous one.
        #[arg(long)]
        causes: bool,
    },
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sources = load_sources(args.dialects.as_deref())?;
    let (catalog, problems) = Catalog::load(&sources);
    let texts = sources.into_iter().map(|file| SourceText {
        file: file.name,
        text: file.text,
        is_dialect: true,
    });
    let report = ProblemReport {
        texts: texts.collect(),
        problems,
    };
    if !report.problems.is_empty() {
        output::note(&report);
    }
    let shown = match &args.action {
        None | Some(DialectsAction::List) => render_list(&catalog, args.json),
        Some(DialectsAction::Show { name, causes }) => {
            let dialect = catalog
                .get(name)
                .with_context(|| unknown_dialect(name, &catalog))?;
            match (causes, args.json) {
                (false, true) => pretty_json(&dialect_json(dialect)),
                (false, false) => render_dialect(dialect),
                (true, true) => pretty_json(&causes::causes_json(dialect)),
                (true, false) => causes::render_causes(dialect),
            }
        }
    };
    if args.json {
        output::verbatim(shown.trim_end());
    } else {
        output::line(shown.trim_end());
    }
    Ok(if report.error_count() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// The built-in descriptions, and those of a folder.
pub(crate) fn load_sources(folder: Option<&Path>) -> anyhow::Result<Vec<SourceFile>> {
    let mut sources = Catalog::built_in_sources();
    let Some(folder) = folder else {
        return Ok(sources);
    };
    let (found, errors) = read_descriptions(folder);
    if let Some(error) = errors.into_iter().next() {
        return Err(anyhow::Error::new(error).context(folder.display().to_string()));
    }
    sources.extend(found);
    Ok(sources)
}

/// The error for a name without a description, with a suggestion.
pub(crate) fn unknown_dialect(name: &str, catalog: &Catalog) -> String {
    let known: Vec<&str> = catalog
        .iter()
        .map(|dialect| dialect.name.as_str())
        .collect();
    format!("unknown dialect `{name}`; {}", suggest(name, &known))
}

/// All descriptions, as a table or as an array of objects.
pub(crate) fn render_list(catalog: &Catalog, as_json: bool) -> String {
    if as_json {
        return pretty_json(&Value::Array(
            catalog
                .iter()
                .map(|dialect| dialect_json(dialect))
                .collect(),
        ));
    }
    let head = ["NAME", "EVIDENCE", "FROM", "CREDENTIAL", "HOSTS"].map(str::to_owned);
    let rows = catalog.iter().map(|dialect| {
        [
            dialect.name.clone(),
            evidence_label(dialect),
            origin_label(dialect),
            join_names(
                dialect
                    .credential_fields()
                    .iter()
                    .map(|field| field.name.as_str()),
            ),
            join_names(dialect.hosts()),
        ]
    });
    render_table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// One description, for programs.
fn dialect_json(dialect: &Dialect) -> Value {
    json!({
        "name": dialect.name,
        "evidence": dialect.evidence().as_str(),
        "experimental": dialect.requires_experimental(),
        "source": origin_label(dialect),
        "extends": dialect.extends(),
        "overrides": dialect.overrides(),
        "sources": dialect.sources(),
        "base_url": dialect.base_url(),
        "hosts": dialect.hosts().collect::<Vec<_>>(),
        "credential_fields": dialect.credential_fields().iter().map(field_json).collect::<Vec<_>>(),
        "params": dialect.params().iter().map(|param| json!({ "name": param.name, "default": param.default })).collect::<Vec<_>>(),
        "token_login": dialect.requires_login(),
        "limits": { "text": dialect.text_limit(), "recipients": dialect.recipient_prefixes(), "batch": dialect.batch_limit() },
        "operations": dialect.operations().iter().map(|named| json!({ "endpoint": named.endpoint, "kind": named.kind.as_str(), "fields": named.fields })).collect::<Vec<_>>(),
        "probes": all_probes(dialect).map(|probe| json!({ "about": probe.about.as_str(), "endpoint": probe.endpoint(), "inferred": probe.inferred })).collect::<Vec<_>>(),
        "not_reported": dialect.unprobed_subjects().into_iter().map(ProbeSubject::as_str).collect::<Vec<_>>(),
    })
}

fn field_json(field: &FieldSpec) -> Value {
    json!({
        "name": field.name,
        "public": field.public,
        "required": field.required,
        "env": field.env,
        "placeholder": field.placeholder,
        "pattern": field.pattern.as_ref().map(regex::Regex::as_str),
    })
}

/// One description, for people; the lines at the end go into the backend's .env.
fn render_dialect(dialect: &Dialect) -> String {
    let mut lines = vec![format!(
        "{}: {}, evidence {}",
        dialect.name,
        origin_label(dialect),
        evidence_label(dialect)
    )];
    lines.extend(describe_origin(dialect));
    lines.push(row("hosts", &join_names(dialect.hosts())));
    for field in dialect.credential_fields() {
        lines.push(row("credential", &describe_field(field)));
    }
    for param in dialect.params() {
        lines.push(row(
            "param",
            &param
                .default
                .as_ref()
                .map_or(param.name.clone(), |default| {
                    format!("{} (default {default})", param.name)
                }),
        ));
    }
    lines.extend(describe_operations(dialect));
    lines.extend(placeholder_lines(dialect));
    lines.join("\n")
}

/// The sources, the parent, and the addresses.
fn describe_origin(dialect: &Dialect) -> Vec<String> {
    let mut lines = Vec::new();
    for source in dialect.sources() {
        lines.push(row("", source));
    }
    if let Some(parent) = dialect.extends() {
        lines.push(row("extends", parent));
    }
    if let Some(overrides) = dialect.overrides() {
        lines.push(row("overrides", overrides));
    }
    lines.push(row("service URL", dialect.base_url()));
    lines.push(row(
        "base URL",
        &format!(
            "http://127.0.0.1:8125/{}{} instead, for the base-URL entrypoint",
            dialect.name,
            base_path(dialect.base_url())
        ),
    ));
    lines
}

/// The limits, the operations, and the probes.
fn describe_operations(dialect: &Dialect) -> Vec<String> {
    let mut lines = Vec::new();
    for limit in describe_limits(dialect) {
        lines.push(row("limit", &limit));
    }
    for named in dialect.operations() {
        let fields = match named.fields.as_slice() {
            [] => String::new(),
            fields => format!(" ({})", fields.join(", ")),
        };
        lines.push(row(
            named.kind.as_str(),
            &format!("{}{fields}", named.endpoint),
        ));
    }
    for probe in all_probes(dialect) {
        let note = if probe.inferred {
            " (unverified: runs only with your consent)"
        } else {
            ""
        };
        lines.push(row(
            "probe",
            &format!("{}: {}{note}", probe.about.as_str(), probe.endpoint()),
        ));
    }
    let unreported: Vec<&str> = dialect
        .unprobed_subjects()
        .into_iter()
        .map(ProbeSubject::as_str)
        .collect();
    if !unreported.is_empty() {
        lines.push(row(
            "not probed",
            &format!("{} (no probe shows it; a send does)", unreported.join(", ")),
        ));
    }
    lines
}

/// Every probe.
fn all_probes(dialect: &Dialect) -> impl Iterator<Item = &Probe> {
    dialect
        .probes()
        .iter()
        .chain(dialect.sender_probe())
        .chain(dialect.template_probe())
}

/// The path of a URL: `/broker-api` of `https://host/broker-api`.
fn base_path(url: &str) -> &str {
    url.split_once("://")
        .and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)))
        .unwrap_or_default()
}

fn describe_field(field: &FieldSpec) -> String {
    let kind = if field.public { "not secret" } else { "secret" };
    let optional = if field.required { "" } else { ", optional" };
    let pattern = field
        .pattern
        .as_ref()
        .map(|pattern| format!(", matches {}", pattern.as_str()))
        .unwrap_or_default();
    format!("{} ({kind}{optional}{pattern})", field.name)
}

fn describe_limits(dialect: &Dialect) -> Vec<String> {
    let text = dialect
        .text_limit()
        .map(|count| format!("{count} characters"));
    let batch = dialect
        .batch_limit()
        .map(|count| format!("{count} messages in a batch"));
    let prefixes = join_names(dialect.recipient_prefixes().iter().map(String::as_str));
    let recipients = (!prefixes.is_empty()).then(|| format!("recipients {prefixes}"));
    [text, batch, recipients].into_iter().flatten().collect()
}

/// The placeholders for the backend's `.env` once the credentials are in the vault.
fn placeholder_lines(dialect: &Dialect) -> Vec<String> {
    let line = |field: &FieldSpec| {
        Some(format!(
            "  {}={}",
            field.env.first()?,
            field.placeholder.as_ref()?
        ))
    };
    let lines: Vec<String> = dialect
        .credential_fields()
        .iter()
        .filter_map(line)
        .collect();
    let head = (!lines.is_empty()).then(|| "placeholders for the backend's .env:".to_owned());
    head.into_iter().chain(lines).collect()
}

fn row(label: &str, text: &str) -> String {
    format!("  {label:<11} {text}")
}

fn origin_label(dialect: &Dialect) -> String {
    if dialect.is_built_in() {
        "built-in".into()
    } else {
        dialect.origin().to_owned()
    }
}

fn evidence_label(dialect: &Dialect) -> String {
    let note = if dialect.requires_experimental() {
        " (experimental)"
    } else {
        ""
    };
    format!("{}{note}", dialect.evidence().as_str())
}

fn join_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(" ")
}

fn pretty_json(value: &Value) -> String {
    format!("{value:#}")
}

/// Aligns the cells in columns as wide as their widest cell.
pub(crate) fn render_table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, text: &str) -> Catalog {
        let mut sources = Catalog::built_in_sources();
        sources.push(SourceFile {
            name: name.into(),
            text: text.into(),
            built_in: false,
        });
        let (catalog, problems) = Catalog::load(&sources);
        assert!(problems.is_empty(), "{problems:?}");
        catalog
    }

    fn own(name: &str, evidence: &str) -> Catalog {
        let text = format!(
            "dialect = \"{name}\"\nextends = \"twilio\"\nevidence = \"{evidence}\"\nsources = []\nhosts = []\nbase_url = \"https://own.example\"\n"
        );
        with("/etc/sms-sidecar/dialects/own.toml", &text)
    }

    #[test]
    fn the_list_names_every_description_with_its_evidence() {
        let listed = render_list(&own("own", "memory"), false);
        let line = |name: &str| {
            listed
                .lines()
                .find(|line| line.split_whitespace().next() == Some(name))
                .unwrap()
                .to_owned()
        };
        assert!(
            line("playmobile").contains("clients")
                && line("playmobile").contains("username password"),
            "{listed}"
        );
        assert!(
            line("twilio").contains("vendor")
                && line("twilio").contains("built-in")
                && line("twilio").contains("api.*.twilio.com"),
            "{listed}"
        );
        assert!(
            line("own").contains("memory (experimental)")
                && line("own").contains("/etc/sms-sidecar/dialects/own.toml"),
            "{listed}"
        );
    }

    #[test]
    fn the_json_list_is_an_array_of_objects_with_names() {
        let catalog = Catalog::built_in();
        let listed: Value = serde_json::from_str(&render_list(&catalog, true)).unwrap();
        let listed = listed.as_array().unwrap();
        let names: Vec<&str> = listed
            .iter()
            .map(|dialect| dialect["name"].as_str().unwrap())
            .collect();
        let expected: Vec<&str> = catalog
            .iter()
            .map(|dialect| dialect.name.as_str())
            .collect();
        assert_eq!(names, expected);
        let twilio = listed
            .iter()
            .find(|dialect| dialect["name"] == "twilio")
            .unwrap();
        assert_eq!(
            twilio["credential_fields"][0]["env"][0],
            "TWILIO_ACCOUNT_SID"
        );
        assert_eq!(
            (&twilio["evidence"], &twilio["source"]),
            (&json!("vendor"), &json!("built-in"))
        );
        assert!(
            twilio["hosts"]
                .as_array()
                .unwrap()
                .contains(&json!("api.twilio.com"))
        );
    }

    #[test]
    fn show_lists_placeholders_limits_and_probes() {
        let shown = render_dialect(Catalog::built_in().get("twilio").unwrap());
        for line in [
            "  TWILIO_ACCOUNT_SID=AC00000000000000000000000000000000",
            "  TWILIO_AUTH_TOKEN=00000000000000000000000000000000",
            "  limit       1600 characters",
            "  base URL    http://127.0.0.1:8125/twilio/2010-04-01 instead, for the base-URL entrypoint",
            "  probe       balance: GET /Accounts/{credential.account_sid}/Balance.json",
            "  probe       sender: GET /Accounts/{credential.account_sid}/IncomingPhoneNumbers.json",
            "  not probed  template (no probe shows it; a send does)",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        assert!(
            shown.contains("https://www.twilio.com/docs/api/errors")
                && shown.contains("auth_token (secret, matches ^[0-9a-f]{32}$)"),
            "{shown}"
        );
    }

    #[test]
    fn every_placeholder_matches_its_fields_pattern() {
        for dialect in Catalog::built_in().iter() {
            for field in dialect.credential_fields() {
                let placeholder = field.placeholder.as_deref().unwrap_or_default();
                assert!(
                    !placeholder.is_empty(),
                    "{} {} has no placeholder",
                    dialect.name,
                    field.name
                );
                let fits = field
                    .pattern
                    .as_ref()
                    .is_none_or(|pattern| pattern.is_match(placeholder));
                assert!(
                    fits,
                    "{} {}: a client that checks the pattern rejects {placeholder}",
                    dialect.name, field.name
                );
                assert!(
                    !field.env.is_empty(),
                    "{} {} has no variable",
                    dialect.name,
                    field.name
                );
            }
        }
    }

    #[test]
    fn an_override_of_a_built_in_description_is_shown() {
        let catalog = own("twilio", "vendor");
        let twilio = catalog.get("twilio").unwrap();
        assert!(
            render_dialect(twilio).contains("overrides   config/dialects/twilio.toml"),
            "{}",
            render_dialect(twilio)
        );
        assert_eq!(
            dialect_json(twilio)["overrides"],
            "config/dialects/twilio.toml"
        );
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        assert!(
            unknown_dialect("playmobil", &Catalog::built_in())
                .contains("did you mean `playmobile`?")
        );
    }

    #[test]
    fn list_is_the_default_action() {
        use clap::Parser;
        #[derive(clap::Parser)]
        struct DialectsCommandLine {
            #[command(flatten)]
            args: Args,
        }
        let line = DialectsCommandLine::try_parse_from(["dialects", "list", "--json"]).unwrap();
        assert!(matches!(line.args.action, Some(DialectsAction::List)) && line.args.json);
        assert!(
            DialectsCommandLine::try_parse_from(["dialects"])
                .unwrap()
                .args
                .action
                .is_none()
        );
    }
}
