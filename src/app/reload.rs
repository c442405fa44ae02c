//! Another config while calls run: it takes over as a whole or not at all. Listeners and
//! the local CA stay as they were opened; a change of them is told and needs a restart.

use std::fmt::Display;
use std::sync::{Arc, PoisonError};

use crate::app::traces::exporter;
use crate::app::{App, following, reads, shape};
use crate::config::load;
use crate::problem::{Problem, Report};
use crate::proxy::{Parts, Taken};
use crate::telemetry::Reloaded;
use crate::vault::Keeper;

impl App {
    /// Reads the file again, for a signal and for `sms-sidecar reload` alike; what is wrong with it is told, and the
    /// old config stays.
    pub(super) fn reload(&self) -> Result<Taken, Report> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.take_over();
        let (at, problem) = match &taken {
            Ok(taken) => (Some(self.clock.wall()), taken.waits.map(str::to_owned)),
            Err(report) => (None, Some(format!("the new config has errors; the old one stays in force: {report}"))),
        };
        Reloaded { at, problem: problem.as_deref() }.emit(&self.telemetry);
        taken
    }

    fn take_over(&self) -> Result<Taken, Report> {
        let loaded = load(&self.file)?;
        let keeper = Keeper::new(&loaded.vault, Arc::clone(&self.clock), reads(&self.telemetry)).after(&self.keeper.borrow());
        let keeper = Arc::new(keeper);
        let parts = Parts {
            keeper: Arc::clone(&keeper),
            telemetry: Arc::clone(&self.telemetry),
            clock: Arc::clone(&self.clock),
            marker: self.marker.clone(),
            config: self.file.display().to_string(),
            has_control: loaded.listen.control.is_some(),
        };
        let exporter = exporter(&loaded, &self.build).map_err(|error| self.unusable(format!("{error:#}")))?;
        self.proxy.reload(loaded.proxy.clone(), &loaded.vault, &parts, loaded.limits.body).map_err(|error| self.unusable(error))?;
        // Not before it is certain: a reload that fails takes no series away.
        self.telemetry.reshape(&shape(&loaded, &self.loaded.listen, &self.build));
        self.telemetry.follow_config(following(&loaded));
        self.proxy.retell();
        self.keeper.send_replace(keeper);
        self.telemetry.trace(exporter.as_ref().map(|exporter| exporter.share()));
        self.exporter.send_replace(exporter);
        let same = loaded.listen == self.loaded.listen && loaded.ca == self.loaded.ca;
        let waits = (!same).then_some("[listen] or [intercept] changed and takes effect at the next start; the rest is in force");
        Ok(Taken { file: self.file.display().to_string(), waits })
    }

    /// The file is sound, and what it asks for cannot be made.
    fn unusable(&self, why: impl Display) -> Report {
        Report { problems: vec![Problem::error(&self.file.display().to_string(), None, why.to_string())], texts: Vec::new() }
    }
}
