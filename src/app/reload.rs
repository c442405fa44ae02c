//! Replaces the config while requests run: the new one takes effect as a whole or not at all.
//! Listeners and the local CA stay as they are; the sidecar reports a change to them, which needs a restart.

use std::fmt::Display;
use std::sync::{Arc, PoisonError};

use crate::app::notify::build_notifier;
use crate::app::trace_export::build_exporter;
use crate::app::{App, config_change_check, metrics_schema};
use crate::config::{Config, load};
use crate::problem::{Problem, ProblemReport};
use crate::proxy::ReloadSummary;
use crate::telemetry::Reloaded;

impl App {
    /// Reads the config again, for SIGHUP and `sms-sidecar reload` alike. If it has errors, they are
    /// reported and the old config stays in force.
    pub(super) fn reload(&self) -> Result<ReloadSummary, ProblemReport> {
        let _guard = self
            .reload_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let result = self.apply_reload();
        let (at, problem) = match &result {
            Ok(summary) => (
                Some(self.process.clock.wall_clock()),
                summary.needs_restart.map(str::to_owned),
            ),
            Err(report) => (
                None,
                Some(format!(
                    "the new config has errors; the old one stays in force: {report}"
                )),
            ),
        };
        Reloaded {
            at,
            problem: problem.as_deref(),
        }
        .emit(&self.process.telemetry);
        result
    }

    fn apply_reload(&self) -> Result<ReloadSummary, ProblemReport> {
        let loaded = load(&self.process.config_file)?;
        let credential_cache = self
            .process
            .credential_cache(&loaded)
            .continue_from(&self.credential_cache.borrow());
        let credential_cache = Arc::new(credential_cache);
        let exporter = build_exporter(&loaded, &self.process.build)
            .map_err(|error| self.unusable_config(format!("{error:#}")))?;
        let notifier = build_notifier(&loaded, &credential_cache, &self.process.build)
            .map_err(|error| self.unusable_config(format!("{error:#}")))?;
        self.proxy
            .reload(
                loaded.proxy.clone(),
                &loaded.vault,
                &self.process.proxy_deps(&loaded, &credential_cache),
                loaded.limits.max_body,
            )
            .map_err(|error| self.unusable_config(error))?;
        // Nothing can fail from here on: a failed reload must not remove series.
        let telemetry = &self.process.telemetry;
        let listen = &self.loaded.listen;
        telemetry.update_schema(&metrics_schema(&loaded, listen, &self.process.build));
        telemetry.set_config_change_check(config_change_check(&loaded));
        self.proxy.republish();
        self.credential_cache.send_replace(credential_cache);
        telemetry.set_trace_sampling(exporter.as_ref().map(|exporter| exporter.sample_ratio()));
        self.exporter.send_replace(exporter);
        if notifier.is_some() {
            telemetry.init_notifications();
        }
        self.notifier.send_replace(notifier);
        Ok(self.summarize(&loaded))
    }

    fn summarize(&self, loaded: &Config) -> ReloadSummary {
        let is_complete = loaded.listen == self.loaded.listen && loaded.ca == self.loaded.ca;
        let needs_restart = "[listen] or [intercept] changed and takes effect at the next start; the rest is in force";
        ReloadSummary {
            file: self.process.config_file.display().to_string(),
            needs_restart: (!is_complete).then_some(needs_restart),
        }
    }

    /// Reports why a valid config cannot be put into effect.
    fn unusable_config(&self, why: impl Display) -> ProblemReport {
        ProblemReport {
            problems: vec![Problem::error(
                &self.process.config_file.display().to_string(),
                None,
                why.to_string(),
            )],
            texts: Vec::new(),
        }
    }
}
