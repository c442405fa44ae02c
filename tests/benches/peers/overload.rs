//! What the sidecar does beyond its capacity: `cargo bench --bench peers -- overload` measures the peak, and then sends
//! three times as much in an open loop over more connections than the sidecar accepts. Where the load cannot send as
//! much from its core, measure a build that is slower (`--sidecar target/debug/sms-sidecar`): what counts is the shape.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sms_sidecar::clock::{Clock, SystemClock};

use crate::Options;
use crate::load::Client;
use crate::peer::{CONFIG_FILE, PEERS};
use crate::process::free_address;
use crate::scale::metrics_bytes;
use crate::service;

/// Connections of the closed loop that finds the peak.
const PEAK_CONNECTIONS: usize = 64;
/// Connections of the overload; the sidecar accepts 1,024.
const CONNECTIONS: usize = 2_000;
const FACTOR: u32 = 3;
/// How often `/metrics` is read meanwhile.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(200);

/// Measures it and returns the report.
pub(crate) fn run(options: &Options) -> String {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("overload");
    let service = service::start();
    let listen = free_address();
    let native = PEERS.iter().find(|peer| peer.name == "native").unwrap();
    let prepared = native.prepare(&folder, listen, service, options);
    let admin = limit_connections(&folder.join(CONFIG_FILE));
    let client = Client::new(native, &folder, listen, service);
    let clock = SystemClock::start();
    let (process, _) = prepared.start(&client, &clock);
    let peak = client.closed_loop(PEAK_CONNECTIONS, options.seconds);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is small and positive"
    )]
    let rate = peak.rate as u32 * FACTOR;
    let is_done = AtomicBool::new(false);
    let (flood, slowest_scrape) = std::thread::scope(|scope| {
        let scrapes = scope.spawn(|| slowest_scrape(admin, &is_done));
        let flood = client.flood(rate, options.seconds, CONNECTIONS);
        is_done.store(true, Ordering::SeqCst);
        (flood, scrapes.join().unwrap())
    });
    drop(process);
    let goodput = flood.answered.rate;
    format!(
        "peak {:.0}/s, p99 {:.1} ms\nasked for {rate}/s, sent {:.0}/s: goodput {goodput:.0}/s, {:.2} of the peak; p99 of the accepted {:.1} ms; shed {}\n\
         slowest answer of /metrics {:.1} ms\n",
        peak.rate,
        peak.p99_us / 1e3,
        f64::from(flood.answered.requests + flood.shed) / flood.took,
        goodput / peak.rate,
        flood.answered.p99_us / 1e3,
        flood.shed,
        slowest_scrape.as_secs_f64() * 1e3,
    )
}

/// Leaves the limit of connections at its default; returns the admin address.
fn limit_connections(config: &Path) -> SocketAddr {
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, text.replace("connections = 6000", "")).unwrap();
    let admin = text.lines().find_map(|line| line.strip_prefix("admin = "));
    admin.unwrap().trim_matches('"').parse().unwrap()
}

fn slowest_scrape(admin: SocketAddr, is_done: &AtomicBool) -> Duration {
    let clock = SystemClock::start();
    let mut slowest = Duration::ZERO;
    while !is_done.load(Ordering::SeqCst) {
        let began = clock.now();
        let stream = TcpStream::connect(admin).unwrap();
        assert!(metrics_bytes(stream, admin) > 0);
        slowest = slowest.max(clock.now().since(began));
        std::thread::sleep(SCRAPE_INTERVAL);
    }
    slowest
}
