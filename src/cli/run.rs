//! `sms-sidecar run`: loads the config, starts logging, and runs the app.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::app;
use crate::cli::{VERSION, load_config};
use crate::config::LogSettings;
use crate::telemetry::BuildInfo;
use crate::telemetry::log::{Format, init};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config file.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = load_config(&args.config)?;
    init_logging(loaded.log)?;
    let (version, commit) = VERSION.split_once(' ').unwrap_or((VERSION, ""));
    let build = BuildInfo {
        version: version.to_owned(),
        commit: commit.trim_matches(['(', ')']).to_owned(),
    };
    app::run(&args.config, loaded, build)?;
    Ok(ExitCode::SUCCESS)
}

/// `RUST_LOG` overrides the config's level.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn init_logging(log: LogSettings) -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let colours = std::io::stderr().is_terminal();
    let format = if log.json {
        Format::Json
    } else {
        Format::Human { colours }
    };
    init(
        format,
        filter.as_deref().unwrap_or(log.level),
        std::io::stderr,
    )?;
    Ok(())
}
