//! The laws of settling, and the refusals it was made for.

use proptest::prelude::*;

use super::*;
use Cause::{
    AccountSuspended, BalanceEmpty, ClockSkew, CredentialExpired, CredentialRejected,
    EndpointWrong, IpNotAllowed, SandboxMismatch, TemplateNotApproved, Unexplained,
};

fn suspects(all: &[Cause]) -> CauseCandidates {
    CauseCandidates::new(all[0], Certainty::Certain, &all[1..])
}

fn causes() -> impl Strategy<Value = Vec<Cause>> {
    proptest::collection::vec(proptest::sample::select(&Cause::ALL[..11]), 1..6)
}

fn certainty() -> impl Strategy<Value = Certainty> {
    prop_oneof![Just(Certainty::Certain), Just(Certainty::Likely)]
}

fn answer() -> impl Strategy<Value = Implication> {
    prop_oneof![
        causes().prop_map(Implication::RulesOut),
        (causes(), certainty()).prop_map(|(all, sure)| Implication::Indicates(all, sure)),
        Just(Implication::Inconclusive)
    ]
}

proptest! {
    #[test]
    fn what_was_left_open_is_never_widened(all in causes(), answers in proptest::collection::vec(answer(), 0..5)) {
        let before = suspects(&all);
        let after = answers.iter().fold(before.clone(), CauseCandidates::apply);
        prop_assert!(after.causes().iter().all(|cause| before.causes().contains(cause)), "{before:?} → {after:?}");
        prop_assert!(!after.causes().is_empty());
    }

    #[test]
    fn it_is_ambiguous_as_long_as_several_are_left(all in causes(), answers in proptest::collection::vec(answer(), 0..5)) {
        let after = answers.iter().fold(suspects(&all), CauseCandidates::apply);
        prop_assert_eq!(after.certainty == Certainty::Ambiguous, !after.is_unambiguous());
    }

    #[test]
    fn nobody_is_certain_because_the_others_are_not(all in causes(), ruled_out in causes()) {
        let before = suspects(&all);
        let after = before.clone().apply(&Implication::RulesOut(ruled_out));
        prop_assert!(after == before || after.certainty != Certainty::Certain, "{before:?} → {after:?}");
    }

    #[test]
    fn the_same_answer_twice_says_nothing_new(all in causes(), answer in answer()) {
        let once = suspects(&all).apply(&answer);
        prop_assert_eq!(once.clone().apply(&answer), once);
    }

    #[test]
    fn a_question_is_asked_only_if_an_answer_can_tell(all in causes(), in_order in causes(), wrong in proptest::collection::vec(causes(), 0..3)) {
        let (before, question) = (suspects(&all), CandidateProbe { ruled_out_if_healthy: in_order, causes_if_unhealthy: wrong });
        let tells = question.implications().any(|answer| before.clone().apply(&answer).causes().len() < before.causes().len());
        prop_assert_eq!(before.best_probe(std::slice::from_ref(&question)).is_some(), tells);
    }
}

/// As a description has them: an account call that says suspended (perhaps for want of money) or closed, and a balance.
fn account_and_balance() -> Vec<CandidateProbe> {
    let credential = vec![
        Cause::CredentialMissing,
        CredentialRejected,
        CredentialExpired,
        EndpointWrong,
    ];
    vec![
        CandidateProbe {
            ruled_out_if_healthy: [
                credential.clone(),
                vec![AccountSuspended, BalanceEmpty, SandboxMismatch],
            ]
            .concat(),
            causes_if_unhealthy: vec![
                vec![AccountSuspended, BalanceEmpty],
                vec![AccountSuspended],
                vec![SandboxMismatch],
            ],
        },
        CandidateProbe {
            ruled_out_if_healthy: [credential, vec![BalanceEmpty]].concat(),
            causes_if_unhealthy: vec![vec![BalanceEmpty]],
        },
    ]
}

const ONE_CODE: &[Cause] = &[
    CredentialRejected,
    CredentialExpired,
    AccountSuspended,
    BalanceEmpty,
    SandboxMismatch,
    EndpointWrong,
];

#[test]
fn one_code_for_many_causes_is_told_apart_step_by_step() {
    let before = suspects(ONE_CODE);
    assert_eq!(before.best_probe(&account_and_balance()), Some(0));
    let suspended = before.clone().apply(&Implication::Indicates(
        vec![AccountSuspended, BalanceEmpty],
        Certainty::Certain,
    ));
    assert_eq!(
        (suspended.cause, suspended.certainty),
        (AccountSuspended, Certainty::Ambiguous)
    );
    assert!(!suspended.includes_credential());
    assert_eq!(
        suspended.best_probe(&account_and_balance()),
        Some(1),
        "whether for want of money, the balance tells"
    );
    let empty = suspended.clone().apply(&Implication::Indicates(
        vec![BalanceEmpty],
        Certainty::Certain,
    ));
    assert_eq!(
        empty,
        CauseCandidates {
            cause: BalanceEmpty,
            certainty: Certainty::Certain,
            alternatives: vec![]
        }
    );
    let money = suspended.apply(&Implication::RulesOut(vec![
        CredentialRejected,
        BalanceEmpty,
    ]));
    assert_eq!(
        money,
        CauseCandidates {
            cause: AccountSuspended,
            certainty: Certainty::Likely,
            alternatives: vec![]
        }
    );
    let test = before.clone().apply(&Implication::Indicates(
        vec![SandboxMismatch],
        Certainty::Certain,
    ));
    assert_eq!(
        (test.cause, test.certainty),
        (SandboxMismatch, Certainty::Certain)
    );
    assert_eq!(
        before.clone().apply(&Implication::Indicates(
            ONE_CODE.to_vec(),
            Certainty::Ambiguous
        )),
        before,
        "the same refusal again"
    );
}

