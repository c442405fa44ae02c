//! What counts as the same message, who waits for whom, and what is inherited.

use proptest::prelude::*;

use super::*;
use crate::secret::Version;
use crate::sms::{Cause, MessageText, Msisdn};

const WINDOW: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn message(recipient: &str, text: &str) -> Message {
    Message {
        recipient: Msisdn::parse(recipient).unwrap(),
        text: MessageText::new(text),
        sender: None,
        reference: "r".to_owned(),
        validity: None,
        callback: None,
        template: None,
    }
}

fn key(text: &str) -> DedupKey {
    DedupKey::for_message(&[7; 64], "backend", &message("998901234567", text), None)
}

fn doubt() -> Vec<PastAttempt> {
    let outcome = Outcome::Unknown(Cause::Timeout);
    vec![PastAttempt {
        provider: ProviderId::new("first"),
        credential: CredentialRevision::from(Version(1)),
        outcome,
        reference: String::new(),
    }]
}

fn new(asked: &DedupLookup<u32>) -> DedupTicket {
    match asked {
        DedupLookup::New(ticket) | DedupLookup::Inherit(ticket, _) => *ticket,
        DedupLookup::Wait | DedupLookup::Answered(_) => panic!("{asked:?}"),
    }
}

#[test]
fn a_repeat_waits_and_gets_the_known_answer_for_a_while() {
    let mut repeats = DedupTable::new(9);
    let ticket = new(&repeats.lookup(key("a"), at(0)));
    assert_eq!(
        repeats.lookup(key("a"), at(500)),
        DedupLookup::Wait,
        "however long it runs"
    );
    assert!(
        matches!(repeats.lookup(key("b"), at(500)), DedupLookup::New(_)),
        "another message"
    );
    repeats.finish(ticket, DedupCompletion::Answer(5), WINDOW, at(500));
    assert_eq!(repeats.lookup(key("a"), at(509)), DedupLookup::Answered(5));
    assert!(
        matches!(repeats.lookup(key("a"), at(510)), DedupLookup::New(_)),
        "after the window it is a new one"
    );
}

#[test]
fn what_was_not_sent_begins_anew_and_a_doubt_is_inherited() {
    let mut repeats = DedupTable::new(9);
    let ticket = new(&repeats.lookup(key("a"), at(0)));
    repeats.finish(ticket, DedupCompletion::Forget, WINDOW, at(1));
    assert_eq!((repeats.len(), repeats.is_empty()), (0, true));
    let ticket = new(&repeats.lookup(key("a"), at(1)));
    repeats.finish(ticket, DedupCompletion::InDoubt(doubt()), WINDOW, at(2));
    let DedupLookup::Inherit(ticket, history) = repeats.lookup(key("a"), at(3)) else {
        panic!("not inherited")
    };
    assert_eq!(history, doubt());
    assert_eq!(
        repeats.lookup(key("a"), at(60)),
        DedupLookup::Wait,
        "it runs, whatever the window of the one before"
    );
    repeats.finish(ticket, DedupCompletion::Answer(1), WINDOW, at(60));
    assert_eq!(repeats.lookup(key("a"), at(69)), DedupLookup::Answered(1));
}

#[test]
fn providers_that_left_the_plan_are_told_apart() {
    let past = |name: &str, outcome| PastAttempt {
        provider: ProviderId::new(name),
        credential: CredentialRevision::default(),
        outcome,
        reference: String::new(),
    };
    let (doubt, duplicate) = (
        Outcome::Unknown(Cause::Timeout),
        Outcome::Rejected(Cause::Duplicate),
    );
    let history = [
        past("x", Outcome::Rejected(Cause::BalanceEmpty)),
        past("y", doubt),
        past("z", duplicate),
        past("y", Outcome::Unsent(Cause::Timeout)),
    ];
    let accounts: Vec<_> = inherit_attempts(&history, &[ProviderId::new("a")])
        .iter()
        .map(|attempt| attempt.account)
        .collect();
    assert_eq!(accounts, [1, 2, 3, 2]);
    let placed: Vec<_> = inherit_attempts(&history, &[ProviderId::new("z"), ProviderId::new("y")])
        .iter()
        .map(|attempt| attempt.account)
        .collect();
    assert_eq!(placed, [2, 1, 0, 1]);
}

#[test]
fn only_the_call_that_runs_can_finish() {
    let mut repeats = DedupTable::new(9);
    let old = new(&repeats.lookup(key("a"), at(0)));
    repeats.finish(old, DedupCompletion::Forget, WINDOW, at(0));
    let running = new(&repeats.lookup(key("a"), at(1)));
    repeats.finish(old, DedupCompletion::Answer(1), WINDOW, at(1));
    assert_eq!(repeats.lookup(key("a"), at(1)), DedupLookup::Wait);
    repeats.finish(running, DedupCompletion::Answer(2), WINDOW, at(1));
    repeats.finish(running, DedupCompletion::Forget, WINDOW, at(1));
    assert_eq!(repeats.lookup(key("a"), at(1)), DedupLookup::Answered(2));
}

