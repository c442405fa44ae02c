//! Everything else that happens, one struct each.

use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::secret::Version;
use crate::sms::{Cause, Family, Kind, Outcome, ProviderId};
use crate::telemetry::call::{line, millis};
use crate::telemetry::families::STANDINGS;
use crate::telemetry::known::{NONE, OTHER, bound};
use crate::telemetry::{Build, Telemetry};

/// An attempt came to its end. Its line is for debugging; the call's own line shows it too.
#[derive(Clone, Copy, Debug)]
pub struct AttemptEnded<'a> {
    /// Whose account.
    pub provider: &'a ProviderId,
    /// What it was for.
    pub kind: Kind,
    /// What it came to, with its cause.
    pub outcome: &'a Outcome,
    /// The literal HTTP status, if a reply came.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

impl AttemptEnded<'_> {
    /// Counts the attempt, its status and its time.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let (provider, kind) = (bound(self.provider.as_str(), &known.providers), self.kind.as_str());
        let cause = self.outcome.cause();
        let (word, family) = (cause.map_or(NONE, Cause::as_str), cause.map(Cause::family).map_or(NONE, Family::as_str));
        let families = &telemetry.families;
        families.attempts.with_label_values(&[provider, kind, self.outcome.as_str(), word, family]).inc();
        families.attempt_duration.with_label_values(&[provider, kind]).observe(self.took.as_secs_f64());
        if let Some(status) = self.status {
            let text = status.to_string();
            let label = if (100..600).contains(&status) { text.as_str() } else { OTHER };
            families.upstream_responses.with_label_values(&[provider, kind, label]).inc();
        }
        tracing::debug!(
            provider = self.provider.as_str(),
            kind,
            outcome = self.outcome.as_str(),
            cause = cause.map(Cause::as_str),
            status = self.status,
            took_ms = millis(self.took),
            "attempt {}",
            self.outcome.as_str(),
        );
    }
}

/// A message moves on to another provider.
#[derive(Clone, Copy, Debug)]
pub struct Failover<'a> {
    /// Who did not deliver.
    pub from: &'a ProviderId,
    /// Who tries next.
    pub to: &'a ProviderId,
    /// Why.
    pub cause: Cause,
}

impl Failover<'_> {
    /// Counts it.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let (from, to) = (bound(self.from.as_str(), &known.providers), bound(self.to.as_str(), &known.providers));
        telemetry.families.failovers.with_label_values(&[from, to, self.cause.as_str()]).inc();
        tracing::debug!(from = self.from.as_str(), to = self.to.as_str(), cause = self.cause.as_str(), "failover");
    }
}

/// A message is sent here although an attempt elsewhere may have been taken.
#[derive(Clone, Copy, Debug)]
pub struct PossibleDuplicate<'a> {
    /// Who sends it, perhaps for the second time.
    pub provider: &'a ProviderId,
}

impl PossibleDuplicate<'_> {
    /// Counts it.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        telemetry.families.possible_duplicates.with_label_values(&[bound(self.provider.as_str(), &known.providers)]).inc();
        tracing::debug!(provider = self.provider.as_str(), "possible duplicate");
    }
}

/// A call repeated a message and was answered from memory.
#[derive(Clone, Copy, Debug)]
pub struct Repeat<'a> {
    /// What the backend spoke.
    pub dialect: &'a str,
}

impl Repeat<'_> {
    /// Counts it.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        telemetry.families.repeats.with_label_values(&[bound(self.dialect, &known.dialects)]).inc();
        tracing::debug!(dialect = self.dialect, "repeat");
    }
}

/// A provider's standing is another one now.
#[derive(Clone, Copy, Debug)]
pub struct StandingChanged<'a> {
    /// Whose.
    pub provider: &'a ProviderId,
    /// One of [`STANDINGS`].
    pub standing: &'static str,
    /// Why.
    pub cause: Option<Cause>,
    /// What brings it back.
    pub remedy: Option<&'a str>,
}

