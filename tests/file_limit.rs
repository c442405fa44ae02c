//! File descriptors run out, for the real binary: it raises its limit, says that the limit is too low, denies the
//! connections for which it has no descriptors, and serves again when they come back. No request hangs or is lost.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

/// How long a response or a line of the log may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// A hard limit of open files, and how many connections it allows.
const HARD_LIMIT: u64 = 160;
const ACCEPTED: usize = 16;
/// How many connections may be denied until those of the burst are closed.
const MAX_TRIES: usize = 10_000;

/// A sidecar with every kind of listener. Ends with the test.
struct LimitedSidecar {
    child: Child,
    log: BufReader<ChildStderr>,
    proxy: SocketAddr,
    folder: TempDir,
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn write_config(folder: &Path, proxy: SocketAddr, service: SocketAddr) {
    let at = folder.display();
    std::fs::create_dir_all(folder.join("vault/a")).unwrap();
    std::fs::write(folder.join("vault/a/token"), "token-number-1").unwrap();
    let config = format!(
        "[listen]\nproxy = \"{proxy}\"\nadmin = \"off\"\nunix = \"{at}/unix.sock\"\ncontrol = \"{at}/control.sock\"\n\
         [vaults.v]\ndirectory = {{ path = \"{at}/vault\" }}\n\
         [providers.a]\ndialect = \"plain\"\nbase_url = \"http://{service}\"\ninsecure_http = true\n\
         timeout = \"50s\"\ncredential = {{ vault = \"v\", path = \"a\" }}\n\
         [[routes]]\nname = \"r\"\nproviders = [\"a\"]\ndeadline = \"55s\"\n"
    );
    std::fs::write(folder.join("config.toml"), config).unwrap();
}

impl LimitedSidecar {
    /// Starts it with these limits of open files.
    fn start(soft: u64, hard: u64, service: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proxy = free_address();
        write_config(folder.path(), proxy, service);
        let script = format!("ulimit -S -n {soft}; ulimit -H -n {hard}; exec \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_sms-sidecar")])
            .args(["run", "--config"])
            .arg(folder.path().join("config.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            log,
            proxy,
            folder,
        }
    }

    /// Reads the log up to a line with all of these, and returns it.
    fn read_log(&mut self, parts: &[&str]) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).unwrap();
            assert!(read > 0, "no line with {parts:?} in\n{all}");
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            all += &line;
        }
    }

    fn connect(&self, socket: &str) -> UnixStream {
        let stream = UnixStream::connect(self.folder.path().join(socket)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sets the soft limit. Returns the one before.
    fn set_limit(&self, current: Option<u64>) -> Option<u64> {
        let maximum = Some(HARD_LIMIT);
        let limit = Rlimit { current, maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit)
            .unwrap()
            .current
    }
}

impl Drop for LimitedSidecar {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A service that reports each request, and answers it when `gate` is open.
fn start_service(arrived: Sender<()>, gate: Arc<RwLock<()>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (arrived, gate) = (arrived.clone(), Arc::clone(&gate));
            thread::spawn(move || answer_message(&mut stream.unwrap(), &arrived, &gate));
        }
    });
    address
}

/// Reads one message, reports it, and accepts it when the gate is open.
fn answer_message(stream: &mut TcpStream, arrived: &Sender<()>, gate: &RwLock<()>) {
    const REPLY: &[u8] =
        b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\
        Connection: close\r\n\r\n{\"id\":\"1\"}";
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&request).contains("Code ") {
        let Ok(read @ 1..) = stream.read(&mut piece) else {
            return;
        };
        request.extend(piece.iter().take(read));
    }
    arrived.send(()).ok();
    drop(gate.read());
    stream.write_all(REPLY).ok();
}

