//! The peers: what each is started with, and the request that it gets.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Options;
use crate::process::{Prepared, find_program, free_address};

/// The config of every peer. Envoy needs the ending; the others do not look at it.
pub(crate) const CONFIG_FILE: &str = "config.yaml";

/// One peer.
pub(crate) struct Peer {
    /// Its name on the command line and in the table.
    pub(crate) name: &'static str,
    kind: Kind,
}

/// What is started.
enum Kind {
    /// Nothing: the load goes to the service.
    Direct,
    /// A minimal proxy on the sidecar's HTTP library.
    Minimal,
    /// A program of the system with a config file.
    Program(&'static str, &'static [&'static str], &'static str),
    /// The sidecar.
    Sidecar(Step),
}

/// One way in which the sidecar works.
struct Step {
    providers: &'static str,
    entry: Entry,
    level: &'static str,
    traces: bool,
}

/// How a request gets to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// With the peer's address as base URL, below this path.
    BaseUrl(&'static str),
    /// By CONNECT to the service's own host, with TLS inside.
    Connect,
}

const NATIVE: Step = Step {
    providers: "\"accepting\"",
    entry: Entry::BaseUrl("/playmobile"),
    level: "warn",
    traces: false,
};

/// Every peer, in the order of the table.
pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: "direct",
        kind: Kind::Direct,
    },
    Peer {
        name: "minimal",
        kind: Kind::Minimal,
    },
    Peer {
        name: "nginx",
        kind: Kind::Program(
            "nginx",
            &["-p", "@FOLDER@", "-c", "@CONFIG@"],
            include_str!("nginx.conf"),
        ),
    },
    Peer {
        name: "haproxy",
        kind: Kind::Program(
            "haproxy",
            &["-db", "-f", "@CONFIG@"],
            include_str!("haproxy.cfg"),
        ),
    },
    Peer {
        name: "envoy",
        kind: Kind::Program(
            "envoy",
            &[
                "-c",
                "@CONFIG@",
                "--concurrency",
                "1",
                "--log-level",
                "error",
                "--disable-hot-restart",
            ],
            include_str!("envoy.yaml"),
        ),
    },
    Peer {
        name: "native",
        kind: Kind::Sidecar(NATIVE),
    },
    Peer {
        name: "translated",
        kind: Kind::Sidecar(Step {
            providers: "\"twilio\"",
            ..NATIVE
        }),
    },
    Peer {
        name: "connect",
        kind: Kind::Sidecar(Step {
            entry: Entry::Connect,
            ..NATIVE
        }),
    },
    Peer {
        name: "failover",
        kind: Kind::Sidecar(Step {
            providers: "\"rejecting\", \"accepting\"",
            ..NATIVE
        }),
    },
    Peer {
        name: "log",
        kind: Kind::Sidecar(Step {
            level: "info",
            ..NATIVE
        }),
    },
    Peer {
        name: "traces",
        kind: Kind::Sidecar(Step {
            traces: true,
            ..NATIVE
        }),
    },
];

impl Peer {
    /// Whether a process is started.
    pub(crate) const fn is_started(&self) -> bool {
        !matches!(self.kind, Kind::Direct)
    }

    /// How a request gets to it.
    pub(crate) const fn entry(&self) -> Entry {
        match &self.kind {
            Kind::Sidecar(step) => step.entry,
            Kind::Direct | Kind::Minimal | Kind::Program(..) => Entry::BaseUrl(""),
        }
    }

    /// Writes its files into `folder`.
    pub(crate) fn prepare(
        &self,
        folder: &Path,
        listen: SocketAddr,
        service: SocketAddr,
        options: &Options,
    ) -> Prepared {
        fs::create_dir(folder).unwrap();
        let filled = |text: &str| fill(text, folder, listen, service);
        let config = folder.join(CONFIG_FILE);
        let command = match &self.kind {
            Kind::Direct => None,
            Kind::Minimal => {
                let this = std::env::current_exe().unwrap();
                let words = [
                    "minimal-hop".to_owned(),
                    listen.to_string(),
                    service.to_string(),
                ];
                Some((this, words.to_vec()))
            }
            Kind::Program(name, arguments, text) => {
                fs::write(&config, filled(text)).unwrap();
                let arguments = arguments.iter().map(|it| filled(it)).collect();
                Some((find_program(Path::new(name)), arguments))
            }
            Kind::Sidecar(step) => {
                let program = PathBuf::from(&options.sidecar);
                fs::write(&config, filled(&step.fill(include_str!("sidecar.toml")))).unwrap();
                prepare_sidecar(&program, &config, step.entry == Entry::Connect);
                let arguments = ["run".to_owned(), "--config".to_owned(), filled("@CONFIG@")];
                Some((program, arguments.to_vec()))
            }
        };
        Prepared {
            command,
            log: folder.join("log"),
        }
    }
}

impl Step {
    fn fill(&self, text: &str) -> String {
        let intercept =
            "[intercept]\nca = { cert_file = \"@FOLDER@/ca.pem\", key_file = \"@FOLDER@/ca.key\" }";
        let traces = "[traces]\nendpoint = \"http://@SERVICE@\"";
        let if_so = |condition, text| if condition { text } else { "" };
        text.replace("@PROVIDERS@", self.providers)
            .replace("@LEVEL@", self.level)
            .replace(
                "@INTERCEPT@",
                if_so(self.entry == Entry::Connect, intercept),
            )
            .replace("@TRACES@", if_so(self.traces, traces))
    }
}

fn fill(text: &str, folder: &Path, listen: SocketAddr, service: SocketAddr) -> String {
    text.replace("@CONFIG@", &folder.join(CONFIG_FILE).display().to_string())
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@LISTEN@", &listen.to_string())
        .replace("@LISTEN_PORT@", &listen.port().to_string())
        .replace("@ADMIN@", &free_address().to_string())
        .replace("@SERVICE@", &service.to_string())
        .replace("@SERVICE_PORT@", &service.port().to_string())
}

/// Creates the vault and, where it is used, the CA.
pub(crate) fn prepare_sidecar(program: &Path, config: &Path, with_ca: bool) {
    let run = |words: &[&str], input: &str| {
        let mut command = Command::new(program);
        command.args(words).arg("--config").arg(config);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success(), "{words:?}");
    };
    let sid = "AC0123456789abcdef0123456789abcdef\n0123456789abcdef0123456789abcdef\n";
    run(&["vault", "init"], "");
    run(
        &[
            "vault",
            "set",
            "playmobile",
            "username",
            "password",
            "--stdin",
        ],
        "backend\na-password\n",
    );
    run(
        &[
            "vault",
            "set",
            "twilio",
            "account_sid",
            "auth_token",
            "--stdin",
        ],
        sid,
    );
    if with_ca {
        run(&["ca", "init"], "");
    }
}
