//! Where a vault server is, and how the sidecar logs in to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A mount of a server and the login to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBaoSettings {
    /// `https://host:port`.
    pub address: String,
    /// Where the engine is mounted.
    pub mount: String,
    /// The version of the KV engine; none: the sidecar queries the server.
    pub kv: Option<KvVersion>,
    /// The namespace of the mount and of the login.
    pub namespace: Option<String>,
    /// An additional root certificate to trust.
    pub ca_file: Option<PathBuf>,
    /// The time limit of one read, its login included.
    pub timeout: Duration,
    /// The maximum age of an entry; it is read again a little earlier, with jitter.
    pub poll: Duration,
    /// The login.
    pub auth: OpenBaoAuth,
}

/// A login method. It names files, never values; each file is read again at every login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenBaoAuth {
    /// A token that an operator or a Vault agent writes and may replace.
    TokenFile(PathBuf),
    /// A role id and a secret id.
    AppRole {
        /// The role id.
        role_id_file: PathBuf,
        /// The secret id, or its wrapping token.
        secret_id_file: PathBuf,
        /// Whether the file holds a wrapping token.
        wrapped: bool,
        /// Where the method is mounted.
        mount: String,
    },
    /// A JWT that the server verifies, by itself or through Kubernetes.
    Jwt {
        /// The server's role.
        role: String,
        /// The JWT.
        jwt_file: PathBuf,
        /// Where the method is mounted.
        mount: String,
        /// Whether it is the `kubernetes` method.
        kubernetes: bool,
    },
}

impl OpenBaoAuth {
    /// The files that a login reads.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::TokenFile(file) | Self::Jwt { jwt_file: file, .. } => vec![file],
            Self::AppRole {
                role_id_file,
                secret_id_file,
                ..
            } => vec![role_id_file, secret_id_file],
        }
    }
}

/// The version of a KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVersion {
    /// Unversioned; the replies of every other engine have this shape too.
    V1,
    /// Versioned: the fields are one level deeper.
    V2,
}
