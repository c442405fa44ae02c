//! One account at one service, at run time: its settings, its connections, and its state that outlives
//! an attempt. `proxy`, `doctor` and `diagnose` use it alike.
//!
//! | file | owns |
//! | --- | --- |
//! | `settings` | the account's part of the config |
//! | `auth`, `auth_context`, `token_cache` | the credential and token that an attempt presents |
//! | `attempt` | one attempt, from the credential to the classified reply |
//! | `probe` | one free request that asks about the account |
//! | `redact` | taking our secrets out of a reply |
//! | `diagnose` | narrowing an ambiguous rejection, and the context of its diagnosis |
//! | `base_url` | the account's base URL beside the dialect's |
//! | `classification` | outcomes without a reply |
//! | `warm` | connections that are opened in advance |

pub(crate) mod attempt;
pub(crate) mod auth;
pub(crate) mod auth_context;
pub(crate) mod base_url;
pub(crate) mod classification;
pub(crate) mod diagnose;
pub(crate) mod probe;
pub(crate) mod redact;
mod settings;
pub(crate) mod token_cache;
mod warm;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock::{Clock, Moment};
use crate::diagnosis::{CauseCandidates, Evidence, ProbeHistory};
use crate::dialect::Account;
use crate::net::resolver::ResolverChange;
use crate::net::upstream::UpstreamClient;
use crate::policy::{BalanceHistory, CredentialOffer, CredentialRevision, WarmUpSchedule};
use crate::provider::auth_context::AuthContext;
use crate::provider::base_url::BaseUrlMapping;
use crate::provider::redact::CachedRedactor;
use crate::provider::token_cache::{ALL_GENERATIONS, LastAccepted, TokenCache};
use crate::secret::{Credential, Version};
use crate::sms::ProviderId;
use crate::telemetry::{CredentialLoaded, ResolverChanged, Telemetry};
use crate::vault::{CredentialCache, SourceSettings};

pub use settings::Provider;

/// What every account shares with the others.
#[derive(Clone, Debug)]
pub(crate) struct SharedDeps {
    pub(crate) credential_cache: Arc<CredentialCache>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The config as the operator names it.
    pub(crate) config_path: Arc<str>,
    /// Whether the config opens a control socket.
    pub(crate) has_control: bool,
}

impl SharedDeps {
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }
}

/// One account and its connections: all that one exchange needs. Holds no state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProviderClient<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) client: &'a UpstreamClient,
}

impl<'a> ProviderClient<'a> {
    /// The account as its dialect reads it.
    pub(crate) fn account(&self, auth: &'a AuthContext) -> Account<'a> {
        Account {
            base_url: &self.provider.base_url,
            credential: &auth.credential,
            params: &self.provider.params,
            sender: self.provider.sender.as_deref(),
            token: auth.token.as_deref(),
        }
    }
}

/// The attempts that wait for a login.
#[derive(Debug, Default)]
struct LoginQueue {
    /// Held while a login runs, so that the others wait for its token.
    lock: tokio::sync::Mutex<()>,
    /// Wakes all waiting attempts at once when a login has ended; the lock would let them through one by one.
    finished: watch::Sender<()>,
}

/// One account of a running sidecar, its connections and its state.
#[derive(Debug)]
pub(crate) struct ProviderRuntime {
    pub(crate) provider: Provider,
    pub(crate) client: UpstreamClient,
    pub(crate) base_url: BaseUrlMapping,
    pub(crate) deps: SharedDeps,
    /// The vault of its credential: for remedies.
    source: Option<SourceSettings>,
    login_queue: Arc<LoginQueue>,
    token_cache: Arc<Mutex<TokenCache>>,
    redactor: Mutex<Option<CachedRedactor>>,
    /// When the last scheduled probe ran.
    last_probe: Mutex<Option<Moment>>,
    /// Which ambiguous rejections were probed already, and with what result.
    probe_history: Arc<Mutex<ProbeHistory>>,
    /// The balances that the service reported.
    balance_history: Arc<Mutex<BalanceHistory>>,
    /// The version of which it was logged last that its values look wrong; 0: none.
    warned_version: Arc<AtomicU64>,
    /// When a connection is opened in advance; each config begins anew, as its connections do.
    warm_up_schedule: Mutex<WarmUpSchedule>,
}

impl ProviderRuntime {
    pub(crate) fn new(
        provider: Provider,
        client: UpstreamClient,
        source: Option<SourceSettings>,
        deps: SharedDeps,
    ) -> Self {
        Self {
            base_url: BaseUrlMapping::new(&provider.base_url, provider.dialect.base_url()),
            client: client.with_resolver_observer(resolver_observer(provider.id.clone())),
            provider,
            deps,
            source,
            login_queue: Arc::default(),
            token_cache: Arc::default(),
            redactor: Mutex::default(),
            last_probe: Mutex::default(),
            probe_history: Arc::default(),
            balance_history: Arc::default(),
            warned_version: Arc::default(),
            warm_up_schedule: Mutex::default(),
        }
    }

    /// Keeps the token and the history of the same account under the previous config.
    #[must_use]
    pub(crate) fn with_state_of(mut self, old: &Self) -> Self {
        self.login_queue = Arc::clone(&old.login_queue);
        self.token_cache = Arc::clone(&old.token_cache);
        self.probe_history = Arc::clone(&old.probe_history);
        self.balance_history = Arc::clone(&old.balance_history);
        self.warned_version = Arc::clone(&old.warned_version);
        self.client.keep_known_addresses_of(&old.client);
        self
    }

