//! The facts behind the status, kept while the process lives. The events that write the log and
//! update the metrics record them, so the page never disagrees with either. They are bounded by the
//! config and by fixed limits and hold no text, full number or secret. `status` turns them into text.

mod config_summary;
mod denials;
mod notes;
mod recent_durations;
mod recent_results;
mod rolling_counts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::clock::{Clock, Moment};
use crate::policy::HealthState;
use crate::sms::{AttemptKind, Entrypoint, Operation, Outcome, ProviderId, RequestResult};
use crate::telemetry::{
    AttemptFinished, BalanceReported, BuildInfo, CommandKind, CredentialLoaded, DenialRecorded,
    HealthStateChanged, LastSendOutcome, MetricsSchema, OperatorCommand, PreviousCredential,
    Reloaded, RequestFinished, TokenExpiry, VaultRead,
};

pub use config_summary::{ConfigChange, ConfigSummary, ProviderSummary, RouteSummary};
use denials::DenialNotes;
pub(crate) use notes::{
    AccountNote, AttemptNote, ConnectionStats, HealthNote, RequestNote, RouteNote, VaultEntryNote,
};

use notes::{BalanceNote, CommandNote, EntrypointStats, PreviousCredentialNote, ReloadNote};
use recent_results::RecentResults;
use rolling_counts::RollingCounts;

/// How many requests are kept.
const MAX_REQUESTS: usize = 50;
/// How many vault entries are kept, which is more than any config names.
const MAX_VAULT_ENTRIES: usize = 256;

/// Keeps the facts and records events.
pub(super) struct StatusStore {
    clock: Arc<dyn Clock>,
    facts: Mutex<StatusFacts>,
}

/// All facts. Cheap to copy, so that no event waits while the status is built.
#[derive(Clone, Debug)]
pub(crate) struct StatusFacts {
    pub(crate) config: Arc<ConfigSummary>,
    pub(crate) build: BuildInfo,
    pub(crate) pid: u32,
    /// Empty if the host has no name.
    pub(crate) host: String,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) loaded_at: Option<SystemTime>,
    /// Which file of the config was changed on disk after it was loaded; read for each snapshot.
    pub(crate) change: Option<ConfigChange>,
    pub(crate) last_reload: Option<ReloadNote>,
    /// Who runs the reload that is reported next.
    pub(crate) reload_by: Option<String>,
    pub(crate) ca_expires_at: Option<SystemTime>,
    pub(crate) accounts: BTreeMap<ProviderId, AccountNote>,
    pub(crate) routes: BTreeMap<String, RouteNote>,
    /// By vault and path.
    pub(crate) vault_entries: BTreeMap<(String, String), VaultEntryNote>,
    /// Oldest first.
    pub(crate) requests: VecDeque<Arc<RequestNote>>,
    /// Sends by result.
    pub(crate) sends: RollingCounts,
    /// The latest messages that no route matched.
    pub(crate) unrouted: RecentResults,
    pub(crate) entrypoints: BTreeMap<Entrypoint, EntrypointStats>,
    pub(crate) connections: ConnectionStats,
    /// What is wrong with the limit of open files, and what to do.
    pub(crate) file_limit: Option<String>,
    pub(crate) denials: DenialNotes,
}

/// The facts, and the time on both clocks when they were copied.
#[derive(Clone, Debug)]
pub struct StatusSnapshot {
    pub(crate) facts: StatusFacts,
    pub(crate) now: Moment,
    pub(crate) wall: SystemTime,
}

impl StatusStore {
    pub(super) fn new(schema: &MetricsSchema, clock: Arc<dyn Clock>) -> Self {
        let facts = StatusFacts {
            config: Arc::default(),
            build: BuildInfo::default(),
            pid: std::process::id(),
            host: dns_lookup::get_hostname().unwrap_or_default(),
            started_at: None,
            loaded_at: None,
            change: None,
            last_reload: None,
            reload_by: None,
            ca_expires_at: None,
            accounts: BTreeMap::new(),
            routes: BTreeMap::new(),
            vault_entries: BTreeMap::new(),
            requests: VecDeque::with_capacity(MAX_REQUESTS),
            sends: RollingCounts::last_hour(),
            unrouted: RecentResults::default(),
            entrypoints: BTreeMap::new(),
            connections: ConnectionStats::default(),
            file_limit: None,
            denials: DenialNotes::default(),
        };
        let memory = Self {
            clock,
            facts: Mutex::new(facts),
        };
        memory.update_schema(schema);
        memory
    }

