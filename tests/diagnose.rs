//! `sms-sidecar diagnose` gives every recorded reply the diagnosis in its case file, which the
//! pipeline is also tested against, and rejects input that cannot be a reply.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs the command with this body.
fn diagnose(args: &[&str], body: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sms-sidecar"))
        .arg("diagnose")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that rejects its arguments does not read the body.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(body)
        .unwrap_or_default();
    child.wait_with_output().unwrap()
}

fn report(args: &[&str], body: &str) -> Value {
    let output = diagnose(&[args, &["--json"]].concat(), body.as_bytes());
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "alternatives",
            "cause",
            "certainty",
            "evidence",
            "outcome",
            "remedy",
            "steps"
        ]
    );
    value
}

/// As the case files spell it, ids aside.
fn spelled(report: &Value) -> String {
    let word = |key: &str| report[key].as_str().unwrap_or_default();
    if word("outcome") == "accepted" {
        assert!(
            report["cause"].is_null() && report["remedy"].is_null(),
            "{report}"
        );
        return "accepted".to_owned();
    }
    let others: Vec<&str> = report["alternatives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|other| other.as_str().unwrap())
        .collect();
    let or = if others.is_empty() {
        String::new()
    } else {
        format!(" ({})", others.join(", "))
    };
    assert!(
        !word("remedy").is_empty() && !word("evidence").is_empty(),
        "{report}"
    );
    format!(
        "{} {}, {}{or}",
        word("outcome"),
        word("cause"),
        word("certainty")
    )
}

fn expected(case: &str) -> String {
    let accepted = case.starts_with("accepted") || ["a token", "answered"].contains(&case);
    if accepted {
        "accepted".to_owned()
    } else {
        case.to_owned()
    }
}

#[test]
fn every_recorded_reply_is_explained_as_its_case_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialects");
    let mut asked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let file: toml::Table =
            toml::from_str(&std::fs::read_to_string(folder.join("replies.toml")).unwrap()).unwrap();
        for case in file.get("case").and_then(toml::Value::as_array).unwrap() {
            let status = case["status"].to_string();
            let operation = match case.get("kind").and_then(toml::Value::as_str) {
                Some("probe") => "balance",
                other => other.unwrap_or("send"),
            };
            let mut args = vec![
                "--dialect".to_owned(),
                name.clone(),
                "--operation".into(),
                operation.into(),
                "--status".into(),
                status,
            ];
            for (header, value) in case
                .get("headers")
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten()
            {
                args.extend([
                    "--header".to_owned(),
                    format!("{header}: {}", value.as_str().unwrap()),
                ]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let report = report(
                &args,
                case.get("body")
                    .and_then(toml::Value::as_str)
                    .unwrap_or_default(),
            );
            assert_eq!(
                spelled(&report),
                expected(case["expect"].as_str().unwrap()),
                "{name}: {}",
                case["name"]
            );
            asked += 1;
        }
    }
    assert!(asked > 100, "only {asked} cases were found");
}

#[test]
fn a_provider_of_the_config_gives_the_remedy_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "[listen]\nproxy = \"127.0.0.1:8125\"\ncontrol = \"/run/sms/control.sock\"\n[vaults.local]\nembedded = { file = \"vault.age\", key_file = \"vault.key\" }\n[providers.main]\n\
                dialect = \"smsc\"\ncredential = { vault = \"local\", path = \"sms/main\" }\n";
    std::fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap();
    let args = ["--provider", "main", "--config", config, "--status", "200"];
    let report = report(&args, r#"{"error":"no money","error_code":3}"#);
    let remedy = report["remedy"].as_str().unwrap();
    let bare = "top up the account behind local:sms/main at the smsc console (https://smsc.ru)";
    assert_eq!(
        remedy,
        format!("{bare}, then `sms-sidecar resume main --config {config}`")
    );
    let output = diagnose(
        &["--provider", "mian", "--config", config, "--status", "200"],
        b"",
    );
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2)
            && printed.contains("no provider `mian`")
            && printed.contains("did you mean `main`"),
        "{printed}"
    );
}

