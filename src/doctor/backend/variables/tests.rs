//! Tables: the syntax of a line → its problem; its value → the report.

use super::*;
use crate::doctor::check::CheckResult;
use crate::secret::{SecretFields, Version};

const IMPORT: ImportCommand<'static> = ImportCommand {
    file: "/b/.env",
    config: "/c/config.toml",
};

fn faults_of(text: &str) -> Vec<VariableFault> {
    find_faults(text, &dotenv::parse(text), "PASS")
}

#[test]
fn only_malformed_values_are_reported() {
    use VariableFault::{
        Duplicate, Empty, Interpolated, LineBreak, NestedQuotes, SurroundingSpace, SwallowedLines,
        TrailingPunctuation, Truncated, TypographicQuotes, Unassigned, UnbalancedQuote,
    };
    let table: &[(&str, &[VariableFault])] = &[
        ("PASS=abc", &[]),
        ("PASS = abc", &[]),
        ("PASS='abc'", &[]),
        ("PASS=\"abc\"", &[]),
        ("PASS=`abc`", &[]),
        ("PASS=abc # a remark", &[]),
        ("PASS='abc#def'", &[]),
        ("\u{feff}PASS=abc", &[]),
        ("A=1\r\nPASS=abc\r\nB=2\r\n", &[]),
        ("A=1\r\nPASS='abc'\r\n", &[]),
        ("export PASS=abc", &[]),
        ("PASS: abc", &[]),
        ("PASS=a=b==", &[]),
        ("PASS=it's", &[]),
        ("PASS='pa$$word'", &[]),
        ("PASS='${OTHER}'", &[]),
        ("PASS=5$", &[]),
        ("PASS=$5", &[]),
        ("OTHER=abc", &[]),
        ("#PASS=abc", &[]),
        ("PASSWORD=abc", &[]),
        ("PASS=", &[Empty]),
        ("PASS=''", &[Empty]),
        ("PASS=   # later", &[Empty]),
        ("PASS=a\nPASS=b", &[Duplicate]),
        ("PASS=abc#def", &[Truncated]),
        ("PASS=\"abc", &[UnbalancedQuote]),
        ("PASS=abc\"", &[UnbalancedQuote]),
        ("PASS='abc\nB=2", &[UnbalancedQuote]),
        ("PASS=\"'abc'\"", &[NestedQuotes]),
        ("PASS='\"abc\"'", &[NestedQuotes]),
        ("PASS=“abc”", &[TypographicQuotes]),
        ("PASS=«abc»", &[TypographicQuotes]),
        ("PASS=\"abc\nB=2\nC=3\"", &[SwallowedLines]),
        ("PASS=\"abc\r\nB=2\r\nC=3\"", &[SwallowedLines]),
        ("PASS=\"abc\ndef\"", &[LineBreak]),
        ("PASS=\"abc\\ndef\"", &[LineBreak]),
        ("PASS=${OTHER}", &[Interpolated]),
        ("PASS=\"a$OTHER\"", &[Interpolated]),
        ("PASS=pa$word", &[Interpolated]),
        ("PASS=' abc '", &[SurroundingSpace]),
        ("PASS=abc;", &[TrailingPunctuation]),
        ("PASS='abc,'", &[TrailingPunctuation]),
        ("PASS abc", &[Unassigned]),
        ("export PASS", &[Unassigned]),
    ];
    for (text, expected) in table {
        assert_eq!(&faults_of(text), expected, "{text:?}");
    }
}

#[test]
fn the_file_is_checked_for_other_parsers() {
    for (text, mark, word) in [
        ("A=1\nB=2\n", CheckResult::Ok, ""),
        ("\u{feff}A=1\n", CheckResult::Warning, "byte order mark"),
        ("A=1\r\nB=2\r\n", CheckResult::Warning, "CR LF"),
        ("export A=1\n", CheckResult::Warning, "`export`"),
        (
            "\u{feff}export A=1\r\n",
            CheckResult::Warning,
            "byte order mark",
        ),
    ] {
        let check = check_file_format(text);
        assert_eq!(check.result, mark, "{text:?}");
        assert!(
            check.evidence.contains(word),
            "{text:?}: {}",
            check.evidence
        );
    }
}

const USER: &[&str] = &["APP_LOGIN", "APP_USER"];
const PASS: &[&str] = &["APP_PASSWORD"];

/// Judges `text` for one provider with a login and a password.
fn judged(text: &str, role: ValueRole) -> Check {
    let names = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let (users, passes) = (names(USER), names(PASS));
    let fields: SecretFields = [
        ("username".to_owned(), "canary-login".into()),
        ("password".to_owned(), "canary-secret".into()),
    ]
    .into();
    let credential = Credential::new(Version(1), fields);
    let vault = (role != ValueRole::Sent).then_some(&credential);
    let field = |name, public, names| BackendField {
        provider: "alpha",
        name,
        public,
        required: true,
        placeholder: Some("sms-sidecar"),
        names,
        vault,
        role,
    };
    let checks = check_variables(
        text,
        &[
            field("username", true, users.as_slice()),
            field("password", false, passes.as_slice()),
        ],
        &IMPORT,
    );
    assert_eq!(checks.len(), 1);
    let check = checks.into_iter().next().unwrap();
    assert!(
        !format!("{check:?}").contains("canary"),
        "a value was shown: {check:?}"
    );
    check
}

