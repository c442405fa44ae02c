//! Writes the texts of the status: pure functions from facts to sentences for an operator on call.

use serde::{Deserialize, Serialize};

use crate::diagnosis::format_command;
use crate::sms::Cause;
pub(super) use crate::status::Headline;
use crate::status::times::short_time;
use crate::status::vault_warnings::failing_vault_warnings;
use crate::status::{
    ConfigStatus, ConnectionsStatus, DenialStatus, DeniedRequests, MessageCounts, ProviderStatus,
    RouteStatus, Status,
};

/// Whether codes arrive, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deliverability {
    /// Nothing is set up to send.
    #[default]
    NotConfigured,
    /// Every route can deliver, and there were messages in the last hour.
    Delivering,
    /// Every route can deliver, but there was no message in the last hour.
    Idle,
    /// Every route can deliver, but not through every provider.
    OnBackup,
    /// Every route can deliver, but at least half of the latest messages failed.
    Failing,
    /// Some routes cannot deliver.
    Partial,
    /// No route can deliver, or the sidecar itself denies the backend's requests.
    Unavailable,
    /// The backend's own requests pass through unchanged.
    Observing,
}

impl Deliverability {
    /// The value in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "not-configured",
            Self::Delivering => "delivering",
            Self::Idle => "idle",
            Self::OnBackup => "on-backup",
            Self::Failing => "failing",
            Self::Partial => "partial",
            Self::Unavailable => "unavailable",
            Self::Observing => "observing",
        }
    }
}

/// Builds the headline. `recent` counts the messages of the last five minutes; `last` describes when the
/// last message was accepted, and by which provider.
pub(super) fn headline(status: &Status, recent: &MessageCounts, last: Option<&str>) -> Headline {
    let (able, says) = deliverability(status, recent, last);
    let denied = newest_denial(status).map(|denial| denial_text(denial, &status.at));
    let out = status.providers.iter();
    let out = out
        .filter(|provider| !provider.can_deliver)
        .map(outage_text);
    let mut because: Vec<String> = denied.into_iter().chain(out).collect();
    because.push(last_hour_text(&status.messages, last));
    Headline {
        deliverability: able,
        summary: says,
        details: because.join(" "),
        warnings: warnings(status),
    }
}

fn deliverability(
    status: &Status,
    recent: &MessageCounts,
    last: Option<&str>,
) -> (Deliverability, String) {
    let acting: Vec<&RouteStatus> = status
        .routes
        .iter()
        .filter(|route| !route.observe)
        .collect();
    if status.routes.is_empty() {
        let summary = "Nothing is set up to send.";
        return (Deliverability::NotConfigured, summary.to_owned());
    }
    if let Some(denied) = denied_backend(status) {
        return denied;
    }
    if acting.is_empty() {
        let summary = "Only watching: the backend’s own requests pass unchanged.";
        return (Deliverability::Observing, summary.to_owned());
    }
    blocked_routes(&acting)
        .or_else(|| failing_messages(recent))
        .or_else(|| missing_providers(status, &acting))
        .or_else(|| failing_providers(status, &acting))
        .unwrap_or_else(|| working(status, last))
}

/// The sidecar itself denies what the backend sends.
fn denied_backend(status: &Status) -> Option<(Deliverability, String)> {
    let DeniedRequests { denied, requests } = status.denied?;
    let is_plural = requests != 1;
    Some(match (denied == requests, is_plural) {
        (true, false) => (
            Deliverability::Unavailable,
            "No: the sidecar denied the last request of the backend.".to_owned(),
        ),
        (true, true) => (
            Deliverability::Unavailable,
            format!("No: the sidecar denied the last {requests} requests of the backend."),
        ),
        (false, _) => (
            Deliverability::Failing,
            format!("Degraded: the sidecar denied {denied} of the last {requests} requests."),
        ),
    })
}

/// The denial that the headline is about.
fn newest_denial(status: &Status) -> Option<&DenialStatus> {
    status.denials.first().filter(|_| status.denied.is_some())
}

/// `2 requests were denied at entrypoint connect (ca-missing), the last at 16:20:00 UTC: CONNECT to …. To do: run ….`
fn denial_text(denial: &DenialStatus, now: &str) -> String {
    let (were, last) = match denial.count {
        1 => ("1 request was".to_owned(), "at"),
        count => (format!("{count} requests were"), "the last at"),
    };
    format!(
        "{were} denied at entrypoint {} ({}), {last} {}: {}. To do: {}.",
        denial.entrypoint,
        denial.reason,
        short_time(&denial.last_at, now),
        denial.summary,
        denial.remedy
    )
}