#[test]
fn the_text_output_has_four_parts() {
    let output = diagnose(
        &["--dialect", "twilio", "--status", "401"],
        br#"{"code":20003,"message":"Authenticate"}"#,
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let heads: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        heads,
        ["outcome", "cause", "evidence", "remedy"],
        "{printed}"
    );
    assert!(
        printed
            .contains("credential-rejected (ambiguous, or credential-expired or account-suspended"),
        "{printed}"
    );
    assert!(printed.contains("https://console.twilio.com"), "{printed}");
}

#[test]
fn an_address_in_the_reply_is_shown_and_the_provider_message_stays_on_one_line() {
    let report = report(
        &["--dialect", "infobip", "--status", "401"],
        "{\"errorCode\":\"E401\",\"description\":\"No\\r\\n\\u001b[31m for 203.0.113.7\"}",
    );
    assert_eq!(
        (report["cause"].as_str(), report["certainty"].as_str()),
        (Some("ip-not-allowed"), Some("likely"))
    );
    assert!(
        report["remedy"]
            .as_str()
            .unwrap()
            .starts_with("add 203.0.113.7 (the address that the service sees) to"),
        "{report}"
    );
    assert!(
        !report["evidence"]
            .as_str()
            .unwrap()
            .chars()
            .any(char::is_control),
        "{report}"
    );
}

#[test]
fn invalid_replies_are_rejected_with_a_reason() {
    let large = "x".repeat((1 << 20) + 1);
    for (args, body, wanted) in [
        (
            "--dialect twillio --status 401",
            "",
            "did you mean `twilio`",
        ),
        ("--status 401", "", "--dialect"),
        ("--status 401", "", ", aws-sns, "),
        ("--dialect nothing --status 401", "", "`aws-sns`, "),
        ("--dialect twilio", "", "--status"),
        ("--dialect twilio --status 99", "", "from 100 to 599"),
        ("--dialect twilio --status abc", "", "from 100 to 599"),
        (
            "--dialect twilio --status 401 --header nothing",
            "",
            "a header is a name, a colon and a value",
        ),
        (
            "--dialect twilio --status 401 --header a(b:c",
            "",
            "not a valid header",
        ),
        (
            "--dialect twilio --status 401 --operation login",
            "",
            "twilio has no login",
        ),
        (
            "--dialect twilio --status 401 --operation call",
            "",
            "possible values: send, login, balance",
        ),
        (
            "--dialect twilio --status 401 --provider main",
            "",
            "--config",
        ),
        ("--dialect twilio --status 401", &large, "longer than 1 MiB"),
    ] {
        let output = diagnose(&args.split(' ').collect::<Vec<_>>(), body.as_bytes());
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args}: {printed}");
        assert!(
            printed.contains(wanted) && output.stdout.is_empty(),
            "{args}: {printed}"
        );
    }
}

#[test]
fn complete_curl_output_is_accepted_as_a_reply() {
    let whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n\r\n{\"code\":20003,\"message\":\"Authenticate\"}\n";
    let alone = r#"{"code":20003,"message":"Authenticate"}"#;
    let expected = report(&["--dialect", "twilio", "--status", "401"], alone);
    assert!(
        expected["evidence"]
            .as_str()
            .unwrap()
            .contains("code 20003"),
        "{expected}"
    );
    assert_eq!(report(&["--dialect", "twilio"], whole), expected);
    assert_eq!(
        report(&["--dialect", "twilio", "--status", "401"], whole),
        expected
    );
    let other = report(&["--dialect", "twilio", "--status", "500"], whole);
    assert!(
        other["evidence"].as_str().unwrap().contains("500"),
        "the option decides: {other}"
    );
}

#[test]
fn an_unrecognised_body_is_reported() {
    for (body, odd) in [
        ("{ code: 20003, message: 'Authenticate' }", true),
        (r#"{"code":20003,"message":"Authenticate"}"#, false),
        ("", false),
        ("<html></html>", false),
    ] {
        let output = diagnose(&["--dialect", "twilio", "--status", "401"], body.as_bytes());
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}");
        assert_eq!(
            printed.contains("the body is not JSON") && printed.contains("paste the body alone"),
            odd,
            "{body}: {printed}"
        );
    }
}

#[test]
fn a_reply_may_contain_any_bytes() {
    let deep = vec![b'['; 100_000];
    for body in [&b""[..], b"\xff\xfe\x00", b"{", b"<a><b>", &deep] {
        let output = diagnose(&["--dialect", "aws-sns", "--status", "403", "--json"], body);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(report["cause"], "permission-denied");
    }
}
