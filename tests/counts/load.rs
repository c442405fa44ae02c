//! A backend and a service that allocate nothing while they work, so that what is counted is the sidecar's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// How long a reply may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(2);
/// Where a message has its code. It increases, because the same text to the same number is a duplicate.
const CODE: &str = "@CODE@";
/// The first code of the next backend, and how many messages it may send.
static FIRST_CODE: AtomicU32 = AtomicU32::new(100_000);
const MAX_MESSAGES: u32 = 1_000;

/// The ways a message can go, with the first digits of its recipient: each has a route of its own.
pub(crate) const WAYS: [(&str, &str); 3] = [
    ("native", "99890"),
    ("translated", "99891"),
    ("failover", "99893"),
];

/// A backend with one connection to the sidecar.
pub(crate) struct Backend {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where the request has the code.
    codes: Vec<usize>,
    reply: Buffer,
}

/// What arrived on a connection.
struct Buffer {
    bytes: [u8; 8192],
    length: usize,
}

impl Backend {
    /// Connects and sends a first message; none: nothing listens there yet.
    pub(crate) fn connect(sidecar: SocketAddr, recipients: &str) -> Option<Self> {
        let stream = TcpStream::connect(sidecar).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = format!(
            r#"{{"messages":[{{"recipient":"{recipients}1234567","message-id":"otp{CODE}","sms":{{"originator":"3700","content":{{"text":"1port: kodingiz {CODE}. Uni hech kimga bermang, hatto bizning xodimlarga ham. Kod 3 daqiqa amal qiladi, so'ng yangisini oling"}}}}}}]}}"#
        );
        let head = format!(
            "POST /playmobile/broker-api/send HTTP/1.1\r\nhost: {sidecar}\r\ncontent-type: application/json\r\n\
             authorization: Basic c21zLXNpZGVjYXI6c21zLXNpZGVjYXI=\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let template = head + &body;
        let codes = template.match_indices(CODE).map(|(at, _)| at).collect();
        let first = FIRST_CODE.fetch_add(MAX_MESSAGES, Ordering::Relaxed);
        let request = template.replace(CODE, &first.to_string()).into_bytes();
        let mut backend = Self {
            stream,
            request,
            codes,
            reply: Buffer::new(),
        };
        // The address is reserved before it is served: such a connection ends without a reply.
        let is_answered = backend.exchange() || !backend.reply.text().is_empty();
        is_answered.then_some(backend)
    }

    /// Sends a message and reads the success.
    pub(crate) fn send(&mut self) {
        assert!(
            self.exchange(),
            "{}",
            String::from_utf8_lossy(self.reply.text())
        );
    }

    /// Sends a message; whether the reply is whole and a success.
    fn exchange(&mut self) -> bool {
        for &at in &self.codes {
            increase(&mut self.request[at..at + CODE.len()]);
        }
        self.reply.length = 0;
        self.stream.write_all(&self.request).is_ok()
            && self.reply.read_message(&mut self.stream)
            && self.reply.text().starts_with(b"HTTP/1.1 200")
    }
}

/// Adds one to a decimal number.
fn increase(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

impl Buffer {
    const fn new() -> Self {
        Self {
            bytes: [0; 8192],
            length: 0,
        }
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Reads until the message is whole; false: the other side has closed the connection.
    fn read_message(&mut self, stream: &mut TcpStream) -> bool {
        while !is_whole(self.text()) {
            match stream.read(&mut self.bytes[self.length..]) {
                Ok(0) | Err(_) => return false,
                Ok(read) => self.length += read,
            }
        }
        true
    }
}

/// Whether these bytes are a head and a body of the length that it states.
fn is_whole(text: &[u8]) -> bool {
    const LENGTH: &[u8] = b"content-length: ";
    let find = |what: &[u8]| {
        text.windows(what.len())
            .position(|at| at.eq_ignore_ascii_case(what))
    };
    let (Some(head), Some(length)) = (find(b"\r\n\r\n"), find(LENGTH)) else {
        return false;
    };
    let digits = text[length + LENGTH.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    text.len() == head + 4 + length
}

/// Starts a service that answers as Playmobile and Twilio do when they accept a message, and below `/rejecting/` as
/// Playmobile does when it rejects the sender of one.
pub(crate) fn start_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let mut request = Buffer::new();
    stream.set_nodelay(true).unwrap();
    while request.read_message(&mut stream) {
        let reply = reply_to(request.text());
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
        request.length = 0;
    }
}

fn reply_to(request: &[u8]) -> &'static str {
    if request.starts_with(b"POST /rejecting/") {
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 59\r\n\r\n\
         {\"error-code\":401,\"error-description\":\"originator missing\"}"
    } else if request.starts_with(b"POST /2010-04-01/") {
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 62\r\n\r\n\
         {\"sid\":\"SM0123456789abcdef0123456789abcdef\",\"status\":\"queued\"}"
    } else {
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 19\r\n\r\nRequest is received"
    }
}

#[test]
fn a_message_is_whole_when_its_body_is() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n123456789012";
    for cut in 0..whole.len() {
        assert!(!is_whole(&whole.as_bytes()[..cut]), "{cut}");
    }
    assert!(is_whole(whole.as_bytes()));
    for request in ["/rejecting/x", "/2010-04-01/x", "/broker-api/send"] {
        let reply = reply_to(format!("POST {request}").as_bytes());
        assert!(is_whole(reply.as_bytes()), "{reply}");
    }
    let mut digits = *b"100999";
    increase(&mut digits);
    assert_eq!(&digits, b"101000");
}
