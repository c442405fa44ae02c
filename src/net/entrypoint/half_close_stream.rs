//! Lets a client that has closed its side of the connection read its answer.
//!
//! The end of a client's input means one of two things: it has sent all that it wants to send and reads on,
//! or it has gone. TCP sends the same FIN for both. The HTTP library takes it for a hang-up and drops the
//! request, or, by an option, takes no notice of a client at all while it answers; but no message may be sent
//! for a backend that has gone. So the end is held back here, below the library, while a complete request is
//! answered and until the answer is flushed, and the system says whether the client is still there:
//!
//! - On loopback the kernel's table of connections lists the client's end as long as a process has it.
//! - At the unix socket a write fails once the client has closed. A write of no bytes does too.
//! - On another machine nothing but the FIN can be seen, so there it is a hang-up.
//!
//! The end inside a head or body is passed on at once: that request is not complete.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

use crate::net::entrypoint::framing_stream::FramingStream;
use crate::net::entrypoint::origin::ConnectionOrigin;
use crate::net::entrypoint::timeout_stream::{IdleTimer, TimeoutStream};
use crate::net::peer::Peer;
use crate::net::socket_table::{SocketOwners, SocketPair};

/// A client that closes sends its FIN a moment before the kernel takes its end away.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// How often it is looked for after that.
const PAUSE: Duration = Duration::from_secs(1);

/// What shows that a client has gone, and has not only ended its side.
#[derive(Clone, Debug)]
pub(super) enum HangupSign {
    /// No process has its end any more.
    NoOwner {
        /// The connection.
        ends: SocketPair,
        /// Where to look.
        owners: Arc<SocketOwners>,
    },
    /// A write fails.
    FailedWrite,
    /// The end of its input.
    EndOfInput,
}

impl HangupSign {
    /// The sign for a connection, or for the inside of a CONNECT on it.
    pub(super) fn of(peer: &Peer, origin: &ConnectionOrigin, owners: &Arc<SocketOwners>) -> Self {
        match &peer.socket {
            Some(socket) => Self::NoOwner {
                ends: socket.ends(),
                owners: Arc::clone(owners),
            },
            None if origin.is_unix_listener() => Self::FailedWrite,
            None => Self::EndOfInput,
        }
    }

    /// Resolves when the sign is there. Otherwise it wakes its task from time to time; a failed write is for
    /// the task to find.
    async fn wait(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match &self {
                Self::NoOwner { ends, owners } if owners.has_owner(*ends).await => {}
                Self::NoOwner { .. } | Self::EndOfInput => return,
                Self::FailedWrite => {}
            }
            sleep(pause).await;
            pause = PAUSE;
        }
    }
}

/// Whether the client's input has ended.
enum InputEnd {
    NotReached,
    /// Not passed on until the sign is there.
    Held(Pin<Box<dyn Future<Output = ()> + Send>>),
    PassedOn,
}

/// A stream that holds the end of its input back while it owes an answer.
pub(super) struct HalfCloseStream<S> {
    inner: FramingStream<TimeoutStream<S>>,
    idle_timer: IdleTimer,
    sign: HangupSign,
    end: InputEnd,
    /// Whether nothing of an answer is on its way through this stream.
    is_flushed: bool,
}

impl<S> fmt::Debug for HalfCloseStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HalfCloseStream({:?})", self.sign)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HalfCloseStream<S> {
    pub(super) fn new(
        inner: FramingStream<TimeoutStream<S>>,
        idle_timer: IdleTimer,
        sign: HangupSign,
    ) -> Self {
        Self {
            inner,
            idle_timer,
            sign,
            end: InputEnd::NotReached,
            is_flushed: true,
        }
    }

    /// Whether the client waits for something: the answer to a complete request, or the rest of it.
    fn owes_answer(&self) -> bool {
        (self.idle_timer.owes_answer() || !self.is_flushed)
            && self.inner.is_between_requests()
            && !self.idle_timer.idled_out()
    }

    /// Ready when the end is to be passed on: the client has its answer, or has gone.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_owed = self.owes_answer();
        let InputEnd::Held(hangup) = &mut self.end else {
            return Poll::Ready(());
        };
        let has_failed = matches!(self.sign, HangupSign::FailedWrite)
            && matches!(
                Pin::new(&mut self.inner).poll_write(cx, &[]),
                Poll::Ready(Err(_))
            );
        if !is_owed || has_failed {
            return Poll::Ready(());
        }
        hangup.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for HalfCloseStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.end, InputEnd::NotReached) {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            if buf.filled().len() > before || !self.owes_answer() {
                return Poll::Ready(Ok(()));
            }
            self.end = InputEnd::Held(Box::pin(self.sign.clone().wait()));
        }
        ready!(self.poll_release(cx));
        self.end = InputEnd::PassedOn;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HalfCloseStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.is_flushed = true;
        if matches!(self.end, InputEnd::Held(_)) && !self.owes_answer() {
            // The library waits for more input; the end can be passed on now.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
