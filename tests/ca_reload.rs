//! Replaced CA files, with the real binary: `check` and `status` name them as waiting for a reload, `reload` and
//! SIGHUP put them in force, and files that cannot be used leave the CA before them in force, by name.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

#[path = "support/unix_sidecar.rs"]
mod unix_sidecar;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use unix_sidecar::UnixSidecar;

const HOST: &str = "api.twilio.com";
/// How many handshakes may pass until a signal has had its effect.
const MAX_TRIES: usize = 10_000;

/// A running sidecar with a CA.
struct Intercepting {
    sidecar: UnixSidecar,
    folder: PathBuf,
}

/// What a command printed, and its exit code.
struct Ran {
    code: Option<i32>,
    text: String,
}

fn run(config: &Path, command: &[&str]) -> Ran {
    let done = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(command)
        .arg("--config")
        .arg(config)
        .env("COLUMNS", "500")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ran {
        code: done.status.code(),
        text: text.concat(),
    }
}

impl Intercepting {
    fn start() -> Self {
        let mut folder = PathBuf::new();
        let config = |listen: &str, at: &Path| {
            at.clone_into(&mut folder);
            let (path, file) = (at.display(), at.join("config.toml"));
            let text = format!(
                "mode = \"observe\"\n{listen}control = \"{path}/control.sock\"\n[intercept]\n\
                 ca = {{ cert_file = \"{path}/ca.pem\", key_file = \"{path}/ca.key\" }}\n\
                 [providers.twilio]\ndialect = \"twilio\"\n"
            );
            fs::write(&file, &text).unwrap();
            let made = run(&file, &["ca", "init"]);
            assert_eq!(made.code, Some(0), "{}", made.text);
            text
        };
        let mut sidecar = UnixSidecar::start(config, Stdio::null());
        drop(sidecar.connect());
        Self { sidecar, folder }
    }

    fn run(&self, command: &[&str]) -> Ran {
        run(&self.folder.join("config.toml"), command)
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.join("ca.pem")).unwrap()
    }

    /// Replaces the files by another CA. Returns its certificate.
    fn replace_ca(&self) -> CertificateDer<'static> {
        for file in ["ca.pem", "ca.key"] {
            fs::remove_file(self.folder.join(file)).unwrap();
        }
        let made = self.run(&["ca", "init"]);
        assert_eq!(made.code, Some(0), "{}", made.text);
        self.certificate()
    }

    /// Whether a client that trusts this CA alone accepts the certificate for a provider's host.
    fn serves(&mut self, ca: &CertificateDer<'static>) -> bool {
        let mut stream = self.sidecar.connect();
        write!(
            stream,
            "CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 200"));
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = ServerName::try_from(HOST).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), host).unwrap();
        while client.is_handshaking() {
            if client.complete_io(&mut stream).is_err() {
                return false;
            }
        }
        true
    }

    /// What `check` and `status` say of files that wait for a reload.
    fn waiting(&self) -> [bool; 2] {
        let check = self.run(&["check"]);
        let status = self.run(&["status"]);
        let file = self.folder.join("ca.pem");
        let file = file.display();
        [
            check
                .text
                .contains(&format!("does not use {file} as it is now"))
                && check.text.contains("sms-sidecar reload"),
            status.text.contains(&format!("{file} was changed at"))
                && status.text.contains("sms-sidecar reload"),
        ]
    }
}

#[test]
fn a_replaced_ca_waits_by_name_until_a_reload_puts_it_in_force() {
    let mut own = Intercepting::start();
    let first = own.certificate();
    assert!(own.serves(&first));
    assert_eq!(own.waiting(), [false, false]);

    let second = own.replace_ca();
    assert!(own.serves(&first) && !own.serves(&second), "not before");
    assert_eq!(own.waiting(), [true, true]);
    let reloaded = own.run(&["reload"]);
    assert_eq!(reloaded.code, Some(0), "{}", reloaded.text);
    assert!(reloaded.text.contains("is in force"), "{}", reloaded.text);
    assert!(own.serves(&second) && !own.serves(&first));
    assert_eq!(own.waiting(), [false, false]);

    let third = own.replace_ca();
    assert_eq!(own.waiting(), [true, true]);
    kill_process(Pid::from_child(&own.sidecar.child), Signal::HUP).unwrap();
    assert!((0..MAX_TRIES).any(|_| own.serves(&third)));
    assert!(!own.serves(&second));
    assert_eq!(own.waiting(), [false, false]);
}

#[test]
fn ca_files_that_cannot_be_used_are_named_and_the_ca_before_them_stays() {
    let mut own = Intercepting::start();
    let first = own.certificate();
    let key = fs::read(own.folder.join("ca.key")).unwrap();
    let second = own.replace_ca();
    // The certificate of one, the key of the other.
    fs::write(own.folder.join("ca.key"), key).unwrap();
    for command in ["check", "reload"] {
        let refused = own.run(&[command]);
        assert_eq!(refused.code, Some(1), "{command}: {}", refused.text);
        assert!(
            refused.text.contains("ca.key"),
            "{command}: {}",
            refused.text
        );
    }
    let status = own.run(&["status"]).text;
    assert!(
        status.contains("The reload of") && status.contains("the config before it stays in force"),
        "{status}"
    );
    assert!(own.serves(&first) && !own.serves(&second));
}
