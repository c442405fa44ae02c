//! What ops look at, kept while the process lives: fed by the same events that write the log and move
//! the metrics, so the page cannot say another thing than they do. Bounded by the config and by fixed
//! numbers; knows no text, no full number, no secret. Holds facts; `status` puts them into words.

mod layout;
mod notes;
mod strip;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::clock::{Clock, Moment};
use crate::sms::{Door, Kind, Operation, Outcome, ProviderId, Verdict};
use crate::telemetry::{
    AttemptEnded, Balance, Build, CallEnded, CredentialSeen, LastHeard, Reloaded, Shape, StandingChanged, TokenExpiry, VaultRead,
};

pub use layout::{Layout, ProviderLayout, RouteLayout};
pub(crate) use notes::{Account, AttemptNote, Barred, CallNote, Entry, Money, Reload, Seen, Stand, Way};
pub(crate) use strip::Strip;

/// So many calls are remembered.
const CALLS: usize = 50;
/// So many vault entries: more than any config names, fewer than a fault could make.
const ENTRIES: usize = 256;

/// The memory.
pub(super) struct Memory {
    clock: Arc<dyn Clock>,
    facts: Mutex<Facts>,
}

/// All that is remembered. Cheap to copy, so that nobody waits while it is put into words.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) layout: Arc<Layout>,
    pub(super) build: Build,
    pub(super) started: Option<SystemTime>,
    pub(super) loaded: Option<SystemTime>,
    /// Since when another config stands on the disk; asked with the facts, never remembered.
    pub(super) changed: Option<SystemTime>,
    pub(super) reload: Option<Reload>,
    pub(super) ca_expires: Option<SystemTime>,
    pub(super) accounts: BTreeMap<ProviderId, Account>,
    pub(super) ways: BTreeMap<String, Way>,
    /// By vault and path.
    pub(super) entries: BTreeMap<(String, String), Entry>,
    /// Oldest first.
    pub(super) calls: VecDeque<Arc<CallNote>>,
    /// Sends by what the backend was told.
    pub(super) sends: Strip,
    pub(super) doors: BTreeMap<Door, Seen>,
}

impl Memory {
    pub(super) fn new(shape: &Shape, clock: Arc<dyn Clock>) -> Self {
        let facts = Facts {
            layout: Arc::default(),
            build: Build::default(),
            started: None,
            loaded: None,
            changed: None,
            reload: None,
            ca_expires: None,
            accounts: BTreeMap::new(),
            ways: BTreeMap::new(),
            entries: BTreeMap::new(),
            calls: VecDeque::with_capacity(CALLS),
            sends: Strip::of_an_hour(),
            doors: BTreeMap::new(),
        };
        let memory = Self { clock, facts: Mutex::new(facts) };
        memory.reshape(shape);
        memory
    }

    /// Another config: who is still the same account keeps what is known of it.
    pub(super) fn reshape(&self, shape: &Shape) {
        let mut facts = self.lock();
        let old = std::mem::replace(&mut facts.layout, Arc::new(shape.layout.clone()));
        let same = |id: &ProviderId| {
            let of = |layout: &Layout| layout.providers.iter().find(|provider| provider.id == *id).cloned();
            of(&old).is_some_and(|before| of(&shape.layout) == Some(before))
        };
        facts.accounts.retain(|id, _| same(id));
        for (id, _) in &shape.providers {
            facts.accounts.entry(id.clone()).or_default();
        }
        let routes = shape.layout.routes();
        facts.ways.retain(|name, _| routes.iter().any(|route| route.name == *name));
        for route in routes {
            facts.ways.entry(route.name).or_default();
        }
        facts.entries.retain(|(vault, _), _| shape.vaults.contains(vault));
        facts.build = shape.build.clone();
    }

    /// What is known, and what time it is by both clocks.
    pub(super) fn facts(&self) -> (Facts, Moment, SystemTime) {
        (self.lock().clone(), self.clock.now(), self.clock.wall())
    }

    pub(super) fn started(&self, at: SystemTime) {
        let mut facts = self.lock();
        (facts.started, facts.loaded) = (Some(at), Some(at));
    }

    pub(super) fn reloaded(&self, event: &Reloaded<'_>) {
        let mut facts = self.lock();
        facts.loaded = event.at.or(facts.loaded);
        facts.reload = Some(Reload { at: self.clock.wall(), ok: event.at.is_some(), problem: event.problem.map(str::to_owned) });
    }

    pub(super) fn ca_expires(&self, at: SystemTime) {
        self.lock().ca_expires = Some(at);
    }

    /// Whether it is news: another standing, another cause, or a surer one. A provider that the config does not
    /// name (not yet, no longer) makes none.
    pub(super) fn standing(&self, event: &StandingChanged<'_>) -> bool {
        let at = self.clock.wall();
        let mut facts = self.lock();
        let Some(account) = facts.accounts.get_mut(event.provider) else { return false };
        let before = account.stand.take();
        let known = before.as_ref().filter(|before| before.standing == event.standing && before.cause == event.cause);
        let certainty = |stand: &Stand| stand.diagnosis.as_ref().map(|diagnosis| diagnosis.certainty);
        let stand = Stand {
            standing: event.standing,
            cause: event.cause,
            since: known.map_or(at, |known| known.since),
            back: event.back,
            diagnosis: event.diagnosis.cloned(),
        };
        let news = known.is_none_or(|known| certainty(known) != certainty(&stand));
        // Whatever was refused before it came back does not speak of it now.
        if before.is_some_and(|before| before.standing != "open") && event.standing == "open" {
            account.failed = None;
        }
        account.stand = Some(stand);
        news
    }

