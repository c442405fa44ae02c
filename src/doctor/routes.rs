//! What the providers' checks mean for messages: whether each route still has a provider that can
//! deliver, and which requests of the backend the running sidecar itself rejected. A route without
//! one fails for the cause of its first provider.

use crate::diagnosis::FailedAttempt;
use crate::doctor::Setup;
use crate::doctor::check::{Check, CheckResult};
use crate::doctor::provider_check::ProviderCheck;
use crate::doctor::running::{RejectedRequests, RunningSidecar};
use crate::provider::Provider;
use crate::provider::diagnose::diagnose_without_provider;
use crate::proxy::{Mode, Route};
use crate::sms::{AttemptKind, Cause, Certainty, ProviderId, prefixes_overlap};

/// The check that concerns single texts.
const TEMPLATE_CHECK: &str = "template";

/// What is known when the routes are checked.
#[derive(Clone, Copy)]
struct RouteFacts<'a> {
    setup: &'a Setup<'a>,
    checks: &'a [Check],
    running: &'a RunningSidecar,
}

/// One check for each route, and one for each cause or reason for which the sidecar rejected requests.
pub(crate) fn check_routes(
    setup: &Setup<'_>,
    checks: &[Check],
    running: &RunningSidecar,
) -> Vec<Check> {
    let facts = RouteFacts {
        setup,
        checks,
        running,
    };
    let routes = setup.proxy.routes.iter();
    let acting = routes.filter(|route| route.mode == Mode::Act);
    let delivery = acting
        .map(|route| check_delivery(facts, route).with_subject(&format!("route {}", route.name)));
    let rejected = running
        .rejected_requests()
        .into_iter()
        .map(|rejected| rejected_requests_check(setup, &rejected).with_subject("backend"));
    let denied = running.denial_checks().into_iter();
    let denied = denied.map(|check| check.with_subject("backend"));
    delivery.chain(rejected).chain(denied).collect()
}

/// Whether a provider of the route can deliver.
fn check_delivery(facts: RouteFacts<'_>, route: &Route) -> Check {
    let all = &facts.setup.proxy.providers;
    let found = |id: &ProviderId| all.iter().find(|provider| provider.id == *id);
    let members = route.providers.iter().filter_map(found);
    let members: Vec<(&str, Option<Check>)> = members
        .map(|provider| {
            (
                provider.id.as_str(),
                blocking_check(&ProviderCheck::new(provider, facts.setup), route, facts),
            )
        })
        .collect();
    let able: Vec<String> = members
        .iter()
        .filter(|(_, why)| why.is_none())
        .map(|(id, _)| format!("{id}{}", caveats(id, facts.checks)))
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
        return delivery_failure(first, format!("no provider is left to deliver: {not}"));
    }
    let not = if not.is_empty() {
        String::new()
    } else {
        format!("; not by {not}")
    };
    Check::ok(
        "delivery",
        format!("no problems found with {}{not}", able.join(", then ")),
    )
}

/// The failure of the route: certainty and remedy are those of the check it follows from.
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

/// What is not known of a provider without a failed check: it may still fail.
fn caveats(id: &str, checks: &[Check]) -> String {
    let own = || checks.iter().filter(|check| check.subject == id);
    let some =
        own().any(|check| check.result == CheckResult::Failed && check.name == TEMPLATE_CHECK);
    let some = some.then(|| format!("not for every text; see `{TEMPLATE_CHECK}`"));
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

/// The check that keeps a provider from delivering on this route now; none: nothing does.
fn blocking_check(
    subject: &ProviderCheck<'_>,
    route: &Route,
    facts: RouteFacts<'_>,
) -> Option<Check> {
    let id = subject.provider.id.as_str();
    let reach = (!is_reachable(subject.provider, route))
        .then(|| subject.local_failure("delivery", Cause::NotTranslatable, ""));
    // An unapproved text blocks that text only.
    let stops = |check: &&Check| {
        check.subject == id && check.result == CheckResult::Failed && !check.is_partial
    };
    reach
        .or_else(|| facts.checks.iter().find(stops).cloned())
        .or_else(|| facts.running.unavailable_check(id))
}

/// Whether its service delivers to any of the route's recipients.
fn is_reachable(provider: &Provider, route: &Route) -> bool {
    let limits = provider.dialect.recipient_prefixes();
    let reached = |prefix: &String| limits.iter().any(|limit| prefixes_overlap(prefix, limit));
    limits.is_empty() || route.recipients.is_empty() || route.recipients.iter().any(reached)
}

/// Requests that the sidecar rejected because of its own config.
fn rejected_requests_check(setup: &Setup<'_>, rejected: &RejectedRequests) -> Check {
    let dialect_name = rejected.dialect.as_deref();
    let by = dialect_name.map_or_else(String::new, |dialect| format!(" in {dialect}'s API"));
    let what = if rejected.cause == Cause::NotTranslatable {
        "needed something that no provider of their route can send"
    } else {
        "went to recipients that no route and no provider serves"
    };
    let evidence = format!(
        "{} of the last requests{by} {what}; the last one was {} at {}: see its line in the log",
        rejected.count, rejected.result, rejected.at
    );
    let provider = setup
        .proxy
        .providers
        .iter()
        .find(|provider| dialect_name == Some(provider.dialect.name.as_str()));
    if let Some(provider) = provider {
        return ProviderCheck::new(provider, setup).local_failure(
            "requests",
            rejected.cause,
            &evidence,
        );
    }
    let attempt = FailedAttempt {
        kind: AttemptKind::Send,
        cause: rejected.cause,
        certainty: Certainty::Certain,
        alternatives: &[],
        status: None,
        code: None,
        provider_message: Some(&evidence),
        evidence: &[],
    };
    let diagnosis = diagnose_without_provider(
        &attempt,
        dialect_name.unwrap_or_default(),
        setup.file,
        setup.has_control(),
    );
    Check::diagnosed("requests", diagnosis)
}

#[cfg(test)]
mod tests;
