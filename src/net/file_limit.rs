//! The number of files that the process may open. A connection that is accepted without a free
//! descriptor fails, so the limit must hold for all connections that the config allows.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::settings::Limits;

/// The backend's connection, the one on which its request goes on, and a pooled one that is being replaced.
const PER_CONNECTION: u64 = 3;
/// Admin and control connections, listeners, vault files, and the runtime's own.
const RESERVE: u64 = 512;
/// What the process needs before the first connection: its threads, listeners and vault files.
const MINIMUM: u64 = 128;

/// The process may open too few files for the connections that its config allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimitShortage {
    /// How many files it may open.
    pub allowed: u64,
    /// How many it needs.
    pub required: u64,
    connections: usize,
    /// How many connections of backends are accepted.
    accepted: usize,
}

/// The process may open too few files to start at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process may open {allowed} files, and it needs {MINIMUM} to start; set `LimitNOFILE={required}` in the service's unit (`--ulimit nofile={required}` for a container)"
)]
pub struct FileLimitInsufficient {
    allowed: u64,
    required: u64,
}

impl fmt::Display for FileLimitShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the process may open {} files, and {} connections need {}; it accepts {} at once",
            self.allowed, self.connections, self.required, self.accepted
        )
    }
}

impl FileLimitShortage {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        format!(
            "set `LimitNOFILE={}` in the service's unit (`--ulimit nofile={0}` for a container), or a smaller `connections` in `[limits]`",
            self.required
        )
    }
}

/// Raises the soft limit of open files to the hard one.
pub fn raise() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// Compares the hard limit, to which the soft one is raised, with the connections of `limits`.
pub fn shortage(limits: &Limits) -> Option<FileLimitShortage> {
    shortage_of(getrlimit(Resource::Nofile).maximum, limits)
}

/// Fails if the hard limit does not even allow the process to start.
pub fn require_minimum(limits: &Limits) -> Result<(), FileLimitInsufficient> {
    match getrlimit(Resource::Nofile).maximum {
        Some(allowed) if allowed < MINIMUM => Err(FileLimitInsufficient {
            allowed,
            required: required(limits),
        }),
        _ => Ok(()),
    }
}

/// Accepts no more connections than the hard limit leaves descriptors for, so that a request which is accepted can
/// also be sent.
pub fn cap_connections(limits: Limits) -> Limits {
    let max_connections = accepted_connections(getrlimit(Resource::Nofile).maximum, &limits);
    Limits {
        max_connections,
        ..limits
    }
}

/// Each accepted connection needs a second descriptor, on which its request goes on.
fn accepted_connections(allowed: Option<u64>, limits: &Limits) -> usize {
    let configured = limits.max_connections;
    let Some(allowed) = allowed.filter(|allowed| *allowed < required(limits)) else {
        return configured;
    };
    let possible = (allowed.saturating_sub(MINIMUM) / 2).max(1);
    usize::try_from(possible).map_or(configured, |possible| possible.min(configured))
}

/// What to do about a connection that could not be accepted.
pub fn accept_remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            "raise `LimitNOFILE=` in the service's unit (`--ulimit nofile=` for a container), or set a smaller `connections` in `[limits]`"
        }
        Some(Errno::NFILE) => {
            "the whole host has no file left: find the process that holds them (`lsof`), or raise `fs.file-max` (`sysctl`)"
        }
        _ => "free memory on this host, or raise the memory limit of the service",
    }
}

/// How many files the process must be able to open for the connections of `limits`.
pub fn required(limits: &Limits) -> u64 {
    u64::try_from(limits.max_connections)
        .unwrap_or(u64::MAX)
        .saturating_mul(PER_CONNECTION)
        .saturating_add(RESERVE)
}

/// None: the limit is high enough, or there is none.
fn shortage_of(allowed: Option<u64>, limits: &Limits) -> Option<FileLimitShortage> {
    let connections = limits.max_connections;
    let required = required(limits);
    let allowed = allowed.filter(|allowed| *allowed < required)?;
    Some(FileLimitShortage {
        allowed,
        required,
        connections,
        accepted: accepted_connections(Some(allowed), limits),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let soft = hard.map_or(Some(1 << 16), |hard| Some(hard - 1));
        for current in [soft, hard] {
            let limit = Rlimit {
                current,
                maximum: hard,
            };
            setrlimit(Resource::Nofile, limit).unwrap();
            raise().unwrap();
            assert_eq!(getrlimit(Resource::Nofile).current, hard);
        }
    }

    #[test]
    fn a_full_table_of_the_process_and_of_the_host_have_different_remedies() {
        let remedy = |number| accept_remedy(&io::Error::from_raw_os_error(number));
        assert!(remedy(24).contains("LimitNOFILE"));
        assert!(remedy(23).contains("fs.file-max"));
        assert!(remedy(12).contains("memory"));
    }

    #[test]
    fn a_limit_too_low_for_the_connections_is_reported_with_its_remedy() {
        let limits = |max_connections| Limits {
            max_connections,
            ..Limits::default()
        };
        let required = 1024 * PER_CONNECTION + RESERVE;
        assert_eq!(shortage_of(None, &limits(1024)), None);
        assert_eq!(shortage_of(Some(required), &limits(1024)), None);
        let short = shortage_of(Some(required - 1), &limits(1024)).unwrap();
        assert_eq!(
            short.to_string(),
            format!(
                "the process may open {} files, and 1024 connections need {required}; it accepts 1024 at once",
                required - 1
            )
        );
        assert!(
            short
                .remedy()
                .contains(&format!("`LimitNOFILE={required}`"))
        );
        assert!(shortage_of(Some(u64::MAX), &limits(usize::MAX)).is_none());
    }

    #[test]
    fn no_more_connections_are_accepted_than_can_also_send() {
        let accepted = |allowed| accepted_connections(allowed, &Limits::default());
        let configured = Limits::default().max_connections;
        for (allowed, expected) in [
            (None, configured),
            (Some(1 << 20), configured),
            (Some(1024), (1024 - 128) / 2),
            (Some(160), 16),
            (Some(128), 1),
            (Some(0), 1),
        ] {
            assert_eq!(accepted(allowed), expected, "{allowed:?}");
        }
    }
}
