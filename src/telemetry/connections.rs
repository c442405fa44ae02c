//! Connections at the entrypoints: how many are open, and why one was denied; and those to providers that are opened in
//! advance.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntGaugeVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::clock::Moment;
use crate::policy::WarmUpFailure;
use crate::sms::{Cause, Entrypoint, ProviderId};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::label_or_other;
use crate::telemetry::registry::{MetricFactory, metric_opts};

/// Every value of the label of `warm_connections_total`.
pub(super) const WARM_UP_RESULTS: [&str; 2] = ["opened", "failed"];

/// The least time between two log lines about one limit.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Why a connection was denied before it brought a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionDenialReason {
    /// As many connections as the config allows were open.
    Limit,
    /// It did not begin with the head of an HTTP/1.1 request, in time and size.
    Head,
    /// The TLS handshake inside a CONNECT failed.
    Tls,
    /// The system could not accept it, for example because no file descriptor was left; it waits.
    AcceptFailed,
}

impl ConnectionDenialReason {
    /// Every value.
    pub const ALL: &[Self] = &[Self::Limit, Self::Head, Self::Tls, Self::AcceptFailed];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Head => "head",
            Self::Tls => "tls",
            Self::AcceptFailed => "accept-failed",
        }
    }
}

/// The entrypoints at which a backend opens connections.
pub(super) fn backend_entrypoints() -> impl Iterator<Item = Entrypoint> {
    Entrypoint::ALL
        .iter()
        .copied()
        .filter(|entrypoint| *entrypoint != Entrypoint::Control)
}

/// The number of open connections by entrypoint. Clones share it.
#[derive(Clone, Debug)]
pub struct OpenConnections(Arc<BTreeMap<Entrypoint, AtomicU64>>);

impl Default for OpenConnections {
    fn default() -> Self {
        let counts = backend_entrypoints().map(|entrypoint| (entrypoint, AtomicU64::new(0)));
        Self(Arc::new(counts.collect()))
    }
}

impl OpenConnections {
    /// Counts one connection until the guard is dropped.
    pub fn track(&self, entrypoint: Entrypoint) -> OpenConnection {
        self.add(entrypoint);
        OpenConnection {
            all: self.clone(),
            entrypoint: Mutex::new(entrypoint),
        }
    }

    /// How many are open.
    pub(crate) fn total(&self) -> u64 {
        self.0
            .values()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    fn add(&self, entrypoint: Entrypoint) {
        if let Some(count) = self.0.get(&entrypoint) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn remove(&self, entrypoint: Entrypoint) {
        if let Some(count) = self.0.get(&entrypoint) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct OpenConnection {
    all: OpenConnections,
    entrypoint: Mutex<Entrypoint>,
}

impl OpenConnection {
    /// Counts it at the entrypoint of its latest request.
    pub fn move_to(&self, entrypoint: Entrypoint) {
        let mut current = self
            .entrypoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *current != entrypoint {
            self.all.add(entrypoint);
            self.all.remove(*current);
            *current = entrypoint;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let entrypoint = *self
            .entrypoint
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        self.all.remove(entrypoint);
    }
}

/// `connections_open`, read from the counts.
#[derive(Clone)]
pub(super) struct OpenConnectionsGauge {
    gauge: IntGaugeVec,
    pub(super) counts: OpenConnections,
}

impl OpenConnectionsGauge {
    pub(super) fn register(on: &MetricFactory<'_>) -> Result<Self, prometheus::Error> {
        let opts = metric_opts(
            "connections_open",
            "Open connections of backends, by the entrypoint of their latest request.",
        );
        on.register(Self {
            gauge: IntGaugeVec::new(opts, &["entrypoint"])?,
            counts: OpenConnections::default(),
        })
    }
}

impl Collector for OpenConnectionsGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (entrypoint, count) in self.counts.0.iter() {
            let count = i64::try_from(count.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            self.gauge
                .with_label_values(&[entrypoint.as_str()])
                .set(count);
        }
        self.gauge.collect()
    }
}

/// When a limit was last logged, and how many were denied since.
#[derive(Debug, Default)]
pub(super) struct LimitLog {
    last: Option<Moment>,
    unlogged: u64,
}

impl LimitLog {
    /// Counts one denial. Returns how many a line is due for.
    pub(super) fn record(&mut self, now: Moment) -> Option<u64> {
        self.unlogged += 1;
        let is_due = self.last.is_none_or(|last| now.since(last) >= LOG_INTERVAL);
        is_due.then(|| {
            self.last = Some(now);
            std::mem::take(&mut self.unlogged)
        })
    }
}

/// A connection was denied.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionDenied {
    /// The entrypoint.
    pub entrypoint: Entrypoint,
    /// Why.
    pub reason: ConnectionDenialReason,
}

impl ConnectionDenied {
    /// Counts it. At the limit no [`RequestDenied`](crate::telemetry::RequestDenied) follows, so that a
    /// crowd of connections writes one line a minute.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry
            .metrics
            .connections
            .denied
            .with_label_values(&[self.entrypoint.as_str(), self.reason.as_str()])
            .inc();
        if self.reason != ConnectionDenialReason::Limit {
            return;
        }
        super::entrypoint::record_denied_request(self.entrypoint, telemetry);
        telemetry.store.record_denied_connection();
        let due = telemetry
            .limit_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(telemetry.clock.now());
        if let Some(denied) = due {
            tracing::warn!(
                entrypoint = self.entrypoint.as_str(),
                denied,
                limit = telemetry.connection_limit(),
                "connections denied: as many are open as `[limits] connections` or the limit of open files allows"
            );
        }
    }
}

/// A listener could not accept a connection, which waits in the kernel's queue.
#[derive(Clone, Copy, Debug)]
pub struct AcceptFailed<'a> {
    /// The listener's key under `[listen]`.
    pub listener: &'static str,
    /// The entrypoint; none for the admin listeners.
    pub entrypoint: Option<Entrypoint>,
    /// What is wrong.
    pub problem: &'a str,
    /// What to do.
    pub remedy: &'a str,
}

impl AcceptFailed<'_> {
    /// Counts it, and writes one line a minute.
    pub fn emit(&self, telemetry: &Telemetry) {
        if let Some(entrypoint) = self.entrypoint {
            let reason = ConnectionDenialReason::AcceptFailed;
            ConnectionDenied { entrypoint, reason }.emit(telemetry);
        }
        let due = telemetry
            .accept_logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(self.listener)
            .or_default()
            .record(telemetry.clock.now());
        if let Some(failures) = due {
            tracing::warn!(
                listener = self.listener,
                failures,
                problem = self.problem,
                remedy = self.remedy,
                "connections cannot be accepted, and wait"
            );
        }
    }
}

