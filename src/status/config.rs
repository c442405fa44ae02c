//! What of vaults, config and build is shown.

use serde::{Deserialize, Serialize};

/// One vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VaultStatus {
    /// Its name.
    pub vault: String,
    /// `embedded` `env` `directory` …
    pub kind: String,
    /// Those that were asked for.
    pub entries: Vec<VaultEntryStatus>,
}

/// One entry of a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VaultEntryStatus {
    /// Its path; empty where the vault has only one.
    pub path: String,
    /// What the last read came to: `unchanged`, `changed`, or how it failed.
    pub result: String,
    /// When that was.
    pub read_at: Option<String>,
    /// Since when reads fail; none: they do not.
    pub failing_since: Option<String>,
    /// When it was read well the last time: what it said then is in use while reads fail.
    pub last_success_at: Option<String>,
    /// What is wrong and what to do.
    pub problem: Option<String>,
}

/// The config in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigStatus {
    /// As the operator named it.
    pub file: String,
    /// When what is in force was loaded.
    pub loaded_at: Option<String>,
    /// When the file, or a description that it names, was changed since; none: what is in force stands there.
    pub changed_at: Option<String>,
    /// `act` or `observe`.
    pub mode: String,
    /// The last reload; none: there was none yet.
    pub last_reload: Option<ReloadStatus>,
    /// When the local CA runs out; none: TLS is not ended here.
    pub ca_expires_at: Option<String>,
    /// `proxy 127.0.0.1:8125` …
    pub listen: Vec<String>,
}

/// A reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadStatus {
    /// When.
    pub at: String,
    /// `ok` or `failed`: then the old config stays in force.
    pub result: String,
    /// What is wrong, or what waits for a restart.
    pub problem: Option<String>,
}

/// The build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildStatus {
    /// The release's number.
    pub version: String,
    /// The commit it was made from.
    pub commit: String,
    /// When this process began to serve.
    pub started_at: Option<String>,
    /// Its process id.
    pub pid: u32,
}
