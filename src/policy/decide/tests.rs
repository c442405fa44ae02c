//! The laws of the decision, over random plans, histories, standings and vaults; and the
//! contract's sentences as a table.

use proptest::prelude::*;

use super::*;
use crate::policy::{Held, Past, carry_over};
use crate::secret::Version;
use crate::sms::ProviderId;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn held(version: u64) -> Held {
    Held::from(Version(version))
}

fn accepted() -> Outcome {
    Outcome::Accepted { id: "1".to_owned() }
}

fn about(attempt: &Attempt, wanted: Concern) -> bool {
    concern(attempt) == Some(wanted)
}

fn any_cause() -> impl Strategy<Value = Cause> {
    let account = [Cause::AccountSuspended, Cause::BalanceEmpty, Cause::IpNotAllowed, Cause::TlsUntrusted];
    let provider = [Cause::ProviderFault, Cause::Unreachable, Cause::Timeout, Cause::Unexplained];
    prop_oneof![
        4 => Just(Cause::CredentialRejected), 1 => Just(Cause::CredentialExpired), 2 => prop::sample::select(account.to_vec()),
        1 => Just(Cause::SenderNotAllowed), 1 => Just(Cause::RecipientInvalid), 1 => Just(Cause::MessageInvalid),
        1 => Just(Cause::RecipientBlocked), 1 => Just(Cause::Duplicate), 2 => Just(Cause::Throttled),
        4 => prop::sample::select(provider.to_vec()), 1 => Just(Cause::VaultUnavailable), 1 => Just(Cause::NotTranslatable),
    ]
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let doubt = prop_oneof![Just(Cause::Timeout), Just(Cause::ReplyUnreadable), Just(Cause::ProviderFault)];
    prop_oneof![
        1 => Just(accepted()), 8 => any_cause().prop_map(Outcome::Refused),
        2 => any_cause().prop_map(Outcome::Unsent), 3 => doubt.prop_map(Outcome::Unknown),
    ]
}

fn any_admission() -> impl Strategy<Value = Admission> {
    let shut = prop_oneof![Just(Cause::CredentialRejected), Just(Cause::ProviderFault), Just(Cause::RefusedByPolicy)];
    prop_oneof![
        10 => Just(Admission::Open), 2 => Just(Admission::Trial),
        2 => (0u64..4000).prop_map(|wait| Admission::Closed { cause: Cause::Throttled, wait: Some(ms(wait)) }),
        2 => (shut, prop::option::of((0u64..4000).prop_map(ms))).prop_map(|(cause, wait)| Admission::Closed { cause, wait }),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let skip = prop_oneof![6 => Just(None), 1 => Just(Some(Cause::NotTranslatable)), 1 => Just(Some(Cause::MessageInvalid))];
    let terms = (100u64..4000, any::<bool>(), skip).prop_map(|(limit, repeat_key, skip)| Terms { timeout: ms(limit), repeat_key, skip });
    let on_unknown = prop_oneof![2 => Just(OnUnknown::Failover), 1 => Just(OnUnknown::Stop)];
    let pause = prop_oneof![Just(0u64), 0u64..2000];
    (prop::collection::vec(terms, 0..5), 0usize..4, 0usize..9, 0u64..20_000, pause, on_unknown).prop_map(
        |(accounts, attempts_per_account, sends, deadline, pause, on_unknown)| Plan {
            accounts,
            attempts_per_account,
            sends,
            deadline: ms(deadline),
            pause: ms(pause),
            on_unknown,
        },
    )
}

/// What happens between one question and the next.
#[derive(Clone, Debug)]
struct Turning {
    outcome: Outcome,
    wait: Option<Duration>,
    took: Duration,
    rotated: bool,
    admissions: Vec<Admission>,
    retry: bool,
    dice: f64,
}

fn any_turning() -> impl Strategy<Value = Turning> {
    let wait = prop::option::of((0u64..5000).prop_map(ms));
    let admissions = prop::collection::vec(any_admission(), 5);
    (any_outcome(), wait, 0u64..3000, any::<bool>(), admissions, prop::bool::weighted(0.8), 0.0..=1.0f64).prop_map(
        |(outcome, wait, took, rotated, admissions, retry, dice)| Turning {
            outcome,
            wait,
            took: ms(took),
            rotated,
            admissions,
            retry,
            dice,
        },
    )
}

fn any_inheritance() -> impl Strategy<Value = Vec<Attempt>> {
    let outcome = any_outcome().prop_filter("an accepted message is answered", |outcome| !matches!(outcome, Outcome::Accepted { .. }));
    let attempt = (0usize..7, outcome).prop_map(|(account, outcome)| Attempt {
        account,
        credential: held(1),
        outcome,
        wait: None,
        ended: Duration::ZERO,
        inherited: true,
    });
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(attempt, 1..3)]
}

