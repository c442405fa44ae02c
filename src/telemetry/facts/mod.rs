//! What ops look at, kept while the process lives: fed by the same events that write the log and move
//! the metrics, so the page cannot say another thing than they do. Bounded by the config and by fixed
//! numbers; knows no text, no full number, no secret. Holds facts; `status` puts them into words.

pub(crate) mod config_summary;
mod notes;
pub(crate) mod rolling_counts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::clock::{Clock, Moment};
use crate::sms::{AttemptKind, Entrypoint, Operation, Outcome, ProviderId, RequestResult};
use crate::telemetry::{
    AttemptFinished, BalanceReported, BuildInfo, CredentialLoaded, HealthStateChanged,
    LastSendOutcome, MetricsSchema, Reloaded, RequestFinished, TokenExpiry, VaultRead,
};

pub use config_summary::{ConfigSummary, ProviderSummary, RouteSummary};
pub(crate) use notes::{
    AccountNote, AttemptNote, BalanceNote, EntrypointStats, HealthNote, ReloadNote, RequestNote,
    RouteNote, TlsRejections, VaultEntryNote,
};
pub(crate) use rolling_counts::RollingCounts;

/// So many calls are remembered.
const MAX_REQUESTS: usize = 50;
/// So many vault entries: more than any config names, fewer than a fault could make.
const MAX_VAULT_ENTRIES: usize = 256;

/// The memory.
pub(crate) struct StatusStore {
    clock: Arc<dyn Clock>,
    facts: Mutex<StatusFacts>,
}

/// All that is remembered. Cheap to copy, so that nobody waits while it is put into words.
#[derive(Clone, Debug)]
pub(crate) struct StatusFacts {
    pub(crate) config: Arc<ConfigSummary>,
    pub(crate) build: BuildInfo,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) loaded_at: Option<SystemTime>,
    /// Since when another config stands on the disk; asked with the facts, never remembered.
    pub(crate) changed_at: Option<SystemTime>,
    pub(crate) last_reload: Option<ReloadNote>,
    pub(crate) ca_expires_at: Option<SystemTime>,
    pub(crate) accounts: BTreeMap<ProviderId, AccountNote>,
    pub(crate) routes: BTreeMap<String, RouteNote>,
    /// By vault and path.
    pub(crate) vault_entries: BTreeMap<(String, String), VaultEntryNote>,
    /// Oldest first.
    pub(crate) requests: VecDeque<Arc<RequestNote>>,
    /// Sends by what the backend was told.
    pub(crate) sends: RollingCounts,
    pub(crate) entrypoints: BTreeMap<Entrypoint, EntrypointStats>,
}

impl StatusStore {
    pub(crate) fn new(shape: &MetricsSchema, clock: Arc<dyn Clock>) -> Self {
        let facts = StatusFacts {
            config: Arc::default(),
            build: BuildInfo::default(),
            started_at: None,
            loaded_at: None,
            changed_at: None,
            last_reload: None,
            ca_expires_at: None,
            accounts: BTreeMap::new(),
            routes: BTreeMap::new(),
            vault_entries: BTreeMap::new(),
            requests: VecDeque::with_capacity(MAX_REQUESTS),
            sends: RollingCounts::last_hour(),
            entrypoints: BTreeMap::new(),
        };
        let memory = Self {
            clock,
            facts: Mutex::new(facts),
        };
        memory.update_schema(shape);
        memory
    }

    /// Another config: who is still the same account keeps what is known of it.
    pub(crate) fn update_schema(&self, shape: &MetricsSchema) {
        let mut facts = self.lock();
        let old = std::mem::replace(&mut facts.config, Arc::new(shape.config.clone()));
        let same = |id: &ProviderId| {
            let of = |layout: &ConfigSummary| {
                layout
                    .providers
                    .iter()
                    .find(|provider| provider.id == *id)
                    .cloned()
            };
            of(&old).is_some_and(|before| of(&shape.config) == Some(before))
        };
        facts.accounts.retain(|id, _| same(id));
        for (id, _) in &shape.providers {
            facts.accounts.entry(id.clone()).or_default();
        }
        let routes = shape.config.effective_routes();
        facts
            .routes
            .retain(|name, _| routes.iter().any(|route| route.name == *name));
        for route in routes {
            facts.routes.entry(route.name).or_default();
        }
        facts
            .vault_entries
            .retain(|(vault, _), _| shape.vaults.contains(vault));
        facts.build = shape.build.clone();
    }

