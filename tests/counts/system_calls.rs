//! The system calls of a request in the real binary, counted by strace: the difference of two runs, so that the start
//! and the end do not count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::allocations::alone;
use crate::bands::{Figure, hold};
use crate::load::{WAYS, start_service};
use crate::sidecar::Config;

/// The requests of the two runs.
const FEW: u32 = 50;
const MANY: u32 = 450;
/// Calls that are counted together.
struct Group {
    kind: &'static str,
    name: &'static str,
    calls: &'static [&'static str],
}

/// The groups; everything else is the last one. A thread writes to an event descriptor, or calls futex, to wake another
/// one; how often it finds it awake differs from run to run.
const GROUPS: [Group; 5] = [
    Group {
        kind: "system_calls",
        name: "reads",
        calls: &["read", "readv", "recvfrom", "recvmsg"],
    },
    Group {
        kind: "system_calls",
        name: "sends",
        calls: &["writev", "sendto", "sendmsg"],
    },
    Group {
        kind: "wakes",
        name: "waits",
        calls: &["epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl"],
    },
    Group {
        kind: "wakes",
        name: "wakes",
        calls: &["write", "futex"],
    },
    Group {
        kind: "system_calls",
        name: "other",
        calls: &[],
    },
];
const REMEDY: &str = "strace must be installed (run tests/setup, or apt-get install strace) and may trace its own children: \
     start a container with `--cap-add SYS_PTRACE`, and set /proc/sys/kernel/yama/ptrace_scope to at most 1";

impl Group {
    fn sum(&self, calls: &BTreeMap<String, u32>) -> f64 {
        let is_ours = |name: &str| {
            let named = |group: &Group| group.calls.contains(&name);
            named(self) || self.calls.is_empty() && !GROUPS.iter().any(named)
        };
        let ours = calls.iter().filter(|(name, _)| is_ours(name));
        ours.map(|(_, count)| f64::from(*count)).sum()
    }
}

/// The sidecar under strace.
struct Traced {
    strace: Child,
    sidecar: u32,
}

impl Traced {
    fn start(config: &Config, summary: &Path) -> Self {
        let mut strace = Command::new("strace")
            .args(["--follow-forks", "--summary-only", "--output"])
            .arg(summary)
            .arg(env!("CARGO_BIN_EXE_sms-sidecar"))
            .args(["run", "--config"])
            .arg(&config.file)
            // A line of the log wakes a thread, or finds it awake: that number differs from run to run.
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stderr(fs::File::create(summary.with_extension("stderr")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("strace cannot be started ({error}): {REMEDY}"));
        // Answered once, so that the sidecar is its child by now.
        drop(config.backend("99890", || {
            if strace.try_wait().unwrap().is_some() {
                let said = fs::read_to_string(summary.with_extension("stderr"));
                panic!("strace has ended: {said:?}; {REMEDY}");
            }
        }));
        let id = strace.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let sidecar = children.trim().parse().unwrap();
        Self { strace, sidecar }
    }

    /// Ends the sidecar; strace writes its summary then.
    fn end(mut self) {
        let kill = Command::new("kill").arg(self.sidecar.to_string()).status();
        assert!(kill.unwrap().success());
        self.strace.wait().unwrap();
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if self.strace.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let mut kill = Command::new("kill");
        kill.args(["-KILL", &self.sidecar.to_string()])
            .stderr(Stdio::null())
            .status()
            .ok();
        self.strace.wait().ok();
    }
}

/// The calls of a run with this many requests, by name.
fn calls(recipients: &str, requests: u32) -> BTreeMap<String, u32> {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary");
    let config = Config::write(start_service());
    let traced = Traced::start(&config, &summary);
    let mut backend = config.backend(recipients, || ());
    (0..requests).for_each(|_| backend.send());
    traced.end();
    let text = fs::read_to_string(&summary).unwrap();
    // "% time, seconds, usecs/call, calls, errors if there were any, name"
    let rows = text.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let calls = columns.get(3)?.parse().ok()?;
        let name = columns.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), calls))
    });
    rows.collect()
}

#[test]
fn the_system_calls_of_a_request_are_within_their_bands() {
    let _alone = alone();
    let mut figures = Vec::new();
    for (way, recipients) in WAYS {
        let [few, many] = [FEW, MANY].map(|requests| calls(recipients, requests));
        figures.extend(GROUPS.map(|group| Figure {
            kind: group.kind,
            of: format!("{way}, {}", group.name),
            value: (group.sum(&many) - group.sum(&few)) / f64::from(MANY - FEW),
        }));
    }
    hold(&figures);
}
