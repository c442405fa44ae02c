//! What the kernel can prove about a connection that the provider closes. A provider may close a
//! reused connection at the moment in which a request is written to it. Such a request is in doubt,
//! unless the kernel shows that the provider closed first: before the write, the connection's
//! state shows it; after the write, the provider's FIN does, if it acknowledges none of the
//! request's bytes.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use pingora_core::protocols::l4::ext::get_tcp_info;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The states of a connection in Linux's `TCP_INFO`.
const ESTABLISHED: u8 = 1;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;

/// The evidence about the request in flight; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct CloseEvidence(Arc<CloseEvidenceState>);

#[derive(Debug, Default)]
struct CloseEvidenceState {
    /// A request begins with the next write.
    begins: AtomicBool,
    /// The bytes that the provider's kernel had acknowledged when the request began.
    acked_before: AtomicU64,
    closed_unread: AtomicBool,
}

impl CloseEvidence {
    /// The next write is the first one of a request.
    pub(super) fn begin_request(&self) {
        self.0.closed_unread.store(false, Ordering::SeqCst);
        self.0.begins.store(true, Ordering::SeqCst);
    }

    /// Whether the provider closed the connection before any byte of the request reached it.
    pub(super) fn proves_unread(&self) -> bool {
        self.0.closed_unread.load(Ordering::SeqCst)
    }
}

/// What the kernel knows about a connection.
#[derive(Clone, Copy, Debug)]
struct KernelState {
    state: u8,
    acked: u64,
}

impl KernelState {
    /// None where the kernel does not report it.
    fn of(stream: &TcpStream) -> Option<Self> {
        let info = get_tcp_info(stream.as_raw_fd()).ok()?;
        Some(Self {
            state: info.tcpi_state,
            acked: info.tcpi_bytes_acked,
        })
    }

    /// At the end of what was read: whether the provider's FIN arrived, and neither it nor anything before it
    /// acknowledged a byte since `acked_before`.
    fn proves_unread(self, acked_before: u64) -> bool {
        [CLOSE_WAIT, CLOSE].contains(&self.state) && self.acked == acked_before
    }
}

/// A connection to a provider that collects the evidence.
#[derive(Debug)]
pub(super) struct WatchedStream {
    inner: TcpStream,
    evidence: CloseEvidence,
    /// After an error, the end of the stream no longer means a FIN.
    has_failed: bool,
}

impl WatchedStream {
    pub(super) fn new(inner: TcpStream) -> (Self, CloseEvidence) {
        let evidence = CloseEvidence::default();
        let stream = Self {
            inner,
            evidence: evidence.clone(),
            has_failed: false,
        };
        (stream, evidence)
    }

    /// Fails if a request begins on a connection that the provider has closed: nothing is written.
    fn check_before_write(&self) -> io::Result<()> {
        if !self.evidence.0.begins.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        match KernelState::of(&self.inner) {
            Some(kernel) if kernel.state != ESTABLISHED => Err(io::ErrorKind::BrokenPipe.into()),
            Some(kernel) => {
                let acked_before = &self.evidence.0.acked_before;
                acked_before.store(kernel.acked, Ordering::SeqCst);
                Ok(())
            }
            None => {
                let acked_before = &self.evidence.0.acked_before;
                acked_before.store(u64::MAX, Ordering::SeqCst);
                Ok(())
            }
        }
    }

    /// A reset proves nothing, because a provider may have read the request first; nor is a request unread that got
    /// an answer.
    fn note_read(&mut self, result: &io::Result<()>, at_end: bool) {
        self.has_failed |= result.is_err();
        if self.has_failed || !at_end {
            return;
        }
        let acked_before = self.evidence.0.acked_before.load(Ordering::SeqCst);
        let proven =
            KernelState::of(&self.inner).is_some_and(|kernel| kernel.proves_unread(acked_before));
        self.evidence
            .0
            .closed_unread
            .store(proven, Ordering::SeqCst);
    }

    fn note_write(&mut self, polled: &Poll<io::Result<usize>>) {
        self.has_failed |= matches!(polled, Poll::Ready(Err(_)));
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(result) = &polled {
            self.note_read(result, buf.filled().len() == before);
        }
        polled
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_before_write()?;
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note_write(&polled);
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
        self.check_before_write()?;
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_a_fin_that_acknowledges_nothing_is_proof() {
        for (state, acked, proven) in [
            (CLOSE_WAIT, 100, true),
            (CLOSE, 100, true),
            (ESTABLISHED, 100, false),
            (CLOSE_WAIT, 101, false),
            (CLOSE, 101, false),
        ] {
            let kernel = KernelState { state, acked };
            assert_eq!(kernel.proves_unread(100), proven, "{kernel:?}");
        }
    }

    async fn connected() -> (WatchedStream, CloseEvidence, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        let peer = peer.into_std().unwrap();
        peer.set_nonblocking(false).unwrap();
        let (stream, evidence) = WatchedStream::new(stream);
        (stream, evidence, peer)
    }

    #[tokio::test]
    async fn a_request_that_the_provider_has_is_never_proven_unread() {
        let (mut stream, evidence, mut peer) = connected().await;
        evidence.begin_request();
        stream.write_all(b"a request").await.unwrap();
        let mut read = [0; 9];
        io::Read::read_exact(&mut peer, &mut read).unwrap();
        peer.shutdown(Shutdown::Both).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(!evidence.proves_unread());
    }

    #[tokio::test]
    async fn a_fin_before_the_first_acknowledged_byte_is_proof() {
        let (mut stream, evidence, peer) = connected().await;
        evidence.begin_request();
        // The request begins, and its first byte has not left when the provider closes.
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(evidence.proves_unread());
        evidence.begin_request();
        assert!(
            !evidence.proves_unread(),
            "each request has its own evidence"
        );
    }

    #[tokio::test]
    async fn a_request_to_a_closed_connection_is_not_written() {
        let (mut stream, evidence, peer) = connected().await;
        drop(peer);
        evidence.begin_request();
        let error = stream.write_all(b"a request").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
