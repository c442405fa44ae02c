//! Requests that the sidecar itself denies: counted by reason, shown as an outage if they are the backend's, and not
//! if a scanner sent them.

use sms_sidecar::net::drain::ClientConnection;
use sms_sidecar::net::entrypoint::{Entrypoint, EntrypointTarget, RequestHandler};
use sms_sidecar::net::peer::Peer;
use sms_sidecar::status::Deliverability;
use sms_sidecar::telemetry::ConnectionDenialReason;

use crate::fake::{Fake, say};
use crate::stage::{Stage, get, message, playmobile, post, provider, route};

async fn playmobile_stage(callers: &str) -> (Fake, Stage) {
    let fake = Fake::open(|_, _| say(200, "Request is received")).await;
    let config = provider("play", "playmobile", &fake, "") + &route("play", "") + callers;
    let stage = Stage::open(&config);
    (fake, stage)
}

fn denied(stage: &Stage, reason: &str, client: &str) -> f64 {
    let labels = [("reason", reason), ("client", client)];
    stage.metric("denied_requests_total", &labels)
}

#[tokio::test]
async fn every_denial_of_the_pipeline_counts_for_whom_it_is() {
    let broken = || post("/playmobile/broker-api/send", "{}");
    for (request, callers, reason, client) in [
        (
            post("/playmobile/send", "{}"),
            "",
            "unlisted-operation",
            "backend",
        ),
        (broken(), "", "unreadable-message", "backend"),
        (get("/nobody/x"), "", "unknown-path", "stranger"),
        (get("/"), "", "unknown-path", "stranger"),
        (
            post("/playmobil/broker-api/send", "{}"),
            "",
            "unknown-path",
            "backend",
        ),
        (
            post("/broker-api/send", "{}"),
            "",
            "unknown-path",
            "backend",
        ),
        (
            playmobile("1", "hello"),
            "[callers.app]\nuid = 4242\n",
            "unknown-caller",
            "backend",
        ),
        (
            get("/.env"),
            "[callers.app]\nuid = 4242\n",
            "unknown-caller",
            "stranger",
        ),
    ] {
        let path = request.path.clone();
        let (fake, stage) = playmobile_stage(callers).await;
        stage.ask(request).await;
        assert_eq!(fake.count(), 0, "{path}");
        assert!(
            (denied(&stage, reason, client) - 1.0).abs() < 0.1,
            "{path} is not {reason} of {client}"
        );
        let status = stage.shown_status();
        let is_outage = client == "backend";
        assert_eq!(
            status.headline.deliverability == Deliverability::Unavailable,
            is_outage,
            "{path}: {}",
            status.headline.summary
        );
        assert_eq!(
            status.denials.first().map(|denial| denial.reason.as_str()),
            is_outage.then_some(reason)
        );
        assert!(
            status
                .denials
                .iter()
                .all(|denial| !denial.remedy.is_empty() && !denial.summary.contains('{'))
        );
    }
}

#[tokio::test]
async fn a_known_caller_counts_wherever_it_asks() {
    let (_fake, stage) = playmobile_stage("[callers.app]\nuid = 4242\n").await;
    let peer = Peer {
        uid: Some(4242),
        ..Peer::default()
    };
    let target = EntrypointTarget::BaseUrl;
    let line = ClientConnection::always_connected();
    stage.call(get("/nobody/x"), target, peer, line).await;
    assert!(denied(&stage, "unknown-path", "backend") > 0.5);
}

#[tokio::test]
async fn an_accepted_message_and_a_reload_end_the_outage() {
    let (_fake, mut stage) = playmobile_stage("").await;
    stage.ask(post("/playmobile/send", "{}")).await;
    stage.ask(playmobile("1", "hello")).await;
    let status = stage.shown_status();
    assert_eq!(status.headline.deliverability, Deliverability::Delivering);
    assert_eq!(status.headline.warnings.len(), 1, "{:?}", status.headline);

    for _ in 0..4 {
        stage.ask(post("/playmobile/send", "{}")).await;
    }
    let status = stage.shown_status();
    assert_eq!(status.headline.deliverability, Deliverability::Failing);
    assert!(
        status.headline.summary.contains("denied 4 of the last 5"),
        "{}",
        status.headline.summary
    );

    let other = Fake::open(|_, _| say(200, "Request is received")).await;
    stage.reload(&(provider("play", "playmobile", &other, "") + &route("play", "")));
    assert!(stage.shown_status().denials.is_empty());
    stage.ask(message("hello")).await;
}

#[tokio::test]
async fn a_connection_that_is_denied_is_counted_by_reason() {
    let (_fake, stage) = playmobile_stage("").await;
    let reason = ConnectionDenialReason::Limit;
    stage.proxy.connection_denied(Entrypoint::BaseUrl, reason);
    let labels = [("entrypoint", "base-url"), ("reason", "limit")];
    assert_eq!(stage.metric("connections_denied_total", &labels), 1.0);
}
