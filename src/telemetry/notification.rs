//! Notifications that were delivered, wait for their delivery, or were lost. Each is counted; the log
//! shows a failing webhook once, and when it works again.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::telemetry::Telemetry;

/// Keeps the lines about a failing webhook from repeating.
#[derive(Debug, Default)]
pub(super) struct WebhookState {
    is_failing: AtomicBool,
    is_losing: AtomicBool,
}

/// Why notifications were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationLoss {
    /// The receiver did not accept them.
    Failed,
    /// The queue was full.
    Dropped,
}

impl NotificationLoss {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// The label's value of a notification that the receiver accepted.
const DELIVERED: &str = "delivered";

/// Every value of the label.
pub(super) const NOTIFICATION_RESULTS: [&str; 3] = [
    DELIVERED,
    NotificationLoss::Failed.as_str(),
    NotificationLoss::Dropped.as_str(),
];

/// The receiver accepted a notification.
#[derive(Clone, Copy, Debug)]
pub struct NotificationDelivered<'a> {
    /// What it reports: `provider-quarantined` …
    pub event: &'a str,
    /// The provider or route.
    pub name: Option<&'a str>,
}

impl NotificationDelivered<'_> {
    /// Counts and logs it.
    pub fn emit(&self, telemetry: &Telemetry) {
        count(telemetry, DELIVERED, 1);
        let state = &telemetry.webhook_state;
        state.is_losing.store(false, Ordering::Relaxed);
        if state.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("notifications are delivered again");
        }
        tracing::info!(
            event = self.event,
            name = self.name,
            "notification delivered"
        );
    }
}

/// A notification was not delivered yet, and is sent again.
#[derive(Clone, Copy, Debug)]
pub struct NotificationDelayed<'a> {
    /// The command that tries the webhook.
    pub test_command: &'a str,
    /// What happened; contains neither the URL nor text of the receiver.
    pub problem: &'a str,
}

impl NotificationDelayed<'_> {
    /// Logs it when the failures begin.
    pub fn emit(&self, telemetry: &Telemetry) {
        let is_failing = &telemetry.webhook_state.is_failing;
        if !is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                problem = self.problem,
                "notifications are delayed: the webhook of `[notify]` fails; {} tries it",
                self.test_command
            );
        }
    }
}

/// Notifications were lost. No request waited or failed for it.
#[derive(Clone, Copy, Debug)]
pub struct NotificationsLost<'a> {
    /// The command that tries the webhook.
    pub test_command: &'a str,
    /// How many.
    pub count: usize,
    /// Why, as a label value.
    pub loss: NotificationLoss,
    /// What happened; contains neither the URL nor text of the receiver.
    pub problem: &'a str,
}

impl NotificationsLost<'_> {
    /// Counts them, and logs when the losses begin.
    pub fn emit(&self, telemetry: &Telemetry) {
        count(telemetry, self.loss.as_str(), self.count);
        let state = &telemetry.webhook_state;
        state.is_failing.store(true, Ordering::Relaxed);
        if !state.is_losing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                loss = self.loss.as_str(),
                problem = self.problem,
                "notifications are lost: the webhook of `[notify]` fails; {} tries it",
                self.test_command
            );
        }
    }
}

fn count(telemetry: &Telemetry, result: &str, notifications: usize) {
    telemetry
        .metrics
        .process
        .notifications
        .with_label_values(&[result])
        .inc_by(u64::try_from(notifications).unwrap_or(u64::MAX));
}
