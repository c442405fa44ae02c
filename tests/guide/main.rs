//! Compares what the documentation names with what exists: pages, links, anchors, commands, flags,
//! metrics, config keys, files, and the configs and descriptions that it shows.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail anywhere"
)]

mod facts;
mod markdown;
#[path = "../support/metrics.rs"]
mod metrics;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use sms_sidecar::config::{DEFAULT_RECHECK, check_text};
use sms_sidecar::dialect::{Catalog, SourceFile};
use sms_sidecar::policy::{LAST_RESORT_INTERVAL, MAX_RECHECK_INTERVAL};
use sms_sidecar::problem::{Problem, Severity};

use crate::facts::Commands;
use crate::markdown::{Block, Located, Page};
use crate::metrics::Series;

const GUIDE: &str = "deploy/guide";
const SUMMARY: &str = "deploy/guide/SUMMARY.md";
const MAX_README_LINES: usize = 150;
/// Its blocks are parts of descriptions, which a test of its own loads.
const LANGUAGE: &str = "deploy/guide/dialect-language.md";

/// Its blocks are whole descriptions.
const EXAMPLES: &str = "deploy/guide/write-a-dialect.md";

/// Every page that is checked, outside the guide's folder.
const OTHERS: [&str; 6] = [
    "README.md",
    "CHANGELOG.md",
    "deploy/runbook.md",
    "deploy/causes.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
];

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// The words of a command line of the program.
static COMMAND: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:^\s*(?:\$ )?|[|;&(`] *|sudo )(?:[\w./]*/)?sms-sidecar +([^`]*)|cargo run .*?-- +([^`]*)",
    )
});
/// `[table]`, `[table] key` or `[table.NAME] key`.
static TABLE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\[{1,2}([a-z_.]+?)(?:\.NAME)?\]{1,2}(?: ([a-z_]+)(?: .*)?)?$"));
static DOTTED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([a-z]+)\.([a-z_]+)$"));
static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([a-z_0-9]+) += "));
static FILE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?:^|[\s"'(=])((?:src|tests|deploy|config|\.github|\.cargo)/[\w./*{},-]*)"#)
});
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| pattern(r"/(?:NAME|FOLDER|FILE)\b"));
static DESCRIPTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)^dialect +="));
static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);

fn guide_pages() -> BTreeSet<String> {
    fs::read_dir(GUIDE)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect()
}

fn read_page(path: &str) -> Page {
    Page::parse(path, &fs::read_to_string(path).unwrap())
}

fn pages() -> Vec<Page> {
    let others = OTHERS.map(str::to_owned);
    let all = guide_pages().into_iter().chain(others);
    all.map(|path| read_page(&path)).collect()
}

#[test]
fn the_readme_fits_on_one_page() {
    let lines = fs::read_to_string("README.md").unwrap().lines().count();
    assert!(lines <= MAX_README_LINES, "README.md has {lines} lines");
}

#[test]
fn the_summary_lists_every_page_of_the_guide() {
    let linked: BTreeSet<String> = read_page(SUMMARY)
        .links
        .into_iter()
        .map(|link| format!("{GUIDE}/{}", link.text))
        .collect();
    let mut written = guide_pages();
    written.remove(SUMMARY);
    assert_eq!(linked, written);
}

#[test]
fn the_documentation_names_only_what_exists() {
    let checker = Checker::new();
    let found: Vec<String> = pages()
        .iter()
        .flat_map(|page| checker.complaints(page))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_wrong_name_of_each_kind_is_found() {
    let text = [
        "[gone](nowhere.md) [gone](README.md#no-such-heading)",
        "`sms-sidecar statuss`",
        "`sms-sidecar status --verbose` and `--no-such-flag`",
        "`sms_sidecar_calls_total` `sms_sidecar_balance{currency}`",
        "`[limits] bodies` `listen.door` `repeat_window = \"10s\"` `[speed]`",
        "`tests/nothing.rs`",
        "```sh\nsms-sidecar vault peek NAME   # a comment\n```",
        "```toml\n[limits]\nbodies = \"1MiB\"\n```",
        "```toml\ndialect = \"x\"\nlike = \"twilio\"\n```",
        "```toml fragment\n[limits]\nbodies = \"1MiB\"\n```",
    ];
    let page = Page::parse("README.md", &text.join("\n"));
    let found = Checker::new().complaints(&page);
    for (line, complaint) in [
        (1, "nowhere.md does not exist"),
        (1, "README.md has no heading #no-such-heading"),
        (2, "`sms-sidecar statuss` is not a command"),
        (3, "`sms-sidecar status` has no --verbose"),
        (3, "no command has --no-such-flag"),
        (4, "sms_sidecar_calls_total is not exported"),
        (4, "sms_sidecar_balance has no label currency"),
        (5, "the config has no `[limits] bodies`"),
        (5, "the config has no `listen.door`"),
        (5, "has the key `repeat_window`"),
        (5, "has the table `[speed]`"),
        (6, "tests/nothing.rs does not exist"),
        (8, "`sms-sidecar vault peek` is not a command"),
        (10, "unknown key `bodies`"),
        (14, "`like`"),
        (18, "unknown key `bodies`"),
    ] {
        let start = format!("README.md:{line}: ");
        let is_it = |found: &String| found.starts_with(&start) && found.contains(complaint);
        assert!(
            found.iter().any(is_it),
            "{start}{complaint} is missing in\n{}",
            found.join("\n")
        );
    }
}

