//! One provider at run time: its client, and the state of its account that outlives an attempt.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::{Clock, Moment};
use crate::diagnosis::{Followed, Kept, Learned, Suspects};
use crate::dialect::{Account, Finding};
use crate::net::upstream::{Client, Lost};
use crate::policy::{Held, Purse};
use crate::proxy::Provider;
use crate::proxy::base::Base;
use crate::proxy::login::Pass;
use crate::proxy::mask::Fitted;
use crate::proxy::session::{EVERY_LOGIN, Session};
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Outcome};
use crate::telemetry::{CredentialSeen, Telemetry};
use crate::vault::Keeper;

/// What every link needs from outside.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) keeper: Arc<Keeper>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) clock: Arc<dyn Clock>,
    /// As the operator names it.
    pub(super) config: Arc<str>,
    /// Whether it opens a socket for commands.
    pub(super) has_control: bool,
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

/// Those who want a login.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Held while a login runs, so that all others wait for its token.
    pub(super) gate: tokio::sync::Mutex<()>,
    /// Tells all who wait that one has ended, at once: through the gate they would go one after the other.
    pub(super) ended: watch::Sender<()>,
}

/// One provider, its connections and its token.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) provider: Provider,
    pub(super) client: Client,
    pub(super) base: Base,
    /// How its vault keeps the credential: for remedies.
    pub(super) kept: Kept,
    pub(super) around: Around,
    pub(super) login: Arc<Queue>,
    session: Arc<Mutex<Session>>,
    /// What takes out of its replies what an attempt proved itself with.
    pub(super) mask: Mutex<Option<Fitted>>,
    /// When its service was last asked whether it is back.
    probed: Mutex<Option<Moment>>,
    /// Which of its ambiguous refusals were followed.
    followed: Arc<Mutex<Followed>>,
    /// What it said of its balance, and in which unit.
    purse: Arc<Mutex<Purse>>,
}

impl Link {
    pub(super) fn new(provider: Provider, client: Client, kept: Kept, around: Around) -> Self {
        Self {
            base: Base::new(&provider.base_url, provider.dialect.base_url()),
            provider,
            client,
            kept,
            around,
            login: Arc::default(),
            session: Arc::default(),
            mask: Mutex::default(),
            probed: Mutex::default(),
            followed: Arc::default(),
            purse: Arc::default(),
        }
    }

    /// The same account under another config: its token and what its logins said are kept.
    #[must_use]
    pub(super) fn after(mut self, old: &Self) -> Self {
        (self.login, self.session) = (Arc::clone(&old.login), Arc::clone(&old.session));
        (self.followed, self.purse) = (Arc::clone(&old.followed), Arc::clone(&old.purse));
        self
    }

    /// Whether what was said of the one holds for the other: it is the same account at the same address.
    pub(super) fn is_account_of(&self, old: &Self) -> bool {
        let (new, old) = (&self.provider, &old.provider);
        let same_entry = new.credential == old.credential && new.params == old.params;
        new.id == old.id && new.dialect.name == old.dialect.name && new.base_url == old.base_url && same_entry
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
        if self.provider.dialect.has_token() { self.session().newest(version) } else { Held { version, logins: 0 } }
    }

    /// What was held is refused: asks the vault once for all who wait, and forgets the token. Returns what
    /// the refusal is about.
    pub(super) async fn refused(&self, held: Held) -> Held {
        let about = if self.provider.dialect.has_token() { self.session().spoil(held) } else { held };
        self.ask_vault(held.version).await;
        about
    }

    /// A message went through with it. Returns what that speaks for: if it was a trial, the credential
    /// with whatever login, because that is what had been refused.
    pub(super) fn accepted(&self, held: Held, trial: bool) -> Held {
        self.session().accepted(held, self.around.now());
        if trial { Held { logins: EVERY_LOGIN, ..held } } else { held }
    }

    /// Tells which content of the vault entry is the newest, and since when.
    pub(super) fn tell_credential(&self) {
        let seen = self.provider.credential.as_ref().and_then(|reference| self.around.keeper.seen(reference));
        if let Some(seen) = seen {
            CredentialSeen { provider: &self.provider.id, version: seen.version, since: seen.since_wall }.emit(&self.around.telemetry);
        }
    }

    pub(super) fn probed(&self) -> Option<Moment> {
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_probed(&self, now: Moment) {
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// What its service said of the balance so far.
    pub(super) fn purse(&self) -> std::sync::MutexGuard<'_, Purse> {
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this doubt is to be followed now; yes is remembered.
    pub(super) fn follows(&self, version: Version, suspects: &Suspects, now: Moment) -> bool {
        let accepted = self.last_accepted().map(|(at, _)| at);
        self.followed().admits(version, suspects, accepted, now)
    }

    /// What was learned when the same doubt was followed before.
    pub(super) fn known(&self, version: Version, suspects: &Suspects) -> Vec<Learned> {
        let accepted = self.last_accepted().map(|(at, _)| at);
        self.followed().known(version, suspects, accepted)
    }

    /// Which of its refusals were followed, and what came of it.
    pub(super) fn followed(&self) -> std::sync::MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody put the provider back by hand: what was refused may be tried again.
    pub(super) fn forgive(&self) {
        self.session().forgive();
        self.followed().forget();
    }

    /// When a message went through last, and with which credential.
    pub(super) fn last_accepted(&self) -> Option<(Moment, Version)> {
        self.session().last_accepted()
    }

    pub(super) fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A finding of our own.
pub(super) fn bare(outcome: Outcome, says: Option<String>) -> Finding {
    Finding { outcome, certainty: Certainty::Certain, alternatives: Vec::new(), code: None, says, retry_after: None::<Duration> }
}
