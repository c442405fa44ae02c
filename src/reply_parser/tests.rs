//! What is read and what is named, and a server whose reply never comes to its final status.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;
use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// Listens on a thread of its own. It reads the head of the first request and answers with interim replies until its
/// client has hung up; then it sends how many bytes it could write.
pub(crate) fn flooding_server() -> (SocketAddr, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, end) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let block = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000);
        let mut written = 0;
        while stream.write_all(&block).is_ok() {
            written += block.len();
        }
        ended.send(written).unwrap();
    });
    (address, end)
}

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
