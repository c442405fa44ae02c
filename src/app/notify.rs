//! Builds the notifier of a config, and starts the task that it runs in.

use std::sync::Arc;

use crate::app::App;
use crate::config::{Config, ConfigKey};
use crate::diagnosis::format_command;
use crate::net::server::Server;
use crate::notify::{self, Notifier, NotifyDeps};
use crate::problem::ProblemReport;
use crate::telemetry::BuildInfo;
use crate::vault::CredentialCache;

impl App {
    /// Starts the task that posts notifications; it does nothing while the config names no webhook.
    pub(super) fn spawn_notifier(&self, server: &mut Server) {
        let current = self.notifier.subscribe();
        let telemetry = Arc::clone(&self.process.telemetry);
        let clock = Arc::clone(&self.process.clock);
        let config = self.process.config_file.display().to_string();
        let test_command = format_command("doctor --notify-test", &config);
        server.add_background("notify", move |drain| {
            let deps = NotifyDeps {
                telemetry,
                clock,
                drain,
                test_command,
            };
            notify::run(current, deps)
        });
    }
}

/// The notifier of this config; `None` if the config names no webhook.
pub(super) fn build_notifier(
    loaded: &Config,
    credential_cache: &Arc<CredentialCache>,
    build: &BuildInfo,
) -> anyhow::Result<Option<Arc<Notifier>>> {
    let Some(settings) = &loaded.notify else {
        return Ok(None);
    };
    let credential_cache = Arc::clone(credential_cache);
    let notifier = Notifier::new(settings.clone(), credential_cache, &build.version);
    let notifier = notifier.map_err(|error| ProblemReport {
        problems: vec![loaded.error(&ConfigKey::NotifyCaFile, error.to_string())],
        texts: loaded.warnings.texts.clone(),
    })?;
    Ok(Some(Arc::new(notifier)))
}
