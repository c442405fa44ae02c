//! `[[routes]]`: which messages go to which providers, and which routes and providers
//! no message can reach.

use std::time::Duration;

use toml::Spanned;

use crate::config::checker::{ConfigChecker, Reference};
use crate::config::choices::{MODES, ON_UNKNOWN, PREFERENCES};
use crate::config::raw::{self, RawConfig};
use crate::config::spanned::{ConfigString, in_file_order, string_list};
use crate::config::values;
use crate::provider::Provider;
use crate::proxy::{Mode, OnUnknown, Route, Settings};
use crate::sms::{ProviderId, prefix_covers, prefixes_overlap};

/// For the whole request.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(8);
/// Attempts at one provider.
const DEFAULT_ATTEMPTS: u32 = 2;
/// How long an answered message is remembered.
const DEFAULT_DUPLICATE_WINDOW: Duration = Duration::from_secs(10);

pub(super) fn routes(checker: &mut ConfigChecker<'_>, file: &RawConfig, mode: Mode) -> Vec<Route> {
    if file.routes.is_empty() {
        let defaults = raw::RawRoute::default();
        return vec![route(checker, file, &defaults, "default", mode)];
    }
    let routes: Vec<Route> = file
        .routes
        .iter()
        .map(Spanned::get_ref)
        .enumerate()
        .map(|(at, raw)| route(checker, file, raw, &format!("route-{}", at + 1), mode))
        .collect();
    check_duplicate_names(checker, file, &routes);
    check_shadowed(checker, file, &routes);
    check_unused_providers(checker, file, &routes);
    routes
}

fn route(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    raw: &raw::RawRoute,
    default_name: &str,
    mode: Mode,
) -> Route {
    check_references(checker, file, raw);
    Route {
        name: raw
            .name
            .as_ref()
            .map_or_else(|| default_name.to_owned(), |name| name.get_ref().clone()),
        recipients: string_list(&raw.recipients),
        callers: string_list(&raw.callers),
        dialects: string_list(&raw.dialects),
        providers: route_providers(file, raw),
        deadline: checker.parse_or(
            raw.deadline.as_ref(),
            DEFAULT_DEADLINE,
            values::positive_duration,
        ),
        attempts: usize::try_from(attempts(checker, raw)).unwrap_or(1),
        on_unknown: checker.choice_or(raw.on_unknown.as_ref(), OnUnknown::Failover, ON_UNKNOWN),
        duplicate_window: checker.parse_or(
            raw.duplicate_window.as_ref(),
            DEFAULT_DUPLICATE_WINDOW,
            values::duration,
        ),
        prefer_listed: checker.choice_or(raw.prefer.as_ref(), false, PREFERENCES),
        mode: checker.choice_or(raw.mode.as_ref(), mode, MODES),
        country: checker.parse_or(raw.country.as_ref(), None, values::country),
    }
}

/// The listed providers, else all in the file's order.
fn route_providers(file: &RawConfig, raw: &raw::RawRoute) -> Vec<ProviderId> {
    let names: Vec<&ConfigString> = raw.providers.as_ref().map_or_else(
        || {
            let all = in_file_order(&file.providers);
            all.into_iter().map(|(name, _)| name).collect()
        },
        |listed| listed.iter().collect(),
    );
    names
        .into_iter()
        .map(|name| ProviderId::new(name.get_ref()))
        .collect()
}

fn attempts(checker: &mut ConfigChecker<'_>, raw: &raw::RawRoute) -> u32 {
    let Some(number) = &raw.attempts else {
        return DEFAULT_ATTEMPTS;
    };
    if !(1..=10).contains(number.get_ref()) {
        checker.error(
            number.span(),
            "attempts at one provider are 1 to 10",
            "leave it out for 2",
        );
    }
    *number.get_ref()
}

fn check_references(checker: &mut ConfigChecker<'_>, file: &RawConfig, raw: &raw::RawRoute) {
    if let Some(name) = &raw.name {
        checker.require(name, values::identifier);
    }
    for word in &raw.recipients {
        checker.require(word, values::phone_prefix);
    }
    for word in &raw.callers {
        checker.check_reference(word, &file.callers, Reference::Caller);
    }
    let catalog = checker.catalog;
    let dialects: Vec<&str> = catalog.names().collect();
    for word in &raw.dialects {
        checker.check_name(word, &dialects, Reference::Dialect);
    }
    check_listed_providers(checker, file, raw);
}

fn check_listed_providers(checker: &mut ConfigChecker<'_>, file: &RawConfig, raw: &raw::RawRoute) {
    let listed = raw.providers.as_deref().unwrap_or_default();
    for (at, word) in listed.iter().enumerate() {
        checker.check_reference(word, &file.providers, Reference::Provider);
        if listed
            .iter()
            .take(at)
            .any(|earlier| earlier.get_ref() == word.get_ref())
        {
            checker.error(
                word.span(),
                "this provider is listed twice",
                "list it once; `attempts` sets how often it is tried",
            );
        }
    }
    if let (Some([]), Some(name)) = (raw.providers.as_deref(), &raw.name) {
        checker.error(
            name.span(),
            "this route has no provider",
            "list its `providers`, or leave the key out to use all",
        );
    }
}

