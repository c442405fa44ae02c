//! The command line: one module per subcommand; `control` has the four that talk to the control
//! socket. Each returns its exit code, listed in its `--help`: usually 0 for done, 1 for "something
//! is not in order", 2 for "could not be done".

mod ca;
mod check;
mod child;
mod config;
mod connect;
mod control;
mod demo;
mod diagnose;
mod dialects;
mod doctor;
mod http_client;
mod layout;
mod output;
mod run;
mod status;
mod vault;
mod wrap;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::layout::Target;
use crate::config::Config;
use crate::harden;

/// Version and commit, as `--version` and `build_info` show them.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("SMS_SIDECAR_COMMIT"),
    ")"
);

/// Lines of a help text that are longer than this are hard to read.
const MAX_HELP_WIDTH: usize = 100;

#[derive(Debug, Parser)]
#[command(name = "sms-sidecar", version = VERSION, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the config; show every problem with file, line and caret.
    Check(check::Args),
    /// Create, show or renew the local CA that terminates TLS for the providers' hosts.
    Ca(ca::Args),
    /// Find out why codes do not arrive: config, vault, network, account, backend.
    Doctor(doctor::Args),
    /// Print the config's JSON Schema for editors, or the reference of its keys.
    Config(config::Args),
    /// List the services with a built-in description, or show one.
    Dialects(dialects::Args),
    /// Explain why a service rejected a request, from its reply on standard input.
    Diagnose(diagnose::Args),
    /// Run the sidecar: entrypoints, admin address, control socket.
    Run(run::Args),
    /// Manage credentials in the encrypted vault.
    Vault(vault::Args),
    /// See it work in a few seconds: on loopback, without keys or network.
    Demo(demo::Args),
    /// Send one message through the running sidecar, and show each attempt.
    Send(control::SendArgs),
    /// Show whether codes arrive, and the state of routes and providers in the running sidecar.
    Status(status::Args),
    /// Take a provider out of rotation.
    Pause(control::ProviderArgs),
    /// Put a provider back into rotation; ends its quarantine or cooldown.
    Resume(control::ProviderArgs),
    /// Make the running sidecar read its config again, and show the result.
    Reload(control::ReloadArgs),
    /// Run a command with an environment that routes its SMS requests through the sidecar.
    Wrap(wrap::Args),
}

impl Command {
    /// The config that it was given or reads by default.
    fn config(&self) -> Option<&Path> {
        match self {
            Self::Check(args) => Some(args.config()),
            Self::Ca(args) => Some(args.config()),
            Self::Doctor(args) => Some(args.config()),
            Self::Run(args) => Some(args.config()),
            Self::Vault(args) => args.config(),
            Self::Send(args) => Some(args.config()),
            Self::Status(args) => Some(args.config()),
            Self::Pause(args) | Self::Resume(args) => Some(args.config()),
            Self::Reload(args) => Some(args.config()),
            Self::Wrap(args) => Some(args.config()),
            Self::Config(_) | Self::Dialects(_) | Self::Diagnose(_) | Self::Demo(_) => None,
        }
    }
}

/// Parses the arguments and runs the command. Only this function prints the error of a failed command.
pub fn main() -> ExitCode {
    let cli = match parse_arguments() {
        Ok(cli) => cli,
        Err(usage) => {
            let shown = usage.render().ansi().to_string();
            if usage.use_stderr() {
                output::note(shown.trim_end());
                return ExitCode::from(2);
            }
            output::verbatim(shown.trim_end());
            return ExitCode::SUCCESS;
        }
    };
    if matches!(cli.command, Command::Run(_) | Command::Wrap(_)) {
        output::give_up_on_stalled_reader();
    }
    if let Some(config) = cli.command.config() {
        output::name_config(&config.display().to_string());
    }
    protect_process(&cli.command)
        .and_then(|()| run(cli.command))
        .unwrap_or_else(|error| {
            output::error(render_error_chain(&error));
            ExitCode::from(2)
        })
}

/// Help is wrapped on a terminal only, like every other text.
fn parse_arguments() -> Result<Cli, clap::Error> {
    let width = Target::Stdout.width();
    let width = width.map_or(usize::MAX, |width| width.min(MAX_HELP_WIDTH));
    let matches = Cli::command().term_width(width).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

/// Protects the secrets that a command reads. The command that `wrap` starts would inherit the limit
/// of core dumps, and `wrap` itself reads no secrets.
fn protect_process(command: &Command) -> anyhow::Result<()> {
    if matches!(command, Command::Wrap(_)) {
        return Ok(());
    }
    harden::set_panic_hook(|panic| {
        output::error(format_args!(
            "panicked at {} in thread {}; please report this location",
            panic.location, panic.thread
        ));
    });
    match harden::protect_memory() {
        Err(error) if matches!(command, Command::Run(_)) => Err(error.into()),
        Err(error) => {
            let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
            output::note(format_args!("{yellow}warning{yellow:#}: {error}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => check::run(&args),
        Command::Ca(args) => ca::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(args) => Ok(config::run(&args)),
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
    }
}

/// An error with its sources, outermost first; a source that the text already contains is left out.
fn render_error_chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |text, next| match text.as_str() {
            "" => next,
            text if text.contains(&next) => text.to_owned(),
            text => format!("{text}: {next}"),
        })
}

/// Loads the config; shows its warnings, or all of its problems, on standard error.
fn load_config(file: &Path) -> anyhow::Result<Config> {
    let colours = std::io::stderr().is_terminal();
    match crate::config::load(file) {
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

/// The path of a config. Commands that are printed work from every folder.
pub(crate) fn absolute_path(text: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(text)
}
