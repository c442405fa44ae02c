//! `send`, `pause`, `resume` and `reload`: requests to a running sidecar over its control socket.
//! `status` and `doctor` use the same client.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::cli::{http_client, output};
use crate::config;
use crate::sms::Msisdn;

/// Which sidecar to talk to, and the form of the answer.
#[derive(Debug, clap::Args)]
pub(crate) struct ControlArgs {
    /// The config file of the running sidecar; its `listen.control` is the socket.
    #[arg(
        long,
        value_name = "FILE",
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
    let mut message = json!({ "to": args.to, "text": args.text });
    for (name, value) in [("sender", &args.sender), ("provider", &args.provider)] {
        if let (Some(value), Some(fields)) = (value, message.as_object_mut()) {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    let (status, answer) = args.sidecar.request(Method::POST, "/send", &message)?;
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT)
        && answer.get("error").is_some()
    {
        bail!("{}", field_text(&answer, "error"));
    }
    let accepted = answer.get("result").and_then(Value::as_str) == Some("accepted");
    args.sidecar.print_answer(&answer, render_send);
    Ok(ExitCode::from(u8::from(!accepted)))
}

pub(crate) fn pause(args: &ProviderArgs) -> anyhow::Result<ExitCode> {
    change_state(args, "pause")
}

pub(crate) fn resume(args: &ProviderArgs) -> anyhow::Result<ExitCode> {
    change_state(args, "resume")
}

fn change_state(args: &ProviderArgs, command: &str) -> anyhow::Result<ExitCode> {
    let (status, answer) = args.sidecar.request(
        Method::POST,
        &format!("/{command}/{}", args.provider),
        &Value::Null,
    )?;
    if status != StatusCode::OK {
        bail!("{}", field_text(&answer, "error"));
    }
    args.sidecar.print_answer(&answer, render_provider);
    Ok(ExitCode::SUCCESS)
}

/// Exit code: 0 the new config is in force; 1 it has errors, and the old one stays in force.
pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let (status, answer) = args
        .sidecar
        .request(Method::POST, "/reload", &Value::Null)?;
    match field_text(&answer, "result").as_str() {
        "ok" => args.sidecar.print_answer(&answer, render_reload),
        "failed" if args.sidecar.json => output::line(&answer),
        "failed" => {
            output::note(field_text(&answer, "problem").trim_end());
            output::error("the config has errors, shown above; the old one stays in force");
        }
        _ => bail!(
            "the sidecar cannot reload ({status}): {}; send it SIGHUP instead",
            field_text(&answer, "error")
        ),
    }
    Ok(ExitCode::from(u8::from(status != StatusCode::OK)))
}

fn render_reload(answer: &Value) -> String {
    let exception = answer
        .get("waits")
        .and_then(Value::as_str)
        .map(|waits| format!("\nbut {waits}"))
        .unwrap_or_default();
    format!(
        "{} was read again and is in force{exception}",
        field_text(answer, "file")
    )
}

impl ControlArgs {
    /// Sends one request to the control socket; returns the status and the JSON answer.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let socket = self.resolve_socket()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let answer = runtime.block_on(exchange(&socket, method, path, body));
        answer.with_context(|| {
            format!("no sidecar answers at {}; check that `sms-sidecar run` is up and that this user may open the socket", socket.display())
        })
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
            "{yellow}warning{yellow:#}: {file} has {} error(s) and cannot be loaded, see `sms-sidecar check --config {file}`; the request goes to the sidecar at {}, which runs with an earlier config",
            broken.error_count(),
            socket.display()
        ));
        Ok(socket)
    }

    fn print_answer(&self, answer: &Value, render: fn(&Value) -> String) {
        if self.json {
            output::line(answer);
        } else {
            output::line(render(answer));
        }
    }
}

/// Sends one request to a control socket; returns the status and the JSON answer.
pub(crate) async fn exchange(
    socket: &std::path::Path,
    method: Method,
    path: &str,
    body: &Value,
) -> anyhow::Result<(StatusCode, Value)> {
    let stream = UnixStream::connect(socket).await?;
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "control")
        .body(Full::new(body))?;
    let reply = http_client::exchange(stream, request).await?;
    Ok((reply.status(), serde_json::from_slice(reply.body())?))
}

/// The attempts in their order, then the result.
pub(super) fn render_send(answer: &Value) -> String {
    let mut lines: Vec<String> = array_items(answer, "attempts")
        .map(render_attempt)
        .collect();
    let route = answer
        .get("route")
        .and_then(Value::as_str)
        .map(|route| format!(" by route {route}"))
        .unwrap_or_default();
    if answer.get("duplicate").and_then(Value::as_bool) == Some(true) {
        let result = field_text(answer, "result");
        let age = field_text(answer, "answered_seconds_ago");
        lines.push(format!("not sent again: the same text to this number was {result}{route} {age} s ago (`duplicate_window`); change the text to send another"));
        return lines.join("\n");
    }
    lines.push(format!(
        "{}: {}{route}",
        field_text(answer, "recipient"),
        field_text(answer, "result")
    ));
    if let Some(diagnosis) = answer.get("diagnosis").and_then(Value::as_str) {
        lines.push(diagnosis.to_owned());
    }
    lines.join("\n")
}

fn render_attempt(attempt: &Value) -> String {
    let optional = |key: &str| {
        attempt
            .get(key)
            .filter(|value| !value.is_null())
            .map(|value| format!(" {}", value_text(value)))
            .unwrap_or_default()
    };
    format!(
        "  {}: {}{}{} in {} ms",
        field_text(attempt, "provider"),
        field_text(attempt, "outcome"),
        optional("cause"),
        optional("status"),
        field_text(attempt, "took_ms")
    )
}

fn render_provider(provider: &Value) -> String {
    let cause = provider
        .get("cause")
        .and_then(Value::as_str)
        .map(|cause| format!(" ({cause})"))
        .unwrap_or_default();
    format!(
        "provider {}: {}{cause}",
        field_text(provider, "provider"),
        field_text(provider, "state")
    )
}

fn array_items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

pub(crate) fn field_text(value: &Value, key: &str) -> String {
    value.get(key).map(value_text).unwrap_or_default()
}

fn value_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
