//! Drives a connection: writes the request and reads the reply. Whoever uses the connection polls its driver, so that a
//! request needs no second task; while it is idle, one poll tells whether the provider has closed it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

type ConnectionWork = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The work of one connection.
pub(super) struct Driver {
    /// None once the connection is closed. Whoever sent the request gets the error.
    work: Option<ConnectionWork>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.work.is_some() {
            "Driver(open)"
        } else {
            "Driver(ended)"
        })
    }
}

impl Driver {
    pub(super) fn new<E>(connection: impl Future<Output = Result<(), E>> + Send + 'static) -> Self {
        Self {
            work: Some(Box::pin(async move { drop(connection.await) })),
        }
    }

    /// Does the work that `user` waits for, until it has what it waits for.
    pub(super) async fn drive<T>(&mut self, user: impl Future<Output = T>) -> T {
        let mut user = pin!(user);
        poll_fn(|cx| {
            // First what is to be written, then the work, then what was read.
            if let Poll::Ready(done) = user.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            self.poll(cx);
            user.as_mut().poll(cx)
        })
        .await
    }

    /// Does what can be done now, and wakes nobody later.
    pub(super) fn look(&mut self) {
        self.poll(&mut Context::from_waker(Waker::noop()));
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        let ended = self
            .work
            .as_mut()
            .is_some_and(|work| work.as_mut().poll(cx).is_ready());
        if ended {
            self.work = None;
        }
    }
}
