//! What exists: commands and their flags, keys of the config, keys of the descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use regex::Regex;
use sms_sidecar::config::check_text;
use sms_sidecar::dialect::Catalog;

use crate::markdown::Page;

/// Every command by its words, with its flags; the program itself is the empty list.
pub(crate) struct Commands(BTreeMap<Vec<String>, BTreeSet<String>>);

impl Commands {
    /// Reads `--help` of every command.
    pub(crate) fn collect() -> Self {
        let mut commands = BTreeMap::new();
        let mut todo = vec![Vec::new()];
        let flag = Regex::new(r"(?m)^ +(?:-\w, )?(--[a-z-]+)").unwrap();
        while let Some(words) = todo.pop() {
            let help = help(&words);
            todo.extend(subcommands(&help).map(|name| [words.clone(), vec![name]].concat()));
            let flags = flag.captures_iter(&help).map(|flag| flag[1].to_owned());
            commands.insert(words, flags.collect());
        }
        Self(commands)
    }

    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.0.values().any(|flags| flags.contains(flag))
    }

    /// What is wrong with a command line whose words follow the program's name.
    pub(crate) fn complaint(&self, line: &str) -> Option<String> {
        const END: [&str; 8] = ["|", ";", "&&", ";;", "<", ">", "#", "--"];
        let words: Vec<&str> = line
            .split_whitespace()
            .take_while(|word| !END.contains(word))
            .map(|word| word.trim_end_matches([',', '.', ')', ';', ':']))
            .collect();
        let mut command: Vec<String> = Vec::new();
        for word in &words {
            if !self.has_subcommands(&command) || !is_command_word(word) {
                break;
            }
            command.push((*word).to_owned());
        }
        let flags = words.iter().filter(|word| word.starts_with("--"));
        let flags = flags.map(|flag| flag.split('=').next().unwrap_or_default().to_owned());
        self.unknown(&command, &flags.collect())
    }

    fn has_subcommands(&self, words: &[String]) -> bool {
        self.0
            .keys()
            .any(|command| command.len() == words.len() + 1 && command.starts_with(words))
    }

    fn unknown(&self, words: &[String], flags: &BTreeSet<String>) -> Option<String> {
        let Some(known) = self.0.get(words) else {
            return Some(format!(
                "`sms-sidecar {}` is not a command",
                words.join(" ")
            ));
        };
        let flag = flags.difference(known).next()?;
        let mut program = vec!["sms-sidecar"];
        program.extend(words.iter().map(String::as_str));
        Some(format!("`{}` has no {flag}", program.join(" ")))
    }
}

/// Whether a word can name a command; `NAME`, `…` and paths cannot.
fn is_command_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

fn help(words: &[String]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    assert!(done.status.success(), "{words:?} --help fails");
    String::from_utf8(done.stdout).unwrap()
}

fn subcommands(help: &str) -> impl Iterator<Item = String> {
    let list = help
        .split_once("\nCommands:\n")
        .map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
    let names = Regex::new(r"(?m)^  ([a-z][a-z-]*)").unwrap();
    names
        .captures_iter(list)
        .map(|name| name[1].to_owned())
        .collect::<Vec<_>>()
        .into_iter()
}

/// The tables of the config, with a name where the config has one.
const TABLES: [&str; 21] = [
    "",
    "listen",
    "intercept",
    "intercept.ca",
    "limits",
    "log",
    "traces",
    "notify",
    "notify.outbound",
    "vaults.x",
    "vaults.x.embedded",
    "vaults.x.openbao",
    "vaults.x.openbao.approle",
    "vaults.x.directory",
    "vaults.x.env",
    "vaults.x.exec",
    "providers.x",
    "providers.x.outbound",
    "providers.x.credential",
    "callers.x",
    "templates.x",
];

/// Whether the config has `key` in `table`: the loader does not call it unknown.
pub(crate) fn is_config_key(table: &str, key: &str) -> bool {
    let text = match table {
        "" => format!("{key} = 0"),
        "routes" => format!("[[routes]]\n{key} = 0"),
        table => format!("[{table}]\n{key} = 0"),
    };
    let (_, problems) = check_text("page", &text, &Catalog::default());
    !problems
        .iter()
        .any(|problem| problem.message.starts_with("unknown key"))
}

/// Whether some table of the config has `key`.
pub(crate) fn is_any_config_key(key: &str) -> bool {
    is_config_key("routes", key) || TABLES.iter().any(|table| is_config_key(table, key))
}

/// Every key of the built-in descriptions and of those on a page, at any depth.
pub(crate) fn description_keys(page: &Page) -> BTreeSet<String> {
    let files = fs::read_dir("config/dialects").unwrap();
    let built_in = files.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let shown = page.blocks.iter().filter(|block| block.info == "toml");
    let mut found = BTreeSet::new();
    for text in built_in.chain(shown.map(|block| block.text.clone())) {
        let description = toml::Value::Table(toml::from_str(&text).unwrap());
        collect_keys(&description, &mut found);
    }
    found
}

fn collect_keys(value: &toml::Value, into: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                into.insert(key.clone());
                collect_keys(value, into);
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|item| collect_keys(item, into)),
        _ => {}
    }
}
