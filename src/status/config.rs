//! What the status shows about vaults, config and build.

use serde::{Deserialize, Serialize};

use crate::telemetry::VaultReadResult;

/// One vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VaultStatus {
    /// Its name.
    pub vault: String,
    /// `embedded` `env` `directory` …
    pub kind: String,
    /// The entries that were requested.
    pub entries: Vec<VaultEntryStatus>,
}

/// One entry of a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VaultEntryStatus {
    /// Its path; empty if the vault has only one entry.
    pub path: String,
    /// The result of the last read: `unchanged`, `changed`, or how it failed.
    pub result: String,
    /// When it was last read.
    pub read_at: Option<String>,
    /// Since when reads have failed; none if they succeed.
    pub failing_since: Option<String>,
    /// When it was last read successfully. The content from then stays in use while reads fail.
    pub last_success_at: Option<String>,
    /// What is wrong and what to do.
    pub problem: Option<String>,
}

impl VaultEntryStatus {
    /// Whether the vault can be read, but does not have the entry.
    pub fn is_absent(&self) -> bool {
        self.result == VaultReadResult::NotFound.as_str()
    }
}

/// The active config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigStatus {
    /// The file, as the operator named it.
    pub file: String,
    /// A digest of the active config and its descriptions; empty if it is not known.
    pub digest: String,
    /// When the active config was loaded.
    pub loaded_at: Option<String>,
    /// When the file, a description that it names, or the CA was changed after that; none if the active config
    /// is the one on disk.
    pub changed_at: Option<String>,
    /// The file that was changed.
    pub changed_file: Option<String>,
    /// What of the active config takes effect only after a restart.
    pub needs_restart: Option<String>,
    /// `act` or `observe`.
    pub mode: String,
    /// The last reload; none if there was none yet.
    pub last_reload: Option<ReloadStatus>,
    /// When the local CA expires; none if the sidecar does not terminate TLS.
    pub ca_expires_at: Option<String>,
    /// `proxy 127.0.0.1:8125` …
    pub listen: Vec<String>,
}

/// A reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadStatus {
    /// When it happened.
    pub at: String,
    /// `ok`, or `failed`, in which case the old config stays active.
    pub result: String,
    /// Who ran the command; none for a signal.
    pub by: Option<String>,
    /// What is wrong, or what takes effect only after a restart.
    pub problem: Option<String>,
}

/// The build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildStatus {
    /// The version of the release.
    pub version: String,
    /// The commit it was made from.
    pub commit: String,
    /// When this process started serving.
    pub started_at: Option<String>,
    /// Its process id.
    pub pid: u32,
}
