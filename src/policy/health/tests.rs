//! The rules for a provider's state as tables, and properties over random histories.

use proptest::prelude::*;

use super::*;
use crate::secret::Version;

const MINUTE: u64 = 60;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn revision(version: u64) -> CredentialRevision {
    CredentialRevision::from(Version(version))
}

fn ended(outcome: Outcome, version: u64) -> HealthEvent {
    HealthEvent::Ended {
        outcome,
        credential: revision(version),
        retry_after: None,
        suspects_credential: false,
    }
}

fn rejected(cause: Cause) -> HealthEvent {
    ended(Outcome::Rejected(cause), 1)
}

fn accepted(version: u64) -> HealthEvent {
    ended(Outcome::Accepted { id: "1".to_owned() }, version)
}

const TRIAL: HealthEvent = HealthEvent::Started {
    trial: true,
    retry: false,
};

/// A provider with a recheck of one minute, after these events.
fn after(events: &[(u64, HealthEvent)]) -> Health {
    let mut health = Health::new(Some(Duration::from_mins(1)));
    for (now, event) in events {
        health.observe(event, at(*now));
    }
    health
}

fn blocked(cause: Cause, wait: u64) -> SendAdmission {
    SendAdmission::Blocked {
        cause,
        reopens_in: Some(Duration::from_secs(wait)),
    }
}

#[test]
fn a_credential_is_dead_per_provider_and_version() {
    let health = after(&[(0, rejected(Cause::CredentialRejected))]);
    assert_eq!(
        health.admission(at(1), revision(1)),
        blocked(Cause::CredentialRejected, 59)
    );
    assert_eq!(
        health.admission(at(1), revision(2)),
        SendAdmission::Allowed,
        "no backoff hides a new credential"
    );
    let token = CredentialRevision {
        version: Version(1),
        token_generation: 1,
    };
    assert_eq!(
        health.admission(at(1), token),
        SendAdmission::Allowed,
        "nor a new token"
    );
    let quarantined = HealthState::Quarantined {
        cause: Cause::CredentialRejected,
        since: at(0),
        recheck_at: Some(at(60)),
    };
    assert_eq!(
        (
            health.state(at(1), revision(1)),
            health.state(at(1), revision(2))
        ),
        (quarantined, HealthState::Healthy)
    );
}

