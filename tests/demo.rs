//! `sms-sidecar demo`: the commands that it prints work as printed, and it leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running demo; dropping it ends the process.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            terminate(&self.0);
            self.0.wait().unwrap();
        }
    }
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap_or_default();
}

fn start(args: &[&str]) -> (Demo, impl Iterator<Item = String>) {
    let binary = env!("CARGO_BIN_EXE_sms-sidecar");
    let mut child = Command::new(binary)
        .arg("demo")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    (Demo(child), lines)
}

fn exchange(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(stream, "{head} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    assert!(text.contains(mark), "no `{mark}` in:\n{text}");
    text.split_once(mark).unwrap().1
}

#[test]
fn printed_commands_work_and_sigterm_ends_the_demo() {
    let (mut demo, lines) = start(&["--keep"]);
    let mut printed = String::new();
    for line in lines {
        printed += &(line.clone() + "\n");
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    let kept = after(&printed, "Still up");
    let (url, rest) = after(kept, "curl -i http://").split_once(" -H ").unwrap();
    let (entrypoint, path) = url.split_at(url.find('/').unwrap());
    let body = after(rest, "-d '").split_once('\'').unwrap().0;
    let reply = exchange(entrypoint, &format!("POST {path}"), body);
    assert!(
        reply.starts_with("HTTP/1.1 200 ")
            && reply.contains("x-sms-sidecar-provider: playmobile\r\n"),
        "{reply}"
    );
    let page = after(kept, "status page  http://")
        .split_once("/\n")
        .unwrap()
        .0;
    assert!(exchange(page, "GET /", "").contains("<html"));
    let config = after(kept, "sms-sidecar status --config ")
        .lines()
        .next()
        .unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(["status", "--config", config])
        .output()
        .unwrap();
    assert_eq!(
        status.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );

    let folder = Path::new(config).parent().unwrap();
    assert!(folder.join("vault.key").exists());
    terminate(&demo.0);
    assert_eq!(demo.0.wait().unwrap().code(), Some(0));
    assert!(!folder.exists(), "{}", folder.display());
}

#[test]
fn a_demo_that_is_ended_early_leaves_nothing_behind() {
    let (mut demo, mut lines) = start(&[]);
    let up = lines.find(|line| line.contains("credentials in ")).unwrap();
    let folder = Path::new(after(&up, "credentials in ")).parent().unwrap();
    terminate(&demo.0);
    // Read to the end: a closed pipe would end the demo.
    lines.for_each(drop);
    // 0 if the demo ended before the signal. A process that the signal kills has no code.
    assert!(matches!(demo.0.wait().unwrap().code(), Some(2 | 0)));
    assert!(!folder.exists(), "{}", folder.display());
}

/// The simulated services build their replies from the patterns of the descriptions.
#[test]
fn a_simulated_service_answers_in_words_and_not_in_patterns() {
    let (_demo, lines) = start(&[]);
    let messages: Vec<String> = lines
        .filter_map(|line| Some(line.split_once("provider_message=\"")?.1.to_owned()))
        .collect();
    assert!(!messages.is_empty());
    for message in messages {
        assert!(!message.contains(['[', '(', '\\', '^', '|']), "{message}");
    }
}
