//! What the vaults are made from, free of the file's spelling.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::vault::openbao::KvVersion;

/// All vaults, by their name in the config.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `[vaults.NAME]`.
    pub sources: BTreeMap<String, SourceSettings>,
}

/// Where one vault's entries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// An age-encrypted file of ours.
    Embedded {
        /// The encrypted file.
        file: PathBuf,
        /// The age identity that opens it.
        key_file: PathBuf,
    },
    /// A `.env` file, or without one the environment of this process.
    Env {
        /// The `.env` file.
        file: Option<PathBuf>,
    },
    /// One file a field: `path/field`.
    Directory {
        /// The folder.
        path: PathBuf,
    },
    /// A mount of an OpenBao or HashiCorp Vault server.
    OpenBao(Box<OpenBaoSettings>),
    /// A command whose JSON is the entry.
    Exec {
        /// A program and its arguments; `{path}` in one stands for the entry's path.
        command: Vec<String>,
        /// How long one read may take.
        timeout: Duration,
    },
}

/// A mount of a server, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBaoSettings {
    /// `https://host:port`.
    pub address: String,
    /// Where the engine is mounted.
    pub mount: String,
    /// What the mount is; none: the server is asked.
    pub kv: Option<KvVersion>,
    /// The namespace that everything is in.
    pub namespace: Option<String>,
    /// One more root to trust.
    pub ca_file: Option<PathBuf>,
    /// How long one read may take, its login included.
    pub timeout: Duration,
    /// How old a look at an entry may get; it is read again a little earlier, by the dice.
    pub poll: Duration,
    /// The login.
    pub auth: OpenBaoAuth,
}

/// Who we are to a vault server. Files, never values; each is read anew at every login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenBaoAuth {
    /// A token that somebody else puts there and may change: by hand, or a Vault agent's sink.
    TokenFile(PathBuf),
    /// A role id and a secret id.
    AppRole {
        /// The role id.
        role_id_file: PathBuf,
        /// The secret id, or the token it is wrapped in.
        secret_id_file: PathBuf,
        /// Whether it is wrapped.
        wrapped: bool,
        /// Where the method is mounted.
        mount: String,
    },
    /// A JWT that the server can check, or have checked by Kubernetes.
    Jwt {
        /// The server's role.
        role: String,
        /// The JWT.
        jwt_file: PathBuf,
        /// Where the method is mounted.
        mount: String,
        /// Whether it is the method of that name.
        kubernetes: bool,
    },
}

/// What a provider's `credential` refers to. What it names is what it gets (`fields` and `names`
/// together); one that names nothing gets the whole entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CredentialRef {
    /// Which vault.
    pub vault: String,
    /// Which entry; empty where the vault has only one (`env`, or a flat directory).
    pub path: String,
    /// The dialect's field → the vault's field, where they differ.
    pub fields: BTreeMap<String, String>,
    /// Every credential field of the dialect → what else it is called in `.env` files (may be empty), in the
    /// order to look; tried where the vault has neither the mapped nor the own name.
    pub aliases: BTreeMap<String, Vec<String>>,
}
