//! Which provider is tried next, and which reply the backend gets.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sms_sidecar::dialect::Request;
use sms_sidecar::net::drain::ClientConnection;
use sms_sidecar::net::entrypoint::EntrypointTarget;
use sms_sidecar::net::peer::Peer;

use crate::fake::{Fake, Gate, Got, Say, loses, refuses, say, takes};
use crate::stage::{Stage, body, header, message, playmobile, post, provider, route};

async fn three(more: &str) -> (Fake, Fake, Fake, Stage) {
    let (a, b, c) = (
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| takes()).await,
    );
    let accounts = provider("a", "plain", &a, "")
        + &provider("b", "plain", &b, "")
        + &provider("c", "plain", &c, "");
    let stage = Stage::open(&(accounts + &route("a b c", more)));
    (a, b, c, stage)
}

#[tokio::test]
async fn failover_translates_the_message_and_the_success_reply() {
    let (a, b) = (
        Fake::open(|_, _| {
            say(
                400,
                r#"{"error-code":102,"error-description":"Account locked"}"#,
            )
        })
        .await,
        Fake::open(|_, _| takes()).await,
    );
    let stage = Stage::open(
        &(provider("play", "playmobile", &a, "")
            + &provider("b", "plain", &b, "")
            + &route("b play", "")),
    );
    let reply = stage.ask(playmobile("otp-1", "kod + 123 & ўқ")).await;
    assert_eq!(
        (reply.status.as_u16(), body(&reply).as_str()),
        (200, "Request is received")
    );
    assert_eq!(
        (
            header(&reply, "x-sms-sidecar-provider"),
            header(&reply, "x-sms-sidecar-attempts")
        ),
        ("b", "2")
    );
    assert_eq!(
        (a.count(), b.count()),
        (1, 1),
        "the dialect spoken comes first"
    );
    let got = &b.got()[0];
    assert_eq!(
        (got.json("/to"), got.json("/text"), got.json("/sender")),
        (
            "+998901234567".into(),
            "kod + 123 & ўқ".into(),
            "3700".into()
        )
    );
    assert_eq!(got.header("authorization"), Some("Bearer token-number-1"));
    assert_eq!(
        stage.metric(
            "failovers_total",
            &[
                ("from", "play"),
                ("to", "b"),
                ("cause", "account-suspended")
            ]
        ),
        1.0
    );
    assert_eq!(stage.metric("route_first_choice", &[("route", "r")]), 0.0);
    assert_eq!(
        stage.metric(
            "requests_total",
            &[
                ("dialect", "playmobile"),
                ("operation", "send"),
                ("result", "accepted")
            ]
        ),
        1.0
    );
}

#[tokio::test]
async fn all_providers_rejecting_is_503_with_retry_after_and_never_401() {
    let (a, b) = (
        Fake::open(|_, _| say(401, "denied")).await,
        Fake::open(|_, _| refuses("credential-rejected")).await,
    );
    let stage = Stage::open(
        &(provider("play", "playmobile", &a, "")
            + &provider("b", "plain", &b, "")
            + &route("play b", "")),
    );
    let reply = stage.ask(playmobile("otp-1", "kod 1")).await;
    assert_eq!(reply.status.as_u16(), 503);
    assert!(
        body(&reply).contains("\"error-code\":100"),
        "{}",
        body(&reply)
    );
    assert_eq!(
        (
            header(&reply, "retry-after"),
            header(&reply, "x-sms-sidecar-cause")
        ),
        ("5", "credential-rejected")
    );
}

#[tokio::test]
async fn after_a_doubt_another_provider_and_a_possible_duplicate() {
    let (a, b, _c, stage) = three("").await;
    a.now(|_, _| loses());
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), a.count(), b.count()), (202, 1, 1));
    assert_eq!(
        stage.metric("possible_duplicates_total", &[("provider", "b")]),
        1.0
    );
}

