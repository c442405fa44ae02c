//! Traces: a span for every call and every attempt, made from the very events that write the
//! log, so that the two never disagree. Which calls are traced is the backend's word where it
//! says one, else a share of them. Spans wait in a queue of fixed length until whoever exports
//! them takes them; one that finds it full is dropped and counted, and no call ever waits.

mod delivery;
mod parent;
mod span;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::sms::Kind;
use crate::telemetry::{AttemptEnded, CallEnded, Telemetry};

pub use delivery::{Loss, SpansExported, SpansLost};
pub use parent::{Parent, SpanId, TraceId};

/// So many spans wait at most, some 3 MB of them …
const LONGEST: usize = 2048;
/// … and so many travel in one request.
const BATCH: usize = 512;

/// What makes spans.
pub(super) struct Tracer {
    /// The share of calls that is traced where the backend says nothing; none: there are no traces.
    share: ArcSwapOption<f64>,
    queue: mpsc::Sender<Span>,
    many: Arc<Notify>,
    /// For whoever exports them, who takes it once.
    far_end: Mutex<Option<Spans>>,
    /// Whether the collector fails, and whether the queue is full: each is said once.
    failing: AtomicBool,
    full: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Tracer {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let (queue, waiting) = mpsc::channel(LONGEST);
        let many = Arc::new(Notify::new());
        let far_end = Mutex::new(Some(Spans { waiting, many: Arc::clone(&many) }));
        let (failing, full) = (AtomicBool::default(), AtomicBool::default());
        Self { share: ArcSwapOption::empty(), queue, many, far_end, failing, full, clock }
    }

    pub(super) fn share(&self, share: Option<f64>) {
        self.share.store(share.map(Arc::new));
    }

    pub(super) fn far_end(&self) -> Option<Spans> {
        self.far_end.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A call's spans. Gives the trace it is part of, traced by us or by the backend alone.
    pub(super) fn call(&self, call: &CallEnded<'_>, telemetry: &Telemetry) -> Option<TraceId> {
        let named = call.parent.map(|parent| parent.trace);
        let share = self.share.load();
        let Some(share) = share.as_deref() else { return named };
        if !call.parent.map_or_else(|| self.clock.dice() < *share, |parent| parent.sampled) {
            return named;
        }
        let trace = named.unwrap_or_else(|| TraceId(self.random()));
        self.offer(span::of_call(call, trace, self.clock.wall(), || SpanId(self.random())), telemetry);
        Some(trace)
    }

    /// The span of an attempt that serves no single call: a login is everybody's who waits for it, a probe nobody's.
    pub(super) fn attempt(&self, attempt: &AttemptEnded<'_>, telemetry: &Telemetry) {
        let alone = matches!(attempt.kind, Kind::Login | Kind::Probe);
        if alone && self.share.load().as_deref().is_some_and(|share| self.clock.dice() < *share) {
            let (trace, own) = (TraceId(self.random()), SpanId(self.random()));
            self.offer(vec![span::of_attempt(attempt, trace, self.clock.wall(), own)], telemetry);
        }
    }

    /// All of them or none: half a call explains nothing.
    fn offer(&self, spans: Vec<Span>, telemetry: &Telemetry) {
        let count = spans.len();
        let Ok(places) = self.queue.try_reserve_many(count) else {
            SpansLost { spans: count, loss: Loss::Full, problem: "calls come faster than the collector takes their spans" }.emit(telemetry);
            return;
        };
        places.zip(spans).for_each(|(place, span)| place.send(span));
        if self.queue.max_capacity() - self.queue.capacity() >= BATCH {
            self.many.notify_one();
        }
    }

    /// Random bytes, and never all zeros, which would be no id.
    fn random<const N: usize>(&self) -> [u8; N] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "dice are between 0 and 1, so the product fits a byte")]
        let bytes = [(); N].map(|()| (self.clock.dice() * 256.0) as u8);
        if bytes == [0; N] { [1; N] } else { bytes }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

/// The far end of the queue.
#[derive(Debug)]
pub struct Spans {
    waiting: mpsc::Receiver<Span>,
    many: Arc<Notify>,
}

impl Spans {
    /// Resolves after `pause`, or sooner if a whole batch waits.
    pub async fn due(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.many.notified() => {}
        }
    }

    /// The next batch of those that wait; none: none does.
    pub fn take(&mut self) -> Option<Vec<Span>> {
        let batch: Vec<Span> = std::iter::from_fn(|| self.waiting.try_recv().ok()).take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    }

    /// How many wait.
    pub fn left(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests;
