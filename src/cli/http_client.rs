//! One HTTP/1.1 request over one connection, to a listener on this machine.

use std::pin::pin;

use anyhow::anyhow;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::reply_parser::handshake;

/// The longest reply. Another program may listen where a sidecar is expected.
const MAX_REPLY: usize = 8 << 20;

/// Sends `request` over `stream` and reads the whole reply.
pub(super) async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = handshake(stream).await?;
    let (mut sender, connection) = (http.sender, http.connection);
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_REPLY).collect().await;
        let body = body.map_err(|_| anyhow!("the reply is cut off, or longer than 8 MiB"))?;
        anyhow::Ok(Response::from_parts(head, body.to_bytes()))
    };
    let mut exchange = pin!(exchange);
    // The exchange needs the connection to be driven. If the connection ends first, the reply is
    // complete or never arrives.
    tokio::select! {
        reply = exchange.as_mut() => reply,
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Writes until the other side closes; returns how many bytes.
    async fn pour(mut stream: DuplexStream) -> usize {
        stream.read_u8().await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let block = vec![b'x'; 1 << 16];
        let mut written = 0;
        while stream.write_all(&block).await.is_ok() {
            written += block.len();
        }
        written
    }

    #[tokio::test]
    async fn an_endless_reply_is_an_error() {
        let (near, far) = duplex(1 << 16);
        let service = tokio::spawn(pour(far));
        let request = Request::new(Full::default());
        let error = exchange(near, request).await.unwrap_err();
        assert!(error.to_string().contains("longer than 8 MiB"), "{error}");
        assert!(service.await.unwrap() < 2 * MAX_REPLY);
    }
}
