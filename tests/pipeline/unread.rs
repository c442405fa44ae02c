//! Replies whose status can be read and whose body, or the rest of the head, cannot: a 401 or 403 is about the account all the same, and every
//! status is counted.

use crate::fake::{Fake, Say, raw, say, takes};
use crate::stage::{Stage, header, message, playmobile, provider, route};

/// Each way in which a head or a body is lost, with a word of what the log says about it.
fn lost_bodies(status: u16) -> Vec<(Say, &'static str)> {
    let head = |headers: &str| format!("HTTP/1.1 {status} X\r\n{headers}\r\n\r\n");
    let reply = |headers: &str, body: &str| raw(head(headers) + body, false);
    vec![
        (
            reply("content-length: 5\r\ncontent-length: 6", "abcde"),
            "not HTTP/1.1",
        ),
        (
            raw(format!("HTTP/1.1 {status} X\r\ncontent-le"), false),
            "broke off its reply",
        ),
        (
            reply("content-encoding: gzip\r\ncontent-length: 5", "abcde"),
            "compressed its reply",
        ),
        (
            reply("content-length: 50", "{\"error"),
            "broke off its reply",
        ),
        (
            reply("transfer-encoding: chunked", "zz\r\n"),
            "chunks are not valid",
        ),
        (
            reply("content-length: 3000000", &"x".repeat(3_000_000)),
            "sent more than",
        ),
        (
            raw(head("content-length: 50") + "{\"error", true),
            "did not finish its reply in time",
        ),
        (
            raw(format!("HTTP/1.1 {status} X\r\n"), true),
            "did not finish its reply in time",
        ),
    ]
}

fn sent(stage: &Stage, labels: &[(&str, &str)]) -> f64 {
    let labels = [&[("provider", "a"), ("kind", "send")], labels].concat();
    stage.metric("attempts_total", &labels)
}

fn statuses(stage: &Stage, kind: &str, status: u16) -> f64 {
    stage.metric(
        "upstream_responses_total",
        &[
            ("provider", "a"),
            ("kind", kind),
            ("status", &status.to_string()),
        ],
    )
}

#[tokio::test]
async fn a_401_or_403_without_its_body_is_an_account_rejection() {
    for status in [401, 403] {
        for (reply, words) in lost_bodies(status) {
            let a = Fake::open(move |_, _| reply.clone()).await;
            let b = Fake::open(|_, _| takes()).await;
            let stage = Stage::open(
                &(provider("a", "playmobile", &a, "")
                    + &provider("b", "plain", &b, "")
                    + &route("a b", "on_unknown = \"stop\"")),
            );
            let reply = stage.ask(playmobile("m", "one")).await;
            assert_eq!(header(&reply, "x-sms-sidecar-provider"), "b", "{words}");
            let rejected = [("outcome", "rejected"), ("family", "account")];
            assert_eq!(sent(&stage, &rejected), 1.0, "{status} {words}");
            assert_eq!(sent(&stage, &[("outcome", "unknown")]), 0.0, "{words}");
            assert_eq!(statuses(&stage, "send", status), 1.0, "{words}");
            let shown = stage.provider_status("a").await;
            let evidence = shown["evidence"].as_str().unwrap_or_default();
            assert!(evidence.contains(words), "{shown}");
            assert!(evidence.contains(&format!("answered {status}")), "{shown}");
            assert_eq!(stage.standing("a"), "quarantined", "{status} {words}");
        }
    }
}

#[tokio::test]
async fn another_status_without_its_body_is_in_doubt_and_counted() {
    for status in [200, 400, 500] {
        for (reply, words) in lost_bodies(status).into_iter().take(5) {
            let a = Fake::open(move |_, _| reply.clone()).await;
            let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
            let reply = stage.ask(message("one")).await;
            assert_eq!(reply.status.as_u16(), 504, "{status} {words}");
            let unknown = [("outcome", "unknown"), ("cause", "reply-unreadable")];
            assert_eq!(sent(&stage, &unknown), 1.0, "{status} {words}");
            assert_eq!(statuses(&stage, "send", status), 1.0, "{status} {words}");
        }
    }
}

#[tokio::test]
async fn a_login_that_is_rejected_without_a_body_is_a_rejection() {
    for (reply, words) in lost_bodies(401).into_iter().take(6) {
        let a = Fake::open(move |_, _| reply.clone()).await;
        let b = Fake::open(|_, _| takes()).await;
        let stage = Stage::open(
            &(provider("a", "eskiz", &a, "")
                + &provider("b", "plain", &b, "")
                + &route("a b", "prefer = \"listed\"\non_unknown = \"stop\"")),
        );
        let reply = stage.ask(message("one")).await;
        assert_eq!(header(&reply, "x-sms-sidecar-provider"), "b", "{words}");
        assert_eq!(statuses(&stage, "login", 401), 1.0, "{words}");
        assert_eq!(stage.standing("a"), "quarantined", "{words}");
    }
}

#[tokio::test]
async fn an_observed_401_without_its_body_is_passed_back_and_explained() {
    for (reply, words) in lost_bodies(401).into_iter().take(6) {
        let a = Fake::open(move |_, _| reply.clone()).await;
        let stage = Stage::open(
            &("mode = \"observe\"\n".to_owned()
                + &provider("a", "playmobile", &a, "")
                + &route("a", "")),
        );
        let reply = stage.ask(playmobile("m", "one")).await;
        assert_eq!(reply.status.as_u16(), 401, "{words}");
        assert!(reply.body.is_empty(), "{words}");
        let rejected = [("outcome", "rejected"), ("family", "account")];
        assert_eq!(sent(&stage, &rejected), 1.0, "{words}");
        assert_eq!(statuses(&stage, "send", 401), 1.0, "{words}");
    }
}

#[tokio::test]
async fn a_passthrough_that_is_rejected_without_a_body_is_a_502() {
    for (reply, words) in lost_bodies(401).into_iter().take(6) {
        let a = Fake::open(move |_, _| reply.clone()).await;
        let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "")));
        let reply = stage
            .ask(crate::stage::get("/infobip/account/1/balance"))
            .await;
        assert_eq!(reply.status.as_u16(), 502, "{words}");
        stage.settle().await;
        assert_eq!(statuses(&stage, "passthrough", 401), 1.0, "{words}");
    }
    let a = Fake::open(|_, _| say(200, "{}")).await;
    let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "")));
    let reply = stage
        .ask(crate::stage::get("/infobip/account/1/balance"))
        .await;
    assert_eq!(reply.status.as_u16(), 200, "the operation exists");
}
