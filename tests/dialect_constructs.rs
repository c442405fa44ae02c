//! Constructs of the language that the built-in descriptions do not all use, each shown
//! by a small description modelled on a real service.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what it expects"
)]

#[path = "support/dialects.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Account, Catalog, Classification, Dialect, MessageResult, ProbeSubject, Recognition, Reply,
    Request, RequestFields, RequestTarget, SourceFile,
};
use sms_sidecar::sms::{
    ApprovedTemplate, AttemptKind, Cause, Certainty, Message, MessageText, Msisdn, Operation,
    Outcome,
};
use support::{Owned, as_request, now, recognised, visible};

fn load(text: &str) -> Arc<Dialect> {
    let (catalog, problems) = Catalog::load(&[SourceFile {
        name: "x.toml".into(),
        text: text.into(),
        built_in: false,
    }]);
    assert_eq!(problems, []);
    Arc::clone(catalog.iter().next().expect("one"))
}

/// The parts that every description has, around the part under test.
fn around(send: &str, rest: &str) -> String {
    let head = "dialect = \"x\"\nbase_url = \"https://x.example/api\"\nhosts = [\"x.example\"]\nevidence = \"vendor\"\n[credential]\nkey = {}\n";
    let tail = "[[send.success]]\njson = { id = \"{id}\" }\n[send.failure]\njson = { code = \"{code}\", message = \"{reason}\" }\n[send.failure.codes]\ndefault = { status = 503, code = 1 }\n";
    let sign = if send.contains("credential.key") || rest.contains("credential.key") {
        ""
    } else {
        "[sign]\nbearer = \"{credential.key}\"\n"
    };
    format!("{head}{sign}[send]\n{send}\n{tail}{rest}")
}

fn message() -> Message {
    Message {
        recipient: Msisdn::parse("+905321234567").unwrap(),
        text: MessageText::new("Kod: 1 & 2"),
        sender: Some("Acme".into()),
        reference: "ref-1".into(),
        validity: Some(Duration::from_secs(90)),
        callback: None,
        template: None,
    }
}

fn written(dialect: &Arc<Dialect>, message: &Message) -> String {
    let owned = Owned::of(dialect, "-k");
    visible(&dialect.write(message, &owned.account(), now()).unwrap())
}

fn round(dialect: &Arc<Dialect>, message: &Message) -> Message {
    let owned = Owned::of(dialect, "-k");
    let (seen, request) = recognised(
        dialect,
        &dialect.write(message, &owned.account(), now()).unwrap(),
    );
    let reading = dialect.read(&seen, &request, "own").unwrap();
    assert_eq!(reading.untranslatable_fields, [""; 0]);
    reading.message.expect("one message")
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_owned().into(),
    }
}

fn judged(dialect: &Dialect, status: u16, body: &str) -> Classification {
    dialect.classify(AttemptKind::Send, &reply(status, body), "ref-1")
}

const OK: &str = "[[send.rules]]\nstatus = \"200\"\naccepted = \"id\"\n";

#[test]
fn a_form_field_holds_json_as_text() {
    let send = format!(
        "endpoint = \"POST /\"\n[send.form]\nlogin = \"{{credential.key}}\"\n\"data:json[].phone\" = \"{{to | digits}}\"\n\"data:json[].text\" = \"{{text}}\"\n{OK}"
    );
    let dialect = load(&around(&send, ""));
    let text = written(&dialect, &message());
    assert!(
        text.contains(
            "data=%5B%7B%22phone%22%3A%22905321234567%22%2C%22text%22%3A%22Kod%3A+1+%26+2%22%7D%5D"
        ),
        "{text}"
    );
    assert_eq!(round(&dialect, &message()).text, message().text);
    let body = "login=a&data=%5B%7B%22phone%22%3A%22905321234567%22%2C%22text%22%3A%22x%22%2C%22at%22%3A%22noon%22%7D%5D";
    let reading = read(&dialect, Method::POST, "/api/", None, body).unwrap();
    assert_eq!(reading.untranslatable_fields, ["data[].at"]);
}

fn read(
    dialect: &Arc<Dialect>,
    method: Method,
    path: &str,
    query: Option<&str>,
    body: &str,
) -> Result<sms_sidecar::dialect::DecodedRequest, sms_sidecar::dialect::RequestReadError> {
    let media = if body.starts_with('{') {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(media))];
    let request = Request {
        method,
        path: path.into(),
        query: query.map(str::to_owned),
        headers: headers.into_iter().collect(),
        body: body.to_owned().into(),
    };
    let Recognition::Operation(seen) = recognise(
        std::slice::from_ref(dialect),
        RequestTarget::Named(dialect),
        &request,
        &[],
    ) else {
        panic!("not named")
    };
    dialect.read(&seen, &request, "own")
}

#[test]
fn a_get_request_has_all_fields_in_the_query() {
    let rules = "[[send.rules]]\nstatus = \"202\"\nbody_matches = \"^(0: Accepted|3: Queued)\"\naccepted = \"{reference}\"\n";
    let send = format!(
        "endpoint = \"GET /send\"\n[send.query]\npw = \"{{credential.key}}\"\nto = \"{{to | plus}}\"\ntext = \"{{text}}\"\ncoding = \"{{alphabet | map gsm7=0 ucs2=2}}\"\nvalidity = \"{{validity | minutes}}\"\n{rules}"
    );
    let dialect = load(&around(&send, ""));
    let text = written(&dialect, &message());
    assert!(
        text.starts_with("GET https://x.example/api/send?pw=key-k&to=%2B905321234567&text=Kod%3A+1+%26+2&coding=0&validity=2\n"),
        "{text}"
    );
    assert_eq!(
        round(&dialect, &message()).validity,
        Some(Duration::from_mins(2))
    );
    assert_eq!(
        judged(&dialect, 202, "0: Accepted for delivery\n").outcome,
        Outcome::Accepted { id: "ref-1".into() }
    );
    assert_eq!(
        judged(&dialect, 202, "1: Something else").outcome,
        Outcome::Unknown(Cause::ReplyUnreadable)
    );
    assert_eq!(
        judged(&dialect, 200, "0: Accepted for delivery").outcome,
        Outcome::Unknown(Cause::ReplyUnreadable)
    );
    // coding=1 is binary: our message cannot express it
    let reading = read(
        &dialect,
        Method::GET,
        "/api/send",
        Some("to=%2B905321234567&text=x&coding=1"),
        "",
    )
    .unwrap();
    assert_eq!(reading.untranslatable_fields, ["coding"]);
}

