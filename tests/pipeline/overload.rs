//! Many messages that wait for a provider that has fallen silent: they hold their share, and nobody else waits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::fake::{Fake, Gate, say, takes};
use crate::stage::{Stage, header, playmobile, provider, route};

/// Half of them may wait for one silent provider.
const CONNECTIONS: usize = 4_000;
const CROWD: usize = 2_000;
/// So many connect at once: a service that is slow to accept would lose connections.
const STEP: usize = 50;

/// `slow` answers Playmobile's messages when the gate opens, `quick` answers at once in our own small API; a route each.
async fn two_services(gate: &Gate) -> (Fake, Fake, Arc<Stage>) {
    let closed = gate.clone();
    let slow = Fake::open(move |_, _| say(200, "Request is received").behind(&closed)).await;
    let quick = Fake::open(|_, _| takes()).await;
    let config = format!(
        "[limits]\nconnections = {CONNECTIONS}\n{}{}{}{}",
        provider("slow", "playmobile", &slow, ""),
        provider("quick", "plain", &quick, ""),
        route("slow", "deadline = \"110s\"\ndialects = [\"playmobile\"]"),
        "[[routes]]\nname = \"q\"\nproviders = [\"quick\"]\ndialects = [\"plain\"]\n",
    );
    let config = config.replace("timeout = \"2s\"", "timeout = \"100s\"");
    let stage = Stage::open(&config);
    (slow, quick, Arc::new(stage))
}

/// Messages to `slow`, each in a request of its own.
fn crowd(stage: &Arc<Stage>, count: usize, from: usize) -> JoinSet<u16> {
    let mut waiting = JoinSet::new();
    for number in from..from + count {
        let stage = Arc::clone(stage);
        waiting.spawn(async move {
            let request = playmobile(&format!("m{number}"), &format!("kod {number}"));
            stage.ask(request).await.status.as_u16()
        });
    }
    waiting
}

#[tokio::test]
async fn two_thousand_messages_that_wait_for_one_provider_hold_up_no_message_to_another() {
    let gate = Gate::closed();
    let (slow, quick, stage) = two_services(&gate).await;
    let mut waiting = Vec::new();
    for from in (0..CROWD).step_by(STEP) {
        waiting.push(crowd(&stage, STEP, from).join_all());
        let arrived = slow.wait_for_requests(from + STEP);
        let arrived = tokio::time::timeout(Duration::from_secs(30), arrived).await;
        assert!(
            arrived.is_ok(),
            "{} of {} arrived",
            slow.count(),
            from + STEP
        );
    }
    for number in 0..100 {
        let reply = stage.send(&format!("quick {number}")).await;
        assert_eq!(reply.status, 202, "{number}");
    }
    assert_eq!(quick.count(), 100);

    // By now it is silent, and as many wait as may.
    stage.pass(Duration::from_secs(1));
    let shed = crowd(&stage, 50, CROWD).join_all().await;
    assert_eq!(shed, vec![503; 50], "at once, while the gate is closed");
    let one_more = stage.ask(playmobile("last", "one more")).await;
    assert_eq!(header(&one_more, "x-sms-sidecar-cause"), "timeout");
    assert!(!header(&one_more, "retry-after").is_empty());
    assert_eq!(slow.count(), CROWD, "they were not sent");
    assert_eq!(stage.send("another").await.status, 202);

    gate.open();
    let answered = join_all(waiting).await.concat();
    assert_eq!(answered, vec![200; CROWD]);
    let reply = stage.ask(playmobile("after", "after it")).await;
    assert_eq!(reply.status, 200, "it answers again");
}
