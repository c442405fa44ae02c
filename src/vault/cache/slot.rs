//! One entry's cache: the newest content that was read, why the last read failed, and who waits for the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::clock::Moment;
use crate::secret::{Credential, Version};
use crate::vault::cache::Error;

/// What we know of one entry, without its values.
#[derive(Clone, Debug)]
pub struct CredentialSeenAt {
    /// Which content.
    pub version: Version,
    /// When it was first seen.
    pub since: Moment,
    /// The same, by the calendar.
    pub since_wall: SystemTime,
}

/// One entry's cache.
#[derive(Debug, Default)]
pub(super) struct CacheSlot {
    state: Mutex<SlotState>,
    /// One read at a time.
    pub(super) read_lock: tokio::sync::Mutex<()>,
    /// How many reads are done; whoever waited for one need not read again. Tells all of them at once: one after the
    /// other through the gate, each would wait for whatever else runs in between, once for each who is before it.
    pub(super) completed_reads: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SlotState {
    pub(super) current: Option<(Arc<Credential>, CredentialSeenAt)>,
    pub(super) failure: Option<Error>,
    pub(super) read_at: Option<Moment>,
    /// So that entries that were read together are not for ever.
    pub(super) jitter: f64,
    /// The version that the vault gave when somebody saw one refused, and until when that is its word.
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
