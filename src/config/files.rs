//! The config and the files that it refers to on the disk: the CA, certificates, vaults.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::config::ca::check_ca;
use crate::config::descriptions::{
    description_sources, failed_dialects, is_consequence, override_warnings,
};
use crate::config::values::is_off;
use crate::config::{Config, ConfigKey, check_text};
use crate::dialect::{Catalog, SourceFile};
use crate::file_error::{FileProblem, describe_read_error};
use crate::net::{CaSettings, file_limit};
use crate::problem::{Problem, ProblemReport, SourceText};
use crate::proxy::CallerProof;

/// Reads the file and the descriptions in its folder. Other files are checked by `inspect`, and where they are used.
pub fn load(path: &Path) -> Result<Config, ProblemReport> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| unreadable_config(&name, &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    let sources = description_sources(&name, &text, folder, &mut problems);
    let fingerprint = ConfigFingerprint {
        path: path.to_owned(),
        digest: digest(&text, &sources),
        ca: None,
    };
    let (catalog, description_problems) = Catalog::load(&sources);
    let (config, config_problems) = check_text(&name, &text, &catalog);
    let failed = failed_dialects(&sources, &description_problems);
    problems.extend(description_problems);
    problems.extend(
        config_problems
            .into_iter()
            .filter(|problem| !is_consequence(problem, &text, &failed)),
    );
    problems.extend(override_warnings(&sources));
    problems.sort_by_key(|problem| problem.severity);
    let config_text = SourceText {
        file: name,
        text,
        is_dialect: false,
    };
    let report = ProblemReport {
        texts: texts_of(&problems, sources, config_text),
        problems,
    };
    match config {
        Some(config) if report.error_count() == 0 => Ok(Config {
            warnings: report,
            fingerprint: fingerprint.with_ca(config.ca.as_ref()),
            ..config
        }),
        _ => Err(report),
    }
}

fn unreadable_config(name: &str, error: &std::io::Error) -> ProblemReport {
    let found = describe_read_error(Path::new(name), error);
    let help = if error.kind() == ErrorKind::NotFound {
        "name the config with `--config FILE`".to_owned()
    } else {
        found.help
    };
    let what = format!("the config cannot be used: {}", found.what);
    ProblemReport {
        problems: vec![Problem::error(name, None, what).with_help(help)],
        texts: Vec::new(),
    }
}

/// The descriptions that have a problem, and the config.
fn texts_of(problems: &[Problem], sources: Vec<SourceFile>, config: SourceText) -> Vec<SourceText> {
    sources
        .into_iter()
        .filter(|source| problems.iter().any(|problem| problem.file == source.name))
        .map(|source| SourceText {
            file: source.name,
            text: source.text,
            is_dialect: true,
        })
        .chain([config])
        .collect()
}

/// What was read from the disk, to find out later whether it has changed.
#[derive(Clone, Debug, Default)]
pub struct ConfigFingerprint {
    path: PathBuf,
    digest: String,
    ca: Option<CertificateFile>,
}

/// The certificate of the CA.
#[derive(Clone, Debug)]
struct CertificateFile {
    path: PathBuf,
    /// None if it could not be read.
    content: Option<Vec<u8>>,
}

impl ConfigFingerprint {
    /// A digest of the config and its descriptions; the same in every process that reads the same texts.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// With the certificate of the config's CA.
    fn with_ca(self, ca: Option<&CaSettings>) -> Self {
        Self {
            ca: ca.map(|ca| CertificateFile {
                path: ca.cert_file.clone(),
                content: fs::read(&ca.cert_file).ok(),
            }),
            ..self
        }
    }

    /// Which file was changed, and when: the config, a description in its folder, or the CA's certificate. `None`: they
    /// are unchanged, or cannot be read now, as in the moment in which an editor replaces a file.
    pub fn change(&self) -> Option<(String, SystemTime)> {
        let config = self.path.display().to_string();
        let changed = self.changed_at().map(|at| (config, at));
        changed.or_else(|| {
            let CertificateFile { path, content } = self.ca.as_ref()?;
            let now = fs::read(path).ok()?;
            let at = fs::metadata(path).ok()?.modified().ok()?;
            (content.as_ref() != Some(&now)).then(|| (path.display().to_string(), at))
        })
    }

    fn changed_at(&self) -> Option<SystemTime> {
        let text = fs::read_to_string(&self.path).ok()?;
        let sources = description_sources(
            &self.path.display().to_string(),
            &text,
            self.path.parent().unwrap_or(Path::new("")),
            &mut Vec::new(),
        );
        if digest(&text, &sources) == self.digest {
            return None;
        }
        let files = sources
            .iter()
            .filter(|source| !source.built_in)
            .map(|source| Path::new(&source.name));
        files
            .chain([self.path.as_path()])
            .filter_map(|file| fs::metadata(file).ok()?.modified().ok())
            .max()
    }
}

