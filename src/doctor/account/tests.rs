//! Tables: the replies → the result of each check, and that nothing else fails.

use super::*;
use crate::config::{Config, check_text};
use crate::diagnosis::{EvidenceSource, Implication};
use crate::dialect::{Catalog, Classification};
use crate::doctor::Setup;
use crate::doctor::check::CheckResult;
use crate::sms::{Certainty, Outcome};

const CONFIG: &str = "[vaults.v]\nenv = {}\n[providers.alpha]\ndialect = \"twilio\"\ncredential = { vault = \"v\" }\nbase_url = \"https://sms.example/2010-04-01\"\n";

fn loaded() -> Config {
    check_text("c.toml", CONFIG, &Catalog::built_in())
        .0
        .expect("the config of this test is sound")
}

fn judged(answers: &AccountProbes) -> Vec<Check> {
    let loaded = loaded();
    let subject = ProviderCheck::new(&loaded.proxy.providers[0], &Setup::for_test(&loaded));
    let checks = check_account(&subject, answers);
    assert_eq!(
        checks.iter().map(|check| check.name).collect::<Vec<_>>(),
        CHECK_NAMES
    );
    checks
}

fn marks(checks: &[Check], mark: CheckResult) -> Vec<&'static str> {
    checks
        .iter()
        .filter(|check| check.result == mark)
        .map(|check| check.name)
        .collect()
}

fn asked(asks: ProbeSubject, heard: ProbeOutcome) -> ProbeRun {
    ProbeRun {
        kind: AttemptKind::Probe,
        subject: Some(asks),
        endpoint: "GET /x".to_owned(),
        outcome: heard,
        detects_sandbox: asks == ProbeSubject::Account,
        inferred: false,
    }
}

fn no(cause: Cause, alternatives: &[Cause]) -> ProbeOutcome {
    let finding = Classification {
        outcome: Outcome::Rejected(cause),
        certainty: Certainty::Certain,
        alternatives: alternatives.to_vec(),
        code: None,
        provider_message: None,
        retry_after: None,
    };
    ProbeOutcome::Rejected(Box::new(ProbeRejection {
        classification: finding,
        status: 403,
        evidence: Vec::new(),
    }))
}

#[test]
fn the_balance_is_read_after_an_ambiguous_rejection_and_narrows_it() {
    let catalog = Catalog::built_in();
    let dialect = catalog.get("twilio").unwrap();
    let about = |subject| {
        let mut probes = dialect.probes().iter();
        probes.find(|probe| probe.about == subject).unwrap()
    };
    let suspended = no(Cause::AccountSuspended, &[Cause::BalanceEmpty]);
    let mut probes = of(vec![asked(ProbeSubject::Account, suspended)]);
    assert!(
        probes.wants(about(ProbeSubject::Balance)) && !probes.wants(about(ProbeSubject::Account))
    );
    let empty = Evidence {
        source: EvidenceSource::BalanceProbe,
        implication: Implication::Indicates(vec![Cause::BalanceEmpty], Certainty::Certain),
    };
    let rejected = asked(ProbeSubject::Balance, no(Cause::BalanceEmpty, &[]));
    probes.add(rejected, Some(empty));
    let checks = judged(&probes);
    assert_eq!(marks(&checks, CheckResult::Failed), ["balance"]);
    let check = checks.iter().find(|check| check.name == "balance").unwrap();
    assert_eq!(
        (check.cause, check.alternatives.len()),
        (Some(Cause::BalanceEmpty), 0)
    );
    assert!(
        check
            .evidence
            .contains("its balance probe reports balance-empty"),
        "{}",
        check.evidence
    );

    let closed = of(vec![asked(
        ProbeSubject::Account,
        no(Cause::AccountSuspended, &[]),
    )]);
    assert!(
        !closed.wants(about(ProbeSubject::Balance)),
        "one cause is left"
    );
}

fn of(asked: Vec<ProbeRun>) -> AccountProbes {
    AccountProbes {
        runs: asked,
        clock_skew: Some(0),
        ..AccountProbes::default()
    }
}

#[test]
fn each_rejection_fails_one_check_and_names_its_cause() {
    for cause in Cause::ALL
        .iter()
        .copied()
        .filter(|cause| *cause != Cause::TlsUntrusted)
    {
        let checks = judged(&of(vec![asked(ProbeSubject::Account, no(cause, &[]))]));
        assert_eq!(
            marks(&checks, CheckResult::Failed),
            [check_name(cause)],
            "{cause}"
        );
        let failed = checks
            .iter()
            .find(|check| check.result == CheckResult::Failed)
            .and_then(|check| check.cause);
        assert_eq!(failed, Some(cause));
        assert!(marks(&checks, CheckResult::Warning).is_empty(), "{cause}");
    }
}

#[test]
fn a_balance_or_lock_reply_proves_the_credential_is_recognised() {
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
        let checks = judged(&of(vec![asked(
            ProbeSubject::Account,
            no(cause, alternatives),
        )]));
        assert_eq!(
            marks(&checks, CheckResult::Ok).contains(&"credential"),
            known,
            "{cause}"
        );
    }
}

