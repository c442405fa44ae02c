//! The vaults of a config, independent of the file's syntax.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnosis::DEFAULT_CONFIG_PATH;
use crate::vault::directory::DirectorySettings;
use crate::vault::embedded::{self, EmbeddedSettings};
use crate::vault::env::EnvSettings;
use crate::vault::exec::ExecSettings;
use crate::vault::kind::{EntryHelp, VaultKind, WriteTarget};
use crate::vault::openbao::OpenBaoSettings;
use crate::vault::reference::CredentialRef;

/// All vaults, by their name in the config.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `[vaults.NAME]`.
    pub sources: BTreeMap<String, SourceSettings>,
}

/// How an operator changes `fields` of the entry that `reference` names. A vault that is not in the
/// config (`source` is none) counts as an embedded one.
pub fn entry_help(
    source: Option<&SourceSettings>,
    reference: &CredentialRef,
    fields: &[String],
    config: &str,
) -> EntryHelp {
    let target = WriteTarget {
        config: if config.is_empty() {
            DEFAULT_CONFIG_PATH
        } else {
            config
        },
        vault: &reference.vault,
        path: &reference.path,
        fields,
    };
    match source {
        Some(source) => EntryHelp {
            write_instructions: source.as_kind().write_instructions(&target),
            is_reread: source.as_kind().is_reread(),
        },
        None => EntryHelp {
            write_instructions: embedded::write_instructions(&target),
            is_reread: true,
        },
    }
}

/// Where one vault's entries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// An age-encrypted file of ours.
    Embedded(EmbeddedSettings),
    /// A `.env` file or the environment of this process.
    Env(EnvSettings),
    /// One file per field.
    Directory(DirectorySettings),
    /// A mount of an OpenBao or HashiCorp Vault server.
    OpenBao(Box<OpenBaoSettings>),
    /// A command that prints the entry as JSON.
    Exec(ExecSettings),
}

impl SourceSettings {
    /// What the kind of vault tells about itself.
    pub fn as_kind(&self) -> &dyn VaultKind {
        match self {
            Self::Embedded(settings) => settings,
            Self::Env(settings) => settings,
            Self::Directory(settings) => settings,
            Self::OpenBao(settings) => &**settings,
            Self::Exec(settings) => settings,
        }
    }

    /// The settings of an embedded vault; none for other kinds.
    pub fn as_embedded(&self) -> Option<&EmbeddedSettings> {
        if let Self::Embedded(settings) = self {
            Some(settings)
        } else {
            None
        }
    }

    /// The `.env` file that is the vault; none for other kinds.
    pub fn env_file(&self) -> Option<&Path> {
        if let Self::Env(settings) = self {
            settings.file.as_deref()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::vault::error::ReadError;
    use crate::vault::openbao::OpenBaoAuth;

    #[test]
    fn only_a_vault_of_that_kind_is_its_file() {
        let file = PathBuf::from("/srv/.env");
        let env = |file| SourceSettings::Env(EnvSettings { file });
        assert_eq!(env(Some(file.clone())).env_file(), Some(file.as_path()));
        assert_eq!(env(None).env_file(), None);
        assert_eq!(env(Some(file)).as_embedded(), None);
    }
    /// The paths that `check` names, which are those that a read rejects.
    async fn paths_named_and_rejected(kind: &dyn VaultKind) -> Vec<String> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let source = kind.open(&clock);
        let mut named = Vec::new();
        for path in ["", "sms/x", "/x", "a/../b", "a\0b"] {
            let problem = kind.path_problem(path);
            let read = source.read(path).await;
            let is_rejected = matches!(read, Err(ReadError::InvalidPath { .. }));
            assert_eq!(problem.is_some(), is_rejected, "{} {path:?}", kind.kind());
            named.extend(problem.map(|_| format!("{} {path:?}", kind.kind())));
        }
        named
    }

    #[tokio::test]
    async fn a_path_that_no_entry_can_have_is_named_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let command = ["/bin/echo", "{\"p\":\"v\"}"].map(str::to_owned).to_vec();
        let bao = OpenBaoSettings {
            address: "http://127.0.0.1:9".to_owned(),
            mount: "secret".to_owned(),
            kv: None,
            namespace: None,
            ca_file: None,
            timeout: Duration::from_secs(1),
            poll: Duration::from_mins(1),
            auth: OpenBaoAuth::TokenFile(folder.path().join("token")),
        };
        let kinds = [
            SourceSettings::Env(EnvSettings { file: None }),
            SourceSettings::Directory(DirectorySettings {
                path: folder.path().to_owned(),
            }),
            SourceSettings::OpenBao(Box::new(bao)),
            SourceSettings::Exec(ExecSettings {
                command,
                timeout: Duration::from_secs(20),
            }),
        ];
        let mut named = Vec::new();
        for kind in &kinds {
            named.extend(paths_named_and_rejected(kind.as_kind()).await);
        }
        assert_eq!(
            named,
            [
                "env \"sms/x\"",
                "env \"/x\"",
                "env \"a/../b\"",
                "env \"a\\0b\"",
                "directory \"/x\"",
                "directory \"a/../b\"",
                "openbao \"\"",
                "openbao \"/x\"",
                "openbao \"a/../b\"",
                "openbao \"a\\0b\"",
                "exec \"a\\0b\"",
            ]
        );
    }
}
