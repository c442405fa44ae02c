//! Tables: what was heard → which check says what, and that nothing else fails.

use super::*;
use crate::cli::doctor::check::Mark;
use crate::config::{Loaded, check_text};
use crate::dialect::Catalog;
use crate::sms::{Certainty, Outcome};

const CONFIG: &str = "[vaults.v]\nenv = {}\n[providers.alpha]\ndialect = \"twilio\"\ncredential = { vault = \"v\" }\nbase_url = \"https://sms.example/2010-04-01\"\n";

fn loaded() -> Loaded {
    check_text("c.toml", CONFIG, &Catalog::built_in()).0.expect("the config of this test is sound")
}

fn judged(answers: &Answers) -> Vec<Check> {
    let loaded = loaded();
    let patient = Patient::new(&loaded.proxy.providers[0], &loaded, "c.toml");
    let checks = judge(&patient, answers);
    assert_eq!(checks.iter().map(|check| check.name).collect::<Vec<_>>(), NAMES);
    checks
}

fn marks(checks: &[Check], mark: Mark) -> Vec<&'static str> {
    checks.iter().filter(|check| check.mark == mark).map(|check| check.name).collect()
}

fn asked(asks: Asks, heard: Heard) -> Asked {
    Asked { kind: Kind::Probe, asks: Some(asks), call: "GET /x".to_owned(), heard, tells_sandbox: asks == Asks::Account, guess: false }
}

fn no(cause: Cause, alternatives: &[Cause]) -> Heard {
    let finding = Finding {
        outcome: Outcome::Refused(cause),
        certainty: Certainty::Certain,
        alternatives: alternatives.to_vec(),
        code: None,
        says: None,
        retry_after: None,
    };
    Heard::Refused(Box::new(Refusal { finding, status: 403, learned: Vec::new() }))
}

fn of(asked: Vec<Asked>) -> Answers {
    Answers { asked, skew: Some(0), ..Answers::default() }
}

#[test]
fn each_refusal_fails_one_check_and_names_its_cause() {
    for cause in Cause::ALL.iter().copied().filter(|cause| *cause != Cause::TlsUntrusted) {
        let checks = judged(&of(vec![asked(Asks::Account, no(cause, &[]))]));
        assert_eq!(marks(&checks, Mark::Failed), [place(cause)], "{cause}");
        let failed = checks.iter().find(|check| check.mark == Mark::Failed).and_then(|check| check.cause);
        assert_eq!(failed, Some(cause));
        assert!(marks(&checks, Mark::Warning).is_empty(), "{cause}");
    }
}

#[test]
fn whoever_speaks_of_money_or_a_lock_knew_the_credential() {
    for (cause, alternatives, known) in [
        (Cause::BalanceEmpty, &[][..], true),
        (Cause::AccountSuspended, &[], true),
        (Cause::PermissionDenied, &[], true),
        (Cause::SandboxMismatch, &[], true),
        (Cause::PermissionDenied, &[Cause::CredentialRejected], false),
        (Cause::IpNotAllowed, &[], false),
        (Cause::EndpointWrong, &[], false),
        (Cause::Throttled, &[], false),
        (Cause::CredentialRejected, &[], false),
    ] {
        let checks = judged(&of(vec![asked(Asks::Account, no(cause, alternatives))]));
        assert_eq!(marks(&checks, Mark::Ok).contains(&"credential"), known, "{cause}");
    }
}

#[test]
fn a_healthy_account_is_ok_by_evidence() {
    let alive = vec![asked(Asks::Account, Heard::Alive(None)), asked(Asks::Balance, Heard::Alive(Some((12.3, "USD".to_owned()))))];
    assert_eq!(marks(&judged(&of(alive)), Mark::Ok), NAMES);
}

#[test]
fn what_no_answer_tells_is_not_known() {
    let checks = judged(&Answers { left_out: vec!["POST /send".to_owned()], ..of(Vec::new()) });
    assert_eq!(marks(&checks, Mark::Skipped), ["endpoint", "service", "credential", "account", "production", "balance", "addresses"]);
    assert!(checks[3].evidence.contains("POST /send") && checks[3].evidence.contains("--yes"), "{}", checks[3].evidence);
    let none = judged(&of(Vec::new()));
    assert!(none[3].evidence.contains("--send-to"), "{}", none[3].evidence);
    let bare = judged(&of(vec![Asked { asks: None, ..asked(Asks::Account, Heard::Answers(404)) }]));
    assert_eq!(marks(&bare, Mark::Ok), ["clock", "service"], "a bare request's 404 is no wrong address");
}

#[test]
fn a_wrong_clock_fails_by_itself_too() {
    let alive = of(vec![asked(Asks::Account, Heard::Alive(None))]);
    assert_eq!(marks(&judged(&Answers { skew: Some(900), ..alive.clone() }), Mark::Failed), ["clock"]);
    assert_eq!(marks(&judged(&Answers { skew: Some(-60), ..alive.clone() }), Mark::Warning), ["clock"]);
    assert!(marks(&judged(&Answers { skew: None, ..alive }), Mark::Skipped).contains(&"clock"));
}

#[test]
fn the_money_is_told_in_days_where_the_pace_is_known() {
    let with = |left: f64, spent| Answers { spent, ..of(vec![asked(Asks::Balance, Heard::Alive(Some((left, "UZS".to_owned()))))]) };
    for (left, spent, mark, word) in [
        (1_000.0, None, Mark::Ok, "1000 UZS left; how many days it lasts is not known"),
        (1_000.0, Some(0.0), Mark::Ok, "not known"),
        (1_000.0, Some(100.0), Mark::Ok, "about 10.0 days"),
        (1_000.0, Some(500.0), Mark::Warning, "about 2.0 days"),
    ] {
        let checks = judged(&with(left, spent));
        let balance = checks.iter().find(|check| check.name == "balance").unwrap();
        assert_eq!(balance.mark, mark, "{}", balance.evidence);
        assert!(balance.evidence.contains(word), "{}", balance.evidence);
    }
}

#[test]
fn what_was_never_seen_to_work_proves_nothing() {
    let guess = |heard| Asked { guess: true, ..asked(Asks::Credential, heard) };
    let checks = judged(&of(vec![guess(Heard::Alive(None))]));
    assert_eq!(marks(&checks, Mark::Ok), ["clock", "endpoint", "service"]);
    let told = |name: &str| checks.iter().find(|check| check.name == name).map(|check| check.evidence.clone()).unwrap();
    assert!(told("credential").contains("never seen") && told("credential") == told("addresses"), "{checks:?}");
    let known = judged(&of(vec![guess(Heard::Alive(None)), asked(Asks::Account, Heard::Alive(None))]));
    assert!(marks(&known, Mark::Ok).contains(&"credential"), "another question was seen to work");
    let odd = judged(&of(vec![guess(no(Cause::ReplyUnreadable, &[]))]));
    assert!(marks(&odd, Mark::Failed).is_empty() && marks(&odd, Mark::Skipped).contains(&"credential"), "{odd:?}");
    assert!(odd[3].evidence.contains("GET /x was answered in a way that tells nothing"), "{}", odd[3].evidence);
    let refused = judged(&of(vec![guess(no(Cause::CredentialRejected, &[]))]));
    assert_eq!(marks(&refused, Mark::Failed), ["credential"], "a refusal is one");
}
