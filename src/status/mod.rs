//! The facts of the status page, `/status.json` and `sms-sidecar status`: one model that the running
//! sidecar writes and the command line reads. The other replies of the control socket are here too. The model owns the content and its wording; the page and
//! the terminal output own the layout. Times are RFC 3339 in UTC, ages and periods are in seconds.

mod build;
mod config;
mod control;
mod headline;
mod notification;
mod requests;
mod times;
mod vault_warnings;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::diagnosis::RemedyStep;
use crate::policy::HealthState;
use crate::sms::{Cause, Entrypoint};

pub use build::build;
pub use config::{BuildStatus, ConfigStatus, ReloadStatus, VaultEntryStatus, VaultStatus};
pub use control::{
    ControlError, ControlReply, ProviderReport, ReloadReport, SendReport, SendRequest,
};
pub use headline::{Deliverability, cause_phrase};
pub use notification::{
    Notification, NotificationEvent, NotificationFormat, NotificationSubject, NotificationTracker,
};
pub use requests::{
    AttemptStatus, ConnectionsStatus, DenialStatus, DeniedRequests, EntrypointStatus, RequestStatus,
};
pub use times::{
    SentencePart, add_distances, full_time, parse_short_time, relative_time, short_time,
    split_times,
};

/// The whole status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// When the status was built.
    pub at: String,
    /// The host that the sidecar runs on.
    pub host: String,
    /// The name of this sidecar, if the config has one.
    pub instance: Option<String>,
    /// Whether codes arrive.
    pub headline: Headline,
    /// The routes, in the order of the config.
    pub routes: Vec<RouteStatus>,
    /// The providers: those that need an operator first, then in the order of the config.
    pub providers: Vec<ProviderStatus>,
    /// Messages of the last hour, by the result that the backend got.
    pub messages: MessageCounts,
    /// The last requests, newest first.
    pub requests: Vec<RequestStatus>,
    /// The entrypoints through which requests came in.
    pub entrypoints: Vec<EntrypointStatus>,
    /// The connections of backends.
    pub connections: ConnectionsStatus,
    /// Requests of the backend that the sidecar itself denied in the last hour, the newest first.
    pub denials: Vec<DenialStatus>,
    /// Set if no message of the backend was accepted beside the denied requests, or if most of its requests are denied.
    pub denied: Option<DeniedRequests>,
    /// The vaults, with the entries that were read.
    pub vaults: Vec<VaultStatus>,
    /// The active config.
    pub config: ConfigStatus,
    /// The running build.
    pub build: BuildStatus,
}

/// Whether codes arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Headline {
    /// In one word.
    pub deliverability: Deliverability,
    /// In one sentence.
    pub summary: String,
    /// The facts behind it.
    pub details: String,
    /// Problems that do not stop messages now but may do so later.
    pub warnings: Vec<String>,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteStatus {
    /// Its name; if the config has no routes, the dialect whose requests it represents.
    pub route: String,
    /// Its providers, in the listed order.
    pub providers: Vec<String>,
    /// Recipient prefixes; empty for every recipient.
    pub recipients: Vec<String>,
    /// Whether one of its providers can deliver.
    pub can_deliver: bool,
    /// Whether it only observes: the backend's own requests pass through unchanged.
    pub observe: bool,
    /// Since when messages have gone through a provider other than the first.
    pub backup_since: Option<String>,
    /// The provider that accepted the last message.
    pub last_provider: Option<String>,
    /// When it accepted that message.
    pub last_at: Option<String>,
    /// Its state, as text.
    pub summary: String,
}

