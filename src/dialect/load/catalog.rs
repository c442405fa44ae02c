//! All descriptions by name: the built-in ones and those of ops. A later file of the same
//! name replaces an earlier one; `extends` builds a file on another.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::dialect::load::build;
use crate::dialect::load::parse::{self, ProblemSink};
use crate::problem::{Problem, suggest};

/// All descriptions that are loaded, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    dialects: BTreeMap<String, Arc<Dialect>>,
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

    /// The built-in descriptions, loaded. A test checks that they load without a problem.
    pub fn built_in() -> Self {
        Self::load(&Self::built_in_sources()).0
    }

    /// Compiles every file; later files replace or extend earlier ones. Returns all problems at once;
    /// a file with an error is left out of the catalog.
    pub fn load(sources: &[SourceFile]) -> (Self, Vec<Problem>) {
        let mut dialects = BTreeMap::new();
        let mut problems = Vec::new();
        let names: Vec<Option<String>> = sources
            .iter()
            .map(|source| declared_name(&source.text))
            .collect();
        for at in 0..sources.len() {
            let (dialect, mut found) = compile(sources, &names, at);
            problems.append(&mut found);
            if let Some(mut dialect) = dialect {
                let before: Option<&Arc<Dialect>> = dialects.get(&dialect.name);
                dialect.overrides = before.map(|before| before.origin.clone());
                dialects.insert(dialect.name.clone(), Arc::new(dialect));
            }
        }
        report_clashes(&dialects, &mut problems);
        (Self { dialects }, problems)
    }

    /// The description with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Dialect>> {
        self.dialects.get(name)
    }

    /// All descriptions, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dialect>> {
        self.dialects.values()
    }
}

/// Compiles the file at `at`, merged with those it `extends`. A syntax error can hide keys, tables and the name of a
/// file, so other problems may be its consequences: only the syntax error is reported, in its own file.
fn compile(
    sources: &[SourceFile],
    names: &[Option<String>],
    at: usize,
) -> (Option<Dialect>, Vec<Problem>) {
    let Some(source) = sources.get(at) else {
        return (None, Vec::new());
    };
    let mut sink = ProblemSink::new(&source.name, &source.text);
    let mut table = parse::parse(&source.text, &mut sink);
    if !sink.is_clean() {
        return (None, sink.problems);
    }
    let mut current = at;
    let mut wanted = declared_base(&source.text);
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
        wanted = declared_base(&found.file.text);
    }
    let dialect = build::compile(table, &mut sink).filter(|_| sink.is_clean());
    (
        dialect.map(|dialect| with_origin(dialect, source)),
        sink.problems,
    )
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
    let (table, _) = toml::de::DeTable::parse_recoverable(text);
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

fn declared_base(text: &str) -> Option<DeclaredBase> {
    let (table, _) = toml::de::DeTable::parse_recoverable(text);
    let extends = table.get_ref().get("extends")?;
    extends.get_ref().as_str().map(|name| DeclaredBase {
        name: name.to_owned(),
        span: extends.span(),
    })
}

/// Warns of two dialects with the same host, endpoint and `where`: their requests look alike.
fn report_clashes(dialects: &BTreeMap<String, Arc<Dialect>>, problems: &mut Vec<Problem>) {
    let all: Vec<&Arc<Dialect>> = dialects.values().collect();
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
