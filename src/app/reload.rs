//! Another config while calls run: it takes over as a whole or not at all. Listeners and
//! the local CA stay as they were opened; a change of them is told and needs a restart.

use std::fmt::Display;
use std::sync::{Arc, PoisonError};

use crate::app::trace_export::build_exporter;
use crate::app::{App, config_change_check, metrics_schema, vault_read_sink};
use crate::config::load;
use crate::problem::{Problem, ProblemReport};
use crate::proxy::{ProxyDeps, ReloadSummary};
use crate::telemetry::Reloaded;
use crate::vault::CredentialCache;

impl App {
    /// Reads the file again, for a signal and for `sms-sidecar reload` alike; what is wrong with it is told, and the
    /// old config stays.
    pub(super) fn reload(&self) -> Result<ReloadSummary, ProblemReport> {
        let _one = self
            .reload_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = self.apply_reload();
        let (at, problem) = match &taken {
            Ok(taken) => (
                Some(self.clock.wall_clock()),
                taken.needs_restart.map(str::to_owned),
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
        .emit(&self.telemetry);
        taken
    }

    fn apply_reload(&self) -> Result<ReloadSummary, ProblemReport> {
        let loaded = load(&self.config_file)?;
        let keeper = CredentialCache::new(
            &loaded.vault,
            Arc::clone(&self.clock),
            vault_read_sink(&self.telemetry),
        )
        .continue_from(&self.keeper.borrow());
        let keeper = Arc::new(keeper);
        let parts = ProxyDeps {
            keeper: Arc::clone(&keeper),
            telemetry: Arc::clone(&self.telemetry),
            clock: Arc::clone(&self.clock),
            via_marker: self.marker.clone(),
            config_path: self.config_file.display().to_string(),
            has_control: loaded.listen.control.is_some(),
        };
        let exporter = build_exporter(&loaded, &self.build)
            .map_err(|error| self.unusable_config(format!("{error:#}")))?;
        self.proxy
            .reload(
                loaded.proxy.clone(),
                &loaded.vault,
                &parts,
                loaded.limits.max_body,
            )
            .map_err(|error| self.unusable_config(error))?;
        // Not before it is certain: a reload that fails takes no series away.
        self.telemetry
            .update_schema(&metrics_schema(&loaded, &self.loaded.listen, &self.build));
        self.telemetry
            .set_config_change_check(config_change_check(&loaded));
        self.proxy.republish();
        self.keeper.send_replace(keeper);
        self.telemetry
            .set_trace_sampling(exporter.as_ref().map(|exporter| exporter.sample_ratio()));
        self.exporter.send_replace(exporter);
        let same = loaded.listen == self.loaded.listen && loaded.ca == self.loaded.ca;
        let waits = (!same).then_some("[listen] or [intercept] changed and takes effect at the next start; the rest is in force");
        Ok(ReloadSummary {
            file: self.config_file.display().to_string(),
            needs_restart: waits,
        })
    }

    /// The file is sound, and what it asks for cannot be made.
    fn unusable_config(&self, why: impl Display) -> ProblemReport {
        ProblemReport {
            problems: vec![Problem::error(
                &self.config_file.display().to_string(),
                None,
                why.to_string(),
            )],
            texts: Vec::new(),
        }
    }
}