/// One call, played against a script.
struct World {
    plan: Plan,
    script: Vec<Turning>,
    tried: Vec<Attempt>,
    elapsed: Duration,
    version: u64,
}

impl World {
    fn own(&self) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.tried.iter().filter(|attempt| !attempt.inherited)
    }

    fn now(&self) -> &Turning {
        &self.script[self.own().count() % self.script.len()]
    }

    fn view(&self, account: usize) -> View {
        let now = self.now();
        View { admission: now.admissions[account], credential: held(self.version), retry: now.retry }
    }

    fn next(&self) -> Step {
        next(&self.plan, &self.tried, |account| self.view(account), self.elapsed, self.now().dice)
    }

    fn in_time(&self, account: usize, after: Duration) -> bool {
        self.elapsed + after + self.plan.accounts[account].timeout.min(ms(1000)) <= self.plan.deadline
    }

    fn mine(&self, account: usize) -> Vec<&Attempt> {
        self.own().filter(|attempt| attempt.account == account).collect()
    }

    /// What anybody, in this call or before it, was told at this account.
    fn heard(&self, account: usize, wanted: impl Fn(&Attempt) -> bool) -> bool {
        self.tried.iter().any(|attempt| attempt.account == account && wanted(attempt))
    }

    /// Could be asked now without waiting: never tried, or dead with a credential that was replaced since.
    fn at_once(&self, account: usize) -> bool {
        let (mine, terms) = (self.mine(account), self.plan.accounts[account]);
        let fresh = mine.is_empty() && self.view(account).admission != Admission::Trial;
        let trial = mine.is_empty() && self.view(account).admission == Admission::Trial;
        let healed = mine.len() == 1 && about(mine[0], Concern::Credential) && mine[0].credential < held(self.version);
        let admitted = trial || ((fresh || healed) && self.view(account).admission == Admission::Open);
        let refused = self.heard(account, |attempt| {
            let message = about(attempt, Concern::Message) || about(attempt, Concern::MessageHere);
            message || (in_doubt(attempt) && !terms.repeat_key)
        });
        terms.skip.is_none() && admitted && !refused && self.plan.attempts_per_account > 0 && self.in_time(account, Duration::ZERO)
    }

    fn advance(&mut self, account: usize, after: Duration) {
        let Turning { outcome, wait, took, rotated, .. } = self.now().clone();
        self.elapsed += after + took;
        let credential = held(self.version);
        self.tried.push(Attempt { account, credential, outcome, wait, ended: self.elapsed, inherited: false });
        self.version += u64::from(rotated);
    }
}

/// What holds for every send.
fn send_laws(world: &World, account: usize, after: Duration, [trial, retry]: [bool; 2]) -> Result<(), TestCaseError> {
    prop_assert!(account < world.plan.accounts.len() && world.plan.accounts[account].skip.is_none());
    prop_assert!(world.in_time(account, after));
    prop_assert!(world.own().count() < world.plan.sends);
    message_laws(world, account)?;
    account_laws(world, account, after)?;
    admission_laws(world, account, after, trial)?;
    pause_laws(world, account, after, retry)?;
    // a fresh credential or another account before any waiting, in the order of the plan
    if let Some(first) = (0..world.plan.accounts.len()).find(|&other| world.at_once(other)) {
        prop_assert!(after == Duration::ZERO && !retry && account <= first);
    }
    Ok(())
}

