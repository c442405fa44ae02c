//! Properties of narrowing, and the rejections it is for.

use proptest::prelude::*;

use super::*;
use Cause::{
    AccountSuspended, BalanceEmpty, ClockSkew, CredentialExpired, CredentialRejected,
    EndpointWrong, IpNotAllowed, SandboxMismatch, TemplateNotApproved, Unexplained,
};

fn candidates(all: &[Cause]) -> CauseCandidates {
    CauseCandidates::new(all[0], Certainty::Certain, &all[1..])
}

fn causes() -> impl Strategy<Value = Vec<Cause>> {
    proptest::collection::vec(proptest::sample::select(&Cause::ALL[..11]), 1..6)
}

fn certainty() -> impl Strategy<Value = Certainty> {
    prop_oneof![Just(Certainty::Certain), Just(Certainty::Likely)]
}

fn implication() -> impl Strategy<Value = Implication> {
    prop_oneof![
        causes().prop_map(Implication::RulesOut),
        (causes(), certainty()).prop_map(|(all, sure)| Implication::Indicates(all, sure)),
        Just(Implication::Inconclusive)
    ]
}

proptest! {
    #[test]
    fn evidence_never_adds_candidates(all in causes(), answers in proptest::collection::vec(implication(), 0..5)) {
        let before = candidates(&all);
        let after = answers.iter().fold(before.clone(), CauseCandidates::apply);
        let is_unexplained = after.causes() == [Unexplained];
        prop_assert!(is_unexplained || after.causes().iter().all(|cause| before.causes().contains(cause)), "{before:?} → {after:?}");
    }

    #[test]
    fn only_evidence_that_rules_out_every_candidate_leaves_none(all in causes(), answers in proptest::collection::vec(implication(), 0..5)) {
        let after = answers.iter().fold(candidates(&all), CauseCandidates::apply);
        let ruled_out = |cause: &Cause| answers.iter().any(|answer| match answer {
            Implication::RulesOut(causes) => causes.contains(cause),
            Implication::Indicates(causes, _) => !causes.contains(cause),
            Implication::Inconclusive => false,
        });
        prop_assert!(after.cause != Unexplained || all.iter().all(ruled_out), "{all:?} → {after:?}");
        prop_assert!(after.cause == Unexplained || !answers.iter().any(|answer| matches!(answer, Implication::RulesOut(causes) if all.iter().all(|cause| causes.contains(cause)))));
    }

    #[test]
    fn it_is_ambiguous_while_several_candidates_are_left(all in causes(), answers in proptest::collection::vec(implication(), 0..5)) {
        let after = answers.iter().fold(candidates(&all), CauseCandidates::apply);
        prop_assert_eq!(after.certainty == Certainty::Ambiguous, !after.is_unambiguous());
    }

    #[test]
    fn ruling_out_the_others_does_not_make_certain(all in causes(), ruled_out in causes()) {
        let before = candidates(&all);
        let after = before.clone().apply(&Implication::RulesOut(ruled_out));
        prop_assert!(after == before || after.certainty != Certainty::Certain, "{before:?} → {after:?}");
    }

    #[test]
    fn applying_the_same_implication_twice_changes_nothing(all in causes(), implication in implication()) {
        let once = candidates(&all).apply(&implication);
        prop_assert_eq!(once.clone().apply(&implication), once);
    }

    #[test]
    fn a_probe_is_chosen_only_if_its_result_can_narrow(all in causes(), in_order in causes(), wrong in proptest::collection::vec(causes(), 0..3)) {
        let before = candidates(&all);
        let probe = CandidateProbe { ruled_out_if_healthy: in_order, causes_if_unhealthy: wrong };
        let narrows = probe.implications().any(|implication| before.clone().apply(&implication).causes().len() < before.causes().len());
        prop_assert_eq!(before.best_probe(std::slice::from_ref(&probe)).is_some(), narrows);
    }
}

/// Probes as in a description: an account probe that reports suspended (perhaps because the balance
/// is empty) or closed, and a balance probe.
fn account_and_balance() -> Vec<CandidateProbe> {
    let credential = vec![
        Cause::CredentialMissing,
        CredentialRejected,
        CredentialExpired,
        EndpointWrong,
    ];
    vec![
        CandidateProbe {
            ruled_out_if_healthy: [credential.clone(), vec![AccountSuspended, SandboxMismatch]]
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
fn one_code_for_many_causes_is_narrowed_step_by_step() {
    let before = candidates(ONE_CODE);
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
        "the balance probe distinguishes the rest"
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
        "the same rejection again"
    );
}

#[test]
fn a_rejection_whose_candidates_are_all_ruled_out_is_unexplained() {
    let unexplained = CauseCandidates {
        cause: Unexplained,
        certainty: Certainty::Likely,
        alternatives: vec![],
    };
    let before = candidates(&[CredentialRejected, IpNotAllowed]);
    let step = before
        .clone()
        .apply(&Implication::RulesOut(vec![CredentialRejected]));
    assert_eq!(
        step.apply(&Implication::RulesOut(vec![IpNotAllowed])),
        unexplained
    );
    assert_eq!(
        before.apply(&Implication::RulesOut(vec![
            IpNotAllowed,
            CredentialRejected
        ])),
        unexplained
    );
    assert_eq!(unexplained.best_probe(&account_and_balance()), None);
}

#[test]
fn a_cause_that_is_left_over_is_probed_itself() {
    let left = CauseCandidates::new(BalanceEmpty, Certainty::Likely, &[]);
    assert_eq!(left.best_probe(&account_and_balance()), Some(1));
    let credential = CauseCandidates::new(CredentialRejected, Certainty::Likely, &[]);
    assert_eq!(
        credential.best_probe(&account_and_balance()),
        None,
        "it is not sent again to confirm that"
    );
}

#[test]
fn unrelated_evidence_changes_nothing() {
    let before = candidates(&[CredentialRejected, IpNotAllowed]);
    for implication in [
        Implication::Indicates(vec![BalanceEmpty], Certainty::Certain),
        Implication::Indicates(vec![IpNotAllowed, CredentialRejected], Certainty::Likely),
        Implication::Inconclusive,
    ] {
        assert_eq!(
            before.clone().apply(&implication),
            before,
            "{implication:?}"
        );
    }
}

#[test]
fn a_likely_cause_is_confirmed_and_a_certain_one_is_not_weakened() {
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
fn no_probe_is_chosen_that_cannot_narrow() {
    assert_eq!(
        candidates(&[TemplateNotApproved, Cause::SenderNotAllowed])
            .best_probe(&account_and_balance()),
        None
    );
    assert_eq!(
        candidates(&[Unexplained, BalanceEmpty]).best_probe(&account_and_balance()),
        Some(1)
    );
    assert_eq!(
        candidates(&[BalanceEmpty]).best_probe(&account_and_balance()),
        None
    );
    assert_eq!(candidates(ONE_CODE).best_probe(&[]), None);
}