fn message(number: usize) -> String {
    let body = format!(r#"{{"to":"+9989012345{number:02}","text":"Code {number}"}}"#);
    format!(
        "POST /plain/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The status line of the answer; empty: the connection was closed without one.
fn status_line(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();

    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_low_limit_is_a_warning_and_what_is_accepted_can_also_be_sent() {
    let (sender, arrived) = channel();
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap();
    let service = start_service(sender, Arc::clone(&gate));
    let mut sidecar = LimitedSidecar::start(140, HARD_LIMIT, service);
    let warning = sidecar.read_log(&["\"WARN\"", "the limit of open files is too low"]);
    assert!(
        warning.contains("may open 160 files") && warning.contains("it accepts 16 at once"),
        "{warning}"
    );
    assert!(warning.contains("LimitNOFILE=3584"), "{warning}");
    sidecar.read_log(&["\"started\""]);
    let raised = sidecar.set_limit(Some(HARD_LIMIT));
    assert_eq!(raised, Some(HARD_LIMIT), "the soft limit is the hard one");

    let mut served: Vec<_> = (0..ACCEPTED)
        .map(|number| {
            let mut stream = sidecar.connect("unix.sock");
            stream.write_all(message(number).as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..ACCEPTED {
        arrived.recv_timeout(PATIENCE).unwrap();
    }
    let mut denied: Vec<_> = (0..100).map(|_| sidecar.connect("unix.sock")).collect();
    for stream in &mut denied {
        let line = status_line(stream);
        assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
    }
    sidecar.read_log(&["\"WARN\"", "connections denied", "\"limit\":16"]);
    drop((denied, closed));
    for stream in &mut served {
        assert_eq!(status_line(stream), "HTTP/1.1 202 Accepted");
    }
    drop(served);
    let mut answers = (0..MAX_TRIES).map(|_| {
        let mut stream = sidecar.connect("unix.sock");
        let head = "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        status_line(&mut stream)
    });
    let answer = answers.find(|line| line != "HTTP/1.1 503 Service Unavailable");
    assert_eq!(answer.as_deref(), Some("HTTP/1.1 404 Not Found"));
}

#[test]
fn each_listener_says_that_no_descriptor_is_left_and_serves_what_waited_when_they_come_back() {
    let mut sidecar = LimitedSidecar::start(
        HARD_LIMIT,
        HARD_LIMIT,
        start_service(channel().0, Arc::default()),
    );
    sidecar.read_log(&["\"started\""]);
    let before = sidecar.set_limit(Some(3));
    let mut tcp = TcpStream::connect(sidecar.proxy).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut unix = sidecar.connect("unix.sock");
    let mut control = sidecar.connect("control.sock");
    tcp.write_all(message(1).as_bytes()).unwrap();
    unix.write_all(message(2).as_bytes()).unwrap();
    let status = "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    control.write_all(status.as_bytes()).unwrap();
    let mut told: Vec<String> = (0..3)
        .map(|_| sidecar.read_log(&["\"WARN\"", "cannot be accepted", "LimitNOFILE="]))
        .filter_map(|line| {
            let (_, rest) = line.split_once("\"listener\":\"")?;
            Some(rest.split_once('"')?.0.to_owned())
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, ["control", "proxy", "unix"], "one line each");

    sidecar.set_limit(before);
    assert_eq!(status_line(&mut tcp), "HTTP/1.1 202 Accepted");
    assert_eq!(status_line(&mut unix), "HTTP/1.1 202 Accepted");
    assert_eq!(status_line(&mut control), "HTTP/1.1 200 OK");
}

#[test]
fn a_limit_below_what_the_process_itself_needs_is_an_error_with_its_remedy() {
    let mut sidecar = LimitedSidecar::start(40, 40, free_address());
    let mut log = String::new();
    sidecar.log.read_to_string(&mut log).unwrap();
    assert!(!sidecar.child.wait().unwrap().success());
    let error = "may open 40 files, and it needs 128 to start; set `LimitNOFILE=3584`";
    assert!(log.contains(error) && !log.contains("panicked"), "{log}");
}
