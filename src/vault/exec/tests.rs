//! Real commands that behave well or badly.

use secrecy::ExposeSecret;

use super::*;
use crate::telemetry::VaultReadResult;

fn sh(script: &str, timeout: Duration) -> Exec {
    Exec::new(
        ["/bin/sh", "-c", script, "sh", "{path}"]
            .map(str::to_owned)
            .to_vec(),
        timeout,
    )
}

async fn says(script: &str) -> Result<VaultEntry, ReadError> {
    sh(script, Duration::from_secs(20)).read("sms/x").await
}

#[tokio::test]
async fn its_json_is_the_entry_and_its_environment_is_minimal() {
    let script = r#"printf '{"argument":"%s","variable":"%s","names":"%s"}' "$1" "$SMS_SIDECAR_VAULT_PATH" "$(env | cut -d= -f1 | sort | tr '\n' ' ')""#;
    let entry = says(script).await.unwrap();
    assert_eq!(entry.fields["argument"].expose_secret(), "sms/x");
    assert_eq!(entry.fields["variable"].expose_secret(), "sms/x");
    assert_eq!(
        entry.fields["names"].expose_secret(),
        "LANG PATH PWD SMS_SIDECAR_VAULT_PATH _ ".replace(
            "_ ",
            if entry.fields["names"].expose_secret().contains(" _ ") {
                "_ "
            } else {
                ""
            }
        )
    );
}

#[tokio::test]
async fn a_path_cannot_inject_shell_code_or_options() {
    let exec = Exec::new(
        ["/bin/echo", "{\"p\":\"{path}\"}"]
            .map(str::to_owned)
            .to_vec(),
        Duration::from_secs(20),
    );
    let entry = exec.read("$(id)`id`;x").await.unwrap();
    assert_eq!(entry.fields["p"].expose_secret(), "$(id)`id`;x");
    assert!(matches!(
        exec.read("a\0b").await.unwrap_err(),
        ReadError::InvalidPath { .. }
    ));
}

#[tokio::test]
async fn invalid_output_is_reported_without_quoting_it() {
    for (script, result, text) in [
        ("echo canary", VaultReadResult::Malformed, "not JSON"),
        ("true", VaultReadResult::Malformed, "not JSON"),
        (
            "echo '[\"canary\"]'",
            VaultReadResult::Malformed,
            "no object",
        ),
        (
            "head -c 1048576 /dev/zero | tr '\\0' x",
            VaultReadResult::Malformed,
            "larger than 256 KiB",
        ),
        (
            "echo '{\"a\":\"canary\"}'; exit 3",
            VaultReadResult::Failed,
            "exit status: 3",
        ),
    ] {
        let error = says(script).await.unwrap_err();
        assert_eq!(error.result(), result, "{script}: {error}");
        assert!(
            error.to_string().contains(text) && !error.to_string().contains("canary"),
            "{script}: {error}"
        );
    }
    let nested = says("echo '{\"a\":1,\"b\":\"text\"}'").await.unwrap();
    assert_eq!((nested.fields.len(), nested.non_text["a"]), (1, "a number"));
}

#[tokio::test]
async fn output_up_to_the_limit_is_read() {
    let script = |bytes: u64| {
        let rest = bytes - r#"{"a":""}"#.len() as u64;
        format!(r#"printf '{{"a":"'; head -c {rest} /dev/zero | tr '\0' x; printf '"}}'"#)
    };
    assert!(says(&script(MAX_OUTPUT)).await.is_ok());
    assert!(says(&script(MAX_OUTPUT + 1)).await.is_err());
}

#[tokio::test]
async fn standard_error_is_not_shown_and_does_not_block_the_command() {
    let error = says("set -x; : password-canary; head -c 1048576 /dev/zero >&2; exit 1")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("it ended with exit status: 1")
            && error.contains("run it by hand")
            && !error.contains("canary"),
        "{error}"
    );
    assert!(
        says("head -c 1048576 /dev/zero >&2; echo '{}'")
            .await
            .is_ok()
    );
    let missing = Exec::new(vec!["/nonexistent/x".to_owned()], Duration::from_secs(20))
        .read("p")
        .await
        .unwrap_err();
    assert!(matches!(missing, ReadError::CommandFailed { .. }));
}

#[tokio::test]
async fn at_its_limit_it_is_killed_with_everything_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
    let error = sh(&script, Duration::from_secs(2))
        .read("p")
        .await
        .unwrap_err();
    assert!(matches!(error, ReadError::Timeout { .. }), "{error}");
    let child = std::fs::read_to_string(&pid).unwrap();
    let gone = || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        status.map_or(true, |status| status.contains(") Z"))
    };
    for _ in 0..200 {
        if gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("what it had started still runs");
}

#[test]
fn an_operator_changes_what_the_command_reads() {
    let settings = ExecSettings {
        command: vec!["/usr/bin/pass".to_owned()],
        timeout: Duration::from_secs(5),
    };
    let fields = ["username", "password"].map(str::to_owned);
    let target = WriteTarget {
        config: "a.toml",
        vault: "keys",
        path: "sms/a",
        fields: &fields,
    };
    assert_eq!(
        settings.write_instructions(&target),
        "change username and password where /usr/bin/pass reads it for `sms/a`"
    );
}