#[tokio::test]
async fn after_a_doubt_stop_ends_the_request() {
    let (a, b, _c, stage) = three("on_unknown = \"stop\"").await;
    a.now(|_, _| loses());
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), a.count(), b.count()), (504, 1, 0));
    assert_eq!(stage.metric("possible_duplicates_total", &[]), 0.0);
}

#[tokio::test]
async fn after_a_doubt_the_same_provider_is_not_retried_and_the_doubt_is_reported() {
    let (a, b, c, stage) = three("").await;
    a.now(|_, _| say(500, "oops"));
    b.now(|_, _| refuses("balance-empty"));
    c.now(|_, _| refuses("sender-not-allowed"));
    let reply = stage.send("one").await;
    assert_eq!(
        (reply.status.as_u16(), a.count(), b.count(), c.count()),
        (504, 1, 1, 1)
    );
    assert_eq!(
        stage.metric("possible_duplicates_total", &[]),
        0.0,
        "who refused it sent nothing"
    );
}

#[tokio::test]
async fn two_providers_rejecting_the_message_end_the_request() {
    let (a, b, c, stage) = three("").await;
    a.now(|_, _| refuses("message-invalid"));
    b.now(|_, _| refuses("recipient-invalid"));
    let reply = stage.send("one").await;
    assert_eq!(
        (reply.status.as_u16(), a.count(), b.count(), c.count()),
        (422, 1, 1, 0)
    );
    b.now(|_, _| takes());
    assert_eq!(
        stage.send("two").await.status.as_u16(),
        202,
        "one may be wrong"
    );
}

#[tokio::test]
async fn an_opt_out_is_not_bypassed() {
    let (a, b, _c, stage) = three("").await;
    a.now(|_, _| refuses("recipient-blocked"));
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), a.count(), b.count()), (422, 1, 0));
    assert_eq!(stage.standing("a"), "healthy");
}

#[tokio::test]
async fn a_rejected_sender_does_not_quarantine_the_account() {
    let (a, b, _c, stage) = three("").await;
    a.now(|_, _| refuses("sender-not-allowed"));
    assert_eq!(stage.send("one").await.status.as_u16(), 202);
    assert_eq!((stage.standing("a").as_str(), b.count()), ("healthy", 1));
}

#[tokio::test]
async fn a_throttled_provider_fails_over_and_cools_down_as_requested() {
    let (a, b, _c, stage) = three("").await;
    a.now(|_, _| refuses("throttled").with("retry-after", "30"));
    for text in ["one", "two"] {
        assert_eq!(stage.send(text).await.status.as_u16(), 202);
    }
    assert_eq!(
        (a.count(), b.count(), stage.standing("a")),
        (1, 2, "cooldown".to_owned())
    );
    stage.pass(Duration::from_secs(30));
    a.now(|_, _| takes());
    assert_eq!(
        header(&stage.send("three").await, "x-sms-sidecar-provider"),
        "a"
    );
}

#[tokio::test]
async fn back_to_a_throttled_one_if_the_deadline_allows() {
    let a = Fake::open(|_, nth| {
        if nth == 0 {
            refuses("throttled").with("retry-after", "1")
        } else {
            takes()
        }
    })
    .await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "deadline = \"8s\"")));
    assert_eq!(
        (stage.send("one").await.status.as_u16(), a.count()),
        (202, 2)
    );
    let b = Fake::open(|_, _| refuses("throttled").with("retry-after", "20")).await;
    let stage = Stage::open(&(provider("a", "plain", &b, "") + &route("a", "deadline = \"8s\"")));
    assert_eq!(
        (stage.send("one").await.status.as_u16(), b.count()),
        (503, 1)
    );
}