#[test]
fn a_reply_about_an_old_credential_says_nothing_about_a_newer_one() {
    let old = after(&[
        (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
        (1, rejected(Cause::BalanceEmpty)),
    ]);
    assert_eq!(
        old.state(at(2), revision(2)).cause(),
        Some(Cause::CredentialRejected),
        "a late rejection of version 1"
    );
    let late = after(&[
        (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
        (1, accepted(1)),
    ]);
    assert_eq!(
        late.state(at(2), revision(2)).as_str(),
        "quarantined",
        "a late success of version 1"
    );
    let good = after(&[
        (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
        (1, accepted(2)),
    ]);
    assert_eq!(good.state(at(2), revision(2)), HealthState::Healthy);
    let newer = after(&[
        (0, rejected(Cause::CredentialRejected)),
        (1, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
    ]);
    assert_eq!(
        newer.admission(at(2), revision(2)),
        blocked(Cause::CredentialRejected, 59),
        "the newer one can be dead too"
    );
    let old_rejected = after(&[(0, rejected(Cause::BalanceEmpty))]);
    assert_eq!(
        old_rejected.state(at(2), revision(2)),
        HealthState::Healthy,
        "a changed credential ends the quarantine"
    );
    assert_eq!(
        old_rejected.state(at(2), revision(1)).as_str(),
        "quarantined"
    );
}

#[test]
fn the_recheck_interval_doubles_from_one_minute_to_fifteen() {
    let mut health = after(&[(0, rejected(Cause::AccountSuspended))]);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let SendAdmission::Blocked {
            reopens_in: Some(wait),
            ..
        } = health.admission(at(now), revision(1))
        else {
            panic!("not quarantined")
        };
        waits.push(wait.as_secs() / MINUTE);
        now += wait.as_secs();
        assert_eq!(
            health.admission(at(now - 1), revision(1)),
            blocked(Cause::AccountSuspended, 1)
        );
        assert_eq!(health.admission(at(now), revision(1)), SendAdmission::Trial);
        health.observe(&TRIAL, at(now));
        health.observe(&rejected(Cause::AccountSuspended), at(now));
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    health.observe(&accepted(1), at(now));
    health.observe(&rejected(Cause::AccountSuspended), at(now));
    assert_eq!(
        health.admission(at(now), revision(1)),
        blocked(Cause::AccountSuspended, MINUTE),
        "a success resets the interval"
    );
}

#[test]
fn one_message_is_the_trial_and_a_lost_trial_is_repeated() {
    let health = after(&[(0, rejected(Cause::BalanceEmpty)), (60, TRIAL)]);
    assert_eq!(
        health.admission(at(60), revision(1)),
        blocked(Cause::BalanceEmpty, 60),
        "one trial at a time"
    );
    assert_eq!(
        health.admission(at(120), revision(1)),
        SendAdmission::Trial,
        "the outcome of the trial never arrived"
    );
    let back = after(&[
        (0, rejected(Cause::BalanceEmpty)),
        (60, TRIAL),
        (61, accepted(1)),
    ]);
    assert_eq!(back.admission(at(61), revision(1)), SendAdmission::Allowed);
}

#[test]
fn the_trial_of_a_cooldown_is_leased_beside_an_old_quarantine() {
    let faults = [1, 1, 1].map(|now| (now, rejected(Cause::ProviderFault)));
    let health = after(
        &[
            &[(0, rejected(Cause::CredentialRejected))][..],
            &faults[..],
            &[(16, TRIAL)],
        ]
        .concat(),
    );
    assert_eq!(
        health.admission(at(16), revision(2)),
        blocked(Cause::ProviderFault, 15)
    );
}

#[test]
fn rejections_in_flight_do_not_double_the_recheck_interval() {
    let rejections: Vec<_> = (0..9).map(|_| (0, rejected(Cause::BalanceEmpty))).collect();
    assert_eq!(
        after(&rejections).admission(at(0), revision(1)),
        blocked(Cause::BalanceEmpty, MINUTE)
    );
    let since = after(&[
        (0, rejected(Cause::CredentialRejected)),
        (9, rejected(Cause::BalanceEmpty)),
    ]);
    let quarantined = HealthState::Quarantined {
        cause: Cause::BalanceEmpty,
        since: at(0),
        recheck_at: Some(at(60)),
    };
    assert_eq!(
        since.state(at(9), revision(1)),
        quarantined,
        "the latest cause, the time of the first"
    );
    let resort = after(&[
        (0, rejected(Cause::BalanceEmpty)),
        (10, TRIAL),
        (11, rejected(Cause::BalanceEmpty)),
    ]);
    assert_eq!(
        resort.admission(at(11), revision(1)),
        blocked(Cause::BalanceEmpty, 49),
        "a last-resort trial leaves the schedule alone"
    );
}

#[test]
fn a_failed_trial_counts_once_and_its_cause_is_the_latest() {
    let mut health = after(&[
        (0, rejected(Cause::CredentialRejected)),
        (60, TRIAL),
        (61, rejected(Cause::BalanceEmpty)),
    ]);
    let quarantined = HealthState::Quarantined {
        cause: Cause::BalanceEmpty,
        since: at(0),
        recheck_at: Some(at(181)),
    };
    assert_eq!(health.state(at(61), revision(1)), quarantined);
    health.observe(&rejected(Cause::BalanceEmpty), at(62));
    assert_eq!(
        health.state(at(62), revision(1)),
        quarantined,
        "another one was in flight"
    );
}

#[test]
fn a_recheck_of_never_allows_no_trial() {
    let mut health = Health::new(None);
    health.observe(&rejected(Cause::CredentialRejected), at(0));
    assert_eq!(
        health.admission(at(u64::from(u32::MAX)), revision(1)),
        SendAdmission::Blocked {
            cause: Cause::CredentialRejected,
            reopens_in: None
        }
    );
    health.observe(&TRIAL, at(5));
    health.observe(&rejected(Cause::CredentialRejected), at(5));
    assert_eq!(
        health.admission(at(9), revision(1)),
        SendAdmission::Blocked {
            cause: Cause::CredentialRejected,
            reopens_in: None
        }
    );
    assert_eq!(health.admission(at(9), revision(2)), SendAdmission::Allowed);
    let mut long = Health::new(Some(Duration::from_hours(1)));
    for event in [
        rejected(Cause::BalanceEmpty),
        TRIAL,
        rejected(Cause::BalanceEmpty),
    ] {
        long.observe(&event, at(0));
    }
    assert_eq!(
        long.admission(at(0), revision(1)),
        blocked(Cause::BalanceEmpty, 3600),
        "a configured recheck over 15 minutes stays as it is"
    );
}

#[test]
fn a_probe_counts_for_the_credential_it_used() {
    let probed = |cause, version| {
        (
            1,
            HealthEvent::Probed {
                cause,
                credential: revision(version),
                suspects_credential: false,
            },
        )
    };
    let state = |event| {
        after(&[
            (0, ended(Outcome::Rejected(Cause::CredentialRejected), 2)),
            event,
        ])
        .state(at(2), revision(2))
    };
    assert_eq!(state(probed(None, 2)), HealthState::Healthy);
    assert_eq!(state(probed(None, 1)).as_str(), "quarantined");
    assert_eq!(
        state(probed(Some(Cause::IpNotAllowed), 2)).cause(),
        Some(Cause::IpNotAllowed),
        "the probe settles an ambiguous cause"
    );
    assert_eq!(
        state(probed(Some(Cause::Timeout), 2)).cause(),
        Some(Cause::CredentialRejected),
        "a probe that failed settles nothing"
    );
    assert_eq!(
        after(&[probed(Some(Cause::BalanceEmpty), 1)])
            .state(at(2), revision(1))
            .as_str(),
        "quarantined"
    );
    let unreachable: Vec<_> = (0..9)
        .map(|_| probed(Some(Cause::Unreachable), 1))
        .collect();
    assert_eq!(
        after(&unreachable).state(at(2), revision(1)),
        HealthState::Healthy
    );
}

#[test]
fn a_throttled_provider_cools_down_for_retry_after_else_a_doubling_second() {
    let asked = after(&[(
        0,
        HealthEvent::Ended {
            outcome: Outcome::Rejected(Cause::Throttled),
            credential: revision(1),
            retry_after: Some(Duration::from_secs(7)),
            suspects_credential: false,
        },
    )]);
    assert_eq!(
        asked.admission(at(0), revision(1)),
        blocked(Cause::Throttled, 7)
    );
    assert_eq!(
        asked.admission(at(7), revision(1)),
        SendAdmission::Allowed,
        "it ends by time, without a trial"
    );
    let mut health = after(&[]);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        health.observe(&rejected(Cause::Throttled), at(now));
        health.observe(&rejected(Cause::Throttled), at(now)); // another one was in flight
        let SendAdmission::Blocked {
            reopens_in: Some(wait),
            ..
        } = health.admission(at(now), revision(1))
        else {
            panic!("not in cooldown")
        };
        waits.push(wait.as_secs());
        now += wait.as_secs();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    health.observe(&accepted(1), at(now));
    health.observe(&rejected(Cause::Throttled), at(now));
    assert_eq!(
        health.admission(at(now), revision(1)),
        blocked(Cause::Throttled, 1),
        "a success resets the interval"
    );
}

#[test]
fn a_requested_cooldown_is_kept() {
    let asks = |wait| HealthEvent::Ended {
        outcome: Outcome::Rejected(Cause::Throttled),
        credential: revision(1),
        retry_after: Some(Duration::from_secs(wait)),
        suspects_credential: false,
    };
    let longer = after(&[
        (0, asks(5)),
        (1, asks(9)),
        (2, asks(1)),
        (2, rejected(Cause::Throttled)),
    ]);
    assert_eq!(
        longer.admission(at(2), revision(1)),
        blocked(Cause::Throttled, 8)
    );
    assert_eq!(
        after(&[(0, asks(86_400))]).admission(at(0), revision(1)),
        blocked(Cause::Throttled, 15 * MINUTE),
        "Retry-After is cut to 15 minutes"
    );
    let others = after(&[
        (0, asks(5)),
        (1, accepted(1)),
        (1, rejected(Cause::MessageInvalid)),
    ]);
    assert_eq!(
        others.admission(at(2), revision(1)),
        blocked(Cause::Throttled, 3),
        "a reply to an earlier message does not end it"
    );
    let faults = [
        (1, rejected(Cause::Timeout)),
        (1, rejected(Cause::Timeout)),
        (1, rejected(Cause::Timeout)),
    ];
    let failing = after(&[&[(0, asks(5))][..], &faults[..]].concat());
    assert_eq!(
        failing.admission(at(2), revision(1)),
        blocked(Cause::Throttled, 3)
    );
    let later = [
        (0, asks(5)),
        (5, rejected(Cause::Timeout)),
        (5, rejected(Cause::Timeout)),
        (5, rejected(Cause::Timeout)),
    ];
    assert_eq!(
        after(&later).admission(at(5), revision(1)),
        blocked(Cause::Timeout, 15),
        "faults count again after its end"
    );
}

#[test]
fn three_faults_in_thirty_seconds_start_a_cooldown() {
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
    assert_eq!(
        faults(&[0, 1]).state(at(1), revision(1)),
        HealthState::Healthy
    );
    assert_eq!(
        faults(&[0, 15, 30]).state(at(30), revision(1)),
        HealthState::Cooldown {
            until: at(45),
            cause: Cause::Unreachable
        }
    );
    assert_eq!(
        faults(&[0, 15, 31]).state(at(31), revision(1)),
        HealthState::Healthy
    );
    assert_eq!(
        faults(&[0, 15, 31, 44]).state(at(44), revision(1)).as_str(),
        "cooldown",
        "the window moves"
    );
    let fault = |now| (now, rejected(Cause::ProviderFault));
    let now_and_then = after(&[fault(0), fault(1), (2, accepted(1)), fault(3), fault(4)]);
    assert_eq!(
        now_and_then.state(at(4), revision(1)),
        HealthState::Healthy,
        "it accepts messages between the faults"
    );
    for cause in [Cause::ReplyUnreadable, Cause::Unexplained] {
        assert_eq!(
            after(&vec![(0, rejected(cause)); 3])
                .state(at(0), revision(1))
                .cause(),
            Some(cause)
        );
    }
}

#[test]
fn a_cooldown_doubles_from_fifteen_seconds_to_two_minutes() {
    let fault = || rejected(Cause::ProviderFault);
    let mut health = after(&[(0, fault()), (0, fault()), (0, fault()), (0, fault())]);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let SendAdmission::Blocked {
            reopens_in: Some(wait),
            ..
        } = health.admission(at(now), revision(1))
        else {
            panic!("not in cooldown")
        };
        waits.push(wait.as_secs());
        now += wait.as_secs();
        assert_eq!(health.admission(at(now), revision(1)), SendAdmission::Trial);
        health.observe(&TRIAL, at(now));
        assert_eq!(
            health.admission(at(now), revision(1)),
            blocked(Cause::ProviderFault, wait.as_secs()),
            "one trial at a time"
        );
        health.observe(&fault(), at(now));
    }
    assert_eq!(waits, [15, 30, 60, 120, 120]);
    health.observe(&TRIAL, at(now + 120));
    health.observe(&accepted(1), at(now + 121));
    assert_eq!(
        health.admission(at(now + 121), revision(1)),
        SendAdmission::Allowed
    );
    health.observe(&fault(), at(now + 122));
    assert_eq!(
        health.admission(at(now + 122), revision(1)),
        SendAdmission::Allowed,
        "old faults are forgotten"
    );
}

#[test]
fn any_reply_of_the_service_ends_a_fault_cooldown() {
    for cause in [
        Cause::RecipientInvalid,
        Cause::SenderNotAllowed,
        Cause::Duplicate,
        Cause::RecipientBlocked,
    ] {
        let faults = [0, 0, 0].map(|now| (now, rejected(Cause::ProviderFault)));
        let health = after(&[&faults[..], &[(15, TRIAL), (16, rejected(cause))]].concat());
        assert_eq!(
            health.state(at(16), revision(1)),
            HealthState::Healthy,
            "{cause}"
        );
    }
    let faults = [0, 0, 0].map(|now| (now, rejected(Cause::ProviderFault)));
    let health = after(
        &[
            &faults[..],
            &[
                (15, TRIAL),
                (16, rejected(Cause::BalanceEmpty)),
                (17, accepted(1)),
            ],
        ]
        .concat(),
    );
    assert_eq!(
        health.state(at(17), revision(1)),
        HealthState::Healthy,
        "the quarantine ended the cooldown"
    );
    let health = after(&[&faults[..], &[(1, rejected(Cause::VaultUnavailable))]].concat());
    assert_eq!(
        health.state(at(2), revision(1)).as_str(),
        "cooldown",
        "a fault of ours is not a reply"
    );
}

#[test]
fn faults_of_the_message_or_of_ours_leave_the_state_alone() {
    for &cause in Cause::ALL {
        let changes_state = matches!(
            cause.concern(),
            Concern::Credential | Concern::Account | Concern::Throttle | Concern::Provider
        );
        let health = after(&vec![(0, rejected(cause)); 3]);
        assert_eq!(
            health.state(at(0), revision(1)) != HealthState::Healthy,
            changes_state,
            "{cause}"
        );
    }
}

#[test]
fn one_sandbox_mismatch_does_not_quarantine() {
    let mismatch = |version| ended(Outcome::Rejected(Cause::SandboxMismatch), version);
    let word = |events: &[(u64, HealthEvent)]| after(events).state(at(9), revision(1)).as_str();
    assert_eq!(word(&[(0, mismatch(1))]), "healthy", "one number");
    assert_eq!(
        word(&[(0, mismatch(1)), (1, mismatch(1))]),
        "quarantined",
        "the second mismatch of an account that never accepted a message"
    );
    assert_eq!(
        word(&[
            (0, accepted(1)),
            (1, mismatch(1)),
            (2, mismatch(1)),
            (3, mismatch(1))
        ]),
        "healthy",
        "it accepted another message"
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
                credential: revision(1),
                suspects_credential: false,
            }
        )]),
        "quarantined",
        "a probe has no recipient"
    );
}

