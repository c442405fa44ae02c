//! `sms-sidecar run`: loads the config, starts logging, and runs the app.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::app;
use crate::cli::{VERSION, load_config};
use crate::config::LogSettings;
use crate::telemetry::log::{Format, init};
use crate::telemetry::{BuildInfo, LogWriter};

/// How long the last log lines may take to be written.
const LOG_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config file.
    #[arg(
        long,
        value_name = "FILE",
        value_parser = crate::cli::absolute_path,
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
}

impl Args {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = load_config(&args.config)?;
    let log = init_logging(loaded.log)?;
    let (version, commit) = VERSION.split_once(' ').unwrap_or((VERSION, ""));
    let build = BuildInfo {
        version: version.to_owned(),
        commit: commit.trim_matches(['(', ')']).to_owned(),
    };
    let result = app::run(&args.config, loaded, build, &log);
    log.close(LOG_CLOSE_TIMEOUT);
    result.map(|()| ExitCode::SUCCESS)
}

/// `RUST_LOG` overrides the config's level.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn init_logging(log: LogSettings) -> anyhow::Result<LogWriter> {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let colours = std::io::stderr().is_terminal();
    let format = if log.json {
        Format::Json
    } else {
        Format::Human { colours }
    };
    let writer =
        LogWriter::start(std::io::stderr()).context("the thread of the log cannot be started")?;
    init(
        format,
        filter.as_deref().unwrap_or(log.level),
        writer.clone(),
    )?;
    Ok(writer)
}
