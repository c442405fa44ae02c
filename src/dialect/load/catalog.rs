//! All descriptions by name: the built-in ones and those of ops. A later file of the same
//! name replaces an earlier one; `extends` builds a file on another.
//!
//! A config uses a few descriptions, and to compile one takes half a millisecond and 100 KiB. So a built-in one is
//! compiled when something asks for it; a test compiles all of them. Those of ops are compiled at once, because their
//! errors belong to the load.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use toml::de::DeTable;

use crate::dialect::Dialect;
use crate::dialect::load::build;
use crate::dialect::load::parse::{self, Patterns, ProblemSink};
use crate::problem::{Problem, suggest};

/// All descriptions that are loaded, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    dialects: BTreeMap<String, Arc<CatalogEntry>>,
}

/// One description of a catalog.
#[derive(Debug)]
struct CatalogEntry {
    built_in: bool,
    /// Where to compile it from; none if it is compiled.
    source: Option<UncompiledDialect>,
    /// None inside: its file has an error.
    compiled: OnceLock<Option<Arc<Dialect>>>,
}

/// A file among others, which it may extend.
#[derive(Debug)]
struct UncompiledDialect {
    files: Arc<DescriptionFiles>,
    at: usize,
}

/// The files of a catalog.
#[derive(Debug)]
struct DescriptionFiles {
    sources: Vec<SourceFile>,
    /// The name that each declares.
    names: Vec<Option<String>>,
}

/// The text of a description.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path or built-in name, as shown in errors.
    pub name: String,
    /// Its TOML.
    pub text: String,
    /// Compiled in, or from ops' folder.
    pub built_in: bool,
}

/// Every file of `config/dialects`, by its path; the build lists them.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/dialects.rs"));

/// How long a chain of `extends` may be.
const MAX_EXTENDS_DEPTH: usize = 8;

impl Catalog {
    /// The descriptions compiled in (`config/dialects/*.toml`), as text.
    pub fn built_in_sources() -> Vec<SourceFile> {
        BUILT_IN
            .iter()
            .map(|(name, text)| SourceFile {
                name: (*name).to_owned(),
                text: (*text).to_owned(),
                built_in: true,
            })
            .collect()
    }

    /// The built-in descriptions. A test checks that they compile without a problem.
    pub fn built_in() -> Self {
        Self::load(&Self::built_in_sources()).0
    }

    /// Loads every file; later files replace or extend earlier ones. Returns all problems of ops' files at once; one with
    /// an error is left out of the catalog.
    pub fn load(sources: &[SourceFile]) -> (Self, Vec<Problem>) {
        let files = Arc::new(DescriptionFiles {
            sources: sources.to_vec(),
            names: sources.iter().map(SourceFile::declared_name).collect(),
        });
        let mut catalog = Self::default();
        let mut problems = Vec::new();
        let mut patterns = Patterns::new();
        for (at, source) in sources.iter().enumerate() {
            if source.built_in {
                catalog.add_uncompiled(&files, at);
                continue;
            }
            let (dialect, mut found) = compile(&files, at, &mut patterns);
            problems.append(&mut found);
            if let Some(mut dialect) = dialect {
                let before = catalog.get(&dialect.name);
                dialect.overrides = before.map(|before| before.origin.clone());
                catalog.add(dialect);
            }
        }
        if sources.iter().any(|source| !source.built_in) {
            report_clashes(&catalog, &mut problems);
        }
        (catalog, problems)
    }

    /// Every problem of every file, the built-in ones included, as if all of them were ops'.
    pub fn check(sources: &[SourceFile]) -> Vec<Problem> {
        let as_own = |source: &SourceFile| SourceFile {
            built_in: false,
            ..source.clone()
        };
        let sources: Vec<SourceFile> = sources.iter().map(as_own).collect();
        Self::load(&sources).1
    }

    fn add_uncompiled(&mut self, files: &Arc<DescriptionFiles>, at: usize) {
        let Some(name) = files.names.get(at).cloned().flatten() else {
            return;
        };
        let entry = CatalogEntry {
            built_in: true,
            source: Some(UncompiledDialect {
                files: Arc::clone(files),
                at,
            }),
            compiled: OnceLock::new(),
        };
        self.dialects.insert(name, Arc::new(entry));
    }

    fn add(&mut self, dialect: Dialect) {
        let name = dialect.name.clone();
        let entry = CatalogEntry {
            built_in: false,
            source: None,
            compiled: OnceLock::from(Some(Arc::new(dialect))),
        };
        self.dialects.insert(name, Arc::new(entry));
    }

    /// The description with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Dialect>> {
        self.dialects.get(name)?.dialect()
    }

    /// All descriptions, in the order of their names. This compiles them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dialect>> {
        self.dialects.values().filter_map(|entry| entry.dialect())
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.dialects.keys().map(String::as_str)
    }

    /// Whether the description with this name is compiled in, and not from the folder of ops.
    pub fn is_built_in(&self, name: &str) -> bool {
        self.dialects.get(name).is_some_and(|entry| entry.built_in)
    }
}

