//! The cache over all vaults: the newest credential of each entry, its version, and since when;
//! requests that need a newer one share one read.
//!
//! A failed read never removes a credential: the last good one stays, and the caller and the event
//! sink get the failure. Independent of providers: a reference holds all that a read needs.

mod event;
mod select;
mod settle;
mod slot;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::secret::{Credential, SecretFields, Version, fields_equal};
use crate::vault::entry::VaultEntry;
use crate::vault::error::ReadError;
use crate::vault::reference::CredentialRef;
use crate::vault::settings::{Settings, SourceSettings};
use crate::vault::source::{ReadSchedule, VaultSource};

use settle::{Settlement, UsableEntry, settlement, usable_entry};
use slot::{CacheSlot, SlotState};

pub use event::{Error, ReadEvent, ReadEventSink, ReadOutcome};
pub use slot::CredentialSeenAt;

/// After this number of reads an entry that never stays the same counts as failed.
const MAX_STABLE_READS: usize = 8;
/// An entry that cannot be read is tried again at least this often; the vault's own backoff limits the load.
const MAX_FAILING_INTERVAL: Duration = Duration::from_secs(5);
/// The providers also reject requests that were in flight with a rejected version. Within this time one read serves
/// them all.
const CONFIRMED_TTL: Duration = Duration::from_secs(3);
/// An account that the vault created in place of a rejected one is not replaced within this time, even if it is
/// rejected as well: each read creates another.
const DYNAMIC_SECRET_TTL: Duration = Duration::from_mins(1);
/// The fraction of its cadence by which an entry may be read early.
const JITTER: f64 = 0.2;
/// How many changes a slow listener may fall behind before it must check every entry.
const MAX_PENDING_CHANGES: usize = 64;

/// Returns credentials, and reads newer ones.
pub struct CredentialCache {
    sources: BTreeMap<String, Arc<dyn VaultSource>>,
    /// The settings of the sources; empty if the caller passed the sources themselves.
    settings: Settings,
    entries: RwLock<BTreeMap<CredentialRef, Arc<CacheSlot>>>,
    /// The entries of the cache before a reload; an entry moves over at its first use.
    inherited: BTreeMap<CredentialRef, Arc<CacheSlot>>,
    /// Versions count up from here.
    base_version: Version,
    clock: Arc<dyn Clock>,
    event_sink: ReadEventSink,
    changes: broadcast::Sender<CredentialRef>,
}

