//! The stream below the HTTP client: it limits what a server sends before its final status, and how much is read
//! before other tasks have their turn.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use crate::forward_write::forward_write;
use crate::reply_parser::interim::InterimReplies;

/// The bytes for which a task may make one step of its turn; the runtime permits 128 steps.
const BYTES_PER_STEP: usize = 4 << 10;

/// Marks on a connection where the next reply begins, and what its status line says; clones share the mark.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplyMark(Arc<MarkState>);

#[derive(Debug, Default)]
struct MarkState {
    begins: AtomicBool,
    /// The final status; 0: none was read.
    status: AtomicU16,
}

impl ReplyMark {
    /// The bytes that follow are the begin of a reply.
    pub(crate) fn begin_reply(&self) {
        self.0.begins.store(true, Ordering::SeqCst);
        self.0.status.store(0, Ordering::SeqCst);
    }

    /// The final status of the reply, if its status line was read, also where the rest of the head cannot be.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.0.status.load(Ordering::SeqCst)).ok()
    }
}

/// A connection to a server that limits what comes before the final status of each reply.
#[derive(Debug)]
pub(crate) struct ReplyStream<S> {
    inner: S,
    interim: InterimReplies,
    mark: ReplyMark,
}

impl<S> ReplyStream<S> {
    /// Wraps a connection before its first reply.
    pub(crate) fn new(inner: S) -> (Self, ReplyMark) {
        let mark = ReplyMark::default();
        let stream = Self {
            inner,
            interim: InterimReplies::new(),
            mark: mark.clone(),
        };
        (stream, mark)
    }
}

/// Counts what was read as steps of the task's turn, so that a server that always has more bytes does not keep the
/// thread for itself.
fn charge(bytes: usize, cx: &mut Context<'_>) {
    for _ in 0..bytes / BYTES_PER_STEP {
        if !coop::has_budget_remaining() {
            return;
        }
        if let Poll::Ready(step) = coop::poll_proceed(cx) {
            step.made_progress();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReplyStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = ready!(coop::poll_proceed(cx));
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        step.made_progress();
        let arrived = buf.filled().get(before..).unwrap_or_default();
        charge(arrived.len(), cx);
        let mark = Arc::clone(&self.mark.0);
        if mark.begins.swap(false, Ordering::SeqCst) {
            self.interim = InterimReplies::new();
        }
        let read = self.interim.read(arrived);
        let status = self.interim.final_status().unwrap_or_default();
        mark.status.store(status, Ordering::SeqCst);
        Poll::Ready(read.map_err(|flood| io::Error::new(io::ErrorKind::InvalidData, flood)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReplyStream<S> {
    forward_write!(inner);
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A server that always has more bytes.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let space = buf.remaining();
            buf.put_slice(&vec![b'x'; space]);
            Poll::Ready(Ok(()))
        }
    }

    /// How many bytes can be read until the task must give way.
    fn read_turn(
        stream: &mut ReplyStream<Endless>,
        space: &mut [u8],
        cx: &mut Context<'_>,
    ) -> usize {
        let mut bytes = 0;
        loop {
            let mut buf = ReadBuf::new(space);
            if Pin::new(&mut *stream).poll_read(cx, &mut buf).is_pending() {
                return bytes;
            }
            bytes += buf.filled().len();
        }
    }

    #[tokio::test]
    async fn a_task_gives_way_although_there_are_always_bytes() {
        let (mut stream, mark) = ReplyStream::new(Endless);
        for piece in [1, 100, 8 << 10, 400 << 10] {
            mark.begin_reply();
            let mut space = vec![0; piece];
            let turn = poll_fn(|cx| Poll::Ready(read_turn(&mut stream, &mut space, cx))).await;
            assert!(turn > 0, "{piece}");
            assert!(turn <= (512 << 10) + piece, "{piece}: {turn}");
            tokio::task::yield_now().await;
        }
    }

    /// 15 interim replies, and a final one.
    fn hinted_reply() -> Vec<u8> {
        let mut whole = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(15);
        whole.extend(b"HTTP/1.1 200 OK\r\n\r\n");
        whole
    }

    #[tokio::test]
    async fn each_reply_has_its_own_limits() {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let (mut stream, mark) = ReplyStream::new(far);
        for _ in 0..3 {
            mark.begin_reply();
            assert_eq!(mark.status(), None);
            let whole = hinted_reply();
            near.write_all(&whole).await.unwrap();
            stream.read_exact(&mut vec![0; whole.len()]).await.unwrap();
            assert_eq!(mark.status(), Some(StatusCode::OK));
        }
        // A body may hold anything.
        let body = hinted_reply().repeat(2);
        near.write_all(&body).await.unwrap();
        stream.read_exact(&mut vec![0; body.len()]).await.unwrap();
        mark.begin_reply();
        let flood = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(21);
        near.write_all(&flood).await.unwrap();
        let read = stream.read_exact(&mut vec![0; flood.len()]).await;
        let error = read.unwrap_err().to_string();
        assert!(error.contains("more than 20 interim replies"), "{error}");
    }
}