#[test]
fn variables_are_described_without_their_values() {
    for (text, mark, word) in [
        (
            "APP_LOGIN=sms-sidecar\nAPP_PASSWORD=sms-sidecar\n",
            CheckResult::Ok,
            "APP_PASSWORD has a placeholder",
        ),
        (
            "APP_LOGIN=canary-login\nAPP_PASSWORD='sms-sidecar'\n",
            CheckResult::Ok,
            "APP_LOGIN names the account",
        ),
        (
            "APP_LOGIN=canary-login\nAPP_PASSWORD=canary-secret\n",
            CheckResult::Warning,
            "APP_PASSWORD has the vault's real value",
        ),
        (
            "APP_LOGIN=sms-sidecar\nAPP_PASSWORD=canary-older\n",
            CheckResult::Warning,
            "neither a placeholder nor the vault's value",
        ),
        (
            "APP_LOGIN=sms-sidecar\n",
            CheckResult::Warning,
            "`password` is not set: its usual variable is APP_PASSWORD",
        ),
        (
            "APP_LOGIN=sms-sidecar\nAPP_PASSWORD=\n",
            CheckResult::Warning,
            "APP_PASSWORD is empty",
        ),
        (
            "APP_LOGIN=sms-sidecar\nAPP_PASSWORD=\"sms-sidecar\n",
            CheckResult::Warning,
            "a quote at one end only",
        ),
        (
            "APP_LOGIN=sms-sidecar\nAPP_USER=other\nAPP_PASSWORD=sms-sidecar\n",
            CheckResult::Warning,
            "differ",
        ),
        (
            "DB_PASSWORD=canary-db\n",
            CheckResult::Skipped,
            "none of its usual variables",
        ),
    ] {
        let check = judged(text, ValueRole::Replaced);
        assert_eq!(check.result, mark, "{text:?}: {}", check.evidence);
        assert!(
            check.evidence.contains(word),
            "{text:?}: {}",
            check.evidence
        );
    }
}

#[test]
fn what_the_backend_itself_sends_fails_where_it_is_broken() {
    let sound = "APP_LOGIN=canary-login\nAPP_PASSWORD=canary-secret\n";
    assert_eq!(judged(sound, ValueRole::Sent).result, CheckResult::Ok);
    for broken in [
        "APP_LOGIN=canary-login\nAPP_PASSWORD=canary#secret\n",
        "APP_LOGIN=canary-login\n",
    ] {
        assert_eq!(
            judged(broken, ValueRole::Sent).result,
            CheckResult::Failed,
            "{broken:?}"
        );
    }
}

#[test]
fn a_file_that_is_the_vault_holds_real_values() {
    let check = judged(
        "APP_LOGIN=canary-login\nAPP_PASSWORD=canary-secret\n",
        ValueRole::Vault,
    );
    assert_eq!(check.result, CheckResult::Ok);
    assert!(
        check
            .evidence
            .contains("APP_PASSWORD is the value that the vault reads"),
        "{}",
        check.evidence
    );
}

#[test]
fn credentials_under_other_names_are_accounted_for() {
    let names = ["PLAYMOBILE_PASSWORD".to_owned()];
    let field = |role| BackendField {
        provider: "a",
        name: "password",
        public: false,
        required: true,
        placeholder: None,
        names: &names,
        vault: None,
        role,
    };
    let dialects = ["playmobile"];
    let text = "PLAYMOBILE_PASSWORD=canary-1\nPLAYMOBILE_API_KEY=canary-2\nSMS_API_SECRET=canary-3\nDB_PASSWORD=canary-4\n";
    let check = |text: &str, role| check_other_variables(text, &[field(role)], &dialects, &IMPORT);
    let other = check(text, ValueRole::Replaced).unwrap();
    assert_eq!(other.result, CheckResult::Warning);
    assert_eq!(
        other.evidence,
        "these look like credentials in clear text, under names that no configured provider uses: PLAYMOBILE_API_KEY, SMS_API_SECRET; not examined, because no SMS service is in the name: DB_PASSWORD"
    );
    let remedy = other.remedy.unwrap();
    assert!(
        remedy.contains(
            "`sms-sidecar vault import-env /b/.env --take PLAYMOBILE_API_KEY=playmobile.FIELD"
        ),
        "{remedy}"
    );
    let unrelated = check("DB_PASSWORD=canary-4\n", ValueRole::Replaced).unwrap();
    assert_eq!(unrelated.result, CheckResult::Ok);
    assert!(check("PLAYMOBILE_PASSWORD=canary-1\n", ValueRole::Replaced).is_none());
    assert!(
        check(text, ValueRole::Vault).is_none(),
        "the file is the vault"
    );
}
