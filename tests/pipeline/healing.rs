//! Credentials: recovery within the request, dead credentials are not sent, return from quarantine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::fake::{Fake, Gate, refuses, say, takes};
use crate::stage::{Lines, Stage, header, provider, route};

const MINUTE: Duration = Duration::from_mins(1);

/// Accepts only this token.
fn knows(token: &'static str) -> impl Fn(&crate::fake::Got, usize) -> crate::fake::Say {
    move |got, _| {
        if got.header("authorization") == Some(&format!("Bearer {token}")) {
            takes()
        } else {
            refuses("credential-rejected")
        }
    }
}

async fn two(
    first: impl Fn(&crate::fake::Got, usize) -> crate::fake::Say + Send + Sync + 'static,
) -> (Fake, Fake, Stage) {
    let (a, b) = (Fake::open(first).await, Fake::open(|_, _| takes()).await);
    let stage = Stage::open(
        &(provider("a", "plain", &a, "") + &provider("b", "plain", &b, "") + &route("a b", "")),
    );
    (a, b, stage)
}

#[tokio::test]
async fn a_newer_version_recovers_within_the_request() {
    let (a, b, stage) = two(knows("token-number-2")).await;
    stage.looked_first("a").await;
    stage.put("a", &[("token", "token-number-2")]);
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), a.count(), b.count()), (202, 2, 0));
    assert_eq!(header(&reply, "x-sms-sidecar-attempts"), "2");
    assert_eq!(stage.standing("a"), "healthy");
    let labels = [
        ("provider", "a"),
        ("kind", "send"),
        ("outcome", "rejected"),
        ("cause", "credential-rejected"),
    ];
    assert_eq!(stage.metric("attempts_total", &labels), 1.0);
    assert_eq!(
        stage.metric(
            "upstream_responses_total",
            &[("provider", "a"), ("status", "401")]
        ),
        1.0
    );
}

