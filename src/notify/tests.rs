//! Tests the posts to a webhook against a real receiver: what a reply means, how long a failing
//! receiver is retried, and that neither a reload nor the end of the process waits for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::clock::{Moment, SystemClock};
use crate::dialect::Reply;
use crate::net::background::SHUTDOWN_GRACE;
use crate::net::upstream::ExchangeError;
use crate::policy::HealthState;
use crate::secret::SecretString;
use crate::sms::{Cause, ProviderId};
use crate::telemetry::{ConfigSummary, HealthStateChanged, MetricsSchema, ProviderSummary};
use crate::vault::{CredentialRef, DirectorySettings, VaultKind};

const AT: &str = "2026-11-25T16:20:00Z";

#[test]
fn a_webhook_is_a_url_over_tls_or_to_this_host() {
    for (text, insecure, problem) in [
        ("https://hooks.example/a/b?c=d", false, ""),
        ("  https://hooks.example/a\n", false, ""),
        ("http://127.0.0.1:9/x", false, ""),
        ("http://[::1]:9/x", false, ""),
        ("http://localhost/x", false, ""),
        ("http://alerts.internal/x", true, ""),
        (
            "http://alerts.internal/x",
            false,
            "notifications would travel unencrypted to this URL",
        ),
        (
            "https://u:CANARY@hooks.example/",
            false,
            "a webhook cannot contain a user or a password",
        ),
        ("hooks.example/CANARY", false, "the webhook is not a URL"),
        (
            "ftp://hooks.example/CANARY",
            false,
            "the webhook is not a URL",
        ),
        ("", false, "the webhook is not a URL"),
        ("https://", false, "the webhook is not a URL"),
    ] {
        let read = parse_webhook(text, insecure);
        assert_eq!(
            read.err().map_or("", |wrong| wrong.problem),
            problem,
            "{text}"
        );
    }
}

#[test]
fn only_a_receiver_that_may_accept_it_later_is_retried_and_no_word_of_it_is_shown() {
    for (status, again, suspects_url) in [
        (408, true, false),
        (429, true, false),
        (500, true, false),
        (503, true, false),
        (301, false, false),
        (400, false, false),
        (401, false, true),
        (404, false, true),
        (410, false, true),
    ] {
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: "CANARY".into(),
        };
        let error = webhook::read_reply(Ok(reply)).unwrap_err();
        assert_eq!(
            (error.is_retryable, error.suspects_url),
            (again, suspects_url),
            "{status}"
        );
        let message = error.message;
        assert!(
            message.starts_with(&format!("the receiver answers {status}")),
            "{message}"
        );
        assert!(!message.contains("CANARY"), "{message}");
    }
    let lost = |cause| {
        webhook::read_reply(Err(ExchangeError::Unknown {
            cause,
            detail: "lost".into(),
        }))
        .unwrap_err()
        .is_retryable
    };
    assert!(lost(Cause::Timeout), "a duplicate is better than a loss");
    assert!(!lost(Cause::ReplyUnreadable), "it has answered");
    let without_body = |status: u16| {
        webhook::read_reply(Err(ExchangeError::BodyLost {
            head: Box::new(Reply {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
            }),
            cause: Cause::ReplyUnreadable,
            detail: "cut".into(),
        }))
    };
    assert!(without_body(204).is_ok(), "its status says enough");
    assert!(without_body(401).unwrap_err().suspects_url);
}

/// A receiver that answers its n-th post with the n-th status, and every later one with the last.
/// Status 0: it never answers.
struct Receiver {
    url: String,
    posts: mpsc::UnboundedReceiver<String>,
}

async fn receiver(statuses: &'static [u16]) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/CANARY-PATH", listener.local_addr().unwrap());
    let (sender, posts) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut whole = Vec::new();
            let mut part = [0; 4096];
            while !whole.ends_with(b"}") {
                let read = stream.read(&mut part).await.unwrap();
                assert!(read > 0, "the post was cut short");
                whole.extend_from_slice(&part[..read]);
            }
            sender.send(String::from_utf8(whole).unwrap()).unwrap();
            let status = statuses[number.min(statuses.len() - 1)];
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    Receiver { url, posts }
}

