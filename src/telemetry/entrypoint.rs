//! Traffic without a request result: a request denied at the entrypoint, a tunnel that ended.

use std::time::Duration;

use crate::sms::{Cause, Entrypoint, Operation, RequestResult};
use crate::telemetry::request::log_at_level;
use crate::telemetry::{RequestFinished, Telemetry};

/// A request was refused before anybody read it.
#[derive(Clone, Copy, Debug)]
pub struct RequestDenied<'a> {
    /// Where it came in.
    pub entrypoint: Entrypoint,
    /// What it was told.
    pub status: u16,
    /// Why, in the words it was told.
    pub reason: &'a str,
    /// It was for a host of ours, whose TLS could not be ended: every call of that backend ends so.
    pub is_provider_host: bool,
}

impl RequestDenied<'_> {
    /// Says why and counts a rejected call.
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
        unread_request(
            self.entrypoint,
            RequestResult::Denied,
            Some(Cause::DeniedByPolicy),
        )
        .record_metrics(telemetry);
        telemetry
            .store
            .record_unread_request(self.entrypoint, RequestResult::Denied);
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
    /// Where it came in.
    pub entrypoint: Entrypoint,
    /// Whom it led to.
    pub host: &'a str,
    /// In both directions.
    pub bytes: u64,
}

impl TunnelClosed<'_> {
    /// Counts a tunnelled call; its line is for debugging, because these calls are not ours.
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
