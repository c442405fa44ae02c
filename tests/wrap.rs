//! `sms-sidecar wrap`: the command sees the variables, a sidecar runs beside it, its exit code
//! comes back and signals reach it.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn config(folder: &Path) -> (PathBuf, u16) {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (proxy, admin) = (free(), free());
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
fn the_command_is_led_to_a_sidecar_and_its_exit_code_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (file, proxy) = config(folder.path());
    // The sidecar answers while the command runs: bash's own TCP is enough to see that it listens.
    let script = "echo $HTTP_PROXY $https_proxy; echo $NO_PROXY; command -v bash >/dev/null && bash -c \"exec 3<>/dev/tcp/127.0.0.1/${HTTP_PROXY##*:}\" && echo listens; exit 7";
    let mut child = wrap(&file, script);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let ended = child.wait().unwrap();
    let address = format!("http://127.0.0.1:{proxy}");
    let expected = format!("{address} {address}\ndb.example,localhost,127.0.0.1,::1,.local,.internal,.svc\nlistens\n");
    assert_eq!((said, ended.code()), (expected, Some(7)));
    assert!(std::net::TcpStream::connect(("127.0.0.1", proxy)).is_err(), "its own sidecar ends with the command");
}

#[test]
fn signals_reach_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = config(folder.path());
    let mut child = wrap(&file, "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}
