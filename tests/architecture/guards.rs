//! What only one room may do: match on the kinds of vaults, and say under which circumstances an
//! attempt failed. A second place would have to be changed with every new kind.

use crate::tree::files;

/// A pattern in the source text, where it may stand, and why.
struct Guard {
    text: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

const GUARDS: &[Guard] = &[
    Guard {
        text: "SourceSettings::",
        allowed: &["src/vault/", "src/config/vaults/"],
        reason: "a vault describes itself; ask its `VaultKind`",
    },
    Guard {
        text: "DiagnosisContext {",
        allowed: &["src/provider/", "src/diagnosis/"],
        reason: "the context of a failed attempt is built in `provider::diagnose`",
    },
    Guard {
        text: "serde_json::from_slice",
        allowed: READERS_OF_OWN_JSON,
        reason: "foreign JSON is read by `parse_limit::read_json`, which bounds its values",
    },
    Guard {
        text: "serde_json::from_str",
        allowed: READERS_OF_OWN_JSON,
        reason: "foreign JSON is read by `parse_limit::read_json`, which bounds its values",
    },
    Guard {
        text: "serde_json::from_reader",
        allowed: &[],
        reason: "foreign JSON is read by `parse_limit::read_json`, which bounds its values",
    },
    Guard {
        text: "unbounded_channel",
        allowed: &[],
        reason: "every queue is bounded; use `mpsc::channel`",
    },
    Guard {
        text: "collect().await",
        allowed: &["src/proxy/control.rs", "src/cli/http_client.rs"],
        reason: "a body is read within a limit; use a `BodyBuffer`, or `Limited` for one that is not a message",
    },
];

/// The rooms that may read JSON without a limit: the limit itself, the parsers that check it for every format, a file
/// of an installed package, our own vault file and log, and what the sidecar and its operator say to each other on the
/// control socket.
const READERS_OF_OWN_JSON: &[&str] = &[
    "src/parse_limit.rs",
    "src/dialect/wire/body.rs",
    "src/dialect/wire/json_text.rs",
    "src/node.rs",
    "src/vault/embedded.rs",
    "src/proxy/control.rs",
    "src/cli/control.rs",
    "src/cli/connect.rs",
    "src/cli/demo/sidecar.rs",
];

#[test]
fn guarded_names_stay_in_their_rooms() {
    let found: Vec<String> = files()
        .iter()
        .filter(|file| !file.is_test())
        .flat_map(|file| breaches(&file.name(), without_tests(&file.text)))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_breach_is_found_with_its_line() {
    let found = breaches(
        "src/doctor/x.rs",
        "fn f() {}\nmatch s { SourceSettings::Env(_) => 1 }",
    );
    assert_eq!(found.len(), 1);
    assert!(
        found
            .iter()
            .all(|line| line.starts_with("src/doctor/x.rs:2: ")),
        "{found:?}"
    );
    assert!(breaches("src/vault/x.rs", "SourceSettings::Env").is_empty());
    assert_eq!(
        breaches("src/dialect/x.rs", "serde_json::from_str::<Value>(text)").len(),
        1
    );
    assert!(breaches("src/cli/x.rs", "source.and_then(SourceSettings::env_file)").is_empty());
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default()
}

/// A variant or a literal; a method, in lower case, may be called anywhere.
fn breaches(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for guard in GUARDS {
        if guard.allowed.iter().any(|room| file.starts_with(room)) {
            continue;
        }
        for (line, number) in text.lines().zip(1..) {
            let mut after = line.split(guard.text).skip(1);
            if after.any(|rest| !rest.starts_with(|first: char| first.is_ascii_lowercase())) {
                found.push(format!(
                    "{file}:{number}: {}: {}",
                    guard.reason,
                    line.trim()
                ));
            }
        }
    }
    found
}

/// The literals that name a command without its config: where, which, and what adds the config before anybody reads it.
/// `output` completes every text of the command line, and `Config::error` and `warning` the problems of a config.
const COMPLETED_LATER: &[(&str, &str, &str)] = &[
    ("src/net/ca/mod.rs", "ca init", "output, Config::error"),
    ("src/net/ca/mod.rs", "reload", "output, Config::error"),
    ("src/net/ca/mod.rs", "ca renew", "output, Config::error"),
    (
        "src/vault/file.rs",
        "vault init",
        "the sink of vault reads, output",
    ),
    (
        "src/vault/embedded.rs",
        "vault init",
        "the sink of vault reads, output",
    ),
    (
        "src/vault/embedded.rs",
        "vault list",
        "the sink of vault reads, output",
    ),
    (
        "src/vault/embedded.rs",
        "vault set",
        "itself, by `config_option`",
    ),
    (
        "src/vault/error.rs",
        "vault import-env",
        "the sink of vault reads, output",
    ),
    (
        "src/vault/error.rs",
        "vault init",
        "the sink of vault reads, output",
    ),
    (
        "src/doctor/backend/entrypoint.rs",
        "wrap",
        "Check::complete_commands",
    ),
    (
        "src/doctor/backend/entrypoint.rs",
        "ca init",
        "Check::complete_commands",
    ),
    ("src/cli/ca.rs", "ca renew", "output"),
    ("src/cli/ca.rs", "reload", "output"),
    ("src/cli/vault.rs", "vault set", "output"),
    ("src/cli/vault.rs", "vault list", "output"),
    ("src/cli/vault/value.rs", "vault rm", "output"),
    ("src/cli/vault/import/report.rs", "vault set", "output"),
    ("src/cli/vault/import/report.rs", "vault list", "output"),
    ("src/cli/control.rs", "check", "output"),
    ("src/cli/control.rs", "run", "output"),
    (
        "src/config/reference.rs",
        "check",
        "a page of the guide: for every config",
    ),
];

/// The subcommands that take `--config`.
const CONFIG_COMMANDS: &[&str] = &[
    "ca", "check", "doctor", "pause", "reload", "resume", "run", "send", "status", "vault", "wrap",
];

/// A command in a text is made by `format_command`, which adds the config and quotes its path for a shell, or is
/// completed later at a place listed above.
#[test]
fn a_command_in_a_text_has_its_config() {
    let mut found = Vec::new();
    let mut used = vec![false; COMPLETED_LATER.len()];
    for file in files() {
        for command in bare_commands(&file.name(), &file.text) {
            let listed = COMPLETED_LATER
                .iter()
                .position(|(place, text, _)| *place == file.name() && command.ends_with(text));
            match listed {
                Some(place) => used[place] = true,
                None => found.push(command),
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    for ((file, command, _), used) in COMPLETED_LATER.iter().zip(used) {
        assert!(used, "{file} does not name `{command}` any more");
    }
}

#[test]
fn the_guard_finds_a_command_without_its_config() {
    let found = |line: &str| bare_commands("x", line);
    assert_eq!(
        found("let a = \"run `sms-sidecar ca init`\";"),
        ["x:1: ca init"]
    );
    assert_eq!(
        found("let a = \"`sms-sidecar reload`, `sms-sidecar wrap -- npm`\";"),
        ["x:1: reload", "x:1: wrap"]
    );
    assert_eq!(
        found("let a = \"`sms-sidecar check --config {file}`\";"),
        ["x:1: check"]
    );
    assert!(found("/// `sms-sidecar ca init`").is_empty());
    assert!(found("let a = \"`sms-sidecar dialects show x`\";").is_empty());
}

/// Each command in backticks with its action: `file:line: ca init`.
fn bare_commands(file: &str, text: &str) -> Vec<String> {
    if file.ends_with("tests.rs") || file.contains("/tests/") {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim_start().starts_with("//"))
        .flat_map(|(line, number)| {
            let commands = line.split("`sms-sidecar ").skip(1);
            commands.filter_map(move |rest| {
                let words: Vec<&str> = rest.split('`').next()?.split_whitespace().collect();
                let name = CONFIG_COMMANDS.iter().find(|name| **name == words[0])?;
                let action = words.get(1).filter(|word| {
                    word.starts_with(|first: char| first.is_ascii_lowercase())
                        && !word.contains('{')
                });
                let action = action.map_or_else(String::new, |action| format!(" {action}"));
                Some(format!("{file}:{number}: {name}{action}"))
            })
        })
        .collect()
}
