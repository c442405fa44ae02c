//! The default vault: one age-encrypted file, opened by an age identity in a key file. It holds
//! JSON, path → field → value, so that the `age` tool opens it too. It protects against a leaked
//! backup, a commit or a log; it does not protect against root or the same uid.
//!
//! The key file may hold several identities: the first encrypts, all are tried for decryption.
//! So vault and key match at every moment of a rotation.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use futures_util::future::BoxFuture;
use zeroize::{Zeroize, Zeroizing};

use crate::clock::Clock;
use crate::diagnosis::{config_option, format_command};
use crate::file_error::describe_write_error;
use crate::secret::{SecretFields, SecretString};
use crate::vault::entry::VaultEntry;
use crate::vault::error::ReadError;
use crate::vault::file;
use crate::vault::kind::{VaultKind, WriteTarget};
use crate::vault::reference::CredentialRef;
use crate::vault::source::{VaultSource, WatchPaths, read_blocking};

const HINT: &str = "`sms-sidecar vault init` makes one; the service's user must be able to read it";

/// All entries, by path.
pub type EmbeddedEntries = BTreeMap<String, SecretFields>;

/// Where the encrypted file and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// The encrypted file.
    pub file: PathBuf,
    /// The age identity that opens it.
    pub key_file: PathBuf,
}

impl EmbeddedSettings {
    /// Its key under `[vaults.NAME]`.
    pub const KIND: &str = "embedded";
}

impl VaultKind for EmbeddedSettings {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn required_files(&self) -> Vec<&Path> {
        vec![&self.file, &self.key_file]
    }

    fn missing_file_help(&self, config: &str) -> String {
        let init = format_command("vault init", config);
        let has_vault = exists(&self.file).unwrap_or(true);
        if has_vault && matches!(exists(&self.key_file), Ok(false)) {
            format!(
                "restore the key from its backup; without the key the vault cannot be recovered: move {} away, then run {init}",
                self.file.display()
            )
        } else {
            format!("run {init}")
        }
    }

    fn entry_files(&self, _: &CredentialRef) -> Vec<PathBuf> {
        vec![self.file.clone()]
    }

    fn write_instructions(&self, target: &WriteTarget<'_>) -> String {
        write_instructions(target)
    }

    fn open(&self, _: &Arc<dyn Clock>) -> Arc<dyn VaultSource> {
        Arc::new(Embedded::from(self))
    }
}

/// The command that sets the fields of an entry.
pub(in crate::vault) fn write_instructions(target: &WriteTarget<'_>) -> String {
    let fields = if target.fields.is_empty() {
        "FIELD".to_owned()
    } else {
        target.fields.join(" ")
    };
    format!(
        "`sms-sidecar vault set {} --vault {} {} {fields}`",
        config_option(target.config),
        target.vault,
        target.path
    )
}

/// An encrypted file and the key that opens it.
#[derive(Clone, Debug)]
pub struct Embedded {
    file: PathBuf,
    key_file: PathBuf,
}