/// Some or all routes cannot deliver.
fn blocked_routes(acting: &[&RouteStatus]) -> Option<(Deliverability, String)> {
    let blocked: Vec<&str> = acting
        .iter()
        .filter(|route| !route.can_deliver)
        .map(|route| route.route.as_str())
        .collect();
    let (deliverability, summary) = match blocked.as_slice() {
        [] => return None,
        [route] if acting.len() == 1 => (
            Deliverability::Unavailable,
            format!("No: route {route} cannot deliver."),
        ),
        blocked if blocked.len() == acting.len() => (
            Deliverability::Unavailable,
            "No: no route can deliver.".to_owned(),
        ),
        [route] => (
            Deliverability::Partial,
            format!("Only in part: route {route} cannot deliver."),
        ),
        blocked => (
            Deliverability::Partial,
            format!(
                "Only in part: routes {} cannot deliver.",
                join_names(blocked)
            ),
        ),
    };
    Some((deliverability, summary))
}

/// At least half of the latest messages failed.
fn failing_messages(recent: &MessageCounts) -> Option<(Deliverability, String)> {
    let failed = recent.failed();
    let all = failed + recent.accepted;
    (failed > 0 && failed * 2 >= all).then(|| {
        let noun = if all == 1 { "message" } else { "messages" };
        (
            Deliverability::Failing,
            format!("Degraded: {failed} of the last {all} {noun} failed."),
        )
    })
}

/// Every route can deliver, but some providers cannot.
fn missing_providers(status: &Status, acting: &[&RouteStatus]) -> Option<(Deliverability, String)> {
    let missing = unavailable_providers(status, acting);
    let is_missing = |name: &String| missing.contains(&name.as_str());
    let first = acting
        .iter()
        .any(|route| route.providers.first().is_some_and(is_missing));
    let summary = match (missing.is_empty(), first) {
        (true, _) => return None,
        (false, true) => format!("Yes, by a backup: {} out.", join_with_verb(&missing)),
        (false, false) => format!("Yes, but {} out.", join_with_verb(&missing)),
    };
    Some((Deliverability::OnBackup, summary))
}

/// Every route and every provider can deliver, but some providers reject most messages.
fn failing_providers(status: &Status, acting: &[&RouteStatus]) -> Option<(Deliverability, String)> {
    let failing = used_providers(status, acting, |provider| provider.failing.is_some());
    let summary = format!("Yes, but most messages to {} fail.", join_names(&failing));
    (!failing.is_empty()).then_some((Deliverability::OnBackup, summary))
}

/// Every route and every provider can deliver.
fn working(status: &Status, last: Option<&str>) -> (Deliverability, String) {
    let (deliverability, summary) = if status.messages.total() > 0 {
        (Deliverability::Delivering, "Yes, codes arrive.")
    } else if last.is_some() {
        (
            Deliverability::Idle,
            "Ready; no message came in the last hour.",
        )
    } else {
        (Deliverability::Idle, "Ready; no message has come yet.")
    };
    (deliverability, summary.to_owned())
}

/// The providers of these routes that cannot deliver now.
fn unavailable_providers<'a>(status: &'a Status, routes: &[&RouteStatus]) -> Vec<&'a str> {
    used_providers(status, routes, |provider| !provider.can_deliver)
}

/// The providers of these routes for which the condition holds.
fn used_providers<'a>(
    status: &'a Status,
    routes: &[&RouteStatus],
    condition: impl Fn(&ProviderStatus) -> bool,
) -> Vec<&'a str> {
    let is_used = |provider: &&ProviderStatus| {
        routes
            .iter()
            .any(|route| route.providers.contains(&provider.provider))
    };
    let found = status
        .providers
        .iter()
        .filter(is_used)
        .filter(|provider| condition(provider));
    found.map(|provider| provider.provider.as_str()).collect()
}

fn outage_text(provider: &ProviderStatus) -> String {
    let why = provider
        .cause
        .as_ref()
        .map(|cause| format!(" ({cause})"))
        .unwrap_or_default();
    let paused_by = provider
        .last_command
        .as_ref()
        .filter(|_| provider.state == "paused");
    if let Some(last) = paused_by.filter(|last| last.command == "pause") {
        return format!("{} is paused by {}.", provider.provider, last.by);
    }
    format!("{} {}{why}.", provider.provider, state_phrase(provider))
}

/// `is quarantined`.
fn state_phrase(provider: &ProviderStatus) -> &'static str {
    match provider.state.as_str() {
        "cooldown" => "is in cooldown",
        "quarantined" => "is quarantined",
        "paused" => "is paused by hand",
        _ => "has no credential",
    }
}

