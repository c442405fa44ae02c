//! The contract's sentences about a provider's standing, and laws over random histories.

use proptest::prelude::*;

use super::*;
use crate::secret::Version;

const MINUTE: u64 = 60;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn held(version: u64) -> Held {
    Held::from(Version(version))
}

fn ended(outcome: Outcome, version: u64) -> Event {
    Event::Ended { outcome, credential: held(version), wait: None }
}

fn refused(cause: Cause) -> Event {
    ended(Outcome::Refused(cause), 1)
}

fn accepted(version: u64) -> Event {
    ended(Outcome::Accepted { id: "1".to_owned() }, version)
}

const TRIAL: Event = Event::Begun { trial: true, retry: false };

/// A provider rechecked after a minute, after these events.
fn after(events: &[(u64, Event)]) -> Record {
    let mut record = Record::new(Some(Duration::from_mins(1)));
    for (now, event) in events {
        record.observe(event, at(*now));
    }
    record
}

fn closed(cause: Cause, wait: u64) -> Admission {
    Admission::Closed { cause, wait: Some(Duration::from_secs(wait)) }
}

#[test]
fn dead_is_a_property_of_provider_and_credential() {
    let record = after(&[(0, refused(Cause::CredentialRejected))]);
    assert_eq!(record.admits(at(1), held(1)), closed(Cause::CredentialRejected, 59));
    assert_eq!(record.admits(at(1), held(2)), Admission::Open, "no backoff hides a fresh one");
    let token = Held { version: Version(1), logins: 1 };
    assert_eq!(record.admits(at(1), token), Admission::Open, "nor a fresh token");
    let aside = Standing::Aside { cause: Cause::CredentialRejected, since: at(0), recheck_at: Some(at(60)) };
    assert_eq!((record.standing(at(1), held(1)), record.standing(at(1), held(2))), (aside, Standing::Open));
}

#[test]
fn what_is_said_of_an_old_credential_says_nothing_of_a_newer_one() {
    let old = after(&[(0, ended(Outcome::Refused(Cause::CredentialRejected), 2)), (1, refused(Cause::BalanceEmpty))]);
    assert_eq!(old.standing(at(2), held(2)).cause(), Some(Cause::CredentialRejected), "a late refusal of version 1");
    let late = after(&[(0, ended(Outcome::Refused(Cause::CredentialRejected), 2)), (1, accepted(1))]);
    assert_eq!(late.standing(at(2), held(2)).as_str(), "aside", "a late success of version 1");
    let good = after(&[(0, ended(Outcome::Refused(Cause::CredentialRejected), 2)), (1, accepted(2))]);
    assert_eq!(good.standing(at(2), held(2)), Standing::Open);
    let newer = after(&[(0, refused(Cause::CredentialRejected)), (1, ended(Outcome::Refused(Cause::CredentialRejected), 2))]);
    assert_eq!(newer.admits(at(2), held(2)), closed(Cause::CredentialRejected, 59), "the newer one can be dead too");
    let renewed = after(&[(0, refused(Cause::BalanceEmpty)), (1, Event::Renewed { credential: held(2) })]);
    assert_eq!(renewed.standing(at(2), held(1)), Standing::Open, "a changed credential brings it back");
    let same = after(&[(0, refused(Cause::BalanceEmpty)), (1, Event::Renewed { credential: held(1) })]);
    assert_eq!(same.standing(at(2), held(1)).as_str(), "aside");
}

