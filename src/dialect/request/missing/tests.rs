//! What a backend's request has instead of a credential, per dialect.

use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::dialect::Catalog;

fn request(headers: &[(&str, &str)], query: &str, body: &str) -> Request {
    let form = if body.starts_with('{') {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let own = [("content-type", form)];
    let all = headers.iter().chain(&own);
    Request {
        method: Method::POST,
        path: "/".into(),
        query: Some(query.to_owned()).filter(|query| !query.is_empty()),
        headers: all
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect::<HeaderMap>(),
        body: body.to_owned().into(),
    }
}

fn basic(pair: &str) -> String {
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
}

fn missing(dialect: &str, operation: Operation, request: &Request) -> Option<String> {
    let catalog = Catalog::built_in();
    let found = catalog.get(dialect).unwrap();
    found
        .missing_credential(operation, request)
        .map(|problem| problem.to_string())
}

fn sent(dialect: &str, request: &Request) -> Option<String> {
    missing(dialect, Operation::Send, request)
}

#[test]
fn a_header_that_is_missing_or_holds_nothing_is_found() {
    let with = |value: &str| request(&[("authorization", value)], "", "{}");
    let absent = request(&[], "", "{}");
    for dialect in ["playmobile", "twilio", "infobip", "eskiz", "aws-sns"] {
        let problem = sent(dialect, &absent);
        assert_eq!(
            problem.as_deref(),
            Some("the header Authorization is missing"),
            "{dialect}"
        );
    }
    for value in [
        "undefined",
        "Bearer undefined",
        "Bearer null",
        "Bearer",
        "Bearer ${TOKEN}",
        "Bearer [object Object]",
        "",
    ] {
        assert!(sent("eskiz", &with(value)).is_some(), "{value}");
    }
    for value in [
        "App undefined",
        "undefined",
        "App ",
        "App ${INFOBIP_API_KEY}",
    ] {
        assert!(sent("infobip", &with(value)).is_some(), "{value}");
    }
    for pair in [
        "undefined:undefined",
        ":",
        "login:",
        "login:undefined",
        "null:null",
        "sms-sidecar:sms-sidecar",
        "login:${PASS}",
        "login:{{ pass }}",
        "NaN:x",
        "login:process.env.PASS",
        "login:false",
        "login:$PLAYMOBILE_PASSWORD",
        "login:%PW%",
        "login:<password>",
        "login:your_password",
    ] {
        assert!(sent("playmobile", &with(&basic(pair))).is_some(), "{pair}");
    }
    assert!(
        sent(
            "twilio",
            &with(&basic(
                "AC00000000000000000000000000000000:00000000000000000000000000000000"
            ))
        )
        .is_some()
    );
    assert!(sent("aws-sns", &with("undefined")).is_some());
}

#[test]
fn a_header_that_is_not_basic_is_named() {
    let with = |value: &str| request(&[("authorization", value)], "", "{}");
    for value in [
        "login:password",
        "bG9naW46cGFzc3dvcmQ=",
        "Basic login:password",
        "Basic bG9naW4=",
        "basic %%%",
    ] {
        let problem = sent("playmobile", &with(value));
        assert_eq!(
            problem.as_deref(),
            Some("the header Authorization is not `Basic` and the base64 of `user:password`"),
            "{value}"
        );
    }
}

#[test]
fn a_credential_that_may_only_be_wrong_is_not_missing() {
    let with = |value: &str| request(&[("authorization", value)], "", "{}");
    for (dialect, value) in [
        ("playmobile", basic("login:wrong")),
        ("playmobile", basic("login:nullable")),
        ("playmobile", basic("login:$ecret")),
        ("playmobile", "Bearer another.scheme".to_owned()),
        ("playmobile", basic("login:no-padding").replace('=', "")),
        ("playmobile", "Basic bG9naW46cORzcw==".to_owned()),
        ("twilio", basic("ACx:y")),
        ("twilio", basic("SKx:y")),
        ("infobip", "App wrong".to_owned()),
        ("infobip", basic("a:b")),
        ("eskiz", "Bearer wrong.wrong.wrong".to_owned()),
        (
            "aws-sns",
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu/sns/aws4_request, Signature=0".to_owned(),
        ),
    ] {
        assert_eq!(sent(dialect, &with(&value)), None, "{dialect} {value}");
    }
    assert_eq!(
        sent("plain", &request(&[], "", "{}")),
        None,
        "its token is optional"
    );
    assert!(sent("plain", &with("Bearer undefined")).is_some());
}

#[test]
fn fields_of_body_and_query_count_where_the_description_puts_them() {
    let form = |body: &str| request(&[], "", body);
    assert_eq!(sent("smsc", &form("login=a&psw=b&phones=1&mes=x")), None);
    assert_eq!(
        sent("smsc", &request(&[], "login=a&psw=b&phones=1&mes=x", "")),
        None
    );
    for (body, problem) in [
        ("login=a&phones=1&mes=x", "the field psw is missing"),
        ("login=a&psw=&phones=1&mes=x", "password is empty"),
        (
            "login=a&psw=sms-sidecar&phones=1&mes=x",
            "password is the sidecar's own placeholder",
        ),
        (
            "login=undefined&psw=b&phones=1&mes=x",
            "username is `undefined`, which programs write for a variable that is not set",
        ),
        (
            "login=a&psw=$%7BPASS%7D&phones=1&mes=x",
            "password is the name of a variable, which nothing expanded",
        ),
    ] {
        assert_eq!(
            sent("smsc", &form(body)).as_deref(),
            Some(problem),
            "{body}"
        );
    }
    assert_eq!(
        sent("smsc", &form("apikey=k&phones=1&mes=x")),
        None,
        "another way to identify an account"
    );
    let json = |body: &str| request(&[], "", body);
    assert_eq!(
        sent(
            "sayqal",
            &request(&[("x-access-token", "d41d8cd9")], "", r#"{"username":"a"}"#)
        ),
        None
    );
    assert_eq!(
        sent("sayqal", &json(r#"{"username":"a"}"#)).as_deref(),
        Some("the header X-Access-Token is missing")
    );
    assert_eq!(
        sent(
            "sayqal",
            &request(
                &[("x-access-token", "d41d8cd9")],
                "",
                r#"{"username":null}"#
            )
        )
        .as_deref(),
        Some("the field username is missing")
    );
    assert!(sent("vonage", &form("from=a&to=1&text=x")).is_some());
    assert_eq!(
        sent(
            "vonage",
            &request(&[("authorization", &basic("a:b"))], "", "from=a&to=1")
        ),
        None
    );
    assert_eq!(
        sent("vonage", &form("api_key=abcdefgh&sig=0&to=1")),
        None,
        "signed instead"
    );
    for body in ["api_key=abcdefgh&api_secret=s", "from=a&to=1&text=x&sig=0"] {
        assert_eq!(sent("vonage", &form(body)), None, "{body}");
    }
    let unset = sent(
        "vonage",
        &form("api_key=abcdefgh&api_secret=undefined&to=1"),
    )
    .unwrap();
    assert!(unset.starts_with("api_secret is `undefined`"), "{unset}");
}

#[test]
fn a_login_is_read_from_its_own_fields_and_an_issued_placeholder_is_known() {
    let login = |body: &str| missing("eskiz", Operation::Login, &request(&[], "", body));
    assert_eq!(login("email=a%40b.uz&password=x"), None);
    assert_eq!(
        login("email=a%40b.uz").as_deref(),
        Some("the field password is missing")
    );
    assert_eq!(
        login("email=a%40b.uz&password=undefined").as_deref(),
        Some("password is `undefined`, which programs write for a variable that is not set")
    );
    let issued = crate::dialect::expr::filter::Filter::parse("jwt").unwrap();
    let token = issued.apply("sms-sidecar".into()).unwrap();
    let held = request(
        &[(
            "authorization",
            &format!("Bearer {}", token.as_str().unwrap()),
        )],
        "",
        "",
    );
    assert_eq!(
        sent("eskiz", &held).as_deref(),
        Some("the token is the sidecar's own placeholder")
    );
}

#[test]
fn no_problem_repeats_a_value() {
    let secret = "login:s3cret-undefined-${X}";
    let problem = sent(
        "playmobile",
        &request(&[("authorization", &basic(secret))], "", "{}"),
    );
    assert_eq!(problem, None);
    let problem = sent("smsc", &request(&[], "", "login=s3cret&psw=${s3cret}")).unwrap();
    assert!(!problem.contains("s3cret"), "{problem}");
}
