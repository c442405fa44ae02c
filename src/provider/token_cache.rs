//! The logins of one account as a value: the token in use, which logins failed, and whether two tokens
//! of one credential were rejected in a row. Never waits; `auth` logs in.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Moment;
use crate::dialect::{Classification, LoginToken};
use crate::policy::CredentialRevision;
use crate::secret::{Credential, Version};
use crate::sms::{Concern, Outcome};

/// Greater than every generation: a revision with it means the credential itself, with every token.
pub(crate) const ALL_GENERATIONS: u64 = u64::MAX;
/// Longer than a read of the vault; by then the rejected provider is quarantined.
const REJECTION_TTL: Duration = Duration::from_secs(5);
/// After a renewal that failed, an old token that is still valid serves this long before the next renewal.
const RENEWAL_RETRY_DELAY: Duration = Duration::from_secs(30);

/// The logins of one account.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    token: Option<CachedToken>,
    /// Tokens received so far: the second half of [`CredentialRevision`].
    token_generation: u64,
    /// Logins that ended, successful or not. An attempt that waited for one need not log in itself.
    finished_logins: u64,
    last_failure: Option<AuthFailure>,
    rejected_tokens: RejectedTokens,
    /// The newest rejection: until the vault was read again, no attempt sends that version.
    recent_rejection: Option<AuthFailure>,
    last_accepted: Option<LastAccepted>,
}

/// A token and the revision that attempts with it have.
#[derive(Clone, Debug)]
pub(crate) struct CachedToken {
    pub(crate) token: Arc<LoginToken>,
    pub(crate) revision: CredentialRevision,
    issued_at: Timestamp,
}

/// The last accepted message: when, and with which version.
#[derive(Clone, Debug)]
pub(crate) struct LastAccepted {
    pub(crate) at: Moment,
    pub(crate) version: Version,
    /// It serves again if a newer one is rejected.
    pub(crate) credential: Option<Arc<Credential>>,
}

/// Tokens of one credential that were rejected in a row, without an accepted message between.
#[derive(Clone, Copy, Debug, Default)]
struct RejectedTokens {
    version: Version,
    count: u32,
}

/// A login or an attempt that failed.
#[derive(Clone, Debug)]
struct AuthFailure {
    version: Version,
    classification: Classification,
    at: Moment,
}

impl TokenCache {
    /// The revision of an attempt with this version of the credential.
    pub(crate) fn newest_revision(&self, version: Version) -> CredentialRevision {
        let cached = self
            .token
            .as_ref()
            .map(|cached| cached.revision)
            .filter(|revision| revision.version == version);
        cached.unwrap_or(CredentialRevision {
            version,
            token_generation: self.token_generation.saturating_add(1),
        })
    }

    /// A token that can be used without a login: one that does not expire soon, or one that cannot be renewed now.
    pub(crate) fn usable_token(
        &self,
        version: Version,
        wall_clock: Timestamp,
        now: Moment,
    ) -> Option<CachedToken> {
        let cached = self.unexpired_token(version, wall_clock)?;
        let is_renewable = || {
            self.last_failure.as_ref().is_none_or(|failure| {
                !failure.is_rejection_of(version) && now.since(failure.at) >= RENEWAL_RETRY_DELAY
            })
        };
        (!cached.needs_renewal(wall_clock) || !is_renewable()).then(|| cached.clone())
    }

    /// A token that is still valid.
    pub(crate) fn unexpired_token(
        &self,
        version: Version,
        wall_clock: Timestamp,
    ) -> Option<&CachedToken> {
        self.token.as_ref().filter(|cached| {
            cached.revision.version == version
                && cached.token.expires_at.is_none_or(|end| wall_clock < end)
        })
    }

    /// How many logins ended.
    pub(crate) fn finished_logins(&self) -> u64 {
        self.finished_logins
    }

    /// Why no login with this version is needed: its login was rejected (and this is not a `trial`), or another attempt
    /// logged in since `finished_before` were finished.
    pub(crate) fn known_failure(
        &self,
        version: Version,
        trial: bool,
        finished_before: u64,
    ) -> Option<Classification> {
        let failure = self
            .last_failure
            .as_ref()
            .filter(|failure| failure.version == version)?;
        (self.finished_logins != finished_before || failure.is_rejection_of(version) && !trial)
            .then(|| failure.classification.clone())
    }

    /// A login returned this token.
    pub(crate) fn record_login(
        &mut self,
        token: Arc<LoginToken>,
        version: Version,
        issued_at: Timestamp,
    ) -> CredentialRevision {
        self.token_generation = self.token_generation.saturating_add(1);
        self.finished_logins = self.finished_logins.wrapping_add(1);
        let revision = CredentialRevision {
            version,
            token_generation: self.token_generation,
        };
        self.token = Some(CachedToken {
            token,
            revision,
            issued_at,
        });
        self.last_failure = None;
        revision
    }

    /// A login failed. A lost login does not replace a rejected one.
    pub(crate) fn record_login_failure(
        &mut self,
        version: Version,
        classification: Classification,
        at: Moment,
    ) {
        self.finished_logins = self.finished_logins.wrapping_add(1);
        let failure = AuthFailure {
            version,
            classification,
            at,
        };
        let known_rejection = self
            .last_failure
            .as_ref()
            .is_some_and(|known| known.is_rejection_of(version));
        if failure.is_rejection_of(version) || !known_rejection {
            self.last_failure = Some(failure);
        }
    }