fn message_laws(world: &World, account: usize) -> Result<(), TestCaseError> {
    let tried = &world.tried;
    // nothing after it was taken, after the person said no, after it was there already
    let over = |attempt: &Attempt| {
        matches!(attempt.outcome, Outcome::Accepted { .. }) || about(attempt, Concern::Person) || about(attempt, Concern::Repeat)
    };
    prop_assert!(!tried.iter().any(over));
    // nothing after two providers said that the message is bad
    let says_bad = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Refused(cause) if cause.concern() == Concern::Message);
    prop_assert!(tried.iter().filter(says_bad).count() < 2);
    // after a doubt: nowhere if the route says stop, never again at the same account without a repeat key
    prop_assert!(world.plan.on_unknown == OnUnknown::Failover || !tried.iter().any(in_doubt));
    prop_assert!(world.plan.accounts[account].repeat_key || !world.heard(account, in_doubt));
    Ok(())
}

fn account_laws(world: &World, account: usize, after: Duration) -> Result<(), TestCaseError> {
    let mine = world.mine(account);
    let renewed = mine.iter().filter(|attempt| about(attempt, Concern::Credential)).count();
    // an account refused for itself or for this message is left alone
    prop_assert!(!world.heard(account, |attempt| about(attempt, Concern::MessageHere) || about(attempt, Concern::Message)));
    prop_assert!(!mine.iter().any(|attempt| about(attempt, Concern::Account) || about(attempt, Concern::Ours)));
    // a dead credential is never sent again, a fresh one once and at once
    prop_assert!(!mine.iter().any(|attempt| about(attempt, Concern::Credential) && attempt.credential >= held(world.version)));
    prop_assert!(renewed < 2);
    prop_assert!(mine.len() < world.plan.attempts_per_account + renewed);
    if mine.last().is_some_and(|last| about(last, Concern::Credential)) && world.view(account).admission == Admission::Open {
        prop_assert_eq!(after, Duration::ZERO);
    }
    Ok(())
}

fn admission_laws(world: &World, account: usize, after: Duration, trial: bool) -> Result<(), TestCaseError> {
    let admission = world.view(account).admission;
    prop_assert_eq!(trial, admission == Admission::Trial);
    match admission {
        Admission::Open => {}
        Admission::Trial => prop_assert!(world.mine(account).is_empty()),
        Admission::Closed { cause: Cause::Throttled, wait: Some(wait) } => prop_assert!(after >= wait),
        Admission::Closed { .. } => prop_assert!(false, "a closed account was asked"),
    }
    Ok(())
}

fn pause_laws(world: &World, account: usize, after: Duration, retry: bool) -> Result<(), TestCaseError> {
    let mine = world.mine(account);
    let last = mine.last().filter(|last| !about(last, Concern::Credential));
    prop_assert_eq!(retry, last.is_some());
    // a second attempt is paid for, and waits for what was asked, else for a pause that doubles
    prop_assert!(!retry || world.view(account).retry);
    let Some(last) = last else {
        let limit = if world.view(account).admission == Admission::Open { Duration::ZERO } else { ms(6000) };
        prop_assert!(after <= limit);
        return Ok(());
    };
    let asked = last.ended + last.wait.unwrap_or_default();
    prop_assert!(world.elapsed + after >= asked);
    let before = mine.iter().filter(|attempt| !about(attempt, Concern::Credential)).count();
    let pause = world.plan.pause * 2u32.pow(u32::try_from(before - 1).unwrap());
    prop_assert!(after >= pause / 2);
    if last.wait.is_none() && world.view(account).admission == Admission::Open {
        prop_assert!(after <= pause);
    }
    Ok(())
}

