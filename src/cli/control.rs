//! `send`, `pause`, `resume` and `reload`: requests to a running sidecar over its control socket.
//! `status` and `doctor` use the same client.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::cli::layout::render_steps;
use crate::cli::{http_client, output};
use crate::config;
use crate::diagnosis::{format_duration, remedy_steps};
use crate::sms::Msisdn;
use crate::status::{
    AttemptStatus, ControlError, ControlReply, ProviderReport, ReloadReport, SendReport,
    SendRequest,
};

/// Which sidecar to talk to, and the form of the answer.
#[derive(Debug, clap::Args)]
pub(crate) struct ControlArgs {
    /// The config file of the running sidecar; its `listen.control` is the socket.
    #[arg(
        long,
        value_name = "FILE",
        value_parser = crate::cli::absolute_path,
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
    /// The control socket; replaces `--config`.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Send one message through the running sidecar. It goes to a real handset.
#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    sidecar: ControlArgs,
    /// The recipient's number in international form.
    #[arg(long, value_name = "NUMBER")]
    to: String,
    /// The text.
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// The sender name, if the provider sets none.
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// Send through this provider only (its name in the config), without a route or failover.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

/// Arguments of `pause` and `resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProviderArgs {
    #[command(flatten)]
    sidecar: ControlArgs,
    /// The provider's name in the config.
    provider: String,
}

/// Like a SIGHUP: the new config takes effect as a whole, or not at all.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 the new config is in force; 1 it has errors, and the old one stays in force; \
2 no sidecar answered."
)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    sidecar: ControlArgs,
}

impl SendArgs {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        self.sidecar.config()
    }
}

impl ProviderArgs {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        self.sidecar.config()
    }
}

impl ReloadArgs {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        self.sidecar.config()
    }
}

/// Exit code: 0 the message was accepted; 1 it was not.
pub(crate) fn send(args: &SendArgs) -> anyhow::Result<ExitCode> {
    if Msisdn::parse(&args.to).is_err() {
        bail!(
            "--to is not a phone number; write it with its country code, e.g. --to +998901234567"
        );
    }
    if args.text.trim().is_empty() {
        bail!("--text is empty; write the text of the message");
    }
    let message = SendRequest::new(&args.to, &args.text)
        .with_sender(args.sender.as_deref())
        .with_provider(args.provider.as_deref());
    let body = serde_json::to_vec(&message)?;
    let report: SendReport = args.sidecar.request(Method::POST, "/send", body)?;
    args.sidecar.print(&report, render_send)?;
    Ok(ExitCode::from(u8::from(!report.is_accepted())))
}

pub(crate) fn pause(args: &ProviderArgs) -> anyhow::Result<ExitCode> {
    change_state(args, "pause")
}

pub(crate) fn resume(args: &ProviderArgs) -> anyhow::Result<ExitCode> {
    change_state(args, "resume")
}

fn change_state(args: &ProviderArgs, command: &str) -> anyhow::Result<ExitCode> {
    let path = format!("/{command}/{}", args.provider);
    let report = args.sidecar.request(Method::POST, &path, Vec::new())?;
    args.sidecar.print(&report, render_provider)?;
    Ok(ExitCode::SUCCESS)
}

/// Exit code: 0 the new config is in force; 1 it has errors, and the old one stays in force.
pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let report: ReloadReport = args
        .sidecar
        .request(Method::POST, "/reload", Vec::new())
        .context("the sidecar did not reload; send it SIGHUP instead")?;
    match &report {
        ReloadReport::Failed { problem, .. } if !args.sidecar.json => {
            output::note(problem.trim_end());
            output::error("the config has errors, shown above; the old one stays in force");
        }
        ReloadReport::Failed { .. } | ReloadReport::Ok { .. } => {
            args.sidecar.print(&report, render_reload)?;
        }
    }
    let failed = matches!(report, ReloadReport::Failed { .. });
    Ok(ExitCode::from(u8::from(failed)))
}

fn render_reload(report: &ReloadReport) -> String {
    match report {
        ReloadReport::Ok {
            file,
            needs_restart: None,
        } => format!("{file} was read again and is in force"),
        ReloadReport::Ok {
            file,
            needs_restart: Some(settings),
        } => format!("{file} was read again and is in force\nbut {settings}"),
        ReloadReport::Failed { problem, .. } => problem.clone(),
    }
}

impl ControlArgs {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Sends one request to the control socket; returns the report.
    pub(crate) fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<T> {
        let socket = self.resolve_socket()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let reply = runtime
            .block_on(exchange(&socket, method, path, body))
            .map_err(|error| unanswered(&socket, &error))?;
        parse_reply(&reply)?
            .into_result()
            .map_err(anyhow::Error::msg)
    }

