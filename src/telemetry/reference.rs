//! The reference of the metrics in Markdown, from the registered families: name, type, labels with
//! their values, meaning.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use prometheus::Registry;
use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};

use crate::clock::SystemClock;
use crate::diagnosis::{ClientKind, DenialReason};
use crate::policy::HealthState;
use crate::sms::{AttemptKind, Cause, Entrypoint, Operation, RequestResult};
use crate::telemetry::connections::WARM_UP_RESULTS;
use crate::telemetry::labels::{NONE, OTHER};
use crate::telemetry::metrics::{MetricFamilies, OUTCOMES, RELOAD_RESULTS};
use crate::telemetry::notification::NOTIFICATION_RESULTS;
use crate::telemetry::registry::MetricFactory;
use crate::telemetry::{ConnectionDenialReason, SpanDropReason, VaultReadResult};

const HEAD: &str = "# Metrics reference

<!-- Generated from src/telemetry/metrics.rs by `UPDATE_GOLDENS=1 cargo test --test reference`. -->

Every metric begins with `sms_sidecar_`. A label's value comes from a closed list or from the config,
never from traffic. A counter whose increase an alert reads exists at 0 from the start, so that the first
401 is an increase; every other series begins when it happens.

| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
";

const LABELS_HEAD: &str = "
## Labels

| Label | Values |
| --- | --- |
";

/// Every family as a Markdown page. Fails only if two families have the same name.
pub fn metrics_reference() -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    let factory = MetricFactory::new(&registry);
    MetricFamilies::register(&factory, Arc::new(SystemClock::start()))?;
    let mut page = HEAD.to_owned();
    let mut labels = LabelTable::default();
    let families = factory.into_families();
    for (desc, kind) in families.iter().flat_map(|family| describe(family.as_ref())) {
        let names: Vec<String> = desc
            .variable_labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let names = names.join(", ");
        // Writing to a string cannot fail.
        writeln!(
            page,
            "| `{}` | {kind} | {names} | {} |",
            desc.fq_name, desc.help
        )
        .unwrap_or_default();
        for label in &desc.variable_labels {
            labels.add(&desc.fq_name, label);
        }
    }
    Ok(page + &labels.render())
}

/// Each label with its values, and the metrics that have them.
#[derive(Default)]
struct LabelTable {
    rows: BTreeMap<(String, String), Vec<String>>,
}

impl LabelTable {
    fn add(&mut self, family: &str, label: &str) {
        let key = (label.to_owned(), label_values(family, label));
        self.rows
            .entry(key)
            .or_default()
            .push(format!("`{family}`"));
    }

    fn render(&self) -> String {
        let mut table = LABELS_HEAD.to_owned();
        for ((label, values), families) in &self.rows {
            let is_ambiguous = self.rows.keys().filter(|(other, _)| other == label).count() > 1;
            let of = if is_ambiguous {
                format!(" of {}", families.join(", "))
            } else {
                String::new()
            };
            writeln!(table, "| `{label}`{of} | {values} |").unwrap_or_default();
        }
        table
    }
}

fn describe(collector: &dyn Collector) -> Vec<(prometheus::core::Desc, &'static str)> {
    let kind = match collector
        .collect()
        .first()
        .map(MetricFamily::get_field_type)
    {
        Some(MetricType::COUNTER) => "counter",
        Some(MetricType::HISTOGRAM) => "histogram",
        Some(MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED) | None => "gauge",
    };
    collector
        .desc()
        .into_iter()
        .map(|desc| (desc.clone(), kind))
        .collect()
}

/// The values of a label, or where they come from.
fn label_values(family: &str, label: &str) -> String {
    closed_values(family, label).map_or_else(
        || open_values(label),
        |values| {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            values.join(" ")
        },
    )
}

