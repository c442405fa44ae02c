//! Reads from a status which subjects have a problem that an operator should hear of.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::diagnosis::format_command;
use crate::policy::HealthState;
use crate::status::notification::{Notification, NotificationEvent, NotificationSubject};
use crate::status::{ProviderStatus, RouteStatus, Status, sum};

/// A token is renewed by the messages that use it, long before its end. If it is still the same this
/// shortly before its end, new logins fail.
const TOKEN_NOTICE: SignedDuration = SignedDuration::from_hours(2);
/// The certificate of the local CA is replaced by hand, and its readers take time.
const CA_NOTICE: SignedDuration = SignedDuration::from_hours(21 * 24);

/// One subject, as a status shows it.
#[derive(Clone, Debug)]
pub(super) struct ObservedSubject {
    pub(super) subject: NotificationSubject,
    /// When the token expires: the next one has another time.
    pub(super) expires_at: Option<String>,
    pub(super) condition: SubjectCondition,
}

/// How a subject is.
#[derive(Clone, Debug)]
pub(super) enum SubjectCondition {
    /// It has no problem.
    Fine,
    /// An operator paused it, or nothing shows whether its problem is over.
    Undecided,
    /// It has this problem.
    Problem(Box<Notification>),
}

/// How long a problem must last before it is reported. A route is briefly without a provider while the
/// vaults are read for the first time; a cooldown ends by itself.
pub(super) const fn reporting_delay(event: NotificationEvent) -> Duration {
    match event {
        NotificationEvent::ProviderCooldown => Duration::from_mins(2),
        NotificationEvent::ProviderFailing => Duration::from_mins(1),
        NotificationEvent::ProviderWithoutCredential | NotificationEvent::RequestsDenied => {
            Duration::from_secs(30)
        }
        NotificationEvent::RouteBlocked => Duration::from_secs(5),
        // Since the token was issued: one that lives for less than a day always expires soon.
        NotificationEvent::TokenExpiring => Duration::from_hours(24),
        NotificationEvent::ProviderQuarantined
        | NotificationEvent::ProviderRecovered
        | NotificationEvent::RouteRecovered
        | NotificationEvent::TokenRenewed
        | NotificationEvent::CaExpiring
        | NotificationEvent::CaRenewed
        | NotificationEvent::RequestsAccepted
        | NotificationEvent::Test => Duration::ZERO,
    }
}

/// Every subject of the config, with its condition.
pub(super) fn observe(status: &Status) -> Vec<ObservedSubject> {
    let without_expiry = |subject, condition| ObservedSubject {
        subject,
        expires_at: None,
        condition,
    };
    let acting = status.routes.iter().filter(|route| !route.observe);
    let routes = acting.map(|route| {
        let subject = NotificationSubject::Route(route.route.clone());
        without_expiry(subject, route_condition(route, status))
    });
    let providers = status.providers.iter().map(|provider| {
        let subject = NotificationSubject::Provider(provider.provider.clone());
        without_expiry(subject, provider_condition(provider, status))
    });
    let tokens = status.providers.iter().map(|provider| ObservedSubject {
        subject: NotificationSubject::Token(provider.provider.clone()),
        expires_at: provider.token_expires_at.clone(),
        condition: token_condition(provider, status),
    });
    let ca = without_expiry(NotificationSubject::LocalCa, ca_condition(status));
    let backend = without_expiry(NotificationSubject::Backend, backend_condition(status));
    let alone = [ca, backend];
    routes.chain(providers).chain(tokens).chain(alone).collect()
}

fn route_condition(route: &RouteStatus, status: &Status) -> SubjectCondition {
    if route.can_deliver {
        return SubjectCondition::Fine;
    }
    let subject = NotificationSubject::Route(route.route.clone());
    let blocked = Notification::new(NotificationEvent::RouteBlocked, subject, &status.at);
    SubjectCondition::Problem(Box::new(Notification {
        since: Some(status.at.clone()),
        remedy: Some(format_command("doctor", &status.config.file)),
        ..blocked
    }))
}

