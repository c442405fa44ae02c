//! Traffic without a request result: a request denied at the entrypoint, a tunnel that ended.

use std::sync::PoisonError;
use std::time::Duration;

use crate::diagnosis::{ClientKind, Denial, DenialReason};
use crate::sms::{Cause, Entrypoint, Operation, RequestResult};
use crate::telemetry::request::log_at_level;
use crate::telemetry::{RequestFinished, Telemetry};

/// A request was denied before it was read.
#[derive(Clone, Copy, Debug)]
pub struct RequestDenied<'a> {
    /// The HTTP status of the response.
    pub status: u16,
    /// The text of the response.
    pub why: &'a str,
    /// The denial.
    pub denied: DenialRecorded<'a>,
}

impl RequestDenied<'_> {
    /// Logs the reason and counts a denied request.
    pub fn emit(&self, telemetry: &Telemetry) {
        let entrypoint = self.denied.entrypoint;
        if self.denied.denial.reason == DenialReason::BytesInFlight {
            self.log_exhausted(telemetry);
        } else {
            self.log();
        }
        record_denied_request(entrypoint, telemetry);
        self.denied.emit(telemetry);
    }

    fn log(&self) {
        let level = match self.denied.client {
            ClientKind::Backend => tracing::Level::WARN,
            ClientKind::Stranger => tracing::Level::INFO,
        };
        log_at_level!(
            level,
            entrypoint = self.denied.entrypoint.as_str(),
            status = self.status,
            denial = self.denied.denial.reason.as_str(),
            why = self.why,
            "turned away"
        );
    }

    /// At most one line a minute is written, however many requests are denied and whoever sends them.
    fn log_exhausted(&self, telemetry: &Telemetry) {
        let due = telemetry
            .exhausted_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(telemetry.clock.now());
        if let Some(requests) = due {
            tracing::warn!(
                entrypoint = self.denied.entrypoint.as_str(),
                status = self.status,
                denial = self.denied.denial.reason.as_str(),
                requests,
                why = self.why,
                "turned away"
            );
        }
    }
}

/// The sidecar itself denied a request, read or not. It has no log line of its own: that of the request shows it.
#[derive(Clone, Copy, Debug)]
pub struct DenialRecorded<'a> {
    /// The entrypoint.
    pub entrypoint: Entrypoint,
    /// Why.
    pub denial: &'a Denial,
    /// Whose request it was.
    pub client: ClientKind,
}

impl DenialRecorded<'_> {
    /// Counts it, and keeps a denial of the backend for the status.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry
            .metrics
            .denied_requests
            .with_label_values(&[self.denial.reason.as_str(), self.client.as_str()])
            .inc();
        if self.client == ClientKind::Backend {
            telemetry.store.record_denial(self);
        }
    }
}

/// A tunnel or streamed request to a host of no provider has ended.
#[derive(Clone, Copy, Debug)]
pub struct TunnelClosed<'a> {
    /// The entrypoint.
    pub entrypoint: Entrypoint,
    /// The destination host.
    pub host: &'a str,
    /// The number of bytes in both directions.
    pub bytes: u64,
}

impl TunnelClosed<'_> {
    /// Counts a tunnelled request. Its log line is at debug level, because it concerns no provider.
    pub fn emit(&self, telemetry: &Telemetry) {
        tracing::debug!(
            entrypoint = self.entrypoint.as_str(),
            host = self.host,
            bytes = self.bytes,
            "tunnel ended"
        );
        unread_request(self.entrypoint, RequestResult::Tunnelled, None).record_metrics(telemetry);
        telemetry
            .store
            .record_unread_request(self.entrypoint, RequestResult::Tunnelled);
    }
}

/// Counts a request that was denied before it was read.
pub(super) fn record_denied_request(entrypoint: Entrypoint, telemetry: &Telemetry) {
    unread_request(
        entrypoint,
        RequestResult::Denied,
        Some(Cause::DeniedByPolicy),
    )
    .record_metrics(telemetry);
    telemetry
        .store
        .record_unread_request(entrypoint, RequestResult::Denied);
}

fn unread_request(
    entrypoint: Entrypoint,
    result: RequestResult,
    cause: Option<Cause>,
) -> RequestFinished<'static> {
    RequestFinished {
        id: "",
        caller: None,
        entrypoint,
        dialect: None,
        operation: Operation::Other,
        route: None,
        recipient: None,
        attempts: &[],
        result,
        method: "",
        status: 0,
        cause,
        certainty: None,
        remedy: None,
        duplicate_age: None,
        duration: Duration::ZERO,
        parent: None,
    }
}