#[test]
fn pause_and_resume_override_everything() {
    let paused = after(&[(0, HealthEvent::Paused), (1, accepted(1))]);
    assert_eq!(paused.state(at(3), revision(2)), HealthState::Paused);
    assert_eq!(
        paused.admission(at(3), revision(2)),
        SendAdmission::Blocked {
            cause: Cause::DeniedByPolicy,
            reopens_in: None
        }
    );
    let faults = [0, 0, 0].map(|now| (now, rejected(Cause::ProviderFault)));
    let events = [
        &faults[..],
        &[
            (1, rejected(Cause::BalanceEmpty)),
            (2, HealthEvent::Paused),
            (3, HealthEvent::Resumed),
        ],
    ]
    .concat();
    assert_eq!(
        after(&events).admission(at(3), revision(1)),
        SendAdmission::Allowed
    );
}

#[test]
fn resuming_keeps_the_retry_budget_and_the_last_accepted_credential() {
    let second = HealthEvent::Started {
        trial: false,
        retry: true,
    };
    let spent = after(&[&vec![(0, second); 10][..], &[(1, HealthEvent::Resumed)]].concat());
    assert!(
        !spent.snapshot(at(1), revision(1)).can_retry,
        "the retry budget is kept"
    );
    let mismatch = || rejected(Cause::SandboxMismatch);
    let proven = after(&[
        (0, accepted(1)),
        (1, HealthEvent::Resumed),
        (2, mismatch()),
        (3, mismatch()),
    ]);
    assert_eq!(
        proven.state(at(3), revision(1)),
        HealthState::Healthy,
        "the last accepted credential is kept"
    );
}