/// How often a quarantined provider is tried, as each text that an operator reads says it.
#[test]
fn every_text_names_the_trial_intervals_of_the_code() {
    let minutes = |time: Duration| format!("{} min", time.as_secs() / 60);
    let recheck = format!(
        "({}, doubling to {})",
        minutes(DEFAULT_RECHECK),
        minutes(MAX_RECHECK_INTERVAL)
    );
    let last_resort = format!("one request every {} s", LAST_RESORT_INTERVAL.as_secs());
    let stated = pattern(r"(?i)one request every \d+ \w+|\(\d+ \w+, doubling to \d+ \w+\)");
    let read = |path: &str| fs::read_to_string(path).unwrap().replace('\n', " ");
    let alerts = [
        "deploy/prometheus/alerts.rules.yml",
        "config/sms-sidecar.toml",
    ];
    let all = guide_pages().into_iter().chain(OTHERS.map(str::to_owned));
    for path in all.chain(alerts.map(str::to_owned)) {
        for found in stated.find_iter(&read(&path)) {
            let found = found.as_str().to_lowercase();
            assert!(
                found == recheck || found == last_resort,
                "{path} says `{found}`; the code says `{recheck}` and `{last_resort}`"
            );
        }
    }
    for path in [
        "README.md",
        "deploy/guide/concepts.md",
        "deploy/guide/vaults.md",
        "deploy/guide/faq.md",
        "deploy/runbook.md",
        "deploy/prometheus/alerts.rules.yml",
        "config/sms-sidecar.toml",
    ] {
        assert!(read(path).contains(&recheck), "{path} lacks `{recheck}`");
    }
}

struct Checker {
    commands: Commands,
    series: Series,
    description_keys: BTreeSet<String>,
}

impl Checker {
    fn new() -> Self {
        Self {
            commands: Commands::collect(),
            series: Series::collect(),
            description_keys: facts::description_keys(&read_page(EXAMPLES)),
        }
    }

    /// Every complaint about a page, as `path:line: what`.
    fn complaints(&self, page: &Page) -> Vec<String> {
        let mut found: Vec<(usize, String)> = Vec::new();
        for link in &page.links {
            let complaint = link_complaint(page, &link.text);
            found.extend(complaint.map(|complaint| (link.line, complaint)));
        }
        for code in page.code() {
            let about = self.code_complaints(&code.text);
            found.extend(about.into_iter().map(|complaint| (code.line, complaint)));
        }
        for Located { line, text } in &page.spans {
            let about = self.span_complaints(text);
            found.extend(about.into_iter().map(|complaint| (*line, complaint)));
        }
        if page.path != LANGUAGE {
            for block in &page.blocks {
                let about = block_complaints(block);
                found.extend(about.into_iter().map(|complaint| (block.line, complaint)));
            }
        }
        found
            .into_iter()
            .map(|(line, complaint)| format!("{}:{line}: {complaint}", page.path))
            .collect()
    }

    /// Of a span or a line of a block: commands, series, files.
    fn code_complaints(&self, code: &str) -> Vec<String> {
        let mut found: Vec<String> = COMMAND
            .captures_iter(code)
            .filter_map(|line| {
                self.commands
                    .complaint(line.get(1).or(line.get(2))?.as_str())
            })
            .collect();
        found.extend(self.series.complaints(code));
        found.extend(file_complaint(code));
        found
    }

