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

use crate::net::Upstream;
use crate::net::drain::{Drain, Phase};
use crate::net::upstream::{Client, ClientError};
use crate::telemetry::{Loss, Spans, SpansExported, SpansLost, Telemetry};

use otlp::Trouble;

/// How long spans wait for others to travel with.
const GATHER: Duration = Duration::from_secs(1);
/// Pauses before a batch is sent again, unless the collector names one, up to [`PATIENCE`].
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one request may take …
const TIMEOUT: Duration = Duration::from_secs(5);
/// … and at the end of the process, which waits a second for us once the last call has landed.
const LAST: Duration = Duration::from_millis(700);
/// A collector answers with some bytes.
const REPLY: usize = 64 << 10;

/// `[traces]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The collector's base URL.
    pub endpoint: Uri,
    /// From 0 to 1: the share of calls that is traced where the backend does not say itself.
    pub sample: f64,
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
    client: Client,
}

/// What goes on: the collector of the config in use, if it has one.
pub type Current = watch::Receiver<Option<Arc<Exporter>>>;

impl Exporter {
    /// Reads `ca_file`; opens nothing yet. `version` is the build's.
    pub fn new(settings: Settings, version: &str) -> Result<Self, ClientError> {
        // Nothing secret travels: whether in clear is the operator's to say, with the URL's scheme.
        let upstream = Upstream { ca_file: settings.ca_file.clone(), insecure_http: true, ..Upstream::default() };
        Ok(Self { client: Client::new(upstream, REPLY)?, version: version.to_owned(), settings })
    }

    /// The share of calls that is traced where the backend does not say itself.
    pub fn share(&self) -> f64 {
        self.settings.sample
    }

    /// Exports until another config or the end of the process, and then what is left. True: it was the end.
    async fn serve(&self, spans: &mut Spans, current: &Current, telemetry: &Telemetry, drain: &Drain) -> bool {
        loop {
            let last = tokio::select! {
                () = spans.due(GATHER) => None,
                () = news(current) => Some(false),
                () = landed(drain) => Some(true),
            };
            self.flush(spans, current, telemetry, drain).await;
            if let Some(end) = last {
                return end;
            }
        }
    }

    /// Exports what waits.
    async fn flush(&self, spans: &mut Spans, current: &Current, telemetry: &Telemetry, drain: &Drain) {
        while let Some(batch) = spans.take() {
            let count = batch.len();
            let came = self.deliver(batch, current, drain).await;
            let failed = came.is_err();
            told(count, came, spans.left(), telemetry);
            // Another may do better; at the end of the process there is no time for more.
            if failed && is_over(current, drain) {
                return;
            }
        }
    }

    /// Sends one batch, again where it was surely not taken. Gives how many of it the collector refused.
    async fn deliver(&self, batch: Vec<Span>, current: &Current, drain: &Drain) -> Result<usize, Trouble> {
        let body = otlp::request(batch, &self.settings.service_name, &self.version);
        let mut pauses = PAUSES.into_iter();
        loop {
            let trouble = tokio::select! {
                sent = self.send(body.clone()) => match sent {
                    Ok(rejected) => return Ok(rejected),
                    Err(trouble) => trouble,
                },
                () = end(drain) => return Err(Trouble::lost("the process ended before the collector answered".to_owned())),
            };
            let (true, Some(pause)) = (trouble.again, pauses.next()) else { return Err(trouble) };
            tokio::select! {
                () = sleep(trouble.wait.unwrap_or(pause).clamp(pause, PATIENCE)) => {}
                () = over(current, drain) => return Err(trouble),
            }
        }
    }

    async fn send(&self, body: bytes::Bytes) -> Result<usize, Trouble> {
        let outgoing = otlp::outgoing(&self.settings.endpoint, body, &self.version);
        let reply = self.client.exchange(outgoing?, TIMEOUT).await;
        otlp::read(&self.settings.endpoint, reply)
    }
}

/// Exports spans as long as the process lives, to whichever collector the config names.
pub async fn export(mut current: Current, mut spans: Spans, telemetry: Arc<Telemetry>, drain: Drain) {
    let mut end = false;
    while !end {
        let exporter = current.borrow_and_update().clone();
        if let Some(exporter) = exporter {
            // The end of the process waits for it, for a moment.
            let guest = drain.guest();
            end = exporter.serve(&mut spans, &current, &telemetry, &drain).await;
            drop(guest);
        } else {
            over(&current, &drain).await;
            end = !current.has_changed().unwrap_or_default();
        }
    }
    if spans.left() > 0 {
        SpansLost { spans: spans.left(), loss: Loss::Failed, problem: "the process ended first" }.emit(&telemetry);
    }
}

/// Counts what became of a batch of so many.
fn told(count: usize, came: Result<usize, Trouble>, left: usize, telemetry: &Telemetry) {
    match came {
        Ok(rejected) => {
            SpansExported { spans: count.saturating_sub(rejected), left }.emit(telemetry);
            if rejected > 0 {
                SpansLost { spans: rejected, loss: Loss::Refused, problem: "the collector refuses some of the spans" }.emit(telemetry);
            }
        }
        Err(Trouble { loss, what, .. }) => SpansLost { spans: count, loss, problem: &what }.emit(telemetry),
    }
}

/// Another config came; it stays news to whoever looks next.
async fn news(current: &Current) {
    let mut current = current.clone();
    if current.changed().await.is_err() {
        // Nobody is left to bring one.
        std::future::pending::<()>().await;
    }
}

/// This collector is not to be waited for: another config came, or the process begins to end.
async fn over(current: &Current, drain: &Drain) {
    tokio::select! {
        () = news(current) => {}
        () = drain.reached(Phase::Draining) => {}
    }
}

fn is_over(current: &Current, drain: &Drain) -> bool {
    current.has_changed().unwrap_or_default() || drain.phase() > Phase::Serving
}

/// The process ends and the last call has landed.
async fn landed(drain: &Drain) {
    drain.reached(Phase::Draining).await;
    drain.empty().await;
}

/// No collector is waited for any longer.
async fn end(drain: &Drain) {
    landed(drain).await;
    sleep(LAST).await;
}

#[cfg(test)]
mod tests;
