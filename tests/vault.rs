//! `sms-sidecar vault` as a person runs it: real files, real standard input, exit codes.
#![expect(
    clippy::unwrap_used,
    reason = "a command that cannot be run is a failed test"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Vault(tempfile::TempDir);

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Vault {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn made() -> Self {
        let vault = Self::new();
        assert_eq!(vault.says(&["init"], "").code, 0);
        vault
    }

    fn says(&self, args: &[&str], input: &str) -> Said {
        let (file, key) = (
            self.0.path().join("vault.age"),
            self.0.path().join("vault.key"),
        );
        let place = [
            "--vault-file",
            file.to_str().unwrap(),
            "--key-file",
            key.to_str().unwrap(),
        ];
        run(&[&["vault"], args, &place].concat(), input)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn run(args: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails before it reads closes the pipe.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap_or_default();
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    Said {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

#[test]
fn values_are_shown_only_when_asked_for() {
    let vault = Vault::made();
    let set = vault.says(&["set", "sms/x", "password", "--stdin"], "canary-value\n");
    assert_eq!(
        (set.code, set.out.as_str(), set.err.as_str()),
        (0, "sms/x password: set\n", "")
    );
    let quiet = [
        vault.says(&["get", "sms/x"], ""),
        vault.says(&["get", "sms/x", "password", "--json"], ""),
        vault.says(&["list"], ""),
        vault.says(&["list", "--json"], ""),
    ];
    for run in quiet {
        assert_eq!(run.code, 0);
        assert!(
            run.out.contains("password") && !format!("{}{}", run.out, run.err).contains("canary"),
            "{}",
            run.out
        );
    }
    assert_eq!(
        vault.says(&["get", "sms/x", "password", "--show"], "").out,
        "canary-value\n"
    );
    assert_eq!(
        vault.says(&["get", "sms/x", "--show"], "").out,
        "password = canary-value\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&vault.says(&["get", "sms/x", "--show", "--json"], "").out).unwrap();
    assert_eq!(
        json,
        serde_json::json!({ "path": "sms/x", "fields": { "password": "canary-value" } })
    );
    let listed: serde_json::Value =
        serde_json::from_str(&vault.says(&["list", "--json"], "").out).unwrap();
    assert_eq!(
        listed,
        serde_json::json!([{ "path": "sms/x", "fields": ["password"] }])
    );
}

#[test]
fn a_value_is_no_argument() {
    let vault = Vault::made();
    let refused = vault.says(&["set", "sms/x", "password", "canary-value"], "");
    assert_eq!(refused.code, 2);
    assert_eq!(vault.says(&["list"], "").out, "");
}

#[test]
fn values_come_from_standard_input_or_a_file() {
    let vault = Vault::made();
    let file = vault.path().join("value");
    let set = ["set", "sms/x", "key", "--file", file.to_str().unwrap()];
    std::fs::write(&file, "two\nlines\n").unwrap();
    let refused = vault.says(&set, "");
    assert!(
        refused.code == 2
            && refused
                .err
                .contains("the value of `key` contains a newline"),
        "{}",
        refused.err
    );
    std::fs::write(&file, "\u{FEFF}one line\r\n").unwrap();
    assert_eq!(vault.says(&set, "").code, 0);
    assert_eq!(
        vault.says(&["get", "sms/x", "key", "--show"], "").out,
        "one line\n"
    );
    let quoted = vault.says(&["set", "sms/x", "password", "--stdin"], "'quoted'");
    assert_eq!(
        quoted.err,
        "warning: the value of `password` is in quotes, which are sent as part of it\n"
    );
    for (args, input) in [
        (["set", "sms/x", "f", "--stdin"], "\n"),
        (["set", "../x y", "f", "--stdin"], "v"),
    ] {
        assert_eq!(vault.says(&args, input).code, 2, "{args:?}");
    }
    let missing = vault.says(&["set", "sms/x", "f", "--file", "/nonexistent"], "");
    assert!(
        missing.code == 2 && missing.err.contains("/nonexistent does not exist"),
        "{}",
        missing.err
    );
}

/// A running sidecar sees each write: a new user never meets the old password.
#[test]
fn several_fields_are_set_in_one_write() {
    let vault = Vault::made();
    let lines = vault.path().join("lines");
    std::fs::write(&lines, "u1\np1\n").unwrap();
    let first = vault.says(
        &[
            "set",
            "sms/x",
            "username",
            "password",
            "--file",
            lines.to_str().unwrap(),
        ],
        "",
    );
    assert_eq!(
        (first.code, first.out.as_str()),
        (0, "sms/x username: set\nsms/x password: set\n"),
        "{}",
        first.err
    );
    let again = vault.says(
        &["set", "sms/x", "username", "password", "--stdin"],
        "u1\r\np2\r\n",
    );
    assert_eq!(
        again.out, "sms/x username: unchanged\nsms/x password: replaced\n",
        "{}",
        again.err
    );
    assert_eq!(
        vault.says(&["get", "sms/x", "--show"], "").out,
        "password = p2\nusername = u1\n"
    );
    let before = std::fs::read(vault.path().join("vault.age")).unwrap();
    let refused = [
        (
            &["username", "password"][..],
            "u3\n",
            "2 fields need one line each, but the input has 1 line",
        ),
        (
            &["username", "password"],
            "u3\np3\nx3\n",
            "but the input has 3 lines",
        ),
        (&["username", "password"], "u3\n\n", "is empty"),
        (&["username", "username"], "u3\np3\n", "given twice"),
    ];
    for (fields, input, what) in refused {
        let run = vault.says(&[&["set", "sms/x"], fields, &["--stdin"]].concat(), input);
        assert!(
            run.code == 2 && run.err.contains(what) && run.out.is_empty(),
            "{}",
            run.err
        );
        assert!(
            !run.err.contains("u3") && !run.err.contains("p3"),
            "{}",
            run.err
        );
    }
    assert_eq!(
        std::fs::read(vault.path().join("vault.age")).unwrap(),
        before
    );
}

/// What the config's provider makes of it is said, and the vault takes it all the same.
#[test]
fn a_field_nobody_reads_is_a_warning_and_a_placeholder_is_refused() {
    let vault = Vault::made();
    let config = vault.path().join("config.toml");
    let text = "[vaults.local]\nembedded = { file = \"vault.age\", key_file = \"vault.key\" }\n[providers.playmobile]\ndialect = \"playmobile\"\nsender = \"3700\"\ncredential = { vault = \"local\", path = \"sms/playmobile\" }\n";
    std::fs::write(&config, text).unwrap();
    let set = |config: &Path, fields: &[&str], input: &str| {
        let place = ["--stdin", "--config", config.to_str().unwrap()];
        run(
            &[&["vault", "set", "sms/playmobile"], fields, &place].concat(),
            input,
        )
    };
    let odd = set(&config, &["usrname", "password"], "u\np-1\n");
    assert_eq!(odd.code, 0, "{}", odd.err);
    assert!(
        odd.err.contains(
            "provider `playmobile` reads no field `usrname` of this entry; did you mean `username`?"
        ),
        "{}",
        odd.err
    );
    for (value, problem) in [
        ("sms-sidecar", "is the placeholder of the backend's `.env`"),
        ("undefined", "is `undefined`"),
        ("${PLAYMOBILE_PASSWORD}", "is the name of a variable"),
        ("<password>", "is the placeholder of an example"),
        ("********", "is a mask"),
    ] {
        let refused = set(
            &config,
            &["username", "password"],
            &format!("new\n{value}\n"),
        );
        assert_eq!(refused.code, 2, "{}", refused.err);
        let words = [
            problem,
            "`password`",
            "nothing was changed",
            "the value that the service",
        ];
        assert!(
            words.iter().all(|word| refused.err.contains(word)),
            "{}",
            refused.err
        );
    }
    let kept = set(&config, &["password"], "p-1");
    assert!(kept.out.contains("unchanged"), "{}", kept.out);
    for fields in [
        ["username", "password"],
        ["PLAYMOBILE_LOGIN", "PLAYMOBILE_PASSWORD"],
    ] {
        assert_eq!(set(&config, &fields, "u\np\n").err, "");
    }
    std::fs::write(
        &config,
        text.replace(
            "sms/playmobile\" }",
            "sms/playmobile\", fields = { username = \"who\" } }",
        ),
    )
    .unwrap();
    let mapped = set(&config, &["who", "username"], "u\nu\n");
    assert!(
        !mapped.err.contains("`who`;") && mapped.err.contains("reads no field `username`"),
        "{}",
        mapped.err
    );
}

const ENV: &str = "PORT=3000\nPLAYMOBILE_LOGIN=canary-login\nPLAYMOBILE_PASSWORD=\"canary-password\" # live\nTWILIO_ACCOUNT_SID=ACca0a51cafe0a51cafe0a51cafe0a51ca\n";

#[test]
fn a_backends_env_is_taken_over_after_a_yes() {
    let vault = Vault::made();
    let file = vault.path().join(".env");
    std::fs::write(&file, ENV).unwrap();
    let import = |more: &[&str], input: &str| {
        vault.says(
            &[&["import-env", file.to_str().unwrap()], more].concat(),
            input,
        )
    };

    let declined = import(&[], "n\n");
    assert_eq!(declined.code, 1);
    assert!(
        declined
            .out
            .contains("sms/playmobile password = PLAYMOBILE_PASSWORD"),
        "{}",
        declined.out
    );
    assert!(
        declined
            .out
            .contains("sms/twilio auth_token: no variable contains it"),
        "{}",
        declined.out
    );
    assert_eq!(vault.says(&["list"], "").out, "");
    let proposed: serde_json::Value = serde_json::from_str(&import(&["--json"], "").out).unwrap();
    assert_eq!(
        (
            proposed["written"].as_bool(),
            proposed["entries"][0]["path"].as_str()
        ),
        (Some(false), Some("sms/playmobile"))
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ENV);

    assert_eq!(
        import(&["--yes", "--only", "eskiz"], "").code,
        1,
        "nothing of it is there"
    );
    let taken = import(&["--replace-with-placeholders"], "yes\n");
    assert_eq!(taken.code, 0, "{}", taken.err);
    for run in [declined, taken] {
        assert!(!format!("{}{}", run.out, run.err).contains("canary"));
    }
    assert_eq!(
        vault
            .says(&["get", "sms/playmobile", "password", "--show"], "")
            .out,
        "canary-password\n"
    );
    let left = std::fs::read_to_string(&file).unwrap();
    let expected = "PORT=3000\nPLAYMOBILE_LOGIN=sms-sidecar\nPLAYMOBILE_PASSWORD=\"sms-sidecar\" # live\nTWILIO_ACCOUNT_SID=AC00000000000000000000000000000000\n";
    assert_eq!(left, expected);
    assert_eq!(
        import(&["--yes"], "").code,
        1,
        "placeholders are no credentials"
    );
    assert_eq!(
        vault
            .says(&["get", "sms/playmobile", "password", "--show"], "")
            .out,
        "canary-password\n"
    );
}

/// `AWS_ACCESS_KEY_ID` may be there for a bucket: who is asked learns how to leave it.
#[test]
fn what_is_proposed_can_be_narrowed_declined_and_pasted() {
    let vault = Vault::made();
    let file = vault.path().join(".env");
    std::fs::write(
        &file,
        format!("{ENV}AWS_ACCESS_KEY_ID=AKIACANARY0123456789\nAWS_SECRET_ACCESS_KEY=canaryabcdefghijklmnopqrstuvwxyz01234567\n"),
    )
    .unwrap();
    let import = |more: &[&str], input: &str| {
        vault.says(
            &[&["import-env", file.to_str().unwrap()], more].concat(),
            input,
        )
    };
    let declined = import(&[], "n\n");
    assert!(
        declined
            .out
            .contains("if some of these are not for SMS: `--only "),
        "{}",
        declined.out
    );
    assert!(
        declined.code == 1 && declined.err.contains("nothing written"),
        "{}",
        declined.err
    );
    assert!(
        !import(&["--only", "playmobile"], "n\n")
            .out
            .contains("--only")
    );
    let unknown = import(&["--only", "playmobil"], "");
    assert!(
        unknown.code == 2
            && unknown
                .err
                .contains("no dialect `playmobil`; did you mean `playmobile`?"),
        "{}",
        unknown.err
    );

    let taken = import(
        &[
            "--only",
            "playmobile",
            "--only",
            "aws-sns",
            "--replace-with-placeholders",
            "--yes",
        ],
        "",
    );
    let (_, paste) = taken.out.split_once("# add to the config:\n").unwrap();
    assert!(!paste.contains("twilio"), "{paste}");
    let config = vault.path().join("config.toml");
    std::fs::write(&config, paste).unwrap();
    let checked = run(&["check", "--vault", config.to_str().unwrap()], "");
    assert!(
        checked.code == 0 && !checked.out.contains("vault"),
        "{}",
        checked.out
    );

    let again = import(&["--only", "playmobile"], "");
    assert!(
        again.code == 1
            && again
                .err
                .contains("PLAYMOBILE_LOGIN contains the placeholder\n"),
        "{}",
        again.err
    );
    std::fs::write(
        &file,
        "PLAYMOBILE_LOGIN=sms-sidecar\nPLAYMOBILE_PASSWORD=canary-2\n",
    )
    .unwrap();
    let place = ["--config", config.to_str().unwrap()];
    let half = run(
        &[
            &["vault", "import-env", file.to_str().unwrap(), "--yes"],
            &place[..],
        ]
        .concat(),
        "",
    );
    assert!(
        half.out
            .contains("sms/playmobile: PLAYMOBILE_LOGIN contains the placeholder\n"),
        "{} {}",
        half.out,
        half.err
    );
    assert!(
        half.out
            .ends_with("the config uses these entries already\n"),
        "{}",
        half.out
    );
}

#[test]
fn the_config_says_which_vault() {
    let vault = Vault::made();
    vault.says(&["set", "sms/playmobile", "username", "--stdin"], "u");
    let config = vault.path().join("config.toml");
    let one = "embedded = { file = \"vault.age\", key_file = \"vault.key\" }\n";
    let text = format!(
        "[vaults.local]\n{one}[vaults.other]\n{one}[providers.playmobile]\ndialect = \"playmobile\"\nsender = \"3700\"\ncredential = {{ vault = \"local\", path = \"sms/playmobile\" }}\n"
    );
    std::fs::write(
        &config,
        text.replace("\"vault.", &format!("\"{}/vault.", vault.path().display())),
    )
    .unwrap();
    let named = run(
        &[
            "vault",
            "list",
            "--config",
            config.to_str().unwrap(),
            "--vault",
            "local",
        ],
        "",
    );
    assert_eq!(
        (named.code, named.out.as_str()),
        (0, "sms/playmobile: username\n"),
        "{}",
        named.err
    );
    let several = run(&["vault", "list", "--config", config.to_str().unwrap()], "");
    assert!(
        several.code == 2
            && several
                .err
                .contains("choose one with --vault: local, other"),
        "{}",
        several.err
    );
    let none = run(
        &[
            "vault",
            "list",
            "--config",
            config.to_str().unwrap(),
            "--vault",
            "absent",
        ],
        "",
    );
    assert!(
        none.code == 2 && none.err.contains("has no embedded vault `absent`"),
        "{}",
        none.err
    );
}

#[test]
fn what_is_not_there_is_1_and_what_fails_is_2() {
    let vault = Vault::new();
    let unmade = vault.says(&["list"], "");
    assert!(
        unmade.code == 2 && unmade.err.contains("sms-sidecar vault init"),
        "{}",
        unmade.err
    );
    assert_eq!(vault.says(&["init"], "").code, 0);
    assert_eq!(vault.says(&["init"], "").code, 2);
    vault.says(&["set", "sms/x", "a", "--stdin"], "1");
    for args in [
        &["get", "sms/y"][..],
        &["get", "sms/x", "b"],
        &["rm", "sms/y"],
        &["rm", "sms/x", "b"],
    ] {
        assert_eq!(vault.says(args, "").code, 1, "{args:?}");
    }
    assert_eq!(vault.says(&["rm", "sms/x", "a"], "").code, 0);
    assert_eq!(
        vault.says(&["list", "--json"], "").out,
        "[]\n",
        "an entry without fields is none"
    );
}

/// Neither `list` nor `init` sends its reader to the other: only the backup, or a new start, helps.
#[test]
fn a_lost_key_is_told_with_the_two_ways_out() {
    let vault = Vault::made();
    std::fs::remove_file(vault.path().join("vault.key")).unwrap();
    for args in [
        &["list"][..],
        &["init"],
        &["rotate-key"],
        &["set", "sms/x", "a", "--stdin"],
    ] {
        let lost = vault.says(args, "1");
        assert_eq!(lost.code, 2, "{args:?}");
        for part in [
            "the key of ",
            "vault.age is missing",
            "restore it from the backup",
            "move ",
            "vault init",
            "vault import-env",
        ] {
            assert!(lost.err.contains(part), "{args:?}: {part} in {}", lost.err);
        }
        assert!(!vault.path().join("vault.key").exists(), "{args:?}");
    }
    std::fs::rename(
        vault.path().join("vault.age"),
        vault.path().join("vault.age.lost"),
    )
    .unwrap();
    assert_eq!(vault.says(&["init"], "").code, 0);
    assert_eq!(vault.says(&["list"], "").code, 0);
}

#[test]
fn a_rotated_key_opens_and_the_old_one_does_not() {
    let vault = Vault::made();
    vault.says(&["set", "sms/x", "a", "--stdin"], "1");
    let key = vault.path().join("vault.key");
    let old = std::fs::read(&key).unwrap();
    assert_eq!(vault.says(&["rotate-key"], "").code, 0);
    assert_eq!(vault.says(&["get", "sms/x", "a", "--show"], "").out, "1\n");
    std::fs::write(&key, old).unwrap();
    let refused = vault.says(&["list"], "");
    assert!(
        refused.code == 2 && refused.err.contains("does not open"),
        "{}",
        refused.err
    );
}
