//! Properties of the decision over random plans, histories, provider states and credentials, and
//! its rules as a table.

use proptest::prelude::*;

use super::*;
use crate::policy::{CredentialRevision, PastAttempt, inherit_attempts};
use crate::secret::Version;
use crate::sms::ProviderId;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn revision(version: u64) -> CredentialRevision {
    CredentialRevision::from(Version(version))
}

fn accepted() -> Outcome {
    Outcome::Accepted { id: "1".to_owned() }
}

fn about(attempt: &Attempt, wanted: Concern) -> bool {
    rejection_concern(attempt) == Some(wanted)
}

fn any_cause() -> impl Strategy<Value = Cause> {
    let account = [
        Cause::AccountSuspended,
        Cause::BalanceEmpty,
        Cause::IpNotAllowed,
        Cause::TlsUntrusted,
    ];
    let provider = [
        Cause::ProviderFault,
        Cause::Unreachable,
        Cause::Timeout,
        Cause::Unexplained,
    ];
    prop_oneof![
        4 => Just(Cause::CredentialRejected), 1 => Just(Cause::CredentialExpired), 2 => prop::sample::select(account.to_vec()),
        1 => Just(Cause::SenderNotAllowed), 1 => Just(Cause::RecipientInvalid), 1 => Just(Cause::MessageInvalid),
        1 => Just(Cause::RecipientBlocked), 1 => Just(Cause::Duplicate), 2 => Just(Cause::Throttled),
        4 => prop::sample::select(provider.to_vec()), 1 => Just(Cause::VaultUnavailable), 1 => Just(Cause::NotTranslatable),
    ]
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let doubt = prop_oneof![
        Just(Cause::Timeout),
        Just(Cause::ReplyUnreadable),
        Just(Cause::ProviderFault)
    ];
    prop_oneof![
        1 => Just(accepted()), 8 => any_cause().prop_map(Outcome::Rejected),
        2 => any_cause().prop_map(Outcome::Unsent), 3 => doubt.prop_map(Outcome::Unknown),
    ]
}

fn any_admission() -> impl Strategy<Value = SendAdmission> {
    let shut = prop_oneof![
        Just(Cause::CredentialRejected),
        Just(Cause::ProviderFault),
        Just(Cause::DeniedByPolicy)
    ];
    prop_oneof![
        10 => Just(SendAdmission::Allowed), 2 => Just(SendAdmission::Trial),
        2 => (0u64..4000).prop_map(|wait| SendAdmission::Blocked { cause: Cause::Throttled, reopens_in: Some(ms(wait)) }),
        2 => (shut, prop::option::of((0u64..4000).prop_map(ms))).prop_map(|(cause, wait)| SendAdmission::Blocked { cause, reopens_in: wait }),
    ]
}

fn any_plan() -> impl Strategy<Value = DeliveryPlan> {
    let skip = prop_oneof![6 => Just(None), 1 => Just(Some(Cause::NotTranslatable)), 1 => Just(Some(Cause::MessageInvalid))];
    let terms =
        (100u64..4000, any::<bool>(), skip).prop_map(|(limit, repeat_key, skip)| PlannedAccount {
            timeout: ms(limit),
            has_idempotency_key: repeat_key,
            skip_cause: skip,
        });
    let on_unknown = prop_oneof![2 => Just(OnUnknown::Failover), 1 => Just(OnUnknown::Stop)];
    let pause = prop_oneof![Just(0u64), 0u64..2000];
    (
        prop::collection::vec(terms, 0..5),
        0usize..4,
        0usize..9,
        0u64..20_000,
        pause,
        on_unknown,
    )
        .prop_map(
            |(accounts, attempts_per_account, sends, deadline, pause, on_unknown)| DeliveryPlan {
                accounts,
                max_attempts_per_account: attempts_per_account,
                max_sends: sends,
                deadline: ms(deadline),
                retry_delay: ms(pause),
                on_unknown,
            },
        )
}

/// What happens between two decisions.
#[derive(Clone, Debug)]
struct ScriptedAttempt {
    outcome: Outcome,
    wait: Option<Duration>,
    took: Duration,
    rotated: bool,
    admissions: Vec<SendAdmission>,
    retry: bool,
    random_fraction: f64,
}

fn any_scripted_attempt() -> impl Strategy<Value = ScriptedAttempt> {
    let wait = prop::option::of((0u64..5000).prop_map(ms));
    let admissions = prop::collection::vec(any_admission(), 5);
    (
        any_outcome(),
        wait,
        0u64..3000,
        any::<bool>(),
        admissions,
        prop::bool::weighted(0.8),
        0.0..=1.0f64,
    )
        .prop_map(
            |(outcome, wait, took, rotated, admissions, retry, random_fraction)| ScriptedAttempt {
                outcome,
                wait,
                took: ms(took),
                rotated,
                admissions,
                retry,
                random_fraction,
            },
        )
}

