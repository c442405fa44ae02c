//! Ends a connection's input at a request whose framing is ambiguous, before the HTTP library reads it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::forward_write::forward_write;
use crate::net::screen::{FramingFault, FramingScanner};

/// In place of the rest of a head: the library rejects it with a 400, after the responses that it still owes.
const REJECTED_HEAD: &[u8] = b"\0\r\n\r\n";

/// The fault that ended a connection, once there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundFault(Arc<OnceLock<FramingFault>>);

impl FoundFault {
    pub(super) fn get(&self) -> Option<FramingFault> {
        self.0.get().copied()
    }
}

/// A stream that ends at the first fault.
#[derive(Debug)]
pub(super) struct FramingStream<S> {
    inner: S,
    scanner: FramingScanner,
    found: FoundFault,
    /// What is read after a fault, then the end.
    ending: &'static [u8],
}

impl<S> FramingStream<S> {
    pub(super) fn new(inner: S, found: FoundFault) -> Self {
        Self {
            inner,
            scanner: FramingScanner::default(),
            found,
            ending: b"",
        }
    }

    /// Whether every request that was begun is complete and sound.
    pub(super) fn is_between_requests(&self) -> bool {
        self.found.get().is_none() && self.scanner.is_between_requests()
    }

    fn read_ending(&mut self, buf: &mut ReadBuf<'_>) {
        let many = self.ending.len().min(buf.remaining());
        if let Some((now, later)) = self.ending.split_at_checked(many) {
            buf.put_slice(now);
            self.ending = later;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FramingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.found.get().is_some() {
            self.read_ending(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if let Err(error) = self.scanner.scan(fresh) {
            // A body without its end is an error of its own.
            if self.scanner.is_in_head() {
                self.ending = REJECTED_HEAD;
            }
            self.found.0.get_or_init(|| error.fault);
            buf.set_filled(before + error.offset);
            self.read_ending(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FramingStream<S> {
    forward_write!(inner);
}
