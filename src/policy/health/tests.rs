//! The contract's sentences about a provider's standing, and laws over random histories.

use proptest::prelude::*;

use super::*;
use crate::secret::Version;

const MINUTE: u64 = 60;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn held(version: u64) -> CredentialRevision {
    CredentialRevision::from(Version(version))
}

fn ended(outcome: Outcome, version: u64) -> HealthEvent {
    HealthEvent::Ended {
        outcome,
        credential: held(version),
        retry_after: None,
    }
}

fn refused(cause: Cause) -> HealthEvent {
    ended(Outcome::Rejected(cause), 1)
}

fn accepted(version: u64) -> HealthEvent {
    ended(Outcome::Accepted { id: "1".to_owned() }, version)
}

const TRIAL: HealthEvent = HealthEvent::Started {
    trial: true,
    retry: false,
};

/// A provider rechecked after a minute, after these events.
fn after(events: &[(u64, HealthEvent)]) -> Health {
    let mut record = Health::new(Some(Duration::from_mins(1)));
    for (now, event) in events {
        record.observe(event, at(*now));
    }
    record
}

fn closed(cause: Cause, wait: u64) -> SendAdmission {
    SendAdmission::Blocked {
        cause,
        reopens_in: Some(Duration::from_secs(wait)),
    }
}

#[test]
fn dead_is_a_property_of_provider_and_credential() {
    let record = after(&[(0, refused(Cause::CredentialRejected))]);
    assert_eq!(
        record.admission(at(1), held(1)),
        closed(Cause::CredentialRejected, 59)
    );
    assert_eq!(
        record.admission(at(1), held(2)),
        SendAdmission::Allowed,
        "no backoff hides a fresh one"
    );
    let token = CredentialRevision {
        version: Version(1),
        token_generation: 1,
    };
    assert_eq!(
        record.admission(at(1), token),
        SendAdmission::Allowed,
        "nor a fresh token"
    );
    let aside = HealthState::Quarantined {
        cause: Cause::CredentialRejected,
        since: at(0),
        recheck_at: Some(at(60)),
    };
    assert_eq!(
        (record.state(at(1), held(1)), record.state(at(1), held(2))),
        (aside, HealthState::Healthy)
    );
}

