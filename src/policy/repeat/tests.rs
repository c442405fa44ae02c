//! What counts as the same message, who waits for whom, and what is inherited.

use proptest::prelude::*;

use super::*;
use crate::secret::Version;
use crate::sms::{Cause, Msisdn, Text};

const WINDOW: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn message(recipient: &str, text: &str) -> Message {
    Message {
        recipient: Msisdn::parse(recipient).unwrap(),
        text: Text::new(text),
        sender: None,
        reference: "r".to_owned(),
        validity: None,
        callback: None,
        template: None,
    }
}

fn key(text: &str) -> Key {
    Key::of(&[7; 64], "backend", &message("998901234567", text), None)
}

fn doubt() -> Vec<Past> {
    let outcome = Outcome::Unknown(Cause::Timeout);
    vec![Past { provider: ProviderId::new("first"), credential: Held::from(Version(1)), outcome, reference: String::new() }]
}

fn new(asked: &Asked<u32>) -> Ticket {
    match asked {
        Asked::New(ticket) | Asked::Inherit(ticket, _) => *ticket,
        Asked::Wait | Asked::Answered(_) => panic!("{asked:?}"),
    }
}

#[test]
fn a_repeat_waits_and_gets_the_known_answer_for_a_while() {
    let mut repeats = Repeats::new(9);
    let ticket = new(&repeats.ask(key("a"), at(0)));
    assert_eq!(repeats.ask(key("a"), at(500)), Asked::Wait, "however long it runs");
    assert!(matches!(repeats.ask(key("b"), at(500)), Asked::New(_)), "another message");
    repeats.finish(ticket, End::Answer(5), WINDOW, at(500));
    assert_eq!(repeats.ask(key("a"), at(509)), Asked::Answered(5));
    assert!(matches!(repeats.ask(key("a"), at(510)), Asked::New(_)), "after the window it is a new one");
}

#[test]
fn what_was_not_sent_begins_anew_and_a_doubt_is_inherited() {
    let mut repeats = Repeats::new(9);
    let ticket = new(&repeats.ask(key("a"), at(0)));
    repeats.finish(ticket, End::Forget, WINDOW, at(1));
    assert_eq!((repeats.len(), repeats.is_empty()), (0, true));
    let ticket = new(&repeats.ask(key("a"), at(1)));
    repeats.finish(ticket, End::Doubt(doubt()), WINDOW, at(2));
    let Asked::Inherit(ticket, history) = repeats.ask(key("a"), at(3)) else { panic!("not inherited") };
    assert_eq!(history, doubt());
    assert_eq!(repeats.ask(key("a"), at(60)), Asked::Wait, "it runs, whatever the window of the one before");
    repeats.finish(ticket, End::Answer(1), WINDOW, at(60));
    assert_eq!(repeats.ask(key("a"), at(69)), Asked::Answered(1));
}

#[test]
fn providers_that_left_the_plan_are_told_apart() {
    let past =
        |name: &str, outcome| Past { provider: ProviderId::new(name), credential: Held::default(), outcome, reference: String::new() };
    let (doubt, duplicate) = (Outcome::Unknown(Cause::Timeout), Outcome::Refused(Cause::Duplicate));
    let history = [
        past("x", Outcome::Refused(Cause::BalanceEmpty)),
        past("y", doubt),
        past("z", duplicate),
        past("y", Outcome::Unsent(Cause::Timeout)),
    ];
    let accounts: Vec<_> = carry_over(&history, &[ProviderId::new("a")]).iter().map(|attempt| attempt.account).collect();
    assert_eq!(accounts, [1, 2, 3, 2]);
    let placed: Vec<_> =
        carry_over(&history, &[ProviderId::new("z"), ProviderId::new("y")]).iter().map(|attempt| attempt.account).collect();
    assert_eq!(placed, [2, 1, 0, 1]);
}

#[test]
fn only_the_call_that_runs_can_finish() {
    let mut repeats = Repeats::new(9);
    let old = new(&repeats.ask(key("a"), at(0)));
    repeats.finish(old, End::Forget, WINDOW, at(0));
    let running = new(&repeats.ask(key("a"), at(1)));
    repeats.finish(old, End::Answer(1), WINDOW, at(1));
    assert_eq!(repeats.ask(key("a"), at(1)), Asked::Wait);
    repeats.finish(running, End::Answer(2), WINDOW, at(1));
    repeats.finish(running, End::Forget, WINDOW, at(1));
    assert_eq!(repeats.ask(key("a"), at(1)), Asked::Answered(2));
}

