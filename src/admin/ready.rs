//! Readiness as a guard that is dropped: who must be there first takes a [`Waiting`] and
//! lets go of it when it is. No vault and no provider ever holds one, because a sealed
//! vault must not take the backend's pod out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether we are ready, shared by all who ask. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// As long as this lives, `/ready` says no.
#[derive(Debug)]
#[must_use = "dropping it says that the thing waited for is there"]
pub struct ReadinessGuard {
    readiness: Readiness,
    component: &'static str,
}

impl Readiness {
    /// Not ready until the guard is dropped; `what` is shown to whoever asks.
    pub fn register(&self, what: &'static str) -> ReadinessGuard {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(what)
            .or_default() += 1;
        ReadinessGuard {
            readiness: self.clone(),
            component: what,
        }
    }

    /// What is still missing; empty: ready.
    pub fn pending(&self) -> Vec<&'static str> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }
}

impl Drop for ReadinessGuard {
    fn drop(&mut self) {
        let mut waiting = self
            .readiness
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(self.component) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(self.component);
            }
        }
    }
}