#[test]
fn retries_are_paid_by_first_attempts() {
    let first = HealthEvent::Started {
        trial: false,
        retry: false,
    };
    let second = HealthEvent::Started {
        trial: false,
        retry: true,
    };
    let mut health = after(&vec![(0, second.clone()); 9]);
    assert!(health.snapshot(at(0), revision(1)).can_retry);
    health.observe(&second, at(0));
    assert!(
        !health.snapshot(at(0), revision(1)).can_retry,
        "the budget starts at ten"
    );
    for _ in 0..5 {
        assert!(!health.snapshot(at(0), revision(1)).can_retry);
        health.observe(&first, at(0));
    }
    assert!(
        health.snapshot(at(0), revision(1)).can_retry,
        "five first attempts pay for one retry"
    );
    let rich = after(&[&vec![(0, first); 1000][..], &vec![(0, second); 10][..]].concat());
    assert!(
        !rich.snapshot(at(0), revision(1)).can_retry,
        "the budget ends at ten"
    );
    let view = after(&[(0, rejected(Cause::BalanceEmpty))]).snapshot(at(0), revision(3));
    assert_eq!(
        (view.admission, view.credential),
        (SendAdmission::Allowed, revision(3))
    );
}

#[test]
fn every_state_has_its_label_and_cause() {
    let cooldown = HealthState::Cooldown {
        until: at(1),
        cause: Cause::Timeout,
    };
    let quarantined = HealthState::Quarantined {
        cause: Cause::BalanceEmpty,
        since: at(0),
        recheck_at: None,
    };
    let words = [
        HealthState::Healthy,
        cooldown,
        quarantined,
        HealthState::Paused,
    ]
    .map(HealthState::as_str);
    assert_eq!(words, HealthState::LABELS);
    assert_eq!(
        [
            HealthState::Healthy,
            cooldown,
            quarantined,
            HealthState::Paused
        ]
        .map(HealthState::cause),
        [None, Some(Cause::Timeout), Some(Cause::BalanceEmpty), None]
    );
}

