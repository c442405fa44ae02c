//! `sms-sidecar diagnose`: a pasted reply explained offline, by the very functions that explain it in
//! the pipeline. Sends no request and reads no vault; what only the pipeline can know (its clock beside the
//! reply's date, a credential's history) is left out. It rejects input that cannot be a reply.

mod pasted;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::cli::layout::render_steps;
use crate::cli::output;
use crate::cli::{dialects, load_config};
use crate::config::Config;
use crate::diagnosis::{Diagnosis, FailedAttempt, remedy_steps};
use crate::dialect::{Catalog, Classification, Dialect, Reply};
use crate::problem::suggest;
use crate::provider::Provider;
use crate::provider::diagnose::{
    AccountHistory, RemedyContext, ReplyFacts, diagnose_for_dialect, diagnosis_input, narrow,
};
use crate::sms::{AttemptKind, Certainty, ProviderId};

/// No reply of a service is longer; the pipeline's own limit.
const MAX_BODY: u64 = 1 << 20;
/// The placeholder for the message's reference, where a service gives no id of its own.
const REFERENCE_PLACEHOLDER: &str = "reference";

/// For a body that holds no code that anybody could read.
const NOT_JSON_NOTE: &str =
    "the body is not JSON, so no code was read in it; paste the body alone, as the service sent it";

/// A reply, and who gave it.
#[derive(Debug, clap::Args)]
#[command(
    about = "Explain why a service rejected a request, from its reply on standard input",
    after_help = "Exit code: 0 explained, even if the reply is a success; 2 failed (bad arguments, unknown dialect, more than 1 MiB)."
)]
pub(crate) struct Args {
    /// The dialect of the service that replied; `sms-sidecar dialects` lists them. Default: that of --provider.
    #[arg(long, value_name = "NAME")]
    dialect: Option<String>,
    /// The request that was sent: a message, a login, or a query about the account.
    #[arg(long, value_enum, default_value = "send")]
    operation: DiagnosedOperation,
    /// The reply's HTTP status. Default: that of the pasted head, as `curl -i` prints it.
    #[arg(long, value_name = "CODE", value_parser = parse_status)]
    status: Option<StatusCode>,
    /// A header of the reply, as "Name: value"; may be repeated. Default: those of the pasted head.
    #[arg(long, value_name = "K: V", value_parser = parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Write the remedy for this provider: with its vault entry and its place in the config.
    #[arg(long, value_name = "NAME", requires = "config")]
    provider: Option<String>,
    /// The config that has the provider.
    #[arg(long, value_name = "FILE", value_parser = crate::cli::absolute_path, requires = "provider")]
    config: Option<PathBuf>,
    /// A folder of your own descriptions, which extend or override the built-in ones.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    dialects: Option<PathBuf>,
    /// Print one JSON object: `outcome`, `cause`, `certainty`, `evidence`, `alternatives`, `remedy`, `steps`.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DiagnosedOperation {
    Send,
    Login,
    /// Any account call or probe; `accepted` means that it was answered.
    Balance,
}

/// 0 explained.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(load_config).transpose()?;
    let provider = config
        .as_ref()
        .zip(args.provider.as_deref())
        .map(|(config, name)| find_provider(config, name))
        .transpose()?;
    let dialect = resolve_dialect(args, config.as_ref(), provider)?;
    let reply = read_reply(args)?;
    let classification = classify_reply(&dialect, args.operation, &reply)?;
    if classification.code.is_none()
        && classification.outcome.cause().is_some()
        && pasted::is_not_json(&reply.body)
    {
        output::note(NOT_JSON_NOTE);
    }
    let diagnosis = explain(
        &classification,
        args.operation,
        &reply,
        |failed| match provider.zip(config.as_ref()) {
            Some((provider, config)) => diagnose_for_provider(failed, provider, config, args),
            None => diagnose_for_dialect(&dialect, failed),
        },
    );
    if args.json {
        output::verbatim(render_json(&classification, diagnosis.as_ref()));
    } else {
        output::line(render_text(&classification, diagnosis.as_ref()));
    }
    Ok(ExitCode::SUCCESS)
}

fn find_provider<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a Provider> {
    let id = ProviderId::new(name);
    let names: Vec<&str> = config
        .proxy
        .providers
        .iter()
        .map(|provider| provider.id.as_str())
        .collect();
    let found = config
        .proxy
        .providers
        .iter()
        .find(|provider| provider.id == id);
    found.with_context(|| {
        format!(
            "the config has no provider `{name}`; {}",
            suggest(name, &names)
        )
    })
}

fn resolve_dialect(
    args: &Args,
    config: Option<&Config>,
    provider: Option<&Provider>,
) -> anyhow::Result<Arc<Dialect>> {
    let own = provider.map(|provider| Arc::clone(&provider.dialect));
    let catalog = || -> anyhow::Result<Catalog> {
        Ok(match config {
            Some(config) => config.proxy.catalog.clone(),
            None => Catalog::load(&dialects::load_sources(args.dialects.as_deref())?).0,
        })
    };
    let Some(name) = &args.dialect else {
        if let Some(own) = own {
            return Ok(own);
        }
        let catalog = catalog()?;
        let known: Vec<&str> = catalog
            .iter()
            .map(|dialect| dialect.name.as_str())
            .collect();
        bail!(
            "the service of the reply is not known; add --dialect or --provider; the dialects are {}",
            known.join(", ")
        );
    };
    if let Some(own) = own {
        if own.name != *name {
            bail!(
                "the dialect of the provider is {}, not {name}; remove --dialect",
                own.name
            );
        }
        return Ok(own);
    }
    let catalog = catalog()?;
    catalog
        .get(name)
        .cloned()
        .with_context(|| dialects::unknown_dialect(name, &catalog))
}

