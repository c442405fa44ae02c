//! All descriptions by name: the ones compiled in and ops' own. A later file of the same
//! name takes an earlier one's place; `like` lays a file over another.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::dialect::load::build;
use crate::dialect::load::parse::{self, ProblemSink};
use crate::problem::Problem;

/// All descriptions that are loaded, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    dialects: BTreeMap<String, Arc<Dialect>>,
}

/// A description as text, before it is read.
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

/// As deep as `like` may go.
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

    /// The descriptions compiled in, compiled. They are tested to have no problem.
    pub fn built_in() -> Self {
        Self::load(&Self::built_in_sources()).0
    }

    /// Compiles every file; later files override or extend (`like`) earlier ones. All problems at once;
    /// a file with an error is left out of the catalog.
    pub fn load(sources: &[SourceFile]) -> (Self, Vec<Problem>) {
        let (mut dialects, mut problems) = (BTreeMap::new(), Vec::new());
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

    /// One by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Dialect>> {
        self.dialects.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dialect>> {
        self.dialects.values()
    }
}

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
    let mut underneath = (at, declared_base(&source.text));
    for depth in 0.. {
        let (from, Some((wanted, span))) = underneath else {
            break;
        };
        let own = (depth == 0).then_some(span);
        let Some((base_at, base)) =
            find_base(sources, names, from, &wanted).filter(|_| depth < MAX_EXTENDS_DEPTH)
        else {
            let mut known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
            known.dedup();
            sink.error(
                own,
                format!("`extends` refers to an unknown dialect `{wanted}`"),
                Some(format!("known are: {}", known.join(" "))),
            );
            break;
        };
        let below = parse::parse(&base.text, &mut ProblemSink::new(&base.name, &base.text));
        parse::merge(&mut table, below, (&base.name, base.text.len()), &mut sink);
        underneath = (base_at, declared_base(&base.text));
    }
    let dialect = build::compile(table, &mut sink).filter(|_| sink.is_clean());
    let dialect = dialect.map(|dialect| Dialect {
        origin: source.name.clone(),
        built_in: source.built_in,
        ..dialect
    });
    (dialect, sink.problems)
}

/// The last file before this one that has the name; else, for ops' own in any order, the first after it.
fn find_base<'s>(
    sources: &'s [SourceFile],
    names: &[Option<String>],
    from: usize,
    wanted: &str,
) -> Option<(usize, &'s SourceFile)> {
    let fits =
        |(at, name): &(usize, &Option<String>)| *at != from && name.as_deref() == Some(wanted);
    let before = names.iter().enumerate().take(from).rfind(fits);
    let (at, _) = before.or_else(|| names.iter().enumerate().skip(from + 1).find(fits))?;
    sources.get(at).map(|source| (at, source))
}

fn declared_name(text: &str) -> Option<String> {
    let (table, _) = toml::de::DeTable::parse_recoverable(text);
    table
        .get_ref()
        .get("dialect")
        .and_then(|value| value.get_ref().as_str())
        .map(str::to_owned)
}

fn declared_base(text: &str) -> Option<(String, std::ops::Range<usize>)> {
    let (table, _) = toml::de::DeTable::parse_recoverable(text);
    let like = table.get_ref().get("extends")?;
    like.get_ref()
        .as_str()
        .map(|name| (name.to_owned(), like.span()))
}

/// Two dialects of one host with the same call: nothing would tell them apart.
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