#[test]
fn a_second_field_distinguishes_one_code_and_values_are_clamped_to_a_range() {
    let rules = "[[send.rules]]\npath = [\"code\"]\nequals = [1]\nwith = \"data.recipient\"\nrejected = \"recipient-invalid\"\n[[send.rules]]\npath = [\"code\"]\ncodes = true\n[[send.rules]]\npath = [\"code\"]\nequals = [0, 100]\naccepted = \"data.messageId\"\n[send.codes]\nmessage-invalid = [1]\n";
    let send = format!(
        "endpoint = \"POST /m\"\n[send.query]\napiKey = \"{{credential.key}}\"\noutput = \"json\"\n[send.form]\nrecipient = \"{{to | national 90}}\"\ntext = \"{{text}}\"\n\"params[validity]\" = \"{{validity | minutes | between 60 1440}}\"\n{rules}"
    );
    let dialect = load(&around(&send, ""));
    let text = written(&dialect, &message());
    assert!(
        text.starts_with("POST https://x.example/api/m?apiKey=key-k&output=json\n"),
        "{text}"
    );
    assert!(
        text.ends_with("recipient=5321234567&text=Kod%3A+1+%26+2&params%5Bvalidity%5D=60"),
        "{text}"
    );
    assert_eq!(round(&dialect, &message()).recipient, message().recipient);
    let cause = |body: &str| judged(&dialect, 200, body).outcome.cause();
    assert_eq!(
        cause(r#"{"code":1,"data":{"recipient":"bad"}}"#),
        Some(Cause::RecipientInvalid)
    );
    assert_eq!(
        cause(r#"{"code":1,"data":{"text":"bad"}}"#),
        Some(Cause::MessageInvalid)
    );
    assert_eq!(
        judged(&dialect, 200, r#"{"code":0,"data":{"messageId":"7"}}"#).outcome,
        Outcome::Accepted { id: "7".into() }
    );
    assert_eq!(
        cause(r#"{"code":0,"data":{}}"#),
        Some(Cause::ReplyUnreadable),
        "a missing id proves nothing"
    );
    assert_eq!(
        cause(r#"{"code":0,"data":{"messageId":{"a":1}}}"#),
        Some(Cause::ReplyUnreadable),
        "an object is not an id"
    );
}

const LISTED: &str = "endpoint = \"POST /send\"\nidempotency = { field = \"key\", duplicate_codes = [507] }\n[send.json]\nrecipients = \"{to | digits | list}\"\nkey = \"{reference}\"\n\"sms.text\" = \"{text}\"\n\
    [[send.rules]]\npath = [\"parts[].code\", \"code\"]\ncodes = true\n[[send.rules]]\npath = [\"parts[].code\"]\nequals = [0]\naccepted = \"parts[].id\"\n\
    [send.codes]\nbalance-empty = [203]\nrecipient-invalid = [404]\nduplicate = [507]\n";

#[test]
fn a_list_is_accepted_or_rejected_only_if_all_its_entries_are() {
    let dialect = load(&around(LISTED, ""));
    let outcome = |body: &str| judged(&dialect, 200, body).outcome;
    assert_eq!(
        outcome(r#"{"parts":[{"code":0,"id":"a"},{"code":0,"id":"b"}]}"#),
        Outcome::Accepted { id: "a".into() }
    );
    assert_eq!(
        outcome(r#"{"parts":[{"code":203},{"code":404}]}"#),
        Outcome::Rejected(Cause::BalanceEmpty)
    );
    assert_eq!(
        outcome(r#"{"parts":[{"code":0,"id":"a"},{"code":203}]}"#),
        Outcome::Unknown(Cause::BalanceEmpty),
        "part of it may have been sent"
    );
    assert_eq!(
        outcome(r#"{"parts":[{"code":203},{"code":999}]}"#),
        Outcome::Unknown(Cause::BalanceEmpty),
        "an unknown part is not a rejection"
    );
    assert_eq!(
        outcome(r#"{"parts":[{"code":0,"id":"a"},{"code":999}]}"#),
        Outcome::Unknown(Cause::ReplyUnreadable)
    );
    assert_eq!(
        outcome(r#"{"parts":[]}"#),
        Outcome::Unknown(Cause::ReplyUnreadable)
    );
    assert_eq!(
        outcome(r#"{"parts":{"code":0,"id":"a"}}"#),
        Outcome::Accepted { id: "a".into() },
        "a bare object is the one element"
    );
    assert_eq!(
        outcome(r#"{"code":203}"#),
        Outcome::Rejected(Cause::BalanceEmpty)
    );
    assert_eq!(dialect.idempotency_field(), Some("key"));
}

#[test]
fn a_list_of_recipients_is_a_batch_and_not_a_message() {
    let dialect = load(&around(LISTED, ""));
    let reading = |body: &str| read(&dialect, Method::POST, "/api/send", None, body).unwrap();
    let batch = reading(r#"{"recipients":["905321234567","905321234568"],"sms":{"text":"x"}}"#);
    assert_eq!(
        (
            batch.recipient_count,
            batch.message.is_none(),
            batch.is_provider_specific()
        ),
        (2, true, true)
    );
    let one = reading(r#"{"recipients":["905321234567"],"sms":{"text":"x"}}"#);
    assert_eq!(
        (one.recipient_count, one.is_provider_specific()),
        (1, false)
    );
    let none = reading(r#"{"recipients":["whatsapp:905321234567"],"sms":{"text":"x"}}"#);
    assert!(
        none.message.is_none(),
        "a recipient that is not a number makes the request provider-specific"
    );
    for (body, missing) in [
        (r#"{"sms":{"text":"x"}}"#, "the recipient"),
        (
            r#"{"recipients":["905321234567"],"sms":{"text":" "}}"#,
            "the text",
        ),
    ] {
        let error = read(&dialect, Method::POST, "/api/send", None, body).unwrap_err();
        assert_eq!(
            error,
            sms_sidecar::dialect::RequestReadError::Missing(missing)
        );
    }
}

#[test]
fn a_template_only_service_requires_a_template_with_an_id() {
    let send = format!(
        "endpoint = \"POST /t\"\n[send.json]\n\"to[]\" = \"{{to | plus}}\"\ntemplate = \"{{template.id}}\"\nvalues = \"{{template.values}}\"\n\"vars[].*\" = \"{{template.fields}}\"\n{OK}"
    );
    let dialect = load(&around(&send, ""));
    let refused = dialect.check_message(&message()).unwrap_err();
    assert_eq!(refused.cause, Cause::TemplateNotApproved);
    let template = ApprovedTemplate {
        name: "login".into(),
        id: Some("1877".into()),
        fields: vec![("code".into(), "42".into()), ("app".into(), "1port".into())],
    };
    let text = written(
        &dialect,
        &Message {
            template: Some(template.clone()),
            ..message()
        },
    );
    assert!(
        text.ends_with(r#"{"to":["+905321234567"],"template":"1877","values":["42","1port"],"vars":[{"code":"42","app":"1port"}]}"#),
        "{text}"
    );
    let unnumbered = Message {
        template: Some(ApprovedTemplate {
            id: None,
            ..template
        }),
        ..message()
    };
    assert!(dialect.check_message(&unnumbered).is_err());
}

#[test]
fn a_text_may_be_as_long_as_the_limit() {
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /\"\nlimits = {{ text = 5, recipients = [\"+90\"] }}\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
        ),
        "",
    ));
    let fits = |text: &str| {
        dialect
            .check_message(&Message {
                text: MessageText::new(text),
                ..message()
            })
            .is_ok()
    };
    assert!(fits("ўқғҳ5") && !fits("ўқғҳ56"));
    assert!(
        dialect
            .check_message(&Message {
                text: MessageText::new("x"),
                recipient: Msisdn::parse("998901234567").unwrap(),
                ..message()
            })
            .is_err()
    );
}

#[test]
fn a_wait_is_read_from_the_body_or_the_provider_message() {
    let rules = "[[send.rules]]\npath = [\"text\"]\nmatches = \"wait \\\\[ (?<ms>\\\\d+) \\\\]\"\nretry_after = \"{matched.ms | milliseconds}\"\nrejected = \"throttled\"\n[[send.rules]]\npath = [\"code\"]\nequals = [9]\nretry_after = \"wait | minutes\"\nrejected = \"throttled\"\n";
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{rules}{OK}"
        ),
        "",
    ));
    assert_eq!(
        judged(&dialect, 200, r#"{"text":"please wait [ 702 ] and retry"}"#).retry_after,
        Some(Duration::from_millis(702))
    );
    assert_eq!(
        judged(&dialect, 200, r#"{"code":9,"wait":"2"}"#).retry_after,
        Some(Duration::from_mins(2))
    );
    assert_eq!(
        judged(&dialect, 200, r#"{"code":9,"wait":"soon"}"#).retry_after,
        None
    );
    let mut reply = reply(429, "");
    reply.headers.insert("retry-after", "7".parse().unwrap());
    assert_eq!(
        dialect.classify(AttemptKind::Send, &reply, "r").retry_after,
        Some(Duration::from_secs(7))
    );
}

#[test]
fn a_login_on_another_host_returns_values_and_an_expiry() {
    let token = |expires: &str| {
        format!(
            "[token]\nendpoint = \"POST /login\"\nbase_url = \"https://auth.example\"\njson = {{ key = \"{{credential.key}}\" }}\nreads = {{ access = \"token\", user = \"user.id\" }}\nexpires = {{ {expires} }}\nanswer = {{ json = {{ token = \"{{placeholder}}\" }} }}\n[[token.rules]]\npath = [\"error\"]\nequals = [\"locked\"]\nrejected = \"account-suspended\"\n"
        )
    };
    let send = format!(
        "endpoint = \"POST /send\"\n[send.json]\nuser = \"{{token.user}}\"\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
    );
    let sign = "[sign]\nbearer = \"{token.access}\"\n";
    let dialect = load(&around(
        &send,
        &format!("{sign}{}", token("field = \"expires_in\"")),
    ));
    let credential = sms_sidecar::secret::Credential::new(
        sms_sidecar::secret::Version(1),
        [("key".to_owned(), "k-1".into())].into(),
    );
    let params = std::collections::BTreeMap::new();
    let account = Account {
        base_url: dialect.base_url(),
        credential: &credential,
        params: &params,
        sender: None,
        token: None,
    };
    let login = visible(&dialect.login_request(&account, now()).unwrap().unwrap());
    assert!(
        login.starts_with("POST https://auth.example/login") && login.ends_with(r#"{"key":"k-1"}"#),
        "{login}"
    );
    assert_eq!(
        dialect
            .write(&message(), &account, now())
            .unwrap_err()
            .cause,
        Cause::CredentialMissing,
        "no token yet"
    );
    let genuine = r#"{"token":"t-secret-1","user":{"id":7},"expires_in":3600}"#;
    let got = dialect.read_login(&reply(200, genuine), now()).unwrap();
    assert_eq!(
        got.expires_at.unwrap().as_second() - now().as_second(),
        3600
    );
    let text = visible(
        &dialect
            .write(
                &message(),
                &Account {
                    token: Some(&got),
                    ..account
                },
                now(),
            )
            .unwrap(),
    );
    assert!(
        text.contains("Bearer t-secret-1") && text.contains(r#""user":"7""#),
        "{text}"
    );
    assert!(!format!("{got:?}").contains("t-secret"));
    let cause = |status, body: &str| {
        dialect
            .read_login(&reply(status, body), now())
            .unwrap_err()
            .outcome
            .cause()
    };
    assert_eq!(
        cause(200, r#"{"error":"locked"}"#),
        Some(Cause::AccountSuspended)
    );
    assert_eq!(cause(401, "{}"), Some(Cause::CredentialRejected));
    assert_eq!(
        cause(500, genuine),
        Some(Cause::ProviderFault),
        "only a success has a token"
    );
    assert_eq!(
        cause(200, r#"{"token":"t"}"#),
        Some(Cause::ReplyUnreadable),
        "an incomplete token is not a token"
    );
    let after = load(&around(
        &send,
        &format!("{sign}{}", token("after = \"30d\"")),
    ));
    assert_eq!(
        after
            .read_login(&reply(200, genuine), now())
            .unwrap()
            .expires_at
            .unwrap()
            .as_second()
            - now().as_second(),
        30 * 86_400
    );
}

#[test]
fn a_sender_listing_probe_settles_no_cause() {
    let rest = "[[probes]]\nabout = \"sender\"\nendpoint = \"GET /senders\"\nsenders = \"names[]\"\nshared = [\"1000\"]\n";
    let send = format!(
        "endpoint = \"POST /send\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
    );
    let dialect = load(&around(&send, rest));
    assert!(dialect.probes().is_empty());
    let probe = dialect.sender_probe().unwrap();
    let lists = |status, body: &str, sender: &str| {
        dialect.lists_sender(probe, &reply(status, body), sender)
    };
    for (status, body, sender, expected) in [
        (200, r#"{"names":["Acme","1port"]}"#, "1port", Some(true)),
        (200, r#"{"names":["Acme"]}"#, "1port", Some(false)),
        (200, r#"{"names":["Acme"]}"#, "acme", Some(false)),
        (200, r#"{"names":["Acme"]}"#, "1000", Some(true)),
        (200, r#"{"names":[]}"#, "1port", Some(false)),
        (200, r#"{"names":[]}"#, "1000", Some(true)),
        (200, r#"{"other":["1port"]}"#, "1port", None),
        (200, "{}", "1000", None),
        (200, "garbage", "1port", None),
        (403, r#"{"names":["1port"]}"#, "1port", None),
    ] {
        assert_eq!(
            lists(status, body, sender),
            expected,
            "{status} {body} {sender}"
        );
    }
}

#[test]
fn a_number_list_compares_numbers_and_covers_no_other_senders() {
    let rest = "[[probes]]\nabout = \"sender\"\nendpoint = \"GET /numbers\"\nquery = { number = \"{sender | plus}\" }\nsenders = \"list[].number\"\nonly = \"numbers\"\n";
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /send\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
        ),
        rest,
    ));
    let probe = dialect.sender_probe().unwrap();
    let lists = |body: &str, sender: &str| dialect.lists_sender(probe, &reply(200, body), sender);
    assert_eq!(
        lists(r#"{"list":[{"number":"+1 202 555 0123"}]}"#, "12025550123"),
        Some(true)
    );
    assert_eq!(
        lists(r#"{"list":[{"number":12025550123}]}"#, "+12025550123"),
        Some(true)
    );
    assert_eq!(
        lists(r#"{"list":[{"number":"+12025550199"}]}"#, "+12025550123"),
        Some(false)
    );
    assert_eq!(lists(r#"{"list":[]}"#, "+12025550123"), Some(false));
    assert!(
        probe.may_list_sender("+12025550123")
            && !probe.may_list_sender("1port")
            && !probe.may_list_sender("MG0000")
    );
    assert_eq!(
        dialect.unprobed_subjects(),
        [
            ProbeSubject::Credential,
            ProbeSubject::Account,
            ProbeSubject::Balance,
            ProbeSubject::Template
        ]
    );
}

#[test]
fn an_approved_text_matches_word_for_word_with_one_word_per_hole() {
    use sms_sidecar::dialect::Approval::{
        Approved, Pending, Rejected, Similar, UnknownStatus, Unlisted,
    };
    let rest = "[[probes]]\nabout = \"template\"\nendpoint = \"GET /texts\"\n[probes.templates]\npath = \"list[]\"\ntext = [\"text\", \"sample\"]\nholes = '<[a-z]+>'\nstatus = \"state\"\napproved = [\"yes\"]\npending = [\"wait\"]\nrejected = [\"no\"]\n";
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /send\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
        ),
        rest,
    ));
    assert!(dialect.probes().is_empty());
    let probe = dialect.template_probe().unwrap();
    let stands = |entries: &str, text: &str| {
        dialect.approval(
            probe,
            &reply(200, &format!(r#"{{"list":[{entries}]}}"#)),
            text,
        )
    };
    let listed = |text: &str| format!(r#"{{"text":"{text}","state":"yes"}}"#);
    for (listed_as, text, expected) in [
        ("Kod: <n>", "Kod: {code}", Approved),
        ("Kod: 123-456", "Kod: {code}", Similar),
        ("Eskiz: kod <n>", "{app}: kod {code}", Similar),
        ("Eskiz: kod <n>", "Eskiz: kod {code}", Approved),
        ("<app>: kod <n>", "{app}: kod {code}", Approved),
        ("Kod:  <n>\\n", "Kod: {code}", Approved),
        ("Kod <n> for <name>.", "Kod {code} for {who}.", Approved),
        ("Kod: <n>.", "Kod: {code}", Unlisted),
        ("Kod: <n> (5 min)", "Kod: {code}", Unlisted),
        ("kod: <n>", "Kod: {code}", Unlisted),
        ("Kod: ", "Kod: {code}", Unlisted),
        ("Kod:<n>", "Kod: {code}", Unlisted),
        ("K.d: <n>", "K*d: {code}", Unlisted),
        ("Hello", "Hello", Approved),
    ] {
        assert_eq!(
            stands(&listed(listed_as), text),
            Some(expected),
            "{listed_as} ~ {text}"
        );
    }
    let state = |word: &str| format!(r#"{{"sample":"Kod: 1","state":{word}}}"#);
    for (word, expected) in [
        ("\"yes\"", Similar),
        ("\"wait\"", Pending),
        ("\"no\"", Rejected),
        ("\"YES\"", UnknownStatus),
        ("null", UnknownStatus),
    ] {
        assert_eq!(
            stands(&state(word), "Kod: {code}"),
            Some(expected),
            "{word}"
        );
    }
    let made = r#"{"text":"Kod: <n>","sample":"Kod: 1","state":"yes"}"#;
    assert_eq!(
        stands(&format!("{},{made}", state("\"no\"")), "Kod: {code}"),
        Some(Approved),
        "given in twice"
    );
    assert_eq!(stands("", "Kod: {code}"), Some(Unlisted));
    assert_eq!(
        dialect.approval(probe, &reply(200, "{}"), "Kod: {code}"),
        None
    );
    assert_eq!(
        dialect.approval(probe, &reply(403, r#"{"list":[]}"#), "Kod: {code}"),
        None
    );
}

#[test]
fn probes_report_a_healthy_or_failed_account_and_its_balance() {
    let rest = "[[probes]]\nabout = \"balance\"\nendpoint = \"GET /balance\"\nbalance = \"left\"\nunit = \"UZS\"\ncause_when = [{ path = [\"state\"], equals = [\"closed\"], cause = \"account-suspended\" }]\n[[probes]]\nabout = \"credential\"\ninferred = true\nendpoint = \"POST /send\"\njson = { messages = [] }\nhealthy_when = { path = [\"code\"] }\n";
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /send\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
        ),
        rest,
    ));
    let [balance, credential] = dialect.probes() else {
        panic!("two probes")
    };
    let probed = |status, body: &str| dialect.read_probe(balance, &reply(status, body));
    assert_eq!(
        probed(200, r#"{"left":"12.5"}"#).balance,
        Some((12.5, "UZS".into()))
    );
    assert_eq!(
        probed(200, r#"{"left":0}"#).cause,
        Some(Cause::BalanceEmpty)
    );
    assert_eq!(
        probed(200, r#"{"state":"closed","left":5}"#).cause,
        Some(Cause::AccountSuspended)
    );
    assert_eq!(
        probed(200, r#"{"state":"open","left":5}"#).healthy,
        Some(true),
        "another value at the same path"
    );
    assert_eq!(probed(401, "").cause, Some(Cause::CredentialRejected));
    assert_eq!(probed(500, "").healthy, None);
    assert_eq!(probed(200, "garbage").healthy, None);
    assert_eq!(
        dialect
            .read_probe(credential, &reply(400, r#"{"code":101}"#))
            .healthy,
        Some(true)
    );
    let owned = Owned::of(&dialect, "-k");
    let asked = visible(
        &dialect
            .probe_request(credential, &owned.account(), now())
            .unwrap(),
    );
    assert!(
        credential.inferred
            && asked.contains("Bearer key-k")
            && asked.ends_with(r#"{"messages":[]}"#),
        "{asked}"
    );
}

#[test]
fn a_header_key_is_sent_with_every_operation_and_a_digest_only_with_a_send() {
    let send = format!(
        "endpoint = \"POST /send\"\n[send.digest.seal]\nof = \"{{credential.key}} {{now | unix}}\"\nwith = \"hmac-sha256\"\nkey = \"{{credential.key}}\"\nout = \"base64\"\n[send.header]\nApi-Key = \"{{credential.key}}\"\nSeal = \"{{digest.seal}}\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
    );
    let dialect = load(&around(
        &send,
        "[[operations]]\nendpoint = \"GET /balance/{any}\"\nkind = \"passthrough\"\nfields = [\"x\"]\n",
    ));
    let owned = Owned::of(&dialect, "-k");
    let made = dialect.write(&message(), &owned.account(), now()).unwrap();
    assert!(made.headers["seal"].is_sensitive() && made.headers["api-key"].is_sensitive());
    assert_eq!(made.headers["seal"].len(), 44);
    let headers: HeaderMap = [
        ("api-key", "backends"),
        ("cookie", "c=1"),
        ("authorization", "Basic x"),
        ("x-other", "1"),
        ("user-agent", "axios"),
    ]
    .into_iter()
    .map(|(name, value)| {
        (
            name.parse::<http::HeaderName>().unwrap(),
            value.parse().unwrap(),
        )
    })
    .collect();
    let request = Request {
        method: Method::GET,
        path: "/api/balance/a%20b".into(),
        query: Some("x=%31".into()),
        headers,
        body: bytes::Bytes::new(),
    };
    let Recognition::Operation(seen) = recognise(
        std::slice::from_ref(&dialect),
        RequestTarget::Host("x.example"),
        &request,
        &[],
    ) else {
        panic!("named")
    };
    assert_eq!(seen.operation, Operation::Passthrough);
    let patched = dialect
        .patch(&seen, &request, &owned.account(), now())
        .unwrap();
    assert_eq!(
        visible(&patched),
        "GET https://x.example/api/balance/a%20b?x=%31\napi-key: key-k\nuser-agent: axios\n\n"
    );
}

#[test]
fn a_reply_key_can_be_the_number_and_a_reply_can_depend_on_the_request() {
    let rules = "[[send.rules]]\npath = [\"sms.*.code\", \"code\"]\ncodes = true\n[[send.rules]]\npath = [\"sms.*.code\"]\nequals = [100]\naccepted = \"sms.*.id\"\n[[send.rules]]\nbody_matches = \"^100\\\\n(?<id>[0-9-]+)\"\naccepted = \"{matched.id}\"\n[send.codes]\nbalance-empty = [201]\n";
    let success = "[[send.success]]\nqueried = { json = \"1\" }\n[send.success.json]\n\"sms.{to | digits}.code\" = 100\n\"sms.{to | digits}.id\" = \"{id | number}-1\"\n";
    let text = around(
        &format!(
            "endpoint = \"POST|GET /s\"\n[send.form]\nk = \"{{credential.key}}\"\nto = \"{{to | digits | join ,}}\"\nmsg = \"{{text}}\"\njson = \"1\"\n{rules}{success}"
        ),
        "",
    );
    let dialect = load(&text.replace(
        "[[send.success]]\njson = { id = \"{id}\" }",
        "[[send.success]]\ntext = \"100\\n{id | number}-1\\n\"",
    ));
    let answered = |body: &str| {
        let reading = read(&dialect, Method::POST, "/api/s", None, body).unwrap();
        dialect.render_result(
            &reading.fields,
            reading.message.as_ref(),
            &MessageResult::Accepted { id: "77" },
            now(),
        )
    };
    assert_eq!(
        answered("to=905321234567&msg=x&json=1").body,
        r#"{"sms":{"905321234567":{"code":100,"id":"77-1"}}}"#
    );
    assert_eq!(answered("to=905321234567&msg=x").body, "100\n77-1\n");
    for body in ["to=905321234567&msg=x&json=1", "to=905321234567&msg=x"] {
        assert_eq!(
            dialect
                .classify(AttemptKind::Send, &answered(body), "r")
                .outcome,
            Outcome::Accepted { id: "77-1".into() }
        );
    }
    assert_eq!(
        judged(&dialect, 200, r#"{"sms":{"905321234567":{"code":201}}}"#).outcome,
        Outcome::Rejected(Cause::BalanceEmpty)
    );
    assert_eq!(
        read(&dialect, Method::GET, "/api/s", Some("to=1,2&msg=x"), "")
            .unwrap()
            .recipient_count,
        2
    );
}

#[test]
fn a_description_from_memory_is_never_certain() {
    let text = around(
        &format!(
            "endpoint = \"POST /\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}[[send.rules]]\npath = [\"code\"]\nequals = [5]\nrejected = \"balance-empty\"\n"
        ),
        "",
    );
    let (sure, unsure) = (load(&text), load(&text.replace("\"vendor\"", "\"memory\"")));
    assert_eq!(
        judged(&sure, 400, r#"{"code":5}"#).certainty,
        Certainty::Certain
    );
    assert_eq!(
        judged(&unsure, 400, r#"{"code":5}"#).certainty,
        Certainty::Likely
    );
    assert!(unsure.requires_experimental() && !sure.requires_experimental());
}

#[test]
fn a_code_is_shown_only_if_it_is_a_short_word_without_a_number_in_it() {
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /m\"\n[send.form]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}[[send.rules]]\npath = [\"code\"]\nrejected = \"message-invalid\"\n"
        ),
        "",
    ));
    let code = |code: &str| {
        judged(
            &dialect,
            400,
            &serde_json::json!({ "code": code }).to_string(),
        )
        .code
    };
    let longest = "x".repeat(64);
    for shown in ["E12", "12345678", "ESME_RINVDSTADR", &longest] {
        assert_eq!(code(shown).as_deref(), Some(shown));
    }
    for foreign in [
        "",
        "two words",
        "998901234567",
        "123456789",
        "a1b2c3d4e5f6g7h8i9",
        "код",
        &"x".repeat(65),
    ] {
        assert_eq!(code(foreign), None, "{foreign}");
    }
}

#[test]
fn a_list_is_rejected_only_if_each_of_its_parts_is_rejected() {
    let rules = "[[send.rules]]\npath = [\"parts[].code\"]\nequals = [0]\naccepted = \"id\"\n[[send.rules]]\nstatus = \"202\"\npath = [\"parts[].code\"]\nequals = [5]\nunknown = \"provider-fault\"\n[[send.rules]]\npath = [\"parts[].code\"]\ncodes = true\n[send.codes]\nmessage-invalid = [5]\nrecipient-invalid = [7]\n";
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /m\"\n[send.form]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{rules}"
        ),
        "",
    ));
    let says = |codes: &[u8]| {
        let parts: Vec<_> = codes
            .iter()
            .map(|code| serde_json::json!({ "code": code }))
            .collect();
        judged(
            &dialect,
            200,
            &serde_json::json!({ "parts": parts }).to_string(),
        )
        .outcome
    };
    assert_eq!(
        says(&[5]),
        Outcome::Rejected(Cause::MessageInvalid),
        "a rule for another status does not apply"
    );
    assert_eq!(
        says(&[7, 7]),
        Outcome::Rejected(Cause::RecipientInvalid),
        "a rule for another code does not apply"
    );
    assert_eq!(
        says(&[7, 0]),
        Outcome::Unknown(Cause::RecipientInvalid),
        "one part was accepted"
    );
    assert_eq!(
        says(&[7, 9]),
        Outcome::Unknown(Cause::RecipientInvalid),
        "the state of one part is unknown"
    );
}

#[test]
fn a_native_get_request_stays_a_get_and_loses_only_the_backends_account() {
    let dialects = support::dialects();
    let smsc = dialects
        .iter()
        .find(|dialect| dialect.name == "smsc")
        .unwrap();
    let owned = Owned::of(smsc, "-OURS");
    let query = "login=THEIRS&psw=THEIRS&apikey=THEIRS&phones=998901234567,998901234568&mes=%D0%9A%6F%64+1&x=%zz&login=THEIRS";
    let request = Request {
        method: Method::GET,
        path: "/sys/send.php".into(),
        query: Some(query.into()),
        ..as_request(&smsc.write(&uzbek(), &owned.account(), now()).unwrap())
    };
    let request = Request {
        body: bytes::Bytes::new(),
        ..request
    };
    let Recognition::Operation(seen) =
        recognise(&dialects, RequestTarget::Host("smsc.kz"), &request, &[])
    else {
        panic!("named")
    };
    let patched = visible(
        &smsc
            .patch(&seen, &request, &owned.account(), now())
            .unwrap(),
    );
    let wanted = "GET https://smsc.ru/sys/send.php?login=username-OURS&psw=password-OURS&phones=998901234567,998901234568&mes=%D0%9A%6F%64+1&x=%zz\n";
    assert!(patched.starts_with(wanted), "{patched}");
    assert!(!patched.contains("THEIRS"));
}

fn uzbek() -> Message {
    Message {
        recipient: Msisdn::parse("998901234567").unwrap(),
        ..message()
    }
}

#[test]
fn a_batch_is_forwarded_whole_and_byte_for_byte() {
    let dialects = support::dialects();
    let playmobile = dialects
        .iter()
        .find(|dialect| dialect.name == "playmobile")
        .unwrap();
    let owned = Owned::of(playmobile, "-OURS");
    let body = "{ \"messages\": [ {\"recipient\":\"998901234567\", \"message-id\":1.0, \"sms\":{\"content\":{\"text\":\"\\u041a \"}}},\n {\"recipient\":998901234568} ], \"timing\": {\"localtime\":123456789012345678901.50} }";
    let headers = [
        ("content-type", "application/json; charset=UTF-8"),
        ("authorization", "Basic VEhFSVJT"),
        ("cookie", "THEIRS"),
    ];
    let headers = headers
        .into_iter()
        .map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().unwrap(),
                value.parse().unwrap(),
            )
        })
        .collect();
    let request = Request {
        method: Method::POST,
        path: "/broker-api/send".into(),
        query: None,
        headers,
        body: body.into(),
    };
    let Recognition::Operation(seen) = recognise(
        &dialects,
        RequestTarget::Host("91.204.239.44"),
        &request,
        &[],
    ) else {
        panic!("named")
    };
    let reading = playmobile.read(&seen, &request, "own").unwrap();
    assert_eq!(
        (
            reading.recipient_count,
            reading.is_provider_specific(),
            reading.untranslatable_fields.as_slice()
        ),
        (2, true, &["timing.localtime".to_owned()][..])
    );
    let patched = playmobile
        .patch(&seen, &request, &owned.account(), now())
        .unwrap();
    assert_eq!(patched.body, body);
    assert_eq!(patched.url, "https://send.smsxabar.uz/broker-api/send");
    assert!(!visible(&patched).contains("THEIRS") && !visible(&patched).contains("VEhFSVJT"));
    let set = playmobile
        .patch(
            &seen,
            &request,
            &Account {
                sender: Some("3700"),
                ..owned.account()
            },
            now(),
        )
        .unwrap();
    let tree: serde_json::Value = serde_json::from_slice(&set.body).unwrap();
    assert_eq!(
        (
            &tree["messages"][0]["sms"]["originator"],
            &tree["messages"][1]["sms"]["originator"]
        ),
        (&"3700".into(), &"3700".into())
    );
    assert_eq!(tree["messages"][0]["sms"]["content"]["text"], "К ");
    let digits = String::from_utf8_lossy(&set.body);
    assert!(
        digits.contains("\"localtime\":123456789012345678901.50"),
        "a number keeps its digits when other fields are set: {digits}"
    );
}

#[test]
fn a_request_without_fields_still_gets_a_reply() {
    for dialect in support::dialects() {
        let reply = dialect.render_result(
            &RequestFields::default(),
            None,
            &MessageResult::Accepted { id: "1" },
            now(),
        );
        assert!(reply.status.is_success(), "{}", dialect.name);
        let refused =
            dialect.render_rejection(StatusCode::UNAUTHORIZED, Cause::DeniedByPolicy, "no");
        assert_eq!(
            refused.status,
            StatusCode::FORBIDDEN,
            "the sidecar never returns a 401"
        );
    }
}

#[test]
fn a_probe_lists_the_causes_it_rules_out_and_those_it_can_report() {
    let rest = "[[probes]]\nabout = \"account\"\nendpoint = \"GET /account\"\nhealthy_when = { path = [\"state\"], equals = [\"open\"] }\nbalance = \"left\"\n\
                cause_when = [{ path = [\"state\"], equals = [\"shut\"], cause = \"account-suspended\", alternatives = [\"ip-not-allowed\"] }, { path = [\"state\"], equals = [\"test\"], cause = \"sandbox-mismatch\", inferred = true }]\n";
    let dialect = load(&around(
        &format!(
            "endpoint = \"POST /send\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
        ),
        rest,
    ));
    let [probe] = dialect.probes() else {
        panic!("one probe")
    };
    let probed = |body: &str| dialect.read_probe(probe, &reply(200, body));
    let shut = probed(r#"{"state":"shut"}"#);
    assert_eq!(
        (shut.cause, shut.certainty, shut.alternatives),
        (
            Some(Cause::AccountSuspended),
            Certainty::Ambiguous,
            vec![Cause::IpNotAllowed]
        )
    );
    assert_eq!(
        probed(r#"{"state":"test"}"#).certainty,
        Certainty::Likely,
        "a guess is never certain"
    );
    assert_eq!(
        probe.possible_causes(),
        [
            vec![Cause::AccountSuspended, Cause::IpNotAllowed],
            vec![Cause::SandboxMismatch],
            vec![Cause::BalanceEmpty]
        ]
    );
    let out = probed(r#"{"state":"open"}"#).excluded_causes;
    for cause in [
        Cause::CredentialRejected,
        Cause::ClockSkew,
        Cause::AccountSuspended,
        Cause::SandboxMismatch,
    ] {
        assert!(out.contains(&cause), "{cause}");
    }
    assert!(
        !out.contains(&Cause::IpNotAllowed),
        "an IP allow-list can apply to sends only"
    );
    assert!(
        !out.contains(&Cause::BalanceEmpty),
        "a reply without a balance rules out no balance cause"
    );
    assert!(
        probed(r#"{"left":1}"#)
            .excluded_causes
            .contains(&Cause::BalanceEmpty)
    );
}

#[test]
fn a_description_has_console_pages_retired_addresses_and_token_claims() {
    let head = "retired_hosts = [\"old.example*\", \"*:8083/api\"]\n[console]\nbalance-empty = \"https://pay.example\"\ndefault = \"https://console.example\"\n";
    let token = "[token]\nendpoint = \"POST /login\"\njson = { key = \"{credential.key}\" }\nreads = { access = \"token\" }\nanswer = { json = { token = \"{placeholder}\" } }\n\
                 [[token.claims]]\nname = \"role\"\nequals = [\"test\"]\ncause = \"sandbox-mismatch\"\n[sign]\nbearer = \"{token.access}\"\n";
    let send = format!(
        "endpoint = \"POST /send\"\n[send.json]\nto = \"{{to}}\"\ntext = \"{{text}}\"\n{OK}"
    );
    let text = around(&send, token);
    let dialect = load(&text.replacen("[credential]", &format!("{head}[credential]"), 1));
    let page = |cause| dialect.console_urls().get(&cause).map(String::as_str);
    assert_eq!(page(Cause::BalanceEmpty), Some("https://pay.example"));
    assert_eq!(page(Cause::IpNotAllowed), Some("https://console.example"));
    assert_eq!(
        page(Cause::ProviderFault),
        None,
        "a console cannot fix this cause"
    );
    for (url, left) in [
        ("http://old.example/x", true),
        ("https://10.0.0.1:8083/api/", true),
        ("https://new.example", false),
    ] {
        assert_eq!(dialect.is_retired_base_url(url), left, "{url}");
    }
    let jwt = |claims: &str| {
        use base64::Engine;
        format!(
            r#"{{"token":"head.{}.sign"}}"#,
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims)
        )
    };
    let shown = |body: String| {
        dialect
            .read_login(&reply(200, &body), now())
            .unwrap()
            .claims()
            .iter()
            .map(|claim| claim.holds)
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(jwt(r#"{"role":"test"}"#)), [true]);
    assert_eq!(shown(jwt(r#"{"role":"user"}"#)), [false]);
    assert_eq!(
        shown(jwt("{}")),
        [false; 0],
        "an absent claim shows nothing"
    );
    assert_eq!(shown(r#"{"token":"no-jwt"}"#.to_owned()), [false; 0]);
}

#[test]
fn every_built_in_service_has_a_page_for_every_account_rejection() {
    for dialect in support::dialects()
        .iter()
        .filter(|dialect| dialect.hosts().next().is_some())
    // a gateway of one's own has no page
    {
        for cause in [
            Cause::CredentialRejected,
            Cause::BalanceEmpty,
            Cause::IpNotAllowed,
            Cause::SenderNotAllowed,
        ] {
            assert!(
                dialect.console_urls().contains_key(&cause),
                "{} has no [console] for {cause}",
                dialect.name
            );
        }
    }
}

/// A form with a list whose entries have names.
const KEYED: &str = "endpoint = \"POST /s\"\nkeyed = [\"a.entry.*.Name\"]\ndroppable = [\"a.entry.Hint.Name\", \"a.entry.Hint.Value\"]\n[send.form]\nto = \"{to}\"\nt = \"{text}\"\n\"a.entry.1.Name\" = \"{sender | const From}\"\n\"a.entry.1.Value\" = \"{sender}\"\n[[send.rules]]\nstatus = \"200\"\naccepted = \"id\"\n";

fn posted(body: &str) -> Request {
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    Request {
        method: Method::POST,
        path: "/api/s".into(),
        query: None,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, form)]),
        body: body.to_owned().into(),
    }
}

fn seen_as_send(
    dialect: &Arc<Dialect>,
    request: &Request,
) -> sms_sidecar::dialect::RecognisedRequest {
    let all = [Arc::clone(dialect)];
    match recognise(&all, RequestTarget::Named(dialect), request, &[]) {
        Recognition::Operation(seen) => seen,
        Recognition::UnlistedOperation(_) | Recognition::Unrecognised => {
            panic!("not an operation")
        }
    }
}

#[test]
fn the_entries_of_a_keyed_list_may_be_in_any_order() {
    let dialect = load(&around(KEYED, ""));
    for (body, sender, untranslatable) in [
        (
            "to=%2B905321234567&t=K&a.entry.2.Name=From&a.entry.2.Value=Acme",
            Some("Acme"),
            vec![],
        ),
        (
            "to=%2B905321234567&t=K&a.entry.1.Name=Hint&a.entry.1.Value=x&a.entry.7.Value=Acme&a.entry.7.Name=From",
            Some("Acme"),
            vec![],
        ),
        (
            "to=%2B905321234567&t=K&a.entry.1.Name=Hint&a.entry.1.Value=x",
            None,
            vec![],
        ),
        (
            "to=%2B905321234567&t=K&a.entry.1.Name=Other&a.entry.1.Value=x",
            None,
            vec!["a.entry.Other.Name", "a.entry.Other.Value"],
        ),
        (
            "to=%2B905321234567&t=K&a.entry.1.Value=Acme",
            None,
            vec!["a.entry.unnamed.Value"],
        ),
        (
            "to=%2B905321234567&t=K&a.entry.1.Name=1&a.entry.1.Value=Acme",
            None,
            vec!["a.entry.unnamed.Name", "a.entry.unnamed.Value"],
        ),
    ] {
        let request = posted(body);
        let read = dialect
            .read(&seen_as_send(&dialect, &request), &request, "own")
            .unwrap();
        let message = read.message.expect("one message");
        assert_eq!(message.sender.as_deref(), sender, "{body}");
        assert_eq!(read.untranslatable_fields, untranslatable, "{body}");
    }
}

#[test]
fn a_sender_is_set_in_the_entry_that_the_request_has() {
    let dialect = load(&around(KEYED, ""));
    let owned = Owned::of(&dialect, "-k");
    let account = Account {
        sender: Some("Ours"),
        ..owned.account()
    };
    for (given, sent) in [
        (
            "to=9&t=K&a.entry.1.Name=Hint&a.entry.1.Value=x&a.entry.2.Name=From&a.entry.2.Value=Acme",
            "to=9&t=K&a.entry.1.Name=Hint&a.entry.1.Value=x&a.entry.2.Name=From&a.entry.2.Value=Ours",
        ),
        (
            "to=9&t=K&a.entry.3.Name=Hint&a.entry.3.Value=x",
            "to=9&t=K&a.entry.3.Name=Hint&a.entry.3.Value=x&a.entry.4.Name=From&a.entry.4.Value=Ours",
        ),
        (
            "to=9&t=K",
            "to=9&t=K&a.entry.1.Name=From&a.entry.1.Value=Ours",
        ),
    ] {
        let request = posted(given);
        let seen = seen_as_send(&dialect, &request);
        let patched = dialect.patch(&seen, &request, &account, now()).unwrap();
        assert_eq!(String::from_utf8_lossy(&patched.body), sent);
    }
}

#[test]
fn a_default_parameter_leaves_the_backends_own() {
    let send = "endpoint = \"POST /{param.version}/s\"\n[send.form]\nto = \"{to}\"\nt = \"{text}\"\nkind = \"{param.kind}\"\n[[send.rules]]\nstatus = \"200\"\naccepted = \"id\"\n";
    let dialect = load(&around(
        send,
        "[param]\nversion = { default = \"2\" }\nkind = { default = \"a\" }\n",
    ));
    let request = |body: &str| Request {
        path: "/api/1/s".into(),
        ..posted(body)
    };
    let mut owned = Owned::of(&dialect, "-k");
    for (set, given, path, sent) in [
        (None, "to=9&t=K&kind=b", "/api/1/s", "to=9&t=K&kind=b"),
        (None, "to=9&t=K", "/api/1/s", "to=9&t=K&kind=a"),
        (Some("c"), "to=9&t=K&kind=b", "/api/c/s", "to=9&t=K&kind=c"),
    ] {
        owned.params = set
            .iter()
            .flat_map(|set| ["version", "kind"].map(|name| (name.to_owned(), (*set).to_owned())))
            .collect();
        let request = request(given);
        let seen = seen_as_send(&dialect, &request);
        let patched = dialect
            .patch(&seen, &request, &owned.account(), now())
            .unwrap();
        assert_eq!(patched.url.path(), path);
        assert_eq!(String::from_utf8_lossy(&patched.body), sent);
    }
}

#[test]
fn a_local_operation_is_its_answer() {
    let operation = "[[operations]]\nendpoint = \"POST /set\"\nkind = \"local\"\nanswer = { status = 202, json = { set = \"{queried.name}\" } }\n";
    let send = "endpoint = \"POST /s\"\n[send.form]\nto = \"{to}\"\nt = \"{text}\"\n[[send.rules]]\nstatus = \"200\"\naccepted = \"id\"\n";
    let dialect = load(&around(send, operation));
    let request = Request {
        path: "/api/set".into(),
        ..posted("name=kind")
    };
    let seen = seen_as_send(&dialect, &request);
    assert_eq!(seen.operation, Operation::Local);
    let fields = dialect.read(&seen, &request, "").unwrap().fields;
    let reply = dialect
        .render_local(&seen, &fields, now())
        .expect("an answer");
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.body, r#"{"set":"kind"}"#);
}

#[test]
fn a_path_may_be_in_any_case_where_the_service_takes_it() {
    let send = "endpoint = \"POST /Send/{credential.key}\"\n[send.form]\nto = \"{to}\"\nt = \"{text}\"\n[[send.rules]]\nstatus = \"200\"\naccepted = \"id\"\n";
    let text = around(send, "");
    let exact = load(&text);
    let any = load(&format!("ignore_case = true\n{text}"));
    let request = Request {
        path: "/api/sEND/abc".into(),
        ..posted("to=9&t=K")
    };
    let is_send = |dialect: &Arc<Dialect>| {
        let all = [Arc::clone(dialect)];
        matches!(
            recognise(&all, RequestTarget::Named(dialect), &request, &[]),
            Recognition::Operation(_)
        )
    };
    assert!(is_send(&any) && !is_send(&exact));
    // It goes out as the description writes it.
    let owned = Owned::of(&any, "-k");
    let patched = any.patch(
        &seen_as_send(&any, &request),
        &request,
        &owned.account(),
        now(),
    );
    assert!(patched.unwrap().url.path().starts_with("/api/Send/"));
}

#[test]
fn of_two_senders_the_secondary_one_does_not_count() {
    let send = "endpoint = \"POST /s\"\nsecondary = [\"pool\"]\n[send.form]\nto = \"{to}\"\nt = \"{text}\"\nzfrom = \"{sender | not P}\"\npool = \"{sender | only P}\"\n[[send.rules]]\nstatus = \"200\"\naccepted = \"id\"\n";
    let dialect = load(&around(send, ""));
    for (body, sender) in [
        ("to=%2B905321234567&t=K&zfrom=Acme&pool=P1", "Acme"),
        ("to=%2B905321234567&t=K&zfrom=&pool=P1", "P1"),
        ("to=%2B905321234567&t=K&zfrom=Acme&pool=", "Acme"),
    ] {
        let request = posted(body);
        let read = dialect
            .read(&seen_as_send(&dialect, &request), &request, "own")
            .unwrap();
        assert_eq!(
            read.message.expect("one message").sender.as_deref(),
            Some(sender)
        );
        assert_eq!(read.untranslatable_fields, [""; 0], "{body}");
    }
}
