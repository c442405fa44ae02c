//! The life of the process: started, reloaded, stopping, panicked, and the expiry of its CA.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::telemetry::{BuildInfo, Telemetry};

/// The config was read again.
#[derive(Clone, Copy, Debug)]
pub struct Reloaded<'a> {
    /// When it was loaded; none if it was invalid and the old one stays active.
    pub at: Option<SystemTime>,
    /// For an invalid config: how many errors it has, and which command shows them. For a valid one: which
    /// changes need a restart.
    pub problem: Option<&'a str>,
}

impl Reloaded<'_> {
    /// Counts the reload and sets the timestamp of the active config.
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

/// A local CA was put in force, or none is.
#[derive(Clone, Copy, Debug)]
pub struct CaExpiry {
    /// When it expires; none if there is no CA.
    pub at: Option<SystemTime>,
}

impl CaExpiry {
    /// Updates the gauge, which exists only while there is a CA.
    pub fn emit(&self, telemetry: &Telemetry) {
        let gauge = &telemetry.metrics.process.ca_expiry;
        match self.at {
            Some(at) => gauge.with_label_values::<&str>(&[]).set(unix_seconds(at)),
            None => gauge.reset(),
        }
        telemetry.store.record_ca_expiry(self.at);
    }
}

/// Listeners are open and the config is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The running build.
    pub build: &'a BuildInfo,
    /// When the process started.
    pub at: SystemTime,
    /// Each address, with its purpose.
    pub addresses: &'a [(&'static str, String)],
}

impl Started<'_> {
    /// Sets the timestamp of the config and logs the addresses.
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

/// The process is shutting down: it accepts no new requests, and those in flight finish.
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

/// A task panicked. Its message is withheld.
#[derive(Clone, Copy, Debug)]
pub struct Panicked<'a> {
    /// File, line, column.
    pub location: &'a str,
    /// The thread's name.
    pub thread: &'a str,
}

impl Panicked<'_> {
    /// Logs the panic.
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
