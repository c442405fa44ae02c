//! One provider at run time: its client, and what its attempts prove themselves with: the
//! vault's newest credential and, where the service wants a login first, one shared token.
//! Logins are made by one task for all who wait, and never repeat what was refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, Moment};
use crate::diagnosis::Kept;
use crate::dialect::{Account, Finding, Token};
use crate::net::upstream::{Client, Lost};
use crate::policy::Held;
use crate::proxy::Provider;
use crate::secret::{Credential, Version};
use crate::sms::{Cause, Certainty, Concern, Kind, Outcome};
use crate::telemetry::{AttemptEnded, CredentialSeen, Telemetry, TokenExpiry};
use crate::vault::{Error, Keeper};

/// What one attempt proves itself with.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) credential: Arc<Credential>,
    pub(super) token: Option<Arc<Token>>,
    pub(super) held: Held,
}

/// No pass could be had: nothing of the message was written.
#[derive(Clone, Debug)]
pub(super) struct NoPass {
    pub(super) finding: Finding,
    pub(super) held: Held,
    /// For ops: what happened, never a value.
    pub(super) detail: Option<String>,
}

/// What every link needs from outside.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) keeper: Arc<Keeper>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) clock: Arc<dyn Clock>,
    /// As the operator names it.
    pub(super) config: Arc<str>,
}

impl Around {
    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The calendar's time, as signatures want it.
    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// One provider, its connections and its token.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) provider: Provider,
    pub(super) client: Client,
    /// How its vault keeps the credential: for remedies.
    pub(super) kept: Kept,
    pub(super) around: Around,
    /// Held while a login runs, so that all others wait for its token.
    login: tokio::sync::Mutex<()>,
    session: Mutex<Session>,
}

#[derive(Debug, Default)]
struct Session {
    token: Option<Bearer>,
    /// Logins made so far: the second half of [`Held`].
    logins: u64,
    /// The credential a login was refused for.
    refused: Option<(Version, Finding)>,
    /// Tokens of one credential refused in a row, with no message accepted between.
    spoilt: u32,
    /// The last message it accepted, and with which credential.
    accepted: Option<(Moment, Version)>,
}

#[derive(Clone, Debug)]
struct Bearer {
    token: Arc<Token>,
    held: Held,
    since: Timestamp,
}

/// Greater than every login: what is said about it is said about the credential itself.
const EVERY_LOGIN: u64 = u64::MAX;

impl Link {
    pub(super) fn new(provider: Provider, client: Client, kept: Kept, around: Around) -> Self {
        Self { provider, client, kept, around, login: tokio::sync::Mutex::default(), session: Mutex::default() }
    }

    /// Whose account an attempt goes through.
    pub(super) fn account<'a>(&'a self, pass: &'a Pass) -> Account<'a> {
        Account {
            base_url: &self.provider.base_url,
            credential: &pass.credential,
            params: &self.provider.params,
            sender: self.provider.sender.as_deref(),
            token: pass.token.as_deref(),
        }
    }

    /// The newest that an attempt would prove itself with, as far as is known without asking anyone.
    pub(super) fn newest(&self) -> Held {
        let current = self.provider.credential.as_ref().and_then(|reference| self.around.keeper.current(reference));
        let version = current.map(|credential| credential.version).unwrap_or_default();
        if !self.provider.dialect.has_token() {
            return Held { version, logins: 0 };
        }
        let session = self.session();
        let token = session.token.as_ref().map(|bearer| bearer.held).filter(|held| held.version == version);
        token.unwrap_or(Held { version, logins: session.logins.saturating_add(1) })
    }

    /// Tells which content of the vault entry is the newest, and since when.
    pub(super) fn tell_version(&self) {
        let seen = self.provider.credential.as_ref().and_then(|reference| self.around.keeper.seen(reference));
        if let Some(seen) = seen {
            CredentialSeen { provider: &self.provider.id, version: seen.version, since: seen.since_wall }.emit(&self.around.telemetry);
        }
    }