    pub(super) fn attempt(&self, event: &AttemptEnded<'_>) {
        if event.kind != Kind::Send {
            return;
        }
        let (now, place) = (self.clock.now(), outcome_place(event.outcome));
        self.account(event.provider, |account| {
            account.hour.count(place, now);
            account.day.count(place, now);
        });
    }

    pub(super) fn heard(&self, event: &LastHeard<'_>) {
        let at = self.clock.wall();
        self.account(event.provider, |account| account.failed = event.diagnosis.map(|diagnosis| (at, diagnosis.clone())));
    }

    pub(super) fn credential(&self, event: &CredentialSeen<'_>) {
        self.account(event.provider, |account| account.credential = Some((event.version, event.since)));
    }

    pub(super) fn token(&self, event: &TokenExpiry<'_>) {
        self.account(event.provider, |account| account.token_expires = event.at);
    }

    /// `unit` as the gauge has it.
    pub(super) fn balance(&self, event: &Balance<'_>, unit: &str) {
        let at = self.clock.wall();
        self.account(event.provider, |account| {
            account.balance = Some(Money { left: event.value, unit: unit.to_owned(), at, spent_a_day: event.spent_a_day });
        });
    }

    pub(super) fn backup(&self, route: &str, first: bool) {
        let at = self.clock.wall();
        if let Some(way) = self.lock().ways.get_mut(route) {
            way.backup_since = (!first).then_some(at);
        }
    }

    pub(super) fn vault(&self, event: &VaultRead<'_>, failed: bool) {
        let at = self.clock.wall();
        let mut facts = self.lock();
        let key = (event.vault.to_owned(), event.path.to_owned());
        if facts.entries.len() >= ENTRIES && !facts.entries.contains_key(&key) {
            return;
        }
        let entry = facts.entries.entry(key).or_default();
        entry.read = Some((at, event.result.as_str()));
        entry.failing_since = failed.then(|| entry.failing_since.unwrap_or(at));
        if failed {
            entry.problem = event.problem.map(str::to_owned);
        } else {
            (entry.good_at, entry.problem) = (Some(at), None);
        }
    }

    /// What became no call: turned away, or a tunnel.
    pub(super) fn passed(&self, door: Door, verdict: Verdict) {
        let at = self.clock.wall();
        self.lock().doors.entry(door).or_default().note(verdict, at);
    }

    /// A request for a host of ours that could not become a call.
    pub(super) fn barred(&self, door: Door, why: &str) {
        let at = self.clock.wall();
        let mut facts = self.lock();
        let seen = facts.doors.entry(door).or_default();
        let count = seen.barred.take().map_or(0, |barred| barred.count).saturating_add(1);
        seen.barred = Some(Barred { count, at, why: why.to_owned() });
    }

    pub(super) fn call(&self, event: &CallEnded<'_>) {
        let (now, at) = (self.clock.now(), self.clock.wall());
        let mut facts = self.lock();
        facts.doors.entry(event.door).or_default().note(event.verdict, at);
        if event.operation == Operation::Send {
            if let Some(place) = verdict_place(event.verdict) {
                facts.sends.count(place, now);
            }
            let carrier = event.attempts.iter().rfind(|attempt| matches!(attempt.outcome, Outcome::Accepted { .. }));
            // Calls that no route means are told apart by what they speak.
            let way = event.route.or(event.dialect).and_then(|name| facts.ways.get_mut(name));
            if let Some((way, carrier)) = way.zip(carrier) {
                way.accepted = Some((carrier.provider.clone(), at));
            }
        }
        // The oldest note's strings are written anew: once fifty calls were seen, a call allocates none of them.
        let mut note = if facts.calls.len() < CALLS { Arc::default() } else { facts.calls.pop_front().unwrap_or_default() };
        if Arc::get_mut(&mut note).is_none() {
            note = Arc::default();
        }
        if let Some(free) = Arc::get_mut(&mut note) {
            free.take(event, at);
        }
        facts.calls.push_back(note);
    }

    fn account(&self, id: &ProviderId, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.lock().accounts.get_mut(id) {
            change(account);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a strip counts an outcome.
const fn outcome_place(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Accepted { .. } => 0,
        Outcome::Refused(_) => 1,
        Outcome::Unknown(_) => 2,
        Outcome::Unsent(_) => 3,
    }
}

/// Where a strip counts what a sender was told.
const fn verdict_place(verdict: Verdict) -> Option<usize> {
    match verdict {
        Verdict::Accepted => Some(0),
        Verdict::NotSent => Some(1),
        Verdict::InDoubt => Some(2),
        Verdict::MessageRefused => Some(3),
        Verdict::Carried | Verdict::Answered | Verdict::Tunnelled | Verdict::Rejected => None,
    }
}
