//! What the providers' checks mean for the messages: whether each route is left with somebody who can
//! deliver, and which calls of the backend the running sidecar itself stopped. A route without anybody
//! fails for the cause that its first provider fails for: what follows from a cause is no other cause.

use std::collections::BTreeMap;

use crate::cli::doctor::check::{Check, Mark};
use crate::cli::doctor::patient::Patient;
use crate::cli::doctor::running::{Running, Stopped};
use crate::config::Loaded;
use crate::diagnosis::{Context, Evidence, diagnose};
use crate::proxy::{Mode, Provider, Route};
use crate::sms::{Cause, Certainty, Kind, ProviderId};

/// The check that is about single texts.
const TEXTS: &str = "template";

/// One check a route, and one for each cause for which calls were stopped.
pub(super) fn judge(loaded: &Loaded, config: &str, checks: &[Check], running: &Running) -> Vec<Check> {
    let acting = loaded.proxy.routes.iter().filter(|route| route.mode == Mode::Act);
    let routes = acting.map(|route| delivery(loaded, config, route, (checks, running)).of(&format!("route {}", route.name)));
    let stopped = running.stopped().into_iter().map(|stopped| stop(loaded, config, &stopped).of("backend"));
    routes.chain(stopped).collect()
}

/// Whether anybody on it can deliver.
fn delivery(loaded: &Loaded, config: &str, route: &Route, seen: (&[Check], &Running)) -> Check {
    let found = |id: &ProviderId| loaded.proxy.providers.iter().find(|provider| provider.id == *id);
    let members = route.providers.iter().filter_map(found);
    let members: Vec<(&str, Option<Check>)> =
        members.map(|provider| (provider.id.as_str(), unable(&Patient::new(provider, loaded, config), route, seen))).collect();
    let able: Vec<String> = members.iter().filter(|(_, why)| why.is_none()).map(|(id, _)| format!("{id}{}", doubts(id, seen.0))).collect();
    let not = members.iter().filter_map(|(id, why)| Some(format!("{id} ({})", why.as_ref()?.cause.unwrap_or(Cause::Unexplained))));
    let not = not.collect::<Vec<_>>().join(", ");
    let first = members.into_iter().next().and_then(|(_, why)| why);
    if let Some(first) = first.filter(|_| able.is_empty()) {
        return after(first, format!("nobody is left to deliver: {not}"));
    }
    let not = if not.is_empty() { String::new() } else { format!("; not by {not}") };
    Check::ok("delivery", format!("nothing that was asked speaks against {}{not}", able.join(", then ")))
}

/// What follows for the route: as sure as the check that it follows from, and mended by the same.
fn after(check: Check, evidence: String) -> Check {
    let cause = check.cause.or(Some(Cause::Unexplained));
    Check { name: "delivery", mark: Mark::Failed, cause, evidence, ..check }
}

/// What a provider that nothing speaks against was not asked, or could not say: it may fail all the same.
fn doubts(id: &str, checks: &[Check]) -> String {
    let own = || checks.iter().filter(|check| check.about == id);
    let some = own().any(|check| check.mark == Mark::Failed && check.name == TEXTS);
    let some = some.then(|| format!("not for every text, as `{TEXTS}` says"));
    let unknown =
        own().filter(|check| check.mark == Mark::Skipped && matches!(check.name, "credential" | "account" | "balance" | "addresses"));
    let names: Vec<&str> = unknown.map(|check| check.name).collect();
    let unknown = (!names.is_empty()).then(|| format!("not known: {}; only a send shows it", names.join(", ")));
    let notes: Vec<String> = some.into_iter().chain(unknown).collect();
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) }
}

/// The check for which a provider delivers nothing on this route at this moment; none: nothing speaks against it.
fn unable(patient: &Patient<'_>, route: &Route, (checks, running): (&[Check], &Running)) -> Option<Check> {
    let id = patient.provider.id.as_str();
    let reach = (!reaches(patient.provider, route)).then(|| patient.ours("delivery", Cause::NotTranslatable, ""));
    // A text that is not approved stops that text, not the others.
    let stops = |check: &&Check| check.about == id && check.mark == Mark::Failed && !check.is_partial;
    reach.or_else(|| checks.iter().find(stops).cloned()).or_else(|| running.closed(id))
}

/// Whether its service delivers to any of the route's recipients.
fn reaches(provider: &Provider, route: &Route) -> bool {
    let bare = |prefix: &str| prefix.trim_start_matches('+').to_owned();
    let meet = |one: &str, other: &str| bare(one).starts_with(&bare(other)) || bare(other).starts_with(&bare(one));
    let limits = provider.dialect.recipient_limits();
    let reached = |prefix: &String| limits.iter().any(|limit| meet(prefix, limit));
    limits.is_empty() || route.recipients.is_empty() || route.recipients.iter().any(reached)
}

/// Calls that nobody carried because of how things are set up here.
fn stop(loaded: &Loaded, config: &str, stopped: &Stopped) -> Check {
    let spoken = stopped.dialect.as_deref();
    let by = spoken.map_or_else(String::new, |dialect| format!(" in {dialect}'s API"));
    let what = match (stopped.cause, spoken) {
        (Cause::NotTranslatable, _) => "said what no provider of their route can carry",
        (Cause::NoProvider, _) => "went to recipients whom no route and no provider serves",
        (_, Some(_)) => "asked for what the sidecar does not let through",
        (_, None) => "belonged to no service that is known here, or came from a caller who may not call",
    };
    let says = format!(
        "{} of the last calls{by} {what}; the last was {} at {}, and its line in the log says more",
        stopped.count, stopped.verdict, stopped.at
    );
    let provider = loaded.proxy.providers.iter().find(|provider| spoken == Some(provider.dialect.name.as_str()));
    if let Some(provider) = provider {
        return Patient::new(provider, loaded, config).ours("calls", stopped.cause, &says);
    }
    let (kind, certainty, cause) = (Kind::Send, Certainty::Certain, stopped.cause);
    let evidence = Evidence { kind, cause, certainty, alternatives: &[], status: None, code: None, says: Some(&says), learned: &[] };
    let uncontrolled = loaded.listen.control.is_none();
    let context = Context { dialect: spoken.unwrap_or_default(), config, uncontrolled, ..Context::default() };
    Check::diagnosed("calls", diagnose(&evidence, &context))
}

/// The same cause and dialect in one entry, the newest first.
pub(super) fn grouped(stopped: impl Iterator<Item = Stopped>) -> Vec<Stopped> {
    let mut groups: BTreeMap<(Cause, Option<String>), Stopped> = BTreeMap::new();
    for one in stopped {
        groups.entry((one.cause, one.dialect.clone())).and_modify(|group| group.count += one.count).or_insert(one);
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests;