/// One provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderStatus {
    /// Its name.
    pub provider: String,
    /// Its dialect.
    pub dialect: String,
    /// The base URL for its attempts.
    pub base_url: String,
    /// `healthy` `cooldown` `quarantined` `paused`.
    pub state: String,
    /// Whether it is in use and has a credential.
    pub can_deliver: bool,
    /// Its state, as text.
    pub summary: String,
    /// Since when it has been in this state.
    pub since: Option<String>,
    /// When one message may try it. If that time has passed, the next message does.
    pub next_trial_at: Option<String>,
    /// When its last message failed although it is in use, because it is only observed or because one
    /// rejection does not change its state.
    pub failed_at: Option<String>,
    /// Set if it is in use, but most of its latest messages failed.
    pub failing: Option<RecentFailures>,
    /// Why it is unavailable, or why that message failed.
    pub cause: Option<String>,
    /// How certain the cause is.
    pub certainty: Option<String>,
    /// Other possible causes.
    pub alternatives: Vec<String>,
    /// The evidence for the cause.
    pub evidence: Option<String>,
    /// What to do.
    pub remedy: Option<String>,
    /// The same as steps.
    pub steps: Vec<RemedyStep>,
    /// Where its credential is kept: `vault:path`.
    pub credential: Option<String>,
    /// The newest version of the credential; 0 if none could be read yet.
    pub credential_version: u64,
    /// The older version that is in use, because the newest was rejected or cannot be used.
    pub previous_version_in_use: Option<u64>,
    /// When that version was first seen.
    pub credential_since: Option<String>,
    /// How long ago that was.
    pub credential_age_seconds: Option<u64>,
    /// The last `pause` or `resume`; none if there was none since the start.
    pub last_command: Option<CommandStatus>,
    /// When its login token expires.
    pub token_expires_at: Option<String>,
    /// The balance that the service last reported.
    pub balance: Option<BalanceStatus>,
    /// When it last accepted a message.
    pub last_accepted_at: Option<String>,
    /// Sends of the last 15 minutes.
    pub recent: RecentSends,
    /// Sends of the last hour.
    pub hour: SendsLastHour,
    /// Sends of the last day.
    pub day: SendsLastDay,
}

/// A command of an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandStatus {
    /// `pause` or `resume`.
    pub command: String,
    /// Who ran it: `deploy (uid 1001)`.
    pub by: String,
    /// When.
    pub at: String,
}

/// How many of the latest messages through a provider failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecentFailures {
    /// Those that failed, for another reason than their recipient.
    pub failed: usize,
    /// All of them.
    pub sends: usize,
}

/// The balance of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BalanceStatus {
    /// The amount.
    pub value: f64,
    /// The unit: `UZS`, `sms` …
    pub unit: String,
    /// When the service reported it.
    pub at: String,
    /// How much is spent in a day at the current rate; null if it was not observed for long enough.
    pub daily_spend: Option<f64>,
}

impl BalanceStatus {
    /// How many days the balance lasts at that rate; none if the rate is unknown or nothing is spent.
    pub fn days_left(&self) -> Option<f64> {
        self.daily_spend
            .filter(|spent| *spent > 0.0)
            .map(|spent| self.value / spent)
    }
}

/// Sends of the last 15 minutes, for rate and latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecentSends {
    /// How many were accepted.
    pub accepted: u64,
    /// How many there were in total.
    pub sent: u64,
    /// The period in seconds: 15 minutes, or the time since the sidecar started.
    pub seconds: u64,
    /// How many there were in a minute, on average.
    pub per_minute: f64,
    /// The time in ms that 95 of 100 did not exceed; none if nothing was written. At most the last 200 count.
    pub p95_ms: Option<u64>,
}

impl RecentSends {
    /// `7 of 8 accepted, 0.5 per minute, p95 240 ms`, or `nothing was sent`.
    pub fn summary(&self) -> String {
        if self.sent == 0 {
            return "nothing was sent".to_owned();
        }
        let p95 = self
            .p95_ms
            .map_or_else(String::new, |p95| format!(", p95 {p95} ms"));
        format!(
            "{} of {} accepted, {} per minute{p95}",
            self.accepted, self.sent, self.per_minute
        )
    }
}

/// Sends by outcome, for each of the last sixty minutes, oldest first. The last minute is not over yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendsLastHour {
    /// The service accepted it.
    pub accepted: Vec<u32>,
    /// The service rejected it in its reply.
    pub rejected: Vec<u32>,
    /// The service may have accepted it.
    pub unknown: Vec<u32>,
    /// Nothing was written.
    pub unsent: Vec<u32>,
}