    /// After a rejection of `revision`: forgets its token. Returns what the rejection is about: the token, or the
    /// credential itself if a fresh token of it was rejected as well.
    pub(crate) fn invalidate(&mut self, revision: CredentialRevision) -> CredentialRevision {
        if revision.token_generation == ALL_GENERATIONS {
            return revision;
        }
        let is_current = self
            .token
            .as_ref()
            .is_some_and(|cached| cached.revision == revision);
        if is_current {
            self.token = None;
            self.rejected_tokens.add(revision.version);
        }
        if self.rejected_tokens.of(revision.version) >= 2 {
            CredentialRevision {
                token_generation: ALL_GENERATIONS,
                ..revision
            }
        } else {
            revision
        }
    }

    /// A credential, or a token of it, was rejected in an exchange. A late rejection of an older version does not
    /// replace that of a newer one.
    pub(crate) fn record_rejection(
        &mut self,
        version: Version,
        classification: Classification,
        at: Moment,
    ) {
        if self
            .recent_rejection
            .as_ref()
            .is_none_or(|known| known.version <= version)
        {
            self.recent_rejection = Some(AuthFailure {
                version,
                classification,
                at,
            });
        }
    }

    /// The rejection of this version, if it is less than 5 s old.
    pub(crate) fn recent_rejection(&self, version: Version, now: Moment) -> Option<Classification> {
        let rejection = self.recent_rejection.as_ref()?;
        (rejection.version == version && now.since(rejection.at) < REJECTION_TTL)
            .then(|| rejection.classification.clone())
    }

    /// A message was accepted. That does not clear a login that was rejected meanwhile.
    pub(crate) fn record_acceptance(
        &mut self,
        version: Version,
        credential: Option<Arc<Credential>>,
        at: Moment,
    ) {
        self.rejected_tokens.count = 0;
        let is_late = |known: &LastAccepted| known.version > version;
        if !self.last_accepted.as_ref().is_some_and(is_late) {
            self.last_accepted = Some(LastAccepted {
                at,
                version,
                credential,
            });
        }
    }

    /// Forgets rejections, so that the credential may be tried again.
    pub(crate) fn forget_rejections(&mut self) {
        self.rejected_tokens.count = 0;
        self.last_failure = None;
        self.recent_rejection = None;
    }

    /// The last accepted message.
    pub(crate) fn last_accepted(&self) -> Option<LastAccepted> {
        self.last_accepted.clone()
    }
}

impl RejectedTokens {
    fn of(&self, version: Version) -> u32 {
        if self.version == version {
            self.count
        } else {
            0
        }
    }

    fn add(&mut self, version: Version) {
        self.count = self.of(version).saturating_add(1);
        self.version = version;
    }
}

impl AuthFailure {
    /// Whether the service rejected this version: only a newer one, or a trial, may log in.
    fn is_rejection_of(&self, version: Version) -> bool {
        self.version == version
            && matches!(self.classification.outcome, Outcome::Rejected(cause) if cause.concern() == Concern::Credential)
    }
}

impl CachedToken {
    /// Whether nine tenths of its lifetime are over.
    fn needs_renewal(&self, wall_clock: Timestamp) -> bool {
        let Some(expires_at) = self.token.expires_at else {
            return false;
        };
        let lifetime = expires_at
            .duration_since(self.issued_at)
            .max(SignedDuration::ZERO);
        wall_clock.duration_since(self.issued_at) >= lifetime - lifetime / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::classification::own_classification;
    use crate::sms::Cause;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn a_late_rejection_of_an_older_version_does_not_replace_that_of_a_newer() {
        let mut cache = TokenCache::default();
        let rejected = own_classification(Outcome::Rejected(Cause::CredentialExpired), None);
        cache.record_rejection(Version(2), rejected.clone(), at(1));
        cache.record_rejection(Version(1), rejected.clone(), at(2));
        assert!(
            cache.recent_rejection(Version(2), at(3)).is_some()
                && cache.recent_rejection(Version(1), at(3)).is_none()
        );
        assert!(
            cache.recent_rejection(Version(2), at(7)).is_none(),
            "the vault was read by then"
        );
        cache.record_rejection(Version(3), rejected, at(8));
        assert!(cache.recent_rejection(Version(3), at(9)).is_some());
    }

    #[test]
    fn a_late_acceptance_of_an_older_version_does_not_replace_that_of_a_newer() {
        let mut cache = TokenCache::default();
        for (version, seconds) in [(1, 1), (2, 2), (1, 3)] {
            cache.record_acceptance(Version(version), None, at(seconds));
        }
        let last = cache.last_accepted().unwrap();
        assert_eq!((last.version, last.at), (Version(2), at(2)));
    }

    #[test]
    fn who_waited_for_a_login_shares_its_failure_and_who_comes_later_logs_in() {
        let mut cache = TokenCache::default();
        let before = cache.finished_logins();
        let lost = own_classification(Outcome::Unknown(Cause::Timeout), None);
        cache.record_login_failure(Version(1), lost, at(1));
        let known = |before| cache.known_failure(Version(1), false, before).is_some();
        assert!(known(before));
        assert!(!known(cache.finished_logins()));
    }
}
