//! What operators see: events. An event struct describes one thing that happened, and its `emit`
//! writes the log line and updates the metrics. Nothing else can change a counter, so a line and its
//! number never disagree. Label values come only from enums and the config: a name that is not in
//! the [`MetricsSchema`] is counted under `other`, never as a series of its own.

mod account;
mod connections;
mod credential_age;
mod delivery;
mod entrypoint;
mod facts;
mod initial_series;
mod labels;
mod lifecycle;
pub mod log;
mod log_writer;
mod metrics;
mod notification;
mod operator;
mod reference;
mod registry;
mod request;
mod spans;
mod trace_context;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;

use crate::clock::Clock;
use crate::sms::ProviderId;

pub use account::{
    BalanceReported, CredentialLoaded, CredentialSuspicious, PreviousCredential, ResolverChanged,
    TokenExpiry, VaultRead, VaultReadResult,
};
pub use connections::{
    AcceptFailed, ConnectionDenialReason, ConnectionDenied, FileLimitLow, OpenConnection,
    OpenConnections, WarmUpFinished,
};
pub use delivery::{
    AttemptFinished, DuplicateSuppressed, Failover, HealthStateChanged, LastSendOutcome,
    PossibleDuplicate, RejectionDiagnosed, RouteFirstChoice,
};
pub use entrypoint::{DenialRecorded, RequestDenied, TunnelClosed};
pub(crate) use facts::{
    AccountNote, AttemptNote, HealthNote, RequestNote, RouteNote, VaultEntryNote,
};
pub use facts::{ConfigChange, ConfigSummary, ProviderSummary, RouteSummary, StatusSnapshot};
pub use lifecycle::{CaExpiry, Panicked, Reloaded, Started, Stopping};
pub use log_writer::LogWriter;
pub use notification::{
    NotificationDelayed, NotificationDelivered, NotificationLoss, NotificationsLost,
};
pub use operator::{CommandKind, Operator, OperatorCommand};
pub use reference::{closed_values, metrics_reference};
pub use request::{AttemptRecord, RequestFinished};
pub use spans::{SpanDropReason, SpanReceiver, SpansDropped, SpansExported};
pub use trace_context::{SpanId, TraceId, TraceParent};

use connections::LimitLog;
use facts::StatusStore;
use labels::LabelSet;
use metrics::MetricFamilies;
use notification::WebhookState;
use registry::MetricFactory;
use spans::Tracer;

/// The names in the config, which determine which series exist.
#[derive(Clone, Debug, Default)]
pub struct MetricsSchema {
    /// Each provider and its dialect.
    pub providers: Vec<(ProviderId, String)>,
    /// Names of vaults.
    pub vaults: Vec<String>,
    /// Each loaded dialect and its source (`built-in`, `folder` …).
    pub dialects: Vec<(String, String)>,
    /// The running build.
    pub build: BuildInfo,
    /// What the status shows about the config.
    pub config: ConfigSummary,
}

/// A build of the sidecar.
#[derive(Clone, Debug, Default)]
pub struct BuildInfo {
    /// The version of the release.
    pub version: String,
    /// The commit it was made from.
    pub commit: String,
}

/// A vault and a path in it.
type VaultEntryKey = (String, String);

type ConfigChangeCheck = Arc<dyn Fn() -> Option<ConfigChange> + Send + Sync>;

/// All metrics, the facts behind the status, and the state that keeps log lines from repeating.
pub struct Telemetry {
    metrics: MetricFamilies,
    store: StatusStore,
    tracer: Tracer,
    webhook_state: WebhookState,
    labels: Mutex<Arc<LabelSet>>,
    /// The vault entries whose last read failed, and how: a failure is logged when it begins and
    /// when it ends.
    failing_entries: Mutex<BTreeMap<VaultEntryKey, VaultReadResult>>,
    /// Returns since when the config on disk has differed from the active one.
    config_change_check: Mutex<Option<ConfigChangeCheck>>,
    limit_log: Mutex<LimitLog>,
    /// By listener.
    accept_logs: Mutex<BTreeMap<&'static str, LimitLog>>,
    exhausted_log: Mutex<LimitLog>,
    clock: Arc<dyn Clock>,
}

