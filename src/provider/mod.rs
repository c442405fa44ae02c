//! One provider at run time: its client, and the state of its account that outlives an attempt.

pub(crate) mod attempt;
pub(crate) mod auth;
pub(crate) mod base_url;
pub(crate) mod redact;
pub(crate) mod token_cache;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::{Clock, Moment};
use crate::diagnosis::{CauseCandidates, Evidence, ProbeHistory, VaultStorage};
use crate::dialect::{Account, Classification};
use crate::net::upstream::{ExchangeError, UpstreamClient};
use crate::policy::{BalanceHistory, CredentialRevision};
use crate::provider::auth::AuthContext;
use crate::provider::base_url::BaseUrlMapping;
use crate::provider::redact::CachedRedactor;
use crate::provider::token_cache::{ALL_GENERATIONS, TokenCache};
use crate::proxy::Provider;
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Outcome};
use crate::telemetry::{CredentialLoaded, Telemetry};
use crate::vault::CredentialCache;

/// What every link needs from outside.
#[derive(Clone, Debug)]
pub(crate) struct SharedDeps {
    pub(crate) keeper: Arc<CredentialCache>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) clock: Arc<dyn Clock>,
    /// As the operator names it.
    pub(crate) config_path: Arc<str>,
    /// Whether it opens a socket for commands.
    pub(crate) has_control: bool,
}

impl SharedDeps {
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The calendar's time, as signatures want it.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall_clock()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Those who want a login.
#[derive(Debug, Default)]
pub(crate) struct LoginQueue {
    /// Held while a login runs, so that all others wait for its token.
    pub(crate) lock: tokio::sync::Mutex<()>,
    /// Tells all who wait that one has ended, at once: through the gate they would go one after the other.
    pub(crate) finished: watch::Sender<()>,
}

/// One provider, its connections and its token.
#[derive(Debug)]
pub(crate) struct ProviderRuntime {
    pub(crate) provider: Provider,
    pub(crate) client: UpstreamClient,
    pub(crate) base_url: BaseUrlMapping,
    /// How its vault keeps the credential: for remedies.
    pub(crate) vault_kind: VaultStorage,
    pub(crate) deps: SharedDeps,
    pub(crate) login_queue: Arc<LoginQueue>,
    token_cache: Arc<Mutex<TokenCache>>,
    /// What takes out of its replies what an attempt proved itself with.
    pub(crate) redactor: Mutex<Option<CachedRedactor>>,
    /// When its service was last asked whether it is back.
    last_probe: Mutex<Option<Moment>>,
    /// Which of its ambiguous refusals were followed.
    probe_history: Arc<Mutex<ProbeHistory>>,
    /// What it said of its balance, and in which unit.
    balance_history: Arc<Mutex<BalanceHistory>>,
}

impl ProviderRuntime {
    pub(crate) fn new(
        provider: Provider,
        client: UpstreamClient,
        vault_kind: VaultStorage,
        deps: SharedDeps,
    ) -> Self {
        Self {
            base_url: BaseUrlMapping::new(&provider.base_url, provider.dialect.base_url()),
            provider,
            client,
            vault_kind,
            deps,
            login_queue: Arc::default(),
            token_cache: Arc::default(),
            redactor: Mutex::default(),
            last_probe: Mutex::default(),
            probe_history: Arc::default(),
            balance_history: Arc::default(),
        }
    }

    /// The same account under another config: its token and what its logins said are kept.
    #[must_use]
    pub(crate) fn with_state_of(mut self, old: &Self) -> Self {
        (self.login_queue, self.token_cache) =
            (Arc::clone(&old.login_queue), Arc::clone(&old.token_cache));
        (self.probe_history, self.balance_history) = (
            Arc::clone(&old.probe_history),
            Arc::clone(&old.balance_history),
        );
        self
    }

    /// Whether what was said of the one holds for the other: it is the same account at the same address.
    pub(crate) fn is_same_account(&self, old: &Self) -> bool {
        let (new, old) = (&self.provider, &old.provider);
        let same_entry = new.credential == old.credential && new.params == old.params;
        new.id == old.id
            && new.dialect.name == old.dialect.name
            && new.base_url == old.base_url
            && same_entry
    }

    /// Whose account an attempt goes through.
    pub(crate) fn account<'a>(&'a self, pass: &'a AuthContext) -> Account<'a> {
        Account {
            base_url: &self.provider.base_url,
            credential: &pass.credential,
            params: &self.provider.params,
            sender: self.provider.sender.as_deref(),
            token: pass.token.as_deref(),
        }
    }

