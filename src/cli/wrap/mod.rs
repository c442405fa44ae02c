//! `sms-sidecar wrap -- npm start`: runs a command with the environment that brings its SMS
//! requests to us, starts a sidecar beside it where none listens, and is otherwise not
//! there: signals go through, the command's exit code comes back.

mod backoff;
mod command;
mod environment;
mod found;
mod listener;
mod supervisor;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use tokio::process::Command;

use crate::cli::output;
use crate::config::Config;
use crate::diagnosis::format_command;
use crate::file_error::describe_read_error;
use crate::node::{Release, axios_releases, node_release};
use command::{ForwardedSignals, WrappedCommand};
use environment::{NodeFacts, variables};
use found::found_sidecar_warning;
use listener::{ListenerKind, identify_listener, port_taken};
use supervisor::{Notes, OnSidecarExit, Supervisor};

/// The command, and where the config is.
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
    /// What to do when the sidecar ends before the command.
    #[arg(long, value_name = "ACTION", value_enum, default_value_t = OnSidecarExit::Restart)]
    on_sidecar_exit: OnSidecarExit,
    /// Print the variables and run nothing.
    #[arg(long)]
    print: bool,
    /// The command and its arguments, after `--`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = crate::cli::load_config(&args.config)?;
    let Some(address) = loaded.listen.proxy else {
        bail!(
            "{}: `listen.proxy` is not set, so the command has no address to send its requests to",
            args.config.display()
        );
    };
    let variables = command_variables(&loaded, address)?;
    if let Some(what) = connect_warning(&loaded, &args.config) {
        output::note(format_args!("warning: {what}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if args.print {
        for (name, value) in &variables {
            output::verbatim(format_args!("{name}={value}"));
        }
        if let Some(what) = runtime.block_on(listener_warning(&loaded, address)) {
            output::note(what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Some((program, rest)) = args.command.split_first() else {
        bail!("no command is given; write it after `--`, e.g. sms-sidecar wrap -- npm start");
    };
    let mut command = Command::new(program);
    command.args(rest).envs(variables);
    runtime.block_on(run_with_sidecar(args, &loaded, address, command))
}

/// The variables that bring the command's requests to us.
fn command_variables(
    loaded: &Config,
    address: SocketAddr,
) -> std::io::Result<Vec<(&'static str, String)>> {
    let proxy = format!("http://{address}");
    // Node reads it in whatever folder the command runs.
    let ca = loaded
        .ca
        .as_ref()
        .map(|ca| std::path::absolute(&ca.cert_file))
        .transpose()?;
    let (node, axios) = (node_release(), installed_axios(Path::new("node_modules")));
    let no_proxy = env_var("NO_PROXY").or_else(|| env_var("no_proxy"));
    Ok(variables(&NodeFacts {
        proxy: &proxy,
        ca: ca.as_deref(),
        no_proxy: no_proxy.as_deref(),
        node,
        axios: &axios,
    }))
}

/// The releases of axios below `modules`; warns if they cannot be read.
fn installed_axios(modules: &Path) -> Vec<Release> {
    axios_releases(modules).unwrap_or_else(|error| {
        output::note(format_args!(
            "warning: {} cannot be read, so the release of axios is not known: {error}",
            modules.display()
        ));
        Vec::new()
    })
}

/// What becomes of HTTPS through a tunnel, where it will not work.
fn connect_warning(loaded: &Config, config: &Path) -> Option<String> {
    let make = format_command("ca init", &config.display().to_string());
    match &loaded.ca {
        None => Some(format!(
            "no `[intercept] ca`: HTTPS by CONNECT to a provider's host (axios from 1.16.1, every SDK) will be answered 502; set `ca = {{ cert_file = \"…\", key_file = \"…\" }}` there, then {make}"
        )),
        Some(ca) => match std::fs::File::open(&ca.cert_file) {
            Ok(_) => None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(format!(
                "{} does not exist; {make} makes it",
                ca.cert_file.display()
            )),
            Err(error) => Some(format!(
                "{}. Node needs it to trust the CA",
                describe_read_error(&ca.cert_file, &error)
            )),
        },
    }
}

/// What to say where the variables lead to no sidecar, or to one that runs with something else.
async fn listener_warning(loaded: &Config, address: SocketAddr) -> Option<String> {
    let what = match identify_listener(address).await {
        ListenerKind::Sidecar => found_sidecar_warning(loaded, address).await?,
        ListenerKind::Absent => {
            let run = format_command("run", loaded.file());
            return Some(format!(
                "nothing listens on {address} yet; start {run} before the command"
            ));
        }
        ListenerKind::Foreign => port_taken(address),
    };
    Some(format!("warning: {what}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the user's shell set is what this command passes on"
)]
fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Runs `command` with a sidecar beside it: one that already listens, else a new one.
async fn run_with_sidecar(
    args: &Args,
    loaded: &Config,
    address: SocketAddr,
    command: Command,
) -> anyhow::Result<ExitCode> {
    // Before the command can say that it is up: a signal to us alone would leave it behind.
    let signals = ForwardedSignals::new()?;
    let notes = Notes::start()?;
    let mut supervisor = Supervisor::new(&args.config, address, &notes);
    let is_ours = supervisor.attach().await?;
    if !is_ours && let Some(what) = found_sidecar_warning(loaded, address).await {
        notes.write(format_args!("warning: {what}"));
    }
    let mut command = WrappedCommand::start(signals, command)?;
    let result = tokio::select! {
        biased;
        code = command.wait() => code,
        ended = supervisor.keep(args.on_sidecar_exit) => stop_command(&mut command, &ended).await,
    };
    supervisor.stop().await?;
    notes.close();
    result
}

/// The sidecar has ended, and the command is not to run without one.
async fn stop_command(command: &mut WrappedCommand, ended: &str) -> anyhow::Result<ExitCode> {
    // A service manager stops both at the same time.
    if command.is_stopping() {
        return command.wait().await;
    }
    command.stop().await?;
    bail!("{ended}, so the command was stopped: its requests would have failed");
}
