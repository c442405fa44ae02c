//! Notifications: which changes of the status an operator gets a message about, how often, and its
//! text. Pure: the module that posts them calls [`NotificationTracker::observe`] with each status.
//!
//! A notification has names of the config, causes, hosts, remedies and times. It never has a number or
//! the text of a message, a value of a credential, or the words of a service.

mod conditions;
mod render;
mod tracker;

#[cfg(test)]
mod tests;

pub use render::NotificationFormat;
pub use tracker::NotificationTracker;

/// What a notification is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotificationSubject {
    /// A provider.
    Provider(String),
    /// A route.
    Route(String),
    /// The login token of a provider.
    Token(String),
    /// The local CA.
    LocalCa,
    /// The backend, whose requests the sidecar denies.
    Backend,
    /// The webhook itself.
    Webhook,
}

impl NotificationSubject {
    /// Its name in the config, if it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Provider(name) | Self::Route(name) | Self::Token(name) => Some(name),
            Self::LocalCa | Self::Backend | Self::Webhook => None,
        }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationEvent {
    /// A provider is quarantined.
    ProviderQuarantined,
    /// A provider has been in cooldown for minutes.
    ProviderCooldown,
    /// A provider is in use, but most of its messages fail.
    ProviderFailing,
    /// The credential of a provider was never read.
    ProviderWithoutCredential,
    /// A provider is in use again.
    ProviderRecovered,
    /// A route cannot deliver.
    RouteBlocked,
    /// A route can deliver again.
    RouteRecovered,
    /// A login token expires soon, and new logins fail.
    TokenExpiring,
    /// There is a newer token.
    TokenRenewed,
    /// The certificate of the local CA expires soon.
    CaExpiring,
    /// There is a newer certificate.
    CaRenewed,
    /// The sidecar itself denies the backend's requests.
    RequestsDenied,
    /// It accepts them again.
    RequestsAccepted,
    /// An operator tests the webhook.
    Test,
}

impl NotificationEvent {
    /// The value in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderQuarantined => "provider-quarantined",
            Self::ProviderCooldown => "provider-cooldown",
            Self::ProviderFailing => "provider-failing",
            Self::ProviderWithoutCredential => "provider-without-credential",
            Self::ProviderRecovered => "provider-recovered",
            Self::RouteBlocked => "route-blocked",
            Self::RouteRecovered => "route-recovered",
            Self::TokenExpiring => "token-expiring",
            Self::TokenRenewed => "token-renewed",
            Self::CaExpiring => "ca-expiring",
            Self::CaRenewed => "ca-renewed",
            Self::RequestsDenied => "requests-denied",
            Self::RequestsAccepted => "requests-accepted",
            Self::Test => "test",
        }
    }

    /// `error`: codes are lost or a backup carries them. `warning`: that may follow. `info`: it is over.
    pub const fn severity(self) -> &'static str {
        match self {
            Self::ProviderQuarantined | Self::RouteBlocked | Self::RequestsDenied => "error",
            Self::ProviderCooldown
            | Self::ProviderFailing
            | Self::ProviderWithoutCredential
            | Self::TokenExpiring
            | Self::CaExpiring => "warning",
            Self::ProviderRecovered
            | Self::RouteRecovered
            | Self::TokenRenewed
            | Self::CaRenewed
            | Self::RequestsAccepted
            | Self::Test => "info",
        }
    }
}

/// One message to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What has happened.
    pub event: NotificationEvent,
    /// To what.
    pub subject: NotificationSubject,
    /// When it was noticed.
    pub at: String,
    /// For a problem: since when it exists. For a token or certificate: when it expires.
    pub since: Option<String>,
    /// After a problem: how long it lasted, in seconds.
    pub lasted_seconds: Option<u64>,
    /// Why: a cause, or the reason of a denial.
    pub cause: Option<String>,
    /// How certain the cause is.
    pub certainty: Option<String>,
    /// Other possible causes.
    pub alternatives: Vec<String>,
    /// The reason of a denial as a sentence.
    pub explanation: Option<String>,
    /// What to do.
    pub remedy: Option<String>,
    /// How often the problem began or ended since the last notification about the subject, if more than once.
    pub changes: Option<u32>,
}

impl Notification {
    /// A notification without details.
    fn new(event: NotificationEvent, subject: NotificationSubject, at: &str) -> Self {
        Self {
            event,
            subject,
            at: at.to_owned(),
            since: None,
            lasted_seconds: None,
            cause: None,
            certainty: None,
            alternatives: Vec::new(),
            explanation: None,
            remedy: None,
            changes: None,
        }
    }

    /// A notification that only shows that the webhook works.
    pub fn test(at: &str) -> Self {
        Self::new(NotificationEvent::Test, NotificationSubject::Webhook, at)
    }

    /// How many bytes its texts take in memory.
    pub fn size(&self) -> usize {
        let texts = [
            &self.since,
            &self.cause,
            &self.certainty,
            &self.explanation,
            &self.remedy,
        ];
        let texts = texts.into_iter().flatten().chain(&self.alternatives);
        let name = self.subject.name().unwrap_or_default();
        size_of::<Self>() + name.len() + self.at.len() + texts.map(String::len).sum::<usize>()
    }
}
