//! Counts the bytes of a stream in both directions. It sits below HTTP, so the counts are exact:
//! they show whether anything was written, and how much.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes so far; clones share the counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteCounts(Arc<ByteCounters>);

#[derive(Debug, Default)]
struct ByteCounters {
    read: AtomicU64,
    written: AtomicU64,
}

impl ByteCounts {
    /// Bytes that the stream accepted for writing.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::SeqCst)
    }

    /// Bytes that the stream returned.
    pub(crate) fn read(&self) -> u64 {
        self.0.read.load(Ordering::SeqCst)
    }

    /// Bytes in both directions.
    pub(crate) fn total(&self) -> u64 {
        self.read() + self.written()
    }
}

/// A stream that counts its bytes.
#[derive(Debug)]
pub(crate) struct MeteredStream<S> {
    inner: S,
    counts: ByteCounts,
}

impl<S> MeteredStream<S> {
    /// Wraps `inner`; the counts start at zero.
    pub(crate) fn new(inner: S) -> (Self, ByteCounts) {
        let counts = ByteCounts::default();
        (
            Self {
                inner,
                counts: counts.clone(),
            },
            counts,
        )
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.counts
            .0
            .read
            .fetch_add(to_u64(buf.filled().len() - before), Ordering::SeqCst);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(taken)) = &polled {
            self.counts
                .0
                .written
                .fetch_add(to_u64(*taken), Ordering::SeqCst);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(taken)) = &polled {
            self.counts
                .0
                .written
                .fetch_add(to_u64(*taken), Ordering::SeqCst);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