/// Version 2 in the vault, version 1 accepted before.
const OFFER: CredentialOffer = CredentialOffer {
    newest: CredentialRevision {
        version: Version(2),
        token_generation: 0,
    },
    previous: Some(CredentialRevision {
        version: Version(1),
        token_generation: 0,
    }),
};

fn dead(version: u64) -> HealthEvent {
    ended(Outcome::Rejected(Cause::CredentialRejected), version)
}

/// The version that is presented, and whether messages may be sent.
fn presented(health: &Health, now: u64) -> (u64, SendAdmission) {
    let snapshot = health.snapshot(at(now), OFFER);
    (snapshot.credential.version.0, snapshot.admission)
}

fn is_due(health: &Health, now: u64) -> bool {
    health.snapshot(at(now), OFFER).credential_status == CredentialStatus::NewestDue
}

#[test]
fn the_previous_version_serves_until_the_newest_is_accepted() {
    let mut health = after(&[(0, accepted(1)), (3_600, dead(2))]);
    assert_eq!(presented(&health, 3_600), (1, SendAdmission::Allowed));
    assert_eq!(health.state(at(3_600), OFFER), HealthState::Healthy);
    assert_eq!(health.choice(OFFER, false), CredentialChoice::Previous);
    health.observe(&accepted(1), at(3_601));
    health.observe(&dead(2), at(3_602)); // it was in flight
    assert_eq!(presented(&health, 9_999), (1, SendAdmission::Allowed));
    health.observe(&accepted(2), at(9_999));
    assert_eq!(presented(&health, 9_999), (2, SendAdmission::Allowed));
    assert_eq!(health.choice(OFFER, false), CredentialChoice::Newest);
    health.observe(&accepted(1), at(10_000)); // it was in flight
    assert_eq!(presented(&health, 10_000), (2, SendAdmission::Allowed));
}

