//! Posts notifications to a webhook, so that an operator hears of a problem without an alerting
//! system. It compares the status with the one of a second ago, and `status::notification` decides what is news.
//! Delivery runs separately from requests and never delays them: the queue is bounded, each post has a
//! time limit, and at shutdown a receiver that hangs is not waited for.

mod queue;
mod webhook;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clock::Clock;
use crate::net::UpstreamSettings;
use crate::net::background::{replaced, replaced_or_draining, requests_drained, shutdown_deadline};
use crate::net::drain::{Drain, Phase};
use crate::net::upstream::{ClientError, Connectivity, UpstreamClient};
use crate::secret::Version;
use crate::status::{self, Notification, NotificationFormat, NotificationTracker};
use crate::telemetry::{
    NotificationDelayed, NotificationDelivered, NotificationLoss, NotificationsLost, Telemetry,
};
use crate::vault::CredentialCache;

use queue::{NotificationQueue, QueuedNotification};
pub use webhook::{InvalidWebhook, PostError, WEBHOOK_FIELD, Webhook, parse_webhook};

/// How often the status is compared.
const OBSERVE_INTERVAL: Duration = Duration::from_secs(1);
/// The first delay before a post is repeated; it doubles up to [`MAX_RETRY_DELAY`].
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);
/// A receiver may request a longer delay, up to this one.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
/// An older notification is given up: the status shows what is still true of it.
const MAX_DELIVERY_TIME: Duration = Duration::from_mins(15);
/// How long one post may take.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest reply that is read from a receiver.
const MAX_REPLY_BYTES: usize = 64 << 10;
/// The fraction of a delay by which it varies, so that many sidecars do not post at once.
const JITTER: f64 = 0.2;

/// The settings in `[notify]`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where notifications are posted.
    pub webhook: Webhook,
    /// Whether a URL without TLS is allowed that is not on this host.
    pub insecure_http: bool,
    /// The body that the receiver expects.
    pub format: NotificationFormat,
    /// In this time at most one problem of each provider or route is reported.
    pub interval: Duration,
    /// How to reach the receiver.
    pub upstream: UpstreamSettings,
}

/// Posts to one webhook.
#[derive(Debug)]
pub struct Notifier {
    settings: Settings,
    client: UpstreamClient,
    credential_cache: Arc<CredentialCache>,
    version: String,
}

/// Receives the notifier of the active config, if it names a webhook.
pub type NotifierReceiver = watch::Receiver<Option<Arc<Notifier>>>;

impl Notifier {
    /// Reads `ca_file`, but opens no connection yet. `version` is the version of the build.
    pub fn new(
        settings: Settings,
        credential_cache: Arc<CredentialCache>,
        version: &str,
    ) -> Result<Self, ClientError> {
        // The scheme of the URL is checked when it is read.
        let upstream = UpstreamSettings {
            insecure_http: true,
            ..settings.upstream.clone()
        };
        if let Webhook::Vault(reference) = &settings.webhook {
            credential_cache.track(reference);
        }
        Ok(Self {
            client: UpstreamClient::new(upstream, MAX_REPLY_BYTES)?,
            credential_cache,
            version: version.to_owned(),
            settings,
        })
    }

    /// Posts once. A URL from a vault that the receiver does not know is read again, and a newer one is used.
    pub async fn post(&self, notification: &Notification, sidecar: &str) -> Result<(), PostError> {
        let body = notification.render(&self.settings.format, sidecar);
        let body = bytes::Bytes::from(body.to_string());
        let known = self.webhook_url(Version(0)).await?;
        let error = match self.post_to(&known, body.clone()).await {
            Err(error) if error.suspects_url => error,
            result => return result,
        };
        let newer = self.webhook_url(known.version).await?;
        if newer.version > known.version {
            self.post_to(&newer, body).await
        } else {
            Err(error)
        }
    }

