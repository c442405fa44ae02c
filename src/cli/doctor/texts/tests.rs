//! Tables: what the config sets and the service lists → what is said of it.

use super::*;
use crate::cli::doctor::check::Mark;
use crate::config::{Loaded, check_text};
use crate::dialect::Catalog;

const HEAD: &str = "[vaults.v]\nenv = {}\n[providers.alpha]\ndialect = \"eskiz\"\ncredential = { vault = \"v\" }\n";
const LOGIN: &str = "[templates.login]\ntext = \"app: kod {code}\"\ntexts = { alpha = \"app ilovasi kodi: {code}\" }\n";
const RESET: &str = "[templates.reset]\ntext = \"app: parol {code}\"\n";

fn loaded(rest: &str) -> Loaded {
    let (loaded, problems) = check_text("c.toml", &format!("{HEAD}{rest}"), &Catalog::built_in());
    loaded.unwrap_or_else(|| panic!("{problems:?}"))
}

fn judged(rest: &str, listed: &Heard<Vec<(String, Approval)>>) -> Check {
    let loaded = loaded(rest);
    template(&Patient::new(&loaded.proxy.providers[0], &loaded, "c.toml"), &loaded.proxy.templates, listed)
}

fn told(states: &[(&str, Approval)]) -> Heard<Vec<(String, Approval)>> {
    Heard::Told(states.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect(), "GET /list".to_owned())
}

#[test]
fn each_text_goes_in_its_own_words_or_the_backends_or_not_at_all() {
    let words = |rest: &str| {
        let loaded = loaded(rest);
        let worded = worded(&Patient::new(&loaded.proxy.providers[0], &loaded, "c.toml"), &loaded.proxy.templates);
        worded.into_iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>()
    };
    assert_eq!(words(&format!("{LOGIN}{RESET}")), ["login=app ilovasi kodi: {code}", "reset=app: parol {code}"]);
    assert_eq!(words(&format!("templates = \"only\"\n{LOGIN}{RESET}")), ["login=app ilovasi kodi: {code}"]);
    assert_eq!(words(&format!("{RESET}ids = {{ eskiz = \"7\" }}\n")), [""; 0]);
}

#[test]
fn what_the_service_says_of_a_text_decides() {
    use Approval::{Alike, Approved, Odd, Pending, Rejected, Unlisted};
    for (states, mark, sure, words) in [
        (&[("login", Approved), ("reset", Approved)][..], Mark::Ok, None, "approved: login, reset"),
        (&[("login", Approved), ("reset", Pending)], Mark::Failed, Some(Certainty::Certain), "reset waits for approval"),
        (&[("login", Rejected), ("reset", Approved)], Mark::Failed, Some(Certainty::Certain), "login was rejected"),
        (&[("login", Unlisted), ("reset", Approved)], Mark::Failed, Some(Certainty::Likely), "login is not among the texts there"),
        (&[("login", Odd), ("reset", Approved)], Mark::Skipped, None, "login stands in a state"),
        (&[("login", Alike), ("reset", Approved)], Mark::Skipped, None, "login is like one that is approved"),
    ] {
        let check = judged(&format!("{LOGIN}{RESET}"), &told(states));
        assert_eq!((check.mark, check.certainty), (mark, sure), "{}", check.evidence);
        assert!(check.evidence.contains(words) && check.evidence.contains("GET /list"), "{}", check.evidence);
        assert_eq!(check.cause.is_some(), mark == Mark::Failed);
    }
}

#[test]
fn what_the_config_lacks_is_told_whatever_the_service_lists() {
    let only = format!("templates = \"only\"\n{LOGIN}{RESET}");
    let check = judged(&only, &told(&[("login", Approval::Approved)]));
    assert_eq!(check.mark, Mark::Warning);
    assert!(
        check.evidence.starts_with("reset have no approved form here") && check.evidence.ends_with("by GET /list"),
        "{}",
        check.evidence
    );
    assert_eq!(judged(&only, &told(&[("login", Approval::Rejected)])).mark, Mark::Failed);
    let none = judged("templates = \"only\"\n", &told(&[]));
    assert_eq!((none.mark, none.cause), (Mark::Failed, Some(Cause::TemplateNotApproved)));
}

#[test]
fn a_service_that_does_not_tell_is_said_not_to() {
    let untold = judged(LOGIN, &Heard::Untold);
    assert_eq!(untold.mark, Mark::Ok);
    assert!(untold.evidence.contains("eskiz does not tell whether they are approved"), "{}", untold.evidence);
    assert!(judged("", &Heard::Untold).evidence.contains("does not tell which texts it would refuse"));
    assert!(judged(LOGIN, &Heard::Silent("GET /list".into())).evidence.contains("GET /list did not tell"));
    assert_eq!(judged(LOGIN, &Heard::Unasked).evidence, "login: the config has the approved form of each");
}

#[test]
fn a_sender_is_on_the_list_or_not_or_the_list_is_none_for_it() {
    let said = |listed: &Heard<bool>| {
        let loaded = loaded("sender = \"+12025550123\"\n");
        sender(&Patient::new(&loaded.proxy.providers[0], &loaded, "c.toml"), listed)
    };
    let call = || "GET /list".to_owned();
    for (listed, mark, words) in [
        (Heard::Told(true, call()), Mark::Ok, "is among those that GET /list lists"),
        (Heard::Told(false, call()), Mark::Failed, "is not among those that GET /list lists"),
        (Heard::Silent(call()), Mark::Skipped, "GET /list did not tell"),
        (Heard::Untold, Mark::Skipped, "lists numbers alone"),
        (Heard::Unasked, Mark::Skipped, "was not asked"),
    ] {
        let check = said(&listed);
        assert_eq!(check.mark, mark, "{}", check.evidence);
        assert!(check.evidence.contains(words) && !check.evidence.contains("2025550123"), "{}", check.evidence);
    }
    assert_eq!(said(&Heard::Told(false, call())).certainty, Some(Certainty::Likely));
}

#[test]
fn a_text_is_one_of_many_until_none_is_left() {
    use Approval::{Approved, Odd, Rejected, Unlisted};
    let partial = |rest: &str, states: &[(&str, Approval)]| judged(rest, &told(states)).is_partial;
    let both = format!("{LOGIN}{RESET}");
    assert!(partial(&both, &[("login", Rejected), ("reset", Approved)]));
    assert!(partial(&both, &[("login", Rejected), ("reset", Odd)]));
    assert!(!partial(&both, &[("login", Rejected), ("reset", Unlisted)]));
    let by_number = format!("{LOGIN}{RESET}ids = {{ eskiz = \"7\" }}\n");
    assert!(partial(&by_number, &[("login", Rejected)]), "the other goes by its number");
    assert!(!judged("templates = \"only\"\n", &told(&[])).is_partial);
}
