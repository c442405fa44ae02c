//! `sms-sidecar wrap -- npm start`: runs a command with the environment that brings its SMS
//! requests to us, starts a sidecar beside it where none listens, and is otherwise not
//! there: signals go through, the command's exit code comes back.

mod environment;
mod listener;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::child::send_signal;
use crate::cli::output;
use crate::config::Config;
use crate::node::{Release, axios_releases, node_release};
use environment::{NodeFacts, variables};
use listener::{ListenerKind, identify_listener};

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
    /// Print the variables and run nothing.
    #[arg(long)]
    print: bool,
    /// The command and its arguments, after `--`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How long a sidecar that we start may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = crate::cli::load_config(&args.config)?;
    let Some(address) = loaded.listen.proxy else {
        bail!(
            "{}: `listen.proxy` is not set, so the command has no address to send its requests to",
            args.config.display()
        );
    };
    let proxy = format!("http://{address}");
    // Node reads it in whatever folder the command runs.
    let ca = loaded
        .ca
        .as_ref()
        .map(|ca| std::path::absolute(&ca.cert_file))
        .transpose()?;
    let (node, axios) = (node_release(), installed_axios(Path::new("node_modules")));
    let no_proxy = env_var("NO_PROXY").or_else(|| env_var("no_proxy"));
    let variables = variables(&NodeFacts {
        proxy: &proxy,
        ca: ca.as_deref(),
        no_proxy: no_proxy.as_deref(),
        node,
        axios: &axios,
    });
    if let Some(what) = connect_warning(&loaded, &args.config) {
        output::note(format_args!("warning: {what}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if args.print {
        for (name, value) in &variables {
            output::line(format_args!("{name}={value}"));
        }
        if let Some(what) = listener_warning(
            runtime.block_on(identify_listener(address)),
            address,
            &args.config,
        ) {
            output::note(what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Some((program, rest)) = args.command.split_first() else {
        bail!("no command is given; write it after `--`, e.g. sms-sidecar wrap -- npm start");
    };
    let mut command = Command::new(program);
    command.args(rest).envs(variables);
    runtime.block_on(run_with_sidecar(&args.config, address, command))
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
    let make = format!("`sms-sidecar ca init --config {}`", config.display());
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
                "{} cannot be read: {error}; let this user read it, so that Node trusts the CA",
                ca.cert_file.display()
            )),
        },
    }
}

/// What to say where the variables lead to no sidecar.
fn listener_warning(listener: ListenerKind, address: SocketAddr, config: &Path) -> Option<String> {
    match listener {
        ListenerKind::Sidecar => None,
        ListenerKind::Absent => Some(format!(
            "nothing listens on {address} yet; start `sms-sidecar run --config {}` before the command",
            config.display()
        )),
        ListenerKind::Foreign => Some(format!("warning: {}", port_taken(address))),
    }
}

fn port_taken(address: SocketAddr) -> String {
    format!(
        "{address} is in use by a program that is not sms-sidecar and would get every request of the command; stop that program, or set another `listen.proxy`"
    )
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
    config: &Path,
    address: SocketAddr,
    mut command: Command,
) -> anyhow::Result<ExitCode> {
    // Before the command can say that it is up: a signal to us alone would leave it behind.
    let signals = ForwardedSignals::new()?;
    let own = match identify_listener(address).await {
        ListenerKind::Sidecar => None,
        ListenerKind::Absent => Some(start_sidecar(config, address).await?),
        ListenerKind::Foreign => bail!("{}", port_taken(address)),
    };
    let mut child = command
        .spawn()
        .with_context(|| format!("{} could not be started", program_name(&command)))?;
    let code = forward_signals(signals, &mut child).await?;
    if let Some(mut own) = own {
        send_signal(&own, Signal::TERM);
        own.wait().await?;
    }
    Ok(code)
}

fn program_name(command: &Command) -> String {
    command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned()
}

async fn is_listening(address: SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}

/// Starts `sms-sidecar run` in its own process group, so that a Ctrl-C meant for the
/// command lets requests in flight finish.
async fn start_sidecar(config: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    let mut own = Command::new(std::env::current_exe()?)
        .arg("run")
        .arg("--config")
        .arg(config)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("the sidecar could not be started")?;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let ready = async {
        while !is_listening(address).await {
            tick.tick().await;
        }
    };
    tokio::select! {
        () = ready => Ok(own),
        ended = own.wait() => bail!("the sidecar ended at once ({}); it printed the reason above", ended?),
        () = tokio::time::sleep(START_TIMEOUT) => bail!("the sidecar did not listen on {address} within {} s", START_TIMEOUT.as_secs()),
    }
}

/// The signals that ask us to stop or reload.
struct ForwardedSignals {
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl ForwardedSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Waits for the command, and hands it every one of these signals.
async fn forward_signals(
    mut signals: ForwardedSignals,
    child: &mut Child,
) -> anyhow::Result<ExitCode> {
    loop {
        let received = tokio::select! {
            ended = child.wait() => return Ok(exit_code(ended?)),
            _ = signals.terminate.recv() => Signal::TERM,
            _ = signals.hangup.recv() => Signal::HUP,
            _ = signals.quit.recv() => Signal::QUIT,
            _ = signals.interrupt.recv() => Signal::INT,
        };
        // On a terminal the kernel has given Ctrl-C and Ctrl-\ to the command already.
        let given =
            matches!(received, Signal::INT | Signal::QUIT) && std::io::stdin().is_terminal();
        if !given {
            send_signal(child, received);
        }
    }
}

/// The command's own code; 128 and the signal's number where a signal ended it, as shells say it.
fn exit_code(ended: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = ended
        .code()
        .or_else(|| ended.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
