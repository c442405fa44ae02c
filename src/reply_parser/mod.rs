//! Reads what servers send, not what the standard asks: SMS services stand behind old gateways. What cannot
//! be read is named for what it is.

mod interim;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

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
