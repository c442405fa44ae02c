//! `sms-sidecar run`.

use std::path::PathBuf;
use std::process::ExitCode;

/// Where the config is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config file.
    #[arg(long, value_name = "FILE", default_value = "/etc/sms-sidecar/config.toml")]
    config: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{}: serving is not wired yet", args.config.display())
}
