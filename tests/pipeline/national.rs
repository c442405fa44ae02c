//! National numbers: completed with the country of the route before the first attempt, in whatever shape the backend's
//! dialect has them.

use std::collections::BTreeSet;

use sms_sidecar::dialect::Request;

use crate::fake::{Fake, loses, say, takes};
use crate::stage::{Stage, body, header, post, provider, route};

/// One provider of a dialect whose service accepts everything, and a route with a country.
async fn one(dialect: &str, more: &str) -> (Fake, Stage) {
    let fake = Fake::open(|_, _| say(200, "{}")).await;
    let stage = Stage::open(&(provider("a", dialect, &fake, "") + &route("a", more)));
    (fake, stage)
}

fn plain(to: &str) -> Request {
    post(
        "/plain/v1/messages",
        &serde_json::json!({ "to": to, "text": "kod 1" }).to_string(),
    )
}

fn form(path: &str, body: &str) -> Request {
    let mut request = post(path, body);
    request.headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    request
}

const UZ: &str = "country = \"998\"";

#[tokio::test]
async fn a_native_number_is_completed_in_its_own_shape() {
    let playmobile = |recipient: &str| {
        post(
            "/playmobile/broker-api/send",
            &format!(
                r#"{{"messages":[{{"recipient":{recipient},"message-id":"otp-1","sms":{{"originator":"3700","content":{{"text":"kod 1"}}}}}}]}}"#
            ),
        )
    };
    let at = "/messages/0/recipient";
    for (written, expected) in [
        (r#""901234567""#, "998901234567"),
        (r#""90 123-45-67""#, "998901234567"),
        ("901234567", "998901234567"),
        (r#""998901234567""#, "998901234567"),
        ("998901234567", "998901234567"),
        (r#""+998901234567""#, "+998901234567"),
    ] {
        let (fake, stage) = one("playmobile", UZ).await;
        stage.ask(playmobile(written)).await;
        let got = &fake.got()[0];
        let is_number = got.body.contains(&format!(":{expected},"));
        assert_eq!(is_number, !written.contains('"'), "{}", got.body);
        if !is_number {
            assert_eq!(got.json(at), expected, "{written}");
        }
        assert_eq!(got.json("/messages/0/message-id"), "otp-1");
    }
    let (fake, stage) = one("playmobile", "").await;
    let reply = stage.ask(playmobile(r#""901234567""#)).await;
    assert_eq!(
        (fake.count(), header(&reply, "x-sms-sidecar-cause")),
        (0, "recipient-invalid"),
        "without a country it is a Turkish number"
    );
}

#[tokio::test]
async fn a_form_a_query_and_a_separated_list_are_completed() {
    let (fake, stage) = one("smsc", UZ).await;
    stage
        .ask(form(
            "/smsc/sys/send.php",
            "login=x&psw=y&phones=901234567&mes=kod+1&fmt=3",
        ))
        .await;
    stage
        .ask(form(
            "/smsc/sys/send.php",
            "login=x&psw=y&phones=901234567,998901234568,%2B12025550123&mes=kod+1&fmt=3",
        ))
        .await;
    let got = fake.got();
    assert!(
        got[0].body.contains("phones=998901234567&"),
        "{}",
        got[0].body
    );
    let list = "phones=998901234567%2C998901234568%2C%2B12025550123&";
    assert!(got[1].body.contains(list), "{}", got[1].body);

    let (fake, stage) = one("messagebird", UZ).await;
    stage.put("a", &[("access_key", "aBcDeFgHiJkLmNoPqRsTuVwXy")]);
    for recipients in [r#"["901234567"]"#, r#"[901234567,"998901234568"]"#] {
        let message =
            format!(r#"{{"recipients":{recipients},"originator":"3700","body":"kod 1"}}"#);
        stage.ask(post("/messagebird/messages", &message)).await;
    }
    let got = fake.got();
    assert!(
        got[0].body.contains(r#"["998901234567"]"#),
        "{}",
        got[0].body
    );
    assert!(
        got[1].body.contains(r#"[998901234567,"998901234568"]"#),
        "{}",
        got[1].body
    );
}

#[tokio::test]
async fn a_failed_over_message_reaches_the_same_number() {
    let (a, b) = (
        Fake::open(|_, _| loses()).await,
        Fake::open(|_, _| say(200, "Request is received")).await,
    );
    let config = provider("a", "plain", &a, "") + &provider("b", "playmobile", &b, "");
    let stage = Stage::open(&(config + &route("a b", UZ)));
    let reply = stage.ask(plain("901234567")).await;
    assert_eq!(reply.status.as_u16(), 202, "{}", body(&reply));
    assert_eq!(a.got()[0].json("/to"), "+998901234567");
    assert_eq!(b.got()[0].json("/messages/0/recipient"), "998901234567");
}

#[tokio::test]
async fn a_route_is_chosen_by_the_completed_number() {
    let (a, b) = (
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| takes()).await,
    );
    let config = provider("a", "plain", &a, "") + &provider("b", "plain", &b, "");
    let uz = route("a", "recipients = [\"+998\"]\ncountry = \"998\"");
    let kz =
        "[[routes]]\nname = \"kz\"\nproviders = [\"b\"]\nrecipients = [\"+7\"]\ncountry = \"7\"\n";
    let stage = Stage::open(&(config + &uz + kz));
    for (to, of) in [
        ("901234567", "a"),
        ("+998901234567", "a"),
        ("87011234567", "b"),
        ("7011234567", "b"),
        ("+77011234567", "b"),
    ] {
        let reply = stage.ask(plain(to)).await;
        assert_eq!(header(&reply, "x-sms-sidecar-provider"), of, "{to}");
    }
    let sent: BTreeSet<String> = a
        .got()
        .iter()
        .chain(&b.got())
        .map(|got| got.json("/to"))
        .collect();
    assert_eq!(
        sent,
        BTreeSet::from(["+998901234567".to_owned(), "+77011234567".to_owned()])
    );
    let reply = stage.ask(plain("12345")).await;
    assert_eq!(
        (reply.status.as_u16(), header(&reply, "x-sms-sidecar-cause")),
        (422, "recipient-invalid"),
        "unfit in the country of every route"
    );
}

#[tokio::test]
async fn the_country_of_a_provider_counts_in_a_route_without_one() {
    let (a, b) = (
        Fake::open(|_, _| loses()).await,
        Fake::open(|_, _| takes()).await,
    );
    let config = provider("a", "plain", &a, "") + &provider("b", "plain", &b, "country = \"998\"");
    let stage = Stage::open(&(config.clone() + &route("a b", "")));
    stage.ask(plain("901234567")).await;
    for fake in [&a, &b] {
        assert_eq!(fake.got()[0].json("/to"), "+998901234567");
    }
    let stage = Stage::open(&(config + &route("a b", "country = \"7\"")));
    stage.ask(plain("7011234567")).await;
    assert_eq!(b.got()[1].json("/to"), "+77011234567", "the route's own");
}

#[tokio::test]
async fn national_and_international_are_the_same_message() {
    let (fake, stage) = one("plain", UZ).await;
    fake.now(|_, _| takes());
    let mut replies = BTreeSet::new();
    for to in ["901234567", "+998901234567", "998901234567", "90 123 45 67"] {
        let reply = stage.ask(plain(to)).await;
        assert_eq!(reply.status.as_u16(), 202);
        replies.insert(body(&reply));
    }
    assert_eq!((fake.count(), replies.len()), (1, 1), "{replies:?}");
    stage.ask(plain("901234568")).await;
    assert_eq!(fake.count(), 2);
}

#[tokio::test]
async fn a_number_that_cannot_be_one_is_answered_at_once() {
    let (fake, stage) = one("plain", UZ).await;
    for to in ["12345", "90123456", "9012345678", "+99890123456"] {
        let reply = stage.ask(plain(to)).await;
        assert_eq!(reply.status.as_u16(), 422, "{to}: {}", body(&reply));
        assert_eq!(header(&reply, "x-sms-sidecar-cause"), "recipient-invalid");
        let text = body(&reply);
        assert!(
            text.contains("a number of +998 has 9 after the country code") && !text.contains(to),
            "{text}"
        );
    }
    assert_eq!(fake.count(), 0);
    let labels = [("result", "message-rejected"), ("route", "r")];
    assert_eq!(stage.metric("requests_total", &labels[..1]), 4.0);

    let (fake, stage) = one("playmobile", UZ).await;
    let message = r#"{"messages":[{"recipient":"901234567","message-id":"1","sms":{"originator":"3700","content":{"text":"kod"}}},{"recipient":"12","message-id":"2","sms":{"originator":"3700","content":{"text":"kod"}}}]}"#;
    let reply = stage
        .ask(post("/playmobile/broker-api/send", message))
        .await;
    assert_eq!(reply.status.as_u16(), 400, "{}", body(&reply));
    assert_eq!(fake.count(), 0, "a batch is whole");
}

/// The service may know what this build does not.
#[tokio::test]
async fn what_may_be_a_number_is_sent() {
    for to in [
        "+9989012345678",
        "+12345678",
        "+99900000000",
        "+77011234567",
        "77011234567",
        "998001234567",
    ] {
        let (fake, stage) = one("plain", UZ).await;
        stage.ask(plain(to)).await;
        assert_eq!(fake.got()[0].json("/to"), to);
    }
}

#[tokio::test]
async fn an_observed_number_stays_as_it_is() {
    let fake = Fake::open(|_, _| takes()).await;
    let config = format!(
        "mode = \"observe\"\n{}{}",
        provider("a", "plain", &fake, ""),
        route("a", UZ)
    );
    let stage = Stage::open(&config);
    for to in ["901234567", "12"] {
        stage.ask(plain(to)).await;
    }
    let sent: Vec<String> = fake.got().iter().map(|got| got.json("/to")).collect();
    assert_eq!(sent, ["901234567", "12"]);
}

#[tokio::test]
async fn an_operators_message_is_completed_too() {
    let (fake, stage) = one("plain", UZ).await;
    fake.now(|_, _| takes());
    let report = stage
        .control("POST /send", r#"{"to":"901234567","text":"kod 1"}"#)
        .await;
    assert!(report.contains("+998*****67"), "{report}");
    assert_eq!(fake.got()[0].json("/to"), "+998901234567");
    let report = stage
        .control("POST /send", r#"{"to":"90123456","text":"kod 1"}"#)
        .await;
    assert!(
        report.contains("recipient-invalid") && report.contains("a number of +998 has 9"),
        "{report}"
    );
}

/// Its providers, its `on_unknown` and its country hold for all recipients, or for none.
#[tokio::test]
async fn a_batch_takes_the_route_of_all_its_recipients() {
    let batch = |recipients: [&str; 2]| {
        let messages = recipients.map(|to| {
            serde_json::json!({
                "recipient": to,
                "message-id": format!("otp-{to}"),
                "sms": { "originator": "3700", "content": { "text": "kod 1" } },
            })
        });
        let body = serde_json::json!({ "messages": messages });
        post("/playmobile/broker-api/send", &body.to_string())
    };
    let home = |providers| {
        let more = format!("recipients = [\"+998\"]\n{UZ}\non_unknown = \"stop\"");
        route(providers, &more)
    };
    for (recipients, sent, at_home) in [
        (["998901234567", "998901234568"], "998901234568", true),
        (["901234567", "998901234568"], "998901234567", true),
        (["998901234567", "+77011234567"], "77011234567", false),
    ] {
        let a = Fake::open(|_, _| loses()).await;
        let b = Fake::open(|_, _| loses()).await;
        let stage = Stage::open(
            &(provider("a", "playmobile", &a, "")
                + &provider("b", "playmobile", &b, "")
                + &home("a")
                + &route("b", "").replace("\"r\"", "\"rest\"")),
        );
        stage.ask(batch(recipients)).await;
        let counts = if at_home { (1, 0) } else { (0, 1) };
        assert_eq!((a.count(), b.count()), counts, "{recipients:?}");
        let got = if at_home { a.got() } else { b.got() };
        assert!(got[0].body.contains(sent), "{}", got[0].body);
    }
}

/// A route for +998 that completes, and one after it for everything, without a country.
async fn two_routes(dialect: &str, first: &str, second: &str) -> (Fake, Fake, Stage) {
    let (a, b) = (
        Fake::open(|_, _| say(200, "{}")).await,
        Fake::open(|_, _| say(200, "{}")).await,
    );
    let config = provider("a", dialect, &a, "") + &provider("b", dialect, &b, "");
    let second = format!("[[routes]]\nname = \"later\"\nproviders = [\"b\"]\n{second}\n");
    let stage = Stage::open(&(config + &route("a", first) + &second));
    (a, b, stage)
}

#[tokio::test]
async fn a_national_number_never_leaves_as_it_is_written() {
    let smsc = |phones: &str| {
        let body = format!("login=x&psw=y&phones={phones}&mes=kod+1&fmt=3");
        form("/smsc/sys/send.php", &body)
    };
    let uz = "recipients = [\"+998\"]\ncountry = \"998\"";
    for (first, second, phones) in [
        // Numbers of two countries: no route takes all of them.
        (uz, "", "901234567,77011234567"),
        (uz, "", "%2B77011234567,901234567"),
        // A form that the dialect does not have.
        (uz, "", "901234567;901234568"),
        (uz, "", "901234567%0A901234568"),
        ("country = \"998\"", "", "901234567;998901234568"),
        (uz, "", "901234567&list=901234568:hi"),
        (uz, "", "998901234567&list=901234568:hi"),
        // No number of any country.
        (uz, "", "9012345678"),
        (uz, "", "8901234567"),
        (uz, "", "8+90+123+45+67"),
        (uz, "", "810998901234567"),
        // The route of the country comes second, or does not take the message.
        ("recipients = [\"+90\"]", uz, "901234567"),
        (
            "recipients = [\"+998\"]\ncountry = \"998\"\ndialects = [\"plain\"]",
            "",
            "901234567",
        ),
    ] {
        let (a, b, stage) = two_routes("smsc", first, second).await;
        let reply = stage.ask(smsc(phones)).await;
        assert_eq!((a.count(), b.count()), (0, 0), "{phones}: {}", body(&reply));
        assert_eq!(
            header(&reply, "x-sms-sidecar-cause"),
            "recipient-invalid",
            "{phones}"
        );
        assert!(body(&reply).contains("write"), "{phones}: {}", body(&reply));
        assert!(!body(&reply).contains("9012345"), "{}", body(&reply));
    }
    // A batch of one country, and numbers abroad, are delivered.
    for (phones, first_count) in [
        ("901234567,998901234568", 1),
        ("77011234567,998901234568", 0),
        ("77011234567;12025550123", 0),
    ] {
        let (a, b, stage) = two_routes("smsc", uz, "").await;
        stage.ask(smsc(phones)).await;
        assert_eq!(
            (a.count(), b.count()),
            (first_count, 1 - first_count),
            "{phones}"
        );
    }
}

#[tokio::test]
async fn a_list_in_a_field_for_one_number_is_rejected() {
    let (fake, stage) = one("twilio", UZ).await;
    let twilio = "AC0123456789abcdef0123456789abcdef";
    stage.put(
        "a",
        &[
            ("account_sid", twilio),
            ("auth_token", "0123456789abcdef0123456789abcdef"),
        ],
    );
    let path = format!("/twilio/2010-04-01/Accounts/{twilio}/Messages.json");
    for to in [
        "901234567,901234568",
        "%2B998901234567,901234568",
        "901234567%3B901234568",
    ] {
        let reply = stage
            .ask(form(&path, &format!("To={to}&From=Acme&Body=kod+1")))
            .await;
        assert_eq!(reply.status.as_u16(), 400, "{to}: {}", body(&reply));
    }
    assert_eq!(fake.count(), 0);
}
