//! Work that its owner polls like any future, and that goes on in a task of its own if the owner is dropped: as cheap
//! as a part of the owner, and as sure to end as a task.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::CatchUnwind;
use tokio::runtime::Handle;

type Caught<F> = CatchUnwind<AssertUnwindSafe<F>>;

/// The work. Boxed, so that it can leave its owner.
pub(super) struct RunToEnd<F: Future + Send + 'static>
where
    F::Output: Send,
{
    work: Option<Pin<Box<Caught<F>>>>,
}

/// The work ended with a panic. The panic's text may hold a secret, so it is dropped.
#[derive(Debug)]
pub(super) struct WorkPanicked;

impl<F: Future + Send + 'static> RunToEnd<F>
where
    F::Output: Send,
{
    pub(super) fn new(work: F) -> Self {
        let work = AssertUnwindSafe(work).catch_unwind();
        Self {
            work: Some(Box::pin(work)),
        }
    }
}

impl<F: Future + Send + 'static> Future for RunToEnd<F>
where
    F::Output: Send,
{
    type Output = Result<F::Output, WorkPanicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let ended = ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(ended.map_err(|_| WorkPanicked))
    }
}

impl<F: Future + Send + 'static> Drop for RunToEnd<F>
where
    F::Output: Send,
{
    fn drop(&mut self) {
        // Without a runtime nothing goes on; the process ends.
        if let Some((work, runtime)) = self.work.take().zip(Handle::try_current().ok()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_owner_gets_the_output() {
        assert_eq!(RunToEnd::new(async { 7 }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_whose_owner_is_dropped_goes_on() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let mut work = Box::pin(RunToEnd::new(async move {
            gone.await.unwrap();
            done.send(7).unwrap();
        }));
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(ended.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_was_never_polled_is_done_as_well() {
        let (done, ended) = oneshot::channel();
        drop(RunToEnd::new(async move { done.send(7).unwrap() }));
        assert_eq!(ended.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_ends_the_work_and_not_its_owner() {
        let work = RunToEnd::new(async { panic!("of the work") });
        let ended: Result<(), WorkPanicked> = work.await;
        assert!(ended.is_err());
    }
}
