//! A backend that hangs up, and a process that ends.

use std::sync::Arc;
use std::time::Duration;

use sms_sidecar::net::drain::{ClientConnection, Drain, Phase};
use sms_sidecar::net::entrypoint::EntrypointTarget;
use sms_sidecar::net::peer::Peer;
use sms_sidecar::net::server::ConnectionService;
use sms_sidecar::proxy::Control;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake::{Fake, Gate, refuses, takes};
use crate::stage::{Stage, message, provider, route};

#[tokio::test]
async fn a_started_send_finishes_after_a_hangup_and_no_other_starts() {
    let gate = Gate::closed();
    let shut = gate.clone();
    let a = Fake::open(move |_, _| refuses("balance-empty").behind(&shut)).await;
    let b = Fake::open(|_, _| takes()).await;
    let stage = Arc::new(Stage::open(
        &(provider("a", "plain", &a, "") + &provider("b", "plain", &b, "") + &route("a b", "")),
    ));
    let (presence, line) = ClientConnection::new(Drain::default());
    let shared = Arc::clone(&stage);
    let call = tokio::spawn(async move {
        shared
            .call(
                message("one"),
                EntrypointTarget::BaseUrl,
                Peer::default(),
                line,
            )
            .await
    });
    a.wait_for_requests(1).await;
    drop(presence);
    gate.open();
    assert_eq!(call.await.unwrap().status.as_u16(), 503);
    assert_eq!(
        (stage.standing("a").as_str(), b.count()),
        ("quarantined", 0)
    );
    assert_eq!(
        stage.metric(
            "attempts_total",
            &[("provider", "a"), ("cause", "balance-empty")]
        ),
        1.0
    );
    assert_eq!(
        stage.metric("requests_total", &[("result", "not-sent")]),
        1.0
    );
}

#[tokio::test]
async fn a_wait_is_cut_short_when_the_process_ends() {
    let a = Fake::open(|_, _| refuses("throttled").with("retry-after", "5")).await;
    let stage = Arc::new(Stage::open(
        &(provider("a", "plain", &a, "") + &route("a", "deadline = \"30s\"")),
    ));
    let drain = Drain::default();
    let (_presence, line) = ClientConnection::new(drain.clone());
    let shared = Arc::clone(&stage);
    let call = tokio::spawn(async move {
        shared
            .call(
                message("one"),
                EntrypointTarget::BaseUrl,
                Peer::default(),
                line,
            )
            .await
    });
    a.wait_for_requests(1).await;
    drain.advance_to(Phase::Draining);
    let reply = tokio::time::timeout(Duration::from_secs(3), call)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((reply.status.as_u16(), a.count()), (503, 1));
}

#[tokio::test]
async fn a_waiting_duplicate_is_answered_when_the_process_ends() {
    let gate = Gate::closed();
    let shut = gate.clone();
    let a = Fake::open(move |_, _| takes().behind(&shut)).await;
    let stage = Arc::new(Stage::open(
        &(provider("a", "plain", &a, "") + &route("a", "")),
    ));
    let drain = Drain::default();
    let begin = |line: ClientConnection| {
        let shared = Arc::clone(&stage);
        tokio::spawn(async move {
            shared
                .call(
                    message("one"),
                    EntrypointTarget::BaseUrl,
                    Peer::default(),
                    line,
                )
                .await
        })
    };
    let (_one, line) = ClientConnection::new(drain.clone());
    let first = begin(line);
    a.wait_for_requests(1).await;
    let (_two, line) = ClientConnection::new(drain.clone());
    let second = begin(line);
    tokio::task::yield_now().await;
    drain.advance_to(Phase::Draining);
    assert_eq!(
        second.await.unwrap().status.as_u16(),
        504,
        "what becomes of the message is not known yet"
    );
    gate.open();
    assert_eq!((first.await.unwrap().status.as_u16(), a.count()), (202, 1));
}

/// One command on a fresh control connection, as far as `request` goes.
async fn command(control: &Control, drain: &Drain, request: &str) -> String {
    let (mut near, far) = tokio::io::duplex(64 << 10);
    let (control, drain) = (control.clone(), drain.clone());
    tokio::spawn(async move { control.serve(far, Peer::default(), drain).await });
    near.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    near.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test(start_paused = true)]
async fn the_control_socket_answers_during_the_drain_and_ends_half_requests() {
    let a = Fake::open(|_, _| takes()).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
    let control = Control::new(Arc::clone(&stage.proxy));
    let drain = Drain::default();
    let status = "GET /status HTTP/1.1\r\nHost: x\r\n\r\n";
    for phase in [Phase::Draining, Phase::Closing] {
        drain.advance_to(phase);
        for _ in 0..20 {
            let reply = command(&control, &drain, status).await;
            assert!(reply.starts_with("HTTP/1.1 200 "), "{phase:?}: {reply}");
        }
    }
    drain.requests_finished().await;
    let drain = Drain::default();
    for (half, reply) in [
        ("", ""),
        ("GET /sta", ""),
        (
            "POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
            "HTTP/1.1 408 ",
        ),
    ] {
        let began = tokio::time::Instant::now();
        let found = command(&control, &drain, half).await;
        assert!(found.starts_with(reply), "{half}: {found}");
        assert!(found.is_empty() == reply.is_empty(), "{half}: {found}");
        assert!(began.elapsed() <= Duration::from_secs(11), "{half}");
    }
}

#[tokio::test]
async fn the_control_socket_bounds_its_commands() {
    let gate = Gate::closed();
    let shut = gate.clone();
    let a = Fake::open(move |_, _| takes().behind(&shut)).await;
    let stage = Stage::open(&(provider("a", "plain", &a, "") + &route("a", "")));
    let control = Control::new(Arc::clone(&stage.proxy));
    let drain = Drain::default();
    let mut running = Vec::new();
    for nth in 0..16 {
        let (control, drain) = (control.clone(), drain.clone());
        let body = format!(r#"{{"to":"+9989012345{nth:02}","text":"one"}}"#);
        let request = format!(
            "POST /send HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        running.push(tokio::spawn(async move {
            command(&control, &drain, &request).await
        }));
    }
    a.wait_for_requests(16).await;
    let status = "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let reply = command(&control, &drain, status).await;
    assert!(
        reply.starts_with("HTTP/1.1 503 ") && reply.contains("repeat this one"),
        "{reply}"
    );
    gate.open();
    for running in running {
        let reply = running.await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    }
    let reply = command(&control, &drain, status).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}
