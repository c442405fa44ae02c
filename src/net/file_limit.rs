//! The number of files that the process may open. A connection that is accepted without a free
//! descriptor fails, so the limit must hold for all connections that the config allows.

use std::fmt;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::settings::Limits;

/// The backend's connection, the one on which its request goes on, and a pooled one that is being replaced.
const PER_CONNECTION: u64 = 3;
/// Admin and control connections, listeners, vault files, and the runtime's own.
const RESERVE: u64 = 512;

/// The process may open too few files for the connections that its config allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimitShortage {
    /// How many files it may open.
    pub allowed: u64,
    /// How many it needs.
    pub required: u64,
    connections: usize,
}

impl fmt::Display for FileLimitShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the process may open {} files, and {} connections need {}",
            self.allowed, self.connections, self.required
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
                "the process may open {} files, and 1024 connections need {required}",
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
}
