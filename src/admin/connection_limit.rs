//! How many connections there are and how much work they make. Few of both: a reader who opens connections
//! without end, writes a head byte by byte or never reads an answer only pushes out the oldest of its own
//! kind, and whoever reloads without end is made to wait. Calls notice neither.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// More than any honest readers need, few beside the file descriptors that calls need.
const MAX_CONNECTIONS: usize = 128;
/// So many times as long as a page took, nobody gets the next: a fifth of one core at the most.
const COOLDOWN_FACTOR: u32 = 4;

/// Room for some connections; the oldest makes room for the newest, so that a probe always gets in.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionLimit(Arc<Mutex<VecDeque<Arc<Notify>>>>);

/// One connection's place, as long as it lives.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limit: ConnectionLimit,
    eviction: Arc<Notify>,
}

impl ConnectionLimit {
    /// A place, at the cost of the oldest where there is none.
    pub(super) fn acquire(&self) -> ConnectionSlot {
        let mine = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_CONNECTIONS
            && let Some(oldest) = all.pop_front()
        {
            oldest.notify_one();
        }
        all.push_back(Arc::clone(&mine));
        drop(all);
        ConnectionSlot {
            limit: self.clone(),
            eviction: mine,
        }
    }
}

impl ConnectionSlot {
    /// Somebody newer needs it.
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

/// One page at a time, with a rest after each.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttle(Arc<tokio::sync::Mutex<Option<Instant>>>);

impl Throttle {
    /// Does the work when it is its turn.
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
    async fn the_oldest_makes_room_and_a_place_left_is_free_again() {
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
            "one had left"
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

    #[tokio::test]
    async fn a_page_is_followed_by_a_rest_of_four_times_its_own_length() {
        let (pace, took) = (Throttle::default(), Duration::from_millis(20));
        let began = Instant::now();
        pace.run(|| std::thread::sleep(took)).await;
        assert!(
            began.elapsed() < took * COOLDOWN_FACTOR,
            "the first one waits for nobody"
        );
        pace.run(|| ()).await;
        assert!(
            began.elapsed() >= took * (COOLDOWN_FACTOR + 1),
            "{:?}",
            began.elapsed()
        );
    }
}
