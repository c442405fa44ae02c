//! Credentials, tokens, balances and vault reads.

use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use crate::diagnosis::Diagnosis;
use crate::secret::Version;
use crate::sms::ProviderId;
use crate::telemetry::Telemetry;
use crate::telemetry::labels::{OTHER, label_or_other};
use crate::telemetry::lifecycle::unix_seconds;

/// A credential was read and has this version.
#[derive(Clone, Copy, Debug)]
pub struct CredentialLoaded<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// An ordinal, never a hash.
    pub version: Version,
    /// When this content was first seen.
    pub first_seen_at: SystemTime,
}

impl CredentialLoaded<'_> {
    /// Updates the version and the age.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let provider = label_or_other(self.provider.as_str(), &known.providers);
        if provider == OTHER {
            return;
        }
        let gauge = telemetry
            .metrics
            .account
            .credential_version
            .with_label_values(&[provider]);
        let version = i64::try_from(self.version.0).unwrap_or(i64::MAX);
        if gauge.get() != version {
            tracing::info!(
                provider,
                version,
                "credential of {provider}: version {version}"
            );
        }
        gauge.set(version);
        telemetry
            .metrics
            .account
            .credential_age
            .set(provider, self.first_seen_at);
        telemetry.store.record_credential(self);
    }
}

/// The newest version of a credential was rejected or cannot be used, and the one before it serves in its place; or that
/// has ended.
#[derive(Clone, Copy, Debug)]
pub struct PreviousCredential<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// The newest version.
    pub newest: Version,
    /// The version that serves; none: the newest does.
    pub in_use: Option<Version>,
    /// Why the newest does not serve.
    pub diagnosis: Option<&'a Diagnosis>,
}

impl PreviousCredential<'_> {
    /// Logs it, and keeps it for the status.
    pub fn emit(&self, telemetry: &Telemetry) {
        telemetry.store.record_previous_credential(self);
        let (provider, newest) = (self.provider, self.newest.0);
        if let Some(in_use) = self.in_use {
            let fault = self
                .diagnosis
                .map_or("was rejected", |diagnosis| diagnosis.cause.version_fault());
            tracing::warn!(
                provider = provider.as_str(),
                version = newest,
                evidence = self.diagnosis.map(|diagnosis| diagnosis.evidence.as_str()),
                remedy = self.diagnosis.map(|diagnosis| diagnosis.remedy.as_str()),
                "provider {provider}: version {newest} of its credential {fault}; version {} stays in use",
                in_use.0,
            );
        } else {
            tracing::info!(
                provider = provider.as_str(),
                version = newest,
                "provider {provider}: no older version of its credential is in use any more",
            );
        }
    }
}

/// A credential is used although its values look wrong.
#[derive(Clone, Copy, Debug)]
pub struct CredentialSuspicious<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// An ordinal, never a hash.
    pub version: Version,
    /// What looks wrong, without a value.
    pub problem: &'a str,
}

impl CredentialSuspicious<'_> {
    /// Logs it; the sender of the event does so once per version.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let provider = label_or_other(self.provider.as_str(), &known.providers);
        tracing::warn!(
            provider,
            version = self.version.0,
            problem = self.problem,
            "credential of {provider} looks wrong and is used all the same: compare it with the service's console if it is rejected"
        );
    }
}

/// A login returned a token, or a credential has an expiry.
#[derive(Clone, Copy, Debug)]
pub struct TokenExpiry<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// When it expires; none if it is gone, or if its expiry is not known.
    pub expires_at: Option<SystemTime>,
}

impl TokenExpiry<'_> {
    /// Updates the gauge.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let provider = label_or_other(self.provider.as_str(), &known.providers);
        let family = &telemetry.metrics.account.credential_expiry;
        match self.expires_at {
            Some(at) => family.with_label_values(&[provider]).set(unix_seconds(at)),
            // The series need not exist.
            None => drop(family.remove_label_values(&[provider])),
        }
        telemetry.store.record_token_expiry(self);
        tracing::debug!(
            provider,
            expires = self.expires_at.map(unix_seconds),
            "token"
        );
    }
}

/// A provider reported the balance of the account.
#[derive(Clone, Copy, Debug)]
pub struct BalanceReported<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// `UZS`, `sms` …; anything longer than eight letters is not a unit.
    pub unit: &'a str,
    /// The amount.
    pub value: f64,
    /// How much is spent in a day at the current rate; none if it was not observed for long enough.
    pub daily_spend: Option<f64>,
}