impl Telemetry {
    /// Registers every family on `registry` and creates the series that exist from the start.
    pub fn new(
        registry: &Registry,
        schema: &MetricsSchema,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, prometheus::Error> {
        let factory = MetricFactory::new(registry);
        let metrics = MetricFamilies::register(&factory, Arc::clone(&clock))?;
        metrics.init_series(schema);
        Ok(Self {
            metrics,
            store: StatusStore::new(schema, Arc::clone(&clock)),
            tracer: Tracer::new(Arc::clone(&clock)),
            webhook_state: WebhookState::default(),
            labels: Mutex::new(Arc::new(LabelSet::from_schema(schema))),
            failing_entries: Mutex::default(),
            config_change_check: Mutex::default(),
            limit_log: Mutex::default(),
            accept_logs: Mutex::default(),
            exhausted_log: Mutex::default(),
            clock,
        })
    }

    /// Applies a reloaded config: new names get their series, removed names lose theirs.
    pub fn update_schema(&self, schema: &MetricsSchema) {
        let known = LabelSet::from_schema(schema);
        self.metrics.remove_stale(&known);
        self.metrics.init_series(schema);
        self.store.update_schema(schema);
        // An entry that is no longer in the config would count as failing forever; the others are read
        // again at once.
        self.failing_entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        *self.labels.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// Counts the lines that this log drops.
    pub fn count_dropped_lines(&self, log: &LogWriter) {
        log.count_drops(self.metrics.process.log_lines_dropped.clone());
    }

    /// Counts the open connections of backends; at most `limit` may be open.
    pub fn open_connections(&self, limit: usize) -> OpenConnections {
        self.metrics
            .connections
            .limit
            .set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.metrics.connections.open.counts.clone()
    }

    fn connection_limit(&self) -> u64 {
        u64::try_from(self.metrics.connections.limit.get()).unwrap_or_default()
    }

    /// Sets the share of requests that is traced if the backend does not decide it, from 0 to 1;
    /// none: no request is traced.
    pub fn set_trace_sampling(&self, share: Option<f64>) {
        if share.is_some() {
            self.metrics.init_span_series();
        }
        self.tracer.set_sample_rate(share);
    }

    /// Creates the series that exist only for a config with a webhook.
    pub fn init_notifications(&self) {
        self.metrics.init_notification_series();
    }

    /// Returns the receiver of the spans to export, once; none after that.
    pub fn take_spans(&self) -> Option<SpanReceiver> {
        self.tracer.take_receiver()
    }

    /// Sets the function that each snapshot calls to find out which file of the config was changed
    /// after it was loaded, and when. The function returns none if the config was not changed.
    pub fn set_config_change_check(
        &self,
        changed: impl Fn() -> Option<ConfigChange> + Send + Sync + 'static,
    ) {
        *self
            .config_change_check
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(changed));
    }

    /// Copies the facts that the status is built from, without a look at the config on disk.
    pub fn facts(&self) -> StatusSnapshot {
        self.store.snapshot()
    }

    /// Copies the facts that the status is built from.
    pub fn snapshot(&self) -> StatusSnapshot {
        let changed = self
            .config_change_check
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut snapshot = self.store.snapshot();
        snapshot.facts.connections.open = self.metrics.connections.open.counts.total();
        snapshot.facts.connections.limit = self.connection_limit();
        // It reads the disk, so no lock is held.
        snapshot.facts.change = changed.and_then(|changed| changed());
        snapshot
    }

    fn labels(&self) -> Arc<LabelSet> {
        Arc::clone(&self.labels.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