#[tokio::test]
async fn a_failing_provider_cools_down_after_three_and_gets_one_trial() {
    let (a, _b, _c, stage) = three("").await;
    a.now(|_, _| say(503, "busy"));
    for text in ["1", "2", "3", "4", "5"] {
        stage.send(text).await;
    }
    assert_eq!((a.count(), stage.standing("a")), (3, "cooldown".to_owned()));
    stage.pass(Duration::from_secs(15));
    stage.send("6").await;
    stage.send("7").await;
    assert_eq!(a.count(), 4, "one message tries");
}

#[tokio::test]
async fn a_closed_port_is_unsent_and_fails_over() {
    let (gone, b) = (
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| takes()).await,
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let config =
        provider("a", "plain", &gone, "").replace(&gone.address.to_string(), &nobody.to_string());
    let stage = Stage::open(&(config + &provider("b", "plain", &b, "") + &route("a b", "")));
    assert_eq!(stage.send("one").await.status.as_u16(), 202);
    assert_eq!(
        stage.metric(
            "attempts_total",
            &[
                ("provider", "a"),
                ("outcome", "unsent"),
                ("cause", "unreachable")
            ]
        ),
        1.0
    );
    assert_eq!(stage.metric("possible_duplicates_total", &[]), 0.0);
}

#[tokio::test]
async fn a_stalled_provider_is_a_doubt_within_its_time_limit() {
    let gate = Gate::closed();
    let a = Fake::open(move |_, _| takes().behind(&gate)).await;
    let stage = Stage::open(
        &(provider("a", "plain", &a, "").replace("\"2s\"", "\"1s\"") + &route("a", "")),
    );
    let reply = stage.send("one").await;
    assert_eq!(
        (reply.status.as_u16(), header(&reply, "x-sms-sidecar-cause")),
        (504, "timeout")
    );
}

#[tokio::test]
async fn no_send_starts_after_a_login_used_the_remaining_time() {
    let gate = Gate::closed();
    let shut = gate.clone();
    let a = Fake::open(move |_, _| say(200, r#"{"data":{"token":"a.b.c"}}"#).behind(&shut)).await;
    let stage = Arc::new(Stage::open(
        &(provider("a", "eskiz", &a, "") + &route("a", "deadline = \"8s\"")),
    ));
    let shared = Arc::clone(&stage);
    let call = tokio::spawn(async move { shared.send("one").await });
    a.wait_for_requests(1).await;
    stage.pass(Duration::from_millis(7500));
    gate.open();
    let reply = call.await.unwrap();
    assert_eq!(
        (
            reply.status.as_u16(),
            header(&reply, "x-sms-sidecar-cause"),
            a.at("/message")
        ),
        (503, "timeout", 0)
    );
}

#[tokio::test]
async fn a_provider_paused_during_a_wait_is_not_tried() {
    let a = Fake::open(|_, _| refuses("throttled").with("retry-after", "1")).await;
    let stage = Arc::new(Stage::open(
        &(provider("a", "plain", &a, "") + &route("a", "deadline = \"8s\"")),
    ));
    let shared = Arc::clone(&stage);
    let call = tokio::spawn(async move { shared.send("one").await });
    a.wait_for_requests(1).await;
    while stage.standing("a") != "cooldown" {
        tokio::task::yield_now().await;
    }
    stage.control("POST /pause/a", "").await;
    assert_eq!((call.await.unwrap().status.as_u16(), a.count()), (503, 1));
}

/// A service that rejects a reference that it has seen before.
fn remembers(first: Say) -> impl Fn(&Got, usize) -> Say {
    let seen = Mutex::new(BTreeSet::new());
    move |got, nth| {
        let id = got.json("/messages/0/destinations/0/messageId");
        let status = if seen.lock().unwrap().insert(id.clone()) {
            (1, 26)
        } else {
            (5, 23)
        };
        if nth == 0 && first.loses {
            return first.clone();
        }
        say(
            200,
            &format!(
                r#"{{"messages":[{{"messageId":"{id}","status":{{"groupId":{},"id":{},"description":"d"}}}}]}}"#,
                status.0, status.1
            ),
        )
    }
}

#[tokio::test]
async fn duplicate_after_our_own_doubt_is_accepted() {
    let a = Fake::open(remembers(loses())).await;
    let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "")));
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), a.count()), (202, 2));
    let id = |at: usize| a.got()[at].json("/messages/0/destinations/0/messageId");
    assert_eq!(id(0), id(1), "the same key both times");
}