    /// The newest that an attempt would prove itself with, as far as is known without asking anyone.
    pub(crate) fn newest_revision(&self) -> CredentialRevision {
        let current = self
            .provider
            .credential
            .as_ref()
            .and_then(|reference| self.deps.keeper.current(reference));
        let version = current
            .map(|credential| credential.version)
            .unwrap_or_default();
        if self.provider.dialect.requires_login() {
            self.token_cache().newest_revision(version)
        } else {
            CredentialRevision {
                version,
                token_generation: 0,
            }
        }
    }

    /// What was held is refused: asks the vault once for all who wait, and forgets the token. Returns what
    /// the refusal is about.
    pub(crate) async fn handle_rejection(&self, held: CredentialRevision) -> CredentialRevision {
        let about = if self.provider.dialect.requires_login() {
            self.token_cache().invalidate(held)
        } else {
            held
        };
        self.reread_vault(held.version).await;
        about
    }

    /// A message went through with it. Returns what that speaks for: if it was a trial, the credential
    /// with whatever login, because that is what had been refused.
    pub(crate) fn record_acceptance(
        &self,
        held: CredentialRevision,
        trial: bool,
    ) -> CredentialRevision {
        self.token_cache().record_acceptance(held, self.deps.now());
        if trial {
            CredentialRevision {
                token_generation: ALL_GENERATIONS,
                ..held
            }
        } else {
            held
        }
    }

    /// Tells which content of the vault entry is the newest, and since when.
    pub(crate) fn emit_credential_seen(&self) {
        let seen = self
            .provider
            .credential
            .as_ref()
            .and_then(|reference| self.deps.keeper.seen_at(reference));
        if let Some(seen) = seen {
            CredentialLoaded {
                provider: &self.provider.id,
                version: seen.version,
                first_seen_at: seen.since_wall,
            }
            .emit(&self.deps.telemetry);
        }
    }

    pub(crate) fn last_probe(&self) -> Option<Moment> {
        *self
            .last_probe
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mark_probed(&self, now: Moment) {
        *self
            .last_probe
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// What its service said of the balance so far.
    pub(crate) fn balance_history(&self) -> std::sync::MutexGuard<'_, BalanceHistory> {
        self.balance_history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this doubt is to be followed now; yes is remembered.
    pub(crate) fn begin_follow_up(
        &self,
        version: Version,
        suspects: &CauseCandidates,
        now: Moment,
    ) -> bool {
        let accepted = self.last_accepted().map(|(at, _)| at);
        self.probe_history()
            .try_begin(version, suspects, accepted, now)
    }

    /// What was learned when the same doubt was followed before.
    pub(crate) fn earlier_evidence(
        &self,
        version: Version,
        suspects: &CauseCandidates,
    ) -> Vec<Evidence> {
        let accepted = self.last_accepted().map(|(at, _)| at);
        self.probe_history()
            .known_evidence(version, suspects, accepted)
    }

    /// Which of its refusals were followed, and what came of it.
    pub(crate) fn probe_history(&self) -> std::sync::MutexGuard<'_, ProbeHistory> {
        self.probe_history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody put the provider back by hand: what was refused may be tried again.
    pub(crate) fn reset(&self) {
        self.token_cache().reset();
        self.probe_history().clear();
    }

    /// When a message went through last, and with which credential.
    pub(crate) fn last_accepted(&self) -> Option<(Moment, Version)> {
        self.token_cache().last_accepted()
    }

    pub(crate) fn token_cache(&self) -> std::sync::MutexGuard<'_, TokenCache> {
        self.token_cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A finding that no reply stands behind.
pub(crate) fn unsent_classification(cause: Cause) -> Classification {
    own_classification(Outcome::Unsent(cause), None)
}

/// What a lost exchange tells.
pub(crate) fn lost_classification(lost: &ExchangeError) -> Classification {
    match lost {
        ExchangeError::Unsent { cause, detail } => {
            own_classification(Outcome::Unsent(*cause), Some(detail.clone()))
        }
        ExchangeError::Unknown { cause, detail } => {
            own_classification(Outcome::Unknown(*cause), Some(detail.clone()))
        }
    }
}

/// A finding of our own.
pub(crate) fn own_classification(outcome: Outcome, says: Option<String>) -> Classification {
    Classification {
        outcome,
        certainty: Certainty::Certain,
        alternatives: Vec::new(),
        code: None,
        provider_message: says,
        retry_after: None::<Duration>,
    }
}
