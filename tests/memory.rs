//! The memory of the real binary under bursts of large bodies: bounded while they last, and given back.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

#[path = "support/unix_sidecar.rs"]
mod unix_sidecar;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

use unix_sidecar::UnixSidecar;

const BURST: usize = 60;
/// How many messages may pass until the memory of a burst was given back; the allocator does so within seconds.
const MAX_TRIES: usize = 20_000;
const MIB: usize = 1 << 20;

/// A service that gives every request the same reply. Returns its address.
fn start_service(reply: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reply = Arc::new(reply);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let reply = Arc::clone(&reply);
            thread::spawn(move || serve(&stream.unwrap(), &reply));
        }
    });
    address
}

/// Answers every request on a connection.
fn serve(stream: &TcpStream, reply: &str) {
    let mut reader = BufReader::new(stream);
    while let Some(length) = content_length(&mut reader) {
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        drop(body);
        let head = format!(
            "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            reply.len()
        );
        let mut writer = stream;
        if writer.write_all((head + reply).as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads a head; none: the connection was closed.
fn content_length(reader: &mut impl BufRead) -> Option<usize> {
    let mut length = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Some(length.unwrap_or_default());
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
}

/// A sidecar whose memory is looked at.
struct Measured(UnixSidecar);

impl Measured {
    fn start(service: SocketAddr) -> Self {
        let config = |listen: &str, folder: &Path| {
            let vault = folder.join("vault");
            std::fs::create_dir_all(vault.join("a")).unwrap();
            std::fs::write(vault.join("a/token"), "token-number-1").unwrap();
            format!(
                "{listen}[limits]\nin_flight = \"64MiB\"\nclient = \"50s\"\n[vaults.v]\ndirectory = {{ path = \"{}\" }}\n\
                 [providers.a]\ndialect = \"plain\"\nbase_url = \"http://{service}\"\ninsecure_http = true\ntimeout = \"50s\"\n\
                 credential = {{ vault = \"v\", path = \"a\" }}\n\
                 [[routes]]\nname = \"r\"\nproviders = [\"a\"]\nattempts = 1\ndeadline = \"55s\"\n",
                vault.display(),
            )
        };
        Self(UnixSidecar::start(config, Stdio::null()))
    }

    /// Sends all messages at once. Returns how many got each status.
    fn burst(&mut self, bodies: Vec<String>) -> BTreeMap<u16, usize> {
        let requests: Vec<_> = bodies
            .into_iter()
            .map(|body| {
                let stream = self.0.connect();
                thread::spawn(move || ask(stream, &body))
            })
            .collect();
        let mut statuses = BTreeMap::new();
        for request in requests {
            *statuses.entry(request.join().unwrap()).or_default() += 1;
        }
        statuses
    }

    /// The resident memory when the sidecar works, in MiB.
    fn usual_memory(&mut self) -> usize {
        let message = r#"{"to":"+998901234567","text":"kod 1"}"#;
        assert_eq!(self.burst(vec![message.to_owned()]), [(202, 1)].into());
        self.memory("VmRSS")
    }

    /// Sends messages until the memory of a burst was given back.
    fn settle_below(&mut self, limit: usize) {
        let has_settled = (0..MAX_TRIES).any(|_| self.usual_memory() <= limit);
        assert!(has_settled, "{} MiB stay resident", self.memory("VmRSS"));
    }

    /// A field of `/proc/…/status` in MiB.
    fn memory(&self, field: &str) -> usize {
        let path = format!("/proc/{}/status", self.0.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib >> 10
    }
}

/// The status of the response to one message.
fn ask(mut stream: UnixStream, body: &str) -> u16 {
    let head = format!(
        "POST /plain/v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // A request that is denied early may not be read to its end.
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).ok();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Messages of 1 MiB, each with a text of its own.
fn large_messages(round: usize) -> Vec<String> {
    let message = |nth: usize| {
        let text = format!("{round}-{nth} {}", "x".repeat(MIB - 200));
        format!(r#"{{"to":"+998901234567","text":"{text}"}}"#)
    };
    (0..BURST).map(message).collect()
}

fn lists_of(item: &str) -> Vec<String> {
    let count = MIB / (item.len() + 1) - 1;
    vec![format!("[{}]", vec![item; count].join(",")); BURST]
}

/// The most resident memory of a burst, in MiB: the bodies in flight and what a debug build makes of them.
const MAX_PEAK: usize = 300;
/// The most that stays resident beside what the sidecar always has, in MiB.
const MAX_REST: usize = 32;

#[test]
#[expect(clippy::print_stdout, reason = "the figures go into reports")]
fn bursts_of_large_requests_are_bounded_and_leave_nothing() {
    let mut sidecar = Measured::start(start_service(r#"{"id":"id-1","status":"accepted"}"#.into()));
    let usual = sidecar.usual_memory();
    let lists = ["{}", "[1]", r#"{"a":1}"#].map(|item| (item, 413, lists_of(item)));
    let texts = [0, 1, 2].map(|round| ("text", 202, large_messages(round)));
    for (name, status, bodies) in lists.into_iter().chain(texts) {
        let statuses = sidecar.burst(bodies);
        let peak = sidecar.memory("VmHWM");
        println!("{BURST} x 1 MiB of {name}: {statuses:?}, peak {peak} MiB");
        assert!(statuses.keys().all(|found| [status, 503].contains(found)));
        assert!(statuses.get(&status).is_some_and(|count| *count >= 10));
        assert!(peak <= MAX_PEAK, "{peak} MiB");
        sidecar.settle_below(usual + MAX_REST);
        println!("resident {} MiB, before {usual}", sidecar.memory("VmRSS"));
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures go into reports")]
fn bursts_of_large_replies_are_bounded_and_leave_nothing() {
    let id = "i".repeat(900_000);
    let reply = format!(r#"{{"id":"{id}","status":"accepted"}}"#);
    let mut sidecar = Measured::start(start_service(reply));
    let usual = sidecar.usual_memory();
    let message = |nth: usize| format!(r#"{{"to":"+998901234567","text":"kod {nth}"}}"#);
    let statuses = sidecar.burst((0..BURST).map(message).collect());
    let peak = sidecar.memory("VmHWM");
    println!("{BURST} replies of 900 KB: {statuses:?}, peak {peak} MiB");
    assert_eq!(statuses, [(202, BURST)].into());
    assert!(peak <= MAX_PEAK, "{peak} MiB");
    sidecar.settle_below(usual + MAX_REST);
    println!("resident {} MiB, before {usual}", sidecar.memory("VmRSS"));
}
