//! Limits the work that admin connections cause: a client that reloads without end has to wait. Proxied requests are
//! not affected.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

/// The pause after a response, as a multiple of the time that the response took. The work thus uses at
/// most a fifth of one core.
const COOLDOWN_FACTOR: u32 = 4;

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