impl CredentialCache {
    /// Opens nothing yet: a vault may start after the sidecar. `events` receives every read.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>, events: ReadEventSink) -> Self {
        let sources = settings
            .sources
            .iter()
            .map(|(name, source)| (name.clone(), source.as_kind().open(&clock)))
            .collect();
        Self {
            settings: settings.clone(),
            ..Self::with_sources(sources, clock, events)
        }
    }

    /// The same over given sources.
    pub fn with_sources(
        sources: BTreeMap<String, Arc<dyn VaultSource>>,
        clock: Arc<dyn Clock>,
        event_sink: ReadEventSink,
    ) -> Self {
        Self {
            sources,
            settings: Settings::default(),
            entries: RwLock::default(),
            inherited: BTreeMap::new(),
            base_version: Version(0),
            clock,
            event_sink,
            changes: broadcast::Sender::new(MAX_PENDING_CHANGES),
        }
    }

    /// Continues from `old` after a reload: credentials and listeners stay, and each entry that is still in use is
    /// read again at once, because its vault may have changed. Versions keep counting, also for a new reference: a
    /// provider with another entry must not get a version number that it saw rejected. A vault whose settings have
    /// not changed keeps its login, and a secret id that can be unwrapped only once.
    #[must_use]
    pub fn continue_from(mut self, old: &Self) -> Self {
        let unchanged = |(name, settings): &(&String, &SourceSettings)| {
            self.settings.sources.get(*name) == Some(settings)
        };
        for (name, _) in old.settings.sources.iter().filter(unchanged) {
            self.sources.extend(
                old.sources
                    .get(name)
                    .map(|source| (name.clone(), Arc::clone(source))),
            );
        }
        self.inherited = old
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let versions = self
            .inherited
            .values()
            .filter_map(|slot| slot.snapshot().current)
            .map(|(_, seen)| seen.version);
        self.base_version = versions.max().unwrap_or_default().max(old.base_version);
        self.changes = old.changes.clone();
        self
    }

    /// Makes `run` read and watch an entry from its start, before its first use.
    pub fn track(&self, reference: &CredentialRef) {
        self.slot(reference);
    }

    /// The newest known credential, without a read; none before the first successful read.
    pub fn current(&self, reference: &CredentialRef) -> Option<Arc<Credential>> {
        self.existing_slot(reference)?.newer_than(Version(0))
    }

    /// The newest known credential, or the result of a first read.
    pub async fn get(&self, reference: &CredentialRef) -> Result<Arc<Credential>, Error> {
        self.reread(reference, Version(0)).await
    }

    /// A credential newer than `than`: at once if one is known, otherwise the result of one read that all waiting
    /// requests share. The result may still be `than` itself: then there is nothing newer, and requests that see
    /// the same version rejected soon after get this result without a read. [`CredentialCache::run`] finds later
    /// versions.
    pub async fn reread(
        &self,
        reference: &CredentialRef,
        than: Version,
    ) -> Result<Arc<Credential>, Error> {
        let slot = self.slot(reference);
        let known = slot
            .newer_than(than)
            .or_else(|| slot.confirmed_credential(than, self.clock.now()));
        if let Some(known) = known {
            return Ok(known);
        }
        let read = self.refresh(reference, &slot).await;
        if let Ok(credential) = &read
            && let Some(lasting) = self.confirmation_ttl(reference, than, credential.version)
        {
            slot.lock().confirmed =
                Some((credential.version, self.clock.now().saturating_add(lasting)));
        }
        read
    }

    /// How long the result of a read after a rejected version holds: that there is nothing newer, or that the vault
    /// created this account for that read.
    fn confirmation_ttl(
        &self,
        reference: &CredentialRef,
        refused: Version,
        found: Version,
    ) -> Option<Duration> {
        let made = || {
            self.sources
                .get(&reference.vault)
                .is_some_and(|source| source.read_schedule(&reference.path) == ReadSchedule::NotYet)
        };
        if found == refused {
            Some(CONFIRMED_TTL)
        } else {
            (refused > Version(0) && made()).then_some(DYNAMIC_SECRET_TTL)
        }
    }

    /// One read that all waiting requests share.
    async fn refresh(
        &self,
        reference: &CredentialRef,
        slot: &CacheSlot,
    ) -> Result<Arc<Credential>, Error> {
        let mut reads = slot.completed_reads.subscribe();
        let turn = tokio::select! {
            biased;
            turn = slot.read_lock.lock() => Some(turn),
            Ok(()) = reads.changed() => None,
        };
        let waited = turn.is_none() || reads.has_changed().unwrap_or_default();
        match slot.snapshot() {
            SlotState {
                failure: Some(failure),
                ..
            } if waited => Err(failure),
            SlotState {
                current: Some((credential, _)),
                ..
            } if waited => Ok(credential),
            _ => self.read_entry(reference, slot).await,
        }
    }

    /// Which version is current, since when.
    pub fn seen_at(&self, reference: &CredentialRef) -> Option<CredentialSeenAt> {
        self.existing_slot(reference)?
            .snapshot()
            .current
            .map(|(_, seen)| seen)
    }

    /// Why the last read failed; none if it succeeded.
    pub fn last_failure(&self, reference: &CredentialRef) -> Option<Error> {
        self.existing_slot(reference)?.snapshot().failure
    }

    /// Receives each entry that gets a newer content.
    pub fn subscribe_changes(&self) -> broadcast::Receiver<CredentialRef> {
        self.changes.subscribe()
    }

    pub(crate) fn sources(&self) -> &BTreeMap<String, Arc<dyn VaultSource>> {
        &self.sources
    }

    /// Every entry in use so far.
    pub(crate) fn tracked_references(&self) -> Vec<CredentialRef> {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    /// Whether an entry is due for another read. `cadence` is the maximum age of a read.
    pub(crate) fn is_due(&self, reference: &CredentialRef, cadence: Duration) -> bool {
        let Some(SlotState {
            read_at: Some(looked),
            failure,
            jitter,
            ..
        }) = self.existing_slot(reference).map(|slot| slot.snapshot())
        else {
            return true;
        };
        let source = self.sources.get(&reference.vault);
        let cadence = source
            .and_then(|source| source.poll_interval())
            .map_or(cadence, |poll| cadence.min(poll));
        let cadence = if failure.is_some() {
            cadence.min(MAX_FAILING_INTERVAL)
        } else {
            cadence
        };
        let since = self.clock.now().since(looked);
        let by_cadence = since >= cadence.mul_f64(1.0 - JITTER * jitter);
        match source.map(|source| source.read_schedule(&reference.path)) {
            Some(ReadSchedule::NotYet) if failure.is_none() => false,
            // An ended lease that cannot be replaced is still tried at an interval only.
            Some(ReadSchedule::Now) => failure.is_none() || since >= MAX_FAILING_INTERVAL,
            Some(ReadSchedule::NotYet | ReadSchedule::ByCadence) | None => by_cadence,
        }
    }

    /// Reads because an entry is due or a file has changed; joins a read that already runs.
    pub async fn poll(&self, reference: &CredentialRef) {
        // The result is in the slot, and the event sink has received it.
        drop(self.refresh(reference, &self.slot(reference)).await);
    }

    fn inherit_slot(&self, reference: &CredentialRef) -> Arc<CacheSlot> {
        let slot = self.inherited.get(reference).cloned().unwrap_or_default();
        slot.lock().read_at = None;
        slot
    }

    fn existing_slot(&self, reference: &CredentialRef) -> Option<Arc<CacheSlot>> {
        let known = self
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(reference)
            .cloned();
        known.or_else(|| self.inherited.get(reference).cloned())
    }

    fn slot(&self, reference: &CredentialRef) -> Arc<CacheSlot> {
        if let Some(slot) = self
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(reference)
        {
            return Arc::clone(slot);
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            entries
                .entry(reference.clone())
                .or_insert_with(|| self.inherit_slot(reference)),
        )
    }

    async fn read_entry(
        &self,
        reference: &CredentialRef,
        slot: &CacheSlot,
    ) -> Result<Arc<Credential>, Error> {
        let found = match self.sources.get(&reference.vault) {
            Some(source) => self
                .read_stable(source, reference, slot)
                .await
                .map_err(|error| Error::Read {
                    vault: reference.vault.as_str().into(),
                    error: Arc::new(error),
                }),
            None => Err(Error::UnknownVault(reference.vault.as_str().into())),
        };
        let noted = self.record_read(reference, slot, found);
        slot.completed_reads
            .send_modify(|reads| *reads = reads.wrapping_add(1));
        noted
    }

    /// Reads until the content has settled, or agrees with the cached one.
    async fn read_stable(
        &self,
        source: &Arc<dyn VaultSource>,
        reference: &CredentialRef,
        slot: &CacheSlot,
    ) -> Result<UsableEntry, ReadError> {
        let place = source.location();
        let known = slot.snapshot().current.map(|(credential, _)| credential);
        let known = known.as_deref();
        let mut last = read_selected(source, reference).await?;
        let mut unchanged_for = Duration::ZERO;
        for _ in 0..MAX_STABLE_READS {
            let usable = usable_entry(&last, known, reference, &place);
            let is_known = known.is_some_and(|known| {
                let matches = |entry: &UsableEntry| known.matches(&entry.fields);
                usable.as_ref().is_ok_and(matches)
            });
            if is_known || !source.allows_torn_reads() {
                return usable;
            }
            let delay = match settlement(unchanged_for, self.age(&last)) {
                Settlement::Settled => return usable,
                Settlement::Wait(delay) => delay,
            };
            tokio::time::sleep(delay).await;
            let next = read_selected(source, reference).await?;
            unchanged_for = if fields_equal(&last.fields, &next.fields) {
                unchanged_for + delay
            } else {
                Duration::ZERO
            };
            last = next;
        }
        Err(ReadError::Changing {
            location: select::entry_location(&place, &reference.path).into(),
            is_kept: known.is_some(),
        })
    }

    /// The time since the entry's files were changed; zero if they are from the future.
    fn age(&self, entry: &VaultEntry) -> Option<Duration> {
        let modified = entry.modified?;
        let age = self.clock.wall_clock().duration_since(modified);
        Some(age.unwrap_or_default())
    }

    /// Puts the result into the cache, and reports it once the cache is unlocked.
    fn record_read(
        &self,
        reference: &CredentialRef,
        slot: &CacheSlot,
        found: Result<UsableEntry, Error>,
    ) -> Result<Arc<Credential>, Error> {
        match found {
            Ok(UsableEntry { fields, warnings }) => {
                let (credential, new) = self.store(slot, fields);
                let version = credential.version;
                self.emit(
                    reference,
                    if new {
                        ReadOutcome::New(version, &warnings)
                    } else {
                        ReadOutcome::Unchanged(version)
                    },
                );
                if new {
                    // An error means that there is no listener.
                    self.changes.send(reference.clone()).unwrap_or_default();
                }
                Ok(credential)
            }
            Err(error) => {
                let mut state = slot.lock();
                self.mark_read(&mut state);
                state.failure = Some(error.clone());
                drop(state);
                if let Error::Read { error, .. } = &error {
                    self.emit(reference, ReadOutcome::Failed(error));
                }
                Err(error)
            }
        }
    }

    /// The credential with `fields`, and whether it is new.
    fn store(&self, slot: &CacheSlot, fields: SecretFields) -> (Arc<Credential>, bool) {
        let mut state = slot.lock();
        self.mark_read(&mut state);
        state.failure = None;
        let before = state
            .current
            .as_ref()
            .map(|(credential, _)| Arc::clone(credential));
        if let Some(same) = before.as_ref().filter(|before| before.matches(&fields)) {
            return (Arc::clone(same), false);
        }
        let version = Version(
            before
                .map_or(self.base_version, |credential| credential.version)
                .0
                + 1,
        );
        let seen = CredentialSeenAt {
            version,
            since: self.clock.now(),
            since_wall: self.clock.wall_clock(),
        };
        let credential = Arc::new(Credential::new(version, fields));
        state.current = Some((Arc::clone(&credential), seen));
        (credential, true)
    }

    fn mark_read(&self, state: &mut SlotState) {
        state.read_at = Some(self.clock.now());
        state.jitter = self.clock.random_fraction();
    }

    fn emit(&self, reference: &CredentialRef, outcome: ReadOutcome<'_>) {
        (self.event_sink)(ReadEvent {
            vault: &reference.vault,
            path: &reference.path,
            outcome,
        });
    }
}

/// The fields of the entry that the reference names.
async fn read_selected(
    source: &Arc<dyn VaultSource>,
    reference: &CredentialRef,
) -> Result<VaultEntry, ReadError> {
    let entry = source.read(&reference.path).await?;
    select::select_fields(entry, reference, &source.location())
}

impl std::fmt::Debug for CredentialCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialCache")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
