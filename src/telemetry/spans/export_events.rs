//! Spans that were exported or dropped. Each is counted; the log shows only a change.

use std::sync::atomic::Ordering;

use crate::telemetry::Telemetry;

/// Why spans were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanDropReason {
    /// The queue was full.
    QueueFull,
    /// The collector could not be reached, or did not take them in time.
    Failed,
    /// The collector rejected them.
    Rejected,
}

impl SpanDropReason {
    /// Every value.
    pub const ALL: &[Self] = &[Self::QueueFull, Self::Failed, Self::Rejected];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// The collector accepted spans.
#[derive(Clone, Copy, Debug)]
pub struct SpansExported {
    /// How many.
    pub count: usize,
    /// How many are still queued.
    pub queued: usize,
}

impl SpansExported {
    /// Counts them, and logs it only if spans had been lost before.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry
            .metrics
            .process
            .spans_exported
            .with_label_values::<&str>(&[])
            .inc_by(as_u64(self.count));
        if telemetry
            .tracer
            .collector_failing
            .swap(false, Ordering::Relaxed)
        {
            tracing::info!("traces are exported again");
        }
        if self.queued == 0 {
            telemetry.tracer.queue_full.store(false, Ordering::Relaxed);
        }
    }
}

/// Spans were dropped. No request waited or failed for it.
#[derive(Clone, Copy, Debug)]
pub struct SpansDropped<'a> {
    /// How many.
    pub count: usize,
    /// The reason, as a label value.
    pub reason: SpanDropReason,
    /// The problem, for operators; contains no text from the collector.
    pub problem: &'a str,
}

impl SpansDropped<'_> {
    /// Counts them, and logs when the losses begin.
    pub fn emit(&self, telemetry: &Telemetry) {
        let loss = self.reason.as_str();
        telemetry
            .metrics
            .process
            .spans_dropped
            .with_label_values(&[loss])
            .inc_by(as_u64(self.count));
        let already_logged = if self.reason == SpanDropReason::QueueFull {
            &telemetry.tracer.queue_full
        } else {
            &telemetry.tracer.collector_failing
        };
        if !already_logged.swap(true, Ordering::Relaxed) {
            let problem = self.problem;
            tracing::warn!(
                loss,
                problem,
                "traces are lost, calls go on: {problem}; compare `[traces]` and the collector"
            );
        }
    }
}

fn as_u64(spans: usize) -> u64 {
    u64::try_from(spans).unwrap_or(u64::MAX)
}
