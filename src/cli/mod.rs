//! The command line: one file a subcommand, each a `run(args)` that returns the exit code.
//! 0 done, 1 the thing asked about is not in order, 2 it could not be done.

mod ca;
mod check;
mod control;
mod demo;
mod diagnose;
mod dialects;
pub(crate) mod doctor;
mod output;
mod run;
mod status;
mod vault;
mod wrap;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};

/// Version and commit, as `--version` and `build_info` show them.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("SMS_SIDECAR_COMMIT"),
    ")"
);

#[derive(Debug, Parser)]
#[command(name = "sms-sidecar", version = VERSION, about, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with the config, with file, line and caret.
    Check(check::Args),
    /// Make, show or renew the local CA that ends TLS for the providers' hosts.
    Ca(ca::Args),
    /// Say why codes do not arrive: config, vault, way, account, backend, each with what to do.
    Doctor(doctor::Args),
    /// List the services that are known, or show one.
    Dialects(dialects::Args),
    /// Say why a service refused, from a reply pasted on standard input.
    Diagnose(diagnose::Args),
    /// Serve: the doors, the admin address, the control socket.
    Run(run::Args),
    /// Keep credentials in the encrypted vault.
    Vault(vault::Args),
    /// See it work: the main job on loopback, no keys, no network, a few seconds.
    Demo(demo::Args),
    /// Send one message through the running sidecar, and show each attempt.
    Send(control::SendArgs),
    /// Say whether codes arrive, and how routes and providers stand in the running sidecar.
    Status(status::Args),
    /// Take a provider out by hand.
    Pause(control::ProviderArgs),
    /// Put a provider back, whatever stood against it.
    Resume(control::ProviderArgs),
    /// Have the running sidecar read its config again, and say what came of it.
    Reload(control::ReloadArgs),
    /// Run a command with the environment that brings its SMS requests here.
    Wrap(wrap::Args),
}

/// Parses the arguments and runs what they name; the one place that prints a failed command's error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let code = if usage.use_stderr() { 2 } else { 0 };
            // A closed pipe is the reader's choice, not a failure.
            usage.print().unwrap_or_default();
            return ExitCode::from(code);
        }
    };
    let done = match cli.command {
        Command::Check(args) => check::run(&args),
        Command::Ca(args) => ca::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Dialects(args) => dialects::run(&args),
        Command::Diagnose(args) => diagnose::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Vault(args) => vault::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Send(args) => control::send(&args),
        Command::Status(args) => status::run(&args),
        Command::Pause(args) => control::pause(&args),
        Command::Resume(args) => control::resume(&args),
        Command::Reload(args) => control::reload(&args),
        Command::Wrap(args) => wrap::run(&args),
    };
    done.unwrap_or_else(|error| {
        output::error(render_error_chain(&error));
        ExitCode::from(2)
    })
}

/// What happened and why, outermost first; what a message already says of its reason is not said again.
fn render_error_chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |said, next| match said.as_str() {
            "" => next,
            said if said.contains(&next) => said.to_owned(),
            said => format!("{said}: {next}"),
        })
}

/// The config, or every complaint about it on standard error; warnings are shown and passed over.
fn load_config(file: &Path) -> anyhow::Result<Config> {
    let colours = std::io::stderr().is_terminal();
    match config::load(file) {
        Ok(loaded) => {
            if !loaded.warnings.problems.is_empty() {
                output::note(loaded.warnings.render(colours));
            }
            Ok(loaded)
        }
        Err(report) => {
            output::note(report.render(colours));
            anyhow::bail!(
                "{} cannot be used: {} error(s), shown above",
                file.display(),
                report.error_count()
            )
        }
    }
}
