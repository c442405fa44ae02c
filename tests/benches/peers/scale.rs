//! How the sidecar grows with its config: `cargo bench --bench peers -- scale` compares one provider with a hundred, and
//! the built-in descriptions with 200 loaded ones. Each config runs beside the others; they take turns in every round.

use std::fmt::Write;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use regex::Regex;
use sms_sidecar::clock::SystemClock;

use crate::load::Client;
use crate::peer::{PEERS, prepare_sidecar};
use crate::process::{Prepared, Process, free_address};
use crate::service;

const HEAD: &str =
    "| config | start, ms | CPU of the start, ms | Pss, MiB | `/metrics`, KB | CPU µs a request |
| --- | --- | --- | --- | --- | --- |
";

/// How often each config is started, and each load repeated.
const ROUNDS: usize = 7;
/// Requests a second, and for how long.
const LOAD: (u32, u32) = (2_000, 2);
/// The descriptions that the larger config loads, the built-in ones among them.
const DIALECTS: usize = 200;

/// What is measured: a config, with this name in the table.
struct Config {
    name: &'static str,
    providers: usize,
    dialects: Option<usize>,
}

const CONFIGS: [Config; 3] = [
    Config {
        name: "1 provider",
        providers: 1,
        dialects: None,
    },
    Config {
        name: "100 providers",
        providers: 100,
        dialects: None,
    },
    Config {
        name: "200 dialects",
        providers: 1,
        dialects: Some(DIALECTS),
    },
];

/// A config and its figures.
struct Turn {
    config: &'static Config,
    prepared: Prepared,
    client: Client,
    starts: Vec<f64>,
    start_cpu: Vec<f64>,
    costs: Vec<f64>,
    memory_mib: f64,
    metrics_kb: f64,
}

/// Measures every config and prints the table.
pub(crate) fn run(sidecar: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let service = service::start();
    let mut turns: Vec<Turn> = CONFIGS
        .iter()
        .map(|config| Turn::new(config, sidecar, folder.path(), service))
        .collect();
    let clock = SystemClock::start();
    let processes: Vec<Process> = turns
        .iter()
        .map(|turn| turn.prepared.start(&turn.client, &clock).0)
        .collect();
    for _ in 0..ROUNDS {
        for (turn, process) in turns.iter_mut().zip(&processes) {
            let (rate, seconds) = LOAD;
            let cost = process.cost_of(|| turn.client.open_loop(rate, seconds));
            turn.costs.push(cost.cpu_us);
        }
    }
    let mut table = HEAD.to_owned();
    for turn in &mut turns {
        let [start, cpu, cost] =
            [&mut turn.starts, &mut turn.start_cpu, &mut turn.costs].map(|it| median(it));
        let Turn {
            memory_mib,
            metrics_kb,
            ..
        } = turn;
        writeln!(
            table,
            "| {} | {start:.0} | {cpu:.1} | {memory_mib:.1} | {metrics_kb:.0} | {cost:.1} |",
            turn.config.name
        )
        .unwrap();
    }
    table
}

impl Turn {
    /// Starts the config several times while no other one runs, because processes share the memory of their program.
    fn new(config: &'static Config, sidecar: &Path, root: &Path, service: SocketAddr) -> Self {
        let folder = root.join(config.name.replace(' ', "-"));
        let [listen, admin] = [free_address(), free_address()];
        let prepared = config.prepare(sidecar, &folder, [listen, admin, service]);
        let native = PEERS.iter().find(|peer| peer.name == "native").unwrap();
        let mut turn = Self {
            config,
            prepared,
            client: Client::new(native, &folder, listen, service),
            starts: Vec::new(),
            start_cpu: Vec::new(),
            costs: Vec::new(),
            memory_mib: 0.0,
            metrics_kb: 0.0,
        };
        let clock = SystemClock::start();
        for _ in 0..ROUNDS {
            let (process, start) = turn.prepared.start(&turn.client, &clock);
            turn.start_cpu.push(process.cpu().as_secs_f64() * 1e3);
            turn.starts.push(start);
            turn.memory_mib = process.memory_mib();
            turn.metrics_kb =
                f64::from(metrics_bytes(TcpStream::connect(admin).unwrap(), admin)) / 1e3;
        }
        turn
    }
}

impl Config {
    /// Writes the config, its descriptions and its vault.
    fn prepare(
        &self,
        sidecar: &Path,
        folder: &Path,
        [listen, admin, service]: [SocketAddr; 3],
    ) -> Prepared {
        fs::create_dir(folder).unwrap();
        let at = folder.display();
        let mut text = String::new();
        if let Some(dialects) = self.dialects {
            write_descriptions(&folder.join("dialects"), dialects);
            writeln!(text, "dialects = \"{at}/dialects\"").unwrap();
        }
        write!(
            text,
            "[listen]\nproxy = \"{listen}\"\nadmin = \"{admin}\"\n[log]\nlevel = \"error\"\n[vaults.local]\n\
             embedded = {{ file = \"{at}/vault.age\", key_file = \"{at}/vault.key\" }}\n"
        )
        .unwrap();
        for number in 0..self.providers {
            let (dialect, path, sender) = if number % 2 == 0 {
                ("playmobile", "broker-api", "3700")
            } else {
                ("twilio", "2010-04-01", "+15005550006")
            };
            write!(
                text,
                "[providers.account-{number}]\ndialect = \"{dialect}\"\nbase_url = \"http://{service}/{path}\"\n\
                 insecure_http = true\ncredential = {{ vault = \"local\", path = \"{dialect}\" }}\nsender = \"{sender}\"\n"
            )
            .unwrap();
        }
        let ids: Vec<String> = (0..self.providers)
            .map(|number| format!("\"account-{number}\""))
            .collect();
        let ids = ids.join(", ");
        write!(text, "[[routes]]\nname = \"all\"\nproviders = [{ids}]\n").unwrap();
        let config = folder.join("config.toml");
        fs::write(&config, text).unwrap();
        prepare_sidecar(sidecar, &config, false);
        let words = ["run", "--config", &config.display().to_string()].map(str::to_owned);
        Prepared {
            command: Some((sidecar.to_owned(), words.to_vec())),
            log: folder.join("log"),
        }
    }
}

/// Renamed copies of the built-in descriptions, so that this many are loaded with them.
fn write_descriptions(folder: &Path, wanted: usize) {
    fs::create_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir("config/dialects")
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let name = Regex::new("(?m)^dialect *= *\"").unwrap();
    for number in files.len()..wanted {
        let text = fs::read_to_string(files.get(number % files.len()).unwrap()).unwrap();
        let renamed = name.replace(&text, format!("${{0}}copy-{number}-"));
        fs::write(folder.join(format!("copy-{number}.toml")), &*renamed).unwrap();
    }
}

/// Reads `/metrics` over a connection to the admin address; returns the bytes of the reply.
pub(crate) fn metrics_bytes(mut stream: TcpStream, admin: SocketAddr) -> u32 {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    u32::try_from(reply.len()).unwrap()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