#[test]
fn a_previous_version_that_is_not_known_to_work_does_not_serve() {
    let rejected = blocked(Cause::CredentialRejected, 60);
    let too_old = after(&[(0, accepted(1)), (3_601, dead(2))]);
    assert_eq!(presented(&too_old, 3_601), (2, rejected));
    let never_accepted = after(&[(0, dead(2))]);
    assert_eq!(presented(&never_accepted, 0), (2, rejected));
    let also_rejected = after(&[(0, accepted(1)), (1, dead(1)), (2, dead(2)), (2, dead(1))]);
    assert_eq!(presented(&also_rejected, 2), (2, rejected));
    let for_the_account = after(&[
        (0, accepted(1)),
        (1, ended(Outcome::Rejected(Cause::BalanceEmpty), 2)),
    ]);
    assert_eq!(
        presented(&for_the_account, 1),
        (2, blocked(Cause::BalanceEmpty, 60))
    );
}

#[test]
fn the_newest_is_tried_by_half_open_trials_and_when_the_previous_is_rejected() {
    let mut health = after(&[(0, accepted(1)), (1, dead(2))]);
    assert!(!is_due(&health, 60));
    assert!(is_due(&health, 61));
    health.observe(&TRIAL, at(61));
    assert_eq!(health.choice(OFFER, true), CredentialChoice::Newest);
    assert_eq!(health.choice(OFFER, false), CredentialChoice::Previous);
    health.observe(&dead(2), at(61));
    assert!(!is_due(&health, 180));
    assert!(is_due(&health, 181), "doubled");
    health.observe(&dead(1), at(182));
    assert_eq!(
        presented(&health, 182),
        (2, SendAdmission::Allowed),
        "the service has changed"
    );
    health.observe(&dead(2), at(183));
    health.observe(&dead(1), at(183)); // it was in flight
    assert_eq!(
        presented(&health, 183),
        (2, blocked(Cause::CredentialRejected, 60)),
        "both are dead"
    );
}

