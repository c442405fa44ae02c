//! What of a config the running sidecar does not use yet: what waits for a reload, and what waits for a restart.

use std::time::Duration;

use http::Method;
use tokio::time::timeout;

use crate::app::listen_addresses;
use crate::cli::control::{exchange, parse_reply};
use crate::config::Config;
use crate::diagnosis::format_command;
use crate::problem::Problem;
use crate::status::{ControlReply, Status};

/// A healthy process on this machine answers sooner.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);

/// A warning for each part that waits; none if no sidecar runs with this config.
pub(super) fn waiting_parts(loaded: &Config) -> Vec<Problem> {
    let Some(socket) = &loaded.listen.control else {
        return Vec::new();
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return Vec::new();
    };
    let query = async {
        let query = exchange(socket, Method::GET, "/status", Vec::new());
        let reply = timeout(QUERY_TIMEOUT, query).await.ok()?.ok()?;
        let status = parse_reply::<Status>(&reply).ok()?;
        ControlReply::into_result(status).ok()
    };
    let status = runtime.block_on(query);
    status.map_or_else(Vec::new, |status| compare(loaded, &status))
}

fn compare(loaded: &Config, status: &Status) -> Vec<Problem> {
    let running = &status.config;
    let file = loaded.file();
    let warning = |what: String, help: &str| Problem::warning(file, None, what).with_help(help);
    let reload = running.changed_at.as_ref().map(|_| {
        let what = format!(
            "the running sidecar does not use {} as it is now",
            running.changed_file()
        );
        warning(what, &format_command("reload", file))
    });
    let listen: Vec<String> = listen_addresses(&loaded.listen)
        .iter()
        .map(|(name, address)| format!("{name} {address}"))
        .collect();
    let others = listen != running.listen;
    let restart = running
        .needs_restart
        .clone()
        .or_else(|| others.then(|| "[listen] takes effect at the next start".to_owned()));
    let restart = restart.map(|what| {
        let what = format!("the running sidecar does not use all of this config: {what}");
        warning(what, "restart the sidecar")
    });
    reload.into_iter().chain(restart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check_text;
    use crate::dialect::Catalog;
    use crate::status::ConfigStatus;

    const CONFIG: &str = "mode = \"observe\"\n[listen]\nproxy = \"127.0.0.1:8125\"\n[providers.twilio]\ndialect = \"twilio\"\n";

    fn shown(config: ConfigStatus) -> Vec<(String, Option<String>)> {
        let (loaded, _) = check_text("c.toml", CONFIG, &Catalog::built_in());
        let loaded = loaded.unwrap();
        let listen = listen_addresses(&loaded.listen);
        let listen = listen.iter().map(|(name, at)| format!("{name} {at}"));
        let config = ConfigStatus {
            listen: if config.listen.is_empty() {
                listen.collect()
            } else {
                config.listen
            },
            ..config
        };
        let status = Status {
            config,
            ..Status::default()
        };
        let problems = compare(&loaded, &status);
        problems
            .into_iter()
            .map(|problem| (problem.message, problem.help))
            .collect()
    }

    #[test]
    fn what_waits_for_a_reload_or_a_restart_is_a_warning() {
        assert!(shown(ConfigStatus::default()).is_empty());
        let changed = shown(ConfigStatus {
            changed_at: Some("2026-11-25T20:46:00Z".into()),
            changed_file: Some("ca.pem".into()),
            ..ConfigStatus::default()
        });
        assert!(changed[0].0.contains("does not use ca.pem as it is now"));
        assert_eq!(
            changed[0].1.as_deref(),
            Some("`sms-sidecar reload --config c.toml`")
        );
        let other = shown(ConfigStatus {
            listen: vec!["proxy 127.0.0.1:9".into()],
            ..ConfigStatus::default()
        });
        assert!(
            other[0]
                .0
                .contains("[listen] takes effect at the next start")
        );
        let waiting = shown(ConfigStatus {
            needs_restart: Some("[limits] takes effect at the next start".into()),
            ..ConfigStatus::default()
        });
        assert!(waiting[0].0.contains("[limits]"));
        assert_eq!(waiting[0].1.as_deref(), Some("restart the sidecar"));
    }
}
