//! Traffic without a request result: a request denied at the entrypoint, a tunnel that ended.

use std::time::Duration;

use crate::sms::{Cause, Entrypoint, Operation, RequestResult};
use crate::telemetry::request::log_at_level;
use crate::telemetry::{RequestFinished, Telemetry};

/// A request was denied before it was read.
#[derive(Clone, Copy, Debug)]
pub struct RequestDenied<'a> {
    /// The entrypoint.
    pub entrypoint: Entrypoint,
    /// The HTTP status of the response.
    pub status: u16,
    /// The reason, as the response gives it.
    pub reason: &'a str,
    /// Whether it was for a provider's host whose TLS could not be terminated: every request of
    /// that backend fails like this.
    pub is_provider_host: bool,
}

impl RequestDenied<'_> {
    /// Logs the reason and counts a denied request.
    pub fn emit(&self, telemetry: &Telemetry) {
        let level = if self.is_provider_host {
            tracing::Level::WARN
        } else {
            tracing::Level::INFO
        };
        log_at_level!(
            level,
            entrypoint = self.entrypoint.as_str(),
            status = self.status,
            why = self.reason,
            "turned away"
        );
        record_denied_request(self.entrypoint, telemetry);
        if self.is_provider_host {
            telemetry
                .store
                .record_tls_rejection(self.entrypoint, self.reason);
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