    /// Of a span alone: flags, and keys of the config or of a description.
    fn span_complaints(&self, span: &str) -> Vec<String> {
        let flag = span.split([' ', '=']).next().unwrap_or_default();
        if flag.len() > 2 && flag.starts_with("--") && !self.commands.has_flag(flag) {
            return vec![format!("no command has {flag}")];
        }
        if let Some(named) = TABLE.captures(span) {
            let key = named.get(2).map(|key| key.as_str());
            return self.table_complaint(&named[1], key).into_iter().collect();
        }
        if let Some(named) = DOTTED.captures(span) {
            return dotted_complaint(&named[1], &named[2]).into_iter().collect();
        }
        let key = ASSIGNED.captures(span).map(|named| named[1].to_owned());
        key.filter(|key| !facts::is_any_config_key(key) && !self.description_keys.contains(key))
            .map(|key| format!("neither the config nor a description has the key `{key}`"))
            .into_iter()
            .collect()
    }

    fn table_complaint(&self, table: &str, key: Option<&str>) -> Option<String> {
        let last = table.split('.').next_back().unwrap_or_default();
        let first = table.split('.').next().unwrap_or_default();
        if !facts::is_config_key("", first) {
            let known = self.description_keys.contains(last);
            return (!known).then(|| {
                format!("neither the config nor a description has the table `[{table}]`")
            });
        }
        let key = key?;
        let named = ["vaults", "providers", "callers", "templates"];
        let table_with_name = match table {
            table if named.contains(&table) => format!("{table}.x"),
            table => table.to_owned(),
        };
        let known = facts::is_config_key(&table_with_name, key);
        (!known).then(|| format!("the config has no `[{table}] {key}`"))
    }
}

fn dotted_complaint(table: &str, key: &str) -> Option<String> {
    let tables = [
        "listen",
        "intercept",
        "limits",
        "log",
        "traces",
        "notify",
        "outbound",
    ];
    let whole = match table {
        "outbound" => "providers.x.outbound",
        table => table,
    };
    let wrong = tables.contains(&table) && !facts::is_config_key(whole, key);
    wrong.then(|| format!("the config has no `{table}.{key}`"))
}

/// A link's file or heading that does not exist.
fn link_complaint(page: &Page, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let linked = match file {
        "" => page.path.clone(),
        file => normalized(&page.path, file),
    };
    if !Path::new(&linked).exists() {
        return Some(format!("{linked} does not exist"));
    }
    let has_anchor = anchor.is_empty() || read_page(&linked).has_anchor(anchor);
    (!has_anchor).then(|| format!("{linked} has no heading #{anchor}"))
}

/// `target` as seen from the folder of `page`, from the repository's root.
fn normalized(page: &str, target: &str) -> String {
    let mut path = PathBuf::from(page);
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path.to_str().unwrap().to_owned()
}

/// A file of the repository that `code` names and that does not exist.
fn file_complaint(code: &str) -> Option<String> {
    FILE.captures_iter(code)
        .map(|found| found[1].trim_end_matches(['.', ',']).to_owned())
        // A pattern or a placeholder: the folder that has it must exist.
        .map(
            |file| match file.find(['*', '{']).or_else(|| placeholder(&file)) {
                Some(at) => file.split_at(at).0.rsplit_once('/').unwrap().0.to_owned(),
                None => file,
            },
        )
        .find(|file| !Path::new(file).exists())
        .map(|file| format!("{file} does not exist"))
}

/// Where `NAME` or another word in capitals begins.
fn placeholder(file: &str) -> Option<usize> {
    PLACEHOLDER.find(file).map(|found| found.start() + 1)
}

/// What the loader says about a block of TOML: a whole config, a whole description, or a fragment
/// of a config, whose keys must exist.
fn block_complaints(block: &Block) -> Vec<String> {
    let Some(kind) = block.info.strip_prefix("toml") else {
        return Vec::new();
    };
    let is_description = DESCRIPTION.is_match(top_level(&block.text));
    let problems = match (is_description, kind.trim()) {
        (true, _) => load_description(&block.text),
        (false, "fragment") => {
            let mut problems = check_config(&block.text);
            problems.retain(|problem| problem.message.starts_with("unknown key"));
            problems
        }
        (false, _) => check_config(&block.text),
    };
    problems
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.message)
        .collect()
}

/// The keys above the first table.
fn top_level(text: &str) -> &str {
    match text.find("\n[") {
        _ if text.starts_with('[') => "",
        Some(at) => text.split_at(at).0,
        None => text,
    }
}

fn check_config(text: &str) -> Vec<Problem> {
    check_text("page", text, &CATALOG).1
}

fn load_description(text: &str) -> Vec<Problem> {
    let mut sources = Catalog::built_in_sources();
    sources.push(SourceFile {
        name: "page".to_owned(),
        text: text.to_owned(),
        built_in: false,
    });
    Catalog::load(&sources).1
}