fn any_inheritance() -> impl Strategy<Value = Vec<Attempt>> {
    let outcome = any_outcome().prop_filter("an accepted message is answered", |outcome| {
        !matches!(outcome, Outcome::Accepted { .. })
    });
    let attempt = (0usize..7, outcome).prop_map(|(account, outcome)| Attempt {
        account,
        credential: revision(1),
        outcome,
        retry_after: None,
        ended: Duration::ZERO,
        inherited: true,
    });
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(attempt, 1..3)]
}

/// One request that runs against a script.
struct Simulation {
    plan: DeliveryPlan,
    script: Vec<ScriptedAttempt>,
    tried: Vec<Attempt>,
    elapsed: Duration,
    version: u64,
}

impl Simulation {
    fn own(&self) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.tried.iter().filter(|attempt| !attempt.inherited)
    }

    fn now(&self) -> &ScriptedAttempt {
        &self.script[self.own().count() % self.script.len()]
    }

    fn view(&self, account: usize) -> AccountSnapshot {
        let now = self.now();
        AccountSnapshot {
            is_silent: false,
            admission: now.admissions[account],
            credential: revision(self.version),
            can_retry: now.retry,
            credential_status: CredentialStatus::Usable,
        }
    }

    fn next(&self) -> NextStep {
        next(
            &self.plan,
            &self.tried,
            |account| self.view(account),
            self.elapsed,
            self.now().random_fraction,
        )
    }

    fn in_time(&self, account: usize, after: Duration) -> bool {
        self.elapsed + after + self.plan.accounts[account].timeout.min(ms(1000))
            <= self.plan.deadline
    }

    fn attempts_of(&self, account: usize) -> Vec<&Attempt> {
        self.own()
            .filter(|attempt| attempt.account == account)
            .collect()
    }

    /// Whether an attempt at this account, in this request or before it, matches.
    fn has_attempt(&self, account: usize, wanted: impl Fn(&Attempt) -> bool) -> bool {
        self.tried
            .iter()
            .any(|attempt| attempt.account == account && wanted(attempt))
    }

    /// Whether the account could be tried without a delay: never tried, or its rejected credential
    /// was replaced since.
    fn at_once(&self, account: usize) -> bool {
        let attempts = self.attempts_of(account);
        let terms = self.plan.accounts[account];
        let fresh = attempts.is_empty() && self.view(account).admission != SendAdmission::Trial;
        let trial = attempts.is_empty() && self.view(account).admission == SendAdmission::Trial;
        let renewed = attempts.len() == 1
            && about(attempts[0], Concern::Credential)
            && attempts[0].credential < revision(self.version);
        let admitted =
            trial || ((fresh || renewed) && self.view(account).admission == SendAdmission::Allowed);
        let ruled_out = self.has_attempt(account, |attempt| {
            let message =
                about(attempt, Concern::Message) || about(attempt, Concern::MessageAtAccount);
            message || (is_in_doubt(attempt) && !terms.has_idempotency_key)
        });
        terms.skip_cause.is_none()
            && admitted
            && !ruled_out
            && self.plan.max_attempts_per_account > 0
            && self.in_time(account, Duration::ZERO)
    }

    fn advance(&mut self, account: usize, after: Duration) {
        let ScriptedAttempt {
            outcome,
            wait,
            took,
            rotated,
            ..
        } = self.now().clone();
        self.elapsed += after + took;
        let credential = revision(self.version);
        self.tried.push(Attempt {
            account,
            credential,
            outcome,
            retry_after: wait,
            ended: self.elapsed,
            inherited: false,
        });
        self.version += u64::from(rotated);
    }
}

/// Holds for every send.
fn send_laws(
    simulation: &Simulation,
    account: usize,
    after: Duration,
    [trial, retry]: [bool; 2],
) -> Result<(), TestCaseError> {
    prop_assert!(
        account < simulation.plan.accounts.len()
            && simulation.plan.accounts[account].skip_cause.is_none()
    );
    prop_assert!(simulation.in_time(account, after));
    prop_assert!(simulation.own().count() < simulation.plan.max_sends);
    message_laws(simulation, account)?;
    account_laws(simulation, account, after)?;
    admission_laws(simulation, account, after, trial)?;
    delay_laws(simulation, account, after, retry)?;
    // a new credential or another account comes before any delay, in the order of the plan
    if let Some(first) =
        (0..simulation.plan.accounts.len()).find(|&other| simulation.at_once(other))
    {
        prop_assert!(after == Duration::ZERO && !retry && account <= first);
    }
    Ok(())
}