impl StandingChanged<'_> {
    /// Moves the gauge; set aside is somebody's work, so it is an error, resting only a warning.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let provider = bound(self.provider.as_str(), &known.providers);
        if provider != OTHER {
            for standing in STANDINGS {
                telemetry.families.standing.with_label_values(&[provider, standing]).set(i64::from(standing == self.standing));
            }
        }
        let level = match self.standing {
            "aside" => tracing::Level::ERROR,
            "resting" => tracing::Level::WARN,
            _ => tracing::Level::INFO,
        };
        line!(
            level,
            provider = self.provider.as_str(),
            standing = self.standing,
            cause = self.cause.map(Cause::as_str),
            remedy = self.remedy,
            "provider {} is {}",
            self.provider,
            self.standing,
        );
    }
}

/// A route runs on its first provider, or on a backup.
#[derive(Clone, Copy, Debug)]
pub struct RouteFirstChoice<'a> {
    /// The route's name.
    pub route: &'a str,
    /// Whether its first provider was used.
    pub first: bool,
}

impl RouteFirstChoice<'_> {
    /// Moves the gauge; says so only when it changes.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        if bound(self.route, &known.routes) == OTHER {
            return;
        }
        let gauge = telemetry.families.first_choice.with_label_values(&[self.route]);
        let (before, now) = (gauge.get(), i64::from(self.first));
        gauge.set(now);
        match (before == now, self.first) {
            (true, _) => {}
            (false, true) => tracing::info!(route = self.route, "route {} is back on its first provider", self.route),
            (false, false) => tracing::warn!(route = self.route, "route {} runs on a backup", self.route),
        }
    }
}

/// A credential was read and has this version.
#[derive(Clone, Copy, Debug)]
pub struct CredentialSeen<'a> {
    /// Whose.
    pub provider: &'a ProviderId,
    /// An ordinal, never a hash.
    pub version: Version,
    /// When this content was first seen.
    pub since: SystemTime,
}

impl CredentialSeen<'_> {
    /// Moves version and age.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let provider = bound(self.provider.as_str(), &known.providers);
        if provider == OTHER {
            return;
        }
        let gauge = telemetry.families.credential_version.with_label_values(&[provider]);
        let version = i64::try_from(self.version.0).unwrap_or(i64::MAX);
        if gauge.get() != version {
            tracing::info!(provider, version, "credential of {provider}: version {version}");
        }
        gauge.set(version);
        telemetry.families.ages.set(provider, self.since);
    }
}

/// A login brought a token, or a credential names its end.
#[derive(Clone, Copy, Debug)]
pub struct TokenExpiry<'a> {
    /// Whose.
    pub provider: &'a ProviderId,
    /// When it runs out; none: it is gone or does not say.
    pub at: Option<SystemTime>,
}

impl TokenExpiry<'_> {
    /// Moves the gauge.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let provider = bound(self.provider.as_str(), &known.providers);
        let family = &telemetry.families.credential_expiry;
        match self.at {
            Some(at) => family.with_label_values(&[provider]).set(seconds(at)),
            // There may have been no series, which is what we want.
            None => drop(family.remove_label_values(&[provider])),
        }
        tracing::debug!(provider, expires = self.at.map(seconds), "token");
    }
}

/// A provider said what is left on the account.
#[derive(Clone, Copy, Debug)]
pub struct Balance<'a> {
    /// Whose.
    pub provider: &'a ProviderId,
    /// `UZS`, `sms` …; anything longer than eight letters is no unit.
    pub unit: &'a str,
    /// How much.
    pub value: f64,
}

impl Balance<'_> {
    /// Moves the gauge.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let provider = bound(self.provider.as_str(), &known.providers);
        let plain = (1..=8).contains(&self.unit.len()) && self.unit.bytes().all(|byte| byte.is_ascii_alphabetic());
        let unit = if plain { self.unit } else { OTHER };
        telemetry.families.set_balance(provider, unit, self.value);
        tracing::debug!(provider, unit, value = self.value, "balance");
    }
}