impl SendsLastHour {
    /// Each outcome with its counts, in the order of the legend.
    pub fn by_outcome(&self) -> [(&'static str, &[u32]); 4] {
        [
            ("accepted", &self.accepted),
            ("rejected", &self.rejected),
            ("unknown", &self.unknown),
            ("unsent", &self.unsent),
        ]
    }

    /// How many were sent in the busiest minute.
    pub fn busiest_minute(&self) -> u64 {
        let rows = self.by_outcome();
        let sent = |minute: usize| {
            rows.iter()
                .filter_map(|(_, row)| row.get(minute))
                .map(|count| u64::from(*count))
                .sum()
        };
        (0..self.accepted.len()).map(sent).max().unwrap_or_default()
    }

    /// How many minutes ago one was last not accepted: 0 in the current minute; none if all were accepted.
    pub fn last_failure_minutes_ago(&self) -> Option<usize> {
        let [_, failures @ ..] = self.by_outcome();
        let failed = |row: &[u32]| row.iter().rev().position(|count| *count > 0);
        failures.iter().filter_map(|(_, row)| failed(row)).min()
    }

    /// `118 accepted, 3 rejected`, or `nothing was sent`.
    pub fn summary(&self) -> String {
        let counts = self.by_outcome().map(|(word, row)| (word, sum(row)));
        let said: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        if said.is_empty() {
            "nothing was sent".to_owned()
        } else {
            said.join(", ")
        }
    }
}

/// Sends of up to a day, to compare with the balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendsLastDay {
    /// How many were accepted.
    pub accepted: u64,
    /// How many there were in total.
    pub sent: u64,
    /// The period in seconds: a day, or the time since the sidecar started.
    pub seconds: u64,
}

/// Messages of the last hour, by the result that the backend got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MessageCounts {
    /// A service accepted it.
    pub accepted: u64,
    /// Nothing was sent.
    pub not_sent: u64,
    /// It may have been sent.
    pub in_doubt: u64,
    /// It failed because of the message itself.
    pub message_rejected: u64,
    /// Observe mode passed the service's rejection to the backend.
    pub passed_through: u64,
}

impl Status {
    /// Which sidecar this is: `otp on web-3`, or the host alone.
    pub fn location(&self) -> String {
        match &self.instance {
            Some(instance) if self.host.is_empty() => instance.clone(),
            Some(instance) => format!("{instance} on {}", self.host),
            None => self.host.clone(),
        }
    }

    /// A provider by its name.
    pub fn provider(&self, name: &str) -> Option<&ProviderStatus> {
        self.providers
            .iter()
            .find(|provider| provider.provider == name)
    }

    /// How many requests came in since the start through the backend's entrypoints, read or not.
    pub fn backend_requests(&self) -> u64 {
        self.entrypoints
            .iter()
            .filter(|stats| stats.entrypoint != Entrypoint::Control.as_str())
            .map(|stats| stats.requests + stats.tunnelled + stats.denied)
            .sum()
    }
}

impl ConfigStatus {
    /// The file that was changed after the load; an older sidecar does not name it.
    pub fn changed_file(&self) -> &str {
        self.changed_file.as_deref().unwrap_or(&self.file)
    }
}

impl ProviderStatus {
    /// Whether it is neither quarantined, in cooldown nor paused.
    pub fn is_healthy(&self) -> bool {
        self.state == HealthState::Healthy.as_str()
    }

    /// The last command, if it has brought the provider into its state: who paused it, or who resumed it
    /// in the last hour.
    pub(crate) fn command_in_effect(&self, now: &str) -> Option<&CommandStatus> {
        let is_paused = self.state == HealthState::Paused.as_str();
        self.last_command.as_ref().filter(|last| {
            last.command == if is_paused { "pause" } else { "resume" }
                && (is_paused || self.is_healthy() && times::is_within_an_hour(&last.at, now))
        })
    }

    /// The cause; none if there is none, or if a newer sidecar wrote one that this version does not support.
    pub fn parsed_cause(&self) -> Option<Cause> {
        self.cause.as_ref()?.parse().ok()
    }
}

impl RequestStatus {
    /// The cause; none if there is none, or if a newer sidecar wrote one that this version does not support.
    pub fn parsed_cause(&self) -> Option<Cause> {
        self.cause.as_ref()?.parse().ok()
    }

    /// Whether it came from the backend, not from the control socket.
    pub fn is_from_backend(&self) -> bool {
        self.entrypoint != Entrypoint::Control.as_str()
    }
}

/// The sum of the counts.
pub(crate) fn sum(row: &[u32]) -> u64 {
    row.iter().copied().map(u64::from).sum()
}
