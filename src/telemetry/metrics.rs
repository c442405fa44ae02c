//! Every metric family: its name, its labels, and which of its series exist from the
//! start. Private to telemetry, so that only an event can move a number.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use crate::clock::Clock;
use crate::sms::{AttemptKind, Cause, Entrypoint, Family, Operation, RequestResult};
use crate::telemetry::credential_age::CredentialAge;
use crate::telemetry::labels::{LabelSet, NONE, OTHER};
use crate::telemetry::{BuildInfo, MetricsSchema, RouteSummary, SpanDropReason, VaultReadResult};

/// Every value of `provider_state`'s label, in the order of how bad it is.
pub const HEALTH_STATES: [&str; 4] = ["healthy", "cooldown", "quarantined", "paused"];

/// Every value of the label `outcome`.
pub(super) const OUTCOMES: [&str; 4] = ["accepted", "rejected", "unsent", "unknown"];

/// Every value of `reloads_total`'s label.
pub(super) const RELOAD_RESULTS: [&str; 2] = ["ok", "failed"];

/// Statuses that exist at zero: the first of each must be seen as an increase, as the first 401 must.
const INITIAL_STATUSES: [&str; 12] = [
    "200", "201", "202", "400", "401", "402", "403", "404", "429", "500", "502", "503",
];

const ATTEMPT_BUCKETS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];
const REQUEST_BUCKETS: [f64; 12] = [
    0.001, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0,
];

/// The families.
pub(super) struct MetricFamilies {
    pub(super) requests: IntCounterVec,
    pub(super) attempts: IntCounterVec,
    pub(super) upstream_responses: IntCounterVec,
    pub(super) attempt_duration: HistogramVec,
    pub(super) request_duration: HistogramVec,
    pub(super) failovers: IntCounterVec,
    pub(super) possible_duplicates: IntCounterVec,
    pub(super) duplicates_suppressed: IntCounterVec,
    pub(super) provider_state: IntGaugeVec,
    pub(super) first_choice: IntGaugeVec,
    route_provider: IntGaugeVec,
    pub(super) credential_version: IntGaugeVec,
    pub(super) credential_age: CredentialAge,
    pub(super) credential_expiry: IntGaugeVec,
    pub(super) balance: GaugeVec,
    pub(super) vault_reads: IntCounterVec,
    pub(super) vault_last_success: IntGaugeVec,
    pub(super) reloads: IntCounterVec,
    pub(super) config_timestamp: IntGaugeVec,
    pub(super) ca_expiry: IntGaugeVec,
    pub(super) spans_exported: IntCounterVec,
    pub(super) spans_dropped: IntCounterVec,
    dialect_info: IntGaugeVec,
    build_info: IntGaugeVec,
}

