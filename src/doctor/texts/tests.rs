//! Tables: what the config sets and the service lists → the report.

use super::*;
use crate::config::{Config, check_text};
use crate::dialect::Catalog;
use crate::doctor::Setup;
use crate::doctor::check::CheckResult;

const HEAD: &str = "[vaults.v]\nenv = {}\n[providers.alpha]\ndialect = \"eskiz\"\ncredential = { vault = \"v\" }\n";
const LOGIN: &str = "[templates.login]\ntext = \"app: kod {code}\"\ntexts = { alpha = \"app ilovasi kodi: {code}\" }\n";
const RESET: &str = "[templates.reset]\ntext = \"app: parol {code}\"\n";

fn loaded(rest: &str) -> Config {
    let (loaded, problems) = check_text("c.toml", &format!("{HEAD}{rest}"), &Catalog::built_in());
    loaded.unwrap_or_else(|| panic!("{problems:?}"))
}

fn judged(rest: &str, listed: &ListingOutcome<Vec<(String, Approval)>>) -> Check {
    let loaded = loaded(rest);
    template_check(
        &ProviderCheck::new(&loaded.proxy.providers[0], &Setup::for_test(&loaded)),
        &loaded.proxy.templates,
        listed,
    )
}

fn listed_texts(states: &[(&str, Approval)]) -> ListingOutcome<Vec<(String, Approval)>> {
    ListingOutcome::Listed(
        states
            .iter()
            .map(|(name, state)| ((*name).to_owned(), *state))
            .collect(),
        "GET /list".to_owned(),
    )
}