#[test]
fn what_is_said_of_an_old_credential_says_nothing_of_a_newer_one() {
    let old = after(&[
        (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
        (1, refused(Cause::BalanceEmpty)),
    ]);
    assert_eq!(
        old.state(at(2), held(2)).cause(),
        Some(Cause::CredentialRejected),
        "a late refusal of version 1"
    );
    let late = after(&[
        (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
        (1, accepted(1)),
    ]);
    assert_eq!(
        late.state(at(2), held(2)).as_str(),
        "quarantined",
        "a late success of version 1"
    );
    let good = after(&[
        (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
        (1, accepted(2)),
    ]);
    assert_eq!(good.state(at(2), held(2)), HealthState::Healthy);
    let newer = after(&[
        (0, refused(Cause::CredentialRejected)),
        (1, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
    ]);
    assert_eq!(
        newer.admission(at(2), held(2)),
        closed(Cause::CredentialRejected, 59),
        "the newer one can be dead too"
    );
    let renewed = after(&[
        (0, refused(Cause::BalanceEmpty)),
        (
            1,
            HealthEvent::Renewed {
                credential: held(2),
            },
        ),
    ]);
    assert_eq!(
        renewed.state(at(2), held(1)),
        HealthState::Healthy,
        "a changed credential brings it back"
    );
    let same = after(&[
        (0, refused(Cause::BalanceEmpty)),
        (
            1,
            HealthEvent::Renewed {
                credential: held(1),
            },
        ),
    ]);
    assert_eq!(same.state(at(2), held(1)).as_str(), "quarantined");
}

#[test]
fn the_recheck_doubles_from_one_minute_to_fifteen() {
    let (mut record, mut now, mut waits) = (
        after(&[(0, refused(Cause::AccountSuspended))]),
        0,
        Vec::new(),
    );
    for _ in 0..6 {
        let SendAdmission::Blocked {
            reopens_in: Some(wait),
            ..
        } = record.admission(at(now), held(1))
        else {
            panic!("not aside")
        };
        waits.push(wait.as_secs() / MINUTE);
        now += wait.as_secs();
        assert_eq!(
            record.admission(at(now - 1), held(1)),
            closed(Cause::AccountSuspended, 1)
        );
        assert_eq!(record.admission(at(now), held(1)), SendAdmission::Trial);
        record.observe(&TRIAL, at(now));
        record.observe(&refused(Cause::AccountSuspended), at(now));
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    record.observe(&accepted(1), at(now));
    record.observe(&refused(Cause::AccountSuspended), at(now));
    assert_eq!(
        record.admission(at(now), held(1)),
        closed(Cause::AccountSuspended, MINUTE),
        "after a success it begins anew"
    );
}

#[test]
fn one_message_tries_and_a_trial_without_an_end_is_only_a_lease() {
    let record = after(&[(0, refused(Cause::BalanceEmpty)), (60, TRIAL)]);
    assert_eq!(
        record.admission(at(60), held(1)),
        closed(Cause::BalanceEmpty, 60),
        "one"
    );
    assert_eq!(
        record.admission(at(120), held(1)),
        SendAdmission::Trial,
        "its outcome never came"
    );
    let back = after(&[
        (0, refused(Cause::BalanceEmpty)),
        (60, TRIAL),
        (61, accepted(1)),
    ]);
    assert_eq!(back.admission(at(61), held(1)), SendAdmission::Allowed);
}

#[test]
fn a_trial_of_a_rest_is_leased_though_an_older_credential_is_remembered_as_dead() {
    let faults = [1, 1, 1].map(|now| (now, refused(Cause::ProviderFault)));
    let record = after(
        &[
            &[(0, refused(Cause::CredentialRejected))][..],
            &faults[..],
            &[(16, TRIAL)],
        ]
        .concat(),
    );
    assert_eq!(
        record.admission(at(16), held(2)),
        closed(Cause::ProviderFault, 15)
    );
}

#[test]
fn refusals_already_under_way_do_not_double_the_recheck() {
    let refusals: Vec<_> = (0..9).map(|_| (0, refused(Cause::BalanceEmpty))).collect();
    assert_eq!(
        after(&refusals).admission(at(0), held(1)),
        closed(Cause::BalanceEmpty, MINUTE)
    );
    let since = after(&[
        (0, refused(Cause::CredentialRejected)),
        (9, refused(Cause::BalanceEmpty)),
    ]);
    let aside = HealthState::Quarantined {
        cause: Cause::BalanceEmpty,
        since: at(0),
        recheck_at: Some(at(60)),
    };
    assert_eq!(
        since.state(at(9), held(1)),
        aside,
        "the latest cause, since the first"
    );
    let resort = after(&[
        (0, refused(Cause::BalanceEmpty)),
        (10, TRIAL),
        (11, refused(Cause::BalanceEmpty)),
    ]);
    assert_eq!(
        resort.admission(at(11), held(1)),
        closed(Cause::BalanceEmpty, 49),
        "a last resort is outside the schedule"
    );
}

#[test]
fn a_failed_trial_counts_once_and_its_cause_is_the_latest() {
    let mut record = after(&[
        (0, refused(Cause::CredentialRejected)),
        (60, TRIAL),
        (61, refused(Cause::BalanceEmpty)),
    ]);
    let aside = HealthState::Quarantined {
        cause: Cause::BalanceEmpty,
        since: at(0),
        recheck_at: Some(at(181)),
    };
    assert_eq!(record.state(at(61), held(1)), aside);
    record.observe(&refused(Cause::BalanceEmpty), at(62));
    assert_eq!(
        record.state(at(62), held(1)),
        aside,
        "one more that was under way"
    );
}

#[test]
fn never_means_never_by_time() {
    let mut record = Health::new(None);
    record.observe(&refused(Cause::CredentialRejected), at(0));
    assert_eq!(
        record.admission(at(u64::from(u32::MAX)), held(1)),
        SendAdmission::Blocked {
            cause: Cause::CredentialRejected,
            reopens_in: None
        }
    );
    record.observe(&TRIAL, at(5));
    record.observe(&refused(Cause::CredentialRejected), at(5));
    assert_eq!(
        record.admission(at(9), held(1)),
        SendAdmission::Blocked {
            cause: Cause::CredentialRejected,
            reopens_in: None
        }
    );
    assert_eq!(record.admission(at(9), held(2)), SendAdmission::Allowed);
    let mut long = Health::new(Some(Duration::from_hours(1)));
    for event in [
        refused(Cause::BalanceEmpty),
        TRIAL,
        refused(Cause::BalanceEmpty),
    ] {
        long.observe(&event, at(0));
    }
    assert_eq!(
        long.admission(at(0), held(1)),
        closed(Cause::BalanceEmpty, 3600),
        "a longer recheck of the operator's stays as it is"
    );
}

#[test]
fn probes_speak_for_the_credential_they_used() {
    let probed = |cause, version| {
        (
            1,
            HealthEvent::Probed {
                cause,
                credential: held(version),
            },
        )
    };
    let standing = |event| {
        after(&[
            (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
            event,
        ])
        .state(at(2), held(2))
    };
    assert_eq!(standing(probed(None, 2)), HealthState::Healthy);
    assert_eq!(standing(probed(None, 1)).as_str(), "quarantined");
    assert_eq!(
        standing(probed(Some(Cause::IpNotAllowed), 2)).cause(),
        Some(Cause::IpNotAllowed),
        "it settles what was ambiguous"
    );
    assert_eq!(
        standing(probed(Some(Cause::Timeout), 2)).cause(),
        Some(Cause::CredentialRejected),
        "a probe that failed settles nothing"
    );
    assert_eq!(
        after(&[probed(Some(Cause::BalanceEmpty), 1)])
            .state(at(2), held(1))
            .as_str(),
        "quarantined"
    );
    let unreachable: Vec<_> = (0..9)
        .map(|_| probed(Some(Cause::Unreachable), 1))
        .collect();
    assert_eq!(
        after(&unreachable).state(at(2), held(1)),
        HealthState::Healthy
    );
}

#[test]
fn a_throttled_provider_rests_as_long_as_it_asks_else_a_second_doubling() {
    let asked = after(&[(
        0,
        HealthEvent::Ended {
            outcome: Outcome::Rejected(Cause::Throttled),
            credential: held(1),
            retry_after: Some(Duration::from_secs(7)),
        },
    )]);
    assert_eq!(asked.admission(at(0), held(1)), closed(Cause::Throttled, 7));
    assert_eq!(
        asked.admission(at(7), held(1)),
        SendAdmission::Allowed,
        "by time alone, without a trial"
    );
    let (mut record, mut now, mut waits) = (after(&[]), 0, Vec::new());
    for _ in 0..8 {
        record.observe(&refused(Cause::Throttled), at(now));
        record.observe(&refused(Cause::Throttled), at(now)); // one more was under way
        let SendAdmission::Blocked {
            reopens_in: Some(wait),
            ..
        } = record.admission(at(now), held(1))
        else {
            panic!("not resting")
        };
        waits.push(wait.as_secs());
        now += wait.as_secs();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    record.observe(&accepted(1), at(now));
    record.observe(&refused(Cause::Throttled), at(now));
    assert_eq!(
        record.admission(at(now), held(1)),
        closed(Cause::Throttled, 1),
        "after a success it begins anew"
    );
}

#[test]
fn a_rest_that_was_asked_for_is_kept() {
    let asks = |wait| HealthEvent::Ended {
        outcome: Outcome::Rejected(Cause::Throttled),
        credential: held(1),
        retry_after: Some(Duration::from_secs(wait)),
    };
    let longer = after(&[
        (0, asks(5)),
        (1, asks(9)),
        (2, asks(1)),
        (2, refused(Cause::Throttled)),
    ]);
    assert_eq!(
        longer.admission(at(2), held(1)),
        closed(Cause::Throttled, 8)
    );
    assert_eq!(
        after(&[(0, asks(86_400))]).admission(at(0), held(1)),
        closed(Cause::Throttled, 15 * MINUTE),
        "nobody is closed for a day"
    );
    let others = after(&[
        (0, asks(5)),
        (1, accepted(1)),
        (1, refused(Cause::MessageInvalid)),
    ]);
    assert_eq!(
        others.admission(at(2), held(1)),
        closed(Cause::Throttled, 3),
        "an answer to an earlier message does not end it"
    );
    let faults = [
        (1, refused(Cause::Timeout)),
        (1, refused(Cause::Timeout)),
        (1, refused(Cause::Timeout)),
    ];
    let failing = after(&[&[(0, asks(5))][..], &faults[..]].concat());
    assert_eq!(
        failing.admission(at(2), held(1)),
        closed(Cause::Throttled, 3)
    );
    let later = [
        (0, asks(5)),
        (5, refused(Cause::Timeout)),
        (5, refused(Cause::Timeout)),
        (5, refused(Cause::Timeout)),
    ];
    assert_eq!(
        after(&later).admission(at(5), held(1)),
        closed(Cause::Timeout, 15),
        "once it is over faults count again"
    );
}

#[test]
fn three_faults_in_thirty_seconds_make_it_rest() {
    let faults = |times: &[u64]| {
        let outcomes = [
            Outcome::Rejected(Cause::ProviderFault),
            Outcome::Unknown(Cause::Timeout),
            Outcome::Unsent(Cause::Unreachable),
        ];
        let events: Vec<_> = times
            .iter()
            .zip(outcomes.iter().cycle())
            .map(|(&now, outcome)| (now, ended(outcome.clone(), 1)))
            .collect();
        after(&events)
    };
    assert_eq!(faults(&[0, 1]).state(at(1), held(1)), HealthState::Healthy);
    assert_eq!(
        faults(&[0, 15, 30]).state(at(30), held(1)),
        HealthState::Cooldown {
            until: at(45),
            cause: Cause::Unreachable
        }
    );
    assert_eq!(
        faults(&[0, 15, 31]).state(at(31), held(1)),
        HealthState::Healthy
    );
    assert_eq!(
        faults(&[0, 15, 31, 44]).state(at(44), held(1)).as_str(),
        "cooldown",
        "the window moves"
    );
    let fault = |now| (now, refused(Cause::ProviderFault));
    let now_and_then = after(&[fault(0), fault(1), (2, accepted(1)), fault(3), fault(4)]);
    assert_eq!(
        now_and_then.state(at(4), held(1)),
        HealthState::Healthy,
        "it takes messages in between"
    );
    for cause in [Cause::ReplyUnreadable, Cause::Unexplained] {
        assert_eq!(
            after(&vec![(0, refused(cause)); 3])
                .state(at(0), held(1))
                .cause(),
            Some(cause)
        );
    }
}

#[test]
fn a_rest_doubles_from_fifteen_seconds_to_two_minutes_and_one_message_tries() {
    let fault = || refused(Cause::ProviderFault);
    let (mut record, mut now, mut waits) = (
        after(&[(0, fault()), (0, fault()), (0, fault()), (0, fault())]),
        0,
        Vec::new(),
    );
    for _ in 0..5 {
        let SendAdmission::Blocked {
            reopens_in: Some(wait),
            ..
        } = record.admission(at(now), held(1))
        else {
            panic!("not resting")
        };
        waits.push(wait.as_secs());
        now += wait.as_secs();
        assert_eq!(record.admission(at(now), held(1)), SendAdmission::Trial);
        record.observe(&TRIAL, at(now));
        assert_eq!(
            record.admission(at(now), held(1)),
            closed(Cause::ProviderFault, wait.as_secs()),
            "one"
        );
        record.observe(&fault(), at(now));
    }
    assert_eq!(waits, [15, 30, 60, 120, 120]);
    record.observe(&TRIAL, at(now + 120));
    record.observe(&accepted(1), at(now + 121));
    assert_eq!(
        record.admission(at(now + 121), held(1)),
        SendAdmission::Allowed
    );
    record.observe(&fault(), at(now + 122));
    assert_eq!(
        record.admission(at(now + 122), held(1)),
        SendAdmission::Allowed,
        "old faults are forgotten"
    );
}

#[test]
fn any_answer_in_its_own_words_ends_a_rest() {
    for cause in [
        Cause::RecipientInvalid,
        Cause::SenderNotAllowed,
        Cause::Duplicate,
        Cause::RecipientBlocked,
    ] {
        let faults = [0, 0, 0].map(|now| (now, refused(Cause::ProviderFault)));
        let record = after(&[&faults[..], &[(15, TRIAL), (16, refused(cause))]].concat());
        assert_eq!(
            record.state(at(16), held(1)),
            HealthState::Healthy,
            "{cause}"
        );
    }
    let faults = [0, 0, 0].map(|now| (now, refused(Cause::ProviderFault)));
    let record = after(
        &[
            &faults[..],
            &[
                (15, TRIAL),
                (16, refused(Cause::BalanceEmpty)),
                (17, accepted(1)),
            ],
        ]
        .concat(),
    );
    assert_eq!(
        record.state(at(17), held(1)),
        HealthState::Healthy,
        "aside ended the rest"
    );
    let record = after(&[&faults[..], &[(1, refused(Cause::VaultUnavailable))]].concat());
    assert_eq!(
        record.state(at(2), held(1)).as_str(),
        "cooldown",
        "our own trouble is no answer"
    );
}

#[test]
fn what_is_wrong_with_a_message_or_with_us_leaves_no_mark() {
    for &cause in Cause::ALL {
        let marks = matches!(
            cause.concern(),
            Concern::Credential | Concern::Account | Concern::Throttle | Concern::Provider
        );
        let record = after(&vec![(0, refused(cause)); 3]);
        assert_eq!(
            record.state(at(0), held(1)) != HealthState::Healthy,
            marks,
            "{cause}"
        );
    }
}

#[test]
fn one_foreign_number_does_not_take_a_test_account_away() {
    let mismatch = |version| ended(Outcome::Rejected(Cause::SandboxMismatch), version);
    let word = |events: &[(u64, HealthEvent)]| after(events).state(at(9), held(1)).as_str();
    assert_eq!(word(&[(0, mismatch(1))]), "healthy", "one number");
    assert_eq!(
        word(&[(0, mismatch(1)), (1, mismatch(1))]),
        "quarantined",
        "never accepted anything, and says it again"
    );
    assert_eq!(
        word(&[
            (0, accepted(1)),
            (1, mismatch(1)),
            (2, mismatch(1)),
            (3, mismatch(1))
        ]),
        "healthy",
        "it does deliver to others"
    );
    assert_eq!(
        word(&[(0, mismatch(2)), (1, mismatch(1))]),
        "healthy",
        "another credential"
    );
    assert_eq!(
        word(&[(
            0,
            HealthEvent::Probed {
                cause: Some(Cause::SandboxMismatch),
                credential: held(1)
            }
        )]),
        "quarantined",
        "a probe has no recipient"
    );
}

#[test]
fn operators_have_the_last_word() {
    let paused = after(&[
        (0, HealthEvent::Paused),
        (1, accepted(1)),
        (
            2,
            HealthEvent::Renewed {
                credential: held(2),
            },
        ),
    ]);
    assert_eq!(paused.state(at(3), held(2)), HealthState::Paused);
    assert_eq!(
        paused.admission(at(3), held(2)),
        SendAdmission::Blocked {
            cause: Cause::DeniedByPolicy,
            reopens_in: None
        }
    );
    let faults = [0, 0, 0].map(|now| (now, refused(Cause::ProviderFault)));
    let events = [
        &faults[..],
        &[
            (1, refused(Cause::BalanceEmpty)),
            (2, HealthEvent::Paused),
            (3, HealthEvent::Resumed),
        ],
    ]
    .concat();
    assert_eq!(
        after(&events).admission(at(3), held(1)),
        SendAdmission::Allowed
    );
}

#[test]
fn resuming_forgets_what_stood_against_it_and_nothing_else() {
    let second = HealthEvent::Started {
        trial: false,
        retry: true,
    };
    let spent = after(&[&vec![(0, second); 10][..], &[(1, HealthEvent::Resumed)]].concat());
    assert!(
        !spent.snapshot(at(1), held(1)).can_retry,
        "the budget is not an accusation"
    );
    let mismatch = || refused(Cause::SandboxMismatch);
    let proven = after(&[
        (0, accepted(1)),
        (1, HealthEvent::Resumed),
        (2, mismatch()),
        (3, mismatch()),
    ]);
    assert_eq!(
        proven.state(at(3), held(1)),
        HealthState::Healthy,
        "nor is what it delivered"
    );
}

#[test]
fn second_attempts_are_paid_by_first_ones() {
    let first = HealthEvent::Started {
        trial: false,
        retry: false,
    };
    let second = HealthEvent::Started {
        trial: false,
        retry: true,
    };
    let mut record = after(&vec![(0, second.clone()); 9]);
    assert!(record.snapshot(at(0), held(1)).can_retry);
    record.observe(&second, at(0));
    assert!(
        !record.snapshot(at(0), held(1)).can_retry,
        "ten are saved up"
    );
    for _ in 0..5 {
        assert!(!record.snapshot(at(0), held(1)).can_retry);
        record.observe(&first, at(0));
    }
    assert!(
        record.snapshot(at(0), held(1)).can_retry,
        "five first ones pay for one second"
    );
    let rich = after(&[&vec![(0, first); 1000][..], &vec![(0, second); 10][..]].concat());
    assert!(
        !rich.snapshot(at(0), held(1)).can_retry,
        "no more than ten are saved up"
    );
    let view = after(&[(0, refused(Cause::BalanceEmpty))]).snapshot(at(0), held(3));
    assert_eq!(
        (view.admission, view.credential),
        (SendAdmission::Allowed, held(3))
    );
}

#[test]
fn standings_have_their_words() {
    let rest = HealthState::Cooldown {
        until: at(1),
        cause: Cause::Timeout,
    };
    let aside = HealthState::Quarantined {
        cause: Cause::BalanceEmpty,
        since: at(0),
        recheck_at: None,
    };
    let words = [HealthState::Healthy, rest, aside, HealthState::Paused].map(HealthState::as_str);
    assert_eq!(words, HealthState::LABELS);
    assert_eq!(
        [HealthState::Healthy, rest, aside, HealthState::Paused].map(HealthState::cause),
        [None, Some(Cause::Timeout), Some(Cause::BalanceEmpty), None]
    );
}

fn any_event() -> impl Strategy<Value = HealthEvent> {
    let cause = || prop::sample::select(Cause::ALL.to_vec());
    let outcome = prop_oneof![
        2 => Just(Outcome::Accepted { id: String::new() }), 4 => cause().prop_map(Outcome::Rejected),
        1 => cause().prop_map(Outcome::Unsent), 1 => cause().prop_map(Outcome::Unknown),
    ];
    let wait = prop::option::of((0u64..90).prop_map(Duration::from_secs));
    let ended = (outcome, 1u64..4, wait).prop_map(|(outcome, version, wait)| HealthEvent::Ended {
        outcome,
        credential: held(version),
        retry_after: wait,
    });
    prop_oneof![
        6 => ended, 2 => any::<bool>().prop_map(|retry| HealthEvent::Started { trial: true, retry }),
        1 => (prop::option::of(cause()), 1u64..4).prop_map(|(cause, version)| HealthEvent::Probed { cause, credential: held(version) }),
        1 => (1u64..4).prop_map(|version| HealthEvent::Renewed { credential: held(version) }), 1 => Just(HealthEvent::Resumed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laws(events in prop::collection::vec((0u64..40, any_event()), 0..30)) {
        let (mut record, mut now) = (Health::new(Some(Duration::from_mins(1))), 0);
        for (passed, event) in events {
            now += passed;
            let before = record.clone();
            record.observe(&event, at(now));
            // a credential nobody has seen refused is never set aside
            prop_assert_ne!(record.state(at(now), held(4)).as_str(), "quarantined");
            // who is aside or resting comes back by time: nobody is lost for ever
            for version in 1..5 {
                let later = record.admission(at(now + 24 * 3600), held(version));
                prop_assert!(matches!(later, SendAdmission::Allowed | SendAdmission::Trial));
            }
            // what was accepted last is open, save for a rest that was asked for
            if let HealthEvent::Ended { outcome: Outcome::Accepted { .. }, credential, .. } = event {
                let dead = before.quarantine.is_some_and(|aside| aside.rejected > credential);
                let standing = record.state(at(now), credential);
                prop_assert!(dead || standing == HealthState::Healthy || standing.cause() == Some(Cause::Throttled));
            }
            // after a trial is taken nobody else may try
            if let HealthEvent::Started { trial: true, .. } = event {
                prop_assert!((1..5).all(|version| record.admission(at(now), held(version)) != SendAdmission::Trial));
            }
            // admission and standing are one truth
            let standing = record.state(at(now), held(2));
            prop_assert_eq!(standing == HealthState::Healthy, record.admission(at(now), held(2)) == SendAdmission::Allowed);
        }
    }
}
