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

/// A route before one of another country may take its national numbers.
fn check_order(checker: &mut ConfigChecker<'_>, file: &RawConfig, settings: &Settings) {
    let routes = &settings.routes;
    for (at, (route, raw)) in routes.iter().zip(&file.routes).enumerate() {
        if route.mode == Mode::Observe {
            continue;
        }
        let own = country_of(settings, route);
        let mut later = routes.iter().skip(at + 1);
        let taken = later.find_map(|other| {
            let taken = TakenNumbers::of(route, own, other, country_of(settings, other)?)?;
            may_share_requests(route, other).then_some((taken, other))
        });
        if let Some((taken, other)) = taken {
            checker.warn(raw.span(), taken.problem(route), taken.help(other));
        }
    }
}

/// The national numbers of a later route's country that a route takes.
struct TakenNumbers<'s> {
    /// The later route's country.
    code: &'s str,
    /// The country of the route that takes them.
    own: Option<&'s str>,
    /// They have the length of numbers of that country, and are read as such.
    are_read_as_own: bool,
}

impl<'s> TakenNumbers<'s> {
    fn of(
        route: &Route,
        own: Option<&'s NumberingPlan>,
        other: &Route,
        later: &'s NumberingPlan,
    ) -> Option<Self> {
        let code = later.code();
        let mut prefixes = route.recipients.iter();
        let are_read_as_own = own.is_some_and(|own| own.reads_as_national(later));
        let takes = match own.map(NumberingPlan::code) {
            None => takes_national_of(route, code),
            Some(own) if own == code => false,
            Some(_) if route.recipients.is_empty() => true,
            Some(own) if are_read_as_own => prefixes.any(|prefix| prefixes_overlap(prefix, own)),
            // In the other order it would be the same for the numbers of this route, but for fewer of them.
            Some(_) => shortest_prefix(route, code) < shortest_prefix(other, ""),
        };
        takes.then(|| Self {
            code,
            own: own.map(NumberingPlan::code),
            are_read_as_own,
        })
    }

    fn problem(&self, route: &Route) -> String {
        let code = self.code;
        let mut prefixes = route.recipients.iter();
        let first = prefixes.find(|prefix| !prefixes_overlap(prefix, code));
        let which = first.map_or(String::new(), |prefix| {
            format!(" that begin with {}", prefix.trim_start_matches('+'))
        });
        match self.own {
            Some(own) if self.are_read_as_own => {
                format!("this route reads the national numbers of +{code} as numbers of +{own}")
            }
            Some(own) => format!(
                "this route takes the national numbers of +{code}{which}, and its country is +{own}"
            ),
            None => format!(
                "this route takes the national numbers of +{code}{which}, and has no `country`"
            ),
        }
    }

    fn help(&self, other: &Route) -> String {
        let (code, name) = (self.code, &other.name);
        if self.are_read_as_own {
            format!(
                "let the backend write the numbers of the route `{name}` with +{code}: national numbers of both countries have the same length"
            )
        } else if other.recipients.is_empty() {
            format!(
                "add `recipients = [\"+{code}\"]` to the route `{name}`, and move it before this one; until then such a message is rejected"
            )
        } else {
            format!("move it behind the route `{name}`; until then such a message is rejected")
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

/// The length of the shortest prefix of a route that is not one of this country; a route without one has none that is
/// shorter.
fn shortest_prefix(route: &Route, code: &str) -> usize {
    let prefixes = route.recipients.iter();
    let others = prefixes.filter(|prefix| code.is_empty() || !prefixes_overlap(prefix, code));
    let lengths = others.map(|prefix| prefix.trim_start_matches('+').len());
    lengths.min().unwrap_or(usize::MAX)
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
