//! Spans on their way to a collector, by OTLP over HTTP. Runs beside the calls and never with
//! them: it takes what waits, sends it in batches and counts what it could not deliver. The
//! library's own exporter is not used, because it wants an HTTP client of its own kind and tells
//! nobody how much it lost; its messages are, and the client is the one that speaks to services.

mod otlp;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::net::UpstreamSettings;
use crate::net::drain::{Drain, Phase};
use crate::net::upstream::{ClientError, UpstreamClient};
use crate::telemetry::{SpanDropReason, SpanReceiver, SpansDropped, SpansExported, Telemetry};

use otlp::ExportError;

/// How long a span waits for others to share its batch.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Pauses before a batch is sent again. A `Retry-After` of the collector takes their place, up to
/// [`MAX_RETRY_DELAY`].
const RETRY_DELAYS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// How long one request may take …
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// … and at the end of the process, which waits a second for us once the last call has landed.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(700);
/// A collector answers with some bytes.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// `[traces]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The collector's base URL.
    pub endpoint: Uri,
    /// From 0 to 1: the share of calls that is traced where the backend does not say itself.
    pub sample_ratio: f64,
    /// What we are called in the traces.
    pub service_name: String,
    /// More trusted roots, PEM.
    pub ca_file: Option<PathBuf>,
}

/// One collector, and what is said to it.
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    version: String,
    client: UpstreamClient,
}

/// What goes on: the collector of the config in use, if it has one.
pub type ExporterReceiver = watch::Receiver<Option<Arc<Exporter>>>;

impl Exporter {
    /// Reads `ca_file`; opens nothing yet. `version` is the build's.
    pub fn new(settings: Settings, version: &str) -> Result<Self, ClientError> {
        // Nothing secret travels: whether in clear is the operator's to say, with the URL's scheme.
        let upstream = UpstreamSettings {
            ca_file: settings.ca_file.clone(),
            insecure_http: true,
            ..UpstreamSettings::default()
        };
        Ok(Self {
            client: UpstreamClient::new(upstream, MAX_REPLY_BYTES)?,
            version: version.to_owned(),
            settings,
        })
    }

    /// The share of calls that is traced where the backend does not say itself.
    pub fn sample_ratio(&self) -> f64 {
        self.settings.sample_ratio
    }

    /// Exports until another config or the end of the process, and then what is left. True: it was the end.
    async fn export_until_replaced(
        &self,
        spans: &mut SpanReceiver,
        current: &ExporterReceiver,
        telemetry: &Telemetry,
        drain: &Drain,
    ) -> bool {
        loop {
            let last = tokio::select! {
                () = spans.wait_for_batch(BATCH_INTERVAL) => None,
                () = exporter_replaced(current) => Some(false),
                () = requests_drained(drain) => Some(true),
            };
            self.flush(spans, current, telemetry, drain).await;
            if let Some(end) = last {
                return end;
            }
        }
    }

    /// Exports what waits.
    async fn flush(
        &self,
        spans: &mut SpanReceiver,
        current: &ExporterReceiver,
        telemetry: &Telemetry,
        drain: &Drain,
    ) {
        while let Some(batch) = spans.take_batch() {
            let count = batch.len();
            let came = self.export_batch(batch, current, drain).await;
            let failed = came.is_err();
            record_export(count, came, spans.queued(), telemetry);
            // Another may do better; at the end of the process there is no time for more.
            if failed && is_replaced_or_draining(current, drain) {
                return;
            }
        }
    }

    /// Sends one batch, again where it was surely not taken. Gives how many of it the collector refused.
    async fn export_batch(
        &self,
        batch: Vec<Span>,
        current: &ExporterReceiver,
        drain: &Drain,
    ) -> Result<usize, ExportError> {
        let body = otlp::encode_request(batch, &self.settings.service_name, &self.version);
        let mut pauses = RETRY_DELAYS.into_iter();
        loop {
            let trouble = tokio::select! {
                sent = self.send(body.clone()) => match sent {
                    Ok(rejected) => return Ok(rejected),
                    Err(trouble) => trouble,
                },
                () = shutdown_deadline(drain) => return Err(ExportError::permanent("the process ended before the collector answered".to_owned())),
            };
            let (true, Some(pause)) = (trouble.is_retryable, pauses.next()) else {
                return Err(trouble);
            };
            tokio::select! {
                () = sleep(trouble.retry_after.unwrap_or(pause).clamp(pause, MAX_RETRY_DELAY)) => {}
                () = replaced_or_draining(current, drain) => return Err(trouble),
            }
        }
    }

    async fn send(&self, body: bytes::Bytes) -> Result<usize, ExportError> {
        let outgoing = otlp::build_request(&self.settings.endpoint, body, &self.version);
        let reply = self.client.exchange(outgoing?, REQUEST_TIMEOUT).await;
        otlp::parse_reply(&self.settings.endpoint, reply)
    }
}

/// Exports spans as long as the process lives, to whichever collector the config names.
pub async fn export(
    mut current: ExporterReceiver,
    mut spans: SpanReceiver,
    telemetry: Arc<Telemetry>,
    drain: Drain,
) {
    let mut end = false;
    while !end {
        let exporter = current.borrow_and_update().clone();
        if let Some(exporter) = exporter {
            // The end of the process waits for it, for a moment.
            let guest = drain.track_connection();
            end = exporter
                .export_until_replaced(&mut spans, &current, &telemetry, &drain)
                .await;
            drop(guest);
        } else {
            replaced_or_draining(&current, &drain).await;
            end = !current.has_changed().unwrap_or_default();
        }
    }
    if spans.queued() > 0 {
        SpansDropped {
            count: spans.queued(),
            reason: SpanDropReason::Failed,
            problem: "the process ended first",
        }
        .emit(&telemetry);
    }
}

/// Counts what became of a batch of so many.
fn record_export(
    count: usize,
    came: Result<usize, ExportError>,
    left: usize,
    telemetry: &Telemetry,
) {
    match came {
        Ok(rejected) => {
            SpansExported {
                count: count.saturating_sub(rejected),
                queued: left,
            }
            .emit(telemetry);
            if rejected > 0 {
                SpansDropped {
                    count: rejected,
                    reason: SpanDropReason::Rejected,
                    problem: "the collector refuses some of the spans",
                }
                .emit(telemetry);
            }
        }
        Err(ExportError {
            loss,
            message: what,
            ..
        }) => SpansDropped {
            count,
            reason: loss,
            problem: &what,
        }
        .emit(telemetry),
    }
}

/// Another config came; it stays news to whoever looks next.
async fn exporter_replaced(current: &ExporterReceiver) {
    let mut current = current.clone();
    if current.changed().await.is_err() {
        // Nobody is left to bring one.
        std::future::pending::<()>().await;
    }
}

/// This collector is not to be waited for: another config came, or the process begins to end.
async fn replaced_or_draining(current: &ExporterReceiver, drain: &Drain) {
    tokio::select! {
        () = exporter_replaced(current) => {}
        () = drain.wait_for(Phase::Draining) => {}
    }
}

fn is_replaced_or_draining(current: &ExporterReceiver, drain: &Drain) -> bool {
    current.has_changed().unwrap_or_default() || drain.phase() > Phase::Serving
}

/// The process ends and the last call has landed.
async fn requests_drained(drain: &Drain) {
    drain.wait_for(Phase::Draining).await;
    drain.requests_finished().await;
}

/// No collector is waited for any longer.
async fn shutdown_deadline(drain: &Drain) {
    requests_drained(drain).await;
    sleep(SHUTDOWN_GRACE).await;
}

#[cfg(test)]
mod tests;
