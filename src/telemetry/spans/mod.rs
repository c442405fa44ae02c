//! Traces: a span for every request and every attempt, made from the events that write the log, so
//! that the two never disagree. The backend's trace context decides which requests are traced; of
//! the requests without one, a share is traced. Spans wait in a queue of fixed length until they
//! are exported. If the queue is full, they are dropped and counted; no request ever waits.

pub(crate) mod export_events;
pub(crate) mod from_event;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::sms::AttemptKind;
use crate::telemetry::{AttemptFinished, RequestFinished, SpanId, Telemetry, TraceId};

pub use export_events::{SpanDropReason, SpansDropped, SpansExported};

/// The maximum number of queued spans: 8 MiB with the longest values that traffic can bring.
const MAX_QUEUED_SPANS: usize = 2048;
/// The maximum number of spans in one request.
const MAX_BATCH: usize = 512;

/// Creates spans and queues them.
pub(super) struct Tracer {
    /// The share of requests that is traced if the backend does not decide it; none if there are no traces.
    sample_rate: ArcSwapOption<f64>,
    queue: mpsc::Sender<Span>,
    batch_ready: Arc<Notify>,
    /// For the exporter, which takes it once.
    receiver: Mutex<Option<SpanReceiver>>,
    /// Whether the collector fails, and whether the queue is full. Each is logged once.
    collector_failing: AtomicBool,
    queue_full: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Tracer {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_QUEUED_SPANS);
        let batch_ready = Arc::new(Notify::new());
        let receiver = Mutex::new(Some(SpanReceiver {
            queue: waiting,
            batch_ready: Arc::clone(&batch_ready),
        }));
        let (collector_failing, queue_full) = (AtomicBool::default(), AtomicBool::default());
        Self {
            sample_rate: ArcSwapOption::empty(),
            queue,
            batch_ready,
            receiver,
            collector_failing,
            queue_full,
            clock,
        }
    }

    pub(super) fn set_sample_rate(&self, share: Option<f64>) {
        self.sample_rate.store(share.map(Arc::new));
    }

    pub(super) fn take_receiver(&self) -> Option<SpanReceiver> {
        self.receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Queues the spans of a request. Returns the trace that it is part of, whether we trace it or only the
    /// backend does.
    pub(super) fn record_request(
        &self,
        call: &RequestFinished<'_>,
        telemetry: &Telemetry,
    ) -> Option<TraceId> {
        let named = call.parent.map(|parent| parent.trace_id);
        let share = self.sample_rate.load();
        let Some(share) = share.as_deref() else {
            return named;
        };
        if !call.parent.map_or_else(
            || self.clock.random_fraction() < *share,
            |parent| parent.sampled,
        ) {
            return named;
        }
        let trace = named.unwrap_or_else(|| TraceId(self.random_id()));
        self.enqueue(
            from_event::request_spans(call, trace, self.clock.wall_clock(), || {
                SpanId(self.random_id())
            }),
            telemetry,
        );
        Some(trace)
    }

    /// Queues the span of an attempt that belongs to no single request: a login serves every request that
    /// waits for it, and a probe serves none.
    pub(super) fn record_attempt(&self, attempt: &AttemptFinished<'_>, telemetry: &Telemetry) {
        let alone = matches!(attempt.kind, AttemptKind::Login | AttemptKind::Probe);
        if alone
            && self
                .sample_rate
                .load()
                .as_deref()
                .is_some_and(|share| self.clock.random_fraction() < *share)
        {
            let trace = TraceId(self.random_id());
            let own = SpanId(self.random_id());
            self.enqueue(
                vec![from_event::attempt_span(
                    attempt,
                    trace,
                    self.clock.wall_clock(),
                    own,
                )],
                telemetry,
            );
        }
    }

    /// Queues all of the spans or none, because half a request explains nothing.
    fn enqueue(&self, spans: Vec<Span>, telemetry: &Telemetry) {
        let count = spans.len();
        let Ok(places) = self.queue.try_reserve_many(count) else {
            SpansDropped {
                count,
                reason: SpanDropReason::QueueFull,
                problem: "calls come faster than the collector takes their spans",
            }
            .emit(telemetry);
            return;
        };
        places.zip(spans).for_each(|(place, span)| place.send(span));
        if self.queue.max_capacity() - self.queue.capacity() >= MAX_BATCH {
            self.batch_ready.notify_one();
        }
    }

    /// Random bytes, but never all zeros, which would not be a valid id.
    fn random_id<const N: usize>(&self) -> [u8; N] {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "dice are between 0 and 1, so the product fits a byte"
        )]
        let bytes = [(); N].map(|()| (self.clock.random_fraction() * 256.0) as u8);
        if bytes == [0; N] { [1; N] } else { bytes }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

/// The receiving end of the queue.
#[derive(Debug)]
pub struct SpanReceiver {
    queue: mpsc::Receiver<Span>,
    batch_ready: Arc<Notify>,
}

impl SpanReceiver {
    /// Resolves after `pause`, or sooner if a full batch is queued.
    pub async fn wait_for_batch(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.batch_ready.notified() => {}
        }
    }

    /// Takes the next batch of queued spans; none if the queue is empty.
    pub fn take_batch(&mut self) -> Option<Vec<Span>> {
        let batch: Vec<Span> = std::iter::from_fn(|| self.queue.try_recv().ok())
            .take(MAX_BATCH)
            .collect();
        (!batch.is_empty()).then_some(batch)
    }

    /// How many spans are queued.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests;
