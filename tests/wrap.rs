//! `sms-sidecar wrap`: the command gets the proxy variables, a sidecar runs beside it, its exit
//! code is returned, and signals reach it.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn config(folder: &Path) -> (PathBuf, u16) {
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    };
    let proxy = free();
    let admin = free();
    let file = folder.join("config.toml");
    let text = format!(
        "mode = \"observe\"\n[listen]\nproxy = \"127.0.0.1:{proxy}\"\nadmin = \"127.0.0.1:{admin}\"\n[providers.playmobile]\ndialect = \"playmobile\"\n"
    );
    std::fs::write(&file, text).unwrap();
    (file, proxy)
}

fn wrap(config: &Path, script: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(["wrap", "--config"])
        .arg(config)
        .args(["--", "sh", "-c", script])
        .env("NO_PROXY", "db.example")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A command that runs until it is stopped, beside a sidecar, and what `wrap` and the sidecar print.
struct Wrapped {
    wrap: Child,
    printed: Lines<BufReader<ChildStderr>>,
}

impl Wrapped {
    /// Returns once the command runs.
    fn start(config: &Path, options: &[&str]) -> Self {
        let mut wrap = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
            .args(["wrap", "--config"])
            .arg(config)
            .args(options)
            .args([
                "--",
                "sh",
                "-c",
                "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = BufReader::new(wrap.stderr.take().unwrap()).lines();
        let mut up = BufReader::new(wrap.stdout.take().unwrap()).lines();
        assert_eq!(up.next().unwrap().unwrap(), "up");
        Self { wrap, printed }
    }

    /// The process id of the sidecar that `wrap` started.
    fn sidecar(&self) -> u32 {
        let wrap = self.wrap.id();
        let children = std::fs::read_to_string(format!("/proc/{wrap}/task/{wrap}/children"));
        let is_sidecar = |pid: &u32| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            arguments
                .split(|byte| *byte == 0)
                .any(|part| part == b"run")
        };
        children
            .unwrap()
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .find(is_sidecar)
            .unwrap()
    }

    /// Reads on to the line with this text.
    fn line_with(&mut self, text: &str) -> String {
        self.printed
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(text))
            .unwrap()
    }

    fn end(mut self) -> Option<i32> {
        send_signal(self.wrap.id(), Signal::TERM);
        self.wrap.wait().unwrap().code()
    }
}

fn send_signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The status line of a request that only a sidecar answers.
fn request(proxy: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).unwrap();
    stream
        .write_all(b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.to_ascii_lowercase().contains("x-sms-sidecar-id"),
        "{answer}"
    );
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn a_sidecar_that_dies_is_restarted_and_serves_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let (file, proxy) = config(folder.path());
    let mut wrapped = Wrapped::start(&file, &[]);
    let answer = request(proxy);
    for delay in ["0.5 s", "1 s"] {
        let killed = wrapped.sidecar();
        send_signal(killed, Signal::KILL);
        let ended = wrapped.line_with("sms-sidecar wrap: the sidecar ended");
        assert!(ended.contains("signal: 9 (SIGKILL)"), "{ended}");
        assert!(ended.ends_with(&format!("in {delay}")), "{ended}");
        wrapped.line_with(&format!("a sidecar listens on 127.0.0.1:{proxy} again"));
        assert_eq!(request(proxy), answer);
        assert_ne!(wrapped.sidecar(), killed);
    }
    assert_eq!(wrapped.end(), Some(9), "signals and exit code pass through");
    assert!(TcpStream::connect(("127.0.0.1", proxy)).is_err());
}

/// What keeps it from starting is in its own output; the restarts go on.
#[test]
fn a_sidecar_that_cannot_start_again_is_tried_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let (file, proxy) = config(folder.path());
    let mut wrapped = Wrapped::start(&file, &[]);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}no such key = 1\n")).unwrap();
    send_signal(wrapped.sidecar(), Signal::KILL);
    let failed = wrapped.line_with("before it listened");
    assert!(
        failed.contains("exit status: 2") && failed.ends_with("in 1 s"),
        "{failed}"
    );
    std::fs::write(&file, text).unwrap();
    wrapped.line_with(&format!("a sidecar listens on 127.0.0.1:{proxy} again"));
    request(proxy);
    assert_eq!(wrapped.end(), Some(9));
}

#[test]
fn the_command_is_stopped_with_the_sidecar_if_the_flag_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = config(folder.path());
    let mut wrapped = Wrapped::start(&file, &["--on-sidecar-exit", "stop"]);
    send_signal(wrapped.sidecar(), Signal::KILL);
    let stopped = wrapped.line_with("so the command was stopped");
    assert!(
        stopped.contains("the sidecar ended (signal: 9 (SIGKILL))"),
        "{stopped}"
    );
    assert_eq!(wrapped.wrap.wait().unwrap().code(), Some(2));

    let wrapped = Wrapped::start(&file, &["--on-sidecar-exit", "stop"]);
    assert_eq!(
        wrapped.end(),
        Some(9),
        "an asked-for end is not the sidecar's"
    );
}

/// The first command's sidecar ends with it; the second command's requests would fail in silence.
#[test]
fn the_end_of_a_sidecar_that_was_found_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = config(folder.path());
    let first = Wrapped::start(&file, &[]);
    let mut second = Wrapped::start(&file, &[]);
    let mut third = Wrapped::start(&file, &["--on-sidecar-exit", "stop"]);
    assert_eq!(first.end(), Some(9));
    let ended = second.line_with("does not listen any more");
    assert!(ended.ends_with("in 30 s"), "{ended}");
    assert_eq!(second.end(), Some(9));
    third.line_with("so the command was stopped");
    assert_eq!(third.wrap.wait().unwrap().code(), Some(2));
}

