//! Another config while calls run: it takes over as a whole or not at all. Listeners and
//! the local CA stay as they were opened; a change of them is told and needs a restart.

use std::sync::Arc;

use anyhow::Context;

use crate::app::traces::exporter;
use crate::app::{App, reads, shape};
use crate::config::load;
use crate::proxy::Parts;
use crate::telemetry::Reloaded;
use crate::vault::Keeper;

impl App {
    /// Reads the file again; what is wrong with it is told, and the old config stays.
    pub(super) fn reload(&self) {
        let outcome = self.take_over();
        let (at, problem) = match outcome {
            Ok(left) => (Some(self.clock.wall()), left.map(str::to_owned)),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Reloaded { at, problem: problem.as_deref() }.emit(&self.telemetry);
    }

    /// What of the new config waits for the next start, if anything.
    fn take_over(&self) -> anyhow::Result<Option<&'static str>> {
        let loaded = load(&self.file).context("the new config has errors; the old one stays in force")?;
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
        let exporter = exporter(&loaded, &self.build)?;
        self.proxy.reload(loaded.proxy.clone(), &loaded.vault, &parts, loaded.limits.body)?;
        // Not before it is certain: a reload that fails takes no series away.
        self.telemetry.reshape(&shape(&loaded, &self.loaded.listen, &self.build));
        self.proxy.retell();
        self.keeper.send_replace(keeper);
        self.telemetry.trace(exporter.as_ref().map(|exporter| exporter.share()));
        self.exporter.send_replace(exporter);
        let same = loaded.listen == self.loaded.listen && loaded.ca == self.loaded.ca;
        Ok((!same).then_some("[listen] or [intercept] changed and takes effect at the next start; the rest is in force"))
    }
}