    /// The credential and token to send with; logs in if there is none. `trial`: somebody must try what was refused before.
    pub(super) async fn pass(&self, trial: bool) -> Result<Pass, Box<NoPass>> {
        let credential = self.credential().await?;
        if let Some(pass) = self.ready(&credential) {
            return Ok(pass);
        }
        let _one_for_all = self.login.lock().await;
        if let Some(pass) = self.ready(&credential) {
            return Ok(pass);
        }
        let refused = self.session().refused.clone().filter(|(version, _)| *version == credential.version && !trial);
        match refused {
            Some((_, finding)) => Err(NoPass::refused(finding, credential.version)),
            None => self.log_in(credential).await,
        }
    }

    /// What was held is refused: asks the vault once for all who wait, and forgets the token. Returns what
    /// the refusal is about: the token, or the credential itself if its fresh token was refused as well.
    pub(super) async fn refused(&self, held: Held) -> Held {
        let about = self.spoil(held);
        if let Some(reference) = &self.provider.credential {
            // A vault that cannot be read leaves things as they are; its own event says so.
            self.around.keeper.reread(reference, held.version).await.ok();
        }
        about
    }

    /// A message went through with it. Returns what that speaks for: if it was a trial, the credential
    /// with whatever login, because that is what had been refused.
    pub(super) fn accepted(&self, held: Held, trial: bool) -> Held {
        let mut session = self.session();
        session.spoilt = 0;
        session.refused = None;
        session.accepted = Some((self.around.now(), held.version));
        if trial { Held { logins: EVERY_LOGIN, ..held } } else { held }
    }

    /// Which version is in use, and since when.
    pub(super) fn tell_credential(&self) {
        let seen = self.provider.credential.as_ref().and_then(|reference| self.around.keeper.seen(reference));
        if let Some(seen) = seen {
            CredentialSeen { provider: &self.provider.id, version: seen.version, since: seen.since_wall }.emit(&self.around.telemetry);
        }
    }

    /// Somebody put the provider back by hand: what was refused may be tried again.
    pub(super) fn forgive(&self) {
        let mut session = self.session();
        session.spoilt = 0;
        session.refused = None;
    }

