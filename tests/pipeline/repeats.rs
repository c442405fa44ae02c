//! Duplicate messages: while the first request is in flight, after its answer, after a doubt.

use std::sync::Arc;
use std::time::Duration;

use crate::fake::{Fake, Gate, loses, refuses, say, takes};
use crate::stage::{Stage, body, get, message, post, provider, route, with};

async fn one(more: &str) -> (Fake, Arc<Stage>) {
    let a = Fake::open(|_, _| takes()).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", more)));
    (a, Arc::new(stage))
}

fn begin(stage: &Arc<Stage>, text: &'static str) -> tokio::task::JoinHandle<(u16, String)> {
    let stage = Arc::clone(stage);
    tokio::spawn(async move {
        let reply = stage.send(text).await;
        (reply.status.as_u16(), body(&reply))
    })
}

#[tokio::test]
async fn a_duplicate_waits_for_the_request_in_flight_and_gets_its_answer() {
    let (a, stage) = one("").await;
    let gate = Gate::closed();
    let shut = gate.clone();
    a.now(move |_, nth| {
        say(202, &format!(r#"{{"id":"id-{nth}","status":"accepted"}}"#)).behind(&shut)
    });
    let first = begin(&stage, "kod 1");
    a.wait_for_requests(1).await;
    let second = begin(&stage, "kod 1");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    gate.open();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(
        (first.0, first.1.contains("id-0"), a.count()),
        (202, true, 1)
    );
    assert_eq!(first, second);
    assert_eq!(
        begin(&stage, "kod 1").await.unwrap(),
        first,
        "and so does one that comes after it"
    );
    assert_eq!(
        stage.metric("duplicates_suppressed_total", &[("dialect", "plain")]),
        2.0
    );
    stage.pass(Duration::from_secs(10));
    assert_eq!(
        (begin(&stage, "kod 1").await.unwrap().0, a.count()),
        (202, 2),
        "for ten seconds"
    );
}

/// Each of two messages has duplicates that wait: the end of one answers its own.
#[tokio::test]
async fn a_duplicate_waits_for_its_own_message() {
    let (a, stage) = one("").await;
    let (gate, other_gate) = (Gate::closed(), Gate::closed());
    let gates = (gate.clone(), other_gate.clone());
    a.now(move |got, _| {
        let gate = match got.json("/text").as_str() {
            "kod 1" => &gates.0,
            _ => &gates.1,
        };
        takes().behind(gate)
    });
    let all = |text| [(); 4].map(|()| begin(&stage, text));
    let (first, second) = (all("kod 1"), all("kod 2"));
    a.wait_for_requests(2).await;
    gate.open();
    for reply in first {
        assert_eq!(reply.await.unwrap().0, 202);
    }
    assert!(second.iter().all(|reply| !reply.is_finished()));
    other_gate.open();
    for reply in second {
        assert_eq!(reply.await.unwrap().0, 202);
    }
    assert_eq!(a.count(), 2);
    assert_eq!(
        stage.metric("duplicates_suppressed_total", &[("dialect", "plain")]),
        6.0
    );
}

#[tokio::test]
async fn duplicates_of_a_rejected_message_get_the_same_answer() {
    let (a, stage) = one("").await;
    a.now(|_, _| refuses("recipient-blocked"));
    for _ in 0..2 {
        assert_eq!(stage.send("kod 1").await.status.as_u16(), 422);
    }
    assert_eq!(a.count(), 1);
}

#[tokio::test]
async fn a_duplicate_of_an_unsent_message_is_delivered() {
    let (a, stage) = one("").await;
    a.now(|_, _| refuses("sender-not-allowed"));
    assert_eq!(stage.send("kod 1").await.status.as_u16(), 503);
    a.now(|_, _| takes());
    assert_eq!(
        (stage.send("kod 1").await.status.as_u16(), a.count()),
        (202, 2)
    );
}

#[tokio::test]
async fn a_duplicate_inherits_the_attempts_in_doubt() {
    let (a, stage) = one("").await;
    a.now(|_, _| loses());
    assert_eq!(stage.send("kod 1").await.status.as_u16(), 504);
    a.now(|_, _| takes());
    assert_eq!(
        (stage.send("kod 1").await.status.as_u16(), a.count()),
        (504, 1),
        "never the same provider"
    );
    assert_eq!(
        (stage.send("kod 2").await.status.as_u16(), a.count()),
        (202, 2),
        "another code is another message"
    );
    stage.pass(Duration::from_secs(11));
    assert_eq!(
        (stage.send("kod 1").await.status.as_u16(), a.count()),
        (202, 3)
    );
}

#[tokio::test]
async fn a_duplicate_after_a_doubt_keeps_the_key_if_the_service_supports_one() {
    let a = Fake::open(|_, _| loses()).await;
    let stage = Stage::open(&(provider("a", "infobip", &a, "") + &route("a", "attempts = 1")));
    assert_eq!(stage.send("kod 1").await.status.as_u16(), 504);
    a.now(|_, _| {
        say(
            200,
            r#"{"messages":[{"messageId":"m","status":{"groupId":5,"id":23,"description":"d"}}]}"#,
        )
    });
    assert_eq!(
        (stage.send("kod 1").await.status.as_u16(), a.count()),
        (202, 2),
        "it had taken the first"
    );
    let id = |at: usize| a.got()[at].json("/messages/0/destinations/0/messageId");
    assert_eq!(id(0), id(1));
}

#[tokio::test]
async fn a_window_of_zero_also_disables_it_for_requests_in_flight() {
    let (a, stage) = one("duplicate_window = \"0s\"").await;
    let gate = Gate::closed();
    let shut = gate.clone();
    a.now(move |_, _| takes().behind(&shut));
    let (first, second) = (begin(&stage, "kod 1"), begin(&stage, "kod 1"));
    a.wait_for_requests(2).await;
    gate.open();
    assert_eq!(
        (first.await.unwrap().0, second.await.unwrap().0, a.count()),
        (202, 202, 2)
    );
}

#[tokio::test]
async fn an_idempotency_key_identifies_a_duplicate_at_any_age() {
    for window in ["", "duplicate_window = \"0s\""] {
        let (a, stage) = one(window).await;
        let keyed = |text| with(message(text), "idempotency-key", "k-1");
        let first = stage.ask(keyed("kod 1")).await;
        stage.pass(Duration::from_mins(1));
        let again = stage.ask(keyed("kod 1")).await;
        assert_eq!(
            (again.status, again.body, a.count()),
            (first.status, first.body, 1),
            "{window}"
        );
        stage.ask(keyed("kod 2")).await;
        assert_eq!(
            a.count(),
            2,
            "a backend that always gives the same key still gets each code delivered"
        );
    }
}

#[tokio::test]
async fn a_batch_is_identified_by_its_idempotency_key() {
    let a = Fake::open(|_, _| say(200, "Request is received")).await;
    let stage = Stage::open(&(provider("play", "playmobile", &a, "") + &route("play", "")));
    let one = |nth: usize| {
        let sms = serde_json::json!({ "originator": "3700", "content": { "text": "t" } });
        serde_json::json!({ "recipient": format!("99890{nth:07}"), "message-id": "m", "sms": sms })
    };
    let batch = post(
        "/playmobile/broker-api/send",
        &serde_json::json!({ "messages": [one(1), one(2)] }).to_string(),
    );
    for _ in 0..2 {
        assert_eq!(
            stage
                .ask(with(batch.clone(), "idempotency-key", "k-1"))
                .await
                .status
                .as_u16(),
            200
        );
    }
    assert_eq!(a.count(), 1);
    assert_eq!(
        (
            stage
                .ask(with(batch.clone(), "idempotency-key", "k-2"))
                .await
                .status
                .as_u16(),
            a.count()
        ),
        (200, 2)
    );
    assert_eq!(
        (stage.ask(batch).await.status.as_u16(), a.count()),
        (200, 3),
        "without a key nobody knows"
    );
}

/// A backend that always gives the same key still gets each batch delivered, wherever its text is.
#[tokio::test]
async fn a_batch_in_the_url_is_also_identified_by_its_text() {
    let a = Fake::open(|_, _| say(200, r#"{"id":1,"cnt":2}"#)).await;
    let stage = Stage::open(&(provider("smsc", "smsc", &a, "") + &route("smsc", "")));
    let batch = |text: &str| {
        let path = format!(
            "/smsc/sys/send.php?login=l&psw=p&phones=998901234567,998901234568&mes={text}&fmt=3&charset=utf-8"
        );
        with(get(&path), "idempotency-key", "constant")
    };
    for (text, sent) in [("one", 1), ("one", 1), ("two", 2)] {
        assert_eq!(
            (stage.ask(batch(text)).await.status.as_u16(), a.count()),
            (200, sent),
            "{text}"
        );
    }
}
