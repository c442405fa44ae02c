//! Answers as servers give them, and as they should not.

use secrecy::ExposeSecret;
use serde_json::json;

use super::*;

fn read(kv: Kv, body: &str) -> Result<Found, String> {
    entry(kv, body.as_bytes())
}

#[test]
fn both_versions_are_read_where_they_keep_their_fields() {
    let one = read(Kv::One, r#"{"lease_id":"","lease_duration":2764800,"renewable":false,"data":{"password":"p"}}"#).unwrap();
    assert_eq!(one.entry.fields["password"].expose_secret(), "p");
    assert_eq!(one.lease.unwrap(), Terms { id: String::new(), lasts: Duration::from_hours(768), renewable: false });
    let two = read(Kv::Two, r#"{"lease_duration":0,"data":{"data":{"password":" p"},"metadata":{"version":3}}}"#).unwrap();
    assert_eq!(two.entry.fields["password"].expose_secret(), " p");
    assert_eq!((two.entry.warnings.len(), two.lease), (1, None));
}

#[test]
fn what_is_no_entry_is_said_without_quoting_it() {
    for (kv, body, said) in [
        (Kv::Two, "canary", "not JSON"),
        (Kv::Two, "", "not JSON"),
        (Kv::Two, "[]", "no `data`"),
        (Kv::Two, "{}", "no `data`"),
        (Kv::Two, r#"{"data":"canary"}"#, "no `data`"),
        (Kv::One, r#"{"data":null}"#, "no `data`"),
        (Kv::Two, r#"{"data":{"password":"canary"}}"#, "set `kv = 1`"),
        (Kv::Two, r#"{"data":{"data":null}}"#, "no `data` in its `data`"),
    ] {
        let error = read(kv, body).unwrap_err();
        assert!(error.contains(said) && !error.contains("canary"), "{body}: {error}");
    }
}

#[test]
fn a_value_that_is_no_text_is_kept_out_and_named() {
    let body = r#"{"data":{"a":1,"b":true,"c":null,"d":[],"e":{},"f":"text"}}"#;
    let entry = read(Kv::One, body).unwrap().entry;
    assert_eq!(entry.fields.keys().collect::<Vec<_>>(), ["f"]);
    let unfit: Vec<_> = entry.unfit.iter().map(|(field, what)| (field.as_str(), *what)).collect();
    assert_eq!(unfit, [("a", "a number"), ("b", "true or false"), ("c", "null"), ("d", "a list"), ("e", "a nested object")]);
}

#[test]
fn a_complaint_is_one_short_line_without_our_secrets() {
    let body = json!({ "errors": ["invalid\r\nsecret id canary-1", "x".repeat(500)] });
    let said = complaint(Some(&body), &["canary-1"]);
    assert!(said.starts_with("invalid secret id ***; xxx") && said.chars().count() == 160, "{said}");
    assert_eq!(complaint(Some(&json!({ "errors": "no" })), &[]), "");
}

#[test]
fn a_login_without_a_token_grants_none() {
    let granted = granted(Some(json!({ "auth": { "client_token": "t", "lease_duration": 5, "renewable": true } }))).unwrap();
    assert_eq!((granted.token.is_some(), granted.lasts, granted.renewable), (true, Some(Duration::from_secs(5)), true));
    let root = super::granted(Some(json!({ "auth": { "client_token": "t", "lease_duration": 0 } }))).unwrap();
    assert_eq!((root.lasts, root.renewable), (None, false), "a token that does not end");
    assert!(super::granted(Some(json!({ "auth": null }))).is_none() && super::granted(None).is_none());
    assert!(super::granted(Some(json!({ "auth": { "client_token": 5 } }))).unwrap().token.is_none());
}