fn message_laws(simulation: &Simulation, account: usize) -> Result<(), TestCaseError> {
    let tried = &simulation.tried;
    // nothing after it was accepted, after an opt-out, after a duplicate
    let ends_request = |attempt: &Attempt| {
        matches!(attempt.outcome, Outcome::Accepted { .. })
            || about(attempt, Concern::Recipient)
            || about(attempt, Concern::Duplicate)
    };
    prop_assert!(!tried.iter().any(ends_request));
    // nothing after two providers rejected the message
    let rejects_message = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Rejected(cause) if cause.concern() == Concern::Message);
    prop_assert!(tried.iter().filter(rejects_message).count() < 2);
    // in doubt: no other provider with `on_unknown = "stop"`, and the same account only with an
    // idempotency key
    prop_assert!(
        simulation.plan.on_unknown == OnUnknown::Failover || !tried.iter().any(is_in_doubt)
    );
    prop_assert!(
        simulation.plan.accounts[account].has_idempotency_key
            || !simulation.has_attempt(account, is_in_doubt)
    );
    Ok(())
}

fn account_laws(
    simulation: &Simulation,
    account: usize,
    after: Duration,
) -> Result<(), TestCaseError> {
    let attempts = simulation.attempts_of(account);
    let renewed = attempts
        .iter()
        .filter(|attempt| about(attempt, Concern::Credential))
        .count();
    // an account that rejected itself or this message is not tried again
    prop_assert!(
        !simulation.has_attempt(account, |attempt| about(attempt, Concern::MessageAtAccount)
            || about(attempt, Concern::Message))
    );
    prop_assert!(
        !attempts
            .iter()
            .any(|attempt| about(attempt, Concern::Account) || about(attempt, Concern::Ours))
    );
    // a dead credential is never sent again, a new one once and at once
    prop_assert!(
        !attempts
            .iter()
            .any(|attempt| about(attempt, Concern::Credential)
                && attempt.credential >= revision(simulation.version))
    );
    prop_assert!(renewed < 2);
    prop_assert!(attempts.len() < simulation.plan.max_attempts_per_account + renewed);
    if attempts
        .last()
        .is_some_and(|last| about(last, Concern::Credential))
        && simulation.view(account).admission == SendAdmission::Allowed
    {
        prop_assert_eq!(after, Duration::ZERO);
    }
    Ok(())
}

fn admission_laws(
    simulation: &Simulation,
    account: usize,
    after: Duration,
    trial: bool,
) -> Result<(), TestCaseError> {
    let admission = simulation.view(account).admission;
    prop_assert_eq!(trial, admission == SendAdmission::Trial);
    match admission {
        SendAdmission::Allowed => {}
        SendAdmission::Trial => prop_assert!(simulation.attempts_of(account).is_empty()),
        SendAdmission::Blocked {
            cause: Cause::Throttled,
            reopens_in: Some(wait),
        } => prop_assert!(after >= wait),
        SendAdmission::Blocked { .. } => prop_assert!(false, "a blocked account was tried"),
    }
    Ok(())
}

fn delay_laws(
    simulation: &Simulation,
    account: usize,
    after: Duration,
    retry: bool,
) -> Result<(), TestCaseError> {
    let attempts = simulation.attempts_of(account);
    let last = attempts
        .last()
        .filter(|last| !about(last, Concern::Credential));
    prop_assert_eq!(retry, last.is_some());
    // a retry is paid for, and waits for `Retry-After`, else for a delay that doubles
    prop_assert!(!retry || simulation.view(account).can_retry);
    let Some(last) = last else {
        let limit = if simulation.view(account).admission == SendAdmission::Allowed {
            Duration::ZERO
        } else {
            ms(6000)
        };
        prop_assert!(after <= limit);
        return Ok(());
    };
    let asked = last.ended + last.retry_after.unwrap_or_default();
    prop_assert!(simulation.elapsed + after >= asked);
    let before = attempts
        .iter()
        .filter(|attempt| !about(attempt, Concern::Credential))
        .count();
    let pause = simulation.plan.retry_delay * 2u32.pow(u32::try_from(before - 1).unwrap());
    prop_assert!(after >= pause / 2);
    if last.retry_after.is_none() && simulation.view(account).admission == SendAdmission::Allowed {
        prop_assert!(after <= pause);
    }
    Ok(())
}

