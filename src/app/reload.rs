//! Replaces the config while requests run: the new one takes effect as a whole or not at all.
//! Listeners, their limits and the log stay as they are; the sidecar reports a change to them until it is restarted.

use std::fmt::Display;
use std::sync::{Arc, PoisonError};

use crate::app::notify::build_notifier;
use crate::app::trace_export::build_exporter;
use crate::app::{App, config_change_check, load_ca, metrics_schema};
use crate::config::{Config, load};
use crate::problem::{Problem, ProblemReport};
use crate::proxy::ReloadSummary;
use crate::telemetry::{CommandKind, Operator, OperatorCommand, Reloaded};

impl App {
    /// Reads the config again, for SIGHUP and `sms-sidecar reload` alike; `by` ran that command. If it has errors, they are
    /// reported and the old config stays in force.
    pub(super) fn reload(&self, by: Option<&Operator>) -> Result<ReloadSummary, ProblemReport> {
        let _guard = self
            .reload_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let result = self.apply_reload();
        let (at, problem) = match &result {
            Ok(summary) => (
                Some(self.process.clock.wall_clock()),
                summary.needs_restart.clone(),
            ),
            Err(report) => (
                None,
                Some(format!(
                    "the new config has errors; the old one stays in force: {report}"
                )),
            ),
        };
        if let Some(by) = by {
            OperatorCommand {
                command: CommandKind::Reload,
                provider: None,
                by,
            }
            .emit(&self.process.telemetry);
        }
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
        let ca = load_ca(&loaded, &self.process.clock)?;
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
        let mut schema = metrics_schema(&loaded, listen, &self.process.build);
        schema.config.needs_restart = self.needs_restart(&loaded);
        telemetry.update_schema(&schema);
        self.activate_ca(ca);
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
        ReloadSummary {
            file: self.process.config_file.display().to_string(),
            needs_restart: self.needs_restart(loaded),
        }
    }

    /// What of a config a reload cannot put in force; none: nothing.
    fn needs_restart(&self, loaded: &Config) -> Option<String> {
        let started = &self.loaded;
        let changed = [
            ("[listen]", loaded.listen != started.listen),
            ("[limits]", loaded.limits != started.limits),
            ("[log]", loaded.log != started.log),
        ];
        let names: Vec<&str> = changed
            .into_iter()
            .filter_map(|(name, is_changed)| is_changed.then_some(name))
            .collect();
        let verb = if names.len() == 1 { "takes" } else { "take" };
        (!names.is_empty()).then(|| {
            format!(
                "{} {verb} effect at the next start: restart the sidecar; the rest is in force",
                names.join(" and ")
            )
        })
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