/// Why the vault could not be written.
#[derive(Debug, thiserror::Error)]
pub enum VaultWriteError {
    /// The vault cannot be read, which a write needs first.
    #[error(transparent)]
    Read(Box<ReadError>),
    /// The file exists already.
    #[error("{} already exists; `vault set` adds to a vault, `vault rotate-key` changes its key", .0.display())]
    AlreadyExists(Box<Path>),
    /// The file could not be replaced; its content is unchanged.
    #[error("{}. Its content is as before", describe_write_error(file, source))]
    Unwritable {
        /// The file.
        file: Box<Path>,
        /// The system's error.
        source: std::io::Error,
    },
    /// Encryption failed.
    #[error("the vault could not be encrypted ({0})")]
    Encrypt(#[source] Box<age::EncryptError>),
    /// The entries could not be turned into JSON.
    #[error("the entries could not be put into JSON")]
    Json(#[source] serde_json::Error),
}

impl From<&EmbeddedSettings> for Embedded {
    fn from(settings: &EmbeddedSettings) -> Self {
        Self::new(settings.file.clone(), settings.key_file.clone())
    }
}

impl From<ReadError> for VaultWriteError {
    fn from(error: ReadError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl Embedded {
    /// The vault in `file`, opened by `key_file`.
    pub fn new(file: PathBuf, key_file: PathBuf) -> Self {
        Self { file, key_file }
    }

    /// The path of the encrypted file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The path of the key file.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// Creates an empty vault and, unless it exists, its key.
    pub fn init(&self) -> Result<(), VaultWriteError> {
        if exists(&self.file)? {
            self.identities()?;
            return Err(VaultWriteError::AlreadyExists(self.file.as_path().into()));
        }
        if !exists(&self.key_file)? {
            let text = render_keys(&[Identity::generate()]);
            file::create(&self.key_file, text.as_bytes())
                .map_err(|source| write_error(&self.key_file, source))?;
        }
        let bytes = self.encrypt_entries(&EmbeddedEntries::new(), &self.identities()?)?;
        file::create(&self.file, &bytes).map_err(|source| write_error(&self.file, source))
    }

    /// Every entry, decrypted.
    pub fn entries(&self) -> Result<EmbeddedEntries, ReadError> {
        match self.decrypt_entries() {
            // A rotation may have happened between the reads of the key and of the vault.
            Err(ReadError::WrongKey { .. }) => self.decrypt_entries(),
            other => other,
        }
    }

    /// Reads, lets `change` work on the entries, and writes them back; one writer at a time.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut EmbeddedEntries) -> T,
    ) -> Result<T, VaultWriteError> {
        let _lock = self.lock()?;
        let mut entries = self.entries()?;
        let done = change(&mut entries);
        let bytes = self.encrypt_entries(&entries, &self.identities()?)?;
        file::replace_atomically(&self.file, &bytes)
            .map_err(|source| write_error(&self.file, source))?;
        Ok(done)
    }

    /// Encrypts to a new key and removes the old one. If it is interrupted, the key file still opens the vault.
    pub fn rotate_key(&self) -> Result<(), VaultWriteError> {
        let _lock = self.lock()?;
        let entries = self.entries()?;
        let mut keys = self.identities()?;
        keys.insert(0, Identity::generate());
        self.write_keys(&keys)?;
        let bytes = self.encrypt_entries(&entries, &keys)?;
        file::replace_atomically(&self.file, &bytes)
            .map_err(|source| write_error(&self.file, source))?;
        keys.truncate(1);
        self.write_keys(&keys)
    }

    fn lock(&self) -> Result<std::fs::File, VaultWriteError> {
        file::lock(&self.file).map_err(|error| ReadError::from_io(&self.file, error, HINT).into())
    }

    fn write_keys(&self, keys: &[Identity]) -> Result<(), VaultWriteError> {
        file::replace_atomically(&self.key_file, render_keys(keys).as_bytes())
            .map_err(|source| write_error(&self.key_file, source))
    }

    fn decrypt_entries(&self) -> Result<EmbeddedEntries, ReadError> {
        let keys = self.identities()?;
        let sealed = file::read(&self.file, HINT)?;
        let plain = self.decrypt_bytes(&sealed, &keys)?;
        let parsed: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(&plain)
            .map_err(|error| {
                self.malformed_error(format!(
                    "its decrypted content is not a map of entries (line {}, column {})",
                    error.line(),
                    error.column()
                ))
            })?;
        Ok(parsed
            .into_iter()
            .map(|(path, fields)| {
                (
                    path,
                    fields
                        .into_iter()
                        .map(|(field, value)| (field, SecretString::from(value)))
                        .collect(),
                )
            })
            .collect())
    }

    fn decrypt_bytes(
        &self,
        sealed: &[u8],
        keys: &[Identity],
    ) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        let opened = age::Decryptor::new_buffered(sealed)
            .and_then(|sealed| sealed.decrypt(keys.iter().map(|key| key as &dyn age::Identity)))
            .and_then(|mut reader| {
                reader
                    .read_to_end(&mut plain)
                    .map_err(age::DecryptError::Io)
            });
        match opened {
            Ok(_) => Ok(plain),
            Err(age::DecryptError::NoMatchingKeys) => Err(ReadError::WrongKey {
                file: self.file.as_path().into(),
                key_file: self.key_file.as_path().into(),
            }),
            Err(age::DecryptError::UnknownFormat) => {
                Err(self.malformed_error("it is of an age format that this version does not know"))
            }
            Err(_) => Err(self.malformed_error("it is cut off, altered, or no age file")),
        }
    }

    fn encrypt_entries(
        &self,
        entries: &EmbeddedEntries,
        keys: &[Identity],
    ) -> Result<Vec<u8>, VaultWriteError> {
        let Some(first) = keys.first() else {
            return Err(ReadError::InvalidKey {
                file: self.key_file.as_path().into(),
            }
            .into());
        };
        let plain = to_json(entries).map_err(VaultWriteError::Json)?;
        age::encrypt(&first.to_public(), &plain)
            .map_err(|error| VaultWriteError::Encrypt(Box::new(error)))
    }

    fn identities(&self) -> Result<Vec<Identity>, ReadError> {
        file::ensure_private(&self.key_file).map_err(|error| self.missing_key_error(error))?;
        let text = file::read_text(
            &self.key_file,
            "let the service's user read it, and nobody else",
        )?;
        let lines = text
            .trim_start_matches('\u{FEFF}')
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Option<Vec<Identity>> = lines.map(|line| line.parse().ok()).collect();
        keys.filter(|keys| !keys.is_empty())
            .ok_or_else(|| ReadError::InvalidKey {
                file: self.key_file.as_path().into(),
            })
    }

    /// A new key would not open an existing vault, which needs its old one.
    fn missing_key_error(&self, error: ReadError) -> ReadError {
        let has_vault = || exists(&self.file).unwrap_or(true);
        if matches!(error, ReadError::MissingFile { .. }) && has_vault() {
            return ReadError::MissingKey {
                file: self.file.as_path().into(),
                key_file: self.key_file.as_path().into(),
            };
        }
        error
    }

    fn malformed_error(&self, what: impl Into<Box<str>>) -> ReadError {
        ReadError::Malformed {
            file: self.file.as_path().into(),
            what: what.into(),
        }
    }
}

impl VaultSource for Embedded {
    fn read(&self, path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>> {
        let vault = self.clone();
        let path = path.to_owned();
        Box::pin(read_blocking(self.location(), move || {
            let found = vault.entries()?.remove(&path);
            let missing = || ReadError::MissingEntry {
                path: path.into(),
                location: vault.location().into(),
                hint: "`sms-sidecar vault list` lists the entries",
            };
            found
                .map(|fields| VaultEntry {
                    fields,
                    ..VaultEntry::default()
                })
                .ok_or_else(missing)
        }))
    }

    fn location(&self) -> String {
        self.file.display().to_string()
    }

    fn allows_torn_reads(&self) -> bool {
        false
    }

    fn watch_paths(&self) -> WatchPaths {
        WatchPaths::Files(vec![self.file.clone(), self.key_file.clone()])
    }
}

fn render_keys(keys: &[Identity]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    for key in keys {
        text.push_str("# public key: ");
        text.push_str(&key.to_public().to_string());
        text.push('\n');
        text.push_str(key.to_string().expose_secret());
        text.push('\n');
    }
    text
}

/// The vault's JSON; it and every copy of it are wiped after use.
fn to_json(entries: &EmbeddedEntries) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let shown: BTreeMap<&str, BTreeMap<&str, &str>> = entries
        .iter()
        .map(|(path, fields)| {
            (
                path.as_str(),
                fields
                    .iter()
                    .map(|(field, value)| (field.as_str(), value.expose_secret()))
                    .collect(),
            )
        })
        .collect();
    let size: usize = entries
        .iter()
        .map(|(path, fields)| {
            path.len()
                + fields
                    .iter()
                    .map(|(k, v)| k.len() + v.expose_secret().len())
                    .sum::<usize>()
        })
        .sum();
    let mut bytes = Vec::with_capacity(1024 + 8 * size);
    match serde_json::to_writer_pretty(&mut bytes, &shown) {
        Ok(()) => Ok(Zeroizing::new(bytes)),
        Err(error) => {
            bytes.zeroize();
            Err(error)
        }
    }
}

/// Whether there is such a file. A folder that cannot be entered hides it, and is an error.
fn exists(file: &Path) -> Result<bool, ReadError> {
    file.try_exists()
        .map_err(|error| ReadError::from_io(file, error, HINT))
}

fn write_error(file: &Path, source: std::io::Error) -> VaultWriteError {
    if source.kind() == std::io::ErrorKind::AlreadyExists {
        return VaultWriteError::AlreadyExists(file.into());
    }
    VaultWriteError::Unwritable {
        file: file.into(),
        source,
    }
}

#[cfg(test)]
mod tests;
