//! What ops see: events. Something happens, one struct says so, and its `emit` writes
//! the log line and moves the metrics. Nobody else can touch a counter, so a line and
//! its number never disagree. Label values come from enums and the config only: a name
//! that is not in the [`Shape`] is counted under `other`, never as a series of its own.

mod account;
mod credential_age;
mod delivery;
mod entrypoint;
pub(crate) mod facts;
mod labels;
mod lifecycle;
pub mod log;
mod metrics;
mod reference;
mod request;
mod spans;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::Registry;

use crate::clock::Clock;
use crate::sms::ProviderId;

pub use account::{BalanceReported, CredentialLoaded, TokenExpiry, VaultRead, VaultReadResult};
pub use delivery::{
    AttemptFinished, DuplicateSuppressed, Failover, HealthStateChanged, LastSendOutcome,
    PossibleDuplicate, RejectionDiagnosed, RouteFirstChoice,
};
pub use entrypoint::{RequestDenied, TunnelClosed};
pub use facts::{ConfigSummary, ProviderSummary, RouteSummary};
pub use lifecycle::{CaExpiry, Panicked, Reloaded, Started, Stopping};
pub use metrics::HEALTH_STATES;
pub use reference::metrics_reference;
pub use request::{AttemptRecord, RequestFinished};
pub use spans::{
    SpanDropReason, SpanId, SpanReceiver, SpansDropped, SpansExported, TraceId, TraceParent,
};

use facts::StatusStore;
use labels::LabelSet;
use metrics::{MetricFactory, MetricFamilies};
use spans::Tracer;

/// What the config names, and so which series there are.
#[derive(Clone, Debug, Default)]
pub struct MetricsSchema {
    /// Each provider and its dialect.
    pub providers: Vec<(ProviderId, String)>,
    /// Names of vaults.
    pub vaults: Vec<String>,
    /// Every loaded dialect, and where it came from (`built-in`, `folder` …).
    pub dialects: Vec<(String, String)>,
    /// Which build this is.
    pub build: BuildInfo,
    /// Its routes, and what else of it ops look at.
    pub config: ConfigSummary,
}

/// Which build this is.
#[derive(Clone, Debug, Default)]
pub struct BuildInfo {
    /// The release's number.
    pub version: String,
    /// The commit it was made from.
    pub commit: String,
}

/// A vault and a path in it.
type VaultEntryKey = (String, String);

type ConfigChangeCheck = Arc<dyn Fn() -> Option<SystemTime> + Send + Sync>;

/// All metrics, what the status shows, and the memory that keeps log lines from repeating themselves.
pub struct Telemetry {
    metrics: MetricFamilies,
    store: StatusStore,
    tracer: Tracer,
    labels: Mutex<Arc<LabelSet>>,
    /// Vault entries whose last read failed, and how: a failure is logged when it begins and when it ends.
    failing_entries: Mutex<BTreeMap<VaultEntryKey, VaultReadResult>>,
    /// Asks the disk whether the config there is another one than that in force, and since when.
    config_change_check: Mutex<Option<ConfigChangeCheck>>,
    clock: Arc<dyn Clock>,
}

impl Telemetry {
    /// Registers every family on `registry` and bears its series at zero: a counter born at 1 has no increase.
    pub fn new(
        registry: &Registry,
        shape: &MetricsSchema,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, prometheus::Error> {
        let families = MetricFamilies::register(&MetricFactory::new(registry), Arc::clone(&clock))?;
        families.init_series(shape);
        let memory = StatusStore::new(shape, Arc::clone(&clock));
        let tracer = Tracer::new(Arc::clone(&clock));
        let known = Mutex::new(Arc::new(LabelSet::from_schema(shape)));
        Ok(Self {
            metrics: families,
            store: memory,
            tracer,
            labels: known,
            failing_entries: Mutex::default(),
            config_change_check: Mutex::default(),
            clock,
        })
    }

    /// After a reload: new names get their series, those that are gone lose theirs.
    pub fn update_schema(&self, shape: &MetricsSchema) {
        let known = LabelSet::from_schema(shape);
        self.metrics.remove_stale(&known);
        self.metrics.init_series(shape);
        self.store.update_schema(shape);
        // An entry that is no longer named would count as failing for ever; the others are read again at once.
        self.failing_entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        *self.labels.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// From now on this share of the calls is traced where the backend does not say itself; none: no call at all.
    pub fn set_trace_sampling(&self, share: Option<f64>) {
        if share.is_some() {
            self.metrics.init_span_series();
        }
        self.tracer.set_sample_rate(share);
    }

    /// The spans that are to be exported, for the one who does it: later calls get none.
    pub fn take_spans(&self) -> Option<SpanReceiver> {
        self.tracer.take_receiver()
    }

    /// From now on the status says whether the config was changed on the disk since it was loaded; `changed` tells
    /// when, and is asked each time.
    pub fn set_config_change_check(
        &self,
        changed: impl Fn() -> Option<SystemTime> + Send + Sync + 'static,
    ) {
        *self
            .config_change_check
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(changed));
    }

    /// What ops look at, at this moment.
    pub fn status(&self) -> crate::status::Status {
        let changed = self
            .config_change_check
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (mut facts, now, wall) = self.store.snapshot();
        facts.changed_at = changed.and_then(|changed| changed());
        crate::status::build(&facts, now, wall)
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
