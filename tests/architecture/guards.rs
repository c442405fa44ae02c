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
];

/// The rooms that may read JSON without a limit: the limit itself, the parser that checks it for every format, a file
/// of an installed package, our own vault file and log, and what the sidecar and its operator say to each other on the
/// control socket.
const READERS_OF_OWN_JSON: &[&str] = &[
    "src/parse_limit.rs",
    "src/dialect/wire/body.rs",
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

/// The rooms that do not know the config and name commands without it, and what completes their texts.
const UNCOMPLETED_COMMANDS: &[&str] = &[
    "src/vault/",
    "src/net/",
    "src/doctor/",
    "src/cli/",
    "src/telemetry/notification.rs",
    "src/diagnosis/",
];

/// Elsewhere a command in a text is made by `format_command`, or says `--config` itself.
#[test]
fn a_command_in_a_text_has_its_config() {
    let found: Vec<String> = files()
        .iter()
        .filter(|file| !file.name().ends_with("tests.rs"))
        .filter(|file| {
            !UNCOMPLETED_COMMANDS
                .iter()
                .any(|room| file.name().starts_with(room))
        })
        .flat_map(|file| bare_commands(&file.name(), &file.text))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(
        bare_commands("x", "let a = \"run `sms-sidecar ca init`\";").len(),
        1
    );
    assert!(bare_commands("x", "/// `sms-sidecar ca init`").is_empty());
}

fn bare_commands(file: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .zip(1..)
        .filter(|(line, _)| {
            let is_comment = line.trim_start().starts_with("//");
            let takes_config = ["ca", "check", "doctor", "run", "vault", "resume", "reload"]
                .iter()
                .any(|name| line.contains(&format!("`sms-sidecar {name} ")));
            !is_comment && takes_config && !line.contains("--config")
        })
        .map(|(line, number)| format!("{file}:{number}: {}", line.trim()))
        .collect()
}
