//! Exports spans to a collector, by OTLP over HTTP. The export runs separately from requests and never
//! delays them: it takes the queued spans, sends them in batches and counts those that it could not
//! deliver. The library's own exporter is not used, because it requires a specific HTTP client and
//! does not report how many spans it lost. The library's message types are used, with the HTTP
//! client that also connects to services.

mod otlp;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::net::UpstreamSettings;
use crate::net::background::{
    is_replaced_or_draining, replaced, replaced_or_draining, requests_drained, shutdown_deadline,
};
use crate::net::drain::Drain;
use crate::net::upstream::{ClientError, UpstreamClient};
use crate::telemetry::{SpanDropReason, SpanReceiver, SpansDropped, SpansExported, Telemetry};

use otlp::ExportError;

/// How long a span waits for others to fill its batch.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Delays before a batch is sent again. A `Retry-After` of the collector replaces them, up to
/// [`MAX_RETRY_DELAY`].
const RETRY_DELAYS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest reply that is read from a collector.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// The settings in `[traces]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The collector's base URL.
    pub endpoint: Uri,
    /// The share of requests that is traced if the backend does not decide it, from 0 to 1.
    pub sample_ratio: f64,
    /// The sidecar's service name in the traces.
    pub service_name: String,
    /// A PEM file with additional trusted roots.
    pub ca_file: Option<PathBuf>,
}

/// Exports spans to one collector.
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    version: String,
    client: UpstreamClient,
}

/// Receives the exporter of the active config, if it names a collector.
pub type ExporterReceiver = watch::Receiver<Option<Arc<Exporter>>>;

impl Exporter {
    /// Reads `ca_file`, but opens no connection yet. `version` is the version of the build.
    pub fn new(settings: Settings, version: &str) -> Result<Self, ClientError> {
        // Spans contain no secrets, so the operator may choose plain HTTP by the scheme of the URL.
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

    /// The share of requests that is traced if the backend does not decide it.
    pub fn sample_ratio(&self) -> f64 {
        self.settings.sample_ratio
    }

    /// Exports until the config changes or the process ends, and then exports the remaining spans. Returns
    /// true if the process ends.
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
                () = replaced(current) => Some(false),
                () = requests_drained(drain) => Some(true),
            };
            self.flush(spans, current, telemetry, drain).await;
            if let Some(end) = last {
                return end;
            }
        }
    }

    /// Exports the queued spans.
    async fn flush(
        &self,
        spans: &mut SpanReceiver,
        current: &ExporterReceiver,
        telemetry: &Telemetry,
        drain: &Drain,
    ) {
        while let Some(batch) = spans.take_batch() {
            let count = batch.len();
            let result = self.export_batch(batch, current, drain).await;
            let failed = result.is_err();
            record_export(count, result, spans.queued(), telemetry);
            // Another collector may succeed; at shutdown there is no time for more batches.
            if failed && is_replaced_or_draining(current, drain) {
                return;
            }
        }
    }

    /// Sends one batch, and retries if the collector certainly did not accept it. Returns how many of its
    /// spans the collector rejected.
    async fn export_batch(
        &self,
        batch: Vec<Span>,
        current: &ExporterReceiver,
        drain: &Drain,
    ) -> Result<usize, ExportError> {
        let body = otlp::encode_request(batch, &self.settings.service_name, &self.version);
        let mut pauses = RETRY_DELAYS.into_iter();
        loop {
            let error = tokio::select! {
                sent = self.send(body.clone()) => match sent {
                    Ok(rejected) => return Ok(rejected),
                    Err(error) => error,
                },
                () = shutdown_deadline(drain) => return Err(ExportError::permanent("the process ended before the collector answered".to_owned())),
            };
            let (true, Some(pause)) = (error.is_retryable, pauses.next()) else {
                return Err(error);
            };
            tokio::select! {
                () = sleep(error.retry_after.unwrap_or(pause).clamp(pause, MAX_RETRY_DELAY)) => {}
                () = replaced_or_draining(current, drain) => return Err(error),
            }
        }
    }

    async fn send(&self, body: bytes::Bytes) -> Result<usize, ExportError> {
        let outgoing = otlp::build_request(&self.settings.endpoint, body, &self.version);
        let reply = self.client.exchange(outgoing?, REQUEST_TIMEOUT).await;
        otlp::parse_reply(&self.settings.endpoint, reply)
    }
}

/// Exports spans as long as the process lives, to the collector that the current config names.
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
            // Shutdown waits for it for a short time.
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

/// Counts the result of a batch of `count` spans.
fn record_export(
    count: usize,
    result: Result<usize, ExportError>,
    left: usize,
    telemetry: &Telemetry,
) {
    match result {
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

#[cfg(test)]
mod tests;