    /// Applies another config: an account that stays the same keeps its facts.
    pub(super) fn update_schema(&self, schema: &MetricsSchema) {
        let mut facts = self.lock();
        let old = std::mem::replace(&mut facts.config, Arc::new(schema.config.clone()));
        let same = |id: &ProviderId| {
            let of = |layout: &ConfigSummary| {
                layout
                    .providers
                    .iter()
                    .find(|provider| provider.id == *id)
                    .cloned()
            };
            of(&old).is_some_and(|before| of(&schema.config) == Some(before))
        };
        facts.accounts.retain(|id, _| same(id));
        for (id, _) in &schema.providers {
            facts.accounts.entry(id.clone()).or_default();
        }
        let routes = schema.config.effective_routes();
        facts
            .routes
            .retain(|name, _| routes.iter().any(|route| route.name == *name));
        for route in routes {
            facts.routes.entry(route.name).or_default();
        }
        facts
            .vault_entries
            .retain(|(vault, _), _| schema.vaults.contains(vault));
        facts.build = schema.build.clone();
        // What was denied under another config shows nothing about this one.
        facts.denials = DenialNotes::default();
    }

    pub(super) fn snapshot(&self) -> StatusSnapshot {
        StatusSnapshot {
            facts: self.lock().clone(),
            now: self.clock.now(),
            wall: self.clock.wall_clock(),
        }
    }

    pub(super) fn record_start(&self, at: SystemTime) {
        let mut facts = self.lock();
        facts.started_at = Some(at);
        facts.loaded_at = Some(at);
    }

    pub(super) fn record_reload(&self, event: &Reloaded<'_>) {
        let mut facts = self.lock();
        facts.loaded_at = event.at.or(facts.loaded_at);
        let by = facts.reload_by.take();
        facts.last_reload = Some(ReloadNote {
            by,
            at: self.clock.wall_clock(),
            succeeded: event.at.is_some(),
            problem: event.problem.map(str::to_owned),
        });
    }

    pub(super) fn record_command(&self, event: &OperatorCommand<'_>) {
        let at = self.clock.wall_clock();
        let by = event.by.to_string();
        let command = event.command;
        match command {
            CommandKind::Send => {}
            CommandKind::Reload => self.lock().reload_by = Some(by),
            CommandKind::Pause | CommandKind::Resume => {
                let note = CommandNote { command, by, at };
                if let Some(provider) = event.provider {
                    self.update_account(provider, |account| account.last_command = Some(note));
                }
            }
        }
    }

    pub(super) fn record_ca_expiry(&self, at: Option<SystemTime>) {
        self.lock().ca_expires_at = at;
    }

    /// Returns whether state, cause or certainty changed; always false for a provider that is not in
    /// the config.
    pub(super) fn record_health(&self, event: &HealthStateChanged<'_>) -> bool {
        let at = self.clock.wall_clock();
        let mut facts = self.lock();
        let Some(account) = facts.accounts.get_mut(event.provider) else {
            return false;
        };
        let before = account.health.take();
        let known = before
            .as_ref()
            .filter(|before| before.has_state_and_cause_of(event.state));
        let certainty =
            |note: &HealthNote| note.diagnosis.as_ref().map(|diagnosis| diagnosis.certainty);
        let note = HealthNote {
            state: event.state,
            since: known.map_or(at, |known| known.since),
            diagnosis: event.diagnosis.cloned(),
        };
        let is_news = known.is_none_or(|known| certainty(known) != certainty(&note));
        // A failure from before the recovery is no longer relevant.
        let was_out = before.is_some_and(|before| before.state != HealthState::Healthy);
        if was_out && event.state == HealthState::Healthy {
            account.last_failure = None;
            account.recent.clear();
        }
        account.health = Some(note);
        is_news
    }

    pub(super) fn record_attempt(&self, event: &AttemptFinished<'_>) {
        if event.kind != AttemptKind::Send {
            return;
        }
        let now = self.clock.now();
        let at = self.clock.wall_clock();
        let place = outcome_index(event.outcome);
        self.update_account(event.provider, |account| {
            account.hour.increment(place, now);
            account.day.increment(place, now);
            match event.outcome {
                Outcome::Accepted { .. } => {
                    account.last_accepted = Some(at);
                    account.durations.record(event.duration, now);
                }
                Outcome::Rejected(_) | Outcome::Unknown(_) => {
                    account.durations.record(event.duration, now);
                }
                Outcome::Unsent(_) => {}
            }
            if let Some(works) = event.outcome.shows_working() {
                account.recent.record(works, now);
            }
        });
    }

    pub(super) fn record_last_send(&self, event: &LastSendOutcome<'_>) {
        let at = self.clock.wall_clock();
        self.update_account(event.provider, |account| {
            account.last_failure = event.diagnosis.map(|diagnosis| (at, diagnosis.clone()));
        });
    }