/// Sums up the messages of the last hour.
fn last_hour_text(messages: &MessageCounts, last: Option<&str>) -> String {
    let last = last.map(|last| format!(", {last}")).unwrap_or_default();
    let (all, accepted) = (messages.total(), messages.accepted);
    match all {
        0 => format!("No message came in the last hour{last}."),
        1 => format!(
            "In the last hour the one message was {}accepted{last}.",
            if accepted == 1 { "" } else { "not " }
        ),
        all if all == accepted => {
            format!("In the last hour all {all} messages were accepted{last}.")
        }
        all => format!("In the last hour {accepted} of {all} messages were accepted{last}."),
    }
}

/// Problems that do not stop messages now but may do so later.
fn warnings(status: &Status) -> Vec<String> {
    let told = usize::from(newest_denial(status).is_some());
    let denials = status.denials.iter().skip(told);
    let mut also: Vec<String> = denials
        .map(|denial| denial_text(denial, &status.at))
        .collect();
    also.extend(denied_connections_warning(&status.connections, &status.at));
    let file_limit = status.connections.file_limit_problem.as_ref();
    also.extend(file_limit.map(|problem| format!("Too few open files: {problem}.")));
    also.extend(
        status
            .providers
            .iter()
            .filter_map(|provider| failure_warning(provider, &status.at)),
    );
    for vault in &status.vaults {
        also.extend(failing_vault_warnings(vault, &status.at));
    }
    if let Some(reload) = status
        .config
        .last_reload
        .as_ref()
        .filter(|reload| reload.result != "ok")
    {
        also.push(format!(
            "The reload of {} failed; the config before it stays in force.",
            short_time(&reload.at, &status.at)
        ));
    }
    also.extend(unloaded_config_warning(&status.config, &status.at));
    let restart = status.config.needs_restart.iter();
    also.extend(restart.map(|restart| format!("{restart}.")));
    also
}

/// Warns that a provider in use does not work as it should.
fn failure_warning(provider: &ProviderStatus, now: &str) -> Option<String> {
    let (at, cause) = provider.failed_at.as_ref().zip(provider.cause.as_ref())?;
    let name = &provider.provider;
    if let Some(version) = provider.previous_version_in_use {
        return Some(format!(
            "{name} uses version {version} of its credential: version {} {} ({cause}).",
            provider.credential_version,
            version_fault(provider)
        ));
    }
    if let Some(recent) = provider.failing {
        return Some(format!(
            "{} of the last {} messages to {name} failed ({cause}).",
            recent.failed, recent.sends
        ));
    }
    Some(format!(
        "The last message to {name} failed at {}: {cause}.",
        short_time(at, now)
    ))
}

/// Warns that connections were denied in the last hour, because too many were open.
fn denied_connections_warning(connections: &ConnectionsStatus, now: &str) -> Option<String> {
    let last = connections.last_denied_at.as_deref();
    let last = last.filter(|_| connections.denied_lately)?;
    let (were, last_word) = match connections.denied {
        1 => ("1 connection was".to_owned(), ""),
        count => (format!("{count} connections were"), "last "),
    };
    Some(format!(
        "{were} denied, {last_word}at {}: all {} were in use; find out what holds them, or raise `connections` in `[limits]`.",
        short_time(last, now),
        connections.limit
    ))
}

/// Warns that the config on disk differs from the active one. If a reload of it has failed, that has a
/// warning of its own.
fn unloaded_config_warning(config: &ConfigStatus, now: &str) -> Option<String> {
    let changed = config.changed_at.as_deref()?;
    let failed = config
        .last_reload
        .as_ref()
        .filter(|reload| reload.result != "ok");
    if failed.is_some_and(|reload| reload.at.as_str() >= changed) {
        return None;
    }
    // A file that was moved into place can be older than the load.
    let later = config
        .loaded_at
        .as_deref()
        .is_none_or(|loaded| loaded <= changed);
    let at = if later {
        format!("at {} ", short_time(changed, now))
    } else {
        String::new()
    };
    Some(format!(
        "{} was changed {at}after it was loaded: {}.",
        config.changed_file(),
        format_command("reload", &config.file)
    ))
}

/// A provider's state in a few words. `now` is the time of the status.
pub(super) fn provider_summary(provider: &ProviderStatus, now: &str) -> String {
    let back = provider.next_trial_at.as_deref();
    let due = back.is_some_and(|back| back <= now);
    match (provider.state.as_str(), back) {
        ("cooldown", Some(back)) if !due => format!("in cooldown until {}", short_time(back, now)),
        ("cooldown", _) => "in cooldown; the next message tries it".to_owned(),
        ("quarantined", Some(back)) if !due => format!(
            "quarantined; one message may try it at {}",
            short_time(back, now)
        ),
        ("quarantined", Some(_)) => "quarantined; the next message tries it".to_owned(),
        ("quarantined", None) => "quarantined until something changes".to_owned(),
        ("paused", _) => match provider.command_in_effect(now) {
            Some(last) => format!("paused by {} at {}", last.by, short_time(&last.at, now)),
            None => "paused by hand".to_owned(),
        },
        _ if provider.can_deliver => usage_summary(provider, now),
        _ => "not usable: its credential was never read".to_owned(),
    }
}