    async fn post_to(&self, url: &WebhookUrl, body: bytes::Bytes) -> Result<(), PostError> {
        let outgoing = webhook::build_request(url.url.clone(), body, &self.version);
        webhook::read_reply(self.client.exchange(outgoing, POST_TIMEOUT).await)
    }

    /// Probes the connection to the receiver without a post.
    pub async fn probe(&self) -> Result<Connectivity, PostError> {
        let url = self.webhook_url(Version(0)).await?;
        let probed = self.client.probe_connectivity(&url.url, POST_TIMEOUT).await;
        probed.map_err(webhook::exchange_error)
    }

    /// The URL. One from a vault is read again if it is not newer than `than`.
    async fn webhook_url(&self, than: Version) -> Result<WebhookUrl, PostError> {
        read_newer_webhook(&self.settings, &self.credential_cache, than).await
    }
}

/// Reads the URL from the vault, if the settings refer to one, and checks it.
pub async fn read_webhook(
    settings: &Settings,
    credential_cache: &CredentialCache,
) -> Result<(), PostError> {
    read_newer_webhook(settings, credential_cache, Version(0))
        .await
        .map(drop)
}

async fn read_newer_webhook(
    settings: &Settings,
    credential_cache: &CredentialCache,
    than: Version,
) -> Result<WebhookUrl, PostError> {
    let reference = match &settings.webhook {
        Webhook::Url(text) => {
            return Ok(WebhookUrl {
                url: webhook::read_url(text.expose_secret(), settings.insecure_http)?,
                version: Version(1),
            });
        }
        Webhook::Vault(reference) => reference,
    };
    let read = credential_cache.reread(reference, than).await;
    let entry = read.map_err(|error| PostError::retryable(error.to_string()))?;
    // A reference that finds no field is an error of the read.
    let text = entry.expose(WEBHOOK_FIELD).unwrap_or_default();
    Ok(WebhookUrl {
        url: webhook::read_url(text, settings.insecure_http)?,
        version: entry.version,
    })
}

/// A URL, and the version of the vault entry that it is from.
struct WebhookUrl {
    url: Uri,
    version: Version,
}

/// What the delivery needs of the process.
#[derive(Clone, Debug)]
pub struct NotifyDeps {
    /// The status is built from it, and it counts the results.
    pub telemetry: Arc<Telemetry>,
    /// For intervals and jitter.
    pub clock: Arc<dyn Clock>,
    /// The shutdown.
    pub drain: Drain,
    /// The command that posts a test, as the log prints it.
    pub test_command: String,
}

/// Observes the status and posts notifications as long as the process lives, to the webhook that the
/// current config names.
pub async fn run(mut current: NotifierReceiver, deps: NotifyDeps) {
    let mut tracker = NotificationTracker::default();
    let queue = NotificationQueue::default();
    let mut is_ending = false;
    while !is_ending {
        let notifier = current.borrow_and_update().clone();
        if let Some(notifier) = notifier {
            // Shutdown waits for it for a short time.
            let guest = deps.drain.track_connection();
            let active = ActiveNotifier {
                notifier: &notifier,
                queue: &queue,
                current: &current,
                deps: &deps,
            };
            is_ending = tokio::select! {
                is_ending = active.deliver() => is_ending,
                never = active.observe(&mut tracker) => match never {},
            };
            drop(guest);
        } else {
            tracker = NotificationTracker::default();
            queue.clear();
            replaced_or_draining(&current, &deps.drain).await;
            is_ending = !current.has_changed().unwrap_or_default();
        }
    }
    let problem = "the process ended first";
    emit_loss(&deps, queue.clear(), NotificationLoss::Failed, problem);
}

/// A notifier as long as its config is in force.
struct ActiveNotifier<'a> {
    notifier: &'a Notifier,
    queue: &'a NotificationQueue,
    current: &'a NotifierReceiver,
    deps: &'a NotifyDeps,
}