#[test]
fn when_it_is_full_the_answered_go_first_and_the_rest_is_carried() {
    let mut repeats = DedupTable::new(2);
    let first = new(&repeats.lookup(key("a"), at(0)));
    repeats.finish(first, DedupCompletion::Answer(1), WINDOW, at(0));
    let running = new(&repeats.lookup(key("b"), at(1)));
    let third = new(&repeats.lookup(key("c"), at(2)));
    assert_eq!((repeats.len(), repeats.is_empty()), (2, false));
    assert_eq!(
        repeats.lookup(key("b"), at(2)),
        DedupLookup::Wait,
        "a running one stays"
    );
    let unremembered = new(&repeats.lookup(key("a"), at(2)));
    repeats.finish(unremembered, DedupCompletion::Answer(9), WINDOW, at(2));
    assert_eq!(repeats.len(), 2);
    assert!(matches!(
        repeats.lookup(key("a"), at(2)),
        DedupLookup::New(_)
    ));
    repeats.finish(running, DedupCompletion::Answer(2), WINDOW, at(3));
    repeats.finish(third, DedupCompletion::InDoubt(doubt()), WINDOW, at(3));
    assert!(
        matches!(repeats.lookup(key("c"), at(4)), DedupLookup::Inherit(..)),
        "one that is known needs no room"
    );
    assert_eq!(repeats.lookup(key("b"), at(4)), DedupLookup::Answered(2));
    assert!(DedupTable::<u32>::new(0).is_empty());
}

#[test]
fn the_same_message_is_the_same_text_number_caller_and_idempotency_key() {
    let of = |caller: &str, recipient: &str, text: &str, given: Option<&str>| {
        DedupKey::for_message(&[7; 64], caller, &message(recipient, text), given)
    };
    let same = of("backend", "998901234567", "Kod: 1", None);
    assert_eq!(same, of("backend", "+998 90 123 45 67", "Kod: 1", None));
    let others = [
        of("other", "998901234567", "Kod: 1", None),
        of("backend", "998901234568", "Kod: 1", None),
        of("backend", "998901234567", "Kod: 2", None),
        of("backend", "998901234567", "Kod: 1", Some("")),
        of("backend", "998901234567", "Kod: 1", Some("k")),
        of("backend", "998901234567", "Kod: 2", Some("k")),
        of("backend9", "98901234567", "Kod: 1", None),
        DedupKey::for_message(
            &[8; 64],
            "backend",
            &message("998901234567", "Kod: 1"),
            None,
        ),
    ];
    let all: BTreeSet<_> = others.iter().chain([&same]).collect();
    assert_eq!(all.len(), others.len() + 1);
}

#[test]
fn a_key_of_the_backends_is_remembered_longer() {
    let windows = [WINDOW, Duration::ZERO, Duration::from_hours(2)];
    assert_eq!(windows.map(|route| duplicate_window(route, None)), windows);
    let keyed = [
        Duration::from_hours(1),
        Duration::from_hours(1),
        Duration::from_hours(2),
    ];
    assert_eq!(
        windows.map(|route| duplicate_window(route, Some("k"))),
        keyed
    );
}

#[test]
fn the_reference_does_not_make_a_message_another() {
    let other = Message {
        reference: "other".to_owned(),
        sender: Some("Shop".to_owned()),
        ..message("998901234567", "a")
    };
    assert_eq!(
        DedupKey::for_message(&[7; 64], "backend", &other, None),
        key("a")
    );
}

/// What one of several backends does.
#[derive(Clone, Debug)]
enum Act {
    Ask(u8),
    Finish(usize, DedupCompletion<u32>),
}

fn any_act() -> impl Strategy<Value = Act> {
    let end = prop_oneof![
        any::<u32>().prop_map(DedupCompletion::Answer),
        Just(DedupCompletion::Forget),
        Just(DedupCompletion::InDoubt(doubt()))
    ];
    prop_oneof![3 => (0u8..6).prop_map(Act::Ask), 2 => (any::<usize>(), end).prop_map(|(which, end)| Act::Finish(which, end))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laws(acts in prop::collection::vec((0u64..6, any_act()), 0..40), most in 0usize..5) {
        let (mut repeats, mut now, mut running) = (DedupTable::new(most), 0, Vec::<(u8, bool, DedupTicket)>::new());
        for (passed, act) in acts {
            now += passed;
            match act {
                Act::Ask(name) => {
                    let key = key(&name.to_string());
                    let runs = running.iter().any(|(other, remembered, _)| *other == name && *remembered);
                    let asked = repeats.lookup(key, at(now));
                    let remembered = repeats.lookup(key, at(now)) == DedupLookup::Wait;
                    match asked {
                        // one message runs once, unless there was no room to know
                        DedupLookup::New(ticket) => {
                            prop_assert!(!runs && (remembered || repeats.expirations.is_empty()));
                            running.push((name, remembered, ticket));
                        }
                        DedupLookup::Inherit(ticket, history) => {
                            prop_assert!(!runs && remembered && history == doubt());
                            running.push((name, remembered, ticket));
                        }
                        DedupLookup::Wait => prop_assert!(runs),
                        DedupLookup::Answered(_) => prop_assert!(!runs),
                    }
                }
                Act::Finish(which, end) if !running.is_empty() => {
                    let (_, _, ticket) = running.swap_remove(which % running.len());
                    repeats.finish(ticket, end, WINDOW, at(now));
                }
                Act::Finish(..) => {}
            }
            prop_assert!(repeats.len() <= most && repeats.expirations.len() <= repeats.entries.len());
        }
        // when all has ended nothing stays for ever
        for (_, _, ticket) in running {
            repeats.finish(ticket, DedupCompletion::Answer(0), WINDOW, at(now));
        }
        let last = repeats.lookup(key("last"), at(now + 10));
        prop_assert!(matches!(last, DedupLookup::New(_)) && repeats.len() <= 1 && repeats.expirations.is_empty());
    }
}