fn classify_reply(
    dialect: &Dialect,
    operation: DiagnosedOperation,
    reply: &Reply,
) -> anyhow::Result<Classification> {
    Ok(match operation {
        DiagnosedOperation::Send => {
            dialect.classify(AttemptKind::Send, reply, REFERENCE_PLACEHOLDER)
        }
        DiagnosedOperation::Login if dialect.requires_login() => {
            dialect.classify(AttemptKind::Login, reply, REFERENCE_PLACEHOLDER)
        }
        DiagnosedOperation::Login => bail!(
            "{} has no login: its credential is in every message; remove --operation",
            dialect.name
        ),
        DiagnosedOperation::Balance => dialect.classify_account_reply(reply),
    })
}

/// The diagnosis of the reply; none: it was accepted.
fn explain(
    classification: &Classification,
    operation: DiagnosedOperation,
    reply: &Reply,
    diagnose: impl Fn(&FailedAttempt<'_>) -> Diagnosis,
) -> Option<Diagnosis> {
    let kind = match operation {
        DiagnosedOperation::Send => AttemptKind::Send,
        DiagnosedOperation::Login => AttemptKind::Login,
        DiagnosedOperation::Balance => AttemptKind::Probe,
    };
    let status = Some(reply.status.as_u16());
    let mut narrowed = classification.clone();
    let evidence = narrow(&mut narrowed, reply, &ReplyFacts::default());
    let failed = diagnosis_input(kind, classification, status, &evidence)?;
    Some(diagnose(&failed))
}

fn diagnose_for_provider(
    failed: &FailedAttempt<'_>,
    provider: &Provider,
    config: &Config,
    args: &Args,
) -> Diagnosis {
    let file = args.config.as_ref().map(|file| file.display().to_string());
    RemedyContext::new(
        provider,
        &config.vault,
        file.as_deref().unwrap_or_default(),
        config.listen.control.is_some(),
    )
    .diagnose(failed, AccountHistory::default())
}

fn render_json(classification: &Classification, diagnosis: Option<&Diagnosis>) -> Value {
    let outcome = classification.outcome.as_str();
    match diagnosis {
        None => json!({
            "outcome": outcome, "cause": null, "certainty": Certainty::Certain.as_str(),
            "evidence": "the reply has the service's proof of success", "alternatives": [], "remedy": null, "steps": [],
        }),
        Some(diagnosis) => json!({
            "outcome": outcome, "cause": diagnosis.cause.as_str(), "certainty": diagnosis.certainty.as_str(), "evidence": diagnosis.evidence,
            "alternatives": diagnosis.alternatives.iter().map(|cause| cause.as_str()).collect::<Vec<_>>(), "remedy": diagnosis.remedy,
            "steps": remedy_steps(&diagnosis.remedy),
        }),
    }
}

/// The same for people.
fn render_text(classification: &Classification, diagnosis: Option<&Diagnosis>) -> String {
    let row = |name: &str, what: &str| format!("{name:<9} {what}");
    let Some(diagnosis) = diagnosis else {
        return row(
            "outcome",
            "accepted: the reply has the service's proof of success",
        );
    };
    let or = if diagnosis.alternatives.is_empty() {
        String::new()
    } else {
        format!(", or {}", diagnosis.alternatives_text())
    };
    let mut rows = vec![
        row("outcome", classification.outcome.as_str()),
        row(
            "cause",
            &format!(
                "{} ({}{or}): {}",
                diagnosis.cause,
                diagnosis.certainty.as_str(),
                diagnosis.cause.meaning()
            ),
        ),
        row("evidence", &diagnosis.evidence),
    ];
    let labels = std::iter::once("remedy").chain(std::iter::repeat(""));
    let steps = render_steps(&remedy_steps(&diagnosis.remedy));
    rows.extend(labels.zip(steps).map(|(label, step)| row(label, &step)));
    rows.join("\n")
}

/// What was pasted, and what the options say of it.
fn read_reply(args: &Args) -> anyhow::Result<Reply> {
    let pasted = pasted::parse(&read_body()?);
    let status = args
        .status
        .or(pasted.status)
        .context("the HTTP status is not known; add --status CODE, or paste the whole reply with its head, as `curl -i` shows it")?;
    let headers = if args.header.is_empty() {
        pasted.headers
    } else {
        header_map(&args.header)
    };
    Ok(Reply {
        status,
        headers,
        body: pasted.body,
    })
}

fn header_map(given: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(name, value.clone());
    }
    headers
}

fn read_body() -> anyhow::Result<Bytes> {
    let input = std::io::stdin();
    if input.is_terminal() {
        output::note(
            "paste the body of the reply, or the whole output of `curl -i`, then press Ctrl-D",
        );
    }
    let mut body = Vec::new();
    input
        .lock()
        .take(MAX_BODY + 1)
        .read_to_end(&mut body)
        .context("the reply's body cannot be read from standard input")?;
    if body.len() as u64 > MAX_BODY {
        bail!(
            "the reply's body on standard input is longer than 1 MiB; paste the reply to one request"
        );
    }
    Ok(body.into())
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    let code = text
        .parse::<u16>()
        .ok()
        .filter(|code| (100..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok());
    code.ok_or_else(|| "an HTTP status is a number from 100 to 599".to_owned())
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is a name, a colon and a value: \"Retry-After: 5\"")?;
    let name = HeaderName::try_from(name.trim())
        .map_err(|_| "not a valid header; write it like \"Retry-After: 5\"")?;
    let value = HeaderValue::try_from(value.trim())
        .map_err(|_| "a header's value is one line of plain text")?;
    Ok((name, value))
}
