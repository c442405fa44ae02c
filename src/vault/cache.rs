//! The cache over all vaults: what the newest credential is, which version, since when; and one
//! read for all who doubt it.
//!
//! A failed read never takes a credential away: the last good one stays, and the failure is told
//! to whoever asked and to the event sink. Refuses to know providers: a reference says everything.

mod event;
mod select;
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

use slot::{CacheSlot, SlotState};

pub use event::{Error, ReadEvent, ReadEventSink, ReadOutcome};
pub use slot::CredentialSeenAt;

/// Between two reads of one entry whose fields may be changing one after the other.
const STABLE_READ_DELAY: Duration = Duration::from_millis(50);
/// After so many different reads the newest is taken as it is; the next look will see the rest.
const MAX_STABLE_READS: usize = 6;
/// What cannot be read is looked at as often as this at least; the vault itself keeps that from being a storm.
const MAX_FAILING_INTERVAL: Duration = Duration::from_secs(5);
/// Sends that were under way when a version was seen refused are refused too, within this time; one read serves them all.
const CONFIRMED_TTL: Duration = Duration::from_secs(3);
/// What was made for us in place of an account that was refused is not replaced within this time when it is refused as
/// well: each look makes another.
const DYNAMIC_SECRET_TTL: Duration = Duration::from_mins(1);
/// By how much of its cadence an entry may be read early.
const JITTER: f64 = 0.2;
/// How many changes a slow listener may fall behind before it is told to look at everything.
const MAX_PENDING_CHANGES: usize = 64;

/// Hands credentials out, and looks for newer ones.
pub struct CredentialCache {
    sources: BTreeMap<String, Arc<dyn VaultSource>>,
    /// What they were made from; empty where they were given.
    settings: Settings,
    entries: RwLock<BTreeMap<CredentialRef, Arc<CacheSlot>>>,
    /// The entries of the cache before a reload; an entry moves over at its first use.
    inherited: BTreeMap<CredentialRef, Arc<CacheSlot>>,
    /// Versions count from here.
    base_version: Version,
    clock: Arc<dyn Clock>,
    event_sink: ReadEventSink,
    changes: broadcast::Sender<CredentialRef>,
}

impl CredentialCache {
    /// Opens nothing yet: a vault may come up after us. `events` hears of every read.
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

    /// Goes on from `old` (a reload): what was read stays, listeners stay, and each entry that is still asked for is
    /// read again at once, because its vault may be another now. Versions count on, also those of a reference that
    /// is new: a provider given another entry must not meet a version number that it saw refused. A vault that is
    /// described as before keeps its login, and a secret id that can be unwrapped only once.
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

    /// Has `run` read and watch an entry from its start on, before anybody asks for it.
    pub fn track(&self, reference: &CredentialRef) {
        self.slot(reference);
    }

    /// The newest that was read, at once; none if none ever was.
    pub fn current(&self, reference: &CredentialRef) -> Option<Arc<Credential>> {
        self.existing_slot(reference)?.newer_than(Version(0))
    }

    /// The newest that was read, or else a first read.
    pub async fn get(&self, reference: &CredentialRef) -> Result<Arc<Credential>, Error> {
        self.reread(reference, Version(0)).await
    }

    /// A credential newer than `than` at once where one is known; otherwise the outcome of one read for all who
    /// wait. What comes back may still be `than` itself: then nothing newer is there, and whoever sees the same
    /// version refused soon after is told so at once; what comes after it is found by [`CredentialCache::run`].
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

    /// For how long what a read said of a version that was refused is the vault's word: nothing newer is there, or
    /// this one was made for us there and then.
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

    /// One read for all who wait.
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

    /// Why the last read failed; none if it did not.
    pub fn last_failure(&self, reference: &CredentialRef) -> Option<Error> {
        self.existing_slot(reference)?.snapshot().failure
    }

    /// Tells of each entry whose content became newer.
    pub fn subscribe_changes(&self) -> broadcast::Receiver<CredentialRef> {
        self.changes.subscribe()
    }

    pub(crate) fn sources(&self) -> &BTreeMap<String, Arc<dyn VaultSource>> {
        &self.sources
    }

    /// Every entry that was asked for so far.
    pub(crate) fn tracked_references(&self) -> Vec<CredentialRef> {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    /// Whether an entry is to be read again because time has passed. `cadence` is how old a look at it may get.
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
            // What ended and cannot be had again is no reason to ask without a pause.
            Some(ReadSchedule::Now) => failure.is_none() || since >= MAX_FAILING_INTERVAL,
            Some(ReadSchedule::NotYet | ReadSchedule::ByCadence) | None => by_cadence,
        }
    }

    /// A read because time has passed or a file has changed; a read that runs serves as well.
    pub async fn poll(&self, reference: &CredentialRef) {
        // The outcome is in the slot, and the event sink has heard of it.
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

    /// Reads until two reads agree, or the first agrees with what we have.
    async fn read_stable(
        &self,
        source: &Arc<dyn VaultSource>,
        reference: &CredentialRef,
        slot: &CacheSlot,
    ) -> Result<VaultEntry, ReadError> {
        let mut last = select::select_fields(
            source.read(&reference.path).await?,
            reference,
            &source.location(),
        )?;
        let had = slot.snapshot().current;
        if !source.allows_torn_reads()
            || had.is_some_and(|(credential, _)| credential.matches(&last.fields))
        {
            return Ok(last);
        }
        for _ in 1..MAX_STABLE_READS {
            tokio::time::sleep(STABLE_READ_DELAY).await;
            let next = select::select_fields(
                source.read(&reference.path).await?,
                reference,
                &source.location(),
            )?;
            if fields_equal(&last.fields, &next.fields) {
                return Ok(next);
            }
            last = next;
        }
        Ok(last)
    }

    /// Puts the outcome into the cache and tells of it, once the cache is unlocked.
    fn record_read(
        &self,
        reference: &CredentialRef,
        slot: &CacheSlot,
        found: Result<VaultEntry, Error>,
    ) -> Result<Arc<Credential>, Error> {
        match found {
            Ok(VaultEntry {
                fields, warnings, ..
            }) => {
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
                    // An error means that nobody listens.
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

    /// The credential that `fields` make, and whether it is new.
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

impl std::fmt::Debug for CredentialCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialCache")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
