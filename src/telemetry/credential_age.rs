//! The one gauge that is computed when it is read, because its value grows with time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::GaugeVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::clock::Clock;
use crate::telemetry::labels::LabelSet;
use crate::telemetry::registry::{MetricFactory, metric_opts, retain_series};

/// `credential_age_seconds`, computed when it is read, because a stored age would go stale between vault reads.
#[derive(Clone)]
pub(super) struct CredentialAge {
    gauge: GaugeVec,
    changed_at: Arc<Mutex<BTreeMap<String, SystemTime>>>,
    clock: Arc<dyn Clock>,
}

impl CredentialAge {
    pub(super) fn register(
        on: &MetricFactory<'_>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, prometheus::Error> {
        let opts = metric_opts(
            "credential_age_seconds",
            "Time since the credential's content last changed, as far as we saw it.",
        );
        on.register(Self {
            gauge: GaugeVec::new(opts, &["provider"])?,
            changed_at: Arc::default(),
            clock,
        })
    }

    pub(super) fn set(&self, provider: &str, since: SystemTime) {
        self.changed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(provider.to_owned(), since);
    }

    pub(super) fn remove_stale(&self, known: &LabelSet) {
        self.changed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|provider, _| known.providers.contains(provider));
        retain_series(&self.gauge, "provider", &known.providers);
    }
}

impl Collector for CredentialAge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = self.clock.wall_clock();
        for (provider, since) in self
            .changed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let age = now.duration_since(*since).unwrap_or_default();
            self.gauge
                .with_label_values(&[provider])
                .set(age.as_secs_f64());
        }
        self.gauge.collect()
    }
}
