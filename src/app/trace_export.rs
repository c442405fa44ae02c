//! Builds the trace exporter of a config, and starts the task that it runs in.

use std::sync::Arc;

use crate::app::App;
use crate::config::{Config, ConfigKey};
use crate::net::server::Server;
use crate::problem::ProblemReport;
use crate::telemetry::BuildInfo;
use crate::trace_export::{self, Exporter};

impl App {
    /// Starts the task that exports spans; it does nothing while the config names no collector.
    pub(super) fn spawn_trace_exporter(&self, server: &mut Server) {
        let Some(spans) = self.process.telemetry.take_spans() else {
            return;
        };
        let current = self.exporter.subscribe();
        let telemetry = Arc::clone(&self.process.telemetry);
        server.add_background("trace-export", move |drain| {
            trace_export::export(current, spans, telemetry, drain)
        });
    }
}

/// The exporter of this config; `None` if the config names no collector.
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