    /// The path of the control socket. Only `listen.control` of the config is needed: errors in the
    /// rest concern the next reload, not the sidecar that runs with an earlier config.
    fn resolve_socket(&self) -> anyhow::Result<PathBuf> {
        if let Some(socket) = &self.control {
            return Ok(socket.clone());
        }
        let file = self.config.display();
        let broken = match config::load(&self.config) {
            Ok(loaded) => {
                return loaded.listen.control.with_context(|| {
                    format!("{file}: `listen.control` is not set, so commands cannot reach the sidecar; set it, e.g. \"/run/sms-sidecar/control.sock\"")
                });
            }
            Err(report) => report,
        };
        let Some(socket) = config::control_socket(&self.config) else {
            output::note(broken.render(std::io::stderr().is_terminal()));
            bail!(
                "the control socket is not known, because of the errors in {file} shown above; name it with `--control PATH`"
            );
        };
        let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
        output::note(format_args!(
            "{yellow}warning{yellow:#}: {file} has {} error(s) and cannot be loaded, see `sms-sidecar check`; the request goes to the sidecar at {}, which runs with an earlier config",
            broken.error_count(),
            socket.display()
        ));
        Ok(socket)
    }

    /// Prints a report: as JSON, or as `render` writes it.
    pub(crate) fn print<T: Serialize>(
        &self,
        report: &T,
        render: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            output::verbatim(serde_json::to_value(report)?);
        } else {
            output::line(render(report));
        }
        Ok(())
    }
}

/// A socket that this user may not open says nothing about the sidecar.
fn unanswered(socket: &Path, error: &anyhow::Error) -> anyhow::Error {
    let is_denied = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    let socket = socket.display();
    if is_denied {
        return anyhow!(
            "{socket} cannot be opened: permission denied; run this as root, as the sidecar's user or in its group"
        );
    }
    anyhow!("no sidecar answers at {socket}; check that `sms-sidecar run` is up: {error}")
}

/// Sends one request to a control socket; returns the body of the reply.
pub(crate) async fn exchange(
    socket: &std::path::Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> anyhow::Result<Bytes> {
    let stream = UnixStream::connect(socket).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "control")
        .body(Full::new(Bytes::from(body)))?;
    Ok(http_client::exchange(stream, request).await?.into_body())
}

/// Reads the body of a control socket's reply.
pub(crate) fn parse_reply<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<ControlReply<T>> {
    // Not as the untagged enum: serde buffers its content, and loses fractions where serde_json keeps their digits.
    let reply = serde_json::from_slice::<serde_json::Value>(body).and_then(|value| {
        match serde_json::from_value::<ControlError>(value.clone()) {
            Ok(error) => Ok(ControlReply::Error(error)),
            Err(_) => serde_json::from_value(value).map(ControlReply::Report),
        }
    });
    reply.context(
        "the reply of the sidecar cannot be read; check that it has the version of this command",
    )
}

/// The attempts in their order, then the result.
pub(super) fn render_send(report: &SendReport) -> String {
    let mut lines: Vec<String> = report.attempts.iter().map(render_attempt).collect();
    let route = report
        .route
        .as_ref()
        .map_or_else(String::new, |route| format!(" by route {route}"));
    let result = &report.result;
    if report.duplicate {
        let ago = report.answered_seconds_ago.unwrap_or_default();
        let ago = format_duration(Duration::from_secs(ago));
        lines.push(format!("not sent again: the same text to this number was {result}{route} {ago} ago (`duplicate_window`); change the text to send another"));
        return lines.join("\n");
    }
    let recipient = report.recipient.as_deref().unwrap_or_default();
    lines.push(format!("{recipient}: {result}{route}"));
    lines.extend(diagnosis_lines(report));
    lines.join("\n")
}

/// The diagnosis with its remedy as steps.
fn diagnosis_lines(report: &SendReport) -> Vec<String> {
    let Some(diagnosis) = &report.diagnosis else {
        return Vec::new();
    };
    let remedy = report.remedy.as_deref().unwrap_or_default();
    let Some(finding) = diagnosis.strip_suffix(&format!(" → {remedy}")) else {
        return vec![diagnosis.clone()];
    };
    let steps = render_steps(&remedy_steps(remedy));
    let marks = std::iter::once("→").chain(std::iter::repeat(" "));
    let steps = marks
        .zip(steps)
        .map(|(mark, step)| format!("  {mark} {step}"));
    std::iter::once(finding.to_owned()).chain(steps).collect()
}

fn render_attempt(attempt: &AttemptStatus) -> String {
    let cause = attempt
        .cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(" {cause}"));
    let status = attempt
        .status
        .map_or_else(String::new, |status| format!(" {status}"));
    format!(
        "  {}: {}{cause}{status} in {} ms",
        attempt.provider, attempt.outcome, attempt.took_ms
    )
}

fn render_provider(report: &ProviderReport) -> String {
    let cause = report
        .cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(" ({cause})"));
    format!("provider {}: {}{cause}", report.provider, report.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[test]
    fn a_report_with_fractions_and_an_error_are_read() {
        let body =
            br#"{"providers":[{"provider":"a","balance":{"value":12.6,"daily_spend":2.5}}]}"#;
        let status: Status = parse_reply(body).unwrap().into_result().unwrap();
        let balance = status.providers[0].balance.clone().unwrap();
        assert_eq!((balance.value, balance.daily_spend), (12.6, Some(2.5)));
        let failed = parse_reply::<Status>(br#"{"error":"no"}"#).unwrap();
        assert_eq!(failed.into_result(), Err("no".to_owned()));
        assert!(parse_reply::<Status>(b"<html>").is_err());
    }
}
