//! `[[routes]]`: which messages go to which providers, and which routes and providers
//! no message will ever see.

use std::time::Duration;

use toml::Spanned;

use crate::config::check::MODES;
use crate::config::check::checker::ConfigChecker;
use crate::config::raw::{self, RawConfig};
use crate::config::spanned::{ConfigString, in_file_order};
use crate::config::values;
use crate::proxy::{Mode, OnUnknown, Provider, Route};
use crate::sms::ProviderId;

/// For the whole call.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(8);
/// Attempts at one provider.
const DEFAULT_ATTEMPTS: u32 = 2;
/// How long an answered message is remembered.
const DEFAULT_DUPLICATE_WINDOW: Duration = Duration::from_secs(10);

pub(super) fn routes(judge: &mut ConfigChecker<'_>, file: &RawConfig, mode: Mode) -> Vec<Route> {
    if file.routes.is_empty() {
        return vec![route(judge, file, (0, &raw::RawRoute::default()), mode)];
    }
    let routes: Vec<Route> = file
        .routes
        .iter()
        .map(Spanned::get_ref)
        .enumerate()
        .map(|(at, raw)| route(judge, file, (at, raw), mode))
        .collect();
    check_duplicate_names(judge, file, &routes);
    check_shadowed(judge, file, &routes);
    check_unused_providers(judge, file, &routes);
    routes
}

/// One route; `at` is its place in the file.
fn route(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    (at, raw): (usize, &raw::RawRoute),
    mode: Mode,
) -> Route {
    check_references(judge, file, raw);
    let all = || {
        in_file_order(&file.providers)
            .into_iter()
            .map(|(name, _)| ProviderId::new(name.get_ref()))
            .collect()
    };
    let listed = |names: &Vec<ConfigString>| {
        names
            .iter()
            .map(|name| ProviderId::new(name.get_ref()))
            .collect()
    };
    Route {
        name: raw.name.as_ref().map_or_else(
            || {
                if file.routes.is_empty() {
                    "default".to_owned()
                } else {
                    format!("route-{}", at + 1)
                }
            },
            |name| name.get_ref().clone(),
        ),
        recipients: to_strings(&raw.recipients),
        callers: to_strings(&raw.callers),
        dialects: to_strings(&raw.dialects),
        providers: raw.providers.as_ref().map_or_else(all, listed),
        deadline: judge.parse_or(
            raw.deadline.as_ref(),
            DEFAULT_DEADLINE,
            values::positive_duration,
        ),
        attempts: usize::try_from(attempts(judge, raw)).unwrap_or(1),
        on_unknown: judge.choice_or(
            raw.on_unknown.as_ref(),
            OnUnknown::Failover,
            &[("failover", OnUnknown::Failover), ("stop", OnUnknown::Stop)],
        ),
        duplicate_window: judge.parse_or(
            raw.duplicate_window.as_ref(),
            DEFAULT_DUPLICATE_WINDOW,
            values::duration,
        ),
        prefer_listed: judge.choice_or(
            raw.prefer.as_ref(),
            false,
            &[("listed", true), ("native", false)],
        ),
        mode: judge.choice_or(raw.mode.as_ref(), mode, MODES),
    }
}

fn to_strings(words: &[ConfigString]) -> Vec<String> {
    words.iter().map(|word| word.get_ref().clone()).collect()
}

fn attempts(judge: &mut ConfigChecker<'_>, raw: &raw::RawRoute) -> u32 {
    let Some(number) = &raw.attempts else {
        return DEFAULT_ATTEMPTS;
    };
    if !(1..=10).contains(number.get_ref()) {
        judge.error(
            number.span(),
            "attempts at one provider are 1 to 10",
            "leave it out for 2",
        );
    }
    *number.get_ref()
}

fn check_references(judge: &mut ConfigChecker<'_>, file: &RawConfig, raw: &raw::RawRoute) {
    if let Some(name) = &raw.name {
        judge.require(name, values::identifier);
    }
    for word in &raw.recipients {
        judge.require(word, values::phone_prefix);
    }
    for word in &raw.callers {
        judge.check_reference(word, &file.callers, "caller");
    }
    let catalog = judge.catalog;
    let dialects: Vec<&str> = catalog
        .iter()
        .map(|dialect| dialect.name.as_str())
        .collect();
    for word in &raw.dialects {
        judge.check_name(word, &dialects, "dialect");
    }
    let listed = raw.providers.as_deref().unwrap_or_default();
    for (at, word) in listed.iter().enumerate() {
        judge.check_reference(word, &file.providers, "provider");
        if listed
            .iter()
            .take(at)
            .any(|earlier| earlier.get_ref() == word.get_ref())
        {
            judge.error(
                word.span(),
                "this provider is listed twice",
                "one place is enough; `attempts` says how often it is tried",
            );
        }
    }
    if let (Some([]), Some(name)) = (raw.providers.as_deref(), &raw.name) {
        judge.error(
            name.span(),
            "this route leads nowhere",
            "list its `providers`, or leave the key out for all",
        );
    }
}

/// Where a complaint about the whole route points: its name, else its header.
fn report_span(route: &Spanned<raw::RawRoute>) -> std::ops::Range<usize> {
    route
        .get_ref()
        .name
        .as_ref()
        .map_or_else(|| route.span(), Spanned::span)
}

