//! `sms-sidecar dialects`: which services are known, on what evidence, and what a backend's
//! `.env` may hold in place of real credentials. Shows descriptions, never a vault's values.

mod causes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::output;
use crate::config::read_descriptions;
use crate::dialect::{Catalog, Dialect, FieldSpec, Probe, ProbeSubject, SourceFile};
use crate::problem::{ProblemReport, SourceText, suggest};

/// Which descriptions, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder of your own descriptions, laid over the built-in ones.
    #[arg(long, value_name = "DIR", global = true)]
    dialects: Option<PathBuf>,
    /// For programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<DialectsAction>,
}

#[derive(Debug, clap::Subcommand)]
enum DialectsAction {
    /// List all of them, as without a word.
    List,
    /// One description: fields, placeholders for the backend's .env, hosts, what passes, limits.
    Show {
        /// As the list names it.
        name: String,
        /// Which reply means what, how certain, and what settles a doubt.
        #[arg(long)]
        causes: bool,
    },
}

/// 0 shown; 1 shown, but a file of the folder has a mistake.
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
    output::line(shown.trim_end());
    Ok(if report.error_count() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

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

pub(crate) fn unknown_dialect(name: &str, catalog: &Catalog) -> String {
    let known: Vec<&str> = catalog
        .iter()
        .map(|dialect| dialect.name.as_str())
        .collect();
    format!(
        "no description is named `{name}`; {}",
        suggest(name, &known)
    )
}

/// All of them: a table, or an array of objects.
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

/// Everything about one, for programs.
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
        "operations": dialect.operations().iter().map(|(call, does)| json!({ "endpoint": call, "kind": does.as_str() })).collect::<Vec<_>>(),
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

/// Everything about one, for people; the lines at the end go into the backend's .env.
fn render_dialect(dialect: &Dialect) -> String {
    let mut lines = vec![format!(
        "{}: {}, evidence {}",
        dialect.name,
        origin_label(dialect),
        evidence_label(dialect)
    )];
    for source in dialect.sources() {
        lines.push(row("", source));
    }
    if let Some(like) = dialect.extends() {
        lines.push(row("extends", like));
    }
    if let Some(overrides) = dialect.overrides() {
        lines.push(row("overrides", overrides));
    }
    lines.push(row("goes to", dialect.base_url()));
    lines.push(row(
        "base URL",
        &format!(
            "http://127.0.0.1:8125/{}{} in its place, at the base-URL entrypoint",
            dialect.name,
            base_path(dialect.base_url())
        ),
    ));
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

/// What may be sent, what passes with our credentials, what is asked to settle a cause.
fn describe_operations(dialect: &Dialect) -> Vec<String> {
    let mut lines = Vec::new();
    for limit in describe_limits(dialect) {
        lines.push(row("limit", &limit));
    }
    for (call, does) in dialect.operations() {
        lines.push(row(does.as_str(), &call));
    }
    for probe in all_probes(dialect) {
        let note = if probe.inferred {
            " (never seen to work: you are asked before it is used)"
        } else {
            ""
        };
        lines.push(row(
            "probe",
            &format!("{}: {}{note}", probe.about.as_str(), probe.endpoint()),
        ));
    }
    let silent: Vec<&str> = dialect
        .unprobed_subjects()
        .into_iter()
        .map(ProbeSubject::as_str)
        .collect();
    if !silent.is_empty() {
        lines.push(row(
            "not told",
            &format!(
                "{} (no free call tells: it shows in a send)",
                silent.join(", ")
            ),
        ));
    }
    lines
}

/// All that can be asked for free.
fn all_probes(dialect: &Dialect) -> impl Iterator<Item = &Probe> {
    dialect
        .probes()
        .iter()
        .chain(dialect.sender_probe())
        .chain(dialect.template_probe())
}

/// `/broker-api` of `https://host/broker-api`: it stays, only scheme and host are replaced.
fn base_path(url: &str) -> &str {
    url.split_once("://")
        .and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)))
        .unwrap_or_default()
}

fn describe_field(field: &FieldSpec) -> String {
    let kind = if field.public {
        "may be shown"
    } else {
        "secret"
    };
    let needed = if field.required { "" } else { ", optional" };
    let shape = field
        .pattern
        .as_ref()
        .map(|pattern| format!(", like {}", pattern.as_str()))
        .unwrap_or_default();
    format!("{} ({kind}{needed}{shape})", field.name)
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

/// What the backend's own configuration holds once the credentials are in the vault.
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
    let head =
        (!lines.is_empty()).then(|| "for the backend's .env, by the names it uses:".to_owned());
    head.into_iter().chain(lines).collect()
}

fn row(name: &str, what: &str) -> String {
    format!("  {name:<11} {what}")
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

/// Columns as wide as their widest word; the last one as it comes.
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
    fn programs_read_an_array_of_objects_with_names() {
        let listed: Value = serde_json::from_str(&render_list(&Catalog::built_in(), true)).unwrap();
        let names: Vec<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "aws-sns",
                "eskiz",
                "infobip",
                "plain",
                "playmobile",
                "sayqal",
                "smsc",
                "twilio",
                "vonage"
            ]
        );
        let twilio = &listed[7];
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
    fn one_shows_what_the_env_file_may_hold_and_what_passes() {
        let shown = render_dialect(Catalog::built_in().get("twilio").unwrap());
        for line in [
            "  TWILIO_ACCOUNT_SID=AC00000000000000000000000000000000",
            "  TWILIO_AUTH_TOKEN=00000000000000000000000000000000",
            "  limit       1600 characters",
            "  base URL    http://127.0.0.1:8125/twilio/2010-04-01 in its place, at the base-URL entrypoint",
            "  probe       balance: GET /Accounts/{credential.account_sid}/Balance.json",
            "  probe       sender: GET /Accounts/{credential.account_sid}/IncomingPhoneNumbers.json",
            "  not told    template (no free call tells: it shows in a send)",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        assert!(
            shown.contains("https://www.twilio.com/docs/api/errors")
                && shown.contains("auth_token (secret, like ^[0-9a-f]{32}$)"),
            "{shown}"
        );
    }

    #[test]
    fn a_placeholder_has_the_shape_its_field_asks_for() {
        for dialect in Catalog::built_in().iter() {
            for field in dialect.credential_fields() {
                let placeholder = field.placeholder.as_deref().unwrap_or_else(|| {
                    panic!("{} {} has no placeholder", dialect.name, field.name)
                });
                let fits = field
                    .pattern
                    .as_ref()
                    .is_none_or(|pattern| pattern.is_match(placeholder));
                assert!(
                    fits,
                    "{} {}: a client that checks the shape would refuse {placeholder}",
                    dialect.name, field.name
                );
                assert!(
                    !field.env.is_empty(),
                    "{} {} is known by no variable",
                    dialect.name,
                    field.name
                );
            }
        }
    }

    #[test]
    fn one_that_stands_in_for_a_built_in_says_so() {
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
    fn a_misspelt_name_is_guessed() {
        assert!(
            unknown_dialect("playmobil", &Catalog::built_in())
                .contains("did you mean `playmobile`?")
        );
    }

    #[test]
    fn the_list_can_be_asked_for_by_its_name() {
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