fn settings(webhook: Webhook) -> Settings {
    Settings {
        webhook,
        insecure_http: false,
        format: NotificationFormat::Json,
        interval: Duration::from_mins(5),
        upstream: UpstreamSettings::default(),
    }
}

fn vaults(folder: Option<&Path>) -> Arc<CredentialCache> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let open = |folder: &Path| {
        let directory = DirectorySettings {
            path: folder.to_owned(),
        };
        ("files".to_owned(), directory.open(&clock))
    };
    let sources = folder.map(open).into_iter().collect();
    let cache = CredentialCache::with_sources(sources, Arc::clone(&clock), Box::new(|_| {}));
    Arc::new(cache)
}

fn notifier(url: &str) -> Arc<Notifier> {
    let settings = settings(Webhook::Url(SecretString::from(url)));
    Arc::new(Notifier::new(settings, vaults(None), "1.2.3").unwrap())
}

/// The paused clock of tokio, as the process's own.
#[derive(Debug)]
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Moment {
        Moment(self.0.elapsed())
    }
    fn wall_clock(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + self.0.elapsed()
    }
    fn random_fraction(&self) -> f64 {
        0.5
    }
}

/// The task with a provider to notify of, and the settings that a reload replaces.
struct Stage {
    registry: Registry,
    telemetry: Arc<Telemetry>,
    drain: Drain,
    notifier: watch::Sender<Option<Arc<Notifier>>>,
    task: tokio::task::JoinHandle<()>,
}

fn stage(first: Option<Arc<Notifier>>) -> Stage {
    let registry = Registry::new();
    let provider = ProviderSummary {
        id: ProviderId::new("main"),
        dialect: "plain".into(),
        base_url: "https://main.example".into(),
        credential: None,
    };
    let schema = MetricsSchema {
        providers: vec![(ProviderId::new("main"), "plain".into())],
        config: ConfigSummary {
            providers: vec![provider],
            ..ConfigSummary::default()
        },
        ..MetricsSchema::default()
    };
    let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
    let telemetry = Arc::new(Telemetry::new(&registry, &schema, Arc::clone(&clock)).unwrap());
    telemetry.init_notifications();
    let drain = Drain::default();
    let notifier = watch::Sender::new(first);
    let deps = NotifyDeps {
        telemetry: Arc::clone(&telemetry),
        clock,
        drain: drain.clone(),
        test_command: "`test`".to_owned(),
    };
    let task = tokio::spawn(run(notifier.subscribe(), deps));
    Stage {
        registry,
        telemetry,
        drain,
        notifier,
        task,
    }
}

impl Stage {
    fn quarantine(&self) {
        HealthStateChanged {
            provider: &ProviderId::new("main"),
            state: HealthState::Quarantined {
                cause: Cause::CredentialRejected,
                since: Moment::default(),
                recheck_at: None,
            },
            diagnosis: None,
        }
        .emit(&self.telemetry);
    }