impl MetricFamilies {
    /// Makes and registers all of them.
    pub(super) fn register(
        on: &MetricFactory<'_>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: on.counter("requests_total", "Calls of the backend, by how they ended.", &["entrypoint", "dialect", "operation", "result"])?,
            attempts: on.counter(
                "attempts_total",
                "Attempts at providers, by classified outcome and cause.",
                &["provider", "kind", "outcome", "cause", "family"],
            )?,
            upstream_responses: on.counter(
                "upstream_responses_total",
                "Literal HTTP statuses providers answered with.",
                &["provider", "kind", "status"],
            )?,
            attempt_duration: on.histogram("attempt_duration_seconds", "Time of one attempt.", &["provider", "kind"], &ATTEMPT_BUCKETS)?,
            request_duration: on.histogram(
                "request_duration_seconds",
                "Time of one call, all attempts included.",
                &["dialect", "result"],
                &REQUEST_BUCKETS,
            )?,
            failovers: on.counter("failovers_total", "Messages moved on to another provider.", &["from", "to", "cause"])?,
            possible_duplicates: on.counter(
                "possible_duplicates_total",
                "Messages sent through this provider after an attempt elsewhere that may have been taken.",
                &["provider"],
            )?,
            duplicates_suppressed: on.counter("duplicates_suppressed_total", "Calls that repeated a message and were not sent again.", &["dialect"])?,
            provider_state: on.gauge("provider_state", "1 for the state a provider is in.", &["provider", "state"])?,
            first_choice: on.gauge("route_first_choice", "1: the route's first provider is used; 0: running on a backup.", &["route"])?,
            route_provider: on.gauge("route_provider", "The providers of each route; 1 is its first choice.", &["route", "provider"])?,
            credential_version: on.gauge(
                "credential_version",
                "How many contents of the credential were seen; 0: none could be read yet.",
                &["provider"],
            )?,
            credential_age: CredentialAge::register(on, clock)?,
            credential_expiry: on.gauge(
                "credential_expiry_timestamp_seconds",
                "When the login token or credential runs out, where that is known.",
                &["provider"],
            )?,
            balance: on.float_gauge("balance", "What the provider last said is left on the account.", &["provider", "unit"])?,
            vault_reads: on.counter("vault_reads_total", "Reads of vault entries.", &["vault", "result"])?,
            vault_last_success: on.gauge(
                "vault_good_timestamp_seconds",
                "When every entry in use of the vault could last be read; 0: not since the start.",
                &["vault"],
            )?,
            reloads: on.counter("reloads_total", "Config reloads; a bad one keeps the old config.", &["result"])?,
            config_timestamp: on.gauge("config_timestamp_seconds", "When the config in use was loaded.", &[])?,
            ca_expiry: on.gauge("ca_expiry_timestamp_seconds", "When the local CA's certificate runs out.", &[])?,
            spans_exported: on.counter("spans_exported_total", "Spans that the collector of traces took.", &[])?,
            spans_dropped: on.counter("spans_dropped_total", "Spans that reach nobody; no call waits or fails for it.", &["reason"])?,
            dialect_info: on.gauge("dialect_info", "1 for each loaded dialect and where it came from.", &["dialect", "source"])?,
            build_info: on.gauge("build_info", "1, with the build in its labels.", &["version", "commit"])?,
        })
    }

    /// Bears the series that must exist before anything happens.
    pub(super) fn init_series(&self, shape: &MetricsSchema) {
        for (provider, dialect) in &shape.providers {
            self.init_provider_series(provider.as_str());
            self.init_dialect_series(dialect);
        }
        for RouteSummary {
            name: route,
            providers,
            ..
        } in &shape.config.routes
        {
            init_gauge(&self.first_choice, &[("route", route)], 1);
            for (place, provider) in (1..).zip(providers) {
                self.route_provider
                    .with_label_values(&[route.as_str(), provider.as_str()])
                    .set(place);
            }
        }
        for vault in &shape.vaults {
            for result in VaultReadResult::ALL {
                self.vault_reads
                    .with_label_values(&[vault.as_str(), result.as_str()]);
            }
        }
        for result in RELOAD_RESULTS {
            self.reloads.with_label_values(&[result]);
        }
        for (dialect, source) in &shape.dialects {
            self.dialect_info
                .with_label_values(&[dialect, source])
                .set(1);
        }
        let BuildInfo { version, commit } = &shape.build;
        self.build_info.with_label_values(&[version, commit]).set(1);
    }

    /// Bears what only a config with traces has.
    pub(super) fn init_span_series(&self) {
        self.spans_exported.with_label_values::<&str>(&[]);
        for loss in SpanDropReason::ALL {
            self.spans_dropped.with_label_values(&[loss.as_str()]);
        }
    }

    fn init_provider_series(&self, provider: &str) {
        for (outcome, cause) in failure_outcomes() {
            // What ends a message may have any cause; of all else the account's are what ops look at.
            let kinds = if cause.family() == Family::Account {
                AttemptKind::ALL
            } else {
                &[AttemptKind::Send]
            };
            for kind in kinds {
                self.attempts.with_label_values(&[
                    provider,
                    kind.as_str(),
                    outcome,
                    cause.as_str(),
                    cause.family().as_str(),
                ]);
            }
        }
        for kind in AttemptKind::ALL.iter().map(|kind| kind.as_str()) {
            self.attempts
                .with_label_values(&[provider, kind, "accepted", NONE, NONE]);
            for status in INITIAL_STATUSES {
                self.upstream_responses
                    .with_label_values(&[provider, kind, status]);
            }
            self.attempt_duration.with_label_values(&[provider, kind]);
        }
        self.possible_duplicates.with_label_values(&[provider]);
        init_gauge(&self.credential_version, &[("provider", provider)], 0);
        for (standing, value) in HEALTH_STATES.iter().zip([1, 0, 0, 0]) {
            init_gauge(
                &self.provider_state,
                &[("provider", provider), ("state", standing)],
                value,
            );
        }
    }

    fn init_dialect_series(&self, dialect: &str) {
        for verdict in [
            RequestResult::Accepted,
            RequestResult::NotSent,
            RequestResult::InDoubt,
            RequestResult::MessageRejected,
        ] {
            for door in Entrypoint::ALL {
                self.requests.with_label_values(&[
                    door.as_str(),
                    dialect,
                    Operation::Send.as_str(),
                    verdict.as_str(),
                ]);
            }
            self.request_duration
                .with_label_values(&[dialect, verdict.as_str()]);
        }
        self.duplicates_suppressed.with_label_values(&[dialect]);
    }

    /// Drops every series of a name that is no longer configured.
    pub(super) fn remove_stale(&self, known: &LabelSet) {
        retain_series(&self.requests, "dialect", &known.dialects);
        retain_series(&self.attempts, "provider", &known.providers);
        retain_series(&self.upstream_responses, "provider", &known.providers);
        retain_series(&self.attempt_duration, "provider", &known.providers);
        retain_series(&self.request_duration, "dialect", &known.dialects);
        retain_series(&self.failovers, "from", &known.providers);
        retain_series(&self.failovers, "to", &known.providers);
        retain_series(&self.possible_duplicates, "provider", &known.providers);
        retain_series(&self.duplicates_suppressed, "dialect", &known.dialects);
        retain_series(&self.provider_state, "provider", &known.providers);
        retain_series(&self.first_choice, "route", &known.routes);
        retain_series(&self.credential_version, "provider", &known.providers);
        self.credential_age.remove_stale(known);
        retain_series(&self.credential_expiry, "provider", &known.providers);
        retain_series(&self.balance, "provider", &known.providers);
        retain_series(&self.vault_reads, "vault", &known.vaults);
        retain_series(&self.vault_last_success, "vault", &known.vaults);
        self.route_provider.reset();
        self.dialect_info.reset();
    }

    /// Sets the balance; a provider has one unit, so a unit that a reply invents cannot pile up series.
    pub(super) fn set_balance(&self, provider: &str, unit: &str, value: f64) {
        for labels in series_labels(&self.balance) {
            if labels.get("provider").is_some_and(|it| it == provider)
                && labels.get("unit").is_some_and(|it| it != unit)
            {
                remove_series(&self.balance, &labels);
            }
        }
        self.balance.with_label_values(&[provider, unit]).set(value);
    }
}

