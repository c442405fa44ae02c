//! Creates families, and removes the series of names that are no longer configured.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use crate::telemetry::labels::{NONE, OTHER};

/// Creates families on one registry, and keeps a list of them for the reference.
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

    /// Every family that was created.
    pub(super) fn into_families(self) -> Vec<Box<dyn Collector>> {
        self.families.into_inner()
    }

    pub(super) fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(metric_opts(name, help), labels)?)
    }

    pub(super) fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(metric_opts(name, help), labels)?)
    }

    pub(super) fn float_gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(metric_opts(name, help), labels)?)
    }

    pub(super) fn histogram(
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

/// Removes every series whose `label` is neither in `names` nor `other` or `none`.
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

/// The labels of every existing series.
pub(super) fn series_labels<T: MetricVecBuilder>(
    family: &MetricVec<T>,
) -> Vec<BTreeMap<String, String>> {
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

pub(super) fn remove_series<T: MetricVecBuilder>(
    family: &MetricVec<T>,
    labels: &BTreeMap<String, String>,
) {
    let labels: HashMap<&str, &str> = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    // Another thread may have removed it first.
    drop(family.remove(&labels));
}
