//! The laws of settling, and the refusals it was made for.

use proptest::prelude::*;

use super::*;
use Cause::{
    AccountSuspended, BalanceEmpty, ClockSkew, CredentialExpired, CredentialRejected, EndpointWrong, IpNotAllowed, SandboxMismatch,
    TemplateNotApproved, Unexplained,
};

fn suspects(all: &[Cause]) -> Suspects {
    Suspects::new(all[0], Certainty::Certain, &all[1..])
}

fn causes() -> impl Strategy<Value = Vec<Cause>> {
    proptest::collection::vec(proptest::sample::select(&Cause::ALL[..11]), 1..6)
}

fn certainty() -> impl Strategy<Value = Certainty> {
    prop_oneof![Just(Certainty::Certain), Just(Certainty::Likely)]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        causes().prop_map(Answer::RulesOut),
        (causes(), certainty()).prop_map(|(all, sure)| Answer::Says(all, sure)),
        Just(Answer::Nothing)
    ]
}

proptest! {
    #[test]
    fn what_was_left_open_is_never_widened(all in causes(), answers in proptest::collection::vec(answer(), 0..5)) {
        let before = suspects(&all);
        let after = answers.iter().fold(before.clone(), Suspects::told);
        prop_assert!(after.all().iter().all(|cause| before.all().contains(cause)), "{before:?} → {after:?}");
        prop_assert!(!after.all().is_empty());
    }

    #[test]
    fn it_is_ambiguous_as_long_as_several_are_left(all in causes(), answers in proptest::collection::vec(answer(), 0..5)) {
        let after = answers.iter().fold(suspects(&all), Suspects::told);
        prop_assert_eq!(after.certainty == Certainty::Ambiguous, !after.is_settled());
    }

    #[test]
    fn nobody_is_certain_because_the_others_are_not(all in causes(), ruled_out in causes()) {
        let before = suspects(&all);
        let after = before.clone().told(&Answer::RulesOut(ruled_out));
        prop_assert!(after == before || after.certainty != Certainty::Certain, "{before:?} → {after:?}");
    }

    #[test]
    fn the_same_answer_twice_says_nothing_new(all in causes(), answer in answer()) {
        let once = suspects(&all).told(&answer);
        prop_assert_eq!(once.clone().told(&answer), once);
    }

    #[test]
    fn a_question_is_asked_only_if_an_answer_can_tell(all in causes(), in_order in causes(), wrong in proptest::collection::vec(causes(), 0..3)) {
        let (before, question) = (suspects(&all), Question { in_order, wrong });
        let tells = question.answers().any(|answer| before.clone().told(&answer).all().len() < before.all().len());
        prop_assert_eq!(before.best(std::slice::from_ref(&question)).is_some(), tells);
    }
}

/// As a description has them: an account call that says suspended (perhaps for want of money) or closed, and a balance.
fn account_and_balance() -> Vec<Question> {
    let credential = vec![Cause::CredentialMissing, CredentialRejected, CredentialExpired, EndpointWrong];
    vec![
        Question {
            in_order: [credential.clone(), vec![AccountSuspended, BalanceEmpty, SandboxMismatch]].concat(),
            wrong: vec![vec![AccountSuspended, BalanceEmpty], vec![AccountSuspended], vec![SandboxMismatch]],
        },
        Question { in_order: [credential, vec![BalanceEmpty]].concat(), wrong: vec![vec![BalanceEmpty]] },
    ]
}

const ONE_CODE: &[Cause] = &[CredentialRejected, CredentialExpired, AccountSuspended, BalanceEmpty, SandboxMismatch, EndpointWrong];

#[test]
fn one_code_for_many_causes_is_told_apart_step_by_step() {
    let before = suspects(ONE_CODE);
    assert_eq!(before.best(&account_and_balance()), Some(0));
    let suspended = before.clone().told(&Answer::Says(vec![AccountSuspended, BalanceEmpty], Certainty::Certain));
    assert_eq!((suspended.cause, suspended.certainty), (AccountSuspended, Certainty::Ambiguous));
    assert!(!suspended.suspects_credential());
    assert_eq!(suspended.best(&account_and_balance()), Some(1), "whether for want of money, the balance tells");
    let empty = suspended.clone().told(&Answer::Says(vec![BalanceEmpty], Certainty::Certain));
    assert_eq!(empty, Suspects { cause: BalanceEmpty, certainty: Certainty::Certain, alternatives: vec![] });
    let money = suspended.told(&Answer::RulesOut(vec![CredentialRejected, BalanceEmpty]));
    assert_eq!(money, Suspects { cause: AccountSuspended, certainty: Certainty::Likely, alternatives: vec![] });
    let test = before.clone().told(&Answer::Says(vec![SandboxMismatch], Certainty::Certain));
    assert_eq!((test.cause, test.certainty), (SandboxMismatch, Certainty::Certain));
    assert_eq!(before.clone().told(&Answer::Says(ONE_CODE.to_vec(), Certainty::Ambiguous)), before, "the same refusal again");
}

