//! Reads what servers send, not what the standard asks: SMS services stand behind old gateways. What cannot
//! be read is named for what it is.

mod interim;
mod stream;
#[cfg(test)]
pub(crate) mod test_server;

use std::error::Error;
use std::io;

use hyper::body::Body;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::reply_parser::interim::InterimFlood;
use crate::reply_parser::stream::ReplyStream;

pub(crate) use stream::ReplyMark;

/// Enough for a service behind several proxies, each with its own headers.
const MAX_HEADERS: usize = 256;
/// The longest head of a reply.
const MAX_HEAD: usize = 64 << 10;

/// A connection that can send requests; `mark` must be told where each reply begins, the first excepted.
pub(crate) struct Handshake<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body + 'static,
{
    pub(crate) sender: SendRequest<B>,
    /// Moves the bytes; must be polled.
    pub(crate) connection: Connection<TokioIo<ReplyStream<S>>, B>,
    pub(crate) mark: ReplyMark,
}

impl<S, B> std::fmt::Debug for Handshake<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body + 'static,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshake")
    }
}

/// Begins HTTP on a connection. It reads folded headers, blanks before a colon, and up to [`MAX_HEADERS`] headers; it
/// skips a line that is not a header, and interim replies within limits.
pub(crate) async fn handshake<S, B>(stream: S) -> hyper::Result<Handshake<S, B>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (stream, mark) = ReplyStream::new(stream);
    let (sender, connection) = Builder::new()
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        // A body passes through the buffer in pieces.
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    Ok(Handshake {
        sender,
        connection,
        mark,
    })
}

/// What is wrong with the head of a reply, if the server sent one that cannot be read. Nothing of the reply itself is
/// quoted.
pub(crate) fn describe_head_error(error: &hyper::Error) -> Option<String> {
    if let Some(flood) = interim_flood(error) {
        return Some(flood.to_string());
    }
    if error.is_parse_too_large() {
        return Some(format!(
            "sent more than {MAX_HEADERS} headers or more than {} KiB of them",
            MAX_HEAD >> 10
        ));
    }
    // The library's own words: "invalid HTTP version parsed", "invalid content-length parsed".
    error
        .is_parse()
        .then(|| format!("answered with something that is not HTTP/1.1 ({error})"))
}

fn interim_flood(error: &hyper::Error) -> Option<&InterimFlood> {
    let io = error.source()?.downcast_ref::<io::Error>()?;
    io.get_ref()?.downcast_ref()
}

/// What is wrong with the body of a reply that did not come to its end.
pub(crate) fn describe_body_error(error: &(dyn Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            )
        {
            return "sent a reply whose chunks are not valid";
        }
        cause = current.source();
    }
    "broke off its reply"
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// The status of the reply that the library reads from `begin`, or what is wrong with it.
    async fn read(begin: &[u8]) -> Result<u16, String> {
        let (near, mut far) = duplex(1 << 20);
        let http = handshake(near).await.unwrap();
        let mut sender: SendRequest<Full<Bytes>> = http.sender;
        tokio::spawn(http.connection);
        let sent = sender.send_request(http::Request::new(Full::default()));
        let answer = async {
            far.read_u8().await.unwrap();
            far.write_all(begin).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let (reply, ()) = tokio::join!(sent, answer);
        match reply {
            Ok(reply) => Ok(reply.status().as_u16()),
            Err(error) => Err(describe_head_error(&error).unwrap_or_else(|| error.to_string())),
        }
    }

    /// The library and the limit agree on where an interim reply ends, whatever its lines look like: otherwise a flood
    /// could pass as the rest of a final reply.
    #[tokio::test]
    async fn no_spelling_of_an_interim_reply_escapes_the_limit() {
        for spelling in [
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.0 102 \n\n",
            "HTTP/1.1 199\r\n\n",
            "\r\n\nHTTP/1.1 103 x\r\nlink: </a>\r\n\r\n",
            "HTTP/1.1 103 x\r\na : b\r\n c\r\n \r\n\r\n",
            "HTTP/1.1 103 x\r\nnot a header\r\n\r\n",
            "HTTP/1.1 103 HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 103 x\r\n:\r\n\r\n",
            "HTTP/1.1 100 \u{e4}\r\nContent-Length: 5\r\n\r\n",
        ] {
            let some = spelling.repeat(20) + "HTTP/1.1 204 None\r\n\r\n";
            assert_eq!(read(some.as_bytes()).await, Ok(204), "{spelling:?}");
            let flood = spelling.repeat(21) + "HTTP/1.1 204 None\r\n\r\n";
            let fault = read(flood.as_bytes()).await.unwrap_err();
            assert!(fault.contains("interim replies"), "{spelling:?}: {fault}");
        }
    }
}