/// What happened to the newest version of a credential while an older one serves.
fn version_fault(provider: &ProviderStatus) -> &'static str {
    let cause = provider
        .cause
        .as_deref()
        .and_then(|cause| cause.parse::<Cause>().ok());
    cause.map_or("was rejected", Cause::version_fault)
}

/// How a provider is used that can deliver.
fn usage_summary(provider: &ProviderStatus, now: &str) -> String {
    if let Some(version) = provider.previous_version_in_use {
        return format!(
            "in use with version {version} of its credential; version {} {}",
            provider.credential_version,
            version_fault(provider)
        );
    }
    if let Some(recent) = provider.failing {
        return format!(
            "in use, but {} of its last {} messages failed",
            recent.failed, recent.sends
        );
    }
    match &provider.failed_at {
        Some(at) => format!(
            "in use, but its last message failed at {}",
            short_time(at, now)
        ),
        None => match provider.command_in_effect(now) {
            Some(last) => format!(
                "in use; resumed by {} at {}",
                last.by,
                short_time(&last.at, now)
            ),
            None => "in use".to_owned(),
        },
    }
}

/// The remedy if there is no diagnosis.
pub(super) fn default_remedy(provider: &ProviderStatus, config: &str) -> Option<String> {
    let resume = format_command(&format!("resume {}", provider.provider), config);
    match provider.state.as_str() {
        "paused" => Some(format!("{resume} puts it back")),
        "quarantined" => Some(format!("when that is in order: {resume}")),
        "cooldown" => Some("nothing to do: it comes back by itself".to_owned()),
        _ => None,
    }
}

/// A route's state in one sentence.
pub(super) fn route_summary(route: &RouteStatus, members: &[&ProviderStatus]) -> String {
    let names = |able: bool| {
        members
            .iter()
            .filter(|member| member.can_deliver == able)
            .map(|member| member.provider.as_str())
            .collect()
    };
    let (able, out): (Vec<&str>, Vec<&str>) = (names(true), names(false));
    let last = route.last_provider.as_deref().unwrap_or("another");
    match (able.as_slice(), out.as_slice()) {
        _ if route.observe => "only watched; the backend’s own requests pass unchanged".to_owned(),
        ([], [_]) => "CANNOT deliver: its only provider is out".to_owned(),
        ([], _) => "CANNOT deliver: all its providers are out".to_owned(),
        (able, [_, ..]) => format!(
            "can deliver by {}; {} out",
            join_names(able),
            join_with_verb(&out)
        ),
        (_, []) if route.backup_since.is_some() => {
            format!("can deliver; the last message went by a backup, {last}")
        }
        (_, []) => "can deliver".to_owned(),
    }
}

/// A sort key: providers that need an operator most come first.
pub(super) fn urgency(provider: &ProviderStatus) -> u8 {
    match provider.state.as_str() {
        "quarantined" => 0,
        "cooldown" => 2,
        "paused" => 3,
        _ if provider.can_deliver && provider.failed_at.is_none() => 4,
        _ => 1,
    }
}

impl MessageCounts {
    /// Messages that were not sent, or may not have been.
    fn failed(self) -> u64 {
        self.not_sent + self.in_doubt
    }

    /// All messages, including those that failed because of the message itself.
    fn total(self) -> u64 {
        self.accepted + self.failed() + self.message_rejected + self.passed_through
    }
}

/// `credential-rejected (ambiguous, or ip-not-allowed)`.
pub fn cause_phrase(
    cause: &str,
    certainty: Option<&str>,
    alternatives: &[impl AsRef<str>],
) -> String {
    match certainty {
        None => cause.to_owned(),
        Some(certainty) if alternatives.is_empty() => format!("{cause} ({certainty})"),
        Some(certainty) => format!(
            "{cause} ({certainty}, {})",
            alternatives_phrase(alternatives)
        ),
    }
}

/// `or ip-not-allowed or clock-skew`.
fn alternatives_phrase(alternatives: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = alternatives.iter().map(AsRef::as_ref).collect();
    format!("or {}", names.join(" or "))
}

/// `a is`, `a and b are`.
fn join_with_verb(names: &[&str]) -> String {
    format!(
        "{} {}",
        join_names(names),
        if names.len() == 1 { "is" } else { "are" }
    )
}

/// `a`, `a and b`, `a, b and c`.
fn join_names(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}
