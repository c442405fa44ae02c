//! Work that often wakes itself: one part of a connection hands something to another part of it. Such a wake means
//! "poll again", at once. Through the scheduler it would be a turn of the task, for which the runtime also wakes
//! another thread; that costs more than the rest of a request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::task::coop::has_budget_remaining;

/// So often the work is polled in a row, if its task may still do something in its turn; then others get theirs.
const MAX_POLLS: usize = 8;

/// Nobody polls the work, and nobody has woken it.
const IDLE: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// The work, with a waker of its own.
pub(super) struct InlineWakes {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// Passes a wake on to the owner, except one during a poll.
#[derive(Default)]
struct Wakes {
    state: AtomicU8,
    owner: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.owner.wake();
        }
    }
}

impl InlineWakes {
    pub(super) fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let wakes = Arc::<Wakes>::default();
        Self {
            work: Box::pin(work),
            waker: Arc::clone(&wakes).into(),
            wakes,
        }
    }
}

impl Future for InlineWakes {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { work, wakes, waker } = &mut *self;
        wakes.owner.register(cx.waker());
        for _ in 0..MAX_POLLS {
            wakes.state.swap(POLLED, Ordering::AcqRel);
            if work
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_ready()
            {
                return Poll::Ready(());
            }
            let rests =
                wakes
                    .state
                    .compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if rests.is_ok() {
                return Poll::Pending;
            }
            if !has_budget_remaining() {
                break;
            }
        }
        // It stays woken, so that a further wake is not passed on as well.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::poll_fn;
    use tokio::sync::oneshot;

    use super::*;

    /// How often the owner was woken.
    #[derive(Default)]
    struct Owner(AtomicUsize);

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Work that wakes itself this many times before it ends, and the number of its polls.
    fn restless(times: usize) -> (InlineWakes, Arc<AtomicUsize>) {
        let polls = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&polls);
        let work = InlineWakes::new(poll_fn(move |cx| {
            if counted.fetch_add(1, Ordering::SeqCst) == times {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        (work, polls)
    }

    #[test]
    fn work_that_wakes_itself_is_polled_again_at_once() {
        let owner = Arc::<Owner>::default();
        let waker = Arc::clone(&owner).into();
        let (mut work, polls) = restless(3);
        let polled = Pin::new(&mut work).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_ready());
        assert_eq!(
            (polls.load(Ordering::SeqCst), owner.0.load(Ordering::SeqCst)),
            (4, 0)
        );
    }

    #[test]
    fn work_that_never_rests_leaves_others_their_turn() {
        let owner = Arc::<Owner>::default();
        let waker = Arc::clone(&owner).into();
        let (mut work, polls) = restless(usize::MAX);
        for turn in 1..4 {
            assert!(
                Pin::new(&mut work)
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            assert_eq!(polls.load(Ordering::SeqCst), turn * MAX_POLLS);
            assert_eq!(owner.0.load(Ordering::SeqCst), turn);
        }
    }

    /// Ends when the work has heard another thread and answered it.
    async fn one_exchange() {
        let (first, begun) = oneshot::channel::<()>();
        let (second, ended) = oneshot::channel::<()>();
        let work = tokio::spawn(InlineWakes::new(async move {
            begun.await.unwrap();
            second.send(()).unwrap();
            tokio::task::yield_now().await;
        }));
        let other = tokio::spawn(async move { first.send(()).unwrap() });
        other.await.unwrap();
        ended.await.unwrap();
        work.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_from_another_thread_is_lost() {
        for _ in 0..2_000 {
            one_exchange().await;
        }
    }

    #[test]
    fn a_wake_between_polls_reaches_the_owner_once() {
        let owner = Arc::<Owner>::default();
        let waker = Arc::clone(&owner).into();
        let (sender, mut given) = tokio::sync::mpsc::unbounded_channel::<()>();
        let mut work = InlineWakes::new(async move { while given.recv().await.is_some() {} });
        assert!(
            Pin::new(&mut work)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        sender.send(()).unwrap();
        sender.send(()).unwrap();
        assert_eq!(owner.0.load(Ordering::SeqCst), 1);
        assert!(
            Pin::new(&mut work)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        sender.send(()).unwrap();
        assert_eq!(owner.0.load(Ordering::SeqCst), 2);
    }
}
