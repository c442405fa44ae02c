//! The command line: one file a subcommand, each a `run(args)` that returns the exit code.
//! 0 done, 1 the thing asked about is not in order, 2 it could not be done.

mod check;
mod out;
mod run;
mod vault;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Version and commit, as `--version` and `build_info` show them.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SMS_SIDECAR_COMMIT"), ")");

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
    /// Serve: the doors, the admin address, the control socket.
    Run(run::Args),
    /// Keep credentials in the encrypted vault.
    Vault(vault::Args),
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
        Command::Run(args) => run::run(&args),
        Command::Vault(args) => vault::run(&args),
    };
    done.unwrap_or_else(|error| {
        out::error(format_args!("{error:#}"));
        ExitCode::from(2)
    })
}
