//! What of the app is about traces: the exporter that a config asks for, and the task that it works in.

use std::sync::Arc;

use crate::app::App;
use crate::config::{Key, Loaded};
use crate::net::server::Server;
use crate::problem::Report;
use crate::telemetry::Build;
use crate::traces::{self, Exporter};

impl App {
    /// Spans on their way to a collector, if the config names one.
    pub(super) fn trace(&self, server: &mut Server) {
        let Some(spans) = self.telemetry.spans() else { return };
        let (current, telemetry) = (self.exporter.subscribe(), Arc::clone(&self.telemetry));
        server.background("traces", move |drain| traces::export(current, spans, telemetry, drain));
    }
}

/// What exports the spans of this config.
pub(super) fn exporter(loaded: &Loaded, build: &Build) -> anyhow::Result<Option<Arc<Exporter>>> {
    let Some(settings) = &loaded.traces else { return Ok(None) };
    let exporter = Exporter::new(settings.clone(), &build.version).map_err(|error| {
        let problem = loaded.error(&Key::TracesCaFile, error.to_string());
        Report { problems: vec![problem], texts: loaded.warnings.texts.clone() }
    })?;
    Ok(Some(Arc::new(exporter)))
}