/// Holds at every end.
fn end_laws(simulation: &Simulation, result: RequestResult) -> Result<(), TestCaseError> {
    let Simulation { plan, tried, .. } = simulation;
    let own_doubt = |at: usize| {
        tried[..at]
            .iter()
            .any(|earlier| earlier.account == tried[at].account && is_in_doubt(earlier))
    };
    let repeated = (0..tried.len())
        .any(|at| tried[at].outcome == Outcome::Rejected(Cause::Duplicate) && own_doubt(at));
    let at_fault = tried.iter().any(|attempt| {
        [Concern::Message, Concern::Recipient, Concern::Duplicate]
            .iter()
            .any(|&concern| about(attempt, concern))
    });
    let fits_nobody = !plan.accounts.is_empty()
        && plan
            .accounts
            .iter()
            .all(|terms| terms.skip_cause == Some(Cause::MessageInvalid));
    // the result is right about whether the message may have been sent
    let truth = if tried.iter().any(|attempt| attempt.outcome == accepted()) || repeated {
        RequestResult::Accepted
    } else if tried.iter().any(is_in_doubt) {
        RequestResult::InDoubt
    } else if at_fault || fits_nobody {
        RequestResult::MessageRejected
    } else {
        RequestResult::NotSent
    };
    prop_assert_eq!(result, truth);
    prop_assert_eq!(
        result_cause(plan, tried, |account| simulation.view(account)).is_none(),
        result == RequestResult::Accepted
    );
    // no account that can be tried at once is left while sends remain
    let goes_on = result == RequestResult::NotSent
        || (result == RequestResult::InDoubt
            && plan.on_unknown == OnUnknown::Failover
            && !at_fault);
    if goes_on && simulation.own().count() < plan.max_sends {
        for account in 0..plan.accounts.len() {
            prop_assert!(
                !simulation.at_once(account),
                "account {} was not tried",
                account
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laws(plan in any_plan(), script in prop::collection::vec(any_scripted_attempt(), 1..12), tried in any_inheritance()) {
        let mut simulation = Simulation { plan, script, tried, elapsed: Duration::ZERO, version: 1 };
        let result = loop {
            let step = simulation.next();
            prop_assert_eq!(step, simulation.next()); // the same input has one output
            match step {
                NextStep::Answer(result) => break result,
                NextStep::Send { account, delay, trial, retry } => {
                    send_laws(&simulation, account, delay, [trial, retry])?;
                    simulation.advance(account, delay);
                }
            }
        };
        end_laws(&simulation, result)?;
    }
}

/// Two accounts, two attempts each, eight seconds.
fn plan(on_unknown: OnUnknown) -> DeliveryPlan {
    let terms = PlannedAccount {
        timeout: ms(3000),
        has_idempotency_key: false,
        skip_cause: None,
    };
    DeliveryPlan {
        accounts: vec![terms; 2],
        max_attempts_per_account: 2,
        max_sends: 6,
        deadline: ms(8000),
        retry_delay: ms(200),
        on_unknown,
    }
}

fn attempt(account: usize, outcome: Outcome) -> Attempt {
    Attempt {
        account,
        credential: revision(1),
        outcome,
        retry_after: None,
        ended: ms(300),
        inherited: false,
    }
}

fn open(version: u64) -> AccountSnapshot {
    AccountSnapshot {
        is_silent: false,
        admission: SendAdmission::Allowed,
        credential: revision(version),
        can_retry: true,
        credential_status: CredentialStatus::Usable,
    }
}

fn send(account: usize, after: u64, retry: bool) -> NextStep {
    NextStep::Send {
        account,
        delay: ms(after),
        trial: false,
        retry,
    }
}

/// The next step of the plan above, with all accounts healthy, after 300 ms.
fn ask(on_unknown: OnUnknown, tried: &[Attempt], version: u64) -> NextStep {
    next(&plan(on_unknown), tried, |_| open(version), ms(300), 1.0)
}

fn rejected(account: usize, cause: Cause) -> Attempt {
    attempt(account, Outcome::Rejected(cause))
}

#[test]
fn a_newer_credential_is_tried_once_and_at_once() {
    let dead = rejected(0, Cause::CredentialRejected);
    assert_eq!(
        ask(OnUnknown::Failover, std::slice::from_ref(&dead), 1),
        send(1, 0, false),
        "nothing newer: the next provider"
    );
    assert_eq!(
        ask(OnUnknown::Failover, std::slice::from_ref(&dead), 2),
        send(0, 0, false),
        "newer: the same provider, outside the retry budget"
    );
    let again = Attempt {
        credential: revision(2),
        ..dead.clone()
    };
    assert_eq!(
        ask(OnUnknown::Failover, &[dead.clone(), again], 3),
        send(1, 0, false),
        "rejected again: the next provider, even if there is a newer one"
    );
    let token = AccountSnapshot {
        credential: CredentialRevision {
            version: Version(1),
            token_generation: 1,
        },
        ..open(1)
    };
    assert_eq!(
        next(&plan(OnUnknown::Failover), &[dead], |_| token, ms(300), 1.0),
        send(0, 0, false),
        "a new login counts as newer"
    );
}

#[test]
fn a_renewed_credential_does_not_use_up_attempts() {
    let tried = [
        rejected(0, Cause::CredentialRejected),
        Attempt {
            credential: revision(2),
            ..rejected(0, Cause::ProviderFault)
        },
    ];
    let alone = DeliveryPlan {
        accounts: vec![plan(OnUnknown::Failover).accounts[0]],
        ..plan(OnUnknown::Failover)
    };
    assert_eq!(
        next(&alone, &tried, |_| open(2), ms(300), 1.0),
        send(0, 200, true)
    );
}

#[test]
fn on_unknown_decides_after_an_unknown_outcome() {
    let doubt = attempt(0, Outcome::Unknown(Cause::Timeout));
    assert_eq!(
        ask(OnUnknown::Failover, std::slice::from_ref(&doubt), 1),
        send(1, 0, false)
    );
    assert_eq!(
        ask(OnUnknown::Stop, std::slice::from_ref(&doubt), 1),
        NextStep::Answer(RequestResult::InDoubt)
    );
    let both = [doubt.clone(), rejected(1, Cause::BalanceEmpty)];
    assert_eq!(
        ask(OnUnknown::Failover, &both, 2),
        NextStep::Answer(RequestResult::InDoubt),
        "not the same provider again, and the result is in doubt"
    );
    let mut keyed = plan(OnUnknown::Failover);
    keyed.accounts[0].has_idempotency_key = true;
    assert_eq!(
        next(&keyed, &both, |_| open(1), ms(300), 1.0),
        send(0, 200, true),
        "unless the dialect has an idempotency key"
    );
    let stop = DeliveryPlan {
        on_unknown: OnUnknown::Stop,
        ..keyed
    };
    assert_eq!(
        next(&stop, &both, |_| open(1), ms(300), 1.0),
        NextStep::Answer(RequestResult::InDoubt),
        "stop ends the request, even with an idempotency key"
    );
}

#[test]
fn a_duplicate_counts_as_accepted_only_after_an_unknown_outcome_there() {
    let doubt = attempt(0, Outcome::Unknown(Cause::Timeout));
    let duplicate = rejected(0, Cause::Duplicate);
    assert_eq!(
        ask(OnUnknown::Failover, &[doubt.clone(), duplicate.clone()], 1),
        NextStep::Answer(RequestResult::Accepted)
    );
    assert_eq!(
        ask(OnUnknown::Failover, std::slice::from_ref(&duplicate), 1),
        NextStep::Answer(RequestResult::MessageRejected)
    );
    let elsewhere = Attempt {
        account: 1,
        ..duplicate.clone()
    };
    assert_eq!(
        ask(OnUnknown::Failover, &[doubt.clone(), elsewhere], 1),
        NextStep::Answer(RequestResult::InDoubt)
    );
    assert_eq!(
        ask(OnUnknown::Failover, &[duplicate, doubt], 1),
        NextStep::Answer(RequestResult::InDoubt),
        "the unknown outcome must come first"
    );
}

#[test]
fn two_providers_that_reject_the_message_end_the_request() {
    let one = rejected(0, Cause::RecipientInvalid);
    let two = rejected(1, Cause::MessageInvalid);
    assert_eq!(
        ask(OnUnknown::Failover, std::slice::from_ref(&one), 1),
        send(1, 0, false)
    );
    assert_eq!(
        ask(OnUnknown::Failover, &[one.clone(), two], 1),
        NextStep::Answer(RequestResult::MessageRejected)
    );
    let three = DeliveryPlan {
        accounts: vec![plan(OnUnknown::Failover).accounts[0]; 3],
        ..plan(OnUnknown::Failover)
    };
    let ours = attempt(1, Outcome::Unsent(Cause::MessageInvalid));
    assert_eq!(
        next(&three, &[one.clone(), ours], |_| open(1), ms(300), 1.0),
        send(2, 0, false),
        "a check of ours is not a second provider"
    );
    assert_eq!(
        ask(
            OnUnknown::Failover,
            &[rejected(0, Cause::RecipientBlocked)],
            1
        ),
        NextStep::Answer(RequestResult::MessageRejected),
        "an opt-out ends the request"
    );
}

#[test]
fn a_throttled_account_is_tried_again_if_the_deadline_allows() {
    let throttled = |wait: u64| Attempt {
        retry_after: Some(ms(wait)),
        ..rejected(0, Cause::Throttled)
    };
    assert_eq!(
        ask(OnUnknown::Failover, &[throttled(2000)], 1),
        send(1, 0, false),
        "first the other provider"
    );
    let both = |wait: u64| [throttled(wait), rejected(1, Cause::BalanceEmpty)];
    assert_eq!(
        ask(OnUnknown::Failover, &both(2000), 1),
        send(0, 2200, true),
        "then the first one again, with jitter"
    );
    assert_eq!(
        next(
            &plan(OnUnknown::Failover),
            &both(2000),
            |_| open(1),
            ms(1300),
            0.0
        ),
        send(0, 1000, true),
        "elapsed time counts"
    );
    assert_eq!(
        ask(OnUnknown::Failover, &both(7000), 1),
        NextStep::Answer(RequestResult::NotSent)
    );
    let closed = SendAdmission::Blocked {
        cause: Cause::Throttled,
        reopens_in: Some(ms(1500)),
    };
    let resting = |account: usize| AccountSnapshot {
        admission: if account == 0 {
            closed
        } else {
            SendAdmission::Allowed
        },
        ..open(1)
    };
    assert_eq!(
        next(
            &plan(OnUnknown::Failover),
            &both(1000),
            resting,
            ms(300),
            0.0
        ),
        send(0, 1500, true),
        "its cooldown counts too"
    );
}

#[test]
fn only_retries_are_paid_from_the_budget() {
    let poor = |version: u64| {
        move |_: usize| AccountSnapshot {
            can_retry: false,
            ..open(version)
        }
    };
    let fault = rejected(0, Cause::ProviderFault);
    assert_eq!(
        next(
            &plan(OnUnknown::Failover),
            std::slice::from_ref(&fault),
            poor(1),
            ms(300),
            1.0
        ),
        send(1, 0, false)
    );
    let both = [fault, rejected(1, Cause::CredentialRejected)];
    assert_eq!(
        next(&plan(OnUnknown::Failover), &both, poor(1), ms(300), 1.0),
        NextStep::Answer(RequestResult::NotSent)
    );
    assert_eq!(
        next(&plan(OnUnknown::Failover), &both, poor(2), ms(300), 1.0),
        send(1, 0, false)
    );
}

#[test]
fn delays_double_and_jitter_shortens_them() {
    let fault = || rejected(0, Cause::ProviderFault);
    let alone = DeliveryPlan {
        accounts: vec![plan(OnUnknown::Failover).accounts[0]],
        max_attempts_per_account: 9,
        max_sends: 9,
        ..plan(OnUnknown::Failover)
    };
    let after = |times: usize, random_fraction: f64| match next(
        &alone,
        &vec![fault(); times],
        |_| open(1),
        ms(300),
        random_fraction,
    ) {
        NextStep::Send { delay: after, .. } => after,
        NextStep::Answer(result) => panic!("{result}"),
    };
    assert_eq!(
        [1, 2, 3, 4].map(|times| after(times, 1.0)),
        [ms(200), ms(400), ms(800), ms(1600)]
    );
    assert_eq!(
        [0.0, 0.5, 1.0, 7.0, -1.0, f64::NAN].map(|random_fraction| after(1, random_fraction)),
        [ms(100), ms(150), ms(200), ms(200), ms(100), ms(100)]
    );
    let endless = DeliveryPlan {
        retry_delay: Duration::MAX,
        deadline: Duration::MAX,
        ..alone
    };
    assert!(matches!(
        next(&endless, &[fault()], |_| open(1), ms(300), 1.0),
        NextStep::Send {
            delay: MAX_RETRY_DELAY,
            ..
        }
    ));
}

#[test]
fn failover_comes_before_a_retry_even_without_a_delay() {
    let hasty = DeliveryPlan {
        retry_delay: Duration::ZERO,
        ..plan(OnUnknown::Failover)
    };
    assert_eq!(
        next(
            &hasty,
            &[rejected(0, Cause::ProviderFault)],
            |_| open(1),
            ms(300),
            1.0
        ),
        send(1, 0, false)
    );
    let resting = SendAdmission::Blocked {
        cause: Cause::Throttled,
        reopens_in: Some(ms(2000)),
    };
    let view = |account: usize| AccountSnapshot {
        admission: if account == 1 {
            resting
        } else {
            SendAdmission::Allowed
        },
        ..open(1)
    };
    let plan = plan(OnUnknown::Failover);
    assert_eq!(
        next(
            &plan,
            &[rejected(0, Cause::ProviderFault)],
            view,
            ms(300),
            1.0
        ),
        send(0, 200, true),
        "the shorter of two delays"
    );
}

#[test]
fn no_send_starts_that_cannot_end_before_the_deadline() {
    let at = |elapsed: u64, timeout: u64| {
        let accounts = vec![PlannedAccount {
            timeout: ms(timeout),
            has_idempotency_key: false,
            skip_cause: None,
        }];
        next(
            &DeliveryPlan {
                accounts,
                ..plan(OnUnknown::Failover)
            },
            &[],
            |_| open(1),
            ms(elapsed),
            1.0,
        )
    };
    assert_eq!(
        [at(7000, 3000), at(7001, 3000)],
        [send(0, 0, false), NextStep::Answer(RequestResult::NotSent)]
    );
    assert_eq!(
        [at(7500, 500), at(7501, 500)],
        [send(0, 0, false), NextStep::Answer(RequestResult::NotSent)],
        "its own time limit is shorter"
    );
}

#[test]
fn a_trial_is_one_attempt() {
    let trial = |_: usize| AccountSnapshot {
        admission: SendAdmission::Trial,
        ..open(1)
    };
    assert_eq!(
        next(&plan(OnUnknown::Failover), &[], trial, ms(300), 1.0),
        NextStep::Send {
            account: 0,
            delay: ms(0),
            trial: true,
            retry: false
        }
    );
    let one = plan(OnUnknown::Failover).accounts[0];
    let alone = DeliveryPlan {
        accounts: vec![one],
        ..plan(OnUnknown::Failover)
    };
    assert_eq!(
        next(
            &alone,
            &[rejected(0, Cause::Unreachable)],
            trial,
            ms(300),
            1.0
        ),
        NextStep::Answer(RequestResult::NotSent)
    );
}

fn past_attempt(provider: &str, outcome: Outcome) -> PastAttempt {
    PastAttempt {
        provider: ProviderId::new(provider),
        credential: revision(1),
        outcome,
        reference: String::new(),
    }
}

/// A plan of one send, through a then b.
fn one_send() -> DeliveryPlan {
    DeliveryPlan {
        max_sends: 1,
        max_attempts_per_account: 1,
        ..plan(OnUnknown::Failover)
    }
}

fn inherited(history: &[PastAttempt]) -> Vec<Attempt> {
    inherit_attempts(history, &["a", "b"].map(ProviderId::new))
}

fn next_after(plan: &DeliveryPlan, history: &[PastAttempt]) -> NextStep {
    next(plan, &inherited(history), |_| open(1), ms(0), 1.0)
}

#[test]
fn an_inherited_doubt_counts_but_costs_no_attempts() {
    let doubt = [past_attempt("a", Outcome::Unknown(Cause::Timeout))];
    assert_eq!(
        next_after(&one_send(), &doubt),
        send(1, 0, false),
        "not the provider in doubt"
    );
    let mut keyed = one_send();
    keyed.accounts[0].has_idempotency_key = true;
    assert_eq!(
        next_after(&keyed, &doubt),
        send(0, 0, false),
        "unless the dialect has an idempotency key"
    );
    let stop = DeliveryPlan {
        on_unknown: OnUnknown::Stop,
        ..one_send()
    };
    assert_eq!(
        next_after(&stop, &doubt),
        NextStep::Answer(RequestResult::InDoubt)
    );
}

#[test]
fn an_inherited_history_includes_providers_outside_the_plan() {
    let gone = [
        past_attempt("gone", Outcome::Unknown(Cause::Timeout)),
        past_attempt("a", Outcome::Rejected(Cause::BalanceEmpty)),
    ];
    assert_eq!(
        next_after(&one_send(), &gone),
        send(0, 0, false),
        "an account fault of an earlier request is a matter of its state"
    );
    assert_eq!(
        request_result(&one_send(), &inherited(&gone)),
        RequestResult::InDoubt,
        "a provider outside the plan may have sent it"
    );
    let invalid = [
        past_attempt("a", Outcome::Rejected(Cause::MessageInvalid)),
        past_attempt("gone", Outcome::Rejected(Cause::MessageInvalid)),
    ];
    assert_eq!(
        next_after(&one_send(), &invalid),
        NextStep::Answer(RequestResult::MessageRejected),
        "a provider outside the plan counts as another one"
    );
}

const OPEN: SendAdmission = SendAdmission::Allowed;
const QUARANTINED: SendAdmission = SendAdmission::Blocked {
    cause: Cause::BalanceEmpty,
    reopens_in: None,
};

fn cause_of(
    tried: &[Attempt],
    admissions: [SendAdmission; 2],
    skip: Option<Cause>,
) -> Option<Cause> {
    let mut plan = plan(OnUnknown::Failover);
    plan.accounts[1].skip_cause = skip;
    result_cause(&plan, tried, |account| AccountSnapshot {
        admission: admissions[account],
        ..open(1)
    })
}

#[test]
fn the_cause_is_that_of_the_first_account() {
    let both = [
        rejected(1, Cause::ProviderFault),
        rejected(0, Cause::CredentialRejected),
    ];
    assert_eq!(
        cause_of(&both, [OPEN, OPEN], None),
        Some(Cause::CredentialRejected)
    );
    let again = [
        rejected(0, Cause::Throttled),
        rejected(0, Cause::Unreachable),
    ];
    assert_eq!(
        cause_of(&again, [OPEN, OPEN], None),
        Some(Cause::Unreachable),
        "its last outcome"
    );
    assert_eq!(
        cause_of(&[rejected(1, Cause::Throttled)], [QUARANTINED, OPEN], None),
        Some(Cause::Throttled),
        "an outcome of this request before a blocked account"
    );
    let skipped = Some(Cause::NotTranslatable);
    assert_eq!(
        cause_of(&[], [QUARANTINED, OPEN], skipped),
        Some(Cause::BalanceEmpty)
    );
    assert_eq!(
        cause_of(&[], [OPEN, QUARANTINED], skipped),
        Some(Cause::Timeout),
        "no time was left for an attempt"
    );
}

#[test]
fn the_cause_follows_the_result() {
    let cause = |tried: &[Attempt]| cause_of(tried, [OPEN, OPEN], None);
    let empty = || rejected(1, Cause::BalanceEmpty);
    assert_eq!(cause(&[attempt(0, accepted())]), None);
    let doubt = attempt(0, Outcome::Unknown(Cause::ReplyUnreadable));
    assert_eq!(cause(&[doubt, empty()]), Some(Cause::ReplyUnreadable));
    let blocked = [
        rejected(0, Cause::RecipientBlocked),
        rejected(1, Cause::MessageInvalid),
    ];
    assert_eq!(cause(&blocked), Some(Cause::RecipientBlocked));
    let invalid = rejected(0, Cause::MessageInvalid);
    assert_eq!(cause(&[invalid, empty()]), Some(Cause::MessageInvalid));
}

#[test]
fn without_an_attempt_the_cause_is_that_of_the_skips() {
    let cause = |plan: &DeliveryPlan| result_cause(plan, &[], |_| open(1));
    let no_account = DeliveryPlan {
        accounts: Vec::new(),
        ..plan(OnUnknown::Failover)
    };
    assert_eq!(cause(&no_account), Some(Cause::NoProvider));
    let mut skipped = plan(OnUnknown::Failover);
    for terms in &mut skipped.accounts {
        terms.skip_cause = Some(Cause::TemplateNotApproved);
    }
    assert_eq!(cause(&skipped), Some(Cause::TemplateNotApproved));
    assert_eq!(request_result(&skipped, &[]), RequestResult::NotSent);
    skipped.accounts[1].skip_cause = Some(Cause::MessageInvalid);
    assert_eq!(
        request_result(&skipped, &[]),
        RequestResult::NotSent,
        "the other provider may still take it"
    );
    skipped.accounts[0].skip_cause = Some(Cause::MessageInvalid);
    assert_eq!(cause(&skipped), Some(Cause::MessageInvalid));
    assert_eq!(
        request_result(&skipped, &[]),
        RequestResult::MessageRejected,
        "a text too long for every provider is the message's fault"
    );
}

#[test]
fn the_previous_version_is_tried_once_and_then_the_newest_once_more() {
    let rejected = |version| Attempt {
        credential: revision(version),
        ..rejected(0, Cause::CredentialRejected)
    };
    let step = |tried: &[Attempt], version| {
        let plan = DeliveryPlan {
            accounts: plan(OnUnknown::Failover).accounts[..1].to_vec(),
            ..plan(OnUnknown::Failover)
        };
        next(&plan, tried, |_| open(version), ms(300), 1.0)
    };
    let again = NextStep::Send {
        account: 0,
        delay: Duration::ZERO,
        trial: false,
        retry: false,
    };
    let end = NextStep::Answer(RequestResult::NotSent);
    assert_eq!(step(&[rejected(2)], 1), again, "the previous serves");
    assert_eq!(step(&[rejected(2)], 2), end, "nothing serves");
    let both = [rejected(2), rejected(1)];
    assert_eq!(step(&both, 1), end, "it is dead too");
    assert_eq!(step(&both, 2), again, "the service changed between the two");
    assert_eq!(
        step(&[rejected(1), rejected(2)], 2),
        end,
        "not the other way"
    );
    let all = [rejected(2), rejected(1), rejected(2)];
    assert_eq!((step(&all, 1), step(&all, 2)), (end, end));
}

#[test]
fn a_due_trial_of_the_newest_is_the_first_attempt_only() {
    let due = |_: usize| AccountSnapshot {
        credential_status: CredentialStatus::NewestDue,
        ..open(1)
    };
    let is_trial = |tried: &[Attempt]| {
        let step = next(&plan(OnUnknown::Failover), tried, due, ms(300), 1.0);
        matches!(
            step,
            NextStep::Send {
                account: 0,
                trial: true,
                ..
            }
        )
    };
    assert!(is_trial(&[]));
    assert!(!is_trial(&[rejected(0, Cause::ProviderFault)]));
}

#[test]
fn a_silent_account_waits_for_no_message_that_another_takes() {
    let both = plan(OnUnknown::Failover);
    let alone = DeliveryPlan {
        accounts: both.accounts[..1].to_vec(),
        ..both.clone()
    };
    let silent = |account: usize| AccountSnapshot {
        is_silent: account == 0,
        ..open(1)
    };
    let step = next(&both, &[], silent, ms(0), 0.5);
    assert_eq!(step, send(1, 0, false));
    let step = next(&alone, &[], silent, ms(0), 0.5);
    assert_eq!(step, send(0, 0, false), "alone it is better than nothing");
    let throttled = |account: usize| AccountSnapshot {
        admission: if account == 0 {
            SendAdmission::Allowed
        } else {
            SendAdmission::Blocked {
                cause: Cause::Throttled,
                reopens_in: Some(ms(1_000)),
            }
        },
        ..silent(account)
    };
    let step = next(&both, &[], throttled, ms(0), 0.5);
    assert_eq!(step, send(0, 0, false), "rather than wait");
}
