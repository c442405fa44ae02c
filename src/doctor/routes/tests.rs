//! Tables: the state of providers → the report on their route and on locally rejected requests.

use super::*;
use crate::config::check_text;
use crate::dialect::Catalog;

const CONFIG: &str = "[vaults.v]\nenv = {}\n\
    [providers.alpha]\ndialect = \"twilio\"\ncredential = { vault = \"v\" }\nsender = \"+12025550123\"\n\
    [providers.beta]\ndialect = \"playmobile\"\ncredential = { vault = \"v\" }\nsender = \"3700\"\n\
    [[routes]]\nname = \"uz\"\nrecipients = [\"+998\"]\nproviders = [\"beta\", \"alpha\"]\n\
    [[routes]]\nname = \"us\"\nrecipients = [\"+1\"]\nproviders = [\"alpha\"]\n\
    [[routes]]\nname = \"odd\"\nrecipients = [\"+7\"]\nproviders = [\"beta\"]\n\
    [[routes]]\nname = \"watched\"\nmode = \"observe\"\nproviders = [\"alpha\"]\n";

/// The provider, its state, and the cause.
type RouteCheckRow = (String, CheckResult, Option<Cause>);

fn judged(checks: &[Check]) -> Vec<RouteCheckRow> {
    let (loaded, problems) = check_text("c.toml", CONFIG, &Catalog::built_in());
    let loaded = loaded.unwrap_or_else(|| panic!("{problems:?}"));
    let judged = check_routes(
        &Setup::for_test(&loaded),
        checks,
        &RunningSidecar::default(),
    );
    assert!(
        judged
            .iter()
            .all(|check| check.result != CheckResult::Failed || check.remedy.is_some())
    );
    judged
        .into_iter()
        .map(|check| (check.subject, check.result, check.cause))
        .collect()
}

fn failed(about: &str, cause: Cause) -> Check {
    Check::failed("credential", "", "")
        .with_cause(cause)
        .with_subject(about)
}

fn row(about: &str, cause: Option<Cause>) -> RouteCheckRow {
    (
        format!("route {about}"),
        if cause.is_some() {
            CheckResult::Failed
        } else {
            CheckResult::Ok
        },
        cause,
    )
}

#[test]
fn a_route_without_providers_fails_for_the_cause_of_its_first_one() {
    let odd = || row("odd", Some(Cause::NotTranslatable));
    assert_eq!(judged(&[]), [row("uz", None), row("us", None), odd()]);
    let beta = failed("beta", Cause::BalanceEmpty);
    assert_eq!(
        judged(std::slice::from_ref(&beta)),
        [row("uz", None), row("us", None), odd()],
        "a backup is left"
    );
    let alpha = failed("alpha", Cause::CredentialRejected);
    let expected = [
        row("uz", None),
        row("us", Some(Cause::CredentialRejected)),
        odd(),
    ];
    assert_eq!(judged(std::slice::from_ref(&alpha)), expected);
    let expected = [
        row("uz", Some(Cause::BalanceEmpty)),
        row("us", Some(Cause::CredentialRejected)),
        odd(),
    ];
    assert_eq!(judged(&[alpha, beta]), expected);
    let only_odd = [
        Check::warning("tls", "", "").with_subject("alpha"),
        Check::skipped("age", "").with_subject("alpha"),
    ];
    assert_eq!(judged(&only_odd), [row("uz", None), row("us", None), odd()]);
}

