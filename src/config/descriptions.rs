//! The folder of descriptions that the config names: its files, and how they relate to the
//! built-in ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::dialect::{Catalog, SourceFile};
use crate::file_error::describe_read_error;
use crate::problem::{Problem, ProblemKind, Severity, parse_toml};

/// The key that is needed before the rest of the file can be checked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DescriptionFolder {
    dialects: Option<Spanned<String>>,
}

/// The built-in descriptions, then those of the folder in the order of their names.
pub(super) fn description_sources(
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
    #[error(
        "the folder of descriptions cannot be used: {}",
        describe_read_error(path, error)
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// One of its files.
    #[error("{}", describe_read_error(path, error))]
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
        Err(error) => {
            let path = folder.to_owned();
            return (Vec::new(), vec![DescriptionError::Folder { path, error }]);
        }
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

/// The names of the folder's descriptions that were left out, because they or those that they extend have errors.
/// `None`: the error hides the name.
pub(super) fn failed_dialects(sources: &[SourceFile], problems: &[Problem]) -> Vec<Option<String>> {
    let has_error = |source: &&SourceFile| {
        problems
            .iter()
            .any(|problem| problem.severity == Severity::Error && problem.file == source.name)
    };
    let (broken, sound): (Vec<&SourceFile>, Vec<&SourceFile>) = sources
        .iter()
        .filter(|source| !source.built_in)
        .partition(has_error);
    let mut failed: Vec<Option<String>> = broken
        .into_iter()
        .map(|source| DescriptionHeader::parse(source).name())
        .collect();
    let mut rest: Vec<DescriptionHeader> =
        sound.into_iter().map(DescriptionHeader::parse).collect();
    loop {
        let (left_out, kept): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|header| header.extends.is_some() && failed.contains(&header.extends));
        if left_out.is_empty() {
            return failed;
        }
        failed.extend(left_out.into_iter().map(DescriptionHeader::name));
        rest = kept;
    }
}

/// Whether the problem is only that such a description, whose errors are reported, is missing.
pub(super) fn is_consequence(problem: &Problem, text: &str, failed: &[Option<String>]) -> bool {
    let word = problem
        .span
        .clone()
        .and_then(|span| text.get(span))
        .unwrap_or_default()
        .trim_matches(['"', '\'']);
    problem.kind == ProblemKind::UnknownDialect
        && failed
            .iter()
            .any(|name| name.as_deref().is_none_or(|name| name == word))
}

/// The keys of a description that identify the one it replaces.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DescriptionHeader {
    dialect: Option<Spanned<String>>,
    extends: Option<String>,
}

impl DescriptionHeader {
    /// Empty if the description cannot be parsed.
    fn parse(source: &SourceFile) -> Self {
        parse_toml(&source.name, &source.text).0.unwrap_or_default()
    }

    fn name(self) -> Option<String> {
        self.dialect.map(Spanned::into_inner)
    }
}

/// Warns of each description in the folder that replaces a built-in one.
pub(super) fn override_warnings(sources: &[SourceFile]) -> Vec<Problem> {
    if sources.iter().all(|source| source.built_in) {
        return Vec::new();
    }
    let built_in: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.built_in)
        .filter_map(|source| DescriptionHeader::parse(source).dialect)
        .map(Spanned::into_inner)
        .collect();
    sources
        .iter()
        .filter(|source| !source.built_in)
        .filter_map(|source| override_warning(source, &built_in))
        .collect()
}

fn override_warning(source: &SourceFile, built_in: &BTreeSet<String>) -> Option<Problem> {
    let header = DescriptionHeader::parse(source);
    let dialect = header
        .dialect
        .filter(|dialect| built_in.contains(dialect.get_ref()))?;
    let help = if header.extends.is_some() {
        format!("overridden here: {}", overridden_keys(source).join(", "))
    } else {
        "it does not get the codes that later versions add; use `extends` and write only the differences".to_owned()
    };
    let what = "this description replaces the built-in one";
    Some(Problem::warning(&source.name, dialect.span(), what).with_help(help))
}

/// The keys at the top that change what the dialect does.
fn overridden_keys(source: &SourceFile) -> Vec<String> {
    const IDENTITY: [&str; 5] = ["dialect", "extends", "sources", "evidence", "facts"];
    let table = toml::de::DeTable::parse(&source.text)
        .map(Spanned::into_inner)
        .unwrap_or_default();
    table
        .keys()
        .map(|key| key.get_ref().to_string())
        .filter(|key| !IDENTITY.contains(&key.as_str()))
        .collect()
}