    /// Whether both are the same account at the same address, so that the state of one holds for the other.
    pub(crate) fn is_same_account(&self, old: &Self) -> bool {
        let new = &self.provider;
        let old = &old.provider;
        new.id == old.id
            && new.dialect.name == old.dialect.name
            && new.base_url == old.base_url
            && new.credential == old.credential
            && new.params == old.params
    }

    pub(crate) fn as_client(&self) -> ProviderClient<'_> {
        ProviderClient {
            provider: &self.provider,
            client: &self.client,
        }
    }

    /// The newest credential and token that the next attempt would present, without reading the vault.
    pub(crate) fn newest_revision(&self) -> CredentialRevision {
        let current = self
            .provider
            .credential
            .as_ref()
            .and_then(|reference| self.deps.credential_cache.current(reference));
        let version = current
            .map(|credential| credential.version)
            .unwrap_or_default();
        if self.provider.dialect.requires_login() {
            self.token_cache().newest_revision(version)
        } else {
            CredentialRevision::from(version)
        }
    }

    /// The credentials that the next attempt can present, without reading the vault.
    pub(crate) fn credential_offer(&self) -> CredentialOffer {
        let newest = self.newest_revision();
        let previous = self.previous_credential(newest.version);
        let revision = |version| {
            if self.provider.dialect.requires_login() {
                self.token_cache().newest_revision(version)
            } else {
                CredentialRevision::from(version)
            }
        };
        CredentialOffer {
            newest,
            previous: previous.map(|credential| revision(credential.version)),
        }
    }

    /// The credential of the last accepted message, if it is older than `newest`.
    pub(crate) fn previous_credential(&self, newest: Version) -> Option<Arc<Credential>> {
        self.last_accepted()?
            .credential
            .filter(|credential| credential.version < newest)
    }

    /// After a rejection of `revision`: forgets its token and reads the vault once for all attempts that wait. Returns
    /// the revision that the rejection is about.
    pub(crate) async fn handle_rejection(
        &self,
        revision: CredentialRevision,
    ) -> CredentialRevision {
        let rejected = if self.provider.dialect.requires_login() {
            self.token_cache().invalidate(revision)
        } else {
            revision
        };
        self.reread_vault(revision.version).await;
        rejected
    }

    /// After a message was accepted with `revision`. Returns the revision that this proves: after a trial the credential
    /// with every token, because that is what had been rejected.
    pub(crate) fn record_acceptance(
        &self,
        revision: CredentialRevision,
        credential: Option<Arc<Credential>>,
        trial: bool,
    ) -> CredentialRevision {
        self.token_cache()
            .record_acceptance(revision.version, credential, self.deps.now());
        if trial {
            CredentialRevision {
                token_generation: ALL_GENERATIONS,
                ..revision
            }
        } else {
            revision
        }
    }

    /// Reports the newest version of the vault entry, and since when it is known.
    pub(crate) fn emit_credential_seen(&self) {
        let seen = self
            .provider
            .credential
            .as_ref()
            .and_then(|reference| self.deps.credential_cache.seen_at(reference));
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
        *lock(&self.last_probe)
    }

    pub(crate) fn mark_probed(&self, now: Moment) {
        *lock(&self.last_probe) = Some(now);
    }

    /// Whether this ambiguous rejection is to be probed now; if so, that is remembered.
    pub(crate) fn begin_follow_up(
        &self,
        version: Version,
        candidates: &CauseCandidates,
        now: Moment,
    ) -> bool {
        let accepted = self.last_accepted().map(|accepted| accepted.at);
        self.probe_history()
            .try_begin(version, candidates, accepted, now)
    }

    /// The evidence of earlier probes about the same candidates.
    pub(crate) fn earlier_evidence(
        &self,
        version: Version,
        candidates: &CauseCandidates,
    ) -> Vec<Evidence> {
        let accepted = self.last_accepted().map(|accepted| accepted.at);
        self.probe_history()
            .known_evidence(version, candidates, accepted)
    }

    /// After an operator resumed the provider: what was rejected may be tried again.
    pub(crate) fn reset(&self) {
        self.token_cache().forget_rejections();
        self.probe_history().clear();
    }

    /// The last accepted message.
    pub(crate) fn last_accepted(&self) -> Option<LastAccepted> {
        self.token_cache().last_accepted()
    }

    pub(crate) fn token_cache(&self) -> MutexGuard<'_, TokenCache> {
        lock(&self.token_cache)
    }

    pub(crate) fn probe_history(&self) -> MutexGuard<'_, ProbeHistory> {
        lock(&self.probe_history)
    }

    pub(crate) fn balance_history(&self) -> MutexGuard<'_, BalanceHistory> {
        lock(&self.balance_history)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
/// Logs when the resolver fails for this provider's hosts, and when it works again.
fn resolver_observer(provider: ProviderId) -> impl Fn(ResolverChange) {
    move |change| {
        let (host, failing) = match &change {
            ResolverChange::Failing { host, age, detail } => (host, Some((*age, detail.as_str()))),
            ResolverChange::Recovered { host } => (host, None),
        };
        let event = ResolverChanged {
            provider: &provider,
            host,
            failing,
        };
        event.emit();
    }
}
