//! `sms-sidecar doctor`: why codes do not arrive, walked through from the config to the backend's own
//! side. Each check says what it saw and what to do; nothing is sent to a handset unless `--send-to`
//! asks for it, no credential that was refused is tried again, and no value is ever shown.

mod report;
mod send;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use futures_util::future::join_all;

use crate::cli::connect::connect;
use crate::cli::control;
use crate::cli::output;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::diagnosis::format_command;
use crate::doctor::Setup;
use crate::doctor::backend::check_backend;
use crate::doctor::check::{Check, exit_code};
use crate::doctor::routes::check_routes;
use crate::doctor::runner::{PROVIDER_TIMEOUT, Runner};
use crate::doctor::running::RunningSidecar;
use crate::doctor::send::{sample_text, send_check};
use crate::doctor::webhook::check_webhook;
use crate::problem::{Problem, ProblemReport, Severity};
use crate::provider::Provider;
use crate::sms::ProviderId;
use crate::status::{ControlReply, Notification, SendReport, SendRequest};
use crate::vault::CredentialCache;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The config file.
    #[arg(
        long,
        value_name = "FILE",
        value_parser = crate::cli::absolute_path,
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
    /// Only this provider, by its name in the config.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The backend's folder: checks its `.env` and `node_modules` too; values are compared, never shown.
    #[arg(long, value_name = "DIR")]
    backend: Option<PathBuf>,
    /// Send one message to this number, by the route that matches or through --provider only, and show each attempt. It goes to a real handset.
    #[arg(long, value_name = "NUMBER")]
    send_to: Option<String>,
    /// The text of that message. Default: the first text of a template, else a short test text.
    #[arg(long, value_name = "TEXT", requires = "send_to")]
    text: Option<String>,
    #[command(flatten)]
    webhook: WebhookArgs,
    /// Run unverified probes too, without asking first (they send no message).
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// The form of the report.
#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// Print failures and warnings only, and nothing if there are none; the exit code is the same.
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Print one JSON object: `exit_code`, `failed`, `warnings`, `checks`, `send`.
    #[arg(long)]
    json: bool,
}

/// Arguments of the check of `[notify]`.
#[derive(Debug, clap::Args)]
struct WebhookArgs {
    /// Post one test notification to the webhook of `[notify]`; without this flag nothing is posted.
    #[arg(long)]
    notify_test: bool,
}

const EXIT_CODES: &str = "Exit code: 0 nothing is wrong (a skipped check is not wrong); 1 warnings only; \
2 a check failed, or none could run.";

impl Args {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(run_checks(args));
    // A hanging name lookup or disk has its own thread, and nothing waits for it.
    runtime.shutdown_background();
    let (checks, sent) = found?;
    if args.report.json {
        output::verbatim(report::render_json(&checks, sent.as_ref()));
    } else if args.report.quiet {
        let shown = report::render_quiet(&checks);
        if !shown.is_empty() {
            output::line(shown);
        }
    } else {
        output::line(report::render_text(&checks));
    }
    Ok(ExitCode::from(exit_code(&checks)))
}

async fn run_checks(args: &Args) -> anyhow::Result<(Vec<Check>, Option<ControlReply<SendReport>>)> {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => return Ok((vec![unloadable_config_check(args, &report)], None)),
    };
    let providers = select_providers(args, &loaded)?;
    let confirmed = confirm_inferred_probes(args, &providers)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let credential_cache = Arc::new(CredentialCache::new(
        &loaded.vault,
        Arc::clone(&clock),
        Box::new(|_| {}),
    ));
    let file = args.config.display().to_string();
    let setup = build_setup(&file, &loaded);
    let running = connect(&loaded.listen, &file, loaded.fingerprint.digest()).await;
    let runner = Runner {
        setup: &setup,
        credential_cache: &credential_cache,
        clock: &*clock,
        running: &running,
        confirmed: &confirmed,
    };
    let mut checks = vec![config_check(args, &loaded), running.sidecar_check()];
    checks.extend(check_providers(args, &runner, &providers).await);
    // The checks of one provider say nothing about the other providers on its routes.
    if args.provider.is_none() {
        let routes = check_routes(&setup, &checks, &running);
        checks.extend(routes);
    }
    checks.extend(webhook_check(args, &loaded, &credential_cache, &*clock).await);
    if let Some(folder) = &args.backend {
        checks.extend(check_backend(folder, &runner, &providers).await);
    }
    let sent = send_requested_message(args, &loaded, &running).await?;
    checks.extend(sent.as_ref().map(|answer| message_check(args, answer)));
    for check in &mut checks {
        check.complete_commands(&file);
    }
    Ok((checks, sent))
}

/// The check of the webhook, unless only one provider is checked. None if the config names no webhook.
async fn webhook_check(
    args: &Args,
    loaded: &Config,
    credential_cache: &Arc<CredentialCache>,
    clock: &dyn Clock,
) -> Option<Check> {
    if args.provider.is_some() && !args.webhook.notify_test {
        return None;
    }
    let Some(settings) = &loaded.notify else {
        let help = "add `[notify]` with a `webhook`, or leave `--notify-test` out";
        return args
            .webhook
            .notify_test
            .then(|| Check::failed("webhook", "the config has no `[notify]`", help));
    };
    let now = clock.timestamp().to_string();
    let test = args.webhook.notify_test.then(|| Notification::test(&now));
    Some(check_webhook(settings, credential_cache, test.as_ref()).await)
}

