//! `country` of routes and providers: settings that contradict each other.

use crate::config::checker::ConfigChecker;
use crate::config::raw::RawConfig;
use crate::config::spanned::ConfigString;
use crate::proxy::{Mode, Route, Settings};
use crate::sms::{NumberingPlan, prefixes_overlap};

/// Warns of a `country` that changes no number, or not as it says.
pub(super) fn check_countries(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    settings: &Settings,
) {
    for (route, raw) in settings.routes.iter().zip(&file.routes) {
        let raw = raw.get_ref();
        if let (Some(word), Some(plan)) = (&raw.country, &route.country) {
            check_reach(checker, word, plan.code(), route);
            check_overridden(checker, file, route, plan.code());
        } else if raw.country.is_none() {
            check_providers(checker, file, route);
        }
    }
    check_order(checker, file, settings);
    check_lengths(checker, file, settings);
}

/// A route without a country before one that has it takes its national numbers, and nothing is sent to them.
fn check_order(checker: &mut ConfigChecker<'_>, file: &RawConfig, settings: &Settings) {
    let routes = &settings.routes;
    for (at, (route, raw)) in routes.iter().zip(&file.routes).enumerate() {
        if country_of(settings, route).is_some() || route.mode == Mode::Observe {
            continue;
        }
        let mut later = routes.iter().skip(at + 1);
        let shadowed = later.find_map(|other| {
            let code = country_of(settings, other)?.code();
            (may_share_requests(route, other) && takes_national_of(route, code))
                .then_some((other, code))
        });
        if let Some((other, code)) = shadowed {
            let first = route.recipients.first();
            let which = first.map_or(String::new(), |prefix| {
                format!(" that begin with {}", prefix.trim_start_matches('+'))
            });
            checker.warn(
                raw.span(),
                format!(
                    "this route takes the national numbers of +{code}{which}, and has no `country`"
                ),
                format!(
                    "move it behind the route `{}`; until then such a message is rejected",
                    other.name
                ),
            );
        }
    }
}

/// Whether a caller and a dialect can match both.
fn may_share_requests(one: &Route, other: &Route) -> bool {
    let overlap = |one: &[String], other: &[String]| {
        one.is_empty() || other.is_empty() || one.iter().any(|name| other.contains(name))
    };
    overlap(&one.callers, &other.callers) && overlap(&one.dialects, &other.dialects)
}

/// Whether a national number of this country can begin with a prefix of the route.
fn takes_national_of(route: &Route, code: &str) -> bool {
    let mut prefixes = route.recipients.iter();
    route.recipients.is_empty() || prefixes.any(|prefix| !prefixes_overlap(prefix, code))
}

/// Where national mobile numbers are as long as numbers abroad, only a `+` tells them apart.
fn check_lengths(checker: &mut ConfigChecker<'_>, file: &RawConfig, settings: &Settings) {
    let routes = file.routes.iter().zip(&settings.routes);
    let of_routes = routes.map(|(raw, route)| (&raw.get_ref().country, route.country.as_ref()));
    let of_providers = settings.providers.iter().map(|provider| {
        let mut raw = file.providers.iter();
        let raw = raw.find(|(name, _)| name.get_ref() == provider.id.as_str());
        (raw.map(|(_, raw)| &raw.country), provider.country.as_ref())
    });
    let of_routes = of_routes.map(|(word, plan)| (Some(word), plan));
    for (word, plan) in of_routes.chain(of_providers) {
        let (Some(Some(word)), Some(plan)) = (word, plan) else {
            continue;
        };
        if plan.has_mobile_numbers_like_those_abroad() {
            let (code, length) = (plan.code(), plan.longest_mobile());
            checker.warn(
                word.span(),
                format!("a number of another country without + can be read as one of +{code}"),
                format!("let the backend write numbers abroad with +: mobile numbers of +{code} have up to {length} digits"),
            );
        }
    }
}

/// The country of a route, as the proxy finds it.
fn country_of<'s>(settings: &'s Settings, route: &'s Route) -> Option<&'s NumberingPlan> {
    route.country.as_ref().or_else(|| {
        let mut providers = route.providers.iter();
        providers.find_map(|id| {
            let mut known = settings.providers.iter();
            known.find(|provider| provider.id == *id)?.country.as_ref()
        })
    })
}

/// The country of the route decides: that of a provider has no effect there.
fn check_overridden(checker: &mut ConfigChecker<'_>, file: &RawConfig, route: &Route, own: &str) {
    for (id, raw) in &file.providers {
        let is_listed = route
            .providers
            .iter()
            .any(|own| own.as_str() == id.get_ref());
        let Some(word) = raw.country.as_ref().filter(|_| is_listed) else {
            continue;
        };
        if word.get_ref() != own {
            checker.warn(
                word.span(),
                format!(
                    "the route `{}` has country = \"{own}\", which takes precedence",
                    route.name
                ),
                "remove one of them: a number means the same at each provider of a route",
            );
        }
    }
}

fn check_reach(checker: &mut ConfigChecker<'_>, word: &ConfigString, code: &str, route: &Route) {
    if route.mode == Mode::Observe {
        checker.warn(
            word.span(),
            "`country` has no effect in observe mode",
            "observed requests pass unchanged; leave it until the route acts",
        );
    }
    let mut prefixes = route.recipients.iter();
    if !route.recipients.is_empty() && !prefixes.any(|prefix| prefixes_overlap(prefix, code)) {
        checker.warn(
            word.span(),
            "no number of this country can match this route",
            format!(
                "add \"+{code}\" to its `recipients`, or set `country` on the route that has it"
            ),
        );
    }
}

/// The first provider that sets a country decides for all: a number has one meaning in a request.
fn check_providers(checker: &mut ConfigChecker<'_>, file: &RawConfig, route: &Route) {
    let mut decisive: Option<&str> = None;
    for id in &route.providers {
        let raw = file
            .providers
            .iter()
            .find(|(name, _)| name.get_ref() == id.as_str());
        let Some(word) = raw.and_then(|(_, raw)| raw.country.as_ref()) else {
            continue;
        };
        let code = word.get_ref().as_str();
        if decisive.is_some_and(|first| first != code) {
            checker.warn(
                word.span(),
                "another provider of the same route sets another country, which takes precedence",
                "set `country` on the routes instead: a number means the same at each of their providers",
            );
        }
        decisive.get_or_insert(code);
    }
}
