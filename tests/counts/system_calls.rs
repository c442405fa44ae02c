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
/// What a call is counted as; everything else is `other`.
const GROUPS: [(&str, &[&str]); 4] = [
    ("reads", &["read", "readv", "recvfrom", "recvmsg"]),
    ("writes", &["write", "writev", "sendto", "sendmsg"]),
    (
        "epoll",
        &["epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl"],
    ),
    ("futex", &["futex"]),
];
const REMEDY: &str = "strace must be installed (run tests/setup, or apt-get install strace) and may trace its own children: \
     start a container with `--cap-add SYS_PTRACE`, and set /proc/sys/kernel/yama/ptrace_scope to at most 2";

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
        let mut groups: BTreeMap<&str, f64> = GROUPS.iter().map(|group| (group.0, 0.0)).collect();
        for (name, calls) in &many {
            let before = few.get(name).copied().unwrap_or_default();
            let group = GROUPS.iter().find(|group| group.1.contains(&name.as_str()));
            *groups
                .entry(group.map_or("other", |group| group.0))
                .or_default() += (f64::from(*calls) - f64::from(before)) / f64::from(MANY - FEW);
        }
        figures.extend(groups.into_iter().map(|(group, value)| Figure {
            kind: "system_calls",
            of: format!("{way}, {group}"),
            value,
        }));
    }
    hold(&figures);
}