#[test]
fn the_evidence_names_providers_that_deliver_and_that_do_not() {
    let (loaded, _) = check_text("c.toml", CONFIG, &Catalog::built_in());
    let line = |checks: &[Check]| {
        check_routes(
            &Setup::for_test(loaded.as_ref().unwrap()),
            checks,
            &RunningSidecar::default(),
        )[0]
        .evidence
        .clone()
    };
    assert_eq!(line(&[]), "no problems found with beta, then alpha");
    let unasked = [
        Check::skipped("credential", "").with_subject("beta"),
        Check::skipped("account", "").with_subject("beta"),
        Check::skipped("tls", "").with_subject("alpha"),
    ];
    assert_eq!(
        line(&unasked),
        "no problems found with beta (not known: credential, account; only a send shows it), then alpha"
    );
    let text = Check {
        is_partial: true,
        ..Check::failed("template", "", "")
            .with_cause(Cause::TemplateNotApproved)
            .with_subject("beta")
    };
    let [one, _, _] = &unasked;
    assert_eq!(
        line(&[text.clone(), one.clone()]),
        "no problems found with beta (not for every text; see `template`; not known: credential; only a send shows it), then alpha"
    );
    assert_eq!(
        line(&[text]),
        "no problems found with beta (not for every text; see `template`), then alpha"
    );
    assert_eq!(
        line(&[failed("beta", Cause::BalanceEmpty)]),
        "no problems found with alpha; not by beta (balance-empty)"
    );
}

#[test]
fn rejected_requests_come_with_a_remedy() {
    let (loaded, _) = check_text("c.toml", CONFIG, &Catalog::built_in());
    let loaded = loaded.unwrap();
    let at = "2026-01-01T10:00:00Z".to_owned();
    let rejected = |cause, dialect: Option<&str>| RejectedRequests {
        cause,
        dialect: dialect.map(str::to_owned),
        result: "not-sent".to_owned(),
        at: at.clone(),
        count: 2,
    };
    for cause in [Cause::NotTranslatable, Cause::NoProvider] {
        for dialect in [None, Some("vonage")] {
            let check =
                rejected_requests_check(&Setup::for_test(&loaded), &rejected(cause, dialect));
            assert_eq!(
                (check.result, check.cause),
                (CheckResult::Failed, Some(cause))
            );
            assert!(
                check.evidence.contains(&at) && check.remedy.is_some(),
                "{check:?}"
            );
        }
    }
}

#[test]
fn a_route_has_the_certainty_of_the_check_it_follows_from() {
    use crate::sms::Certainty;
    let (loaded, _) = check_text("c.toml", CONFIG, &Catalog::built_in());
    let line = |checks: &[Check]| {
        check_routes(
            &Setup::for_test(loaded.as_ref().unwrap()),
            checks,
            &RunningSidecar::default(),
        )[0]
        .clone()
    };
    let beta = Check {
        certainty: Some(Certainty::Ambiguous),
        alternatives: vec![Cause::IpNotAllowed],
        ..Check::failed("sender", "it said no", "have it registered")
            .with_cause(Cause::SenderNotAllowed)
            .with_subject("beta")
    };
    let alpha = failed("alpha", Cause::Unreachable);
    let row = line(&[beta, alpha]);
    assert_eq!(
        row.evidence,
        "no provider is left to deliver: beta (sender-not-allowed), alpha (unreachable)"
    );
    assert_eq!(
        (row.name, row.result, row.cause),
        (
            "delivery",
            CheckResult::Failed,
            Some(Cause::SenderNotAllowed)
        )
    );
    assert_eq!(
        (row.certainty, row.alternatives),
        (Some(Certainty::Ambiguous), vec![Cause::IpNotAllowed])
    );
    assert_eq!(row.remedy.as_deref(), Some("have it registered"));
}

#[test]
fn a_provider_without_any_approved_text_delivers_nothing() {
    let text = |is_partial| Check {
        is_partial,
        ..failed("beta", Cause::TemplateNotApproved)
    };
    let alpha = || failed("alpha", Cause::Timeout);
    let uz = |checks: &[Check]| judged(checks).remove(0);
    assert_eq!(
        uz(&[text(true), alpha()]),
        row("uz", None),
        "another text goes"
    );
    assert_eq!(
        uz(&[text(false), alpha()]),
        row("uz", Some(Cause::TemplateNotApproved))
    );
}