impl BalanceReported<'_> {
    /// Updates the gauge.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let provider = label_or_other(self.provider.as_str(), &known.providers);
        let plain = (1..=8).contains(&self.unit.len())
            && self.unit.bytes().all(|byte| byte.is_ascii_alphabetic());
        let unit = if plain { self.unit } else { OTHER };
        telemetry.metrics.set_balance(provider, unit, self.value);
        telemetry.store.record_balance(self, unit);
        tracing::debug!(provider, unit, value = self.value, "balance");
    }
}

/// The result of reading a vault entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultReadResult {
    /// The same as before.
    Unchanged,
    /// The first content, or a newer one.
    Changed,
    /// The vault responds, but the entry or its fields do not exist.
    NotFound,
    /// The content is not a valid entry.
    Malformed,
    /// No answer in time.
    Timeout,
    /// The vault cannot be reached, or cannot serve.
    Unreachable,
    /// The vault is sealed.
    Sealed,
    /// The vault rejects our login, or its policy denies the read.
    Forbidden,
    /// The vault's certificate is not trusted.
    Tls,
    /// A file, key or command on this host failed.
    Failed,
}

impl VaultReadResult {
    /// Every value.
    pub const ALL: &[Self] = &[
        Self::Unchanged,
        Self::Changed,
        Self::NotFound,
        Self::Malformed,
        Self::Timeout,
        Self::Unreachable,
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
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Sealed => "sealed",
            Self::Forbidden => "forbidden",
            Self::Tls => "tls",
            Self::Failed => "failed",
        }
    }

    /// Whether the entry could not be read.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Changed)
    }
}

/// An entry of a vault was read, or could not be read.
#[derive(Clone, Copy, Debug)]
pub struct VaultRead<'a> {
    /// The vault's name.
    pub vault: &'a str,
    /// The path of the entry.
    pub path: &'a str,
    /// The result of the read.
    pub result: VaultReadResult,
    /// For a failure: what is wrong and what to do; never a value of the entry.
    pub problem: Option<&'a str>,
}

impl VaultRead<'_> {
    /// Counts the read. A failure is logged when it begins, changes and ends, not every five seconds.
    pub fn emit(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let vault = label_or_other(self.vault, &known.vaults);
        telemetry
            .metrics
            .account
            .vault_reads
            .with_label_values(&[vault, self.result.as_str()])
            .inc();
        let failed = self.result.is_failure();
        telemetry.store.record_vault_read(self, failed);
        let entry = (self.vault.to_owned(), self.path.to_owned());
        let mut failing = telemetry
            .failing_entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = if failed {
            failing.insert(entry, self.result)
        } else {
            failing.remove(&entry)
        };
        let whole = !failing.keys().any(|(vault, _)| vault == self.vault);
        drop(failing);
        if vault != OTHER {
            // The series is created at 0 by a failing first read; an unused vault has none.
            let good = telemetry
                .metrics
                .account
                .vault_last_success
                .with_label_values(&[vault]);
            if whole {
                good.set(unix_seconds(telemetry.clock.wall_clock()));
            }
        }
        self.log(before);
    }

    /// Logs a failure when it begins, changes and ends; every other read is logged at debug level.
    fn log(&self, before: Option<VaultReadResult>) {
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
            Some(_) if !failed => tracing::info!(
                vault = self.vault,
                path = self.path,
                "vault entry can be read again"
            ),
            Some(_) | None => {
                tracing::debug!(vault = self.vault, path = self.path, result, "vault read");
            }
        }
    }
}

/// The resolver fails for a provider's host while addresses of an earlier answer are known, or it works
/// again.
#[derive(Clone, Copy, Debug)]
pub struct ResolverChanged<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// The name.
    pub host: &'a str,
    /// The age of the addresses in use and why the lookup failed; none if the resolver works again.
    pub failing: Option<(Duration, &'a str)>,
}

impl ResolverChanged<'_> {
    /// Logs the change.
    pub fn emit(&self) {
        let provider = self.provider.as_str();
        let host = self.host;
        if let Some((age, problem)) = self.failing {
            tracing::warn!(
                provider,
                host,
                address_age_seconds = age.as_secs(),
                problem,
                "DNS fails, known addresses are in use"
            );
        } else {
            tracing::info!(provider, host, "DNS works again");
        }
    }
}
