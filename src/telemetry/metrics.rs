//! Every metric family: its name and its labels.
//! Private to telemetry, so that only an event can change a metric.

use std::fmt;
use std::sync::Arc;

use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::clock::Clock;
use crate::telemetry::connections::OpenConnectionsGauge;
use crate::telemetry::credential_age::CredentialAge;
use crate::telemetry::labels::LabelSet;
use crate::telemetry::registry::{MetricFactory, remove_series, retain_series, series_labels};

/// Every value of the label `outcome`.
pub(super) const OUTCOMES: [&str; 4] = ["accepted", "rejected", "unsent", "unknown"];

/// Every value of the label of `reloads_total`.
pub(super) const RELOAD_RESULTS: [&str; 2] = ["ok", "failed"];

const POSSIBLE_DUPLICATES_HELP: &str =
    "Messages sent through this provider after an attempt elsewhere that may have been taken.";
const DENIED_HELP: &str = "Requests that the sidecar itself denied; those of the backend are for a provider or from a configured caller.";
const STATE_HELP: &str = "1 for the state that the provider is in, 0 for the others.";
const FIRST_CHOICE_HELP: &str = "1: the route uses its first provider; 0: it runs on a backup.";
const ORDER_HELP: &str = "The place of each provider in its route; 1 is the first choice.";

const ATTEMPT_BUCKETS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];
const REQUEST_BUCKETS: [f64; 12] = [
    0.001, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0,
];

/// Every family.
pub(super) struct MetricFamilies {
    pub(super) requests: IntCounterVec,
    pub(super) denied_requests: IntCounterVec,
    pub(super) attempts: IntCounterVec,
    pub(super) upstream_responses: IntCounterVec,
    pub(super) attempt_duration: HistogramVec,
    pub(super) request_duration: HistogramVec,
    pub(super) failovers: IntCounterVec,
    pub(super) possible_duplicates: IntCounterVec,
    pub(super) duplicates_suppressed: IntCounterVec,
    pub(super) provider_state: IntGaugeVec,
    pub(super) first_choice: IntGaugeVec,
    pub(super) route_provider: IntGaugeVec,
    pub(super) account: AccountFamilies,
    pub(super) process: ProcessFamilies,
    pub(super) connections: ConnectionFamilies,
}

/// The families about connections: those of backends, and those to providers.
pub(super) struct ConnectionFamilies {
    pub(super) opened_in_advance: IntCounterVec,
    pub(super) open: OpenConnectionsGauge,
    pub(super) limit: IntGauge,
    pub(super) denied: IntCounterVec,
}

/// The families about credentials, balances and vaults.
pub(super) struct AccountFamilies {
    pub(super) credential_version: IntGaugeVec,
    pub(super) credential_age: CredentialAge,
    pub(super) credential_expiry: IntGaugeVec,
    pub(super) balance: GaugeVec,
    pub(super) vault_reads: IntCounterVec,
    pub(super) vault_last_success: IntGaugeVec,
}

/// The families about the process: its config, CA, spans and build.
pub(super) struct ProcessFamilies {
    pub(super) reloads: IntCounterVec,
    pub(super) config_timestamp: IntGaugeVec,
    pub(super) ca_expiry: IntGaugeVec,
    pub(super) spans_exported: IntCounterVec,
    pub(super) spans_dropped: IntCounterVec,
    pub(super) notifications: IntCounterVec,
    pub(super) log_lines_dropped: IntCounter,
    pub(super) dialect_info: IntGaugeVec,
    pub(super) build_info: IntGaugeVec,
}