/// Where a problem of the whole route points: its name, else its header.
fn report_span(route: &Spanned<raw::RawRoute>) -> std::ops::Range<usize> {
    route
        .get_ref()
        .name
        .as_ref()
        .map_or_else(|| route.span(), Spanned::span)
}

fn check_duplicate_names(checker: &mut ConfigChecker<'_>, file: &RawConfig, routes: &[Route]) {
    for (at, (route, raw)) in routes.iter().zip(&file.routes).enumerate() {
        if routes
            .iter()
            .take(at)
            .any(|earlier| earlier.name == route.name)
        {
            checker.error(
                report_span(raw),
                "another route has this name",
                "metrics distinguish routes by their names: give each its own",
            );
        }
    }
}

fn check_shadowed(checker: &mut ConfigChecker<'_>, file: &RawConfig, routes: &[Route]) {
    for (at, (route, raw)) in routes.iter().zip(&file.routes).enumerate() {
        if let Some(earlier) = routes
            .iter()
            .take(at)
            .find(|earlier| shadows(earlier, route))
        {
            // An invalid name may be a misplaced secret: it is not repeated.
            let earlier_route = if values::identifier(&earlier.name).is_ok() {
                format!("`{}`", earlier.name)
            } else {
                "a route".to_owned()
            };
            let help = format!(
                "the first match wins, and {earlier_route} above matches everything that this one does; move this one before it"
            );
            checker.warn(report_span(raw), "no message can match this route", help);
        }
    }
}

/// Whether everything that matches `later` matches `earlier` too.
fn shadows(earlier: &Route, later: &Route) -> bool {
    let begins = |longer: &String| {
        let mut prefixes = earlier.recipients.iter();
        prefixes.any(|shorter| prefix_covers(shorter, longer))
    };
    let within = |prefixes: &[String], allowed: &[String]| {
        allowed.is_empty()
            || (!prefixes.is_empty() && prefixes.iter().all(|one| allowed.contains(one)))
    };
    let recipients = earlier.recipients.is_empty()
        || (!later.recipients.is_empty() && later.recipients.iter().all(begins));
    recipients
        && within(&later.callers, &earlier.callers)
        && within(&later.dialects, &earlier.dialects)
}

fn check_unused_providers(checker: &mut ConfigChecker<'_>, file: &RawConfig, routes: &[Route]) {
    for (name, _) in in_file_order(&file.providers) {
        if !routes.iter().any(|route| {
            route
                .providers
                .iter()
                .any(|id| id.as_str() == name.get_ref())
        }) {
            let help = "it gets only messages in its dialect that no route matches; list it in a route's `providers`, or remove it";
            checker.warn(name.span(), "no route uses this provider", help);
        }
    }
}

/// Warns of a provider whose attempt may outlast the route's deadline.
pub(super) fn check_timeouts(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    settings: &Settings,
) {
    for (route, raw) in settings.routes.iter().zip(&file.routes) {
        let Some(word) = &raw.get_ref().deadline else {
            continue;
        };
        let mut longer = settings.providers.iter().filter(|provider| {
            route.providers.contains(&provider.id) && provider.timeout > route.deadline
        });
        if let Some(provider) = longer.next() {
            let help = "raise the route's `deadline` or lower the provider's `timeout`: no time would be left for another provider";
            checker.warn(
                word.span(),
                format!(
                    "one attempt at `{}` may take longer than the whole request",
                    provider.id
                ),
                help,
            );
        }
    }
}

/// A backup without a sender of its own gets the one that the backend wrote for another service: a number or an id of
/// an account there, which the backup would reject just when it is needed.
pub(super) fn check_backup_senders(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    settings: &Settings,
) {
    let found = |id: &ProviderId| {
        settings
            .providers
            .iter()
            .find(|provider| provider.id == *id)
    };
    let acting = || {
        settings
            .routes
            .iter()
            .filter(|route| route.mode == Mode::Act)
    };
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
            let help = "set its `sender`: without it a message goes out under the sender that the backend wrote for the other service";
            checker.warn(
                name.span(),
                "this provider is a backup for another service and has no `sender`",
                help,
            );
        }
    }
}

/// Warns of a provider whose service delivers to none of a route's recipients.
pub(super) fn check_recipient_limits(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    providers: &[Provider],
) {
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
            let reached = raw.recipients.iter().any(|prefix| {
                limits
                    .iter()
                    .any(|limit| prefixes_overlap(prefix.get_ref(), limit))
            });
            if !limits.is_empty() && !reached {
                let help = format!(
                    "it delivers to {} only; remove it from this route",
                    limits.join(", ")
                );
                checker.warn(
                    word.span(),
                    "this provider reaches none of the route's recipients",
                    help,
                );
            }
        }
    }
}