#[test]
fn when_it_is_full_the_answered_go_first_and_the_rest_is_carried() {
    let mut repeats = Repeats::new(2);
    let first = new(&repeats.ask(key("a"), at(0)));
    repeats.finish(first, End::Answer(1), WINDOW, at(0));
    let running = new(&repeats.ask(key("b"), at(1)));
    let third = new(&repeats.ask(key("c"), at(2)));
    assert_eq!((repeats.len(), repeats.is_empty()), (2, false));
    assert_eq!(repeats.ask(key("b"), at(2)), Asked::Wait, "a running one stays");
    let unremembered = new(&repeats.ask(key("a"), at(2)));
    repeats.finish(unremembered, End::Answer(9), WINDOW, at(2));
    assert_eq!(repeats.len(), 2);
    assert!(matches!(repeats.ask(key("a"), at(2)), Asked::New(_)));
    repeats.finish(running, End::Answer(2), WINDOW, at(3));
    repeats.finish(third, End::Doubt(doubt()), WINDOW, at(3));
    assert!(matches!(repeats.ask(key("c"), at(4)), Asked::Inherit(..)), "one that is known needs no room");
    assert_eq!(repeats.ask(key("b"), at(4)), Asked::Answered(2));
    assert!(Repeats::<u32>::new(0).is_empty());
}

#[test]
fn the_same_message_is_the_same_text_number_caller_and_idempotency_key() {
    let of = |caller: &str, recipient: &str, text: &str, given: Option<&str>| Key::of(&[7; 64], caller, &message(recipient, text), given);
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
        Key::of(&[8; 64], "backend", &message("998901234567", "Kod: 1"), None),
    ];
    let all: BTreeSet<_> = others.iter().chain([&same]).collect();
    assert_eq!(all.len(), others.len() + 1);
}

#[test]
fn a_key_of_the_backends_is_remembered_longer() {
    let windows = [WINDOW, Duration::ZERO, Duration::from_hours(2)];
    assert_eq!(windows.map(|route| window(route, None)), windows);
    let keyed = [Duration::from_hours(1), Duration::from_hours(1), Duration::from_hours(2)];
    assert_eq!(windows.map(|route| window(route, Some("k"))), keyed);
}

#[test]
fn the_reference_does_not_make_a_message_another() {
    let other = Message { reference: "other".to_owned(), sender: Some("Shop".to_owned()), ..message("998901234567", "a") };
    assert_eq!(Key::of(&[7; 64], "backend", &other, None), key("a"));
}

/// What one of several backends does.
#[derive(Clone, Debug)]
enum Act {
    Ask(u8),
    Finish(usize, End<u32>),
}

fn any_act() -> impl Strategy<Value = Act> {
    let end = prop_oneof![any::<u32>().prop_map(End::Answer), Just(End::Forget), Just(End::Doubt(doubt()))];
    prop_oneof![3 => (0u8..6).prop_map(Act::Ask), 2 => (any::<usize>(), end).prop_map(|(which, end)| Act::Finish(which, end))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn laws(acts in prop::collection::vec((0u64..6, any_act()), 0..40), most in 0usize..5) {
        let (mut repeats, mut now, mut running) = (Repeats::new(most), 0, Vec::<(u8, bool, Ticket)>::new());
        for (passed, act) in acts {
            now += passed;
            match act {
                Act::Ask(name) => {
                    let key = key(&name.to_string());
                    let runs = running.iter().any(|(other, remembered, _)| *other == name && *remembered);
                    let asked = repeats.ask(key, at(now));
                    let remembered = repeats.ask(key, at(now)) == Asked::Wait;
                    match asked {
                        // one message runs once, unless there was no room to know
                        Asked::New(ticket) => {
                            prop_assert!(!runs && (remembered || repeats.ends.is_empty()));
                            running.push((name, remembered, ticket));
                        }
                        Asked::Inherit(ticket, history) => {
                            prop_assert!(!runs && remembered && history == doubt());
                            running.push((name, remembered, ticket));
                        }
                        Asked::Wait => prop_assert!(runs),
                        Asked::Answered(_) => prop_assert!(!runs),
                    }
                }
                Act::Finish(which, end) if !running.is_empty() => {
                    let (_, _, ticket) = running.swap_remove(which % running.len());
                    repeats.finish(ticket, end, WINDOW, at(now));
                }
                Act::Finish(..) => {}
            }
            prop_assert!(repeats.len() <= most && repeats.ends.len() <= repeats.known.len());
        }
        // when all has ended nothing stays for ever
        for (_, _, ticket) in running {
            repeats.finish(ticket, End::Answer(0), WINDOW, at(now));
        }
        let last = repeats.ask(key("last"), at(now + 10));
        prop_assert!(matches!(last, Asked::New(_)) && repeats.len() <= 1 && repeats.ends.is_empty());
    }
}