/// The process may open too few files for the connections that its config allows.
#[derive(Clone, Copy, Debug)]
pub struct FileLimitLow<'a> {
    /// What is wrong.
    pub problem: &'a str,
    /// What to do.
    pub remedy: &'a str,
}

impl FileLimitLow<'_> {
    /// Logs it, and keeps it for the status: the limit does not change while the process runs.
    pub fn emit(&self, telemetry: &Telemetry) {
        tracing::warn!(
            problem = self.problem,
            remedy = self.remedy,
            "the limit of open files is too low"
        );
        telemetry
            .store
            .record_file_limit(format!("{}: {}", self.problem, self.remedy));
    }
}

/// A connection to a provider was opened in advance, or could not be.
#[derive(Clone, Copy, Debug)]
pub struct WarmUpFinished<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// Why it could not be opened, and what follows.
    pub failure: Option<(Cause, &'a str, WarmUpFailure)>,
}

impl WarmUpFinished<'_> {
    /// Counts it. A failure has cost no message, so only one of a row is a warning.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let provider = label_or_other(self.provider.as_str(), &known.providers);
        let [opened, failed] = WARM_UP_RESULTS;
        let result = if self.failure.is_some() {
            failed
        } else {
            opened
        };
        let family = &telemetry.metrics.connections.opened_in_advance;
        family.with_label_values(&[provider, result]).inc();
        let Some((cause, detail, failure)) = self.failure else {
            return;
        };
        let (cause, pause) = (cause.as_str(), failure.pause.as_secs());
        if failure.is_warning {
            tracing::warn!(
                provider,
                cause,
                detail,
                "provider {provider}: no connection can be opened in advance; the next message there may fail"
            );
        } else {
            tracing::debug!(provider, cause, detail, pause, "no connection in advance");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_once_at_the_entrypoint_of_its_latest_request() {
        let all = OpenConnections::default();
        let at = |entrypoint| {
            let count = all.0.get(&entrypoint).unwrap();
            count.load(Ordering::Relaxed)
        };
        let first = all.track(Entrypoint::BaseUrl);
        let second = all.track(Entrypoint::Unix);
        assert_eq!((all.total(), at(Entrypoint::BaseUrl)), (2, 1));
        first.move_to(Entrypoint::Connect);
        first.move_to(Entrypoint::Connect);
        assert_eq!((at(Entrypoint::BaseUrl), at(Entrypoint::Connect)), (0, 1));
        drop((first, second));
        assert_eq!(all.total(), 0);
    }

    #[test]
    fn a_crowd_writes_one_line_a_minute_with_its_size() {
        let mut log = LimitLog::default();
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert_eq!(log.record(at(5)), Some(1));
        assert_eq!(log.record(at(6)), None);
        assert_eq!(log.record(at(64)), None);
        assert_eq!(log.record(at(65)), Some(3));
        assert_eq!(log.record(at(66)), None);
    }
}
