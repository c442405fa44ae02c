//! The cache of one entry: its newest content, why the last read failed, and the waiting requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::clock::Moment;
use crate::secret::{Credential, Version};
use crate::vault::cache::Error;

/// The version of one entry and its age, without its values.
#[derive(Clone, Debug)]
pub struct CredentialSeenAt {
    /// The version of the content.
    pub version: Version,
    /// When it was first read.
    pub since: Moment,
    /// The same, as wall-clock time.
    pub since_wall: SystemTime,
}

/// One entry's cache.
#[derive(Debug, Default)]
pub(super) struct CacheSlot {
    state: Mutex<SlotState>,
    /// One read at a time.
    pub(super) read_lock: tokio::sync::Mutex<()>,
    /// How many reads are done; a request that waited for one does not read again. It wakes all of them at once:
    /// through the lock they would continue one after the other, each after whatever else the scheduler runs.
    pub(super) completed_reads: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SlotState {
    pub(super) current: Option<(Arc<Credential>, CredentialSeenAt)>,
    pub(super) failure: Option<Error>,
    pub(super) read_at: Option<Moment>,
    /// Spreads entries that were first read at the same time.
    pub(super) jitter: f64,
    /// The version that the vault returned after one was rejected, and until when this result holds.
    pub(super) confirmed: Option<(Version, Moment)>,
}

impl CacheSlot {
    pub(super) fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> SlotState {
        self.lock().clone()
    }

    pub(super) fn newer_than(&self, than: Version) -> Option<Arc<Credential>> {
        self.snapshot()
            .current
            .map(|(credential, _)| credential)
            .filter(|credential| credential.version > than)
    }

    pub(super) fn confirmed_credential(
        &self,
        version: Version,
        now: Moment,
    ) -> Option<Arc<Credential>> {
        let SlotState {
            current, confirmed, ..
        } = self.snapshot();
        let fresh = confirmed.is_some_and(|(confirmed, until)| confirmed == version && now < until);
        current
            .map(|(credential, _)| credential)
            .filter(|credential| fresh && credential.version == version)
    }
}