#[test]
fn each_text_is_sent_as_its_own_or_the_backends_or_not_sent() {
    let words = |rest: &str| {
        let loaded = loaded(rest);
        let worded = provider_texts(
            &ProviderCheck::new(&loaded.proxy.providers[0], &Setup::for_test(&loaded)),
            &loaded.proxy.templates,
        );
        worded
            .into_iter()
            .map(|(name, text)| format!("{name}={text}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(&format!("{LOGIN}{RESET}")),
        ["login=app ilovasi kodi: {code}", "reset=app: parol {code}"]
    );
    assert_eq!(
        words(&format!("templates = \"only\"\n{LOGIN}{RESET}")),
        ["login=app ilovasi kodi: {code}"]
    );
    assert_eq!(
        words(&format!("{RESET}ids = {{ eskiz = \"7\" }}\n")),
        [""; 0]
    );
}

#[test]
fn the_services_approval_state_decides() {
    use Approval::{Approved, Pending, Rejected, Similar, UnknownStatus, Unlisted};
    for (states, mark, sure, words) in [
        (
            &[("login", Approved), ("reset", Approved)][..],
            CheckResult::Ok,
            None,
            "approved: login, reset",
        ),
        (
            &[("login", Approved), ("reset", Pending)],
            CheckResult::Failed,
            Some(Certainty::Certain),
            "reset waits for approval",
        ),
        (
            &[("login", Rejected), ("reset", Approved)],
            CheckResult::Failed,
            Some(Certainty::Certain),
            "login was rejected",
        ),
        (
            &[("login", Unlisted), ("reset", Approved)],
            CheckResult::Failed,
            Some(Certainty::Likely),
            "login is not among the listed texts",
        ),
        (
            &[("login", UnknownStatus), ("reset", Approved)],
            CheckResult::Skipped,
            None,
            "login has a status that",
        ),
        (
            &[("login", Similar), ("reset", Approved)],
            CheckResult::Skipped,
            None,
            "login is similar to an approved text",
        ),
    ] {
        let check = judged(&format!("{LOGIN}{RESET}"), &listed_texts(states));
        assert_eq!(
            (check.result, check.certainty),
            (mark, sure),
            "{}",
            check.evidence
        );
        assert!(
            check.evidence.contains(words) && check.evidence.contains("GET /list"),
            "{}",
            check.evidence
        );
        assert_eq!(check.cause.is_some(), mark == CheckResult::Failed);
    }
}

#[test]
fn missing_config_is_reported_whatever_the_service_lists() {
    let only = format!("templates = \"only\"\n{LOGIN}{RESET}");
    let check = judged(&only, &listed_texts(&[("login", Approval::Approved)]));
    assert_eq!(check.result, CheckResult::Warning);
    assert!(
        check
            .evidence
            .starts_with("reset have no approved text here")
            && check.evidence.ends_with("by GET /list"),
        "{}",
        check.evidence
    );
    assert_eq!(
        judged(&only, &listed_texts(&[("login", Approval::Rejected)])).result,
        CheckResult::Failed
    );
    let none = judged("templates = \"only\"\n", &listed_texts(&[]));
    assert_eq!(
        (none.result, none.cause),
        (CheckResult::Failed, Some(Cause::TemplateNotApproved))
    );
}

#[test]
fn a_service_without_a_list_is_reported_as_such() {
    let untold = judged(LOGIN, &ListingOutcome::Unsupported);
    assert_eq!(untold.result, CheckResult::Ok);
    assert!(
        untold
            .evidence
            .contains("eskiz does not report whether they are approved"),
        "{}",
        untold.evidence
    );
    assert!(
        judged("", &ListingOutcome::Unsupported)
            .evidence
            .contains("does not report which texts it would reject")
    );
    assert!(
        judged(LOGIN, &ListingOutcome::Unreadable("GET /list".into()))
            .evidence
            .contains("GET /list does not show")
    );
    assert_eq!(
        judged(LOGIN, &ListingOutcome::NotQueried).evidence,
        "login: the config has an approved text for each"
    );
}

#[test]
fn a_sender_is_on_the_list_or_not_or_the_list_is_none_for_it() {
    let sender_check_for = |listed: &ListingOutcome<bool>| {
        let loaded = loaded("sender = \"+12025550123\"\n");
        sender_check(
            &ProviderCheck::new(&loaded.proxy.providers[0], &Setup::for_test(&loaded)),
            listed,
        )
    };
    let call = || "GET /list".to_owned();
    for (listed, mark, words) in [
        (
            ListingOutcome::Listed(true, call()),
            CheckResult::Ok,
            "is among those that GET /list lists",
        ),
        (
            ListingOutcome::Listed(false, call()),
            CheckResult::Failed,
            "is not among those that GET /list lists",
        ),
        (
            ListingOutcome::Unreadable(call()),
            CheckResult::Skipped,
            "GET /list does not show",
        ),
        (
            ListingOutcome::Unsupported,
            CheckResult::Skipped,
            "lists only numbers",
        ),
        (
            ListingOutcome::NotQueried,
            CheckResult::Skipped,
            "was not checked",
        ),
    ] {
        let check = sender_check_for(&listed);
        assert_eq!(check.result, mark, "{}", check.evidence);
        assert!(
            check.evidence.contains(words) && !check.evidence.contains("2025550123"),
            "{}",
            check.evidence
        );
    }
    assert_eq!(
        sender_check_for(&ListingOutcome::Listed(false, call())).certainty,
        Some(Certainty::Likely)
    );
}

#[test]
fn a_text_is_one_of_many_until_none_is_left() {
    use Approval::{Approved, Rejected, UnknownStatus, Unlisted};
    let partial =
        |rest: &str, states: &[(&str, Approval)]| judged(rest, &listed_texts(states)).is_partial;
    let both = format!("{LOGIN}{RESET}");
    assert!(partial(&both, &[("login", Rejected), ("reset", Approved)]));
    assert!(partial(
        &both,
        &[("login", Rejected), ("reset", UnknownStatus)]
    ));
    assert!(!partial(&both, &[("login", Rejected), ("reset", Unlisted)]));
    let by_number = format!("{LOGIN}{RESET}ids = {{ eskiz = \"7\" }}\n");
    assert!(
        partial(&by_number, &[("login", Rejected)]),
        "the other goes by its number"
    );
    assert!(!judged("templates = \"only\"\n", &listed_texts(&[])).is_partial);
}