#[test]
fn an_answer_that_leaves_nobody_or_speaks_of_others_changes_nothing() {
    let before = suspects(&[CredentialRejected, IpNotAllowed]);
    for answer in [
        Answer::RulesOut(vec![CredentialRejected, IpNotAllowed]),
        Answer::Says(vec![BalanceEmpty], Certainty::Certain),
        Answer::Says(vec![IpNotAllowed, CredentialRejected], Certainty::Likely),
        Answer::Nothing,
    ] {
        assert_eq!(before.clone().told(&answer), before, "{answer:?}");
    }
}

#[test]
fn what_was_likely_is_confirmed_and_what_was_certain_is_not_weakened() {
    let with = |certainty, says| Suspects::new(ClockSkew, certainty, &[]).told(&Answer::Says(vec![ClockSkew], says)).certainty;
    assert_eq!(with(Certainty::Likely, Certainty::Certain), Certainty::Certain);
    assert_eq!(with(Certainty::Certain, Certainty::Likely), Certainty::Certain);
}

#[test]
fn no_question_is_asked_that_tells_nothing() {
    assert_eq!(suspects(&[TemplateNotApproved, Cause::SenderNotAllowed]).best(&account_and_balance()), None);
    assert_eq!(suspects(&[Unexplained, BalanceEmpty]).best(&account_and_balance()), Some(0));
    assert_eq!(suspects(&[BalanceEmpty]).best(&account_and_balance()), None);
    assert_eq!(suspects(ONE_CODE).best(&[]), None);
}

#[test]
fn a_doubt_is_followed_once_for_each_version_until_a_message_was_accepted() {
    let (mut followed, start) = (Followed::default(), Moment::default());
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    let (doubt, other) = (suspects(&[CredentialRejected, IpNotAllowed]), suspects(&[BalanceEmpty, AccountSuspended]));
    assert!(followed.admits(Version(1), &doubt, None, at(0)));
    assert!(!followed.admits(Version(1), &doubt, None, at(1_000)), "the same again");
    assert!(followed.admits(Version(1), &other, None, at(1_001)), "another doubt");
    assert!(followed.admits(Version(2), &doubt, None, at(1_002)), "another version");
    assert!(!followed.admits(Version(2), &doubt, Some(at(900)), at(1_100)), "what was accepted before says nothing");
    assert!(!followed.admits(Version(2), &doubt, Some(at(1_010)), at(1_020)), "not twice in half a minute");
    assert!(followed.admits(Version(2), &doubt, Some(at(1_010)), at(1_032)));
    assert!(!followed.admits(Version(2), &suspects(&[IpNotAllowed]), None, at(1_040)), "a part of it");
    followed.forget();
    assert!(followed.admits(Version(2), &doubt, None, at(1_033)), "put back by hand");
}

#[test]
fn an_hour_has_a_budget() {
    let (mut followed, doubt) = (Followed::default(), suspects(&[CredentialRejected, IpNotAllowed]));
    let now = Moment::default();
    let admitted = (1..=100).filter(|version| followed.admits(Version(*version), &doubt, None, now)).count();
    assert_eq!(admitted, MOST);
    assert!(followed.admits(Version(101), &doubt, None, now.plus(HOUR)));
}

#[test]
fn what_came_of_a_doubt_is_known_until_a_message_was_accepted() {
    let (mut followed, start) = (Followed::default(), Moment::default());
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    let doubt = suspects(&[CredentialRejected, AccountSuspended]);
    let learned = || {
        vec![Learned { witness: crate::diagnosis::Witness::AccountCall, answer: Answer::Says(vec![AccountSuspended], Certainty::Certain) }]
    };
    followed.remember(Version(1), &doubt, learned());
    assert_eq!(followed.known(Version(1), &doubt, None), [], "it was not followed");
    assert!(followed.admits(Version(1), &doubt, Some(at(1)), at(2)));
    followed.remember(Version(1), &doubt, learned());
    assert_eq!(followed.known(Version(1), &doubt, Some(at(1))), learned());
    assert_eq!(followed.known(Version(2), &doubt, Some(at(1))), []);
    assert_eq!(followed.known(Version(1), &doubt, Some(at(3))), []);
    followed.forget();
    assert_eq!(followed.known(Version(1), &doubt, None), []);
}