    pub(super) fn record_credential(&self, event: &CredentialLoaded<'_>) {
        self.update_account(event.provider, |account| {
            account.credential = Some((event.version, event.first_seen_at));
        });
    }

    pub(super) fn record_previous_credential(&self, event: &PreviousCredential<'_>) {
        let at = self.clock.wall_clock();
        self.update_account(event.provider, |account| {
            account.previous_credential = event.in_use.map(|in_use| PreviousCredentialNote {
                at,
                in_use,
                diagnosis: event.diagnosis.cloned(),
            });
        });
    }

    pub(super) fn record_token_expiry(&self, event: &TokenExpiry<'_>) {
        self.update_account(event.provider, |account| {
            account.token_expires_at = event.expires_at;
        });
    }

    /// `unit` is the label value of the gauge.
    pub(super) fn record_balance(&self, event: &BalanceReported<'_>, unit: &str) {
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

    pub(super) fn record_backup(&self, route: &str, first: bool) {
        let at = self.clock.wall_clock();
        if let Some(note) = self.lock().routes.get_mut(route) {
            note.backup_since = (!first).then_some(at);
        }
    }

    pub(super) fn record_vault_read(&self, event: &VaultRead<'_>, failed: bool) {
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
            entry.last_success_at = Some(at);
            entry.problem = None;
        }
    }

    /// A request that was not read: a denied one, or a tunnel.
    pub(super) fn record_unread_request(&self, entrypoint: Entrypoint, result: RequestResult) {
        let at = self.clock.wall_clock();
        self.lock()
            .entrypoints
            .entry(entrypoint)
            .or_default()
            .record(result, at);
    }

    /// A connection that was denied because too many were open.
    pub(super) fn record_denied_connection(&self) {
        let at = self.clock.wall_clock();
        let mut facts = self.lock();
        facts.connections.denied = facts.connections.denied.saturating_add(1);
        facts.connections.last_denied_at = Some(at);
    }

    pub(super) fn record_file_limit(&self, problem: String) {
        self.lock().file_limit = Some(problem);
    }

    /// A request of the backend that the sidecar itself denied.
    pub(super) fn record_denial(&self, event: &DenialRecorded<'_>) {
        let (at, now) = (self.clock.wall_clock(), self.clock.now());
        let denials = &mut self.lock().denials;
        denials.record_denial(event.denial, event.entrypoint, at, now);
    }

    pub(super) fn record_request(&self, event: &RequestFinished<'_>) {
        let now = self.clock.now();
        let at = self.clock.wall_clock();
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
            // Without routes, the dialect takes the place of the route.
            let route = event
                .route
                .or(event.dialect)
                .and_then(|name| facts.routes.get_mut(name));
            if let Some((route, carrier)) = route.zip(carrier) {
                route.last_accepted = Some((carrier.provider.clone(), at));
            }
            facts.record_result(event, now);
        }
        // The oldest note's strings are reused: once the list is full, a request allocates none.
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

impl StatusFacts {
    /// Whether the failures of messages are over, on every route.
    pub(crate) fn has_recovered(&self, now: Moment) -> bool {
        self.routes
            .values()
            .map(|route| &route.recent)
            .chain([&self.unrouted])
            .all(|recent| recent.has_recovered(now))
    }

    fn record_result(&mut self, event: &RequestFinished<'_>, now: Moment) {
        if event.result.reached_provider() {
            self.denials.record_accepted(now);
        }
        let succeeded = match event.result {
            RequestResult::Accepted => true,
            RequestResult::NotSent | RequestResult::InDoubt => false,
            RequestResult::MessageRejected
            | RequestResult::PassedThrough
            | RequestResult::AnsweredLocally
            | RequestResult::Tunnelled
            | RequestResult::Denied => return,
        };
        let route = event.route.or(event.dialect);
        match route.and_then(|name| self.routes.get_mut(name)) {
            Some(route) => route.recent.record(succeeded, now),
            None => self.unrouted.record(succeeded, now),
        }
    }
}

/// The category of an outcome in [`RollingCounts`].
const fn outcome_index(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Accepted { .. } => 0,
        Outcome::Rejected(_) => 1,
        Outcome::Unknown(_) => 2,
        Outcome::Unsent(_) => 3,
    }
}

/// The category of a result in [`RollingCounts`]; none if it is not a result of a send.
const fn result_index(result: RequestResult) -> Option<usize> {
    match result {
        RequestResult::Accepted => Some(0),
        RequestResult::NotSent => Some(1),
        RequestResult::InDoubt => Some(2),
        RequestResult::MessageRejected => Some(3),
        // A message in observe mode, of which the backend got the service's own rejection.
        RequestResult::PassedThrough => Some(4),
        RequestResult::AnsweredLocally | RequestResult::Tunnelled | RequestResult::Denied => None,
    }
}
