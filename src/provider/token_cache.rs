//! What is known of a provider's logins, as a value: the token in use, which logins were
//! refused or lost, whether two tokens of one credential were refused in a row. Asks nobody
//! and waits for nothing; who does is in `login`.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Moment;
use crate::dialect::{Classification, LoginToken};
use crate::policy::CredentialRevision;
use crate::secret::Version;
use crate::sms::{Concern, Outcome};

/// Greater than every login: what is said about it is said about the credential itself.
pub(crate) const ALL_GENERATIONS: u64 = u64::MAX;
/// Longer than the vault is asked for; by then its provider stands aside for what was refused.
const REJECTION_TTL: Duration = Duration::from_secs(5);
/// After a renewal that failed, an old token that still works serves this long before the next.
const RENEWAL_RETRY_DELAY: Duration = Duration::from_secs(30);

/// The logins of one account.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    token: Option<CachedToken>,
    /// Tokens got so far: the second half of [`Held`].
    token_generation: u64,
    /// Logins that ended, whatever came of them: whoever waited for one need not make another.
    finished_logins: u64,
    last_failure: Option<AuthFailure>,
    /// Tokens of this credential refused in a row, with no message accepted between.
    rejected_tokens: (Version, u32),
    /// What was just refused: while the vault is asked about it, nobody sends it again.
    recent_rejection: Option<AuthFailure>,
    /// The last message it accepted, and with which credential.
    last_accepted: Option<(Moment, Version)>,
}

/// A token and what an attempt with it is held against.
#[derive(Clone, Debug)]
pub(crate) struct CachedToken {
    pub(crate) token: Arc<LoginToken>,
    pub(crate) revision: CredentialRevision,
    issued_at: Timestamp,
}

/// A login that brought no token.
#[derive(Clone, Debug)]
struct AuthFailure {
    version: Version,
    classification: Classification,
    at: Moment,
}

impl TokenCache {
    /// What an attempt with this version of the credential would prove itself with.
    pub(crate) fn newest_revision(&self, version: Version) -> CredentialRevision {
        let token = self
            .token
            .as_ref()
            .map(|bearer| bearer.revision)
            .filter(|held| held.version == version);
        token.unwrap_or(CredentialRevision {
            version,
            token_generation: self.token_generation.saturating_add(1),
        })
    }

    /// A token that can be used without a login: one that is not about to run out, or one that nothing newer
    /// is to be had for now.
    pub(crate) fn usable_token(
        &self,
        version: Version,
        wall: Timestamp,
        now: Moment,
    ) -> Option<CachedToken> {
        let bearer = self.unexpired_token(version, wall)?;
        let renewable = || {
            self.last_failure.as_ref().is_none_or(|failed| {
                !failed.is_rejection_of(version) && now.since(failed.at) >= RENEWAL_RETRY_DELAY
            })
        };
        (!bearer.needs_renewal(wall) || !renewable()).then(|| bearer.clone())
    }

    /// A token with time left.
    pub(crate) fn unexpired_token(
        &self,
        version: Version,
        wall: Timestamp,
    ) -> Option<&CachedToken> {
        self.token.as_ref().filter(|bearer| {
            bearer.revision.version == version
                && bearer.token.expires_at.is_none_or(|end| wall < end)
        })
    }

    /// How many logins ended.
    pub(crate) fn finished_logins(&self) -> u64 {
        self.finished_logins
    }

    /// Why no login is to be made with this version: it was refused (and nobody is to try again), or somebody
    /// just made one in our stead.
    pub(crate) fn known_failure(
        &self,
        version: Version,
        trial: bool,
        before: u64,
    ) -> Option<Classification> {
        let failed = self
            .last_failure
            .as_ref()
            .filter(|failed| failed.version == version)?;
        (self.finished_logins != before || failed.is_rejection_of(version) && !trial)
            .then(|| failed.classification.clone())
    }

    /// A login brought a token.
    pub(crate) fn record_login(
        &mut self,
        token: Arc<LoginToken>,
        version: Version,
        since: Timestamp,
    ) -> CredentialRevision {
        self.token_generation = self.token_generation.saturating_add(1);
        self.finished_logins = self.finished_logins.wrapping_add(1);
        let held = CredentialRevision {
            version,
            token_generation: self.token_generation,
        };
        self.token = Some(CachedToken {
            token,
            revision: held,
            issued_at: since,
        });
        self.last_failure = None;
        held
    }

