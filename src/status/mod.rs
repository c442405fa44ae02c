//! The facts of the status page, `/status.json` and `sms-sidecar status`: one model that the running
//! sidecar writes and the command line reads. It owns the content and its wording; page and terminal
//! own the layout. Times are RFC 3339 in UTC, ages and periods are seconds.

mod build;
mod config;
mod headline;
mod requests;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::policy::HealthState;
use crate::sms::{Cause, Entrypoint};

pub use build::build;
pub use config::{BuildStatus, ConfigStatus, ReloadStatus, VaultEntryStatus, VaultStatus};
pub(crate) use headline::alternatives_phrase;
pub use headline::{Deliverability, cause_phrase, short_time};
pub use requests::{AttemptStatus, EntrypointStatus, RequestStatus, TlsRejectionStatus};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// When the status was built.
    pub at: String,
    /// Whether codes arrive.
    pub headline: Headline,
    /// In the order of the config.
    pub routes: Vec<RouteStatus>,
    /// Those that need an operator first, then in the order of the config.
    pub providers: Vec<ProviderStatus>,
    /// Messages of the last hour, by what the backend was told.
    pub messages: MessageCounts,
    /// Newest first.
    pub requests: Vec<RequestStatus>,
    /// Where anything came in.
    pub entrypoints: Vec<EntrypointStatus>,
    /// As far as they were read.
    pub vaults: Vec<VaultStatus>,
    /// What is in force.
    pub config: ConfigStatus,
    /// Which build this is.
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
    /// What that rests on.
    pub details: String,
    /// What stops no message now but may stop one later.
    pub warnings: Vec<String>,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteStatus {
    /// Its name; where the config has no routes, the dialect whose calls it stands for.
    pub route: String,
    /// In the listed order.
    pub providers: Vec<String>,
    /// Prefixes; empty: every recipient.
    pub recipients: Vec<String>,
    /// Whether a provider of it can.
    pub can_deliver: bool,
    /// It only watches: the backend's own requests pass unchanged.
    pub observe: bool,
    /// Since when messages go by another than the first provider.
    pub backup_since: Option<String>,
    /// The provider that accepted the last message.
    pub last_provider: Option<String>,
    /// When.
    pub last_at: Option<String>,
    /// Its state, in words.
    pub summary: String,
}

/// One provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderStatus {
    /// Its name.
    pub provider: String,
    /// What it speaks.
    pub dialect: String,
    /// Where its attempts go.
    pub base_url: String,
    /// `healthy` `cooldown` `quarantined` `paused`.
    pub state: String,
    /// Whether it is in use and has a credential.
    pub can_deliver: bool,
    /// Its state, in words.
    pub summary: String,
    /// Since when.
    pub since: Option<String>,
    /// When one message may try it; a time that has passed: the next one does.
    pub next_trial_at: Option<String>,
    /// In use, and yet its last message failed then: it is only watched, or not judged by one refusal.
    pub failed_at: Option<String>,
    /// Why it is out, or why that failed.
    pub cause: Option<String>,
    /// How sure that is.
    pub certainty: Option<String>,
    /// What else it can be.
    pub alternatives: Vec<String>,
    /// What speaks for it.
    pub evidence: Option<String>,
    /// What to do.
    pub remedy: Option<String>,
    /// Where its credential is kept: `vault:path`.
    pub credential: Option<String>,
    /// Which content of it is in use; 0: none could be read yet.
    pub credential_version: u64,
    /// When that content was first seen.
    pub credential_since: Option<String>,
    /// How long ago that is.
    pub credential_age_seconds: Option<u64>,
    /// When its login token runs out.
    pub token_expires_at: Option<String>,
    /// What the service last said is left.
    pub balance: Option<BalanceStatus>,
    /// Sends of the last hour.
    pub hour: SendsLastHour,
    /// Sends of the last day.
    pub day: SendsLastDay,
}

/// What is left on an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BalanceStatus {
    /// How much.
    pub value: f64,
    /// Of what: `UZS`, `sms` …
    pub unit: String,
    /// When it was said.
    pub at: String,
    /// How much goes in a day at today's pace; null: not watched for long enough.
    pub daily_spend: Option<f64>,
}

impl BalanceStatus {
    /// How many days it lasts at that pace; none: not known, or nothing goes.
    pub fn days_left(&self) -> Option<f64> {
        self.daily_spend
            .filter(|spent| *spent > 0.0)
            .map(|spent| self.value / spent)
    }
}

/// Sends by outcome, sixty minutes each, oldest first; the last minute still runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendsLastHour {
    /// The service took it.
    pub accepted: Vec<u32>,
    /// It was not taken, and the reply says so.
    pub rejected: Vec<u32>,
    /// It may have been taken.
    pub unknown: Vec<u32>,
    /// Nothing was written.
    pub unsent: Vec<u32>,
}

impl SendsLastHour {
    /// Each word with its row, as the legend lists them.
    pub fn by_outcome(&self) -> [(&'static str, &[u32]); 4] {
        [
            ("accepted", &self.accepted),
            ("rejected", &self.rejected),
            ("unknown", &self.unknown),
            ("unsent", &self.unsent),
        ]
    }

    /// `118 accepted, 3 refused`; none at all: nothing was sent.
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

/// Sends of up to a day, for how long money lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendsLastDay {
    /// So many were accepted …
    pub accepted: u64,
    /// … of so many …
    pub sent: u64,
    /// … in so many seconds: a day, or since the sidecar began.
    pub seconds: u64,
}

/// Messages of the last hour, by what the backend was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MessageCounts {
    /// A service took it.
    pub accepted: u64,
    /// Nothing was sent.
    pub not_sent: u64,
    /// It may have been sent.
    pub in_doubt: u64,
    /// The message's own fault.
    pub message_rejected: u64,
}

impl Status {
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

impl ProviderStatus {
    /// Whether it is neither quarantined, in cooldown nor paused.
    pub fn is_healthy(&self) -> bool {
        self.state == HealthState::Healthy.as_str()
    }

    /// The cause; none: it has none, or a newer sidecar wrote one that this version does not know.
    pub fn parsed_cause(&self) -> Option<Cause> {
        self.cause.as_ref()?.parse().ok()
    }
}

impl RequestStatus {
    /// The cause; none: it has none, or a newer sidecar wrote one that this version does not know.
    pub fn parsed_cause(&self) -> Option<Cause> {
        self.cause.as_ref()?.parse().ok()
    }

    /// Whether it came from the backend, not from the control socket.
    pub fn is_from_backend(&self) -> bool {
        self.entrypoint != Entrypoint::Control.as_str()
    }
}

pub(crate) fn sum(row: &[u32]) -> u64 {
    row.iter().copied().map(u64::from).sum()
}
