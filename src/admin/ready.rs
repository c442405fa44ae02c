//! Tracks readiness with guards: a component that must be ready first holds a [`ReadinessGuard`]
//! until it is. Neither a vault nor a provider holds one, because a sealed vault must not take the
//! backend's pod out of service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether the sidecar is ready. Clones share the state and are cheap.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// While this lives, `/ready` answers 503.
#[derive(Debug)]
#[must_use = "dropping it reports the component as ready"]
pub struct ReadinessGuard {
    readiness: Readiness,
    component: &'static str,
}

impl Readiness {
    /// Keeps the sidecar from being ready until the guard is dropped. Clients that check readiness see `what`.
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

    /// The components that are not ready yet; empty if the sidecar is ready.
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