    /// A login did not. What is lost does not hide what was refused.
    pub(crate) fn record_login_failure(
        &mut self,
        version: Version,
        finding: Classification,
        at: Moment,
    ) {
        self.finished_logins = self.finished_logins.wrapping_add(1);
        let failed = AuthFailure {
            version,
            classification: finding,
            at,
        };
        if failed.is_rejection_of(version)
            || !self
                .last_failure
                .as_ref()
                .is_some_and(|known| known.is_rejection_of(version))
        {
            self.last_failure = Some(failed);
        }
    }

    /// What was held is refused: forgets the token. Returns what the refusal is about: the token, or the
    /// credential itself if its fresh token was refused as well.
    pub(crate) fn invalidate(&mut self, held: CredentialRevision) -> CredentialRevision {
        if held.token_generation == ALL_GENERATIONS {
            return held;
        }
        if self
            .token
            .as_ref()
            .is_some_and(|bearer| bearer.revision == held)
        {
            self.token = None;
            let before = if self.rejected_tokens.0 == held.version {
                self.rejected_tokens.1
            } else {
                0
            };
            self.rejected_tokens = (held.version, before.saturating_add(1));
        }
        let twice = self.rejected_tokens.0 == held.version && self.rejected_tokens.1 >= 2;
        if twice {
            CredentialRevision {
                token_generation: ALL_GENERATIONS,
                ..held
            }
        } else {
            held
        }
    }

    /// A credential, or a token that it brought, was refused in an exchange.
    /// What comes late about an older one takes nothing from a newer.
    pub(crate) fn record_rejection(
        &mut self,
        version: Version,
        finding: Classification,
        at: Moment,
    ) {
        if self
            .recent_rejection
            .as_ref()
            .is_none_or(|doubt| doubt.version <= version)
        {
            self.recent_rejection = Some(AuthFailure {
                version,
                classification: finding,
                at,
            });
        }
    }

    /// What was said of this version moments ago.
    pub(crate) fn recent_rejection(&self, version: Version, now: Moment) -> Option<Classification> {
        let fresh =
            |doubt: &&AuthFailure| doubt.version == version && now.since(doubt.at) < REJECTION_TTL;
        self.recent_rejection
            .as_ref()
            .filter(fresh)
            .map(|doubt| doubt.classification.clone())
    }

    /// A message went through with it. That says nothing of a login that was refused meanwhile.
    pub(crate) fn record_acceptance(&mut self, held: CredentialRevision, at: Moment) {
        self.rejected_tokens.1 = 0;
        self.last_accepted = Some((at, held.version));
    }

    /// What was refused may be tried again.
    pub(crate) fn reset(&mut self) {
        self.rejected_tokens.1 = 0;
        self.last_failure = None;
        self.recent_rejection = None;
    }

    /// When a message went through last, and with which credential.
    pub(crate) fn last_accepted(&self) -> Option<(Moment, Version)> {
        self.last_accepted
    }
}

impl AuthFailure {
    /// The service refused this version: only a newer one, or a trial, may ask again.
    fn is_rejection_of(&self, version: Version) -> bool {
        self.version == version
            && matches!(self.classification.outcome, Outcome::Rejected(cause) if cause.concern() == Concern::Credential)
    }
}

impl CachedToken {
    /// Past nine tenths of its life: time to log in again, while it still works.
    fn needs_renewal(&self, now: Timestamp) -> bool {
        let Some(expires) = self.token.expires_at else {
            return false;
        };
        let life = expires
            .duration_since(self.issued_at)
            .max(SignedDuration::ZERO);
        now.duration_since(self.issued_at) >= life - life / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::own_classification;
    use crate::sms::Cause;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn what_comes_late_about_an_older_version_hides_no_doubt_about_a_newer() {
        let mut session = TokenCache::default();
        let refused = own_classification(Outcome::Rejected(Cause::CredentialExpired), None);
        session.record_rejection(Version(2), refused.clone(), at(1));
        session.record_rejection(Version(1), refused.clone(), at(2));
        assert!(
            session.recent_rejection(Version(2), at(3)).is_some()
                && session.recent_rejection(Version(1), at(3)).is_none()
        );
        assert!(
            session.recent_rejection(Version(2), at(7)).is_none(),
            "by then the vault was asked"
        );
        session.record_rejection(Version(3), refused, at(8));
        assert!(session.recent_rejection(Version(3), at(9)).is_some());
    }
}