#[test]
fn a_running_sidecar_without_the_ca_of_its_config_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = config(folder.path());
    let first = Wrapped::start(&file, &[]);
    let text = std::fs::read_to_string(&file).unwrap();
    let with_ca = "[intercept]\nca = { cert_file = \"ca.pem\", key_file = \"ca.key\" }\n";
    std::fs::write(&file, text.clone() + with_ca).unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(["ca", "init", "--config"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let said = format!("runs without the CA that {} names", file.display());
    let printed = print_variables(&file).1;
    let run = format!("`sms-sidecar run --config {}`", file.display());
    assert!(
        printed.contains(&said) && printed.contains(&run),
        "{printed}"
    );
    let mut second = Wrapped::start(&file, &[]);
    second.line_with(&said);
    assert_eq!(second.end(), Some(9));

    let other = folder.path().join("other.toml");
    std::fs::write(&other, format!("{text}# another\n")).unwrap();
    let printed = print_variables(&other).1;
    let run = format!("`sms-sidecar wrap --config {}`", file.display());
    assert!(
        printed.contains("runs with another config") && printed.contains(&run),
        "{printed}"
    );
    assert_eq!(first.end(), Some(9));
}

#[test]
fn the_command_gets_a_sidecar_and_wrap_returns_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (file, proxy) = config(folder.path());
    // The sidecar listens while the command runs: bash's own TCP client shows it.
    let script = "echo $HTTP_PROXY $https_proxy; echo $NO_PROXY; command -v bash >/dev/null && bash -c \"exec 3<>/dev/tcp/127.0.0.1/${HTTP_PROXY##*:}\" && echo listens; exit 7";
    let mut child = wrap(&file, script);
    let mut printed = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut printed)
        .unwrap();
    let ended = child.wait().unwrap();
    let address = format!("http://127.0.0.1:{proxy}");
    let expected = format!(
        "{address} {address}\ndb.example,localhost,127.0.0.1,::1,.local,.internal,.svc\nlistens\n"
    );
    assert_eq!((printed, ended.code()), (expected, Some(7)));
    assert!(
        TcpStream::connect(("127.0.0.1", proxy)).is_err(),
        "the sidecar ends with the command"
    );
}

#[test]
fn signals_reach_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = config(folder.path());
    let mut child = wrap(
        &file,
        "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done",
    );
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    send_signal(child.id(), Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

/// Standard output and standard error of `wrap --print`.
fn print_variables(config: &Path) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(["wrap", "--print", "--config"])
        .arg(config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// An HTTP server that is not a sidecar, and a server that does not speak HTTP.
#[test]
fn another_program_on_the_port_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlive\n",
        "220 mail.example ESMTP\r\n",
    ] {
        let (file, proxy) = config(folder.path());
        let listener = TcpListener::bind(("127.0.0.1", proxy)).unwrap();
        let other_program = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut request = [0; 512];
                // The client may close before the answer.
                stream
                    .read(&mut request)
                    .and_then(|_| std::io::Write::write_all(&mut stream, answer.as_bytes()))
                    .unwrap_or_default();
            }
        });
        let output = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
            .args(["wrap", "--config"])
            .arg(&file)
            .args(["--", "touch"])
            .arg(folder.path().join("ran"))
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(
            err.contains(&format!(
                "127.0.0.1:{proxy} is in use by a program that is not sms-sidecar"
            )),
            "{err}"
        );
        assert!(!folder.path().join("ran").exists());
        assert!(
            print_variables(&file)
                .1
                .contains("is in use by a program that is not sms-sidecar")
        );
        other_program.join().unwrap();
    }
}

#[test]
fn print_warns_about_what_the_variables_lead_to() {
    let folder = tempfile::tempdir().unwrap();
    let (file, proxy) = config(folder.path());
    let (out, err) = print_variables(&file);
    assert!(
        out.contains(&format!("HTTPS_PROXY=http://127.0.0.1:{proxy}\n")),
        "{out}"
    );
    assert!(
        err.contains(&format!("nothing listens on 127.0.0.1:{proxy} yet")),
        "{err}"
    );
    let command = format!("sms-sidecar ca init --config {}", file.display());
    assert!(
        err.contains("warning: no `[intercept] ca`")
            && err.contains("502")
            && err.contains(&command),
        "{err}"
    );
    let text = std::fs::read_to_string(&file).unwrap()
        + "[intercept]\nca = { cert_file = \"ca.pem\", key_file = \"ca.key\" }\n";
    std::fs::write(&file, text).unwrap();
    assert!(
        print_variables(&file).1.contains("ca.pem does not exist"),
        "{}",
        print_variables(&file).1
    );
    let made = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(["ca", "init", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(made.status.code(), Some(0));
    assert!(
        !print_variables(&file).1.contains("warning"),
        "{}",
        print_variables(&file).1
    );
}

/// A second command recognises the first one's sidecar by its answer, and starts none.
#[test]
fn a_running_sidecar_is_used_and_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let (file, proxy) = config(folder.path());
    let stop = folder.path().join("stop");
    let mut first = wrap(
        &file,
        &format!(
            "echo up; while [ ! -e {} ]; do sleep 0.1; done; exit 3",
            stop.display()
        ),
    );
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    assert!(
        !print_variables(&file).1.contains("listens"),
        "{}",
        print_variables(&file).1
    );
    assert_eq!(wrap(&file, "exit 5").wait().unwrap().code(), Some(5));
    assert!(TcpStream::connect(("127.0.0.1", proxy)).is_ok());
    std::fs::write(stop, "").unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(3));
}