impl fmt::Debug for MetricFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Families").finish_non_exhaustive()
    }
}

/// Makes families on one registry, and keeps a list of them for the reference.
pub(super) struct MetricFactory<'a> {
    registry: &'a Registry,
    families: RefCell<Vec<Box<dyn Collector>>>,
}

impl<'a> MetricFactory<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            families: RefCell::default(),
        }
    }

    /// Every family that was made.
    pub(super) fn into_families(self) -> Vec<Box<dyn Collector>> {
        self.families.into_inner()
    }

    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(metric_opts(name, help), labels)?)
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(metric_opts(name, help), labels)?)
    }

    fn float_gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(metric_opts(name, help), labels)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts {
            common_opts: metric_opts(name, help),
            buckets: buckets.to_vec(),
        };
        self.register(HistogramVec::new(opts, labels)?)
    }

    pub(super) fn register<C: Collector + Clone + 'static>(
        &self,
        family: C,
    ) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(family.clone()))?;
        self.families.borrow_mut().push(Box::new(family.clone()));
        Ok(family)
    }
}

pub(super) fn metric_opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("sms_sidecar")
}

/// Every way an attempt can fail: a description may give any cause any of these outcomes.
fn failure_outcomes() -> impl Iterator<Item = (&'static str, Cause)> {
    Cause::ALL
        .iter()
        .copied()
        .flat_map(|cause| ["rejected", "unsent", "unknown"].map(|outcome| (outcome, cause)))
}

/// Gives a gauge its first value; one that is there already keeps its own, so that a reload changes none.
fn init_gauge(family: &IntGaugeVec, labels: &[(&str, &str)], value: i64) {
    let there = series_labels(family).iter().any(|found| {
        labels
            .iter()
            .all(|(name, word)| found.get(*name).is_some_and(|it| it == word))
    });
    if !there {
        let words: Vec<&str> = labels.iter().map(|(_, word)| *word).collect();
        family.with_label_values(&words).set(value);
    }
}

/// Removes every series whose `label` is neither in `names` nor one of our two words for no name.
pub(super) fn retain_series<T: MetricVecBuilder>(
    family: &MetricVec<T>,
    label: &str,
    names: &BTreeSet<String>,
) {
    for labels in series_labels(family) {
        let gone = labels
            .get(label)
            .is_some_and(|name| !names.contains(name) && name != OTHER && name != NONE);
        if gone {
            remove_series(family, &labels);
        }
    }
}

/// The labels of every series there is.
fn series_labels<T: MetricVecBuilder>(family: &MetricVec<T>) -> Vec<BTreeMap<String, String>> {
    let families = family.collect();
    let pairs = |metric: &prometheus::proto::Metric| {
        metric
            .get_label()
            .iter()
            .map(|pair| (pair.name().to_owned(), pair.value().to_owned()))
            .collect()
    };
    families
        .iter()
        .flat_map(|family| family.get_metric().iter().map(pairs))
        .collect()
}

fn remove_series<T: MetricVecBuilder>(family: &MetricVec<T>, labels: &BTreeMap<String, String>) {
    let labels: HashMap<&str, &str> = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    // Another thread may have removed it first, which is what we want.
    drop(family.remove(&labels));
}
