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
    let members: Vec<(&Provider, Option<Cause>)> =
        route.providers.iter().filter_map(found).map(|provider| (provider, unable(provider, route, seen))).collect();
    let able: Vec<&str> = members.iter().filter(|(_, cause)| cause.is_none()).map(|(provider, _)| provider.id.as_str()).collect();
    let not: Vec<String> = members.iter().filter_map(|(provider, cause)| Some(format!("{} ({})", provider.id, (*cause)?))).collect();
    match (able.as_slice(), members.first()) {
        ([], Some((first, Some(cause)))) => {
            let says = format!("no provider of this route can deliver now: {}", not.join(", "));
            Patient::new(first, loaded, config).ours("delivery", *cause, &says)
        }
        (able, _) => {
            let not = if not.is_empty() { String::new() } else { format!("; not by {}", not.join(", ")) };
            let by: Vec<String> = able.iter().map(|id| format!("{id}{}", doubts(id, seen.0))).collect();
            Check::ok("delivery", format!("nothing that was asked speaks against {}{not}", by.join(", then ")))
        }
    }
}

/// What a provider that nothing speaks against was not asked, or could not say: it may fail all the same.
fn doubts(id: &str, checks: &[Check]) -> String {
    if checks.iter().any(|check| check.about == id && check.mark == Mark::Failed && check.name == TEXTS) {
        return format!(" (not for every text, as `{TEXTS}` says)");
    }
    let unknown =
        |check: &&Check| check.about == id && check.mark == Mark::Skipped && matches!(check.name, "credential" | "account" | "balance");
    let names: Vec<&str> = checks.iter().filter(unknown).map(|check| check.name).collect();
    if names.is_empty() { String::new() } else { format!(" (not known: {}; only a send shows it)", names.join(", ")) }
}

/// Why a provider delivers nothing on this route at this moment; none: nothing speaks against it.
fn unable(provider: &Provider, route: &Route, (checks, running): (&[Check], &Running)) -> Option<Cause> {
    let id = provider.id.as_str();
    // One text that is not approved stops that text, not the others.
    let stops = |check: &&Check| check.about == id && check.mark == Mark::Failed && check.name != TEXTS;
    let failed = checks.iter().find(stops).map(|check| check.cause);
    let reach = (!reaches(provider, route)).then_some(Cause::NotTranslatable);
    reach.or_else(|| failed.map(|cause| cause.unwrap_or(Cause::Unexplained))).or_else(|| running.closed(id))
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
    let context = Context { dialect: spoken.unwrap_or_default(), config, ..Context::default() };
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