#[tokio::test]
async fn a_constant_backend_reference_is_not_a_duplicate_elsewhere() {
    let a = Fake::open(remembers(takes())).await;
    let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "")));
    for text in ["kod 1", "kod 2", "kod 3"] {
        let reply = stage.ask(playmobile("abc", text)).await;
        assert_eq!(
            (reply.status.as_u16(), body(&reply).as_str()),
            (200, "Request is received"),
            "{text}"
        );
    }
    assert_eq!(a.count(), 3);
}

#[tokio::test]
async fn a_native_request_without_a_reference_has_no_duplicate_key() {
    let a = Fake::open(|_, _| loses()).await;
    let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "")));
    let words = |id: &str| {
        let body = format!(
            r#"{{"messages":[{{"sender":"S","destinations":[{{"to":"998901234567"{id}}}],"content":{{"text":"kod{}"}}}}]}}"#,
            id.len()
        );
        post("/infobip/sms/3/messages", &body)
    };
    assert_eq!(
        (stage.ask(words("")).await.status.as_u16(), a.count()),
        (504, 1)
    );
    assert_eq!(
        (
            stage
                .ask(words(r#","messageId":"m-1""#))
                .await
                .status
                .as_u16(),
            a.count()
        ),
        (504, 3),
        "with one there is"
    );
}

#[tokio::test]
async fn a_duplicate_of_another_message_ends_the_request() {
    let (a, b, _c, stage) = three("").await;
    a.now(|_, _| refuses("duplicate"));
    let reply = stage.send("one").await;
    assert_eq!((reply.status.as_u16(), b.count()), (409, 0));
}

#[tokio::test]
async fn only_approved_texts_go_to_providers_that_require_them() {
    let (a, b) = (
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| takes()).await,
    );
    let words =
        "[templates.login]\ntext = \"kod {code}\"\ntexts = { a = \"Kirish kodi: {code}\" }\n";
    let config = provider("a", "plain", &a, "templates = \"only\"\n")
        + &provider("b", "plain", &b, "")
        + words
        + &route("a b", "");
    let stage = Stage::open(&config);
    assert_eq!(stage.send("kod 123").await.status.as_u16(), 202);
    assert_eq!(a.got()[0].json("/text"), "Kirish kodi: 123");
    let reply = stage.send("something else").await;
    assert_eq!(
        (
            header(&reply, "x-sms-sidecar-provider"),
            a.count(),
            b.count()
        ),
        ("b", 1, 1)
    );
}

