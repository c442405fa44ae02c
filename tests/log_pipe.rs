//! The log never blocks: with a full pipe on standard error and nobody who reads it, the real
//! binary starts, answers and ends; what it logged is there when the reader comes back.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A pipe without room for one more byte.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    while writer.write(b"\n").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

fn start(folder: &Path, port: u16, log: PipeWriter) -> Child {
    let file = folder.join("config.toml");
    let text = format!(
        "mode = \"observe\"\n[listen]\nproxy = \"127.0.0.1:{port}\"\n[providers.playmobile]\ndialect = \"playmobile\"\n"
    );
    std::fs::write(&file, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(["run", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The status line of a request that the sidecar denies, and logs.
fn denied(port: u16) -> String {
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => thread::yield_now(),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /nothing/here HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn stop(child: &mut Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_full_log_pipe_blocks_neither_requests_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let (reader, writer) = full_pipe();
    let mut child = start(folder.path(), port, writer);
    for _ in 0..3 {
        assert_eq!(denied(port), "HTTP/1.1 404 Not Found");
    }
    stop(&mut child);
    drop(reader);
}

#[test]
fn the_log_is_whole_when_its_reader_comes_back_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let (mut reader, writer) = full_pipe();
    let mut child = start(folder.path(), port, writer);
    for _ in 0..3 {
        denied(port);
    }
    let reading = thread::spawn(move || {
        let mut log = Vec::new();
        reader.read_to_end(&mut log).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    });
    stop(&mut child);
    let log = reading.join().unwrap();
    for (line, count) in [("\"started\"", 1), ("/nothing/here", 0), ("\"stopping", 1)] {
        assert_eq!(log.matches(line).count(), count, "{line}");
    }
    assert_eq!(log.matches("\"result\":\"denied\"").count(), 3);
}
