//! What becomes of spans: exported, or lost. Each is counted; the log hears only of a change.

use std::sync::atomic::Ordering;

use crate::telemetry::Telemetry;

/// Why spans were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// As many waited as may.
    Full,
    /// The collector could not be reached, or did not take them in time.
    Failed,
    /// It answered that it does not want them.
    Refused,
}

impl Loss {
    /// Every value.
    pub const ALL: &[Self] = &[Self::Full, Self::Failed, Self::Refused];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The collector took spans.
#[derive(Clone, Copy, Debug)]
pub struct SpansExported {
    /// How many.
    pub spans: usize,
    /// How many wait still.
    pub left: usize,
}

impl SpansExported {
    /// Counts them; says so only where they had been lost before.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry.families.spans_exported.with_label_values::<&str>(&[]).inc_by(number(self.spans));
        if telemetry.tracer.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("traces are exported again");
        }
        if self.left == 0 {
            telemetry.tracer.full.store(false, Ordering::Relaxed);
        }
    }
}

/// Spans will reach nobody. No call was held up or failed for it.
#[derive(Clone, Copy, Debug)]
pub struct SpansLost<'a> {
    /// How many.
    pub spans: usize,
    /// Why, in a word.
    pub loss: Loss,
    /// Why, for ops; never what the collector wrote.
    pub problem: &'a str,
}

impl SpansLost<'_> {
    /// Counts them; says so when it begins.
    pub fn emit(&self, telemetry: &Telemetry) {
        let loss = self.loss.as_str();
        telemetry.families.spans_dropped.with_label_values(&[loss]).inc_by(number(self.spans));
        let said = if self.loss == Loss::Full { &telemetry.tracer.full } else { &telemetry.tracer.failing };
        if !said.swap(true, Ordering::Relaxed) {
            let problem = self.problem;
            tracing::warn!(loss, problem, "traces are lost, calls go on: {problem}; compare `[traces]` and the collector");
        }
    }
}

fn number(spans: usize) -> u64 {
    u64::try_from(spans).unwrap_or(u64::MAX)
}