#[tokio::test]
async fn a_batch_is_native_and_whole() {
    let (a, b) = (
        Fake::open(|_, _| say(200, "Request is received")).await,
        Fake::open(|_, _| takes()).await,
    );
    let stage = Stage::open(
        &(provider("play", "playmobile", &a, "")
            + &provider("b", "plain", &b, "")
            + &route("b play", "prefer = \"listed\"")),
    );
    let batch = |many: usize| {
        let one = |nth: usize| serde_json::json!({ "recipient": format!("99890{nth:07}"), "message-id": "m", "sms": { "originator": "3700", "content": { "text": "t" } } });
        post(
            "/playmobile/broker-api/send",
            &serde_json::json!({ "messages": (0..many).map(one).collect::<Vec<_>>() }).to_string(),
        )
    };
    let reply = stage.ask(batch(3)).await;
    assert_eq!((reply.status.as_u16(), a.count(), b.count()), (200, 1, 0));
    assert_eq!(a.got()[0].body.matches("recipient").count(), 3);
    let reply = stage.ask(batch(101)).await;
    assert_eq!(
        (reply.status.as_u16(), header(&reply, "x-sms-sidecar-cause")),
        (503, "not-translatable")
    );
    a.now(|_, _| say(400, r#"{"error-code":102}"#));
    assert_eq!(stage.ask(batch(2)).await.status.as_u16(), 503);
    assert_eq!(
        (a.count(), b.count()),
        (2, 0),
        "it is never split, merged or translated"
    );
}

#[tokio::test]
async fn an_unreachable_number_is_the_messages_fault() {
    let (a, b) = (
        Fake::open(|_, _| say(200, "Request is received")).await,
        Fake::open(|_, _| takes()).await,
    );
    // A national number, without its country code.
    let national = || {
        let request = playmobile("m", "one");
        Request {
            body: String::from_utf8_lossy(&request.body)
                .replace("998901234567", "901234567")
                .into(),
            ..request
        }
    };
    let stage = Stage::open(&(provider("play", "playmobile", &a, "") + &route("play", "")));
    let reply = stage.ask(national()).await;
    assert!(
        reply.status.is_client_error() && reply.headers.get("retry-after").is_none(),
        "{reply:?}"
    );
    assert_eq!(
        (
            header(&reply, "x-sms-sidecar-cause"),
            a.count(),
            stage.standing("play").as_str()
        ),
        ("recipient-invalid", 0, "healthy")
    );
    let stage = Stage::open(
        &(provider("play", "playmobile", &a, "")
            + &provider("b", "plain", &b, "")
            + &route("play b", "")),
    );
    assert_eq!(
        stage.ask(national()).await.status.as_u16(),
        200,
        "whoever delivers there is asked"
    );
    assert_eq!((a.count(), b.count()), (0, 1));
}

#[tokio::test]
async fn an_untranslatable_field_makes_the_request_provider_specific() {
    let (a, b) = (
        Fake::open(|_, _| say(400, r#"{"error-code":102}"#)).await,
        Fake::open(|_, _| takes()).await,
    );
    let stage = Stage::open(
        &(provider("play", "playmobile", &a, "")
            + &provider("b", "plain", &b, "")
            + &route("play b", "")),
    );
    let mut request = playmobile("m", "t");
    request.body = String::from_utf8(request.body.to_vec())
        .unwrap()
        .replacen('{', r#"{"timing":{"localtime":1},"#, 1)
        .into();
    assert_eq!(
        (stage.ask(request).await.status.as_u16(), b.count()),
        (503, 0)
    );
}

#[tokio::test]
async fn an_unreadable_request_is_the_dialects_own_4xx_and_nothing_is_sent() {
    let (a, _b, _c, stage) = three("").await;
    let mut other = message("x");
    other
        .headers
        .insert("content-type", "text/csv".parse().unwrap());
    let encoded = crate::stage::with(message("y"), "content-encoding", "gzip");
    for (request, status) in [
        (post("/plain/v1/messages", "{"), 400),
        (post("/plain/v1/messages", r#"{"to":"+998901234567"}"#), 400),
        (post("/plain/v1/messages", r#"{"text":"t"}"#), 400),
        (other, 415),
        (encoded, 415),
    ] {
        let reply = stage.ask(request).await;
        assert_eq!(reply.status.as_u16(), status);
        assert!(
            body(&reply).contains("\"error\":\"message-invalid\""),
            "{}",
            body(&reply)
        );
    }
    assert_eq!(a.count(), 0);
}

#[tokio::test]
async fn a_recipient_that_is_not_a_number_is_provider_specific() {
    let (a, b, _c, stage) = three("").await;
    a.now(|_, _| refuses("recipient-invalid"));
    b.now(|_, _| refuses("recipient-invalid"));
    let reply = stage
        .ask(post("/plain/v1/messages", r#"{"to":"nobody","text":"t"}"#))
        .await;
    assert_eq!(
        (reply.status.as_u16(), header(&reply, "x-sms-sidecar-cause")),
        (400, "recipient-invalid"),
        "the service's own reply"
    );
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[tokio::test]
async fn the_retry_budget_limits_retries_at_one_provider() {
    // Two attempts per request; a throttled attempt without a delay is retried until the budget is used up.
    let a = Fake::open(|_, _| refuses("throttled").with("retry-after", "0")).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "attempts = 2")));
    let mut each = Vec::new();
    for nth in 0..16 {
        let before = a.count();
        stage.send(&format!("text {nth}")).await;
        each.push(a.count() - before);
    }
    assert_eq!(each[0], 2);
    assert_eq!(each[15], 1, "{each:?}");
}

#[tokio::test]
async fn an_unclear_reply_is_a_doubt_and_a_redirect_is_the_wrong_endpoint() {
    let (a, b, _c, stage) = three("").await;
    a.now(|_, _| say(200, "<html>hello</html>"));
    assert_eq!(stage.send("one").await.status.as_u16(), 202);
    assert_eq!(
        stage.metric(
            "attempts_total",
            &[
                ("provider", "a"),
                ("outcome", "unknown"),
                ("cause", "reply-unreadable")
            ]
        ),
        1.0
    );
    let elsewhere = format!("http://{}/v1/messages", b.address);
    a.now(move |_, _| say(307, "").with("location", &elsewhere));
    let before = b.count();
    assert_eq!(stage.send("two").await.status.as_u16(), 202);
    assert_eq!(
        (b.count() - before, stage.standing("a").as_str()),
        (1, "quarantined"),
        "not followed"
    );
    assert_eq!(
        stage.metric(
            "attempts_total",
            &[("provider", "a"), ("cause", "endpoint-wrong")]
        ),
        1.0
    );
}

#[tokio::test]
async fn never_to_be_rechecked_is_respected() {
    let a = Fake::open(|_, _| refuses("balance-empty")).await;
    let stage =
        Stage::open(&(provider("a", "plain", &a, "recheck = \"never\"\n") + &route("a", "")));
    stage.send("one").await;
    stage.pass(Duration::from_hours(5));
    let reply = stage.send("two").await;
    assert_eq!(
        (
            reply.status.as_u16(),
            header(&reply, "x-sms-sidecar-cause"),
            a.count()
        ),
        (503, "balance-empty", 1)
    );
}

#[tokio::test]
async fn a_native_request_only_has_its_account_fields_replaced() {
    let a = Fake::open(|_, _| takes()).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "sender = \"9999\"\n") + &route("a", "")));
    let words =
        r#"{ "text":"kod 1",  "to":"998 90 123-45-67","sender":"3700", "own":{"b":1,"a":[2]} }"#;
    let reply = stage
        .ask(crate::stage::with(
            post("/plain/v1/messages", words),
            "authorization",
            "Bearer theirs",
        ))
        .await;
    let got = &a.got()[0];
    assert_eq!(
        (got.json("/sender"), got.json("/to"), got.json("/text")),
        ("9999".into(), "998 90 123-45-67".into(), "kod 1".into())
    );
    assert!(
        got.body.contains(r#""own":{"b":1,"a":[2]}"#),
        "{}",
        got.body
    );
    assert_eq!(got.header("authorization"), Some("Bearer token-number-1"));
    assert_eq!(body(&reply), takes().body, "and its own reply goes back");
}

#[tokio::test]
async fn an_unreadable_vault_does_not_change_provider_health() {
    let (_a, b, _c, stage) = three("").await;
    stage.lose("a");
    stage.put("a", &[]);
    stage.put("a", &[("token", "x")]);
    stage.spoil("a");
    assert_eq!(stage.send("one").await.status.as_u16(), 202);
    assert_eq!((b.count(), stage.standing("a").as_str()), (1, "healthy"));
    assert_eq!(
        stage.metric(
            "attempts_total",
            &[
                ("provider", "a"),
                ("outcome", "unsent"),
                ("cause", "vault-unavailable")
            ]
        ),
        1.0
    );
}

#[tokio::test]
async fn where_no_route_matches_each_dialect_has_its_own_last_resort() {
    let (a, b) = (
        Fake::open(|_, _| refuses("balance-empty")).await,
        Fake::open(|_, _| say(400, r#"{"error-code":102}"#)).await,
    );
    let elsewhere = route("a b", "recipients = [\"+1\"]");
    let stage = Stage::open(
        &(provider("a", "plain", &a, "") + &provider("b", "playmobile", &b, "") + &elsewhere),
    );
    for nth in 0..3 {
        stage.send(&format!("text {nth}")).await;
        stage.ask(playmobile("m", &format!("text {nth}"))).await;
    }
    assert_eq!(
        (a.count(), b.count()),
        (2, 2),
        "the first of each, and each one's resort"
    );
}

#[tokio::test]
async fn the_headers_of_a_failure_name_one_provider_and_its_cause() {
    let (a, b) = (
        Fake::open(|_, _| refuses("balance-empty")).await,
        Fake::open(|_, _| refuses("ip-not-allowed")).await,
    );
    let stage = Stage::open(
        &(provider("a", "plain", &a, "") + &provider("b", "plain", &b, "") + &route("a b", "")),
    );
    let reply = stage.send("one").await;
    assert_eq!(
        (
            reply.status.as_u16(),
            header(&reply, "x-sms-sidecar-attempts")
        ),
        (503, "2")
    );
    assert_eq!(
        (
            header(&reply, "x-sms-sidecar-provider"),
            header(&reply, "x-sms-sidecar-cause")
        ),
        ("a", "balance-empty")
    );
}

#[tokio::test]
async fn pinned_providers_have_separate_last_resorts() {
    let (a, b) = (
        Fake::open(|_, _| refuses("balance-empty")).await,
        Fake::open(|_, _| refuses("balance-empty")).await,
    );
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &provider("b", "plain", &b, "")));
    for provider in ["a", "b", "a", "b"] {
        stage
            .control(
                "POST /send",
                &format!(r#"{{"to":"+998901234567","text":"one","provider":"{provider}"}}"#),
            )
            .await;
    }
    assert_eq!(
        (a.count(), b.count()),
        (2, 2),
        "the first of each, and each one's resort"
    );
}

#[tokio::test]
async fn observe_mode_sends_nothing_through_a_pinned_provider() {
    let (a, b) = (
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| takes()).await,
    );
    let stage = Stage::open(
        &("mode = \"observe\"\n".to_owned()
            + &provider("a", "plain", &a, "")
            + &provider("b", "plain", &b, "")),
    );
    let told = stage
        .control(
            "POST /send",
            r#"{"to":"+998901234567","text":"one","provider":"b"}"#,
        )
        .await;
    assert!(
        told.starts_with("HTTP/1.1 409") && told.contains("only observes"),
        "{told}"
    );
    assert_eq!(
        (a.count(), b.count()),
        (0, 0),
        "and through nobody else in its place"
    );
}

#[tokio::test]
async fn a_route_matches_recipients_by_prefix() {
    let (a, b) = (
        Fake::open(|_, _| takes()).await,
        Fake::open(|_, _| takes()).await,
    );
    let routes =
        route("a", "recipients = [\"+998\"]") + &route("b", "").replace("\"r\"", "\"rest\"");
    let stage =
        Stage::open(&(provider("a", "plain", &a, "") + &provider("b", "plain", &b, "") + &routes));
    stage.send("one").await;
    stage
        .ask(post(
            "/plain/v1/messages",
            r#"{"to":"+12025550123","text":"t"}"#,
        ))
        .await;
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[tokio::test]
async fn method_and_path_identify_the_dialect_at_the_unix_socket() {
    let (a, _b, _c, stage) = three("").await;
    let mut request = message("one");
    request.path = "/v1/messages".into();
    let reply = stage
        .call(
            request,
            EntrypointTarget::Unspecified,
            Peer::default(),
            ClientConnection::always_connected(),
        )
        .await;
    assert_eq!((reply.status.as_u16(), a.count()), (202, 1));
}

/// The provider whose repair brings the route back, with its own words.
#[tokio::test]
async fn a_failed_message_is_explained_by_the_attempt_with_its_cause() {
    let refuses = |cause, words| {
        say(
            400,
            &format!(r#"{{"error":"{cause}","message":"{words}"}}"#),
        )
    };
    for (first, second, cause, words) in [
        (
            "balance-empty",
            "sender-not-allowed",
            "balance-empty",
            "of a",
        ),
        ("throttled", "balance-empty", "throttled", "of a"),
        (
            "message-invalid",
            "balance-empty",
            "message-invalid",
            "of a",
        ),
    ] {
        let (a, b, c, stage) = three("").await;
        a.now(move |_, _| refuses(first, "of a"));
        b.now(move |_, _| refuses(second, "of b"));
        c.now(move |_, _| refuses(second, "of c"));
        let answer = stage
            .control("POST /send", r#"{"to":"+998901234567","text":"one"}"#)
            .await;
        let (_, told) = answer.split_once("\r\n\r\n").unwrap();
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!(told["cause"], cause, "{told}");
        let evidence = told["evidence"].to_string();
        assert!(evidence.contains(words), "{cause}: {told}");
    }
}

#[tokio::test]
async fn an_address_that_the_service_has_left_is_named_with_its_successor() {
    let a = Fake::open(|_, _| takes()).await;
    let own = provider("a", "playmobile", &a, "");
    let former = own.replace(&a.address.to_string(), "127.0.0.2:8083/broker-api");
    let moved = "to playmobile's current address, https://";
    for (config, is_named) in [(former, true), (own, false)] {
        let stage = Stage::open(&(config + &route("a", "")));
        a.now(|_, _| loses());
        let told = stage
            .control("POST /send", r#"{"to":"+998901234567","text":"one"}"#)
            .await;
        assert_eq!(told.contains(moved), is_named, "{told}");
    }
}

/// Three people wait for a provider that has stopped answering; the others get their code from the next one, long before
/// the first time limit has passed.
#[tokio::test]
async fn a_provider_that_has_stopped_answering_keeps_three_messages_and_no_more() {
    let gate = Gate::closed();
    let shut = gate.clone();
    let a = Fake::open(move |_, _| takes().behind(&shut)).await;
    let b = Fake::open(|_, _| takes()).await;
    let config = provider("a", "plain", &a, "")
        + &provider("b", "plain", &b, "")
        + &route("a b", "deadline = \"2m\"\n");
    let stage = Arc::new(Stage::open(&config.replace("\"2s\"", "\"60s\"")));
    let mut waiting = Vec::new();
    for text in ["kod 1", "kod 2", "kod 3"] {
        let stage = Arc::clone(&stage);
        waiting.push(tokio::spawn(async move { stage.send(text).await.status }));
        a.wait_for_requests(waiting.len()).await;
    }
    stage.pass(Duration::from_secs(1));
    for text in ["kod 4", "kod 5", "kod 6"] {
        assert_eq!(stage.send(text).await.status, 202);
    }
    assert_eq!((a.count(), b.count()), (3, 3));

    gate.open();
    for waited in waiting {
        assert_eq!(waited.await.unwrap(), 202);
    }
    assert_eq!(stage.send("kod 7").await.status, 202);
    assert_eq!(
        (a.count(), b.count()),
        (4, 3),
        "it is the first choice again"
    );
}