fn provider_condition(provider: &ProviderStatus, status: &Status) -> SubjectCondition {
    let event = match provider.state.as_str() {
        state if state == HealthState::Paused.as_str() => return SubjectCondition::Undecided,
        "quarantined" => NotificationEvent::ProviderQuarantined,
        "cooldown" => NotificationEvent::ProviderCooldown,
        _ if !provider.can_deliver => NotificationEvent::ProviderWithoutCredential,
        _ if provider.failing.is_some() => NotificationEvent::ProviderFailing,
        _ => return SubjectCondition::Fine,
    };
    let subject = NotificationSubject::Provider(provider.provider.clone());
    let since = if provider.is_healthy() {
        status.at.clone()
    } else {
        provider.since.clone().unwrap_or_else(|| status.at.clone())
    };
    SubjectCondition::Problem(Box::new(Notification {
        since: Some(since),
        cause: provider.cause.clone(),
        certainty: provider.certainty.clone(),
        alternatives: provider.alternatives.clone(),
        remedy: provider.remedy.clone(),
        ..Notification::new(event, subject, &status.at)
    }))
}

/// Only messages renew a token: without any, an old one shows nothing.
fn token_condition(provider: &ProviderStatus, status: &Status) -> SubjectCondition {
    let Some(expires_at) = &provider.token_expires_at else {
        return SubjectCondition::Fine;
    };
    if !is_within(expires_at, &status.at, TOKEN_NOTICE) {
        return SubjectCondition::Fine;
    }
    let outcomes = provider.hour.by_outcome();
    if outcomes.iter().all(|(_, counts)| sum(counts) == 0) {
        return SubjectCondition::Undecided;
    }
    let subject = NotificationSubject::Token(provider.provider.clone());
    let doctor = format!("doctor --provider {}", provider.provider);
    SubjectCondition::Problem(Box::new(Notification {
        since: Some(expires_at.clone()),
        remedy: Some(format_command(&doctor, &status.config.file)),
        ..Notification::new(NotificationEvent::TokenExpiring, subject, &status.at)
    }))
}

fn ca_condition(status: &Status) -> SubjectCondition {
    let expires_at = status.config.ca_expires_at.as_ref();
    let Some(expires_at) = expires_at.filter(|at| is_within(at, &status.at, CA_NOTICE)) else {
        return SubjectCondition::Fine;
    };
    let event = NotificationEvent::CaExpiring;
    let renew = format_command("ca renew", &status.config.file);
    SubjectCondition::Problem(Box::new(Notification {
        since: Some(expires_at.clone()),
        remedy: Some(format!("{renew}, then restart the backend")),
        ..Notification::new(event, NotificationSubject::LocalCa, &status.at)
    }))
}

/// Denials that are forgotten, after an hour or by a reload, are over only when a message was accepted.
fn backend_condition(status: &Status) -> SubjectCondition {
    let Some(denial) = status.denials.first().filter(|_| status.denied.is_some()) else {
        let accepted = status
            .providers
            .iter()
            .any(|provider| sum(&provider.hour.accepted) > 0);
        return if accepted {
            SubjectCondition::Fine
        } else {
            SubjectCondition::Undecided
        };
    };
    let event = NotificationEvent::RequestsDenied;
    SubjectCondition::Problem(Box::new(Notification {
        since: Some(denial.last_at.clone()),
        cause: Some(denial.reason.clone()),
        explanation: Some(denial.summary.clone()),
        remedy: Some(denial.remedy.clone()),
        ..Notification::new(event, NotificationSubject::Backend, &status.at)
    }))
}

/// Whether `end` is at most `notice` after `now`. A time that cannot be read is far away.
fn is_within(end: &str, now: &str, notice: SignedDuration) -> bool {
    let read = |text: &str| text.parse::<Timestamp>().ok();
    read(end)
        .zip(read(now))
        .is_some_and(|(end, now)| end.duration_since(now) <= notice)
}
