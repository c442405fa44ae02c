//! What the providers' checks mean for the messages: whether each route is left with somebody who can
//! deliver, and which calls of the backend the running sidecar itself stopped. A route without anybody
//! fails for the cause that its first provider fails for: what follows from a cause is no other cause.

use std::collections::BTreeMap;

use crate::cli::doctor::running::{BlockedRequests, RunningSidecar};
use crate::diagnosis::{DiagnosisContext, FailedAttempt, diagnose};
use crate::doctor::Setup;
use crate::doctor::check::{Check, CheckResult};
use crate::doctor::provider_check::ProviderCheck;
use crate::proxy::{Mode, Provider, Route};
use crate::sms::{AttemptKind, Cause, Certainty, ProviderId, prefixes_overlap};

/// The check that is about single texts.
const TEMPLATE_CHECK: &str = "template";

/// One check a route, and one for each cause for which calls were stopped.
pub(crate) fn check_routes(
    setup: &Setup<'_>,
    checks: &[Check],
    running: &RunningSidecar,
) -> Vec<Check> {
    let acting = setup
        .proxy
        .routes
        .iter()
        .filter(|route| route.mode == Mode::Act);
    let routes = acting.map(|route| {
        check_delivery(setup, route, (checks, running))
            .with_subject(&format!("route {}", route.name))
    });
    let stopped = running
        .blocked_requests()
        .into_iter()
        .map(|stopped| blocked_requests_check(setup, &stopped).with_subject("backend"));
    routes.chain(stopped).collect()
}

/// Whether anybody on it can deliver.
fn check_delivery(setup: &Setup<'_>, route: &Route, seen: (&[Check], &RunningSidecar)) -> Check {
    let found = |id: &ProviderId| {
        setup
            .proxy
            .providers
            .iter()
            .find(|provider| provider.id == *id)
    };
    let members = route.providers.iter().filter_map(found);
    let members: Vec<(&str, Option<Check>)> = members
        .map(|provider| {
            (
                provider.id.as_str(),
                blocking_check(&ProviderCheck::new(provider, setup), route, seen),
            )
        })
        .collect();
    let able: Vec<String> = members
        .iter()
        .filter(|(_, why)| why.is_none())
        .map(|(id, _)| format!("{id}{}", caveats(id, seen.0)))
        .collect();
    let not = members.iter().filter_map(|(id, why)| {
        Some(format!(
            "{id} ({})",
            why.as_ref()?.cause.unwrap_or(Cause::Unexplained)
        ))
    });
    let not = not.collect::<Vec<_>>().join(", ");
    let first = members.into_iter().next().and_then(|(_, why)| why);
    if let Some(first) = first.filter(|_| able.is_empty()) {
        return delivery_failure(first, format!("nobody is left to deliver: {not}"));
    }
    let not = if not.is_empty() {
        String::new()
    } else {
        format!("; not by {not}")
    };
    Check::ok(
        "delivery",
        format!(
            "nothing that was asked speaks against {}{not}",
            able.join(", then ")
        ),
    )
}

/// What follows for the route: as sure as the check that it follows from, and mended by the same.
fn delivery_failure(check: Check, evidence: String) -> Check {
    let cause = check.cause.or(Some(Cause::Unexplained));
    Check {
        name: "delivery",
        result: CheckResult::Failed,
        cause,
        evidence,
        ..check
    }
}

/// What a provider that nothing speaks against was not asked, or could not say: it may fail all the same.
fn caveats(id: &str, checks: &[Check]) -> String {
    let own = || checks.iter().filter(|check| check.subject == id);
    let some =
        own().any(|check| check.result == CheckResult::Failed && check.name == TEMPLATE_CHECK);
    let some = some.then(|| format!("not for every text, as `{TEMPLATE_CHECK}` says"));
    let unknown = own().filter(|check| {
        check.result == CheckResult::Skipped
            && matches!(
                check.name,
                "credential" | "account" | "balance" | "addresses"
            )
    });
    let names: Vec<&str> = unknown.map(|check| check.name).collect();
    let unknown = (!names.is_empty())
        .then(|| format!("not known: {}; only a send shows it", names.join(", ")));
    let notes: Vec<String> = some.into_iter().chain(unknown).collect();
    if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join("; "))
    }
}

/// The check for which a provider delivers nothing on this route at this moment; none: nothing speaks against it.
fn blocking_check(
    patient: &ProviderCheck<'_>,
    route: &Route,
    (checks, running): (&[Check], &RunningSidecar),
) -> Option<Check> {
    let id = patient.provider.id.as_str();
    let reach = (!is_reachable(patient.provider, route))
        .then(|| patient.local_failure("delivery", Cause::NotTranslatable, ""));
    // A text that is not approved stops that text, not the others.
    let stops = |check: &&Check| {
        check.subject == id && check.result == CheckResult::Failed && !check.is_partial
    };
    reach
        .or_else(|| checks.iter().find(stops).cloned())
        .or_else(|| running.unavailable_check(id))
}

/// Whether its service delivers to any of the route's recipients.
fn is_reachable(provider: &Provider, route: &Route) -> bool {
    let limits = provider.dialect.recipient_prefixes();
    let reached = |prefix: &String| limits.iter().any(|limit| prefixes_overlap(prefix, limit));
    limits.is_empty() || route.recipients.is_empty() || route.recipients.iter().any(reached)
}

/// Calls that nobody carried because of how things are set up here.
fn blocked_requests_check(setup: &Setup<'_>, stopped: &BlockedRequests) -> Check {
    let spoken = stopped.dialect.as_deref();
    let by = spoken.map_or_else(String::new, |dialect| format!(" in {dialect}'s API"));
    let what = match (stopped.cause, spoken) {
        (Cause::NotTranslatable, _) => "said what no provider of their route can carry",
        (Cause::NoProvider, _) => "went to recipients whom no route and no provider serves",
        (_, Some(_)) => "asked for what the sidecar does not let through",
        (_, None) => {
            "belonged to no service that is known here, or came from a caller who may not call"
        }
    };
    let says = format!(
        "{} of the last calls{by} {what}; the last was {} at {}, and its line in the log says more",
        stopped.count, stopped.result, stopped.at
    );
    let provider = setup
        .proxy
        .providers
        .iter()
        .find(|provider| spoken == Some(provider.dialect.name.as_str()));
    if let Some(provider) = provider {
        return ProviderCheck::new(provider, setup).local_failure("requests", stopped.cause, &says);
    }
    let (kind, certainty, cause) = (AttemptKind::Send, Certainty::Certain, stopped.cause);
    let evidence = FailedAttempt {
        kind,
        cause,
        certainty,
        alternatives: &[],
        status: None,
        code: None,
        provider_message: Some(&says),
        evidence: &[],
    };
    let context = DiagnosisContext {
        dialect: spoken.unwrap_or_default(),
        config_path: setup.file,
        lacks_control_socket: !setup.has_control(),
        ..DiagnosisContext::default()
    };
    Check::diagnosed("requests", diagnose(&evidence, &context))
}

/// The same cause and dialect in one entry, the newest first.
pub(crate) fn group_blocked(
    stopped: impl Iterator<Item = BlockedRequests>,
) -> Vec<BlockedRequests> {
    let mut groups: BTreeMap<(Cause, Option<String>), BlockedRequests> = BTreeMap::new();
    for one in stopped {
        groups
            .entry((one.cause, one.dialect.clone()))
            .and_modify(|group| group.count += one.count)
            .or_insert(one);
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests;