#[test]
fn a_rejected_account_is_quarantined_while_the_previous_version_serves() {
    let empty = ended(Outcome::Rejected(Cause::BalanceEmpty), 1);
    let mut health = after(&[(0, accepted(1)), (1, dead(2)), (2, empty)]);
    assert_eq!(presented(&health, 2), (1, blocked(Cause::BalanceEmpty, 60)));
    assert!(!health.suspects_credential(OFFER));
    health.observe(&accepted(1), at(3));
    assert_eq!(presented(&health, 3), (1, SendAdmission::Allowed));
}

#[test]
fn a_rejected_token_of_the_previous_version_leaves_a_new_login() {
    let revision = |version, token_generation| CredentialRevision {
        version: Version(version),
        token_generation,
    };
    let with = |outcome, credential| HealthEvent::Ended {
        outcome,
        credential,
        retry_after: None,
        suspects_credential: false,
    };
    let ok = || Outcome::Accepted { id: "1".to_owned() };
    let no = || Outcome::Rejected(Cause::CredentialRejected);
    let offer = |generation| CredentialOffer {
        newest: revision(2, u64::MAX),
        previous: Some(revision(1, generation)),
    };
    let mut health = after(&[
        (0, with(ok(), revision(1, 1))),
        (1, with(no(), revision(2, u64::MAX))),
        (2, with(no(), revision(1, 1))),
        (2, with(no(), revision(2, u64::MAX))),
    ]);
    assert_eq!(health.previous_in_use(offer(2)), Some(revision(1, 2)));
    health.observe(&with(no(), revision(1, u64::MAX)), at(3));
    assert_eq!(health.previous_in_use(offer(3)), None);
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
        credential: revision(version),
        retry_after: wait,
        suspects_credential: false,
    });
    prop_oneof![
        6 => ended, 2 => any::<bool>().prop_map(|retry| HealthEvent::Started { trial: true, retry }),
        1 => (prop::option::of(cause()), 1u64..4).prop_map(|(cause, version)| HealthEvent::Probed { cause, credential: revision(version), suspects_credential: false }),
        1 => Just(HealthEvent::Resumed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laws(events in prop::collection::vec((0u64..40, any_event()), 0..30)) {
        let mut health = Health::new(Some(Duration::from_mins(1)));
        let mut now = 0;
        for (passed, event) in events {
            now += passed;
            let before = health.clone();
            health.observe(&event, at(now));
            // a credential that was never rejected is not quarantined
            prop_assert_ne!(health.state(at(now), revision(4)).as_str(), "quarantined");
            // every provider recovers by time
            for version in 1..5 {
                let later = health.admission(at(now + 24 * 3600), revision(version));
                prop_assert!(matches!(later, SendAdmission::Allowed | SendAdmission::Trial));
            }
            // after an accepted message the provider is healthy, or throttled
            if let HealthEvent::Ended { outcome: Outcome::Accepted { .. }, credential, .. } = event {
                let dead = before.quarantine.is_some_and(|quarantine| quarantine.rejected > credential);
                let state = health.state(at(now), credential);
                prop_assert!(dead || state == HealthState::Healthy || state.cause() == Some(Cause::Throttled));
            }
            // no second trial while one is in flight
            if let HealthEvent::Started { trial: true, .. } = event {
                prop_assert!((1..5).all(|version| health.admission(at(now), revision(version)) != SendAdmission::Trial));
            }
            // admission and state agree
            let state = health.state(at(now), revision(2));
            prop_assert_eq!(state == HealthState::Healthy, health.admission(at(now), revision(2)) == SendAdmission::Allowed);
        }
    }
}
