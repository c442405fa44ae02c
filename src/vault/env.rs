//! Credentials from the environment: of this process, copied once at the start (it cannot change
//! afterwards), or of a `.env` file, which is read again each time. There is one entry; its path is
//! empty.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::secret::{SecretFields, SecretString};
use crate::vault::dotenv;
use crate::vault::entry::VaultEntry;
use crate::vault::error::ReadError;
use crate::vault::file;
use crate::vault::kind::{VaultKind, WriteTarget};
use crate::vault::reference::CredentialRef;
use crate::vault::source::{VaultSource, WatchPaths, read_blocking};

/// Which environment to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvSettings {
    /// The `.env` file; if none, the environment of this process.
    pub file: Option<PathBuf>,
}

impl EnvSettings {
    /// Its key under `[vaults.NAME]`.
    pub const KIND: &str = "env";
}

impl VaultKind for EnvSettings {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn required_files(&self) -> Vec<&Path> {
        self.file.iter().map(PathBuf::as_path).collect()
    }

    fn missing_file_help(&self, _: &str) -> String {
        "create the file with one NAME=value per line, or remove `file` to read the environment of the process".to_owned()
    }

    fn entry_files(&self, _: &CredentialRef) -> Vec<PathBuf> {
        self.file.iter().cloned().collect()
    }

    fn write_instructions(&self, target: &WriteTarget<'_>) -> String {
        format!(
            "set {} in the variables of vault {} (a changed file is read at once, the process's own environment at its next start)",
            target.field_names(),
            target.vault
        )
    }

    fn path_problem(&self, path: &str) -> Option<&'static str> {
        path_problem(path)
    }

    fn is_plain_file(&self) -> bool {
        self.file.is_some()
    }

    fn is_reread(&self) -> bool {
        self.file.is_some()
    }

    fn open(&self, _: &Arc<dyn Clock>) -> Arc<dyn VaultSource> {
        Arc::new(match &self.file {
            Some(file) => Env::from_file(file.clone()),
            None => Env::from_process(),
        })
    }
}

/// One environment.
#[derive(Clone)]
pub(crate) enum Env {
    /// The environment that this process started with.
    Process(Arc<SecretFields>),
    /// A `.env` file.
    File(PathBuf),
}

impl Env {
    /// Copies the environment of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the vault that reads the environment"
    )]
    pub(crate) fn from_process() -> Self {
        let all = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::from_variables(all)
    }

    /// These variables.
    pub(crate) fn from_variables(variables: impl Iterator<Item = (String, String)>) -> Self {
        Self::Process(Arc::new(
            variables
                .map(|(name, value)| (name, SecretString::from(value)))
                .collect(),
        ))
    }

    /// A `.env` file.
    pub(crate) fn from_file(file: PathBuf) -> Self {
        Self::File(file)
    }

    fn read_entry(&self) -> Result<VaultEntry, ReadError> {
        match self {
            Self::Process(fields) => Ok(VaultEntry {
                fields: (**fields).clone(),
                ..VaultEntry::default()
            }),
            Self::File(path) => {
                let read = file::read_with_time(
                    path,
                    "name the backend's `.env` in the vault's `file`, and let the service's user read it",
                )?;
                Ok(VaultEntry {
                    fields: parse_fields(&read.text),
                    modified: read.modified,
                    ..VaultEntry::default()
                })
            }
        }
    }
}

fn path_problem(path: &str) -> Option<&'static str> {
    let why = "an environment has one entry; leave `path` out and name the variables in `fields`";
    (!path.is_empty()).then_some(why)
}

fn parse_fields(text: &str) -> SecretFields {
    dotenv::parse(text)
        .into_iter()
        .map(|variable| {
            let value = SecretString::from(variable.value.as_str());
            (variable.name, value)
        })
        .collect()
}

impl VaultSource for Env {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>> {
        if let Some(why) = path_problem(path) {
            let error = ReadError::InvalidPath {
                path: path.into(),
                location: self.location().into(),
                why,
            };
            return Box::pin(std::future::ready(Err(error)));
        }
        let env = self.clone();
        Box::pin(read_blocking(self.location(), move || env.read_entry()))
    }

    fn location(&self) -> String {
        match self {
            Self::Process(_) => "the process environment".to_owned(),
            Self::File(file) => file.display().to_string(),
        }
    }

    fn allows_torn_reads(&self) -> bool {
        match self {
            Self::Process(_) => false,
            Self::File(_) => true,
        }
    }

    fn watch_paths(&self) -> WatchPaths {
        match self {
            Self::Process(_) => WatchPaths::Nothing,
            Self::File(file) => WatchPaths::Files(vec![file.clone()]),
        }
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Env({})", self.location())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[tokio::test]
    async fn a_process_environment_is_one_entry() {
        let env = Env::from_variables([("A".to_owned(), "canary-1".to_owned())].into_iter());
        assert_eq!(
            env.read("").await.unwrap().fields["A"].expose_secret(),
            "canary-1"
        );
        assert!(!format!("{env:?}{:?}", env.read("").await).contains("canary"));
        let refused = env.read("sms/x").await.unwrap_err();
        assert!(matches!(refused, ReadError::InvalidPath { .. }));
    }

    #[tokio::test]
    async fn a_file_is_read_again_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        let env = Env::from_file(file.clone());
        assert!(matches!(
            env.read("").await.unwrap_err(),
            ReadError::MissingFile { .. }
        ));
        std::fs::write(&file, "A=one\n").unwrap();
        let entry = env.read("").await.unwrap();
        assert_eq!(entry.fields["A"].expose_secret(), "one");
        assert!(entry.modified.is_some());
        std::fs::write(&file, "A=two\n").unwrap();
        assert_eq!(
            env.read("").await.unwrap().fields["A"].expose_secret(),
            "two"
        );
        std::fs::write(&file, [0xff, b'=']).unwrap();
        assert!(matches!(
            env.read("").await.unwrap_err(),
            ReadError::Malformed { .. }
        ));
    }

    #[test]
    fn an_operator_sets_variables() {
        let settings = EnvSettings { file: None };
        let target = WriteTarget {
            config: "a.toml",
            vault: "keys",
            path: "",
            fields: &["username", "password"].map(str::to_owned),
        };
        assert!(
            settings
                .write_instructions(&target)
                .starts_with("set username and password in the variables of vault keys")
        );
        assert!(
            !settings.is_reread(),
            "the environment of a process is fixed"
        );
        let file = Some(".env".into());
        assert!(EnvSettings { file }.is_reread(), "a file is watched");
    }
}
