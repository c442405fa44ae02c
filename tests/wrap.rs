//! `sms-sidecar wrap`: the command gets the proxy variables, a sidecar runs beside it, its exit
//! code is returned, and signals reach it.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
        std::net::TcpStream::connect(("127.0.0.1", proxy)).is_err(),
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
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
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
    assert!(std::net::TcpStream::connect(("127.0.0.1", proxy)).is_ok());
    std::fs::write(stop, "").unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(3));
}