#[test]
fn a_healthy_account_is_ok_by_evidence() {
    let alive = vec![
        asked(ProbeSubject::Account, ProbeOutcome::Healthy(None)),
        asked(
            ProbeSubject::Balance,
            ProbeOutcome::Healthy(Some((12.3, "USD".to_owned()))),
        ),
    ];
    assert_eq!(marks(&judged(&of(alive)), CheckResult::Ok), CHECK_NAMES);
}

#[test]
fn checks_without_evidence_are_unknown() {
    let checks = judged(&AccountProbes {
        skipped: vec!["POST /send".to_owned()],
        ..of(Vec::new())
    });
    assert_eq!(
        marks(&checks, CheckResult::Skipped),
        [
            "endpoint",
            "service",
            "credential",
            "account",
            "production",
            "balance",
            "addresses"
        ]
    );
    assert!(
        checks[3].evidence.contains("POST /send") && checks[3].evidence.contains("--yes"),
        "{}",
        checks[3].evidence
    );
    let none = judged(&of(Vec::new()));
    assert!(
        none[3].evidence.contains("--send-to"),
        "{}",
        none[3].evidence
    );
    let bare = judged(&of(vec![ProbeRun {
        subject: None,
        ..asked(ProbeSubject::Account, ProbeOutcome::Reachable(404))
    }]));
    assert_eq!(
        marks(&bare, CheckResult::Ok),
        ["clock", "service"],
        "a bare request's 404 is no wrong address"
    );
}

#[test]
fn a_wrong_clock_fails_by_itself_too() {
    let alive = of(vec![asked(
        ProbeSubject::Account,
        ProbeOutcome::Healthy(None),
    )]);
    assert_eq!(
        marks(
            &judged(&AccountProbes {
                clock_skew: Some(900),
                ..alive.clone()
            }),
            CheckResult::Failed
        ),
        ["clock"]
    );
    assert_eq!(
        marks(
            &judged(&AccountProbes {
                clock_skew: Some(-60),
                ..alive.clone()
            }),
            CheckResult::Warning
        ),
        ["clock"]
    );
    assert!(
        marks(
            &judged(&AccountProbes {
                clock_skew: None,
                ..alive
            }),
            CheckResult::Skipped
        )
        .contains(&"clock")
    );
}

#[test]
fn the_balance_is_shown_in_days_if_the_rate_is_known() {
    let with = |left: f64, spent| AccountProbes {
        daily_spend: spent,
        ..of(vec![asked(
            ProbeSubject::Balance,
            ProbeOutcome::Healthy(Some((left, "UZS".to_owned()))),
        )])
    };
    for (left, spent, mark, word) in [
        (
            1_000.0,
            None,
            CheckResult::Ok,
            "1000 UZS left; how long it lasts is not known",
        ),
        (1_000.0, Some(0.0), CheckResult::Ok, "not known"),
        (1_000.0, Some(100.0), CheckResult::Ok, "about 10.0 days"),
        (1_000.0, Some(500.0), CheckResult::Warning, "about 2.0 days"),
    ] {
        let checks = judged(&with(left, spent));
        let balance = checks.iter().find(|check| check.name == "balance").unwrap();
        assert_eq!(balance.result, mark, "{}", balance.evidence);
        assert!(balance.evidence.contains(word), "{}", balance.evidence);
    }
}

#[test]
fn unverified_probes_prove_nothing() {
    let guess = |heard| ProbeRun {
        inferred: true,
        ..asked(ProbeSubject::Credential, heard)
    };
    let checks = judged(&of(vec![guess(ProbeOutcome::Healthy(None))]));
    assert_eq!(
        marks(&checks, CheckResult::Ok),
        ["clock", "endpoint", "service"]
    );
    let evidence_of = |name: &str| {
        checks
            .iter()
            .find(|check| check.name == name)
            .map(|check| check.evidence.clone())
            .unwrap()
    };
    assert!(
        evidence_of("credential").contains("not documented that this proves")
            && evidence_of("credential") == evidence_of("addresses"),
        "{checks:?}"
    );
    let known = judged(&of(vec![
        guess(ProbeOutcome::Healthy(None)),
        asked(ProbeSubject::Account, ProbeOutcome::Healthy(None)),
    ]));
    assert!(
        marks(&known, CheckResult::Ok).contains(&"credential"),
        "another question was seen to work"
    );
    let odd = judged(&of(vec![guess(no(Cause::ReplyUnreadable, &[]))]));
    assert!(
        marks(&odd, CheckResult::Failed).is_empty()
            && marks(&odd, CheckResult::Skipped).contains(&"credential"),
        "{odd:?}"
    );
    assert!(
        odd[3]
            .evidence
            .contains("the reply to GET /x proves nothing"),
        "{}",
        odd[3].evidence
    );
    let refused = judged(&of(vec![guess(no(Cause::CredentialRejected, &[]))]));
    assert_eq!(
        marks(&refused, CheckResult::Failed),
        ["credential"],
        "a refusal is one"
    );
}
