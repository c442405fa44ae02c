//! Limits how long a client may take to begin a request on an idle connection, to finish its head, and
//! to go on reading its response. Sits below HTTP because the library's own timer does not distinguish
//! an idle connection from a slow head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

const HEAD_TIMEOUT_RESPONSE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: 51\r\nConnection: close\r\n\r\n\
sms-sidecar: the request's head took too long here\n";

/// What the requests of a connection and its `TimeoutStream` report to each other.
#[derive(Clone, Debug, Default)]
pub(super) struct IdleTimer(Arc<IdleTimerState>);

#[derive(Debug, Default)]
struct IdleTimerState {
    active_requests: AtomicUsize,
    /// Answers that are being made; a CONNECT becomes a tunnel and has none.
    owed_answers: AtomicUsize,
    /// How many requests have begun; a short one may begin and end between two reads.
    started_requests: AtomicUsize,
    head_timed_out: AtomicBool,
    /// The client closed the connection and had sent nothing.
    closed_unused: AtomicBool,
    /// The connection was idle for too long.
    idled_out: AtomicBool,
}

/// A request is being served, or the connection has become a tunnel: no timer runs until this is dropped.
#[derive(Debug)]
pub(super) struct BusyGuard(Arc<IdleTimerState>);

/// An answer is being made; dropped when its last part is there.
#[derive(Debug)]
pub(super) struct AnswerGuard(Arc<IdleTimerState>);

impl IdleTimer {
    pub(super) fn mark_busy(&self) -> BusyGuard {
        self.0.active_requests.fetch_add(1, Ordering::SeqCst);
        self.0.started_requests.fetch_add(1, Ordering::SeqCst);
        BusyGuard(Arc::clone(&self.0))
    }

    pub(super) fn mark_answering(&self) -> AnswerGuard {
        self.0.owed_answers.fetch_add(1, Ordering::SeqCst);
        AnswerGuard(Arc::clone(&self.0))
    }

    /// Whether an answer is being made.
    pub(super) fn owes_answer(&self) -> bool {
        self.0.owed_answers.load(Ordering::SeqCst) > 0
    }

    /// Whether the connection ended because it was idle for too long.
    pub(super) fn idled_out(&self) -> bool {
        self.0.idled_out.load(Ordering::SeqCst)
    }

    fn is_busy(&self) -> bool {
        self.0.active_requests.load(Ordering::SeqCst) > 0
    }

    /// Whether the connection ended because a head took too long.
    pub(super) fn head_timed_out(&self) -> bool {
        self.0.head_timed_out.load(Ordering::SeqCst)
    }

    /// Whether the client closed the connection and had sent nothing.
    pub(super) fn closed_unused(&self) -> bool {
        self.0.closed_unused.load(Ordering::SeqCst)
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.active_requests.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        self.0.owed_answers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    Idle,
    Head,
}

/// A stream that ends when its client is too slow.
#[derive(Debug)]
pub(super) struct TimeoutStream<S> {
    inner: S,
    idle_timer: IdleTimer,
    state: ReadState,
    seen_requests: usize,
    timer: Pin<Box<Sleep>>,
    /// Runs while the client does not read.
    write_timer: Option<Pin<Box<Sleep>>>,
    head_timeout: Duration,
    idle_timeout: Duration,
    linger: Linger,
}

/// How long, and for how many bytes, what a client still sends is read after our side was closed. A close
/// with unread bytes would be a reset, which can destroy the response on its way.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Reads and drops what a client sends to a connection that we have closed, within limits.
#[derive(Debug)]
pub(super) struct Linger {
    timer: Option<Pin<Box<Sleep>>>,
    bytes_left: usize,
}

impl Default for Linger {
    fn default() -> Self {
        Self {
            timer: None,
            bytes_left: LINGER_BYTES,
        }
    }
}

impl Linger {
    /// Ready when the client has closed too, or when a limit is reached.
    pub(super) fn poll_read_to_end<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(LINGER_TIMEOUT)));
        let mut scratch = [0; 4096];
        while self.bytes_left > 0 {
            let mut dropped = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {
                    self.bytes_left = self.bytes_left.saturating_sub(dropped.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return timer.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl<S> TimeoutStream<S> {
    /// A new connection must send its first head within `head_timeout`; `idle_timeout` applies between requests.
    pub(super) fn new(
        inner: S,
        idle_timer: IdleTimer,
        head_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            inner,
            idle_timer,
            state: ReadState::Idle,
            seen_requests: 0,
            timer: Box::pin(sleep(head_timeout)),
            write_timer: None,
            head_timeout,
            idle_timeout,
            linger: Linger::default(),
        }
    }

    /// A read on an idle connection begins a head, or is the end of the connection.
    fn note_read(&mut self, has_data: bool) {
        if self.state != ReadState::Idle {
            return;
        }
        if has_data {
            self.enter_state(ReadState::Head);
        } else if self.seen_requests == 0 {
            self.idle_timer
                .0
                .closed_unused
                .store(true, Ordering::SeqCst);
        }
    }

    /// The result of a write, or an error if the client has read nothing for too long. A tunnel and another host's
    /// response have limits of their own.
    fn limit_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || self.idle_timer.is_busy() {
            self.write_timer = None;
            return written;
        }
        let limit = self.head_timeout;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether a request has ended since the last call, and no other is being served: then the idle time begins.
    fn begin_idle(&mut self) -> bool {
        let started = self.idle_timer.0.started_requests.load(Ordering::SeqCst);
        let begins = started != self.seen_requests && !self.idle_timer.is_busy();
        if begins {
            self.seen_requests = started;
            self.enter_state(ReadState::Idle);
        }
        begins
    }

    /// The library need not read again after a response: the timer must wake it.
    fn arm_idle_timer(&mut self, cx: &mut Context<'_>) {
        if self.begin_idle() && self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn enter_state(&mut self, state: ReadState) {
        let wait = match state {
            ReadState::Idle => self.idle_timeout,
            ReadState::Head => self.head_timeout,
        };
        self.state = state;
        self.timer.as_mut().reset(Instant::now() + wait);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let busy = self.idle_timer.is_busy();
        self.begin_idle();
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if busy {
            return polled;
        }
        if polled.is_ready() {
            self.note_read(buf.filled().len() > before);
            return polled;
        }
        ready!(self.timer.as_mut().poll(cx));
        if self.state == ReadState::Head {
            self.idle_timer
                .0
                .head_timed_out
                .store(true, Ordering::SeqCst);
            // Nothing else is written while a head is read; if the response does not fit, the close is the signal.
            if Pin::new(&mut self.inner)
                .poll_write(cx, HEAD_TIMEOUT_RESPONSE)
                .is_ready()
            {
                // Some streams buffer writes until they are flushed.
                drop(Pin::new(&mut self.inner).poll_flush(cx));
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.idle_timer.0.idled_out.store(true, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.arm_idle_timer(cx);
        self.limit_write(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.limit_write(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        // Inside a tunnel, only one direction has ended.
        if self.idle_timer.is_busy() {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        this.linger.poll_read_to_end(&mut this.inner, cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.arm_idle_timer(cx);
        self.limit_write(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