impl CatalogEntry {
    fn dialect(&self) -> Option<&Arc<Dialect>> {
        let compile_source = || {
            let UncompiledDialect { files, at } = self.source.as_ref()?;
            compile(files, *at, &mut Patterns::new()).0.map(Arc::new)
        };
        self.compiled.get_or_init(compile_source).as_ref()
    }
}

impl SourceFile {
    /// The name that the text declares. The file of a built-in description has it too, so its text is not parsed.
    fn declared_name(&self) -> Option<String> {
        let file = self.name.strip_prefix("config/dialects/");
        match file.and_then(|file| file.strip_suffix(".toml")) {
            Some(name) if self.built_in => Some(name.to_owned()),
            Some(_) | None => declared_name(&self.text),
        }
    }
}

/// Compiles the file at `at`, merged with those it `extends`. A syntax error can hide keys, tables and the name of a
/// file, so other problems may be its consequences: only the syntax error is reported, in its own file.
fn compile(
    files: &DescriptionFiles,
    at: usize,
    patterns: &mut Patterns,
) -> (Option<Dialect>, Vec<Problem>) {
    let DescriptionFiles { sources, names } = files;
    let Some(source) = sources.get(at) else {
        return (None, Vec::new());
    };
    let mut sink = ProblemSink::new(&source.name, &source.text);
    let mut table = parse::parse(&source.text, &mut sink);
    if !sink.is_clean() {
        return (None, sink.problems);
    }
    let mut current = at;
    let mut wanted = declared_base(&table);
    for depth in 0.. {
        let Some(base) = wanted else {
            break;
        };
        let found = find_base(sources, names, current, &base.name);
        if found.is_none() && names.contains(&None) {
            return (None, sink.problems);
        }
        let Some(found) = found.filter(|_| depth < MAX_EXTENDS_DEPTH) else {
            report_unknown_base(&base, depth == 0, names, &mut sink);
            break;
        };
        if !parse::merge(&mut table, &found.file.name, &found.file.text, &mut sink) {
            return (None, sink.problems);
        }
        current = found.index;
        wanted = declared_base(DeTable::parse_recoverable(&found.file.text).0.get_ref());
    }
    sink.patterns = std::mem::take(patterns);
    let dialect = build::compile(table, &mut sink).filter(|_| sink.is_clean());
    *patterns = std::mem::take(&mut sink.patterns);
    let dialect = dialect.map(|dialect| with_origin(dialect, source));
    (dialect, sink.problems)
}

fn with_origin(dialect: Dialect, source: &SourceFile) -> Dialect {
    Dialect {
        origin: source.name.clone(),
        built_in: source.built_in,
        ..dialect
    }
}

/// `own`: the file itself has it, not one that it extends.
fn report_unknown_base(
    base: &DeclaredBase,
    own: bool,
    names: &[Option<String>],
    sink: &mut ProblemSink,
) {
    let mut known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
    known.dedup();
    sink.error(
        own.then(|| base.span.clone()),
        format!("`extends` refers to an unknown dialect `{}`", base.name),
        Some(suggest(&base.name, &known)),
    );
}

/// A file, and its place among the sources.
struct FoundBase<'s> {
    index: usize,
    file: &'s SourceFile,
}

/// The last file before `from` that has the name, else the first after it.
fn find_base<'s>(
    sources: &'s [SourceFile],
    names: &[Option<String>],
    from: usize,
    wanted: &str,
) -> Option<FoundBase<'s>> {
    let fits =
        |(at, name): &(usize, &Option<String>)| *at != from && name.as_deref() == Some(wanted);
    let before = names.iter().enumerate().take(from).rfind(fits);
    let (at, _) = before.or_else(|| names.iter().enumerate().skip(from + 1).find(fits))?;
    sources.get(at).map(|file| FoundBase { index: at, file })
}

fn declared_name(text: &str) -> Option<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    table
        .get_ref()
        .get("dialect")
        .and_then(|value| value.get_ref().as_str())
        .map(str::to_owned)
}

/// The dialect that a file extends, and the span of that key.
struct DeclaredBase {
    name: String,
    span: std::ops::Range<usize>,
}

fn declared_base(table: &DeTable<'_>) -> Option<DeclaredBase> {
    let extends = table.get("extends")?;
    extends.get_ref().as_str().map(|name| DeclaredBase {
        name: name.to_owned(),
        span: extends.span(),
    })
}

/// Warns of two dialects with the same host, endpoint and `where`: their requests look alike.
fn report_clashes(catalog: &Catalog, problems: &mut Vec<Problem>) {
    let all: Vec<&Arc<Dialect>> = catalog.iter().collect();
    for (at, one) in all.iter().enumerate() {
        for other in all
            .iter()
            .skip(at + 1)
            .filter(|other| one.clashes_with(other))
        {
            let file = if one.built_in {
                &other.origin
            } else {
                &one.origin
            };
            let what = format!(
                "the dialects `{}` and `{}` have the same host, endpoint and `where`",
                one.name, other.name
            );
            let help = format!(
                "a request to that host is read as `{}`; give one a `where`, or take the host out of one",
                one.name
            );
            problems.push(Problem::warning(file, None, what).with_help(help));
        }
    }
}
