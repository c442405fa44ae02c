//! Sends one message, because the operator passed `--send-to`: through the running sidecar, else through the same
//! pipeline in this process. It goes to a real handset.

use std::path::Path;

use anyhow::Context;
use http::Method;

use crate::app::App;
use crate::cli::control::{exchange, parse_reply};
use crate::config::Config;
use crate::doctor::running::RunningSidecar;
use crate::status::{ControlReply, SendReport, SendRequest};
use crate::telemetry::BuildInfo;

/// The reply, as the control socket returns it.
pub(super) async fn send(
    file: &Path,
    loaded: &Config,
    running: &RunningSidecar,
    message: SendRequest,
) -> anyhow::Result<ControlReply<SendReport>> {
    if let Some(socket) = loaded
        .listen
        .control
        .as_deref()
        .filter(|_| running.has_control)
    {
        let body = serde_json::to_vec(&message)?;
        let reply = exchange(socket, Method::POST, "/send", body)
            .await
            .context("the running sidecar did not answer")?;
        return parse_reply(&reply);
    }
    let build = BuildInfo {
        version: String::new(),
        commit: String::new(),
    };
    let app = App::build(file, loaded.clone(), build)
        .context("the message was not sent: the pipeline cannot be built from this config")?;
    Ok(app.send(message).await)
}