impl ActiveNotifier<'_> {
    async fn observe(&self, tracker: &mut NotificationTracker) -> Infallible {
        let deps = self.deps;
        let mut ticks = interval(OBSERVE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let status = status::build(&deps.telemetry.facts());
            let now = deps.clock.now();
            for notification in tracker.observe(&status, now, self.notifier.settings.interval) {
                let dropped = self.queue.push(QueuedNotification {
                    notification,
                    sidecar: status.location(),
                    queued_at: now,
                });
                let problem = "more changes came than the webhook accepted";
                emit_loss(deps, dropped, NotificationLoss::Dropped, problem);
            }
        }
    }

    /// Delivers until the config changes or the process ends. Returns true if the process ends.
    async fn deliver(&self) -> bool {
        let drain = &self.deps.drain;
        loop {
            let queued = tokio::select! {
                biased;
                () = replaced(self.current) => return false,
                queued = self.queue.next() => queued,
                () = requests_drained(drain) => return true,
            };
            match self.deliver_one(&queued).await {
                DeliveryEnd::Replaced => return false,
                // The process is shutting down: the rest is dropped.
                DeliveryEnd::GivenUp if drain.phase() > Phase::Serving => return true,
                DeliveryEnd::Delivered | DeliveryEnd::GivenUp => {}
            }
        }
    }

    /// Posts one notification until it is accepted, its time is over or the config changes.
    async fn deliver_one(&self, queued: &QueuedNotification) -> DeliveryEnd {
        let NotifyDeps {
            telemetry,
            drain,
            test_command,
            ..
        } = self.deps;
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            let Err(error) = self.post(queued).await else {
                self.queue.finish();
                let event = queued.notification.event.as_str();
                let name = queued.notification.subject.name();
                NotificationDelivered { event, name }.emit(telemetry);
                return DeliveryEnd::Delivered;
            };
            let pause = self.retry_delay(delay, &error);
            let waited = self.deps.clock.now().since(queued.queued_at);
            let is_late = waited.saturating_add(pause) > MAX_DELIVERY_TIME;
            if !error.is_retryable || is_late || drain.phase() > Phase::Serving {
                self.queue.finish();
                emit_loss(self.deps, 1, NotificationLoss::Failed, &error.message);
                return DeliveryEnd::GivenUp;
            }
            NotificationDelayed {
                test_command,
                problem: &error.message,
            }
            .emit(telemetry);
            tokio::select! {
                () = sleep(pause) => {}
                () = replaced(self.current) => return DeliveryEnd::Replaced,
                // The last try.
                () = drain.wait_for(Phase::Draining) => {}
            }
            delay = delay.saturating_mul(2).min(MAX_RETRY_DELAY);
        }
    }

    async fn post(&self, queued: &QueuedNotification) -> Result<(), PostError> {
        tokio::select! {
            posted = self.notifier.post(&queued.notification, &queued.sidecar) => posted,
            () = shutdown_deadline(&self.deps.drain) => {
                Err(PostError::permanent("the process ended before the receiver answered"))
            }
        }
    }

    fn retry_delay(&self, delay: Duration, error: &PostError) -> Duration {
        let requested = error.retry_after.unwrap_or(delay);
        let fraction = self.deps.clock.random_fraction();
        requested
            .clamp(delay, MAX_RETRY_AFTER)
            .mul_f64(1.0 + JITTER * fraction)
    }
}

/// How the delivery of one notification ended.
enum DeliveryEnd {
    Delivered,
    GivenUp,
    /// Another config is in force; it remains in the queue.
    Replaced,
}

/// Counts and logs lost notifications, if there are any.
fn emit_loss(deps: &NotifyDeps, count: usize, loss: NotificationLoss, problem: &str) {
    if count == 0 {
        return;
    }
    NotificationsLost {
        test_command: &deps.test_command,
        count,
        loss,
        problem,
    }
    .emit(&deps.telemetry);
}

#[cfg(test)]
mod tests;
