//! `sms-sidecar config`: the shape of the config file, for editors and for readers.

use std::process::ExitCode;

use crate::cli::output;
use crate::config;

/// Exits with 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    output: ConfigOutput,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigOutput {
    /// Print the JSON Schema of the config file; an editor completes and checks keys with it.
    Schema,
    /// Print the reference of every key as Markdown.
    Reference,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let schema = config::schema();
    match args.output {
        ConfigOutput::Schema => output::verbatim(format_args!("{schema:#}")),
        ConfigOutput::Reference => output::verbatim(config::reference(&schema).trim_end()),
    }
    ExitCode::SUCCESS
}
