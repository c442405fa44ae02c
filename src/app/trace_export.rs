//! What of the app is about traces: the exporter that a config asks for, and the task that it works in.

use std::sync::Arc;

use crate::app::App;
use crate::config::{Config, ConfigKey};
use crate::net::server::Server;
use crate::problem::ProblemReport;
use crate::telemetry::BuildInfo;
use crate::trace_export::{self, Exporter};

impl App {
    /// Spans on their way to a collector, if the config names one.
    pub(super) fn spawn_trace_exporter(&self, server: &mut Server) {
        let Some(spans) = self.telemetry.take_spans() else {
            return;
        };
        let (current, telemetry) = (self.exporter.subscribe(), Arc::clone(&self.telemetry));
        server.add_background("traces", move |drain| {
            trace_export::export(current, spans, telemetry, drain)
        });
    }
}

/// What exports the spans of this config.
pub(super) fn build_exporter(
    loaded: &Config,
    build: &BuildInfo,
) -> anyhow::Result<Option<Arc<Exporter>>> {
    let Some(settings) = &loaded.traces else {
        return Ok(None);
    };
    let exporter = Exporter::new(settings.clone(), &build.version).map_err(|error| {
        let problem = loaded.error(&ConfigKey::TracesCaFile, error.to_string());
        ProblemReport {
            problems: vec![problem],
            texts: loaded.warnings.texts.clone(),
        }
    })?;
    Ok(Some(Arc::new(exporter)))
}
