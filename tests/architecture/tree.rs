//! The source tree as the other tests read it: files, the modules they hold, their syntax.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One source file, parsed.
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    /// `["proxy", "health"]` for `src/proxy/health.rs`; empty for `lib.rs`.
    pub(crate) module: Vec<String>,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl SourceFile {
    /// Whether the file holds tests only.
    pub(crate) fn is_test(&self) -> bool {
        self.module.iter().any(|segment| segment == "tests")
    }

    /// The path as messages show it.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Every file below `src`, in the order of their paths; `main.rs` is not part of the library.
pub(crate) fn files() -> Vec<SourceFile> {
    sources(Path::new("src"))
        .into_iter()
        .filter(|path| !path.ends_with("main.rs"))
        .map(parse)
        .collect()
}

/// The paths of all Rust sources below `dir`, sorted.
pub(crate) fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Whether an item is compiled for tests only.
pub(crate) fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|argument| argument == "test")
    })
}

/// A map from each module to its index in `files`.
pub(crate) fn modules(files: &[SourceFile]) -> BTreeMap<&[String], usize> {
    files
        .iter()
        .enumerate()
        .map(|(index, file)| (file.module.as_slice(), index))
        .collect()
}

fn parse(path: PathBuf) -> SourceFile {
    let text = fs::read_to_string(&path).unwrap();
    let syntax =
        syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    SourceFile {
        module: module_of(&path),
        path,
        text,
        syntax,
    }
}

fn module_of(path: &Path) -> Vec<String> {
    let relative = path.strip_prefix("src").unwrap().with_extension("");
    let mut segments: Vec<String> = relative
        .iter()
        .map(|segment| segment.to_str().unwrap().to_owned())
        .collect();
    if segments
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        segments.pop();
    }
    segments
}
