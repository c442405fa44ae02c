//! Limits the number of admin connections and the work that they cause. A client that opens connections
//! without end, writes a head byte by byte or never reads a response only evicts the oldest admin
//! connection, and a client that reloads without end has to wait. Proxied requests are not affected.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// More than legitimate clients need, and few compared with the file descriptors that requests need.
const MAX_CONNECTIONS: usize = 128;
/// The pause after a response, as a multiple of the time that the response took. The work thus uses at
/// most a fifth of one core.
const COOLDOWN_FACTOR: u32 = 4;

/// A bounded set of connections. A new one evicts the oldest, so that a probe can always connect.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionLimit(Arc<Mutex<VecDeque<Arc<Notify>>>>);

/// A connection's slot, held for as long as the connection lives.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limit: ConnectionLimit,
    eviction: Arc<Notify>,
}

impl ConnectionLimit {
    /// Returns a slot. Evicts the oldest connection if all slots are taken.
    pub(super) fn acquire(&self) -> ConnectionSlot {
        let eviction = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_CONNECTIONS
            && let Some(oldest) = all.pop_front()
        {
            oldest.notify_one();
        }
        all.push_back(Arc::clone(&eviction));
        drop(all);
        ConnectionSlot {
            limit: self.clone(),
            eviction,
        }
    }
}

impl ConnectionSlot {
    /// Resolves when a newer connection needs the slot.
    pub(super) async fn evicted(&self) {
        self.eviction.notified().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.limit
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, &self.eviction));
    }
}

/// Builds one response at a time, with a pause after each.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttle(Arc<tokio::sync::Mutex<Option<Instant>>>);

impl Throttle {
    /// Runs `work` when its turn comes.
    pub(super) async fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = self.0.lock().await;
        if let Some(at) = *free {
            sleep_until(at).await;
        }
        let began = Instant::now();
        let done = work();
        let ended = Instant::now();
        *free = Some(ended + (ended - began) * COOLDOWN_FACTOR);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_new_connection_evicts_the_oldest_and_a_released_slot_is_reused() {
        let places = ConnectionLimit::default();
        let mut held: VecDeque<ConnectionSlot> =
            (0..MAX_CONNECTIONS).map(|_| places.acquire()).collect();
        drop(held.pop_back());
        held.push_back(places.acquire());
        let pushed_out = |place: &ConnectionSlot| {
            futures_util::FutureExt::now_or_never(place.evicted()).is_some()
        };
        assert_eq!(
            held.iter().filter(|place| pushed_out(place)).count(),
            0,
            "one slot was free"
        );
        held.push_back(places.acquire());
        assert!(pushed_out(&held[0]));
        assert_eq!(
            held.iter()
                .skip(1)
                .filter(|place| pushed_out(place))
                .count(),
            0
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_response_does_not_wait() {
        let began = Instant::now();
        Throttle::default().run(|| ()).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_response_is_followed_by_a_pause_four_times_as_long() {
        let (pace, took) = (Throttle::default(), Duration::from_millis(20));
        let began = Instant::now();
        pace.run(|| std::thread::sleep(took)).await;
        pace.run(|| ()).await;
        assert!(
            began.elapsed() >= took * (COOLDOWN_FACTOR + 1),
            "{:?}",
            began.elapsed()
        );
    }
}
