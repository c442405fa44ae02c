//! Serves admin connections: few and short-lived, with small heads and without reading any body.

use std::convert::Infallible;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::admin::Admin;

const MAX_HEAD_BYTES: usize = 8 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTION_AGE: Duration = Duration::from_mins(10);

/// Serves one connection until it ends, is too old or a newer one needs its slot. A peer that disconnects
/// is not an event.
pub async fn serve_connection<S>(stream: S, admin: Admin)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // None of these connections is ever busy, so the oldest can always be evicted.
    let Some(slot) = admin.connection_limit.acquire() else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.respond(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that has ended its side still reads.
        .half_close(true)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = timeout(MAX_CONNECTION_AGE, connection) => match ended {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
        },
        () = slot.evicted() => {}
    }
}
