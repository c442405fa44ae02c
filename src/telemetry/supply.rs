//! What providers and vaults give us to send with: credentials, tokens, money.

use std::sync::PoisonError;
use std::time::SystemTime;

use crate::secret::Version;
use crate::sms::ProviderId;
use crate::telemetry::Telemetry;
use crate::telemetry::known::{OTHER, bound};
use crate::telemetry::life::seconds;

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
        telemetry.memory.credential(self);
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
        telemetry.memory.token(self);
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
    /// How much goes in a day at today's pace; none: not watched for long enough.
    pub spent_a_day: Option<f64>,
}

impl Balance<'_> {
    /// Moves the gauge.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let provider = bound(self.provider.as_str(), &known.providers);
        let plain = (1..=8).contains(&self.unit.len()) && self.unit.bytes().all(|byte| byte.is_ascii_alphabetic());
        let unit = if plain { self.unit } else { OTHER };
        telemetry.families.set_balance(provider, unit, self.value);
        telemetry.memory.balance(self, unit);
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
    /// The vault answers; the entry or its fields are not there.
    NotFound,
    /// What is there is no entry.
    Malformed,
    /// No answer in time.
    Slow,
    /// The vault cannot be reached, or cannot serve.
    Down,
    /// It is sealed.
    Sealed,
    /// It refuses our login, or its policy the read.
    Forbidden,
    /// Its certificate is not trusted.
    Tls,
    /// A file, key or command on this host.
    Failed,
}

impl ReadResult {
    /// Every value.
    pub const ALL: &[Self] = &[
        Self::Unchanged,
        Self::Changed,
        Self::NotFound,
        Self::Malformed,
        Self::Slow,
        Self::Down,
        Self::Sealed,
        Self::Forbidden,
        Self::Tls,
        Self::Failed,
    ];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::NotFound => "not-found",
            Self::Malformed => "malformed",
            Self::Slow => "slow",
            Self::Down => "down",
            Self::Sealed => "sealed",
            Self::Forbidden => "forbidden",
            Self::Tls => "tls",
            Self::Failed => "failed",
        }
    }

    /// Whether it brought nothing.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Changed)
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
    /// Counts it; a failure is logged when it begins, becomes another, and ends, not every five seconds.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let vault = bound(self.vault, &known.vaults);
        telemetry.families.vault_reads.with_label_values(&[vault, self.result.as_str()]).inc();
        let failed = self.result.is_failure();
        telemetry.memory.vault(self, failed);
        let entry = (self.vault.to_owned(), self.path.to_owned());
        let mut failing = telemetry.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if failed { failing.insert(entry, self.result) } else { failing.remove(&entry) };
        let whole = !failing.keys().any(|(vault, _)| vault == self.vault);
        drop(failing);
        if vault != OTHER {
            // Born at 0 by a first read that fails; a vault that nobody reads has no date.
            let good = telemetry.families.vault_good.with_label_values(&[vault]);
            if whole {
                good.set(seconds(telemetry.clock.wall()));
            }
        }
        self.log(before);
    }

    /// A failure when it begins, when it becomes another one, and when it ends; else a word for those who debug.
    fn log(&self, before: Option<ReadResult>) {
        let (result, failed) = (self.result.as_str(), self.result.is_failure());
        match before {
            None if failed => {
                tracing::error!(
                    vault = self.vault,
                    path = self.path,
                    result,
                    problem = self.problem,
                    "vault entry cannot be read: {result}"
                );
            }
            Some(before) if failed && before != self.result => {
                tracing::error!(
                    vault = self.vault,
                    path = self.path,
                    result,
                    problem = self.problem,
                    "vault entry still cannot be read: {result}"
                );
            }
            Some(_) if !failed => tracing::info!(vault = self.vault, path = self.path, "vault entry can be read again"),
            Some(_) | None => tracing::debug!(vault = self.vault, path = self.path, result, "vault read"),
        }
    }
}
