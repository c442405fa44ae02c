//! Traces: a span for every call and every attempt, made from the same events that write the log.

mod parent;

pub use parent::{Parent, SpanId, TraceId};
