//! The files that the config refers to: descriptions, the CA, certificates, vaults.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use toml::Spanned;

use crate::config::{Config, ConfigKey, check_text};
use crate::dialect::{Catalog, SourceFile};
use crate::net::ca;
use crate::problem::{Problem, ProblemKind, ProblemReport, Severity, SourceText, parse_toml};
use crate::proxy::Settings;
use crate::vault::{OpenBaoAuth, OpenBaoSettings, SourceSettings};

/// Reads the file and the descriptions in its folder. Other files are checked by `inspect`, and where they are used.
pub fn load(path: &Path) -> Result<Config, ProblemReport> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let help = "name it with `--config FILE`; it must be UTF-8 and readable by this user";
        ProblemReport {
            problems: vec![
                Problem::error(&name, None, format!("the config cannot be read: {error}"))
                    .with_help(help),
            ],
            texts: Vec::new(),
        }
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    let sources = description_sources(&name, &text, folder, &mut problems);
    let digest = digest(&text, &sources);
    let (catalog, described) = Catalog::load(&sources);
    let (loaded, judged) = check_text(&name, &text, &catalog);
    let failed = failed_dialects(&sources, &described);
    problems.extend(described);
    problems.extend(
        judged
            .into_iter()
            .filter(|problem| !is_consequence(problem, &text, &failed)),
    );
    problems.extend(override_warnings(&sources));
    problems.sort_by_key(|problem| problem.severity);
    let mut texts: Vec<SourceText> = sources
        .into_iter()
        .map(|source| SourceText {
            file: source.name,
            text: source.text,
            is_dialect: true,
        })
        .collect();
    texts.retain(|text| problems.iter().any(|problem| problem.file == text.file));
    texts.push(SourceText {
        file: name,
        text,
        is_dialect: false,
    });
    let sound = problems
        .iter()
        .all(|problem| problem.severity != Severity::Error);
    let read = ConfigFingerprint {
        path: path.to_owned(),
        digest,
    };
    let report = ProblemReport { problems, texts };
    match loaded {
        Some(loaded) if sound => Ok(Config {
            warnings: report,
            fingerprint: read,
            ..loaded
        }),
        _ => Err(report),
    }
}

/// What was read from the disk, to find out later whether it has changed.
#[derive(Clone, Debug, Default)]
pub struct ConfigFingerprint {
    path: PathBuf,
    digest: u64,
}

impl ConfigFingerprint {
    /// When the config or a description in its folder was changed. `None`: it is unchanged, or cannot be read now, as
    /// in the moment in which an editor replaces the file.
    pub fn changed_at(&self) -> Option<SystemTime> {
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

/// A digest of the texts, stable for the life of the process.
fn digest(text: &str, sources: &[SourceFile]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    sources
        .iter()
        .filter(|source| !source.built_in)
        .for_each(|source| (&source.name, &source.text).hash(&mut hasher));
    hasher.finish()
}

/// The control socket that the file names, even if the file has errors. `None`: it names none, or is not TOML.
pub fn control_socket(path: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(path).ok()?;
    let root = text.parse::<toml::Table>().ok()?;
    let socket = root
        .get("listen")?
        .get("control")?
        .as_str()
        .filter(|socket| !socket.is_empty())?;
    Some(path.parent().unwrap_or(Path::new("")).join(socket))
}

/// The key that is needed before the rest of the file can be checked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DescriptionFolder {
    dialects: Option<Spanned<String>>,
}

/// The built-in descriptions, then those of the folder in the order of their names.
fn description_sources(
    name: &str,
    text: &str,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<SourceFile> {
    let mut sources = Catalog::built_in_sources();
    let (found, _) = parse_toml::<DescriptionFolder>(name, text);
    let Some(word) = found.and_then(|found| found.dialects) else {
        return sources;
    };
    let (found, unreadable) = read_descriptions(&folder.join(word.get_ref()));
    sources.extend(found);
    problems.extend(unreadable.into_iter().map(|error| {
        Problem::error(name, word.span(), error.to_string())
            .with_help("`dialects` is a folder of TOML files")
    }));
    sources
}

/// A folder of descriptions, or a file in it, that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// The folder.
    #[error("the folder of descriptions cannot be read: {0}")]
    Folder(std::io::Error),
    /// One of its files.
    #[error("{} cannot be read: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// The descriptions in a folder in the order of their names, and what cannot be read.
pub fn read_descriptions(folder: &Path) -> (Vec<SourceFile>, Vec<DescriptionError>) {
    let files = match toml_files(folder) {
        Ok(files) => files,
        Err(error) => return (Vec::new(), vec![DescriptionError::Folder(error)]),
    };
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for path in files {
        match fs::read_to_string(&path) {
            Ok(text) => sources.push(SourceFile {
                name: path.display().to_string(),
                text,
                built_in: false,
            }),
            Err(error) => errors.push(DescriptionError::File { path, error }),
        }
    }
    (sources, errors)
}

fn toml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.retain(|file| file.extension().is_some_and(|kind| kind == "toml"));
    files.sort();
    Ok(files)
}

/// The names of the folder's descriptions that have errors and were left out.
fn failed_dialects(sources: &[SourceFile], described: &[Problem]) -> Vec<String> {
    let wrong = |source: &&SourceFile| {
        described
            .iter()
            .any(|problem| problem.severity == Severity::Error && problem.file == source.name)
    };
    let named = |source: &SourceFile| {
        Some(
            parse_toml::<DescriptionHeader>(&source.name, &source.text)
                .0?
                .dialect?
                .into_inner(),
        )
    };
    sources
        .iter()
        .filter(|source| !source.built_in)
        .filter(wrong)
        .filter_map(named)
        .collect()
}

/// Whether the problem is only that such a description, whose errors are reported, is missing.
fn is_consequence(problem: &Problem, text: &str, failed: &[String]) -> bool {
    let word = problem
        .span
        .clone()
        .and_then(|span| text.get(span))
        .unwrap_or_default()
        .trim_matches(['"', '\'']);
    problem.kind == ProblemKind::UnknownDialect && failed.iter().any(|name| name == word)
}

/// The keys of a description that identify the one it replaces.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DescriptionHeader {
    dialect: Option<Spanned<String>>,
    extends: Option<String>,
}

