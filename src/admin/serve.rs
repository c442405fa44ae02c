//! The admin connections: few, short, small heads, nothing read beyond the head.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admin::Admin;

const HEAD_BYTES: usize = 8 << 10;
const HEAD_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_mins(10);
const CONNECTIONS: usize = 32;
/// After `accept` fails (out of file descriptors), how long before the next try.
const BREATH: Duration = Duration::from_millis(100);

/// Serves one connection until it ends or is too old; a peer that breaks off is no event.
pub async fn serve_connection<S>(stream: S, admin: Admin)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = admin.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(reply) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
    }
}

/// Accepts until `stop` resolves; owns every connection it serves.
pub async fn serve(listener: TcpListener, admin: Admin, stop: impl Future<Output = ()> + Send) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut served = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // No place left: the connection is closed, the next scrape finds one.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let admin = admin.clone();
                    served.spawn(async move {
                        serve_connection(stream, admin).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin listener cannot accept");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = served.join_next() => {}
        }
    }
}
