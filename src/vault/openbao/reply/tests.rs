//! Valid and invalid responses.

use secrecy::ExposeSecret;
use serde_json::json;

use super::*;

fn read(kv: KvVersion, body: &str) -> Result<EntryReply, String> {
    parse_entry(kv, body.as_bytes())
}

#[test]
fn the_fields_of_both_kv_versions_are_found() {
    let one = read(
        KvVersion::V1,
        r#"{"lease_id":"","lease_duration":2764800,"renewable":false,"data":{"password":"p"}}"#,
    )
    .unwrap();
    assert_eq!(one.entry.fields["password"].expose_secret(), "p");
    assert_eq!(
        one.lease.unwrap(),
        LeaseTerms {
            id: String::new(),
            ttl: Duration::from_hours(768),
            renewable: false
        }
    );
    let two = read(
        KvVersion::V2,
        r#"{"lease_duration":0,"data":{"data":{"password":" p"},"metadata":{"version":3}}}"#,
    )
    .unwrap();
    assert_eq!(two.entry.fields["password"].expose_secret(), " p");
    assert_eq!(two.lease, None);
}

#[test]
fn invalid_responses_are_reported_without_quoting_them() {
    for (kv, body, summary) in [
        (KvVersion::V2, "canary", "not JSON"),
        (KvVersion::V2, "", "not JSON"),
        (KvVersion::V2, "[]", "no `data`"),
        (KvVersion::V2, "{}", "no `data`"),
        (KvVersion::V2, r#"{"data":"canary"}"#, "no `data`"),
        (KvVersion::V1, r#"{"data":null}"#, "no `data`"),
        (
            KvVersion::V2,
            r#"{"data":{"password":"canary"}}"#,
            "set `kv = 1`",
        ),
        (
            KvVersion::V2,
            r#"{"data":{"data":null}}"#,
            "no `data` in its `data`",
        ),
    ] {
        let error = read(kv, body).unwrap_err();
        assert!(
            error.contains(summary) && !error.contains("canary"),
            "{body}: {error}"
        );
    }
}

#[test]
fn server_errors_are_one_short_line_without_secrets() {
    let body = json!({ "errors": ["invalid\r\nsecret id canary-1", "x".repeat(500)] });
    let summary = error_summary(Some(&body), &["canary-1"]);
    assert!(
        summary.starts_with("invalid secret id ***; xxx") && summary.chars().count() == 160,
        "{summary}"
    );
    let encoded = json!({ "errors": [r"no can\u0061ry-1, Y2FuYXJ5LTE=, short"] });
    assert_eq!(
        error_summary(Some(&encoded), &["canary-1", "short"]),
        "no ***, ***=, ***"
    );
    let short = json!({ "errors": ["pin 4711, role sms"] });
    assert_eq!(
        error_summary(Some(&short), &["4711", "sms"]),
        "pin ***, role sms",
        "words are shorter than secrets"
    );
    assert_eq!(error_summary(Some(&json!({ "errors": "no" })), &[]), "");
}

#[test]
fn a_login_response_without_a_token_grants_none() {
    let granted = token_grant(Some(
        json!({ "auth": { "client_token": "t", "lease_duration": 5, "renewable": true } }),
    ))
    .unwrap();
    assert_eq!(
        (granted.token.is_some(), granted.ttl, granted.renewable),
        (true, Some(Duration::from_secs(5)), true)
    );
    let root = super::token_grant(Some(
        json!({ "auth": { "client_token": "t", "lease_duration": 0 } }),
    ))
    .unwrap();
    assert_eq!(
        (root.ttl, root.renewable),
        (None, false),
        "a token that does not end"
    );
    assert!(
        super::token_grant(Some(json!({ "auth": null }))).is_none()
            && super::token_grant(None).is_none()
    );
    assert!(
        super::token_grant(Some(json!({ "auth": { "client_token": 5 } })))
            .unwrap()
            .token
            .is_none()
    );
}