/// Sixteen hexadecimal digits over the texts. Of a description's path only the last part counts: the rest depends on how
/// the config was named.
fn digest(text: &str, sources: &[SourceFile]) -> String {
    let own = sources.iter().filter(|source| !source.built_in);
    let texts = own.flat_map(|source| {
        let name = Path::new(&source.name).file_name();
        [
            name.map_or(&b""[..], OsStr::as_encoded_bytes),
            source.text.as_bytes(),
        ]
    });
    let mut hash = Sha256::new();
    for part in std::iter::once(text.as_bytes()).chain(texts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The control socket that the file names, even if the file has errors. `None`: it names none, or is not TOML.
pub fn control_socket(path: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(path).ok()?;
    let root = text.parse::<toml::Table>().ok()?;
    let socket = root
        .get("listen")?
        .get("control")?
        .as_str()
        .filter(|socket| !socket.is_empty() && !is_off(socket))?;
    Some(path.parent().unwrap_or(Path::new("")).join(socket))
}

/// Checks the other files that the config names: the CA, certificates, vaults.
pub fn inspect(loaded: &Config) -> Vec<Problem> {
    let mut problems = check_ca(loaded);
    problems.extend(check_file_limit(loaded));
    problems.extend(check_entry_paths(loaded));
    problems.extend(check_root_certificates(loaded));
    for (name, source) in &loaded.vault.sources {
        let kind = source.as_kind();
        for file in kind.required_files() {
            let (what, help) = match file.try_exists() {
                Ok(true) => continue,
                Ok(false) => (
                    format!(
                        "{} does not exist: this vault is unavailable until it does",
                        file.display()
                    ),
                    kind.missing_file_help(loaded.file()),
                ),
                Err(error) => unreadable_file(file, &error),
            };
            let key = ConfigKey::Vault(name.clone());
            problems.push(loaded.warning(&key, what).with_help(help));
        }
    }
    problems
}

/// The paths that no entry of their vault can have.
fn check_entry_paths(loaded: &Config) -> Vec<Problem> {
    let providers = loaded.proxy.providers.iter().filter_map(|provider| {
        let key = ConfigKey::Credential(provider.id.as_str().to_owned());
        Some((key, provider.credential.as_ref()?))
    });
    let callers = loaded.proxy.callers.iter().filter_map(|caller| {
        let CallerProof::Token(reference) = &caller.proof else {
            return None;
        };
        Some((ConfigKey::CallerToken(caller.name.clone()), reference))
    });
    providers
        .chain(callers)
        .filter_map(|(key, reference)| {
            let source = loaded.vault.sources.get(&reference.vault)?;
            let why = source.as_kind().path_problem(&reference.path)?;
            let what = format!(
                "`{}` is not a path of vault `{}`",
                reference.path, reference.vault
            );
            Some(loaded.error(&key, what).with_help(why))
        })
        .collect()
}

/// Compares the limit of open files of this process with the connections that the config allows.
fn check_file_limit(loaded: &Config) -> Option<Problem> {
    let shortage = file_limit::shortage(&loaded.limits)?;
    let problem = loaded.warning(&ConfigKey::Connections, shortage.to_string());
    Some(problem.with_help(shortage.remedy()))
}

/// What is wrong with a file of the config, and what to do. The sidecar may run as another user.
fn unreadable_file(file: &Path, error: &std::io::Error) -> (String, String) {
    let FileProblem { what, help } = describe_read_error(file, error);
    if error.kind() == ErrorKind::PermissionDenied {
        let help = format!("{help}; or run `check` as the user of the sidecar");
        return (what, help);
    }
    (what, help)
}

/// The `ca_file` of each provider and of `[traces]`.
fn check_root_certificates(loaded: &Config) -> Vec<Problem> {
    let providers = loaded.proxy.providers.iter().map(|provider| {
        let key = ConfigKey::CaFile(provider.id.as_str().to_owned());
        (key, provider.upstream.ca_file.as_deref())
    });
    let traces = loaded
        .traces
        .iter()
        .map(|traces| (ConfigKey::TracesCaFile, traces.ca_file.as_deref()));
    let notify = loaded
        .notify
        .iter()
        .map(|notify| (ConfigKey::NotifyCaFile, notify.upstream.ca_file.as_deref()));
    providers
        .chain(traces)
        .chain(notify)
        .filter_map(|(key, file)| {
            let error = fs::read(file?).err()?;
            let (what, help) = unreadable_file(file?, &error);
            Some(loaded.error(&key, what).with_help(help))
        })
        .collect()
}