    /// What is known, and what time it is by both clocks.
    pub(crate) fn snapshot(&self) -> (StatusFacts, Moment, SystemTime) {
        (
            self.lock().clone(),
            self.clock.now(),
            self.clock.wall_clock(),
        )
    }

    pub(crate) fn record_start(&self, at: SystemTime) {
        let mut facts = self.lock();
        (facts.started_at, facts.loaded_at) = (Some(at), Some(at));
    }

    pub(crate) fn record_reload(&self, event: &Reloaded<'_>) {
        let mut facts = self.lock();
        facts.loaded_at = event.at.or(facts.loaded_at);
        facts.last_reload = Some(ReloadNote {
            at: self.clock.wall_clock(),
            succeeded: event.at.is_some(),
            problem: event.problem.map(str::to_owned),
        });
    }

    pub(crate) fn record_ca_expiry(&self, at: SystemTime) {
        self.lock().ca_expires_at = Some(at);
    }

    /// Whether it is news: another standing, another cause, or a surer one. A provider that the config does not
    /// name (not yet, no longer) makes none.
    pub(crate) fn record_health(&self, event: &HealthStateChanged<'_>) -> bool {
        let at = self.clock.wall_clock();
        let mut facts = self.lock();
        let Some(account) = facts.accounts.get_mut(event.provider) else {
            return false;
        };
        let before = account.health.take();
        let known = before
            .as_ref()
            .filter(|before| before.state == event.state && before.cause == event.cause);
        let certainty = |stand: &HealthNote| {
            stand
                .diagnosis
                .as_ref()
                .map(|diagnosis| diagnosis.certainty)
        };
        let stand = HealthNote {
            state: event.state,
            cause: event.cause,
            since: known.map_or(at, |known| known.since),
            next_trial_at: event.next_trial_at,
            diagnosis: event.diagnosis.cloned(),
        };
        let news = known.is_none_or(|known| certainty(known) != certainty(&stand));
        // Whatever was refused before it came back does not speak of it now.
        if before.is_some_and(|before| before.state != "healthy") && event.state == "healthy" {
            account.last_failure = None;
        }
        account.health = Some(stand);
        news
    }

    pub(crate) fn record_attempt(&self, event: &AttemptFinished<'_>) {
        if event.kind != AttemptKind::Send {
            return;
        }
        let (now, place) = (self.clock.now(), outcome_index(event.outcome));
        self.update_account(event.provider, |account| {
            account.hour.increment(place, now);
            account.day.increment(place, now);
        });
    }

    pub(crate) fn record_last_send(&self, event: &LastSendOutcome<'_>) {
        let at = self.clock.wall_clock();
        self.update_account(event.provider, |account| {
            account.last_failure = event.diagnosis.map(|diagnosis| (at, diagnosis.clone()));
        });
    }

    pub(crate) fn record_credential(&self, event: &CredentialLoaded<'_>) {
        self.update_account(event.provider, |account| {
            account.credential = Some((event.version, event.first_seen_at));
        });
    }

    pub(crate) fn record_token_expiry(&self, event: &TokenExpiry<'_>) {
        self.update_account(event.provider, |account| {
            account.token_expires_at = event.expires_at;
        });
    }

    /// `unit` as the gauge has it.
    pub(crate) fn record_balance(&self, event: &BalanceReported<'_>, unit: &str) {
        let at = self.clock.wall_clock();
        self.update_account(event.provider, |account| {
            account.balance = Some(BalanceNote {
                value: event.value,
                unit: unit.to_owned(),
                at,
                daily_spend: event.daily_spend,
            });
        });
    }

