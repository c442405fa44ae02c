//! How many connections there are and how much work they make. Few of both: a reader who opens connections
//! without end, writes a head byte by byte or never reads an answer only pushes out the oldest of its own
//! kind, and whoever reloads without end is made to wait. Calls notice neither.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// More than any honest readers need, few beside the file descriptors that calls need.
const CONNECTIONS: usize = 128;
/// So many times as long as a page took, nobody gets the next: a fifth of one core at the most.
const REST: u32 = 4;

/// Room for some connections; the oldest makes room for the newest, so that a probe always gets in.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<VecDeque<Arc<Notify>>>>);

/// One connection's place, as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    all: Places,
    mine: Arc<Notify>,
}

impl Places {
    /// A place, at the cost of the oldest where there is none.
    pub(super) fn take(&self) -> Place {
        let mine = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CONNECTIONS
            && let Some(oldest) = all.pop_front()
        {
            oldest.notify_one();
        }
        all.push_back(Arc::clone(&mine));
        drop(all);
        Place { all: self.clone(), mine }
    }
}

impl Place {
    /// Somebody newer needs it.
    pub(super) async fn lost(&self) {
        self.mine.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &self.mine));
    }
}

/// One page at a time, with a rest after each.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<tokio::sync::Mutex<Option<Instant>>>);

impl Pace {
    /// Does the work when it is its turn.
    pub(super) async fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = self.0.lock().await;
        if let Some(at) = *free {
            sleep_until(at).await;
        }
        let began = Instant::now();
        let done = work();
        let ended = Instant::now();
        *free = Some(ended + (ended - began) * REST);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_and_a_place_left_is_free_again() {
        let places = Places::default();
        let mut held: VecDeque<Place> = (0..CONNECTIONS).map(|_| places.take()).collect();
        drop(held.pop_back());
        held.push_back(places.take());
        let pushed_out = |place: &Place| futures_util::FutureExt::now_or_never(place.lost()).is_some();
        assert_eq!(held.iter().filter(|place| pushed_out(place)).count(), 0, "one had left");
        held.push_back(places.take());
        assert!(pushed_out(&held[0]));
        assert_eq!(held.iter().skip(1).filter(|place| pushed_out(place)).count(), 0);
    }

    #[tokio::test]
    async fn a_page_is_followed_by_a_rest_of_four_times_its_own_length() {
        let (pace, took) = (Pace::default(), Duration::from_millis(20));
        let began = Instant::now();
        pace.work(|| std::thread::sleep(took)).await;
        assert!(began.elapsed() < took * REST, "the first one waits for nobody");
        pace.work(|| ()).await;
        assert!(began.elapsed() >= took * (REST + 1), "{:?}", began.elapsed());
    }
}