/// Warns of each description in the folder that replaces a built-in one.
fn override_warnings(sources: &[SourceFile]) -> Vec<Problem> {
    let identity = |source: &SourceFile| {
        parse_toml::<DescriptionHeader>(&source.name, &source.text)
            .0
            .unwrap_or_default()
    };
    let own: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.built_in)
        .filter_map(|source| identity(source).dialect)
        .map(Spanned::into_inner)
        .collect();
    let one = |source: &SourceFile| {
        let found = identity(source);
        let dialect = found
            .dialect
            .filter(|dialect| own.contains(dialect.get_ref()))?;
        let changed = toml::de::DeTable::parse(&source.text)
            .map(toml::Spanned::into_inner)
            .unwrap_or_default();
        let keys: Vec<String> = changed
            .keys()
            .map(|key| key.get_ref().to_string())
            .filter(|key| {
                !matches!(
                    key.as_str(),
                    "dialect" | "extends" | "sources" | "evidence" | "facts"
                )
            })
            .collect();
        let help = if found.extends.is_some() {
            format!("overridden here: {}", keys.join(", "))
        } else {
            "it does not get the codes that later versions add; use `extends` and write only the differences".to_owned()
        };
        Some(
            Problem::warning(
                &source.name,
                dialect.span(),
                "this description replaces the built-in one",
            )
            .with_help(help),
        )
    };
    sources
        .iter()
        .filter(|source| !source.built_in)
        .filter_map(one)
        .collect()
}