    pub(crate) fn record_backup(&self, route: &str, first: bool) {
        let at = self.clock.wall_clock();
        if let Some(way) = self.lock().routes.get_mut(route) {
            way.backup_since = (!first).then_some(at);
        }
    }

    pub(crate) fn record_vault_read(&self, event: &VaultRead<'_>, failed: bool) {
        let at = self.clock.wall_clock();
        let mut facts = self.lock();
        let key = (event.vault.to_owned(), event.path.to_owned());
        if facts.vault_entries.len() >= MAX_VAULT_ENTRIES && !facts.vault_entries.contains_key(&key)
        {
            return;
        }
        let entry = facts.vault_entries.entry(key).or_default();
        entry.last_read = Some((at, event.result.as_str()));
        entry.failing_since = failed.then(|| entry.failing_since.unwrap_or(at));
        if failed {
            entry.problem = event.problem.map(str::to_owned);
        } else {
            (entry.last_success_at, entry.problem) = (Some(at), None);
        }
    }

    /// What became no call: turned away, or a tunnel.
    pub(crate) fn record_unread_request(&self, door: Entrypoint, verdict: RequestResult) {
        let at = self.clock.wall_clock();
        self.lock()
            .entrypoints
            .entry(door)
            .or_default()
            .record(verdict, at);
    }

    /// A request for a host of ours that could not become a call.
    pub(crate) fn record_tls_rejection(&self, door: Entrypoint, why: &str) {
        let at = self.clock.wall_clock();
        let mut facts = self.lock();
        let seen = facts.entrypoints.entry(door).or_default();
        let count = seen
            .tls_rejections
            .take()
            .map_or(0, |barred| barred.count)
            .saturating_add(1);
        seen.tls_rejections = Some(TlsRejections {
            count,
            last_at: at,
            reason: why.to_owned(),
        });
    }

    pub(crate) fn record_request(&self, event: &RequestFinished<'_>) {
        let (now, at) = (self.clock.now(), self.clock.wall_clock());
        let mut facts = self.lock();
        facts
            .entrypoints
            .entry(event.entrypoint)
            .or_default()
            .record(event.result, at);
        if event.operation == Operation::Send {
            if let Some(place) = result_index(event.result) {
                facts.sends.increment(place, now);
            }
            let carrier = event
                .attempts
                .iter()
                .rfind(|attempt| matches!(attempt.outcome, Outcome::Accepted { .. }));
            // Calls that no route means are told apart by what they speak.
            let way = event
                .route
                .or(event.dialect)
                .and_then(|name| facts.routes.get_mut(name));
            if let Some((way, carrier)) = way.zip(carrier) {
                way.last_accepted = Some((carrier.provider.clone(), at));
            }
        }
        // The oldest note's strings are written anew: once fifty calls were seen, a call allocates none of them.
        let mut note = if facts.requests.len() < MAX_REQUESTS {
            Arc::default()
        } else {
            facts.requests.pop_front().unwrap_or_default()
        };
        if Arc::get_mut(&mut note).is_none() {
            note = Arc::default();
        }
        if let Some(free) = Arc::get_mut(&mut note) {
            free.overwrite(event, at);
        }
        facts.requests.push_back(note);
    }

    fn update_account(&self, id: &ProviderId, change: impl FnOnce(&mut AccountNote)) {
        if let Some(account) = self.lock().accounts.get_mut(id) {
            change(account);
        }
    }

    fn lock(&self) -> MutexGuard<'_, StatusFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a strip counts an outcome.
const fn outcome_index(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Accepted { .. } => 0,
        Outcome::Rejected(_) => 1,
        Outcome::Unknown(_) => 2,
        Outcome::Unsent(_) => 3,
    }
}

/// Where a strip counts what a sender was told.
const fn result_index(verdict: RequestResult) -> Option<usize> {
    match verdict {
        RequestResult::Accepted => Some(0),
        RequestResult::NotSent => Some(1),
        RequestResult::InDoubt => Some(2),
        RequestResult::MessageRejected => Some(3),
        RequestResult::PassedThrough
        | RequestResult::AnsweredLocally
        | RequestResult::Tunnelled
        | RequestResult::Denied => None,
    }
}