    fn count(&self, result: &str) -> f64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == "sms_sidecar_notifications_total")
            .unwrap();
        let series = family.get_metric().iter();
        let of = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == result;
        series
            .filter(of)
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }

    async fn until_counted(&self, result: &str, count: f64) {
        while self.count(result) < count {
            // The paused time passes.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_receiver_gets_the_notification_when_it_works_again() {
    let mut receiver = receiver(&[503, 500, 200]).await;
    let stage = stage(Some(notifier(&receiver.url)));
    stage.quarantine();
    let began = tokio::time::Instant::now();
    let mut posts = Vec::new();
    for _ in 0..3 {
        posts.push(receiver.posts.recv().await.unwrap());
    }
    stage.until_counted("delivered", 1.0).await;
    assert!(
        began.elapsed() >= Duration::from_secs(3),
        "1 s and 2 s: {:?}",
        began.elapsed()
    );
    assert_eq!((stage.count("failed"), stage.count("dropped")), (0.0, 0.0));
    let (head, body) = posts[2].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /CANARY-PATH HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("application/json") && head.contains("sms-sidecar/1.2.3"),
        "{head}"
    );
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["event"], "provider-quarantined");
    assert_eq!(
        (&body["name"], &body["cause"]),
        (&"main".into(), &"credential-rejected".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_accepts_is_given_up_after_a_quarter_of_an_hour() {
    let mut busy = receiver(&[503]).await;
    let stage = stage(Some(notifier(&busy.url)));
    stage.quarantine();
    let began = tokio::time::Instant::now();
    let mut tries = 0;
    while stage.count("failed") == 0.0 {
        if busy.posts.try_recv().is_ok() {
            tries += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed();
    assert!((840..=900).contains(&took.as_secs()), "{took:?}");
    // 1, 2, 4 … 60 s, and a tenth more.
    assert!((15..=20).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_another_try_does_not_change_ends_the_delivery() {
    let mut refusing = receiver(&[400]).await;
    let stage = stage(Some(notifier(&refusing.url)));
    stage.quarantine();
    stage.until_counted("failed", 2.0).await;
    for event in ["provider-quarantined", "route-blocked"] {
        assert!(refusing.posts.recv().await.unwrap().contains(event));
    }
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(refusing.posts.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reload_sends_what_waits_to_the_new_webhook_and_without_one_nothing() {
    let mut failing = receiver(&[503]).await;
    let mut working = receiver(&[200]).await;
    let stage = stage(None);
    stage.quarantine();
    stage.notifier.send_replace(Some(notifier(&failing.url)));
    failing.posts.recv().await.unwrap();
    stage.notifier.send_replace(Some(notifier(&working.url)));
    assert!(
        working
            .posts
            .recv()
            .await
            .unwrap()
            .contains("provider-quarantined")
    );
    stage.until_counted("delivered", 1.0).await;
    stage.notifier.send_replace(None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(working.posts.try_recv().is_err());
}

#[tokio::test]
async fn the_end_of_the_process_does_not_wait_for_a_receiver_that_hangs() {
    let mut receiver = receiver(&[0]).await;
    let stage = stage(Some(notifier(&receiver.url)));
    stage.quarantine();
    receiver.posts.recv().await.unwrap();
    let began = tokio::time::Instant::now();
    stage.drain.advance_to(Phase::Draining);
    stage.task.await.unwrap();
    let took = began.elapsed();
    assert!(
        took < SHUTDOWN_GRACE + Duration::from_millis(200),
        "{took:?}"
    );
    let families = stage.registry.gather();
    assert!(
        families
            .iter()
            .any(|family| family.name() == "sms_sidecar_notifications_total")
    );
}

#[tokio::test]
async fn a_url_from_a_vault_is_read_again_when_the_receiver_does_not_know_it() {
    let (old, mut new) = (receiver(&[404]).await, receiver(&[200]).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat/webhook");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, &old.url).unwrap();
    let reference = CredentialRef {
        vault: "files".into(),
        path: "chat".into(),
        fields: BTreeMap::new(),
        aliases: BTreeMap::from([(WEBHOOK_FIELD.to_owned(), Vec::new())]),
    };
    let settings = settings(Webhook::Vault(reference));
    assert!(!format!("{settings:?}").contains("CANARY"));
    let notifier = Notifier::new(settings, vaults(Some(folder.path())), "1.2.3").unwrap();
    let test = Notification::test(AT);
    let error = notifier.post(&test, "").await.unwrap_err();
    assert!(
        error.message.contains("404") && !error.message.contains("CANARY"),
        "{error:?}"
    );
    fs::write(&file, &new.url).unwrap();
    // The cache answers from a read within the last seconds, so the change is read by its poll.
    let reference = match &notifier.settings.webhook {
        Webhook::Vault(reference) => reference.clone(),
        Webhook::Url(_) => unreachable!("it is a vault's"),
    };
    notifier.credential_cache.poll(&reference).await;
    notifier.post(&test, "").await.unwrap();
    assert!(new.posts.recv().await.unwrap().contains("This is a test"));
    fs::write(&file, "not a url CANARY").unwrap();
    notifier.credential_cache.poll(&reference).await;
    let error = notifier.post(&test, "").await.unwrap_err();
    assert!(
        !error.message.contains("CANARY") && error.message.contains("not a URL"),
        "{error:?}"
    );
}

#[test]
fn a_url_in_the_config_is_not_printed() {
    let settings = settings(Webhook::Url(SecretString::from(
        "https://hooks.example/CANARY",
    )));
    assert!(!format!("{settings:?}").contains("CANARY"), "{settings:?}");
}