/// The values of the label of a series, if it has a closed list of them.
pub fn closed_values(family: &str, label: &str) -> Option<Vec<&'static str>> {
    let values = match (family, label) {
        (_, "entrypoint") => Entrypoint::ALL.iter().map(|it| it.as_str()).collect(),
        (_, "operation") => Operation::ALL.iter().map(|it| it.as_str()).collect(),
        (_, "kind") => AttemptKind::ALL.iter().map(|it| it.as_str()).collect(),
        (_, "outcome") => OUTCOMES.to_vec(),
        (_, "state") => HealthState::LABELS.to_vec(),
        (_, "source") => vec!["built-in", "folder"],
        ("sms_sidecar_connections_denied_total", "reason") => ConnectionDenialReason::ALL
            .iter()
            .map(|it| it.as_str())
            .collect(),
        ("sms_sidecar_denied_requests_total", "reason") => {
            DenialReason::ALL.iter().map(|it| it.as_str()).collect()
        }
        (_, "client") => ClientKind::ALL.iter().map(|it| it.as_str()).collect(),
        (_, "reason") => SpanDropReason::ALL.iter().map(|it| it.as_str()).collect(),
        (_, "cause") => with_none(Cause::ALL.iter().map(|it| it.as_str()).collect()),
        (_, "family") => with_none(families()),
        ("sms_sidecar_warm_connections_total", "result") => WARM_UP_RESULTS.to_vec(),
        ("sms_sidecar_reloads_total", "result") => RELOAD_RESULTS.to_vec(),
        ("sms_sidecar_notifications_total", "result") => NOTIFICATION_RESULTS.to_vec(),
        ("sms_sidecar_vault_reads_total", "result") => {
            VaultReadResult::ALL.iter().map(|it| it.as_str()).collect()
        }
        (_, "result") => RequestResult::ALL.iter().map(|it| it.as_str()).collect(),
        (_, _) => return None,
    };
    Some(values)
}

fn families() -> Vec<&'static str> {
    let mut families: Vec<&str> = Cause::ALL
        .iter()
        .map(|cause| cause.family().as_str())
        .collect();
    families.sort_unstable();
    families.dedup();
    families
}

/// An accepted attempt has no cause.
fn with_none(mut values: Vec<&'static str>) -> Vec<&'static str> {
    values.push(NONE);
    values
}

/// Where the values of another label come from.
fn open_values(label: &str) -> String {
    match label {
        "provider" | "from" | "to" => "a name of `[providers]`".to_owned(),
        "vault" => "a name of `[vaults]`".to_owned(),
        "route" => "the name of a route".to_owned(),
        "dialect" => format!("a loaded dialect; `{NONE}` where none was recognised"),
        "status" => format!("an HTTP status; `{OTHER}` if it is not a registered one"),
        "unit" => {
            format!("the unit that the provider reports; `{OTHER}` if it is not a plain word")
        }
        "version" | "commit" => "of this build".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sms::ProviderId;
    use crate::telemetry::{MetricsSchema, Telemetry};

    #[test]
    fn every_label_is_listed_with_the_source_of_its_values() {
        let page = metrics_reference().unwrap();
        assert!(
            page.contains("| `sms_sidecar_requests_total` | counter |"),
            "{page}"
        );
        assert!(page.contains("| `sms_sidecar_balance` | gauge |"), "{page}");
        assert!(
            page.contains("| `sms_sidecar_attempt_duration_seconds` | histogram |"),
            "{page}"
        );
        let without: Vec<&str> = page.lines().filter(|line| line.ends_with("|  |")).collect();
        assert!(without.is_empty(), "{without:?}");
    }

    /// The page lists every value that the series have.
    #[test]
    fn initial_series_have_listed_values_only() {
        let registry = Registry::new();
        let schema = MetricsSchema {
            providers: vec![(ProviderId::new("main"), "twilio".into())],
            vaults: vec!["local".into()],
            dialects: vec![("twilio".into(), "built-in".into())],
            ..MetricsSchema::default()
        };
        let telemetry = Telemetry::new(&registry, &schema, Arc::new(SystemClock::start())).unwrap();
        telemetry.set_trace_sampling(Some(1.0));
        telemetry.init_notifications();
        let families = registry.gather();
        let series = families.iter().flat_map(|family| {
            let metrics = family.get_metric().iter();
            metrics.map(move |metric| (family.name(), metric))
        });
        let labels = series.flat_map(|(name, metric)| {
            let pairs = metric.get_label().iter();
            pairs.map(move |pair| (name, pair.name(), pair.value()))
        });
        let closed: Vec<_> = labels
            .filter_map(|(family, label, value)| {
                closed_values(family, label).map(|values| (values, value))
            })
            .collect();
        assert!(closed.len() > 100, "{}", closed.len());
        for (values, value) in closed {
            assert!(values.contains(&value), "{value} is not among {values:?}");
        }
    }
}
