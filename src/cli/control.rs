//! `send`, `pause`, `resume`, `reload`, and what `status` asks with: small questions to a running sidecar, over its control socket.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::cli::output;
use crate::config;
use crate::sms::Msisdn;

/// Where the running sidecar is, and how to answer.
#[derive(Debug, clap::Args)]
pub(crate) struct ControlArgs {
    /// The config file the sidecar runs with; its `listen.control` is the socket.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
    /// The control socket itself, in place of the config.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// One message through the running pipeline. It goes to a real handset.
#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    sidecar: ControlArgs,
    /// The recipient, in international form.
    #[arg(long, value_name = "NUMBER")]
    to: String,
    /// What it says.
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// Under which name, where the provider sets none.
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// Through this provider alone, by its name in the config: no route is taken and no other is asked.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

/// A provider, by its name in the config.
#[derive(Debug, clap::Args)]
pub(crate) struct ProviderArgs {
    #[command(flatten)]
    sidecar: ControlArgs,
    /// The provider's name.
    provider: String,
}

/// As a SIGHUP does: the config that the sidecar runs with takes over as a whole, or not at all.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 the file's config is in force; 1 it has errors, and the one before it stays in force; \
2 no sidecar answered."
)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    sidecar: ControlArgs,
}

/// 0: accepted; 1: not.
pub(crate) fn send(args: &SendArgs) -> anyhow::Result<ExitCode> {
    if Msisdn::parse(&args.to).is_err() {
        bail!(
            "what --to gives is no phone number; write it with its country code, e.g. --to +998901234567"
        );
    }
    if args.text.trim().is_empty() {
        bail!("what --text gives is empty; say what the message is to say");
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

fn change_state(args: &ProviderArgs, what: &str) -> anyhow::Result<ExitCode> {
    let (status, answer) = args.sidecar.request(
        Method::POST,
        &format!("/{what}/{}", args.provider),
        &Value::Null,
    )?;
    if status != StatusCode::OK {
        bail!("{}", field_text(&answer, "error"));
    }
    args.sidecar.print_answer(&answer, render_provider);
    Ok(ExitCode::SUCCESS)
}

/// 0: in force; 1: it has errors, and the old one stays.
pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let (status, answer) = args
        .sidecar
        .request(Method::POST, "/reload", &Value::Null)?;
    match field_text(&answer, "result").as_str() {
        "ok" => args.sidecar.print_answer(&answer, render_reload),
        "failed" if args.sidecar.json => output::line(&answer),
        "failed" => {
            output::note(field_text(&answer, "problem").trim_end());
            output::error(
                "the config was not taken: it has errors, shown above; the one before it stays in force",
            );
        }
        _ => bail!(
            "the sidecar does not know how to reload ({status}): {}; SIGHUP has it read its config again",
            field_text(&answer, "error")
        ),
    }
    Ok(ExitCode::from(u8::from(status != StatusCode::OK)))
}

fn render_reload(answer: &Value) -> String {
    let waits = answer
        .get("waits")
        .and_then(Value::as_str)
        .map(|waits| format!("\nbut {waits}"))
        .unwrap_or_default();
    format!(
        "{} was read again and is in force{waits}",
        field_text(answer, "file")
    )
}

impl ControlArgs {
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
        let asked = runtime.block_on(exchange(&socket, method, path, body));
        asked.with_context(|| {
            format!("no sidecar answers at {}; is `sms-sidecar run` up, and may this user open the socket?", socket.display())
        })
    }

    /// Only this one key of the config is needed: what is wrong with the rest concerns the next reload, not a sidecar
    /// that runs with an earlier one.
    fn resolve_socket(&self) -> anyhow::Result<PathBuf> {
        if let Some(socket) = &self.control {
            return Ok(socket.clone());
        }
        let file = self.config.display();
        let broken = match config::load(&self.config) {
            Ok(loaded) => {
                return loaded.listen.control.with_context(|| {
                    format!("{file}: `listen.control` is not set, so a running sidecar cannot be asked; set it, e.g. \"/run/sms-sidecar/control.sock\"")
                });
            }
            Err(report) => report,
        };
        let Some(socket) = config::control_socket(&self.config) else {
            output::note(broken.render(std::io::stderr().is_terminal()));
            bail!(
                "{file} says where the running sidecar is asked, and that cannot be read; `--control SOCKET` says it without the config"
            );
        };
        let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
        output::note(format_args!(
            "{yellow}warning{yellow:#}: {file} has {} error(s) and cannot be loaded, see `sms-sidecar check --config {file}`; the sidecar at {} is asked all the same",
            broken.error_count(),
            socket.display()
        ));
        Ok(socket)
    }

    fn print_answer(&self, answer: &Value, people: fn(&Value) -> String) {
        if self.json {
            output::line(answer);
        } else {
            output::line(people(answer));
        }
    }
}

pub(crate) async fn exchange(
    socket: &std::path::Path,
    method: Method,
    path: &str,
    body: &Value,
) -> anyhow::Result<(StatusCode, Value)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
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
    let exchange = async {
        let reply = sender.send_request(request).await?;
        let status = reply.status();
        let bytes = reply.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, serde_json::from_slice(&bytes)?))
    };
    // The connection is driven beside the exchange and ends with it.
    tokio::select! {
        answer = exchange => answer,
        ended = connection => { ended?; bail!("it closed the connection") }
    }
}

/// Each attempt in its turn, then what came of it.
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
        let (verdict, ago) = (
            field_text(answer, "result"),
            field_text(answer, "answered_seconds_ago"),
        );
        lines.push(format!("not sent again: the same text to this number was {verdict}{route} {ago} s ago (`duplicate_window`); change the text to send another"));
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
    let said = |key: &str| {
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
        said("cause"),
        said("status"),
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
