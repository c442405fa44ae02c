//! What is known of a provider's logins, as a value: the token in use, which logins were
//! refused or lost, whether two tokens of one credential were refused in a row. Asks nobody
//! and waits for nothing; who does is in `login`.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Moment;
use crate::dialect::{Finding, Token};
use crate::policy::Held;
use crate::secret::Version;
use crate::sms::{Concern, Outcome};

/// Greater than every login: what is said about it is said about the credential itself.
pub(super) const EVERY_LOGIN: u64 = u64::MAX;
/// Longer than the vault is asked for; by then its provider stands aside for what was refused.
const DOUBT: Duration = Duration::from_secs(5);
/// After a renewal that failed, an old token that still works serves this long before the next.
const RENEW_AGAIN: Duration = Duration::from_secs(30);

/// The logins of one account.
#[derive(Debug, Default)]
pub(super) struct Session {
    token: Option<Bearer>,
    /// Tokens got so far: the second half of [`Held`].
    logins: u64,
    /// Logins that ended, whatever came of them: whoever waited for one need not make another.
    ended: u64,
    failed: Option<Failed>,
    /// Tokens of this credential refused in a row, with no message accepted between.
    spoilt: (Version, u32),
    /// What was just refused: while the vault is asked about it, nobody sends it again.
    doubt: Option<Failed>,
    /// The last message it accepted, and with which credential.
    accepted: Option<(Moment, Version)>,
}

/// A token and what an attempt with it is held against.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    pub(super) token: Arc<Token>,
    pub(super) held: Held,
    since: Timestamp,
}

/// A login that brought no token.
#[derive(Clone, Debug)]
struct Failed {
    version: Version,
    finding: Finding,
    at: Moment,
}

impl Session {
    /// What an attempt with this version of the credential would prove itself with.
    pub(super) fn newest(&self, version: Version) -> Held {
        let token = self.token.as_ref().map(|bearer| bearer.held).filter(|held| held.version == version);
        token.unwrap_or(Held { version, logins: self.logins.saturating_add(1) })
    }

    /// A token that can be used without a login: one that is not about to run out, or one that nothing newer
    /// is to be had for now.
    pub(super) fn ready(&self, version: Version, wall: Timestamp, now: Moment) -> Option<Bearer> {
        let bearer = self.alive(version, wall)?;
        let renewable = || self.failed.as_ref().is_none_or(|failed| !failed.holds(version) && now.since(failed.at) >= RENEW_AGAIN);
        (!bearer.is_old(wall) || !renewable()).then(|| bearer.clone())
    }

    /// A token with time left.
    pub(super) fn alive(&self, version: Version, wall: Timestamp) -> Option<&Bearer> {
        self.token.as_ref().filter(|bearer| bearer.held.version == version && bearer.token.expires.is_none_or(|end| wall < end))
    }

    /// How many logins ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// Why no login is to be made with this version: it was refused (and nobody is to try again), or somebody
    /// just made one in our stead.
    pub(super) fn known_failure(&self, version: Version, trial: bool, before: u64) -> Option<Finding> {
        let failed = self.failed.as_ref().filter(|failed| failed.version == version)?;
        (self.ended != before || failed.holds(version) && !trial).then(|| failed.finding.clone())
    }

    /// A login brought a token.
    pub(super) fn logged_in(&mut self, token: Arc<Token>, version: Version, since: Timestamp) -> Held {
        self.logins = self.logins.saturating_add(1);
        self.ended = self.ended.wrapping_add(1);
        let held = Held { version, logins: self.logins };
        self.token = Some(Bearer { token, held, since });
        self.failed = None;
        held
    }

    /// A login did not. What is lost does not hide what was refused.
    pub(super) fn not_logged_in(&mut self, version: Version, finding: Finding, at: Moment) {
        self.ended = self.ended.wrapping_add(1);
        let failed = Failed { version, finding, at };
        if failed.holds(version) || !self.failed.as_ref().is_some_and(|known| known.holds(version)) {
            self.failed = Some(failed);
        }
    }

    /// What was held is refused: forgets the token. Returns what the refusal is about: the token, or the
    /// credential itself if its fresh token was refused as well.
    pub(super) fn spoil(&mut self, held: Held) -> Held {
        if held.logins == EVERY_LOGIN {
            return held;
        }
        if self.token.as_ref().is_some_and(|bearer| bearer.held == held) {
            self.token = None;
            let before = if self.spoilt.0 == held.version { self.spoilt.1 } else { 0 };
            self.spoilt = (held.version, before.saturating_add(1));
        }
        let twice = self.spoilt.0 == held.version && self.spoilt.1 >= 2;
        if twice { Held { logins: EVERY_LOGIN, ..held } } else { held }
    }

    /// A credential, or a token that it brought, was refused in an exchange.
    /// What comes late about an older one takes nothing from a newer.
    pub(super) fn doubt(&mut self, version: Version, finding: Finding, at: Moment) {
        if self.doubt.as_ref().is_none_or(|doubt| doubt.version <= version) {
            self.doubt = Some(Failed { version, finding, at });
        }
    }

    /// What was said of this version moments ago.
    pub(super) fn doubted(&self, version: Version, now: Moment) -> Option<Finding> {
        let fresh = |doubt: &&Failed| doubt.version == version && now.since(doubt.at) < DOUBT;
        self.doubt.as_ref().filter(fresh).map(|doubt| doubt.finding.clone())
    }

    /// A message went through with it. That says nothing of a login that was refused meanwhile.
    pub(super) fn accepted(&mut self, held: Held, at: Moment) {
        self.spoilt.1 = 0;
        self.accepted = Some((at, held.version));
    }

    /// What was refused may be tried again.
    pub(super) fn forgive(&mut self) {
        self.spoilt.1 = 0;
        self.failed = None;
        self.doubt = None;
    }

    /// When a message went through last, and with which credential.
    pub(super) fn last_accepted(&self) -> Option<(Moment, Version)> {
        self.accepted
    }
}

impl Failed {
    /// The service refused this version: only a newer one, or a trial, may ask again.
    fn holds(&self, version: Version) -> bool {
        self.version == version && matches!(self.finding.outcome, Outcome::Refused(cause) if cause.concern() == Concern::Credential)
    }
}

impl Bearer {
    /// Past nine tenths of its life: time to log in again, while it still works.
    fn is_old(&self, now: Timestamp) -> bool {
        let Some(expires) = self.token.expires else {
            return false;
        };
        let life = expires.duration_since(self.since).max(SignedDuration::ZERO);
        now.duration_since(self.since) >= life - life / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::link::bare;
    use crate::sms::Cause;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn what_comes_late_about_an_older_version_hides_no_doubt_about_a_newer() {
        let mut session = Session::default();
        let refused = bare(Outcome::Refused(Cause::CredentialExpired), None);
        session.doubt(Version(2), refused.clone(), at(1));
        session.doubt(Version(1), refused.clone(), at(2));
        assert!(session.doubted(Version(2), at(3)).is_some() && session.doubted(Version(1), at(3)).is_none());
        assert!(session.doubted(Version(2), at(7)).is_none(), "by then the vault was asked");
        session.doubt(Version(3), refused, at(8));
        assert!(session.doubted(Version(3), at(9)).is_some());
    }
}
