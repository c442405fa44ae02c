//! How long a client may take: to begin a request on an idle connection, and to finish
//! its head once begun. Sits below HTTP because the library's own timer cannot tell an
//! idle connection from a slow head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: 51\r\nConnection: close\r\n\r\n\
sms-sidecar: the request's head took too long here\n";

/// What the calls on a connection tell its `Paced`, and what it tells the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Tempo(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    busy: AtomicUsize,
    /// How many calls have begun; a short one may begin and end between two reads.
    calls: AtomicUsize,
    late: AtomicBool,
}

/// A call is being answered, or the connection has become a tunnel: no timer runs until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Shared>);

impl Tempo {
    pub(super) fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::SeqCst);
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(&self.0))
    }

    /// The connection ended because a head took too long.
    pub(super) fn was_late(&self) -> bool {
        self.0.late.load(Ordering::SeqCst)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Head,
}

/// A stream that ends when its client is too slow.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    tempo: Tempo,
    state: State,
    calls: usize,
    timer: Pin<Box<Sleep>>,
    head: Duration,
    idle: Duration,
}

impl<S> Paced<S> {
    /// A connection that never sends anything is given as long as a head; `idle` counts between requests.
    pub(super) fn new(inner: S, tempo: Tempo, head: Duration, idle: Duration) -> Self {
        Self { inner, tempo, state: State::Idle, calls: 0, timer: Box::pin(sleep(head)), head, idle }
    }

    fn turn(&mut self, state: State) {
        let wait = match state {
            State::Idle => self.idle,
            State::Head => self.head,
        };
        self.state = state;
        self.timer.as_mut().reset(Instant::now() + wait);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let busy = self.tempo.0.busy.load(Ordering::SeqCst) > 0;
        let calls = self.tempo.0.calls.load(Ordering::SeqCst);
        if !busy && calls != self.calls {
            self.calls = calls;
            self.turn(State::Idle);
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if busy {
            return polled;
        }
        if polled.is_ready() {
            if buf.filled().len() > before && self.state == State::Idle {
                self.turn(State::Head);
            }
            return polled;
        }
        ready!(self.timer.as_mut().poll(cx));
        if self.state == State::Head {
            self.tempo.0.late.store(true, Ordering::SeqCst);
            // Nothing else is being written while a head is read; if it does not fit, the close says it.
            if Pin::new(&mut self.inner).poll_write(cx, TOO_SLOW).is_ready() {
                // Some streams hold back what is written until then.
                drop(Pin::new(&mut self.inner).poll_flush(cx));
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