/// Twilio with this `account_sid` and `auth_token` in the vault, then a second provider.
async fn with_twilio(sid: &str, token: &str) -> (Fake, Fake, Stage) {
    let accepts = |_: &crate::fake::Got, _| say(201, r#"{"sid":"SM1","status":"queued"}"#);
    let (a, b) = (Fake::open(accepts).await, Fake::open(|_, _| takes()).await);
    let stage = Stage::open(
        &(provider("a", "twilio", &a, "sender = \"+12025550123\"")
            + &provider("b", "plain", &b, "")
            + &route("a b", "prefer = \"listed\"")),
    );
    stage.put("a", &[("account_sid", sid), ("auth_token", token)]);
    (a, b, stage)
}

const SID: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_value_of_another_shape_is_used_and_is_evidence_when_the_service_rejects_it() {
    let (a, b, stage) = with_twilio(SID, "a-shape-of-tomorrow").await;
    let message = r#"{"to":"+998901234567","text":"one"}"#;
    let told = stage.control("POST /send", message).await;
    assert!(told.contains(r#""result":"accepted""#), "{told}");
    assert_eq!((a.count(), b.count()), (1, 0), "a pattern is a suspicion");
    a.now(|_, _| say(401, r#"{"code":20003,"message":"Authenticate"}"#));
    let told = stage
        .control("POST /send", &message.replace("one", "two"))
        .await;
    assert!(
        told.contains("the vault's `auth_token` does not look like one"),
        "{told}"
    );
    assert!(!told.contains("a-shape-of-tomorrow"), "{told}");
}

#[tokio::test]
async fn a_value_of_another_shape_is_logged_once_per_version() {
    let lines = Lines::of_this_thread();
    let warnings = || {
        let log = lines.text();
        assert!(!log.contains("a-shape-of"), "{log}");
        log.matches("looks wrong and is used all the same").count()
    };
    let (_a, _b, stage) = with_twilio(SID, "a-shape-of-tomorrow").await;
    for text in ["one", "two"] {
        let message = format!(r#"{{"to":"+998901234567","text":"{text}"}}"#);
        stage.control("POST /send", &message).await;
    }
    assert_eq!(warnings(), 1);
    stage.put(
        "a",
        &[("account_sid", SID), ("auth_token", "a-shape-of-next-year")],
    );
    stage.looked("a").await;
    let message = r#"{"to":"+998901234567","text":"three"}"#;
    stage.control("POST /send", message).await;
    assert_eq!(warnings(), 2);
}

#[tokio::test]
async fn a_value_that_cannot_be_one_is_held_back_as_missing() {
    let held_back = [
        (TOKEN, SID, "swapped"),
        (SID, "", "empty"),
        (SID, "00000000000000000000000000000000", "placeholder"),
        (SID, "undefined", "variable that is not set"),
        (SID, "${TWILIO_AUTH_TOKEN}", "nothing expanded"),
    ];
    for (sid, token, words) in held_back {
        let (a, b, stage) = with_twilio(sid, token).await;
        let message = r#"{"to":"+998901234567","text":"one"}"#;
        let told = stage.control("POST /send", message).await;
        assert_eq!((a.count(), b.count()), (0, 1), "{words}");
        assert!(told.contains(r#""cause":"credential-missing""#), "{told}");
        assert!(
            told.contains(words) && told.contains("Nothing was sent"),
            "{told}"
        );
        let rejected = [("provider", "a"), ("cause", "credential-rejected")];
        assert_eq!(
            stage.metric("attempts_total", &rejected),
            0.0,
            "nobody rejected it"
        );
    }
}

/// Nobody rejected what was never sent.
#[tokio::test]
async fn a_newer_version_that_cannot_be_one_is_not_said_to_be_rejected() {
    for value in ["undefined", "${PLAIN_TOKEN}", "your_token"] {
        let log = Lines::of_this_thread();
        let a = Fake::open(knows("token-number-1")).await;
        let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
        assert_eq!(stage.send("one").await.status.as_u16(), 202);
        stage.put("a", &[("token", value)]);
        stage.looked("a").await;
        assert_eq!(stage.send("two").await.status.as_u16(), 202, "{value}");
        assert_eq!(a.count(), 2, "{value} is not sent");
        let own = stage.provider_status("a").await;
        let summary = "in use with version 1 of its credential; version 2 cannot be used";
        assert_eq!(own["summary"], summary);
        let warning =
            "a uses version 1 of its credential: version 2 cannot be used (credential-missing).";
        let status = stage.status().await.to_string();
        assert!(status.contains(warning), "{status}");
        let line = "version 2 of its credential cannot be used; version 1 stays in use";
        let log = log.text();
        assert!(log.contains(line), "{log}");
        for text in [log, status] {
            assert!(!text.contains("was rejected"), "{text}");
        }
    }
}

#[tokio::test]
async fn what_healed_in_the_request_leaves_nothing_to_do() {
    let (a, _, stage) = two(knows("token-number-2")).await;
    let send = |text: &'static str| {
        let message = format!(r#"{{"to":"+998901234567","text":"{text}"}}"#);
        let stage = &stage;
        async move { stage.control("POST /send", &message).await }
    };
    stage.looked_first("a").await;
    stage.put("a", &[("token", "token-number-2")]);
    let healed = send("one").await;
    assert!(healed.contains(r#""result":"accepted""#), "{healed}");
    assert!(
        healed.contains(r#""cause":"credential-rejected""#),
        "{healed}"
    );
    assert!(healed.contains(r#""remedy":null"#), "{healed}");
    assert!(healed.contains(r#""diagnosis":null"#), "{healed}");
    a.now(|_, _| refuses("credential-rejected"));
    let failed_over = send("two").await;
    assert!(
        failed_over.contains(r#""result":"accepted""#),
        "{failed_over}"
    );
    assert!(
        !failed_over.contains(r#""remedy":null"#),
        "a is out: {failed_over}"
    );
}

#[tokio::test]
async fn a_fault_that_passes_by_itself_has_no_remedy_once_another_provider_delivered() {
    let (_, _, stage) = two(|_, _| say(429, "{}")).await;
    let message = r#"{"to":"+998901234567","text":"one"}"#;
    let told = stage.control("POST /send", message).await;
    assert!(told.contains(r#""result":"accepted""#), "{told}");
    assert!(told.contains(r#""cause":"throttled""#), "{told}");
    assert!(told.contains(r#""remedy":null"#), "{told}");
}

#[tokio::test]
async fn a_newer_version_is_tried_once_then_the_next_provider() {
    let (a, b, stage) = two(|_, _| refuses("credential-rejected")).await;
    stage.looked_first("a").await;
    stage.put("a", &[("token", "token-number-2")]);
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), a.count(), b.count()), (202, 2, 1));
    assert_eq!(stage.standing("a"), "quarantined");
    assert_eq!(
        stage.metric(
            "failovers_total",
            &[("from", "a"), ("to", "b"), ("cause", "credential-rejected")]
        ),
        1.0
    );
}

#[tokio::test]
async fn a_dead_version_is_not_sent_again_until_it_changes() {
    let (a, _b, stage) = two(knows("token-number-2")).await;
    for text in ["one", "two", "three"] {
        assert_eq!(stage.send(text).await.status.as_u16(), 202);
    }
    assert_eq!(a.count(), 1, "only the first met the dead credential");
    stage.put("a", &[("token", "token-number-2")]);
    stage.looked("a").await;
    assert_eq!(stage.standing("a"), "healthy");
    assert_eq!(
        header(&stage.send("four").await, "x-sms-sidecar-provider"),
        "a"
    );
}

#[tokio::test]
async fn one_message_rechecks_and_a_failed_recheck_doubles_the_wait() {
    let (a, _b, stage) = two(|_, _| refuses("credential-rejected")).await;
    stage.send("one").await;
    stage.pass(MINUTE);
    for text in ["two", "three"] {
        stage.send(text).await;
    }
    assert_eq!(a.count(), 2, "one message may try it");
    stage.pass(MINUTE);
    stage.send("four").await;
    assert_eq!(a.count(), 2, "the next recheck is after two minutes");
    stage.pass(MINUTE);
    a.now(|_, _| takes());
    assert_eq!(
        header(&stage.send("five").await, "x-sms-sidecar-provider"),
        "a"
    );
    assert_eq!(stage.standing("a"), "healthy");
}

#[tokio::test]
async fn a_vault_that_is_changed_first_loses_no_message_with_one_provider() {
    let a = Fake::open(knows("token-number-1")).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
    let sent = |text: &'static str| {
        let stage = &stage;
        async move { stage.send(text).await.status.as_u16() }
    };
    assert_eq!(sent("one").await, 202);
    stage.put("a", &[("token", "token-number-2")]);
    stage.looked("a").await;
    assert_eq!(sent("two").await, 202, "the newest, then the previous one");
    assert_eq!((a.count(), stage.standing("a")), (3, "healthy".to_owned()));
    assert_eq!(sent("three").await, 202);
    assert_eq!(a.count(), 4, "the rejected version is not sent again");
    let own = stage.provider_status("a").await;
    assert_eq!(
        own["summary"],
        "in use with version 1 of its credential; version 2 was rejected"
    );
    assert_eq!(own["cause"], "credential-rejected");
    assert!(
        own["remedy"].is_string() && own["can_deliver"] == true,
        "{own}"
    );
    // The service follows: the previous version is rejected, and the newest is accepted.
    a.now(knows("token-number-2"));
    assert_eq!(sent("four").await, 202);
    assert_eq!(a.count(), 6);
    assert_eq!(sent("five").await, 202);
    assert_eq!(a.count(), 7, "the newest alone");
    assert_eq!(stage.provider_status("a").await["summary"], "in use");
}

#[tokio::test]
async fn a_provider_that_rejects_most_messages_is_shown_as_failing() {
    let (a, b, stage) = two(|_, _| refuses("sender-not-allowed")).await;
    let summary = async |stage: &Stage| stage.provider_status("a").await["summary"].to_string();
    stage.send("one").await;
    stage.send("two").await;
    assert_eq!(summary(&stage).await, r#""in use""#, "two can be chance");
    stage.send("three").await;
    let own = stage.provider_status("a").await;
    assert_eq!(
        (own["state"].as_str(), own["cause"].as_str()),
        (Some("healthy"), Some("sender-not-allowed")),
        "{own}"
    );
    assert_eq!(
        own["summary"],
        "in use, but 3 of its last 3 messages failed"
    );
    assert!(own["remedy"].is_string() && own["failed_at"].is_string());
    let status = stage.status().await;
    assert_eq!(
        status["headline"]["summary"],
        "Yes, but most messages to a fail."
    );
    assert_eq!(
        status["headline"]["warnings"][0],
        "3 of the last 3 messages to a failed (sender-not-allowed)."
    );
    assert_eq!((a.count(), b.count()), (3, 3));
    a.now(|_, _| takes());
    for text in ["four", "five", "six"] {
        stage.send(text).await;
    }
    assert_eq!(summary(&stage).await, r#""in use""#);
}

#[tokio::test]
async fn wrong_recipients_do_not_make_a_provider_fail() {
    let (_a, _b, stage) = two(|_, _| refuses("recipient-invalid")).await;
    for text in ["one", "two", "three", "four"] {
        stage.send(text).await;
    }
    assert_eq!(stage.provider_status("a").await["summary"], "in use");
}

#[tokio::test]
async fn the_headline_weighs_what_happened_last() {
    let a = Fake::open(|_, _| refuses("balance-empty")).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
    for nth in 0..76 {
        stage.send(&format!("text {nth}")).await;
    }
    a.now(|_, _| takes());
    stage.control("POST /resume/a", "").await;
    let mut headlines = Vec::new();
    for text in ["one", "two", "three"] {
        stage.send(text).await;
        headlines.push(stage.status().await["headline"]["summary"].clone());
    }
    assert_eq!(
        headlines,
        [
            "Degraded: 76 of the last 77 messages failed.",
            "Degraded: 76 of the last 78 messages failed.",
            "Yes, codes arrive."
        ]
    );
}

#[tokio::test]
async fn two_dead_versions_quarantine_a_provider() {
    let a = Fake::open(knows("token-number-1")).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
    stage.send("one").await;
    stage.put("a", &[("token", "token-number-2")]);
    stage.looked("a").await;
    a.now(|_, _| refuses("credential-rejected"));
    assert_eq!(stage.send("two").await.status.as_u16(), 503);
    assert_eq!(
        (a.count(), stage.standing("a")),
        (4, "quarantined".to_owned()),
        "the newest, the previous one, and the newest once more"
    );
    stage.send("three").await;
    assert_eq!(a.count(), 4);
}

#[tokio::test]
async fn an_account_rejection_quarantines_without_a_second_attempt() {
    for cause in [
        "permission-denied",
        "account-suspended",
        "balance-empty",
        "ip-not-allowed",
    ] {
        let (a, b, stage) = two(move |_, _| refuses(cause)).await;
        assert_eq!(stage.send("one").await.status.as_u16(), 202);
        stage.send("two").await;
        assert_eq!(
            (a.count(), b.count(), stage.standing("a")),
            (1, 2, "quarantined".to_owned()),
            "{cause}"
        );
    }
}

#[tokio::test]
async fn a_missing_credential_fails_over_and_recovers_with_the_entry() {
    let (a, b, stage) = two(|_, _| takes()).await;
    stage.lose("a");
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), a.count(), b.count()), (202, 0, 1));
    assert_eq!(stage.standing("a"), "quarantined");
    let shown = async || {
        let own = stage.provider_status("a").await;
        [own["cause"].clone(), own["certainty"].clone()]
    };
    assert_eq!(shown().await, ["credential-missing", "certain"]);
    stage.put("a", &[("token", "token-number-1")]);
    stage.looked_first("a").await;
    assert_eq!(
        header(&stage.send("two").await, "x-sms-sidecar-provider"),
        "a"
    );
    let nothing = serde_json::Value::Null;
    assert_eq!(shown().await, [nothing.clone(), nothing]);
}

#[tokio::test]
async fn a_vault_that_fails_later_leaves_the_last_good_credential() {
    let (a, _b, stage) = two(|_, _| takes()).await;
    stage.send("one").await;
    stage.lose("a");
    assert_eq!(
        header(&stage.send("two").await, "x-sms-sidecar-provider"),
        "a"
    );
    assert_eq!(a.count(), 2);
}

/// A service that requires a login first: `token-N` is the Nth login's.
fn service(good: &'static str) -> impl Fn(&crate::fake::Got, usize) -> crate::fake::Say {
    move |got, nth| {
        if got.line.contains("/auth/login") {
            return if got.body.contains("password-1") {
                logged_in(nth, 30 * 24 * 3600)
            } else {
                say(401, r#"{"message":"no"}"#)
            };
        }
        match got.header("authorization") {
            Some(bearer) if bearer.contains(good) => say(
                200,
                r#"{"id":"e-1","message":"Waiting for SMS provider","status":"waiting"}"#,
            ),
            _ => say(401, r#"{"message":"Expired","status":"token-invalid"}"#),
        }
    }
}

fn logged_in(nth: usize, life: i64) -> crate::fake::Say {
    use base64::Engine;
    let exp = jiff::Timestamp::now().as_second() + life;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(format!(r#"{{"exp":{exp},"n":{nth}}}"#));
    say(
        200,
        &format!(
            r#"{{"message":"token_generated","data":{{"token":"head.{claims}.sign{nth}"}},"token_type":"bearer"}}"#
        ),
    )
}

async fn eskiz(
    script: impl Fn(&crate::fake::Got, usize) -> crate::fake::Say + Send + Sync + 'static,
) -> (Fake, Fake, Stage) {
    let (a, b) = (Fake::open(script).await, Fake::open(|_, _| takes()).await);
    let stage = Stage::open(
        &(provider("a", "eskiz", &a, "")
            + &provider("b", "plain", &b, "")
            + &route("a b", "prefer = \"listed\"\ndeadline = \"8s\"")),
    );
    (a, b, stage)
}

#[tokio::test]
async fn twenty_requests_make_one_login() {
    let (a, b, stage) = eskiz(service("sign")).await;
    let stage = Arc::new(stage);
    let calls: Vec<_> = (0..20)
        .map(|nth| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { stage.send(&format!("text {nth}")).await.status.as_u16() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 202);
    }
    assert_eq!(
        (a.at("/auth/login"), a.at("/message/sms/send"), b.count()),
        (1, 20, 0)
    );
}

#[tokio::test]
async fn a_401_within_a_tokens_lifetime_causes_one_login() {
    let (a, b, stage) = eskiz(service("sign")).await;
    stage.send("one").await;
    // The service forgets every token except the next login's.
    a.now(service("sign3"));
    let reply = stage.send("two").await;
    assert_eq!(
        (
            header(&reply, "x-sms-sidecar-provider"),
            a.at("/auth/login"),
            b.count()
        ),
        ("a", 2, 0)
    );
    assert_eq!(stage.standing("a"), "healthy");
}

#[tokio::test]
async fn after_a_rejected_token_the_login_uses_the_newest_password() {
    let (a, b, stage) = eskiz(service("sign")).await;
    stage.looked_first("a").await;
    stage.send("one").await;
    // Password and tokens change together, and the vault has the new password already.
    stage.put("a", &[("password", "password-2")]);
    a.now(move |got, nth| {
        if !got.line.contains("/auth/login") {
            return service("sign3")(got, nth);
        }
        if got.body.contains("password-2") {
            logged_in(nth, 30 * 24 * 3600)
        } else {
            say(401, r#"{"message":"no"}"#)
        }
    });
    let reply = stage.send("two").await;
    assert_eq!(
        (
            header(&reply, "x-sms-sidecar-provider"),
            a.at("/auth/login"),
            b.count()
        ),
        ("a", 2, 0),
        "the old password is not presented again"
    );
}

#[tokio::test]
async fn an_entry_is_read_more_often_while_its_provider_is_quarantined() {
    let (_a, _b, stage) = two(|_, _| say(401, "")).await;
    let reference = stage.loaded.proxy.providers[0].credential.clone().unwrap();
    let interval = || stage.proxy.vault_poll_interval(&reference).as_secs();
    assert_eq!(interval(), 60);
    stage.send("one").await;
    assert_eq!(
        (stage.standing("a").as_str(), interval()),
        ("quarantined", 5)
    );
}

#[tokio::test]
async fn a_second_401_with_a_new_token_is_an_account_rejection() {
    let (a, b, stage) = eskiz(service("never")).await;
    stage.send("one").await;
    assert_eq!(
        (a.at("/auth/login"), a.at("/message/sms/send"), b.count()),
        (2, 2, 1)
    );
    assert_eq!(stage.standing("a"), "quarantined");
    stage.send("two").await;
    assert_eq!((a.count(), b.count()), (4, 2), "the account is left alone");
}

/// Whatever the service says of it.
#[tokio::test]
async fn a_token_of_a_moment_ago_is_not_expired() {
    for words in ["Expired", "Token has expired", "expired token"] {
        check_a_rejected_fresh_token(words).await;
    }
}

async fn check_a_rejected_fresh_token(words: &str) {
    let expired = say(401, &format!(r#"{{"message":"{words}"}}"#));
    let script = move |got: &crate::fake::Got, nth| {
        if got.line.contains("/auth/login") {
            logged_in(nth, 86_400)
        } else {
            expired.clone()
        }
    };
    let (a, b, stage) = eskiz(script).await;
    stage.send("one").await;
    stage.settle().await;
    assert_eq!((a.at("/auth/login"), b.count()), (2, 1), "{words}");
    let of = |cause| [("provider", "a"), ("kind", "send"), ("cause", cause)];
    let expired = stage.metric("attempts_total", &of("credential-expired"));
    assert_eq!(expired, 0.0, "{words}");
    let rejected = stage.metric("attempts_total", &of("credential-rejected"));
    assert_eq!(rejected, 2.0, "{words}");
    let shown = stage.provider_status("a").await.to_string();
    assert!(shown.contains("so it has not expired"), "{shown}");
    assert!(shown.contains("clock-skew"), "{shown}");
}

#[tokio::test]
async fn a_new_credential_has_its_own_second_login() {
    let (a, _b, stage) = eskiz(service("never")).await;
    stage.send("one").await;
    assert_eq!(stage.standing("a"), "quarantined");
    stage.put("a", &[("email", "other@example.com")]);
    stage.looked("a").await;
    let before = a.at("/auth/login");
    stage.send("two").await;
    assert_eq!(
        a.at("/auth/login") - before,
        2,
        "what was said of the old one's tokens says nothing of this one's"
    );
}

#[tokio::test]
async fn a_rejected_login_is_not_retried_with_the_same_version() {
    let (a, b, stage) = eskiz(|_, _| say(401, r#"{"message":"no"}"#)).await;
    for text in ["one", "two", "three"] {
        stage.send(text).await;
    }
    assert_eq!(
        (a.at("/auth/login"), a.at("/message"), b.count()),
        (1, 0, 3)
    );
    assert_eq!(stage.standing("a"), "quarantined");
    let login = [
        ("provider", "a"),
        ("kind", "login"),
        ("outcome", "rejected"),
        ("cause", "credential-rejected"),
    ];
    assert_eq!(stage.metric("attempts_total", &login), 1.0);
    stage.put("a", &[("email", "other@example.com")]);
    stage.looked("a").await;
    a.now(service("sign"));
    assert_eq!(
        header(&stage.send("four").await, "x-sms-sidecar-provider"),
        "a"
    );
}

#[tokio::test]
async fn requests_waiting_for_a_lost_login_do_not_each_retry_it() {
    let gate = Gate::closed();
    let shut = gate.clone();
    let (a, b, stage) = eskiz(move |_, _| crate::fake::loses().behind(&shut)).await;
    let stage = Arc::new(stage);
    let calls: Vec<_> = (0..10)
        .map(|nth| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { stage.send(&format!("text {nth}")).await.status.as_u16() })
        })
        .collect();
    a.wait_for_requests(1).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap(), 202);
    }
    assert_eq!(b.count(), 10);
    assert!(
        a.at("/auth/login") <= 3,
        "{} logins for ten calls that waited for one",
        a.at("/auth/login")
    );
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let (a, b, stage) = eskiz(service("sign")).await;
    stage.send("one").await;
    let own = stage.provider_status("a").await;
    let ends: jiff::Timestamp = own["token_expires_at"].as_str().unwrap().parse().unwrap();
    let left = ends.duration_since(jiff::Timestamp::now());
    assert!((29..=30).contains(&(left.as_hours() / 24)), "{own}");
    stage.pass(Duration::from_hours(26 * 24));
    stage.send("two").await;
    assert_eq!(a.at("/auth/login"), 1);
    stage.pass(Duration::from_hours(25));
    stage.send("three").await;
    assert_eq!((a.at("/auth/login"), b.count()), (2, 0));
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_old_token_and_is_not_retried_by_every_request() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let (a, b, stage) = eskiz(move |got, nth| {
        let login = got.line.contains("/auth/login");
        if login && fails.load(Ordering::SeqCst) {
            say(401, r#"{"message":"no"}"#)
        } else {
            service("sign")(got, nth)
        }
    })
    .await;
    stage.send("one").await;
    failing.store(true, Ordering::SeqCst);
    stage.pass(Duration::from_hours(28 * 24));
    for text in ["two", "three", "four"] {
        assert_eq!(
            header(&stage.send(text).await, "x-sms-sidecar-provider"),
            "a",
            "the old token still has time left"
        );
    }
    assert_eq!(
        (a.at("/auth/login"), b.count()),
        (2, 0),
        "a refused login is not repeated with the same version"
    );
    stage.pass(MINUTE);
    stage.send("five").await;
    assert_eq!(a.at("/auth/login"), 2, "not later either");
}

#[tokio::test]
async fn a_renewal_that_the_service_could_not_make_is_tried_again_later() {
    let (a, b, stage) = eskiz(service("sign")).await;
    stage.send("one").await;
    a.now(|got, nth| {
        if got.line.contains("/auth/login") {
            say(500, "{}")
        } else {
            service("sign")(got, nth)
        }
    });
    stage.pass(Duration::from_hours(28 * 24));
    let mut logins = Vec::new();
    for (text, pause) in [("two", 0), ("three", 20), ("four", 20)] {
        stage.pass(Duration::from_secs(pause));
        stage.send(text).await;
        logins.push(a.at("/auth/login"));
    }
    assert_eq!((logins, b.count()), (vec![2, 2, 3], 0));
}

#[tokio::test]
async fn if_all_are_quarantined_one_request_in_ten_seconds_tries_the_first() {
    let (a, b, stage) = two(|_, _| refuses("balance-empty")).await;
    b.now(|_, _| refuses("credential-rejected"));
    assert_eq!(stage.send("one").await.status.as_u16(), 503);
    assert_eq!((a.count(), b.count()), (1, 1));
    // The first last resort is due immediately, then one every ten seconds.
    let tries = |a: &Fake, b: &Fake| (a.count(), b.count());
    stage.send("two").await;
    assert_eq!(tries(&a, &b), (2, 1));
    for text in ["three", "four"] {
        let reply = stage.send(text).await;
        assert_eq!(
            (reply.status.as_u16(), header(&reply, "retry-after")),
            (503, "5")
        );
    }
    assert_eq!(tries(&a, &b), (2, 1));
    stage.pass(Duration::from_secs(10));
    a.now(|_, _| takes());
    assert_eq!(stage.send("five").await.status.as_u16(), 202);
    assert_eq!(tries(&a, &b), (3, 1));
    assert_eq!(stage.standing("a"), "healthy");
}

#[tokio::test]
async fn a_rejected_credential_is_sent_by_half_open_trials_only() {
    let (a, b, stage) = two(|_, _| refuses("credential-rejected")).await;
    b.now(|_, _| refuses("credential-expired"));
    let mut sent = Vec::new();
    for nth in 0..30 {
        stage.send(&format!("text {nth}")).await;
        sent.push((a.count(), b.count()));
        stage.pass(Duration::from_secs(10));
    }
    // At the start, after one minute, and two minutes later.
    assert_eq!(
        [0, 5, 6, 17, 18, 29].map(|nth: usize| sent[nth]),
        [(1, 1), (1, 1), (2, 2), (2, 2), (3, 3), (3, 3)]
    );
}

#[tokio::test]
async fn a_probe_that_is_rejected_for_its_credential_is_the_last_one() {
    let a = Fake::open(|got, _| {
        let is_probe = got.line.contains("/balance.php");
        let code = if is_probe { 2 } else { 3 };
        say(200, &format!(r#"{{"error":"no","error_code":{code}}}"#))
    })
    .await;
    let stage = Stage::open(&(provider("a", "smsc", &a, "recheck = \"never\"") + &route("a", "")));
    stage.send("one").await;
    for _ in 0..6 {
        stage.pass(MINUTE / 2);
        stage.proxy.run_due_probes().await;
    }
    assert_eq!(
        a.at("/balance.php"),
        1,
        "a rejected credential is not sent again"
    );
    assert_eq!(stage.cause("a").await, "credential-rejected");
}

#[tokio::test]
async fn a_probe_restores_an_account_only_once_it_is_healthy() {
    let a = Fake::open(account("0")).await;
    let stage = Stage::open(&(provider("a", "smsc", &a, "recheck = \"never\"") + &route("a", "")));
    stage.send("one").await;
    assert_eq!(stage.standing("a"), "quarantined");
    stage.proxy.run_due_probes().await;
    assert_eq!(a.at("/balance.php"), 0, "not before half a minute");
    stage.pass(MINUTE / 2);
    stage.proxy.run_due_probes().await;
    stage.proxy.run_due_probes().await;
    assert_eq!(
        (a.at("/balance.php"), stage.standing("a")),
        (1, "quarantined".to_owned()),
        "asked once, and empty still"
    );
    a.now(account("250.5"));
    stage.pass(MINUTE / 2);
    stage.proxy.run_due_probes().await;
    assert_eq!(
        (a.at("/balance.php"), stage.standing("a")),
        (2, "healthy".to_owned())
    );
    assert_eq!(
        stage.metric(
            "attempts_total",
            &[
                ("provider", "a"),
                ("kind", "probe"),
                ("outcome", "accepted")
            ]
        ),
        1.0
    );
    stage.pass(MINUTE);
    stage.proxy.run_due_probes().await;
    assert_eq!(a.at("/balance.php"), 2, "who is in use is not asked");
}

#[tokio::test]
async fn active_providers_are_probed_for_balance_every_15_minutes_and_the_rate_is_reported() {
    let a = Fake::open(account("100")).await;
    let stage = Stage::open(&(provider("a", "smsc", &a, "") + &route("a", "")));
    stage.proxy.run_due_probes().await;
    assert_eq!(a.count(), 0, "a start brings messages first");
    stage.pass(MINUTE);
    stage.proxy.run_due_probes().await;
    stage.proxy.run_due_probes().await;
    assert_eq!(
        (
            a.count(),
            a.at("/balance.php"),
            stage.metric("balance", &[("provider", "a")])
        ),
        (1, 1, 100.0)
    );
    assert!(
        stage
            .control("GET /status", "")
            .await
            .contains(r#""daily_spend":null"#),
        "one reading is no pace"
    );
    a.now(account("97.5"));
    stage.pass(MINUTE * 15);
    stage.proxy.run_due_probes().await;
    assert_eq!(
        (a.count(), stage.metric("balance", &[("provider", "a")])),
        (2, 97.5)
    );
    let told = stage.control("GET /status", "").await;
    let spent = told
        .split_once(r#""daily_spend":"#)
        .and_then(|(_, rest)| rest.split(['}', ',']).next()?.parse::<f64>().ok());
    assert!(
        spent.is_some_and(|spent| (239.0..241.0).contains(&spent)),
        "2.5 in a quarter of an hour: {told}"
    );
    stage.control("POST /pause/a", "").await;
    stage.pass(MINUTE * 15);
    stage.proxy.run_due_probes().await;
    assert_eq!(a.count(), 2, "who is paused is not asked");
}

#[tokio::test]
async fn a_dead_credential_is_not_probed() {
    let a = Fake::open(|_, _| say(200, r#"{"error":"no such login","error_code":2}"#)).await;
    let stage = Stage::open(&(provider("a", "smsc", &a, "") + &route("a", "")));
    stage.send("one").await;
    assert_eq!(stage.standing("a"), "quarantined");
    stage.pass(MINUTE / 2);
    stage.proxy.run_due_probes().await;
    assert_eq!(a.count(), 1);
}

/// An account with this balance; sends are rejected because it is too low.
fn account(left: &'static str) -> impl Fn(&crate::fake::Got, usize) -> crate::fake::Say {
    move |got, _| {
        if got.line.contains("balance.php") {
            say(200, &format!(r#"{{"balance":"{left}","currency":"RUR"}}"#))
        } else {
            say(200, r#"{"error":"money","error_code":3}"#)
        }
    }
}