fn check_duplicate_names(judge: &mut ConfigChecker<'_>, file: &RawConfig, routes: &[Route]) {
    for (at, (route, raw)) in routes.iter().zip(&file.routes).enumerate() {
        if routes
            .iter()
            .take(at)
            .any(|earlier| earlier.name == route.name)
        {
            judge.error(
                report_span(raw),
                "another route has this name",
                "metrics tell routes apart by their names: give it its own",
            );
        }
    }
}

fn check_shadowed(judge: &mut ConfigChecker<'_>, file: &RawConfig, routes: &[Route]) {
    for (at, (route, raw)) in routes.iter().zip(&file.routes).enumerate() {
        if let Some(earlier) = routes
            .iter()
            .take(at)
            .find(|earlier| shadows(earlier, route))
        {
            // A name that cannot be one may be anything: it is not repeated.
            let taker = if values::identifier(&earlier.name).is_ok() {
                format!("`{}`", earlier.name)
            } else {
                "a route".to_owned()
            };
            let help = format!(
                "the first match wins, and {taker} above takes everything this one would; put this one before it"
            );
            judge.warn(
                report_span(raw),
                "no message will ever take this route",
                help,
            );
        }
    }
}

/// Whether whatever matches `later` matches `earlier` too.
fn shadows(earlier: &Route, later: &Route) -> bool {
    let bare = |prefix: &str| prefix.trim_start_matches('+').to_owned();
    let begins = |long: &String| {
        earlier
            .recipients
            .iter()
            .any(|short| bare(long).starts_with(&bare(short)))
    };
    let within = |mine: &[String], theirs: &[String]| {
        theirs.is_empty() || (!mine.is_empty() && mine.iter().all(|one| theirs.contains(one)))
    };
    let recipients = earlier.recipients.is_empty()
        || (!later.recipients.is_empty() && later.recipients.iter().all(begins));
    recipients
        && within(&later.callers, &earlier.callers)
        && within(&later.dialects, &earlier.dialects)
}

fn check_unused_providers(judge: &mut ConfigChecker<'_>, file: &RawConfig, routes: &[Route]) {
    for (name, _) in in_file_order(&file.providers) {
        if !routes.iter().any(|route| {
            route
                .providers
                .iter()
                .any(|id| id.as_str() == name.get_ref())
        }) {
            let help = "it gets only what no route matches and speaks its dialect; list it in a route's `providers`, or take it away";
            judge.warn(name.span(), "no route uses this provider", help);
        }
    }
}

/// A time limit that can never be used up.
pub(super) fn check_timeouts(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    providers: &[Provider],
    routes: &[Route],
) {
    for (route, raw) in routes.iter().zip(&file.routes) {
        let Some(word) = &raw.get_ref().deadline else {
            continue;
        };
        let mut longer = providers.iter().filter(|provider| {
            route.providers.contains(&provider.id) && provider.timeout > route.deadline
        });
        if let Some(provider) = longer.next() {
            let help =
                "give the route more time, or the provider less: no time is left for another";
            judge.warn(
                word.span(),
                format!(
                    "one attempt at `{}` may take longer than the whole call",
                    provider.id
                ),
                help,
            );
        }
    }
}

/// A backup without a sender of its own gets what the backend wrote for another service: a number or an id of an
/// account there, which it refuses just when it is needed.
pub(super) fn check_backup_senders(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    providers: &[Provider],
    routes: &[Route],
) {
    let found = |id: &ProviderId| providers.iter().find(|provider| provider.id == *id);
    let acting = || routes.iter().filter(|route| route.mode == Mode::Act);
    let backs_up = |provider: &Provider, route: &Route| {
        let first = route.providers.first().and_then(found);
        let another = first.is_some_and(|first| first.dialect.name != provider.dialect.name);
        route.providers.contains(&provider.id) && another && route.dialects.is_empty()
    };
    for (name, _) in in_file_order(&file.providers) {
        let Some(provider) = found(&ProviderId::new(name.get_ref())) else {
            continue;
        };
        let says = provider.dialect.has_sender_field() && provider.sender.is_none();
        if says && acting().any(|route| backs_up(provider, route)) {
            let help = "set its `sender`: left out, a message that the backend wrote for another service goes under that one's sender";
            judge.warn(
                name.span(),
                "this provider stands in for another service and has no sender of its own",
                help,
            );
        }
    }
}

/// A provider whose service delivers to none of a route's recipients.
pub(super) fn check_recipient_limits(
    judge: &mut ConfigChecker<'_>,
    file: &RawConfig,
    providers: &[Provider],
) {
    let meet = |one: &str, other: &str| {
        let (one, other) = (one.trim_start_matches('+'), other.trim_start_matches('+'));
        one.starts_with(other) || other.starts_with(one)
    };
    for raw in file
        .routes
        .iter()
        .map(Spanned::get_ref)
        .filter(|raw| !raw.recipients.is_empty())
    {
        for word in raw.providers.iter().flatten() {
            let Some(provider) = providers
                .iter()
                .find(|provider| provider.id.as_str() == word.get_ref())
            else {
                continue;
            };
            let limits = provider.dialect.recipient_prefixes();
            let reached = raw
                .recipients
                .iter()
                .any(|prefix| limits.iter().any(|limit| meet(prefix.get_ref(), limit)));
            if !limits.is_empty() && !reached {
                let help = format!(
                    "it delivers to {}; take it out of this route",
                    limits.join(", ")
                );
                judge.warn(
                    word.span(),
                    "this provider reaches none of the route's recipients",
                    help,
                );
            }
        }
    }
}