    /// When a message went through last, and with which credential.
    pub(super) fn last_accepted(&self) -> Option<(Moment, Version)> {
        self.session().accepted
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spoil(&self, held: Held) -> Held {
        if !self.provider.dialect.has_token() || held.logins == EVERY_LOGIN {
            return held;
        }
        let mut session = self.session();
        if session.token.as_ref().is_some_and(|bearer| bearer.held == held) {
            session.token = None;
            session.spoilt = session.spoilt.saturating_add(1);
        }
        if session.spoilt >= 2 { Held { logins: EVERY_LOGIN, ..held } } else { held }
    }

    async fn credential(&self) -> Result<Arc<Credential>, Box<NoPass>> {
        let Some(reference) = &self.provider.credential else {
            return Err(NoPass::ours(Cause::CredentialMissing, Held::default(), "this provider has no `credential`".to_owned()));
        };
        let read = self.around.keeper.get(reference).await;
        let credential = read.map_err(|error| {
            let cause = if matches!(&error, Error::Read { error, .. } if error.is_missing()) {
                Cause::CredentialMissing
            } else {
                Cause::VaultUnavailable
            };
            NoPass::ours(cause, self.newest(), error.to_string())
        })?;
        let held = Held { version: credential.version, logins: EVERY_LOGIN };
        match self.provider.dialect.check_credential(&credential).first() {
            None => Ok(credential),
            Some(shape) => {
                let held = if self.provider.dialect.has_token() { held } else { Held::from(credential.version) };
                let missing = credential.expose(&shape.field).is_none();
                let cause = if missing { Cause::CredentialMissing } else { Cause::CredentialRejected };
                Err(NoPass::ours(cause, held, format!("the vault's field `{}` {}", shape.field, shape.what)))
            }
        }
    }

    /// What can be used without a login: the credential alone, or a token that is not about to run out.
    fn ready(&self, credential: &Arc<Credential>) -> Option<Pass> {
        let pass = |token, held| Pass { credential: Arc::clone(credential), token, held };
        if !self.provider.dialect.has_token() {
            return Some(pass(None, Held::from(credential.version)));
        }
        let bearer = self.session().token.clone()?;
        let usable = bearer.held.version == credential.version && !bearer.is_old(self.around.wall());
        usable.then(|| pass(Some(bearer.token), bearer.held))
    }

    async fn log_in(&self, credential: Arc<Credential>) -> Result<Pass, Box<NoPass>> {
        let began = self.around.now();
        let bare = Pass { credential: Arc::clone(&credential), token: None, held: Held::from(credential.version) };
        let (finding, status, token) = self.ask_for_token(&bare).await;
        let took = self.around.now().since(began);
        AttemptEnded { provider: &self.provider.id, kind: Kind::Login, outcome: &finding.outcome, status, took }
            .emit(&self.around.telemetry);
        let Some(token) = token else {
            return self.without_login(credential, finding);
        };
        let token = Arc::new(token);
        TokenExpiry { provider: &self.provider.id, at: token.expires.and_then(wall_time) }.emit(&self.around.telemetry);
        let mut session = self.session();
        session.logins = session.logins.saturating_add(1);
        let held = Held { version: credential.version, logins: session.logins };
        session.token = Some(Bearer { token: Arc::clone(&token), held, since: self.around.wall() });
        session.refused = None;
        Ok(Pass { credential, token: Some(token), held })
    }

    /// The login failed: an old token that still has time left serves on; else the credential is what was refused.
    fn without_login(&self, credential: Arc<Credential>, finding: Finding) -> Result<Pass, Box<NoPass>> {
        let mut session = self.session();
        let now = self.around.wall();
        let alive = |bearer: &&Bearer| bearer.held.version == credential.version && bearer.token.expires.is_none_or(|end| now < end);
        if let Some(bearer) = session.token.as_ref().filter(alive) {
            return Ok(Pass { token: Some(Arc::clone(&bearer.token)), held: bearer.held, credential });
        }
        if matches!(finding.outcome, Outcome::Refused(cause) if cause.concern() == Concern::Credential) {
            session.refused = Some((credential.version, finding.clone()));
        }
        Err(NoPass::refused(finding, credential.version))
    }

    async fn ask_for_token(&self, pass: &Pass) -> (Finding, Option<u16>, Option<Token>) {
        let dialect = &self.provider.dialect;
        let now = self.around.wall();
        let outgoing = match dialect.login(&self.account(pass), now) {
            Some(Ok(outgoing)) => outgoing,
            Some(Err(problem)) => return (unsent(problem.cause), None, None),
            None => return (unsent(Cause::NotTranslatable), None, None),
        };
        match self.client.exchange(outgoing, self.provider.timeout).await {
            Err(lost) => (lost_finding(&lost), None, None),
            Ok(reply) => {
                let status = Some(reply.status.as_u16());
                match dialect.read_login(&reply, now) {
                    Ok(token) => (bare(Outcome::Accepted { id: String::new() }, None), status, Some(token)),
                    Err(finding) => (finding, status, None),
                }
            }
        }
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

impl NoPass {
    /// The service refused the login, or did not answer it: of the message, no byte was written.
    fn refused(mut finding: Finding, version: Version) -> Box<Self> {
        let cause = finding.outcome.cause().unwrap_or(Cause::ReplyUnreadable);
        finding.outcome = Outcome::Unsent(cause);
        Box::new(Self { finding, held: Held { version, logins: EVERY_LOGIN }, detail: Some("the login failed".to_owned()) })
    }

    fn ours(cause: Cause, held: Held, detail: String) -> Box<Self> {
        Box::new(Self { finding: unsent(cause), held, detail: Some(detail) })
    }
}

/// A finding that no reply stands behind.
pub(super) fn unsent(cause: Cause) -> Finding {
    bare(Outcome::Unsent(cause), None)
}

/// What a lost exchange tells.
pub(super) fn lost_finding(lost: &Lost) -> Finding {
    match lost {
        Lost::Unsent { cause, detail } => bare(Outcome::Unsent(*cause), Some(detail.clone())),
        Lost::Unknown { cause, detail } => bare(Outcome::Unknown(*cause), Some(detail.clone())),
    }
}

fn bare(outcome: Outcome, says: Option<String>) -> Finding {
    Finding { outcome, certainty: Certainty::Certain, alternatives: Vec::new(), code: None, says, retry_after: None::<Duration> }
}

fn wall_time(at: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(at.as_second()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