impl MetricFamilies {
    /// Creates and registers all of them.
    pub(super) fn register(
        on: &MetricFactory<'_>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: on.counter(
                "requests_total",
                "Requests of the backend, by result.",
                &["entrypoint", "dialect", "operation", "result"],
            )?,
            denied_requests: on.counter(
                "denied_requests_total",
                DENIED_HELP,
                &["reason", "client"],
            )?,
            attempts: on.counter(
                "attempts_total",
                "Attempts at providers, by classified outcome and cause.",
                &["provider", "kind", "outcome", "cause", "family"],
            )?,
            upstream_responses: on.counter(
                "upstream_responses_total",
                "Literal HTTP statuses that providers answered with.",
                &["provider", "kind", "status"],
            )?,
            attempt_duration: on.histogram(
                "attempt_duration_seconds",
                "Duration of one attempt.",
                &["provider", "kind"],
                &ATTEMPT_BUCKETS,
            )?,
            request_duration: on.histogram(
                "request_duration_seconds",
                "Duration of one request, all attempts included.",
                &["dialect", "result"],
                &REQUEST_BUCKETS,
            )?,
            failovers: on.counter(
                "failovers_total",
                "Messages that moved on to another provider.",
                &["from", "to", "cause"],
            )?,
            possible_duplicates: on.counter(
                "possible_duplicates_total",
                POSSIBLE_DUPLICATES_HELP,
                &["provider"],
            )?,
            duplicates_suppressed: on.counter(
                "duplicates_suppressed_total",
                "Requests that repeated a message and were not sent again.",
                &["dialect"],
            )?,
            provider_state: on.gauge("provider_state", STATE_HELP, &["provider", "state"])?,
            first_choice: on.gauge("route_first_choice", FIRST_CHOICE_HELP, &["route"])?,
            route_provider: on.gauge("route_provider", ORDER_HELP, &["route", "provider"])?,
            account: AccountFamilies::register(on, clock)?,
            process: ProcessFamilies::register(on)?,
            connections: ConnectionFamilies::register(on)?,
        })
    }

    /// Removes every series of a name that is no longer configured.
    pub(super) fn remove_stale(&self, known: &LabelSet) {
        retain_series(&self.requests, "dialect", &known.dialects);
        retain_series(&self.attempts, "provider", &known.providers);
        retain_series(&self.upstream_responses, "provider", &known.providers);
        retain_series(
            &self.connections.opened_in_advance,
            "provider",
            &known.providers,
        );
        retain_series(&self.attempt_duration, "provider", &known.providers);
        retain_series(&self.request_duration, "dialect", &known.dialects);
        retain_series(&self.failovers, "from", &known.providers);
        retain_series(&self.failovers, "to", &known.providers);
        retain_series(&self.possible_duplicates, "provider", &known.providers);
        retain_series(&self.duplicates_suppressed, "dialect", &known.dialects);
        retain_series(&self.provider_state, "provider", &known.providers);
        retain_series(&self.first_choice, "route", &known.routes);
        retain_series(
            &self.account.credential_version,
            "provider",
            &known.providers,
        );
        self.account.credential_age.remove_stale(known);
        retain_series(
            &self.account.credential_expiry,
            "provider",
            &known.providers,
        );
        retain_series(&self.account.balance, "provider", &known.providers);
        retain_series(&self.account.vault_reads, "vault", &known.vaults);
        retain_series(&self.account.vault_last_success, "vault", &known.vaults);
        self.route_provider.reset();
        self.process.dialect_info.reset();
    }

    /// Sets the balance. A provider has one unit, so invented units in replies cannot add series.
    pub(super) fn set_balance(&self, provider: &str, unit: &str, value: f64) {
        for labels in series_labels(&self.account.balance) {
            if labels.get("provider").is_some_and(|it| it == provider)
                && labels.get("unit").is_some_and(|it| it != unit)
            {
                remove_series(&self.account.balance, &labels);
            }
        }
        self.account
            .balance
            .with_label_values(&[provider, unit])
            .set(value);
    }
}

impl AccountFamilies {
    fn register(on: &MetricFactory<'_>, clock: Arc<dyn Clock>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            credential_version: on.gauge(
                "credential_version",
                "How many contents of the credential were seen; 0: none could be read yet.",
                &["provider"],
            )?,
            credential_age: CredentialAge::register(on, clock)?,
            credential_expiry: on.gauge(
                "credential_expiry_timestamp_seconds",
                "When the login token or credential expires, if that is known.",
                &["provider"],
            )?,
            balance: on.float_gauge(
                "balance",
                "The balance that the provider last reported.",
                &["provider", "unit"],
            )?,
            vault_reads: on.counter(
                "vault_reads_total",
                "Reads of vault entries, by result.",
                &["vault", "result"],
            )?,
            vault_last_success: on.gauge(
                "vault_last_success_timestamp_seconds",
                "When every used entry of the vault could last be read; 0: not since the start.",
                &["vault"],
            )?,
        })
    }
}

impl ConnectionFamilies {
    fn register(on: &MetricFactory<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            opened_in_advance: on.counter(
                "warm_connections_total",
                "Connections to providers that were opened before a message needed them, or could not be.",
                &["provider", "result"],
            )?,
            open: OpenConnectionsGauge::register(on)?,
            limit: on
                .gauge(
                    "connections_limit",
                    "How many connections of backends may be open.",
                    &[],
                )?
                .with_label_values::<&str>(&[]),
            denied: on.counter(
                "connections_denied_total",
                "Connections that were denied before they brought a request.",
                &["entrypoint", "reason"],
            )?,
        })
    }
}

impl ProcessFamilies {
    fn register(on: &MetricFactory<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            reloads: on.counter(
                "reloads_total",
                "Config reloads; a failed one keeps the old config.",
                &["result"],
            )?,
            config_timestamp: on.gauge(
                "config_timestamp_seconds",
                "When the config in use was loaded.",
                &[],
            )?,
            ca_expiry: on.gauge(
                "ca_expiry_timestamp_seconds",
                "When the certificate of the local CA expires.",
                &[],
            )?,
            spans_exported: on.counter(
                "spans_exported_total",
                "Spans that the trace collector accepted.",
                &[],
            )?,
            spans_dropped: on.counter(
                "spans_dropped_total",
                "Spans that were not exported; no request waits or fails for it.",
                &["reason"],
            )?,
            notifications: on.counter(
                "notifications_total",
                "Notifications that the webhook accepted, or that were lost; no request waits or fails for them.",
                &["result"],
            )?,
            log_lines_dropped: on
                .counter(
                    "log_lines_dropped_total",
                    "Log lines that nothing read in time; no request waits or fails for them.",
                    &[],
                )?
                .with_label_values::<&str>(&[]),
            dialect_info: on.gauge(
                "dialect_info",
                "1 for each loaded dialect and its source.",
                &["dialect", "source"],
            )?,
            build_info: on.gauge(
                "build_info",
                "1, with the build in its labels.",
                &["version", "commit"],
            )?,
        })
    }
}

impl fmt::Debug for MetricFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricFamilies").finish_non_exhaustive()
    }
}
