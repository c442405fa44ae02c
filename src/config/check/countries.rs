//! `country` of routes and providers: settings that contradict each other.

use crate::config::checker::ConfigChecker;
use crate::config::raw::RawConfig;
use crate::config::spanned::ConfigString;
use crate::proxy::{Mode, Route, Settings};
use crate::sms::prefixes_overlap;

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
        } else if raw.country.is_none() {
            check_providers(checker, file, route);
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
