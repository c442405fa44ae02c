//! The life of the process: started, reloaded, stopping, panicked, and the expiry of its CA.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::telemetry::{BuildInfo, Telemetry};

/// The config was read again.
#[derive(Clone, Copy, Debug)]
pub struct Reloaded<'a> {
    /// When, if it is in use now; none: it was bad and the old one stays.
    pub at: Option<SystemTime>,
    /// For a bad one: how many errors, and which command shows them. For a good one: what of it waits for a restart.
    pub problem: Option<&'a str>,
}

impl Reloaded<'_> {
    /// Counts it and dates the config in use.
    pub fn emit(&self, telemetry: &Telemetry) {
        let result = if self.at.is_some() { "ok" } else { "failed" };
        telemetry
            .metrics
            .process
            .reloads
            .with_label_values(&[result])
            .inc();
        telemetry.store.record_reload(self);
        let Some(at) = self.at else {
            tracing::error!(
                result,
                problem = self.problem,
                "config not reloaded, the old one stays"
            );
            return;
        };
        set_config_timestamp(telemetry, at);
        if let Some(problem) = self.problem {
            tracing::warn!(result, problem, "config reloaded in part");
        } else {
            tracing::info!(result, "config reloaded");
        }
    }
}

/// The local CA expires at this time.
#[derive(Clone, Copy, Debug)]
pub struct CaExpiry {
    /// When.
    pub at: SystemTime,
}

impl CaExpiry {
    /// Moves the gauge.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry
            .metrics
            .process
            .ca_expiry
            .with_label_values::<&str>(&[])
            .set(unix_seconds(self.at));
        telemetry.store.record_ca_expiry(self.at);
    }
}

/// Listeners are open and the config is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// Which build.
    pub build: &'a BuildInfo,
    /// When.
    pub at: SystemTime,
    /// Each address, with what it is for.
    pub addresses: &'a [(&'static str, String)],
}

impl Started<'_> {
    /// Dates the config and says where we listen.
    pub fn emit(&self, telemetry: &Telemetry) {
        set_config_timestamp(telemetry, self.at);
        telemetry.store.record_start(self.at);
        let addresses: Vec<String> = self
            .addresses
            .iter()
            .map(|(what, address)| format!("{what} {address}"))
            .collect();
        tracing::info!(
            version = self.build.version,
            commit = self.build.commit,
            listen = addresses.join(", "),
            "started"
        );
    }
}

/// The process begins to end: it takes no new requests, and those in flight finish.
#[derive(Clone, Copy, Debug)]
pub struct Stopping<'a> {
    /// The name of the signal that ends it.
    pub signal: &'a str,
}

impl Stopping<'_> {
    /// Logs the signal.
    pub fn emit(&self) {
        tracing::info!(
            signal = self.signal,
            "stopping: requests in flight finish first"
        );
    }
}

/// A task panicked; what it said is withheld.
#[derive(Clone, Copy, Debug)]
pub struct Panicked<'a> {
    /// File, line, column.
    pub location: &'a str,
    /// The thread's name.
    pub thread: &'a str,
}

impl Panicked<'_> {
    /// Says so.
    pub fn emit(&self) {
        tracing::error!(
            location = self.location,
            thread = self.thread,
            "panicked: a fault of ours, please report the place"
        );
    }
}

fn set_config_timestamp(telemetry: &Telemetry, at: SystemTime) {
    telemetry
        .metrics
        .process
        .config_timestamp
        .with_label_values::<&str>(&[])
        .set(unix_seconds(at));
}

pub(super) fn unix_seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}
