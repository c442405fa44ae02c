//! What a person sees on a terminal of 80 columns: no line is longer, except one that holds nothing but a command,
//! a path or an address; and a pipe gets every line whole.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

const WIDTH: usize = 80;

/// Two ends of a terminal: ours, and the one that a command writes to.
fn terminal(width: usize) -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: width.try_into().unwrap(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size).unwrap();
    (ours, theirs)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"));
    command.args(arguments).env_remove("COLUMNS");
    command
}

/// What the command shows on a terminal, without colours.
fn shown(mut command: Command, width: usize, input: &str) -> String {
    let (ours, theirs) = terminal(width);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(theirs.try_clone().unwrap())
        .stderr(theirs)
        .spawn()
        .unwrap();
    // The command holds the terminal open until it is dropped.
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let mut bytes = Vec::new();
    // Linux reports the end of a terminal as an error.
    File::from(ours).read_to_end(&mut bytes).unwrap_or_default();
    child.wait().unwrap();
    let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    anstream::adapter::strip_str(&text).to_string()
}

/// What the command writes into a pipe.
fn piped(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Whether the line has nothing at which it could be broken.
fn is_whole(line: &str) -> bool {
    let text = line.trim_start();
    let is_command = ["sms-sidecar ", "curl ", "bao ", "kill "]
        .iter()
        .any(|program| text.starts_with(program));
    let is_code = text
        .strip_prefix('`')
        .and_then(|code| code.split_once('`'))
        .is_some_and(|(_, after)| !after.contains(' '));
    let gutter = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_source = gutter.trim_start().starts_with("| ");
    is_command || is_code || is_source || !text.contains(' ')
}

fn assert_fits(what: &str, text: &str) {
    assert!(!text.trim().is_empty(), "{what} shows nothing");
    for line in text.lines() {
        let columns = textwrap::core::display_width(line);
        assert!(
            columns <= WIDTH || is_whole(line),
            "{what}: {columns} columns: {line}\n{text}"
        );
    }
}

/// A running sidecar; nothing listens where its services should be.
struct Scene {
    child: Child,
    folder: TempDir,
}

impl Scene {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scene = |name: &str| folder.path().join(name).display().to_string();
        let files = [
            "--vault-file".to_owned(),
            scene("vault.age"),
            "--key-file".to_owned(),
            scene("vault.key"),
        ];
        let mut init = command(&["vault", "init"]);
        assert!(init.args(&files).output().unwrap().status.success());
        for (path, fields) in [
            ("sms/twilio", "account_sid auth_token"),
            ("sms/eskiz", "email password"),
        ] {
            let mut set = command(&["vault", "set", path]);
            set.args(fields.split(' ')).arg("--stdin").args(&files);
            let mut child = set
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin
                .write_all(
                    b"AC0123456789abcdef0123456789abcdef\n0123456789abcdef0123456789abcdef\n",
                )
                .unwrap();
            drop(stdin);
            assert!(child.wait().unwrap().success());
        }
        let config = format!(
            "[listen]\nproxy = \"off\"\nadmin = \"off\"\ncontrol = \"{}\"\nunix = \"{}\"\n\
             [vaults.local.embedded]\nfile = \"{}\"\nkey_file = \"{}\"\n\
             [providers.twilio]\ndialect = \"twilio\"\nbase_url = \"http://127.0.0.1:9\"\ninsecure_http = true\nsender = \"+12025550123\"\ncredential = {{ vault = \"local\", path = \"sms/twilio\" }}\n\
             [providers.eskiz]\ndialect = \"eskiz\"\nbase_url = \"http://127.0.0.1:9\"\ninsecure_http = true\nsender = \"4546\"\ncredential = {{ vault = \"local\", path = \"sms/eskiz\" }}\n\
             [[routes]]\nname = \"all\"\nproviders = [\"eskiz\", \"twilio\"]\n",
            scene("control.sock"),
            scene("sidecar.sock"),
            scene("vault.age"),
            scene("vault.key"),
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let mut scene = Self {
            child: command(&["run", "--config", &scene("config.toml")])
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
            folder,
        };
        while UnixStream::connect(scene.file("control.sock")).is_err() {
            assert!(scene.child.try_wait().unwrap().is_none(), "it has ended");
            thread::yield_now();
        }
        scene
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with the config of this sidecar.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--config").arg(self.file("config.toml"));
        command
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

#[test]
fn help_and_offline_commands_fit() {
    let reply = r#"{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}"#;
    for (arguments, input) in [
        ("--help", ""),
        ("check --help", ""),
        ("ca --help", ""),
        ("doctor --help", ""),
        ("config --help", ""),
        ("dialects --help", ""),
        ("diagnose --help", ""),
        ("run --help", ""),
        ("vault --help", ""),
        ("vault import-env --help", ""),
        ("vault set --help", ""),
        ("demo --help", ""),
        ("send --help", ""),
        ("status --help", ""),
        ("pause --help", ""),
        ("reload --help", ""),
        ("wrap --help", ""),
        ("status --nonsense", ""),
        ("doctor --quiet --json", ""),
        ("diagnose --dialect twilio --status 401", reply),
        ("diagnose --dialect nobody --status 401", reply),
        ("dialects", ""),
        ("dialects show twilio", ""),
        ("dialects show playmobile --causes", ""),
        (
            "status --control /nowhere/at/all/in/a/long/path/control.sock",
            "",
        ),
        (
            "vault list --vault-file /nowhere/vault.age --key-file /nowhere/vault.key",
            "",
        ),
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        assert_fits(arguments, &shown(command(&words), WIDTH, input));
    }
}

#[test]
fn commands_about_a_sidecar_fit() {
    let scene = Scene::start();
    let number = [
        "send",
        "--to",
        "+998901234567",
        "--text",
        "a test of the line",
    ];
    for arguments in [
        &number[..],
        &["status"],
        &["doctor"],
        &["doctor", "--quiet"],
        &["check", "--vault"],
        &["reload"],
        &["pause", "twilio"],
        &["status"],
        &["resume", "twilio"],
        &["pause", "nobody"],
        &["wrap", "--print"],
        &["vault", "list", "--vault", "local"],
        &["ca", "show"],
    ] {
        let what = arguments.join(" ");
        assert_fits(&what, &shown(scene.command(arguments), WIDTH, ""));
    }
    let file = scene.file("config.toml");
    let broken = std::fs::read_to_string(&file).unwrap().replace("sender = \"4546\"", "sendr = \"4546\"\nvalue_of_a_key_that_nobody_knows = \"and whose line is longer than the terminal is wide, by far\"");
    std::fs::write(&file, broken).unwrap();
    for arguments in [&["check"][..], &["reload"], &["doctor"], &["status"]] {
        let what = arguments.join(" ");
        assert_fits(&what, &shown(scene.command(arguments), WIDTH, ""));
    }
}

#[test]
fn every_command_of_a_remedy_stands_alone_on_a_line() {
    let scene = Scene::start();
    let report: serde_json::Value =
        serde_json::from_str(&piped(scene.command(&["doctor", "--json"]))).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let commands: Vec<&str> = checks
        .iter()
        .flat_map(|check| check["steps"].as_array().unwrap())
        .filter_map(|step| step["command"].as_str())
        .collect();
    assert!(commands.len() > 1, "{report}");
    let narrow = shown(scene.command(&["doctor"]), 40, "");
    let wide = piped(scene.command(&["doctor"]));
    for command in commands {
        for text in [&narrow, &wide] {
            assert!(
                text.lines().any(|line| line.trim() == command),
                "{command}: {text}"
            );
        }
    }
}

#[test]
fn a_pipe_gets_its_lines_whole() {
    let scene = Scene::start();
    let whole = piped(scene.command(&["doctor", "--provider", "twilio"]));
    assert!(whole.lines().any(|line| line.len() > WIDTH), "{whole}");
    let mut narrow = scene.command(&["doctor", "--provider", "twilio"]);
    narrow.env("COLUMNS", "40");
    assert_eq!(piped(narrow).lines().count(), whole.lines().count());
    let mut help = command(&["doctor", "--help"]);
    help.env("COLUMNS", "40");
    assert_eq!(piped(help), piped(command(&["doctor", "--help"])));
}

#[test]
fn a_terminal_may_be_narrowed_by_its_variable() {
    let longest = |columns: &str| {
        let mut command = command(&["doctor", "--help"]);
        command.env("COLUMNS", columns);
        let text = shown(command, 100, "");
        text.lines()
            .map(textwrap::core::display_width)
            .max()
            .unwrap()
    };
    assert!(longest("60") <= 60);
    assert!((81..=100).contains(&longest("100")));
}