/// What a read of a vault entry brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// The same as before.
    Unchanged,
    /// The first content, or a newer one.
    Changed,
    /// Nothing: the vault or the entry could not be read.
    Failed,
}

impl ReadResult {
    /// Every value.
    pub const ALL: &[Self] = &[Self::Unchanged, Self::Changed, Self::Failed];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Failed => "failed",
        }
    }
}

/// An entry of a vault was read, or could not be.
#[derive(Clone, Copy, Debug)]
pub struct VaultRead<'a> {
    /// The vault's name.
    pub vault: &'a str,
    /// The entry.
    pub path: &'a str,
    /// What came of it.
    pub result: ReadResult,
    /// For a failure: what, and what to do; never a value.
    pub problem: Option<&'a str>,
}

impl VaultRead<'_> {
    /// Counts it; a failure is logged when it begins and when it ends, not every five seconds.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let vault = bound(self.vault, &known.vaults);
        telemetry.families.vault_reads.with_label_values(&[vault, self.result.as_str()]).inc();
        let failed = self.result == ReadResult::Failed;
        let entry = (self.vault.to_owned(), self.path.to_owned());
        let mut failing = telemetry.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let was_failing = if failed { !failing.insert(entry) } else { failing.remove(&entry) };
        drop(failing);
        match (was_failing, failed) {
            (false, true) => tracing::error!(vault = self.vault, path = self.path, problem = self.problem, "vault entry cannot be read"),
            (true, false) => tracing::info!(vault = self.vault, path = self.path, "vault entry can be read again"),
            _ => tracing::debug!(vault = self.vault, path = self.path, result = self.result.as_str(), "vault read"),
        }
    }
}

/// The config was read again.
#[derive(Clone, Copy, Debug)]
pub struct Reloaded<'a> {
    /// When, if it is in use now; none: it was bad and the old one stays.
    pub at: Option<SystemTime>,
    /// For a bad one: how many errors, and which command shows them.
    pub problem: Option<&'a str>,
}

impl Reloaded<'_> {
    /// Counts it and dates the config in use.
    pub fn emit(&self, telemetry: &Telemetry) {
        let result = if self.at.is_some() { "ok" } else { "failed" };
        telemetry.families.reloads.with_label_values(&[result]).inc();
        let Some(at) = self.at else {
            tracing::error!(result, problem = self.problem, "config not reloaded, the old one stays");
            return;
        };
        date_config(telemetry, at);
        tracing::info!(result, "config reloaded");
    }
}

/// The local CA runs out at this time.
#[derive(Clone, Copy, Debug)]
pub struct CaExpiry {
    /// When.
    pub at: SystemTime,
}

impl CaExpiry {
    /// Moves the gauge.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry.families.ca_expiry.with_label_values::<&str>(&[]).set(seconds(self.at));
    }
}

/// Listeners are open and the config is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// Which build.
    pub build: &'a Build,
    /// When.
    pub at: SystemTime,
    /// Each address, with what it is for.
    pub addresses: &'a [(&'static str, String)],
}

impl Started<'_> {
    /// Dates the config and says where we listen.
    pub fn emit(&self, telemetry: &Telemetry) {
        date_config(telemetry, self.at);
        let addresses: Vec<String> = self.addresses.iter().map(|(what, address)| format!("{what} {address}")).collect();
        tracing::info!(version = self.build.version, commit = self.build.commit, listen = addresses.join(", "), "started");
    }
}

/// No new calls; those in flight finish.
#[derive(Clone, Copy, Debug)]
pub struct Stopping<'a> {
    /// A signal's name, or what else asked for it.
    pub why: &'a str,
}

impl Stopping<'_> {
    /// Says so.
    pub fn emit(&self) {
        tracing::info!(why = self.why, "stopping: calls in flight finish first");
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
        tracing::error!(location = self.location, thread = self.thread, "panicked: a fault of ours, please report the place");
    }
}

fn date_config(telemetry: &Telemetry, at: SystemTime) {
    telemetry.families.config_timestamp.with_label_values::<&str>(&[]).set(seconds(at));
}

fn seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}
