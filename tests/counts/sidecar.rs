//! The config of the sidecar that is counted: accounts at two services, and a route for each way of a message.

use std::fmt::Write;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;

use sms_sidecar::app::App;
use sms_sidecar::config::check_text;
use sms_sidecar::dialect::Catalog;
use sms_sidecar::telemetry::{BuildInfo, LogWriter, log};
use tempfile::TempDir;

use crate::load::{Backend, WAYS};

/// A config and its vault. It listens on one address.
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) file: PathBuf,
    text: String,
    _folder: TempDir,
}

impl Config {
    /// Writes the config of a sidecar for `service`.
    pub(crate) fn write(service: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vault = folder.path().join("vault");
        for (field, value) in [
            ("playmobile/username", "backend"),
            ("playmobile/password", "a-password"),
            ("twilio/account_sid", "AC0123456789abcdef0123456789abcdef"),
            ("twilio/auth_token", "0123456789abcdef0123456789abcdef"),
        ] {
            let file = vault.join(field);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, value).unwrap();
        }
        let listen = free_address();
        let text = text(listen, service, &vault);
        let file = folder.path().join("config.toml");
        fs::write(&file, &text).unwrap();
        Self {
            listen,
            file,
            text,
            _folder: folder,
        }
    }

    /// Serves in this process until it ends, with the log of `run` to nowhere.
    pub(crate) fn serve_here(&self) {
        let (config, problems) = check_text("config.toml", &self.text, &Catalog::built_in());
        let config = config.unwrap_or_else(|| panic!("{problems:?}"));
        let writer = LogWriter::start(std::io::sink()).unwrap();
        log::init(log::Format::Json, config.log.level, writer).unwrap();
        let app = App::build(&self.file, config, BuildInfo::default()).unwrap();
        thread::spawn(|| app.serve().unwrap());
    }

    /// A backend with a connection, as soon as the sidecar listens; `check` fails if it never will.
    pub(crate) fn backend(&self, recipients: &str, mut check: impl FnMut()) -> Backend {
        loop {
            if let Some(backend) = Backend::connect(self.listen, recipients) {
                return backend;
            }
            check();
            thread::yield_now();
        }
    }
}

fn text(listen: SocketAddr, service: SocketAddr, vault: &Path) -> String {
    let mut text = format!(
        "[listen]\nproxy = \"{listen}\"\nadmin = \"off\"\n[log]\nformat = \"json\"\n\
         [vaults.local]\ndirectory = {{ path = \"{}\" }}\n",
        vault.display()
    );
    for (name, dialect, path, sender) in [
        ("accepting", "playmobile", "broker-api", "3700"),
        ("rejecting", "playmobile", "rejecting/broker-api", "3700"),
        ("twilio", "twilio", "2010-04-01", "+12025550123"),
    ] {
        writeln!(
            text,
            "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"http://{service}/{path}\"\ninsecure_http = true\n\
             credential = {{ vault = \"local\", path = \"{dialect}\" }}\nsender = \"{sender}\""
        )
        .unwrap();
    }
    let providers = [
        "\"accepting\"",
        "\"twilio\"",
        "\"rejecting\", \"accepting\"",
    ];
    for ((name, recipients), providers) in WAYS.iter().zip(providers) {
        writeln!(
            text,
            "[[routes]]\nname = \"{name}\"\nrecipients = [\"{recipients}\"]\nproviders = [{providers}]"
        )
        .unwrap();
    }
    text
}

/// A free address on loopback.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
