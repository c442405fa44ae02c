//! One entry's cache: the newest content that was read, why the last read failed, and who waits for the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::clock::Moment;
use crate::secret::{Credential, Version};
use crate::vault::keeper::Error;

/// What we know of one entry, without its values.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which content.
    pub version: Version,
    /// When it was first seen.
    pub since: Moment,
    /// The same, by the calendar.
    pub since_wall: SystemTime,
}

/// One entry's cache.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    /// One read at a time.
    pub(super) gate: tokio::sync::Mutex<()>,
    /// How many reads are done; whoever waited for one need not read again. Tells all of them at once: one after the
    /// other through the gate, each would wait for whatever else runs in between, once for each who is before it.
    pub(super) reads: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) current: Option<(Arc<Credential>, Seen)>,
    pub(super) failure: Option<Error>,
    pub(super) looked: Option<Moment>,
    /// So that entries that were read together are not for ever.
    pub(super) jitter: f64,
    /// The version that the vault gave when somebody saw one refused, and until when that is its word.
    pub(super) confirmed: Option<(Version, Moment)>,
}

impl Slot {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        self.lock().clone()
    }

    pub(super) fn newer(&self, than: Version) -> Option<Arc<Credential>> {
        self.state().current.map(|(credential, _)| credential).filter(|credential| credential.version > than)
    }

    pub(super) fn confirmed(&self, version: Version, now: Moment) -> Option<Arc<Credential>> {
        let State { current, confirmed, .. } = self.state();
        let fresh = confirmed.is_some_and(|(confirmed, until)| confirmed == version && now < until);
        current.map(|(credential, _)| credential).filter(|credential| fresh && credential.version == version)
    }
}