#[test]
fn the_recheck_doubles_from_one_minute_to_fifteen() {
    let (mut record, mut now, mut waits) = (after(&[(0, refused(Cause::AccountSuspended))]), 0, Vec::new());
    for _ in 0..6 {
        let Admission::Closed { wait: Some(wait), .. } = record.admits(at(now), held(1)) else { panic!("not aside") };
        waits.push(wait.as_secs() / MINUTE);
        now += wait.as_secs();
        assert_eq!(record.admits(at(now - 1), held(1)), closed(Cause::AccountSuspended, 1));
        assert_eq!(record.admits(at(now), held(1)), Admission::Trial);
        record.observe(&TRIAL, at(now));
        record.observe(&refused(Cause::AccountSuspended), at(now));
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    record.observe(&accepted(1), at(now));
    record.observe(&refused(Cause::AccountSuspended), at(now));
    assert_eq!(record.admits(at(now), held(1)), closed(Cause::AccountSuspended, MINUTE), "after a success it begins anew");
}

#[test]
fn one_message_tries_and_a_trial_without_an_end_is_only_a_lease() {
    let record = after(&[(0, refused(Cause::BalanceEmpty)), (60, TRIAL)]);
    assert_eq!(record.admits(at(60), held(1)), closed(Cause::BalanceEmpty, 60), "one");
    assert_eq!(record.admits(at(120), held(1)), Admission::Trial, "its outcome never came");
    let back = after(&[(0, refused(Cause::BalanceEmpty)), (60, TRIAL), (61, accepted(1))]);
    assert_eq!(back.admits(at(61), held(1)), Admission::Open);
}

#[test]
fn a_trial_of_a_rest_is_leased_though_an_older_credential_is_remembered_as_dead() {
    let faults = [1, 1, 1].map(|now| (now, refused(Cause::ProviderFault)));
    let record = after(&[&[(0, refused(Cause::CredentialRejected))][..], &faults[..], &[(16, TRIAL)]].concat());
    assert_eq!(record.admits(at(16), held(2)), closed(Cause::ProviderFault, 15));
}

#[test]
fn refusals_already_under_way_do_not_double_the_recheck() {
    let refusals: Vec<_> = (0..9).map(|_| (0, refused(Cause::BalanceEmpty))).collect();
    assert_eq!(after(&refusals).admits(at(0), held(1)), closed(Cause::BalanceEmpty, MINUTE));
    let since = after(&[(0, refused(Cause::CredentialRejected)), (9, refused(Cause::BalanceEmpty))]);
    let aside = Standing::Aside { cause: Cause::BalanceEmpty, since: at(0), recheck_at: Some(at(60)) };
    assert_eq!(since.standing(at(9), held(1)), aside, "the latest cause, since the first");
    let resort = after(&[(0, refused(Cause::BalanceEmpty)), (10, TRIAL), (11, refused(Cause::BalanceEmpty))]);
    assert_eq!(resort.admits(at(11), held(1)), closed(Cause::BalanceEmpty, 49), "a last resort is outside the schedule");
}

#[test]
fn a_failed_trial_counts_once_and_its_cause_is_the_latest() {
    let mut record = after(&[(0, refused(Cause::CredentialRejected)), (60, TRIAL), (61, refused(Cause::BalanceEmpty))]);
    let aside = Standing::Aside { cause: Cause::BalanceEmpty, since: at(0), recheck_at: Some(at(181)) };
    assert_eq!(record.standing(at(61), held(1)), aside);
    record.observe(&refused(Cause::BalanceEmpty), at(62));
    assert_eq!(record.standing(at(62), held(1)), aside, "one more that was under way");
}

#[test]
fn never_means_never_by_time() {
    let mut record = Record::new(None);
    record.observe(&refused(Cause::CredentialRejected), at(0));
    assert_eq!(record.admits(at(u64::from(u32::MAX)), held(1)), Admission::Closed { cause: Cause::CredentialRejected, wait: None });
    record.observe(&TRIAL, at(5));
    record.observe(&refused(Cause::CredentialRejected), at(5));
    assert_eq!(record.admits(at(9), held(1)), Admission::Closed { cause: Cause::CredentialRejected, wait: None });
    assert_eq!(record.admits(at(9), held(2)), Admission::Open);
    let mut long = Record::new(Some(Duration::from_hours(1)));
    for event in [refused(Cause::BalanceEmpty), TRIAL, refused(Cause::BalanceEmpty)] {
        long.observe(&event, at(0));
    }
    assert_eq!(long.admits(at(0), held(1)), closed(Cause::BalanceEmpty, 3600), "a longer recheck of the operator's stays as it is");
}

#[test]
fn probes_speak_for_the_credential_they_used() {
    let probed = |cause, version| (1, Event::Probed { cause, credential: held(version) });
    let standing = |event| after(&[(0, ended(Outcome::Refused(Cause::CredentialRejected), 2)), event]).standing(at(2), held(2));
    assert_eq!(standing(probed(None, 2)), Standing::Open);
    assert_eq!(standing(probed(None, 1)).as_str(), "aside");
    assert_eq!(standing(probed(Some(Cause::IpNotAllowed), 2)).cause(), Some(Cause::IpNotAllowed), "it settles what was ambiguous");
    assert_eq!(standing(probed(Some(Cause::Timeout), 2)).cause(), Some(Cause::CredentialRejected), "a probe that failed settles nothing");
    assert_eq!(after(&[probed(Some(Cause::BalanceEmpty), 1)]).standing(at(2), held(1)).as_str(), "aside");
    let unreachable: Vec<_> = (0..9).map(|_| probed(Some(Cause::Unreachable), 1)).collect();
    assert_eq!(after(&unreachable).standing(at(2), held(1)), Standing::Open);
}

#[test]
fn a_throttled_provider_rests_as_long_as_it_asks_else_a_second_doubling() {
    let asked = after(&[(
        0,
        Event::Ended { outcome: Outcome::Refused(Cause::Throttled), credential: held(1), wait: Some(Duration::from_secs(7)) },
    )]);
    assert_eq!(asked.admits(at(0), held(1)), closed(Cause::Throttled, 7));
    assert_eq!(asked.admits(at(7), held(1)), Admission::Open, "by time alone, without a trial");
    let (mut record, mut now, mut waits) = (after(&[]), 0, Vec::new());
    for _ in 0..8 {
        record.observe(&refused(Cause::Throttled), at(now));
        record.observe(&refused(Cause::Throttled), at(now)); // one more was under way
        let Admission::Closed { wait: Some(wait), .. } = record.admits(at(now), held(1)) else { panic!("not resting") };
        waits.push(wait.as_secs());
        now += wait.as_secs();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    record.observe(&accepted(1), at(now));
    record.observe(&refused(Cause::Throttled), at(now));
    assert_eq!(record.admits(at(now), held(1)), closed(Cause::Throttled, 1), "after a success it begins anew");
}

#[test]
fn a_rest_that_was_asked_for_is_kept() {
    let asks =
        |wait| Event::Ended { outcome: Outcome::Refused(Cause::Throttled), credential: held(1), wait: Some(Duration::from_secs(wait)) };
    let longer = after(&[(0, asks(5)), (1, asks(9)), (2, asks(1)), (2, refused(Cause::Throttled))]);
    assert_eq!(longer.admits(at(2), held(1)), closed(Cause::Throttled, 8));
    assert_eq!(after(&[(0, asks(86_400))]).admits(at(0), held(1)), closed(Cause::Throttled, 15 * MINUTE), "nobody is closed for a day");
    let others = after(&[(0, asks(5)), (1, accepted(1)), (1, refused(Cause::MessageInvalid))]);
    assert_eq!(others.admits(at(2), held(1)), closed(Cause::Throttled, 3), "an answer to an earlier message does not end it");
    let faults = [(1, refused(Cause::Timeout)), (1, refused(Cause::Timeout)), (1, refused(Cause::Timeout))];
    let failing = after(&[&[(0, asks(5))][..], &faults[..]].concat());
    assert_eq!(failing.admits(at(2), held(1)), closed(Cause::Throttled, 3));
    let later = [(0, asks(5)), (5, refused(Cause::Timeout)), (5, refused(Cause::Timeout)), (5, refused(Cause::Timeout))];
    assert_eq!(after(&later).admits(at(5), held(1)), closed(Cause::Timeout, 15), "once it is over faults count again");
}

#[test]
fn three_faults_in_thirty_seconds_make_it_rest() {
    let faults = |times: &[u64]| {
        let outcomes = [Outcome::Refused(Cause::ProviderFault), Outcome::Unknown(Cause::Timeout), Outcome::Unsent(Cause::Unreachable)];
        let events: Vec<_> = times.iter().zip(outcomes.iter().cycle()).map(|(&now, outcome)| (now, ended(outcome.clone(), 1))).collect();
        after(&events)
    };
    assert_eq!(faults(&[0, 1]).standing(at(1), held(1)), Standing::Open);
    assert_eq!(faults(&[0, 15, 30]).standing(at(30), held(1)), Standing::Resting { until: at(45), cause: Cause::Unreachable });
    assert_eq!(faults(&[0, 15, 31]).standing(at(31), held(1)), Standing::Open);
    assert_eq!(faults(&[0, 15, 31, 44]).standing(at(44), held(1)).as_str(), "resting", "the window moves");
    let fault = |now| (now, refused(Cause::ProviderFault));
    let now_and_then = after(&[fault(0), fault(1), (2, accepted(1)), fault(3), fault(4)]);
    assert_eq!(now_and_then.standing(at(4), held(1)), Standing::Open, "it takes messages in between");
    for cause in [Cause::ReplyUnreadable, Cause::Unexplained] {
        assert_eq!(after(&vec![(0, refused(cause)); 3]).standing(at(0), held(1)).cause(), Some(cause));
    }
}

#[test]
fn a_rest_doubles_from_fifteen_seconds_to_two_minutes_and_one_message_tries() {
    let fault = || refused(Cause::ProviderFault);
    let (mut record, mut now, mut waits) = (after(&[(0, fault()), (0, fault()), (0, fault()), (0, fault())]), 0, Vec::new());
    for _ in 0..5 {
        let Admission::Closed { wait: Some(wait), .. } = record.admits(at(now), held(1)) else { panic!("not resting") };
        waits.push(wait.as_secs());
        now += wait.as_secs();
        assert_eq!(record.admits(at(now), held(1)), Admission::Trial);
        record.observe(&TRIAL, at(now));
        assert_eq!(record.admits(at(now), held(1)), closed(Cause::ProviderFault, wait.as_secs()), "one");
        record.observe(&fault(), at(now));
    }
    assert_eq!(waits, [15, 30, 60, 120, 120]);
    record.observe(&TRIAL, at(now + 120));
    record.observe(&accepted(1), at(now + 121));
    assert_eq!(record.admits(at(now + 121), held(1)), Admission::Open);
    record.observe(&fault(), at(now + 122));
    assert_eq!(record.admits(at(now + 122), held(1)), Admission::Open, "old faults are forgotten");
}

#[test]
fn any_answer_in_its_own_words_ends_a_rest() {
    for cause in [Cause::RecipientInvalid, Cause::SenderNotAllowed, Cause::Duplicate, Cause::RecipientBlocked] {
        let faults = [0, 0, 0].map(|now| (now, refused(Cause::ProviderFault)));
        let record = after(&[&faults[..], &[(15, TRIAL), (16, refused(cause))]].concat());
        assert_eq!(record.standing(at(16), held(1)), Standing::Open, "{cause}");
    }
    let faults = [0, 0, 0].map(|now| (now, refused(Cause::ProviderFault)));
    let record = after(&[&faults[..], &[(15, TRIAL), (16, refused(Cause::BalanceEmpty)), (17, accepted(1))]].concat());
    assert_eq!(record.standing(at(17), held(1)), Standing::Open, "aside ended the rest");
    let record = after(&[&faults[..], &[(1, refused(Cause::VaultUnavailable))]].concat());
    assert_eq!(record.standing(at(2), held(1)).as_str(), "resting", "our own trouble is no answer");
}

#[test]
fn what_is_wrong_with_a_message_or_with_us_leaves_no_mark() {
    for &cause in Cause::ALL {
        let marks = matches!(cause.concern(), Concern::Credential | Concern::Account | Concern::Throttle | Concern::Provider);
        let record = after(&vec![(0, refused(cause)); 3]);
        assert_eq!(record.standing(at(0), held(1)) != Standing::Open, marks, "{cause}");
    }
}

#[test]
fn one_foreign_number_does_not_take_a_test_account_away() {
    let mismatch = |version| ended(Outcome::Refused(Cause::SandboxMismatch), version);
    let word = |events: &[(u64, Event)]| after(events).standing(at(9), held(1)).as_str();
    assert_eq!(word(&[(0, mismatch(1))]), "open", "one number");
    assert_eq!(word(&[(0, mismatch(1)), (1, mismatch(1))]), "aside", "never accepted anything, and says it again");
    assert_eq!(word(&[(0, accepted(1)), (1, mismatch(1)), (2, mismatch(1)), (3, mismatch(1))]), "open", "it does deliver to others");
    assert_eq!(word(&[(0, mismatch(2)), (1, mismatch(1))]), "open", "another credential");
    assert_eq!(
        word(&[(0, Event::Probed { cause: Some(Cause::SandboxMismatch), credential: held(1) })]),
        "aside",
        "a probe has no recipient"
    );
}

#[test]
fn operators_have_the_last_word() {
    let paused = after(&[(0, Event::Paused), (1, accepted(1)), (2, Event::Renewed { credential: held(2) })]);
    assert_eq!(paused.standing(at(3), held(2)), Standing::Paused);
    assert_eq!(paused.admits(at(3), held(2)), Admission::Closed { cause: Cause::RefusedByPolicy, wait: None });
    let faults = [0, 0, 0].map(|now| (now, refused(Cause::ProviderFault)));
    let events = [&faults[..], &[(1, refused(Cause::BalanceEmpty)), (2, Event::Paused), (3, Event::Resumed)]].concat();
    assert_eq!(after(&events).admits(at(3), held(1)), Admission::Open);
}

#[test]
fn resuming_forgets_what_stood_against_it_and_nothing_else() {
    let second = Event::Begun { trial: false, retry: true };
    let spent = after(&[&vec![(0, second); 10][..], &[(1, Event::Resumed)]].concat());
    assert!(!spent.view(at(1), held(1)).retry, "the budget is not an accusation");
    let mismatch = || refused(Cause::SandboxMismatch);
    let proven = after(&[(0, accepted(1)), (1, Event::Resumed), (2, mismatch()), (3, mismatch())]);
    assert_eq!(proven.standing(at(3), held(1)), Standing::Open, "nor is what it delivered");
}

#[test]
fn second_attempts_are_paid_by_first_ones() {
    let first = Event::Begun { trial: false, retry: false };
    let second = Event::Begun { trial: false, retry: true };
    let mut record = after(&vec![(0, second.clone()); 9]);
    assert!(record.view(at(0), held(1)).retry);
    record.observe(&second, at(0));
    assert!(!record.view(at(0), held(1)).retry, "ten are saved up");
    for _ in 0..5 {
        assert!(!record.view(at(0), held(1)).retry);
        record.observe(&first, at(0));
    }
    assert!(record.view(at(0), held(1)).retry, "five first ones pay for one second");
    let rich = after(&[&vec![(0, first); 1000][..], &vec![(0, second); 10][..]].concat());
    assert!(!rich.view(at(0), held(1)).retry, "no more than ten are saved up");
    let view = after(&[(0, refused(Cause::BalanceEmpty))]).view(at(0), held(3));
    assert_eq!((view.admission, view.credential), (Admission::Open, held(3)));
}

#[test]
fn standings_have_their_words() {
    let rest = Standing::Resting { until: at(1), cause: Cause::Timeout };
    let aside = Standing::Aside { cause: Cause::BalanceEmpty, since: at(0), recheck_at: None };
    let words = [Standing::Open, rest, aside, Standing::Paused].map(Standing::as_str);
    assert_eq!(words, Standing::WORDS);
    assert_eq!(
        [Standing::Open, rest, aside, Standing::Paused].map(Standing::cause),
        [None, Some(Cause::Timeout), Some(Cause::BalanceEmpty), None]
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    let cause = || prop::sample::select(Cause::ALL.to_vec());
    let outcome = prop_oneof![
        2 => Just(Outcome::Accepted { id: String::new() }), 4 => cause().prop_map(Outcome::Refused),
        1 => cause().prop_map(Outcome::Unsent), 1 => cause().prop_map(Outcome::Unknown),
    ];
    let wait = prop::option::of((0u64..90).prop_map(Duration::from_secs));
    let ended = (outcome, 1u64..4, wait).prop_map(|(outcome, version, wait)| Event::Ended { outcome, credential: held(version), wait });
    prop_oneof![
        6 => ended, 2 => any::<bool>().prop_map(|retry| Event::Begun { trial: true, retry }),
        1 => (prop::option::of(cause()), 1u64..4).prop_map(|(cause, version)| Event::Probed { cause, credential: held(version) }),
        1 => (1u64..4).prop_map(|version| Event::Renewed { credential: held(version) }), 1 => Just(Event::Resumed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laws(events in prop::collection::vec((0u64..40, any_event()), 0..30)) {
        let (mut record, mut now) = (Record::new(Some(Duration::from_mins(1))), 0);
        for (passed, event) in events {
            now += passed;
            let before = record.clone();
            record.observe(&event, at(now));
            // a credential nobody has seen refused is never set aside
            prop_assert_ne!(record.standing(at(now), held(4)).as_str(), "aside");
            // who is aside or resting comes back by time: nobody is lost for ever
            for version in 1..5 {
                let later = record.admits(at(now + 24 * 3600), held(version));
                prop_assert!(matches!(later, Admission::Open | Admission::Trial));
            }
            // what was accepted last is open, save for a rest that was asked for
            if let Event::Ended { outcome: Outcome::Accepted { .. }, credential, .. } = event {
                let dead = before.aside.is_some_and(|aside| aside.dead > credential);
                let standing = record.standing(at(now), credential);
                prop_assert!(dead || standing == Standing::Open || standing.cause() == Some(Cause::Throttled));
            }
            // after a trial is taken nobody else may try
            if let Event::Begun { trial: true, .. } = event {
                prop_assert!((1..5).all(|version| record.admits(at(now), held(version)) != Admission::Trial));
            }
            // admission and standing are one truth
            let standing = record.standing(at(now), held(2));
            prop_assert_eq!(standing == Standing::Open, record.admits(at(now), held(2)) == Admission::Open);
        }
    }
}
