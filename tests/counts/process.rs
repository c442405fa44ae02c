//! The memory and the start of the real binary, with wide limits: machines differ, and the binary is not optimised.

use std::process::{Child, Command, Stdio};

use sms_sidecar::clock::{Clock, SystemClock};

use crate::allocations::alone;
use crate::bands::{Figure, hold};
use crate::load::{Backend, start_service};
use crate::sidecar::Config;

const STARTS: usize = 5;
const CONNECTIONS: u32 = 200;

/// Ends with the test.
struct Sidecar(Child);

impl Sidecar {
    fn start(config: &Config) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
            .args(["run", "--config"])
            .arg(&config.file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn backend(&mut self, config: &Config) -> Backend {
        config.backend("99890", || {
            assert!(self.0.try_wait().unwrap().is_none(), "it has ended");
        })
    }

    /// A field of `/proc/…/status`; unlike the proportional share, everyone may read it.
    fn status(&self, field: &str) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn figure(kind: &'static str, of: &str, value: f64) -> Figure {
    let of = of.to_owned();
    Figure { kind, of, value }
}

#[test]
fn memory_and_start_are_within_their_bands() {
    let _alone = alone();
    let clock = SystemClock::start();
    let config = Config::write(start_service());
    let mut figures = Vec::new();
    let starts = [(); STARTS].map(|()| {
        let began = clock.now();
        let mut sidecar = Sidecar::start(&config);
        drop(sidecar.backend(&config));
        clock.now().since(began).as_secs_f64() * 1e3
    });
    let least = starts.into_iter().fold(f64::INFINITY, f64::min);
    figures.push(figure("milliseconds", "exec to the first answer", least));

    let mut sidecar = Sidecar::start(&config);
    let mut backend = sidecar.backend(&config);
    let idle = sidecar.status("RssAnon:");
    figures.push(figure("memory_kib", "own, idle", idle));
    figures.push(figure(
        "memory_kib",
        "with the program, idle",
        sidecar.status("VmRSS:"),
    ));
    figures.push(figure("threads", "idle", sidecar.status("Threads:")));
    let mut open: Vec<Backend> = (0..CONNECTIONS).map(|_| sidecar.backend(&config)).collect();
    let each = (sidecar.status("RssAnon:") - idle) / f64::from(CONNECTIONS);
    figures.push(figure("memory_kib", "one idle connection", each));
    open.iter_mut().for_each(Backend::send);
    backend.send();
    hold(&figures);
}
