//! The log never blocks: with a full pipe on standard error and nobody who reads it, the real
//! binary starts, answers and ends; what it logged is there when the reader comes back.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

#[path = "support/unix_sidecar.rs"]
mod unix_sidecar;

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use unix_sidecar::UnixSidecar;

const PATIENCE: Duration = Duration::from_secs(20);

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

/// A sidecar that writes its log into this pipe.
fn start_sidecar(log: PipeWriter) -> UnixSidecar {
    let observing = |listen: &str, _: &Path| {
        format!("mode = \"observe\"\n{listen}[providers.playmobile]\ndialect = \"playmobile\"\n")
    };
    UnixSidecar::start(observing, log)
}

/// The status line of a request that the sidecar denies, and logs.
fn denied(sidecar: &mut UnixSidecar) -> String {
    let mut stream = sidecar.connect();
    stream
        .write_all(b"GET /nothing/here HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn stop(sidecar: &mut UnixSidecar) {
    let pid = Pid::from_child(&sidecar.child);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(sidecar.child.wait().unwrap().success());
}

#[test]
fn a_full_log_pipe_blocks_neither_requests_nor_the_end() {
    let (reader, writer) = full_pipe();
    let mut sidecar = start_sidecar(writer);
    for _ in 0..3 {
        assert_eq!(denied(&mut sidecar), "HTTP/1.1 404 Not Found");
    }
    stop(&mut sidecar);
    drop(reader);
}

/// What it says before its log begins, and after its log has ended: warnings of the config, and the error at its end.
#[test]
fn a_full_log_pipe_blocks_neither_the_start_nor_an_end_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let socket = folder.path().join("sidecar.sock");
    let taken = UnixListener::bind(&socket).unwrap();
    let observing = format!(
        "mode = \"observe\"\n[listen]\nproxy = \"off\"\nadmin = \"off\"\nunix = \"{}\"\n[providers.playmobile]\ndialect = \"playmobile\"\nbase_url = \"https://$HOST.example\"\n",
        socket.display()
    );
    for config in ["no such key = 1\n", &observing] {
        std::fs::write(&file, config).unwrap();
        let (reader, writer) = full_pipe();
        let child = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let (send, ended) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || send.send({ child }.wait().unwrap().code()).unwrap());
        let code = ended.recv_timeout(PATIENCE);
        if code.is_err() {
            kill_process(pid, Signal::KILL).unwrap();
        }
        waiting.join().unwrap();
        assert_eq!(code, Ok(Some(2)), "{config}");
        drop(reader);
    }
    drop(taken);
}

#[test]
fn the_log_is_whole_when_its_reader_comes_back_before_the_end() {
    let (mut reader, writer) = full_pipe();
    let mut sidecar = start_sidecar(writer);
    for _ in 0..3 {
        denied(&mut sidecar);
    }
    let reading = thread::spawn(move || {
        let mut log = Vec::new();
        reader.read_to_end(&mut log).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    });
    stop(&mut sidecar);
    let log = reading.join().unwrap();
    for (line, count) in [("\"started\"", 1), ("/nothing/here", 0), ("\"stopping", 1)] {
        assert_eq!(log.matches(line).count(), count, "{line} in {log}");
    }
    assert_eq!(log.matches("\"result\":\"denied\"").count(), 3);
}
