//! Holds the source tree to its layer order: a module may name only itself and
//! modules on lower layers. The table is the architecture; `src/lib.rs` draws it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tree::sources;

/// Lowest layer first. Modules that share a line may not name each other.
pub(crate) const LAYERS: &[&[&str]] = &[
    &[
        "sms",
        "secret",
        "clock",
        "problem",
        "file_error",
        "forward_write",
        "harden",
        "parse_limit",
        "node",
    ],
    &["dialect", "policy", "diagnosis"],
    &["telemetry", "tls", "reply_parser"],
    &["vault", "net", "status"],
    &["provider"],
    &["proxy", "admin", "trace_export", "notify"],
    &["config"],
    &["doctor"],
    &["app"],
    &["cli"],
];

/// What the pure layers may not use outside their tests.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "dyn ",
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "tokio::",
    "static ",
    "tracing::",
];
const JUDGEMENT: &[&str] = &["sms", "dialect", "policy", "diagnosis", "status"];

#[test]
fn modules_name_only_lower_layers() {
    let wrong: Vec<String> = owned()
        .flat_map(|(file, owner)| breaches(&file.display().to_string(), &read(&file), &owner))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_app_and_cli_name_the_config() {
    let wrong: Vec<String> = owned()
        .filter(|(file, owner)| {
            !["config", "app", "cli"].contains(&owner.as_str()) && !file.ends_with("tests.rs")
        })
        .filter(|(file, _)| {
            let text = read(file);
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            code.contains("crate::config")
        })
        .map(|(file, _)| file.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn judgement_is_pure() {
    let wrong: Vec<String> = owned()
        .filter(|(file, owner)| JUDGEMENT.contains(&owner.as_str()) && !file.ends_with("tests.rs"))
        .flat_map(|(file, _)| impurities(&file.display().to_string(), &read(&file)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<PathBuf> = sources(Path::new("src"))
        .into_iter()
        .filter(|file| !read(file).starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "no `//!` at the head of {silent:?}");
}

#[test]
fn main_names_the_command_line_only() {
    let text = read(Path::new("src/main.rs"));
    let named: Vec<String> = text.split("sms_sidecar::").skip(1).map(ident).collect();
    assert_eq!(named, ["cli"]);
}

#[test]
fn breaches_are_found() {
    assert_eq!(
        breaches(
            "f",
            "use crate::sms::Cause;\nuse crate::proxy::Route;",
            "proxy"
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        breaches("f", "// as crate::proxy does", "vault"),
        Vec::<String>::new()
    );
    assert_eq!(
        breaches("f", "use crate::provider::Provider;", "proxy"),
        Vec::<String>::new()
    );
    for (text, owner) in [
        ("use crate::proxy::Settings;", "vault"),
        ("use crate::proxy::Proxy;", "provider"),
        ("use crate::provider::Provider;", "vault"),
        ("use crate::net::Listen;", "vault"),
        ("let x = crate::config::load();", "proxy"),
        ("use crate::{sms, proxy};", "app"),
        ("use super::super::proxy;", "vault"),
        ("use crate::clock::Clock;", "a_module_without_layer"),
    ] {
        assert_eq!(breaches("f", text, owner).len(), 1, "{text} in {owner}");
    }
    assert_eq!(impurities("f", "pub async fn f() {}\n").len(), 1);
    assert_eq!(
        impurities(
            "f",
            "fn f() {} // async and dyn\n#[cfg(test)]\nuse std::fs;\n"
        ),
        Vec::<String>::new()
    );
}

/// Every line of `text` that names a module its owner may not name.
fn breaches(file: &str, text: &str, owner: &str) -> Vec<String> {
    let Some(mine) = rank(owner) else {
        return vec![format!("{file}: `{owner}` has no layer")];
    };
    let mut found = Vec::new();
    for (line, n) in text.lines().zip(1..) {
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("super::super") {
            found.push(format!(
                "{file}:{n}: write `crate::` instead of `super::super`"
            ));
        }
        for name in code
            .split("crate::")
            .skip(1)
            .map(ident)
            .filter(|name| name != owner)
        {
            if rank(&name).is_none_or(|theirs| theirs >= mine) {
                found.push(format!("{file}:{n}: `{owner}` may not name `{name}`"));
            }
        }
    }
    found
}

/// Every line before the tests that uses what the pure layers may not use.
fn impurities(file: &str, text: &str) -> Vec<String> {
    let code = text
        .lines()
        .zip(1..)
        .take_while(|(line, _)| !line.starts_with("#[cfg(test)]"));
    code.flat_map(|(line, n)| {
        let code = line.split("//").next().unwrap_or_default();
        IMPURE
            .iter()
            .filter(|word| has_word(code, word))
            .map(move |word| format!("{file}:{n}: a pure layer may not use `{}`", word.trim()))
    })
    .collect()
}

/// Whether `code` has `word` as a word of its own (`'static ` is not `static `).
fn has_word(code: &str, word: &str) -> bool {
    let before = |at: usize| code.get(..at).and_then(|head| head.chars().next_back());
    code.match_indices(word)
        .any(|(at, _)| before(at).is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '\''))
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&module))
}

/// The identifier at the head of `rest`; empty for `crate::{…}`, which is refused:
/// one module per `use`, so that a grep finds every edge.
fn ident(rest: &str) -> String {
    rest.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// Each source file below a module, with that module.
fn owned() -> impl Iterator<Item = (PathBuf, String)> {
    sources(Path::new("src"))
        .into_iter()
        .filter_map(|file| owner(&file).map(|owner| (file, owner)))
}

/// The top-level module a file belongs to; none for `main.rs` and `lib.rs`.
fn owner(file: &Path) -> Option<String> {
    let first = file.strip_prefix("src").ok()?.components().next()?;
    let name = first.as_os_str().to_str()?.trim_end_matches(".rs");
    (name != "main" && name != "lib").then(|| name.to_owned())
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}