#[test]
fn an_answer_that_leaves_nobody_or_speaks_of_others_changes_nothing() {
    let before = suspects(&[CredentialRejected, IpNotAllowed]);
    for answer in [
        Implication::RulesOut(vec![CredentialRejected, IpNotAllowed]),
        Implication::Indicates(vec![BalanceEmpty], Certainty::Certain),
        Implication::Indicates(vec![IpNotAllowed, CredentialRejected], Certainty::Likely),
        Implication::Inconclusive,
    ] {
        assert_eq!(before.clone().apply(&answer), before, "{answer:?}");
    }
}

#[test]
fn what_was_likely_is_confirmed_and_what_was_certain_is_not_weakened() {
    let with = |certainty, says| {
        CauseCandidates::new(ClockSkew, certainty, &[])
            .apply(&Implication::Indicates(vec![ClockSkew], says))
            .certainty
    };
    assert_eq!(
        with(Certainty::Likely, Certainty::Certain),
        Certainty::Certain
    );
    assert_eq!(
        with(Certainty::Certain, Certainty::Likely),
        Certainty::Certain
    );
}

#[test]
fn no_question_is_asked_that_tells_nothing() {
    assert_eq!(
        suspects(&[TemplateNotApproved, Cause::SenderNotAllowed])
            .best_probe(&account_and_balance()),
        None
    );
    assert_eq!(
        suspects(&[Unexplained, BalanceEmpty]).best_probe(&account_and_balance()),
        Some(0)
    );
    assert_eq!(
        suspects(&[BalanceEmpty]).best_probe(&account_and_balance()),
        None
    );
    assert_eq!(suspects(ONE_CODE).best_probe(&[]), None);
}

#[test]
fn a_doubt_is_followed_once_for_each_version_until_a_message_was_accepted() {
    let (mut followed, start) = (ProbeHistory::default(), Moment::default());
    let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
    let (doubt, other) = (
        suspects(&[CredentialRejected, IpNotAllowed]),
        suspects(&[BalanceEmpty, AccountSuspended]),
    );
    assert!(followed.try_begin(Version(1), &doubt, None, at(0)));
    assert!(
        !followed.try_begin(Version(1), &doubt, None, at(1_000)),
        "the same again"
    );
    assert!(
        followed.try_begin(Version(1), &other, None, at(1_001)),
        "another doubt"
    );
    assert!(
        followed.try_begin(Version(2), &doubt, None, at(1_002)),
        "another version"
    );
    assert!(
        !followed.try_begin(Version(2), &doubt, Some(at(900)), at(1_100)),
        "what was accepted before says nothing"
    );
    assert!(
        !followed.try_begin(Version(2), &doubt, Some(at(1_010)), at(1_020)),
        "not twice in half a minute"
    );
    assert!(followed.try_begin(Version(2), &doubt, Some(at(1_010)), at(1_032)));
    assert!(
        !followed.try_begin(Version(2), &suspects(&[IpNotAllowed]), None, at(1_040)),
        "a part of it"
    );
    followed.clear();
    assert!(
        followed.try_begin(Version(2), &doubt, None, at(1_033)),
        "put back by hand"
    );
}

#[test]
fn an_hour_has_a_budget() {
    let (mut followed, doubt) = (
        ProbeHistory::default(),
        suspects(&[CredentialRejected, IpNotAllowed]),
    );
    let now = Moment::default();
    let admitted = (1..=100)
        .filter(|version| followed.try_begin(Version(*version), &doubt, None, now))
        .count();
    assert_eq!(admitted, MAX_PROBES_PER_HOUR);
    assert!(followed.try_begin(Version(101), &doubt, None, now.saturating_add(HOUR)));
}

#[test]
fn what_came_of_a_doubt_is_known_until_a_message_was_accepted() {
    let (mut followed, start) = (ProbeHistory::default(), Moment::default());
    let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
    let doubt = suspects(&[CredentialRejected, AccountSuspended]);
    let learned = || {
        vec![Evidence {
            source: crate::diagnosis::EvidenceSource::AccountProbe,
            implication: Implication::Indicates(vec![AccountSuspended], Certainty::Certain),
        }]
    };
    followed.record(Version(1), &doubt, learned());
    assert_eq!(
        followed.known_evidence(Version(1), &doubt, None),
        [],
        "it was not followed"
    );
    assert!(followed.try_begin(Version(1), &doubt, Some(at(1)), at(2)));
    followed.record(Version(1), &doubt, learned());
    assert_eq!(
        followed.known_evidence(Version(1), &doubt, Some(at(1))),
        learned()
    );
    assert_eq!(followed.known_evidence(Version(2), &doubt, Some(at(1))), []);
    assert_eq!(followed.known_evidence(Version(1), &doubt, Some(at(3))), []);
    followed.clear();
    assert_eq!(followed.known_evidence(Version(1), &doubt, None), []);
}
