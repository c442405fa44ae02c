//! One HTTP/1.1 request over one connection, to a listener on this machine.

use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends `request` over `stream` and reads the whole reply.
pub(super) async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let mut exchange = pin!(exchange);
    // The exchange needs the connection to be driven. If the connection ends first, the reply is
    // complete or never arrives.
    tokio::select! {
        reply = exchange.as_mut() => reply,
        _ = connection => exchange.await,
    }
}