fn build_setup<'a>(file: &'a str, loaded: &'a Config) -> Setup<'a> {
    Setup {
        file,
        proxy: &loaded.proxy,
        vault: &loaded.vault,
        listen: &loaded.listen,
        ca: loaded.ca.as_ref(),
        max_body: loaded.limits.max_body,
        hosts: config::intercepted_hosts(&loaded.proxy),
    }
}

/// Checks all providers at the same time; the checks keep the order of `providers`.
async fn check_providers(args: &Args, runner: &Runner<'_>, providers: &[&Provider]) -> Vec<Check> {
    print_progress(
        args,
        format_args!(
            "checking {} provider(s), each for at most {} s",
            providers.len(),
            PROVIDER_TIMEOUT.as_secs()
        ),
    );
    let checks = join_all(providers.iter().map(|provider| async {
        let checks = runner.check_provider(provider).await;
        print_progress(args, format_args!("{}: checked", provider.id));
        checks
    }))
    .await;
    checks.into_iter().flatten().collect()
}

/// The reply to the message of `--send-to`; none without that option.
async fn send_requested_message(
    args: &Args,
    loaded: &Config,
    running: &RunningSidecar,
) -> anyhow::Result<Option<ControlReply<SendReport>>> {
    let Some(to) = &args.send_to else {
        return Ok(None);
    };
    print_progress(args, format_args!("sending one message"));
    let text = match &args.text {
        Some(text) => text.clone(),
        None => sample_text(&loaded.proxy.templates),
    };
    let message = SendRequest::new(to, &text).with_provider(args.provider.as_deref());
    send::send(&args.config, loaded, running, message)
        .await
        .map(Some)
}

/// Prints the attempts, unless the output is JSON or quiet, and judges the result.
fn message_check(args: &Args, reply: &ControlReply<SendReport>) -> Check {
    if let ControlReply::Report(report) = reply
        && !args.report.json
        && !args.report.quiet
    {
        output::line(control::render_send(report));
    }
    send_check(reply, args.provider.as_deref())
}

/// On a terminal only, and neither with `--quiet` nor where a program reads.
fn print_progress(args: &Args, what: impl std::fmt::Display) {
    if !args.report.json && !args.report.quiet && std::io::stderr().is_terminal() {
        output::note(what);
    }
}

fn select_providers<'a>(args: &Args, loaded: &'a Config) -> anyhow::Result<Vec<&'a Provider>> {
    let all = &loaded.proxy.providers;
    let Some(name) = &args.provider else {
        return Ok(all.iter().collect());
    };
    let found: Vec<&Provider> = all
        .iter()
        .filter(|provider| provider.id.as_str() == name)
        .collect();
    if found.is_empty() {
        let known: Vec<&str> = all.iter().map(|provider| provider.id.as_str()).collect();
        bail!(
            "{} has no provider `{name}`; its providers are {}",
            args.config.display(),
            known.join(", ")
        );
    }
    Ok(found)
}

/// The providers whose inferred probes may run: all with `--yes`, else those confirmed on the terminal.
fn confirm_inferred_probes(
    args: &Args,
    providers: &[&Provider],
) -> anyhow::Result<BTreeSet<ProviderId>> {
    let may_ask =
        !args.report.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let mut agreed = BTreeSet::new();
    for provider in providers {
        let Some(probe) = provider
            .dialect
            .probes()
            .iter()
            .find(|probe| probe.inferred)
        else {
            continue;
        };
        let question = format!(
            "{}: send {} with its credential? It sends no message, but no test has shown that it proves anything.",
            provider.id,
            probe.endpoint()
        );
        if args.yes || may_ask && crate::cli::vault::confirm(&question)? {
            agreed.insert(provider.id.clone());
        }
    }
    Ok(agreed)
}

/// The config cannot be used: every problem is shown, and no other check can run.
fn unloadable_config_check(args: &Args, report: &ProblemReport) -> Check {
    if !args.report.json {
        output::note(report.render(std::io::stderr().is_terminal()));
    }
    summarize_problems(args, &report.problems, report.error_count())
}

fn config_check(args: &Args, loaded: &Config) -> Check {
    let mut problems = loaded.warnings.problems.clone();
    problems.extend(config::inspect(loaded));
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    summarize_problems(args, &problems, errors)
}

fn summarize_problems(args: &Args, problems: &[Problem], errors: usize) -> Check {
    let file = args.config.display();
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| problem.severity);
    let told: Vec<&str> = sorted
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    let evidence = told.join("; ");
    let check = format_command("check", &file.to_string());
    let remedy = format!("{check} shows each with its line");
    match (problems.is_empty(), errors) {
        (true, _) => Check::ok("config", format!("{file} is sound")),
        (false, 0) => Check::warning("config", evidence, remedy),
        (false, _) => Check::failed("config", evidence, remedy),
    }
}
