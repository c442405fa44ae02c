//! The series that exist before anything happens. A counter that is born at 1 has no increase, so each series whose
//! increase an alert or a panel of the dashboard reads is there at 0; every other one begins when it happens, because
//! Prometheus stores each series of each provider for as long as it scrapes it.
//!
//! An alert about attempts reads the sum over kinds and outcomes. So one series of each provider and cause is enough:
//! the sum exists, and it increases with whichever series is born.

use std::collections::BTreeSet;

use prometheus::core::{MetricVec, MetricVecBuilder};

use crate::diagnosis::{ClientKind, DenialReason};
use crate::policy::HealthState;
use crate::sms::{AttemptKind, Cause, Entrypoint, Family, Operation, RequestResult};
use crate::telemetry::connections::{ConnectionDenialReason, backend_entrypoints};
use crate::telemetry::labels::NONE;
use crate::telemetry::metrics::{ConnectionFamilies, MetricFamilies, RELOAD_RESULTS};
use crate::telemetry::notification::NOTIFICATION_RESULTS;
use crate::telemetry::registry::series_labels;
use crate::telemetry::{BuildInfo, MetricsSchema, RouteSummary, SpanDropReason};

impl MetricFamilies {
    /// Creates the series that must exist before anything happens. An existing one keeps its value, so a reload
    /// changes no count and no state.
    pub(super) fn init_series(&self, schema: &MetricsSchema) {
        self.init_provider_gauges(schema);
        for (provider, _) in &schema.providers {
            self.init_attempt_series(provider.as_str());
            self.possible_duplicates
                .with_label_values(&[provider.as_str()]);
        }
        let dialects: BTreeSet<&str> = schema
            .providers
            .iter()
            .map(|(_, dialect)| dialect.as_str())
            .collect();
        for dialect in dialects {
            self.init_dialect_series(dialect);
        }
        self.init_routes(&schema.config.routes);
        for reason in DenialReason::ALL {
            self.denied_requests
                .with_label_values(&[reason.as_str(), ClientKind::Backend.as_str()]);
        }
        self.connections.init_series();
        self.init_process_series(schema);
    }

    fn init_process_series(&self, schema: &MetricsSchema) {
        for result in RELOAD_RESULTS {
            self.process.reloads.with_label_values(&[result]);
        }
        for (dialect, source) in &schema.dialects {
            self.process
                .dialect_info
                .with_label_values(&[dialect, source])
                .set(1);
        }
        let BuildInfo { version, commit } = &schema.build;
        self.process
            .build_info
            .with_label_values(&[version, commit])
            .set(1);
    }

    /// Creates the series that exist only for a config with traces.
    pub(super) fn init_span_series(&self) {
        self.process.spans_exported.with_label_values::<&str>(&[]);
        for loss in SpanDropReason::ALL {
            self.process
                .spans_dropped
                .with_label_values(&[loss.as_str()]);
        }
    }

    /// Creates the series that exist only for a config with a webhook.
    pub(super) fn init_notification_series(&self) {
        for result in NOTIFICATION_RESULTS {
            self.process.notifications.with_label_values(&[result]);
        }
    }

    fn init_provider_gauges(&self, schema: &MetricsSchema) {
        let with_version = existing(&self.account.credential_version, "provider");
        let with_state = existing(&self.provider_state, "provider");
        for (provider, _) in &schema.providers {
            let provider = provider.as_str();
            if !with_version.contains(provider) {
                self.account
                    .credential_version
                    .with_label_values(&[provider])
                    .set(0);
            }
            if with_state.contains(provider) {
                continue;
            }
            for state in HealthState::LABELS {
                self.provider_state
                    .with_label_values(&[provider, *state])
                    .set(i64::from(*state == HealthState::Healthy.as_str()));
            }
        }
    }

    fn init_attempt_series(&self, provider: &str) {
        let kind = AttemptKind::Send.as_str();
        self.attempts
            .with_label_values(&[provider, kind, "accepted", NONE, NONE]);
        for (outcome, cause, family) in initial_failures() {
            self.attempts.with_label_values(&[
                provider,
                kind,
                outcome,
                cause.as_str(),
                family.as_str(),
            ]);
        }
    }

    fn init_dialect_series(&self, dialect: &str) {
        for result in [
            RequestResult::Accepted,
            RequestResult::NotSent,
            RequestResult::InDoubt,
            RequestResult::MessageRejected,
        ] {
            for entrypoint in Entrypoint::ALL {
                self.requests.with_label_values(&[
                    entrypoint.as_str(),
                    dialect,
                    Operation::Send.as_str(),
                    result.as_str(),
                ]);
            }
        }
        self.duplicates_suppressed.with_label_values(&[dialect]);
    }

    fn init_routes(&self, routes: &[RouteSummary]) {
        let with_choice = existing(&self.first_choice, "route");
        for RouteSummary {
            name: route,
            providers,
            ..
        } in routes
        {
            if !with_choice.contains(route) {
                self.first_choice.with_label_values(&[route]).set(1);
            }
            for (place, provider) in (1..).zip(providers) {
                self.route_provider
                    .with_label_values(&[route.as_str(), provider.as_str()])
                    .set(place);
            }
        }
    }
}

impl ConnectionFamilies {
    fn init_series(&self) {
        for entrypoint in backend_entrypoints() {
            for reason in ConnectionDenialReason::ALL {
                self.denied
                    .with_label_values(&[entrypoint.as_str(), reason.as_str()]);
            }
        }
        let control = Entrypoint::Control.as_str();
        let reason = ConnectionDenialReason::AcceptFailed.as_str();
        self.denied.with_label_values(&[control, reason]);
    }
}

/// The failures of a send that each provider has at 0: one of each cause that blocks the account, with the outcome
/// that it usually has, and those that nothing explains, a literal 401 among them.
fn initial_failures() -> impl Iterator<Item = (&'static str, Cause, Family)> {
    let account = Cause::ALL
        .iter()
        .copied()
        .filter(|cause| cause.blocks_account())
        .map(|cause| {
            // Neither writes anything: there is nothing to sign with, or nobody to trust with it.
            let is_unsent = matches!(cause, Cause::CredentialMissing | Cause::TlsUntrusted);
            let outcome = if is_unsent { "unsent" } else { "rejected" };
            (outcome, cause, cause.family())
        });
    let unexplained = [
        ("rejected", Family::Account),
        ("rejected", Family::Provider),
        ("unknown", Family::Provider),
    ];
    account.chain(
        unexplained
            .into_iter()
            .map(|(outcome, family)| (outcome, Cause::Unexplained, family)),
    )
}

/// The values of `label` among the existing series of a family.
fn existing<T: MetricVecBuilder>(family: &MetricVec<T>, label: &str) -> BTreeSet<String> {
    series_labels(family)
        .into_iter()
        .filter_map(|mut labels| labels.remove(label))
        .collect()
}
