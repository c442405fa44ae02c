//! A server for tests whose reply never comes to its final status.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

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