/// What holds for every end.
fn end_laws(world: &World, verdict: Verdict) -> Result<(), TestCaseError> {
    let World { plan, tried, .. } = world;
    let own_doubt = |at: usize| tried[..at].iter().any(|earlier| earlier.account == tried[at].account && in_doubt(earlier));
    let repeated = (0..tried.len()).any(|at| tried[at].outcome == Outcome::Refused(Cause::Duplicate) && own_doubt(at));
    let at_fault =
        tried.iter().any(|attempt| [Concern::Message, Concern::Person, Concern::Repeat].iter().any(|&whom| about(attempt, whom)));
    let fits_nobody = !plan.accounts.is_empty() && plan.accounts.iter().all(|terms| terms.skip == Some(Cause::MessageInvalid));
    // the verdict tells the truth about whether it may have been sent
    let truth = if tried.iter().any(|attempt| attempt.outcome == accepted()) || repeated {
        Verdict::Accepted
    } else if tried.iter().any(in_doubt) {
        Verdict::InDoubt
    } else if at_fault || fits_nobody {
        Verdict::MessageRefused
    } else {
        Verdict::NotSent
    };
    prop_assert_eq!(verdict, truth);
    prop_assert_eq!(cause(plan, tried, |account| world.view(account)).is_none(), verdict == Verdict::Accepted);
    // whoever can be asked at once is not left unused while sends remain, be it that nobody has the message or maybe somebody
    let goes_on = verdict == Verdict::NotSent || (verdict == Verdict::InDoubt && plan.on_unknown == OnUnknown::Failover && !at_fault);
    if goes_on && world.own().count() < plan.sends {
        for account in 0..plan.accounts.len() {
            prop_assert!(!world.at_once(account), "account {} was left unused", account);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laws(plan in any_plan(), script in prop::collection::vec(any_turning(), 1..12), tried in any_inheritance()) {
        let mut world = World { plan, script, tried, elapsed: Duration::ZERO, version: 1 };
        let verdict = loop {
            let step = world.next();
            prop_assert_eq!(step, world.next()); // the same question has one answer
            match step {
                Step::Answer(verdict) => break verdict,
                Step::Send { account, after, trial, retry } => {
                    send_laws(&world, account, after, [trial, retry])?;
                    world.advance(account, after);
                }
            }
        };
        end_laws(&world, verdict)?;
    }
}

/// Two accounts, two attempts each, eight seconds.
fn plan(on_unknown: OnUnknown) -> Plan {
    let terms = Terms { timeout: ms(3000), repeat_key: false, skip: None };
    Plan { accounts: vec![terms; 2], attempts_per_account: 2, sends: 6, deadline: ms(8000), pause: ms(200), on_unknown }
}

fn attempt(account: usize, outcome: Outcome) -> Attempt {
    Attempt { account, credential: held(1), outcome, wait: None, ended: ms(300), inherited: false }
}

fn open(version: u64) -> View {
    View { admission: Admission::Open, credential: held(version), retry: true }
}

fn send(account: usize, after: u64, retry: bool) -> Step {
    Step::Send { account, after: ms(after), trial: false, retry }
}

/// The next step of the plan above, all accounts open, after 300 ms.
fn ask(on_unknown: OnUnknown, tried: &[Attempt], version: u64) -> Step {
    next(&plan(on_unknown), tried, |_| open(version), ms(300), 1.0)
}

fn refused(account: usize, cause: Cause) -> Attempt {
    attempt(account, Outcome::Refused(cause))
}

#[test]
fn a_newer_credential_is_tried_once_and_at_once() {
    let dead = refused(0, Cause::CredentialRejected);
    assert_eq!(ask(OnUnknown::Failover, std::slice::from_ref(&dead), 1), send(1, 0, false), "nothing newer: the next");
    assert_eq!(ask(OnUnknown::Failover, std::slice::from_ref(&dead), 2), send(0, 0, false), "newer: the same, outside the retry budget");
    let again = Attempt { credential: held(2), ..dead.clone() };
    assert_eq!(ask(OnUnknown::Failover, &[dead.clone(), again], 3), send(1, 0, false), "refused again: the next, whatever is newer");
    let token = View { credential: Held { version: Version(1), logins: 1 }, ..open(1) };
    assert_eq!(next(&plan(OnUnknown::Failover), &[dead], |_| token, ms(300), 1.0), send(0, 0, false), "a new login counts as newer");
}

#[test]
fn a_healed_account_has_its_attempts_still() {
    let tried = [refused(0, Cause::CredentialRejected), Attempt { credential: held(2), ..refused(0, Cause::ProviderFault) }];
    let alone = Plan { accounts: vec![plan(OnUnknown::Failover).accounts[0]], ..plan(OnUnknown::Failover) };
    assert_eq!(next(&alone, &tried, |_| open(2), ms(300), 1.0), send(0, 200, true));
}

#[test]
fn after_a_doubt_the_route_decides() {
    let doubt = attempt(0, Outcome::Unknown(Cause::Timeout));
    assert_eq!(ask(OnUnknown::Failover, std::slice::from_ref(&doubt), 1), send(1, 0, false));
    assert_eq!(ask(OnUnknown::Stop, std::slice::from_ref(&doubt), 1), Step::Answer(Verdict::InDoubt));
    let both = [doubt.clone(), refused(1, Cause::BalanceEmpty)];
    assert_eq!(ask(OnUnknown::Failover, &both, 2), Step::Answer(Verdict::InDoubt), "never the same again, and the doubt is said");
    let mut keyed = plan(OnUnknown::Failover);
    keyed.accounts[0].repeat_key = true;
    assert_eq!(next(&keyed, &both, |_| open(1), ms(300), 1.0), send(0, 200, true), "save with a real repeat key");
    let stop = Plan { on_unknown: OnUnknown::Stop, ..keyed };
    assert_eq!(next(&stop, &both, |_| open(1), ms(300), 1.0), Step::Answer(Verdict::InDoubt), "stop means stop, repeat key or not");
}

#[test]
fn a_duplicate_is_ours_only_after_our_own_doubt_there() {
    let (doubt, duplicate) = (attempt(0, Outcome::Unknown(Cause::Timeout)), refused(0, Cause::Duplicate));
    assert_eq!(ask(OnUnknown::Failover, &[doubt.clone(), duplicate.clone()], 1), Step::Answer(Verdict::Accepted));
    assert_eq!(ask(OnUnknown::Failover, std::slice::from_ref(&duplicate), 1), Step::Answer(Verdict::MessageRefused));
    let elsewhere = Attempt { account: 1, ..duplicate.clone() };
    assert_eq!(ask(OnUnknown::Failover, &[doubt.clone(), elsewhere], 1), Step::Answer(Verdict::InDoubt));
    assert_eq!(ask(OnUnknown::Failover, &[duplicate, doubt], 1), Step::Answer(Verdict::InDoubt), "the doubt must come first");
}

#[test]
fn one_provider_may_err_about_a_message_two_do_not() {
    let (one, two) = (refused(0, Cause::RecipientInvalid), refused(1, Cause::MessageInvalid));
    assert_eq!(ask(OnUnknown::Failover, std::slice::from_ref(&one), 1), send(1, 0, false));
    assert_eq!(ask(OnUnknown::Failover, &[one.clone(), two], 1), Step::Answer(Verdict::MessageRefused));
    let three = Plan { accounts: vec![plan(OnUnknown::Failover).accounts[0]; 3], ..plan(OnUnknown::Failover) };
    let ours = attempt(1, Outcome::Unsent(Cause::MessageInvalid));
    assert_eq!(next(&three, &[one.clone(), ours], |_| open(1), ms(300), 1.0), send(2, 0, false), "our own check is no second provider");
    assert_eq!(
        ask(OnUnknown::Failover, &[refused(0, Cause::RecipientBlocked)], 1),
        Step::Answer(Verdict::MessageRefused),
        "an opt-out ends it"
    );
}

#[test]
fn a_throttled_account_is_come_back_to_if_the_deadline_allows() {
    let throttled = |wait: u64| Attempt { wait: Some(ms(wait)), ..refused(0, Cause::Throttled) };
    assert_eq!(ask(OnUnknown::Failover, &[throttled(2000)], 1), send(1, 0, false), "first the other");
    let both = |wait: u64| [throttled(wait), refused(1, Cause::BalanceEmpty)];
    assert_eq!(ask(OnUnknown::Failover, &both(2000), 1), send(0, 2200, true), "then back, with jitter on top");
    assert_eq!(next(&plan(OnUnknown::Failover), &both(2000), |_| open(1), ms(1300), 0.0), send(0, 1000, true), "what has passed counts");
    assert_eq!(ask(OnUnknown::Failover, &both(7000), 1), Step::Answer(Verdict::NotSent));
    let closed = Admission::Closed { cause: Cause::Throttled, wait: Some(ms(1500)) };
    let resting = |account: usize| View { admission: if account == 0 { closed } else { Admission::Open }, ..open(1) };
    assert_eq!(next(&plan(OnUnknown::Failover), &both(1000), resting, ms(300), 0.0), send(0, 1500, true), "its rest counts too");
}

#[test]
fn a_second_attempt_is_paid_from_the_budget_failover_and_healing_are_not() {
    let poor = |version: u64| move |_: usize| View { retry: false, ..open(version) };
    let fault = refused(0, Cause::ProviderFault);
    assert_eq!(next(&plan(OnUnknown::Failover), std::slice::from_ref(&fault), poor(1), ms(300), 1.0), send(1, 0, false));
    let both = [fault, refused(1, Cause::CredentialRejected)];
    assert_eq!(next(&plan(OnUnknown::Failover), &both, poor(1), ms(300), 1.0), Step::Answer(Verdict::NotSent));
    assert_eq!(next(&plan(OnUnknown::Failover), &both, poor(2), ms(300), 1.0), send(1, 0, false));
}

#[test]
fn pauses_double_and_the_dice_shorten_them() {
    let fault = || refused(0, Cause::ProviderFault);
    let alone =
        Plan { accounts: vec![plan(OnUnknown::Failover).accounts[0]], attempts_per_account: 9, sends: 9, ..plan(OnUnknown::Failover) };
    let after = |times: usize, dice: f64| match next(&alone, &vec![fault(); times], |_| open(1), ms(300), dice) {
        Step::Send { after, .. } => after,
        Step::Answer(verdict) => panic!("{verdict}"),
    };
    assert_eq!([1, 2, 3, 4].map(|times| after(times, 1.0)), [ms(200), ms(400), ms(800), ms(1600)]);
    assert_eq!([0.0, 0.5, 1.0, 7.0, -1.0, f64::NAN].map(|dice| after(1, dice)), [ms(100), ms(150), ms(200), ms(200), ms(100), ms(100)]);
    let endless = Plan { pause: Duration::MAX, deadline: Duration::MAX, ..alone };
    assert!(matches!(next(&endless, &[fault()], |_| open(1), ms(300), 1.0), Step::Send { after: LONGEST_PAUSE, .. }));
}

#[test]
fn failover_comes_before_a_retry_even_without_a_pause() {
    let hasty = Plan { pause: Duration::ZERO, ..plan(OnUnknown::Failover) };
    assert_eq!(next(&hasty, &[refused(0, Cause::ProviderFault)], |_| open(1), ms(300), 1.0), send(1, 0, false));
    let resting = Admission::Closed { cause: Cause::Throttled, wait: Some(ms(2000)) };
    let view = |account: usize| View { admission: if account == 1 { resting } else { Admission::Open }, ..open(1) };
    let plan = plan(OnUnknown::Failover);
    assert_eq!(next(&plan, &[refused(0, Cause::ProviderFault)], view, ms(300), 1.0), send(0, 200, true), "of two waits the shorter");
}

#[test]
fn nothing_starts_that_cannot_end_in_time() {
    let at = |elapsed: u64, timeout: u64| {
        let accounts = vec![Terms { timeout: ms(timeout), repeat_key: false, skip: None }];
        next(&Plan { accounts, ..plan(OnUnknown::Failover) }, &[], |_| open(1), ms(elapsed), 1.0)
    };
    assert_eq!([at(7000, 3000), at(7001, 3000)], [send(0, 0, false), Step::Answer(Verdict::NotSent)]);
    assert_eq!([at(7500, 500), at(7501, 500)], [send(0, 0, false), Step::Answer(Verdict::NotSent)], "its own limit is shorter");
}

#[test]
fn a_trial_is_one_attempt() {
    let trial = |_: usize| View { admission: Admission::Trial, ..open(1) };
    assert_eq!(
        next(&plan(OnUnknown::Failover), &[], trial, ms(300), 1.0),
        Step::Send { account: 0, after: ms(0), trial: true, retry: false }
    );
    let one = plan(OnUnknown::Failover).accounts[0];
    let alone = Plan { accounts: vec![one], ..plan(OnUnknown::Failover) };
    assert_eq!(next(&alone, &[refused(0, Cause::Unreachable)], trial, ms(300), 1.0), Step::Answer(Verdict::NotSent));
}

#[test]
fn an_inherited_history_binds_but_costs_nothing() {
    let names = ["a", "b", "gone"].map(ProviderId::new);
    let past = |provider: &ProviderId, outcome| Past { provider: provider.clone(), credential: held(1), outcome, reference: String::new() };
    let doubt = past(&names[0], Outcome::Unknown(Cause::Timeout));
    let order = &names[..2];
    let frugal = Plan { sends: 1, attempts_per_account: 1, ..plan(OnUnknown::Failover) };
    let go = |plan: &Plan, history: &[Past]| next(plan, &carry_over(history, order), |_| open(1), ms(0), 1.0);
    assert_eq!(go(&frugal, std::slice::from_ref(&doubt)), send(1, 0, false), "not the one in doubt");
    let mut keyed = frugal.clone();
    keyed.accounts[0].repeat_key = true;
    assert_eq!(go(&keyed, std::slice::from_ref(&doubt)), send(0, 0, false), "save with a repeat key");
    assert_eq!(go(&Plan { on_unknown: OnUnknown::Stop, ..frugal.clone() }, std::slice::from_ref(&doubt)), Step::Answer(Verdict::InDoubt));
    let gone = [past(&names[2], Outcome::Unknown(Cause::Timeout)), past(&names[0], Outcome::Refused(Cause::BalanceEmpty))];
    assert_eq!(go(&frugal, &gone), send(0, 0, false), "what was wrong with an account then is its standing's to say now");
    assert_eq!(verdict(&frugal, &carry_over(&gone, order)), Verdict::InDoubt, "a provider that left the plan still may have sent it");
    let bad = [past(&names[0], Outcome::Refused(Cause::MessageInvalid)), past(&names[2], Outcome::Refused(Cause::MessageInvalid))];
    assert_eq!(go(&frugal, &bad), Step::Answer(Verdict::MessageRefused), "two strangers are two");
}

#[test]
fn the_cause_is_that_of_the_account_to_be_asked_first() {
    let told = |tried: &[Attempt], admissions: [Admission; 2], skip: Option<Cause>| {
        let mut plan = plan(OnUnknown::Failover);
        plan.accounts[1].skip = skip;
        cause(&plan, tried, |account| View { admission: admissions[account], ..open(1) })
    };
    let (open, aside) = (Admission::Open, Admission::Closed { cause: Cause::BalanceEmpty, wait: None });
    let both = [refused(1, Cause::ProviderFault), refused(0, Cause::CredentialRejected)];
    assert_eq!(told(&both, [open, open], None), Some(Cause::CredentialRejected));
    let again = [refused(0, Cause::Throttled), refused(0, Cause::Unreachable)];
    assert_eq!(told(&again, [open, open], None), Some(Cause::Unreachable), "its last word");
    assert_eq!(
        told(&[refused(1, Cause::Throttled)], [aside, open], None),
        Some(Cause::Throttled),
        "what was said now before what is remembered"
    );
    assert_eq!(told(&[], [aside, open], Some(Cause::NotTranslatable)), Some(Cause::BalanceEmpty));
    assert_eq!(told(&[], [open, aside], Some(Cause::NotTranslatable)), Some(Cause::Timeout), "there was no time to ask");
    assert_eq!(told(&[attempt(0, accepted())], [open, open], None), None);
    let doubt = attempt(0, Outcome::Unknown(Cause::ReplyUnreadable));
    assert_eq!(told(&[doubt, refused(1, Cause::BalanceEmpty)], [open, open], None), Some(Cause::ReplyUnreadable));
    let blocked = [refused(0, Cause::RecipientBlocked), refused(1, Cause::MessageInvalid)];
    assert_eq!(told(&blocked, [open, open], None), Some(Cause::RecipientBlocked));
    assert_eq!(
        told(&[refused(0, Cause::MessageInvalid), refused(1, Cause::BalanceEmpty)], [open, open], None),
        Some(Cause::MessageInvalid)
    );
    let nobody = Plan { accounts: Vec::new(), ..plan(OnUnknown::Failover) };
    assert_eq!(cause(&nobody, &[], |_| View { admission: open, credential: held(1), retry: true }), Some(Cause::NoProvider));
    let mut skipped = plan(OnUnknown::Failover);
    skipped.accounts.iter_mut().for_each(|terms| terms.skip = Some(Cause::TemplateNotApproved));
    let unasked = |plan: &Plan| cause(plan, &[], |_| View { admission: open, credential: held(1), retry: true });
    assert_eq!((unasked(&skipped), verdict(&skipped, &[])), (Some(Cause::TemplateNotApproved), Verdict::NotSent));
    skipped.accounts[1].skip = Some(Cause::MessageInvalid);
    assert_eq!(verdict(&skipped, &[]), Verdict::NotSent, "an approved text may come for the other");
    skipped.accounts[0].skip = Some(Cause::MessageInvalid);
    let too_long = (Some(Cause::MessageInvalid), Verdict::MessageRefused);
    assert_eq!((unasked(&skipped), verdict(&skipped, &[])), too_long, "a text too long for everybody is the message's fault");
}
