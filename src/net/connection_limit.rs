//! A bounded set of connections of a socket for operators or scrapers. A new one evicts the oldest that is idle, so
//! that clients which only open connections, or send a request byte by byte, keep nobody out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The connections of one socket, at most `max`.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit {
    slots: Arc<Mutex<VecDeque<Arc<ConnectionState>>>>,
    max: usize,
}

/// A connection's slot, held for as long as the connection lives.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    limit: ConnectionLimit,
    state: Arc<ConnectionState>,
}

#[derive(Debug, Default)]
struct ConnectionState {
    eviction: Notify,
    is_busy: AtomicBool,
}

/// A request runs: its connection is not evicted until this is dropped.
#[derive(Debug)]
pub(crate) struct BusySlot<'a>(&'a ConnectionState);

impl ConnectionLimit {
    /// No connection yet.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            slots: Arc::default(),
            max,
        }
    }

    /// Returns a slot. Evicts the oldest idle connection if all slots are taken; none if all of them are busy.
    pub(crate) fn acquire(&self) -> Option<ConnectionSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= self.max {
            let idle = slots.iter().position(|slot| !slot.is_busy());
            let oldest = slots.remove(idle?)?;
            oldest.eviction.notify_one();
        }
        let state = Arc::new(ConnectionState::default());
        slots.push_back(Arc::clone(&state));
        Some(ConnectionSlot {
            limit: self.clone(),
            state,
        })
    }
}

impl ConnectionState {
    fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst)
    }
}

impl ConnectionSlot {
    /// Resolves when a newer connection needs the slot.
    pub(crate) async fn evicted(&self) {
        self.state.eviction.notified().await;
    }

    /// Keeps the slot while a request runs; none: it was taken a moment ago.
    pub(crate) fn mark_busy(&self) -> Option<BusySlot<'_>> {
        let slots = &self.limit.slots;
        let slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = slots.iter().any(|slot| Arc::ptr_eq(slot, &self.state));
        is_held.then(|| {
            self.state.is_busy.store(true, Ordering::SeqCst);
            BusySlot(&self.state)
        })
    }
}

impl Drop for BusySlot<'_> {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::SeqCst);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.limit
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, &self.state));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_evicted(slot: &ConnectionSlot) -> bool {
        slot.evicted().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_new_connection_evicts_the_oldest_and_a_released_slot_is_reused() {
        let limit = ConnectionLimit::new(3);
        let mut held: VecDeque<_> = (0..3).map(|_| limit.acquire().unwrap()).collect();
        drop(held.pop_back());
        held.push_back(limit.acquire().unwrap());
        assert!(!held.iter().any(is_evicted), "one slot was free");
        held.push_back(limit.acquire().unwrap());
        assert!(is_evicted(&held[0]));
        assert!(!held.iter().skip(1).any(is_evicted));
        assert!(held[0].mark_busy().is_none(), "its slot is another's");
    }

    #[tokio::test]
    async fn a_connection_whose_request_runs_is_not_evicted() {
        let limit = ConnectionLimit::new(2);
        let (first, second) = (limit.acquire().unwrap(), limit.acquire().unwrap());
        let busy = first.mark_busy().unwrap();
        let third = limit.acquire().unwrap();
        assert!(!is_evicted(&first) && is_evicted(&second));
        let also_busy = third.mark_busy().unwrap();
        assert!(limit.acquire().is_none(), "nobody can be evicted");
        drop(busy);
        assert!(limit.acquire().is_some());
        assert!(is_evicted(&first) && !is_evicted(&third));
        drop(also_busy);
    }
}