/// Checks the other files that the config names: the CA, certificates, vaults.
pub fn inspect(loaded: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(settings) = &loaded.ca {
        match ca::inspect(settings) {
            Ok(ca) => problems.extend(uncovered_hosts(&loaded.proxy, |host| ca.covers(host)).into_iter().map(|host| {
                let help = "`sms-sidecar ca renew` makes one that does; restart the backend afterwards: it reads the CA once";
                loaded.warning(&ConfigKey::Ca, format!("the CA does not cover {host}: the backend will reject the sidecar's certificate for it")).with_help(help)
            })),
            Err(_) if !settings.cert_file.exists() && !settings.key_file.exists() => problems.push(missing_ca(loaded)),
            Err(error) => problems.push(loaded.error(&ConfigKey::Ca, error.to_string())),
        }
    }
    for provider in &loaded.proxy.providers {
        let file = provider.upstream.ca_file.as_deref();
        if let Some(error) = file.and_then(|file| fs::read(file).err()) {
            problems.push(loaded.error(
                &ConfigKey::CaFile(provider.id.as_str().to_owned()),
                format!("this file cannot be read: {error}"),
            ));
        }
    }
    let file = loaded
        .traces
        .as_ref()
        .and_then(|traces| traces.ca_file.as_deref());
    if let Some(error) = file.and_then(|file| fs::read(file).err()) {
        problems.push(loaded.error(
            &ConfigKey::TracesCaFile,
            format!("this file cannot be read: {error}"),
        ));
    }
    for (name, source) in &loaded.vault.sources {
        problems.extend(missing_files(source).into_iter().map(|file| {
            let what = format!(
                "{} does not exist: this vault is unavailable until it does",
                file.display()
            );
            loaded
                .warning(&ConfigKey::Vault(name.clone()), what)
                .with_help(creation_help(source, loaded.file()))
        }));
    }
    problems
}

/// A warning, as for a vault: the config is sound and the CA is made next. `run` does not start without it.
fn missing_ca(loaded: &Config) -> Problem {
    let help = format!(
        "`sms-sidecar ca init --config {}` makes it; `run` does not start without it",
        loaded.file()
    );
    loaded
        .warning(&ConfigKey::Ca, "the CA does not exist yet")
        .with_help(help)
}

/// Who makes what a vault needs and is not there.
fn creation_help(source: &SourceSettings, config: &str) -> String {
    match source {
        SourceSettings::Embedded { file, key_file } if file.exists() && !key_file.exists() => format!(
            "restore the key from its backup; without it what the vault holds is lost: move {} away, then `sms-sidecar vault init --config {config}`",
            file.display()
        ),
        SourceSettings::Embedded { .. } => format!("`sms-sidecar vault init --config {config}` makes it"),
        SourceSettings::Env { .. } => {
            "write the file, one NAME=value a line; or take `file` away to read this process's environment".to_owned()
        }
        SourceSettings::Directory { .. } => {
            "whoever mounts or fills the folder makes it: an entry is a folder in it, a field a file in that".to_owned()
        }
        SourceSettings::OpenBao(_) => "whoever runs the vault server, or its agent, puts it there".to_owned(),
        SourceSettings::Exec { .. } => "install the program, or name where it is: its whole path, from `/` on".to_owned(),
    }
}

fn missing_files(source: &SourceSettings) -> Vec<&Path> {
    let files: Vec<&Path> = match source {
        SourceSettings::Embedded { file, key_file } => vec![file, key_file],
        SourceSettings::Env { file } => file.iter().map(PathBuf::as_path).collect(),
        SourceSettings::Directory { path } => vec![path],
        SourceSettings::OpenBao(settings) => login_files(settings),
        SourceSettings::Exec { command, .. } => command.iter().take(1).map(Path::new).collect(),
    };
    files.into_iter().filter(|file| !file.exists()).collect()
}

/// The files that a login to a vault server needs.
fn login_files(settings: &OpenBaoSettings) -> Vec<&Path> {
    let login: Vec<&Path> = match &settings.auth {
        OpenBaoAuth::TokenFile(file) | OpenBaoAuth::Jwt { jwt_file: file, .. } => vec![file],
        OpenBaoAuth::AppRole {
            role_id_file,
            secret_id_file,
            ..
        } => vec![role_id_file, secret_id_file],
    };
    login
        .into_iter()
        .chain(settings.ca_file.as_deref())
        .collect()
}

/// The literal host names for which TLS is ended: those of the configured dialects and of the base URLs. IP addresses
/// are recognised in plain HTTP only.
pub fn intercepted_hosts(settings: &Settings) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    for provider in &settings.providers {
        hosts.extend(provider.dialect.literal_hosts());
        hosts.extend(
            provider
                .base_url
                .parse::<http::Uri>()
                .ok()
                .and_then(|url| url.host().map(str::to_ascii_lowercase)),
        );
    }
    hosts
        .into_iter()
        .filter(|host| {
            host.trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_err()
        })
        .collect()
}

/// Those of them that a CA does not cover.
pub fn uncovered_hosts(settings: &Settings, covers: impl Fn(&str) -> bool) -> Vec<String> {
    intercepted_hosts(settings)
        .into_iter()
        .filter(|host| !covers(host))
        .collect()
}
