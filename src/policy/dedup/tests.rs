//! Which messages are the same, which requests wait, and which inherit a history.

use proptest::prelude::*;

use super::*;
use crate::secret::Version;
use crate::sms::{Cause, MessageText, Msisdn};

const WINDOW: Duration = Duration::from_secs(10);

/// A table whose answers are as large as their number says.
fn new_table(entries: usize) -> DedupTable<u32> {
    table_of(MemoryLimit {
        entries,
        bytes: usize::MAX,
    })
}

fn table_of(limit: MemoryLimit) -> DedupTable<u32> {
    DedupTable::new(limit, |answer| usize::try_from(*answer).unwrap())
}

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
    DedupKey::for_message(
        &DedupSecret::new(&[7; 64]),
        "backend",
        &message("998901234567", text),
        None,
    )
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

fn new(lookup: &DedupLookup<u32>) -> DedupTicket {
    match lookup {
        DedupLookup::New(ticket) | DedupLookup::Inherit(ticket, _) => *ticket,
        DedupLookup::Wait | DedupLookup::Answered(_) => panic!("{lookup:?}"),
    }
}

#[test]
fn a_duplicate_waits_and_gets_the_answer_within_the_window() {
    let mut table = new_table(9);
    let ticket = new(&table.lookup(key("a"), at(0)));
    assert_eq!(
        table.lookup(key("a"), at(500)),
        DedupLookup::Wait,
        "while the request is in flight"
    );
    assert!(
        matches!(table.lookup(key("b"), at(500)), DedupLookup::New(_)),
        "another message"
    );
    table.finish(ticket, DedupCompletion::Answer(5), WINDOW, at(500));
    assert_eq!(table.lookup(key("a"), at(509)), DedupLookup::Answered(5));
    assert!(
        matches!(table.lookup(key("a"), at(510)), DedupLookup::New(_)),
        "after the window it is a new message"
    );
}

#[test]
fn a_message_not_sent_starts_anew_and_one_in_doubt_is_inherited() {
    let mut table = new_table(9);
    let ticket = new(&table.lookup(key("a"), at(0)));
    table.finish(ticket, DedupCompletion::Forget, WINDOW, at(1));
    assert_eq!((table.len(), table.is_empty()), (0, true));
    let ticket = new(&table.lookup(key("a"), at(1)));
    table.finish(ticket, DedupCompletion::InDoubt(doubt()), WINDOW, at(2));
    let DedupLookup::Inherit(ticket, history) = table.lookup(key("a"), at(3)) else {
        panic!("not inherited")
    };
    assert_eq!(history, doubt());
    assert_eq!(
        table.lookup(key("a"), at(60)),
        DedupLookup::Wait,
        "in flight, whatever the window of the earlier request"
    );
    table.finish(ticket, DedupCompletion::Answer(1), WINDOW, at(60));
    assert_eq!(table.lookup(key("a"), at(69)), DedupLookup::Answered(1));
}

#[test]
fn providers_outside_the_plan_get_an_index_each() {
    let past = |name: &str, outcome| PastAttempt {
        provider: ProviderId::new(name),
        credential: CredentialRevision::default(),
        outcome,
        reference: String::new(),
    };

    let history = [
        past("x", Outcome::Rejected(Cause::BalanceEmpty)),
        past("y", Outcome::Unknown(Cause::Timeout)),
        past("z", Outcome::Rejected(Cause::Duplicate)),
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
fn only_the_request_in_flight_can_finish() {
    let mut table = new_table(9);
    let old = new(&table.lookup(key("a"), at(0)));
    table.finish(old, DedupCompletion::Forget, WINDOW, at(0));
    let running = new(&table.lookup(key("a"), at(1)));
    table.finish(old, DedupCompletion::Answer(1), WINDOW, at(1));
    assert_eq!(table.lookup(key("a"), at(1)), DedupLookup::Wait);
    table.finish(running, DedupCompletion::Answer(2), WINDOW, at(1));
    table.finish(running, DedupCompletion::Forget, WINDOW, at(1));
    assert_eq!(table.lookup(key("a"), at(1)), DedupLookup::Answered(2));
}

#[test]
fn a_full_table_drops_answered_messages_first() {
    let mut table = new_table(2);
    let first = new(&table.lookup(key("a"), at(0)));
    table.finish(first, DedupCompletion::Answer(1), WINDOW, at(0));
    let running = new(&table.lookup(key("b"), at(1)));
    let third = new(&table.lookup(key("c"), at(2)));
    assert_eq!((table.len(), table.is_empty()), (2, false));
    assert_eq!(
        table.lookup(key("b"), at(2)),
        DedupLookup::Wait,
        "an entry in flight stays"
    );
    let not_remembered = new(&table.lookup(key("a"), at(2)));
    table.finish(not_remembered, DedupCompletion::Answer(9), WINDOW, at(2));
    assert_eq!(table.len(), 2);
    assert!(matches!(table.lookup(key("a"), at(2)), DedupLookup::New(_)));
    table.finish(running, DedupCompletion::Answer(2), WINDOW, at(3));
    table.finish(third, DedupCompletion::InDoubt(doubt()), WINDOW, at(3));
    assert!(
        matches!(table.lookup(key("c"), at(4)), DedupLookup::Inherit(..)),
        "a known message needs no new entry"
    );
    assert_eq!(table.lookup(key("b"), at(4)), DedupLookup::Answered(2));
    assert!(new_table(0).is_empty());
}

#[test]
fn the_same_message_is_the_same_text_number_caller_and_idempotency_key() {
    let of = |caller: &str, recipient: &str, text: &str, given: Option<&str>| {
        DedupKey::for_message(
            &DedupSecret::new(&[7; 64]),
            caller,
            &message(recipient, text),
            given,
        )
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
            &DedupSecret::new(&[8; 64]),
            "backend",
            &message("998901234567", "Kod: 1"),
            None,
        ),
    ];
    let all: BTreeSet<_> = others.iter().chain([&same]).collect();
    assert_eq!(all.len(), others.len() + 1);
}

#[test]
fn an_idempotency_key_lengthens_the_window() {
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
fn reference_and_sender_are_not_part_of_the_key() {
    let other = Message {
        reference: "other".to_owned(),
        sender: Some("Shop".to_owned()),
        ..message("998901234567", "a")
    };
    assert_eq!(
        DedupKey::for_message(&DedupSecret::new(&[7; 64]), "backend", &other, None),
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
    fn laws(acts in prop::collection::vec((0u64..6, any_act()), 0..40), max in 0usize..5) {
        let mut table = new_table(max);
        let mut now = 0;
        let mut running = Vec::<(u8, bool, DedupTicket)>::new();
        for (passed, act) in acts {
            now += passed;
            match act {
                Act::Ask(name) => {
                    let key = key(&name.to_string());
                    let runs = running.iter().any(|(other, remembered, _)| *other == name && *remembered);
                    let lookup = table.lookup(key, at(now));
                    let remembered = table.lookup(key, at(now)) == DedupLookup::Wait;
                    match lookup {
                        // a message is in flight once, unless the table had no room for it
                        DedupLookup::New(ticket) => {
                            prop_assert!(!runs && (remembered || table.expirations.is_empty()));
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
                    table.finish(ticket, end, WINDOW, at(now));
                }
                Act::Finish(..) => {}
            }
            prop_assert!(table.len() <= max && table.expirations.len() <= table.entries.len());
            let kept = (0..6).filter_map(|name: u8| table.entries.get(&key(&name.to_string())));
            let held: usize = kept.map(|state| table.state_bytes(state)).sum();
            prop_assert_eq!(held, table.bytes);
        }
        // after every request has ended every entry expires
        for (_, _, ticket) in running {
            table.finish(ticket, DedupCompletion::Answer(0), WINDOW, at(now));
        }
        let last = table.lookup(key("last"), at(now + 10));
        prop_assert!(matches!(last, DedupLookup::New(_)) && table.len() <= 1 && table.expirations.is_empty());
    }
}

#[test]
fn the_bytes_of_answers_and_histories_are_bounded() {
    let mut table = table_of(MemoryLimit {
        entries: 1000,
        bytes: 1000,
    });
    for nth in 0..100 {
        let ticket = new(&table.lookup(key(&nth.to_string()), at(0)));
        let history = std::iter::repeat_n(doubt(), 3).flatten().collect();
        let end = match nth % 2 {
            0 => DedupCompletion::Answer(nth),
            _ => DedupCompletion::InDoubt(history),
        };
        table.finish(ticket, end, WINDOW, at(u64::from(nth)));
        assert!(table.bytes <= 1000, "{}", table.bytes);
    }
    assert!(table.len() > 1, "the latest are kept");
    assert_eq!(
        table.lookup(key("98"), at(99)),
        DedupLookup::Answered(98),
        "the first to expire goes first"
    );
    let ticket = new(&table.lookup(key("huge"), at(99)));
    table.finish(ticket, DedupCompletion::Answer(1001), WINDOW, at(99));
    assert!(table.bytes <= 1000, "{}", table.bytes);
}

#[test]
fn long_references_and_ids_are_not_kept() {
    let long = || "r".repeat(MAX_ID_BYTES + 1);
    let history = |reference: String, id: String| {
        let first = PastAttempt {
            reference,
            ..doubt().remove(0)
        };
        let second = PastAttempt {
            outcome: Outcome::Accepted { id },
            ..first.clone()
        };
        vec![first, second]
    };
    for (given, kept) in [
        (
            history(long(), long()),
            history(String::new(), String::new()),
        ),
        (
            history("r".into(), "i".into()),
            history("r".into(), "i".into()),
        ),
    ] {
        let mut table = new_table(9);
        let ticket = new(&table.lookup(key("a"), at(0)));
        table.finish(ticket, DedupCompletion::InDoubt(given), WINDOW, at(0));
        let DedupLookup::Inherit(_, found) = table.lookup(key("a"), at(0)) else {
            panic!("not inherited")
        };
        assert_eq!(found, kept);
    }
}

/// Whatever comes with a key, a message without one stays for its window, and the other way round.
#[test]
fn keyed_and_unkeyed_messages_do_not_push_each_other_out() {
    let limit = MemoryLimit {
        entries: 5,
        bytes: 50,
    };
    let of = |text: &str, given: Option<&str>| {
        DedupKey::for_message(
            &DedupSecret::new(&[7; 64]),
            "backend",
            &message("998901234567", text),
            given,
        )
    };
    for (kept, others) in [(None, Some("k")), (Some("k"), None)] {
        let mut tables = DedupTables::<u32>::new(limit, |_| 10);
        let ticket = new(&tables.lookup(of("a", kept), at(0)));
        tables.finish(ticket, DedupCompletion::Answer(1), WINDOW, at(0));
        for nth in 0..100 {
            let ticket = new(&tables.lookup(of(&nth.to_string(), others), at(1)));
            tables.finish(ticket, DedupCompletion::Answer(2), WINDOW, at(1));
        }
        let requests = (0..3).map(|nth| {
            let content = [&b""[..], &[nth]];
            DedupKey::for_request(&DedupSecret::new(&[7; 64]), "backend", content, "k")
        });
        for request in requests.filter(|_| others.is_some()) {
            let ticket = new(&tables.lookup(request, at(1)));
            tables.finish(ticket, DedupCompletion::Answer(3), WINDOW, at(1));
        }
        assert_eq!(
            tables.lookup(of("a", kept), at(2)),
            DedupLookup::Answered(1)
        );
    }
}

#[test]
fn what_a_message_cannot_express_is_part_of_its_key() {
    let secret = DedupSecret::new(&[7; 64]);
    let key = |reference: &str, body: &str| {
        let message = Message {
            reference: reference.to_owned(),
            ..message("998901234567", "Kod 1")
        };
        let body = body.replace("REF", reference);
        let content: [&[u8]; 2] = [b"", body.as_bytes()];
        DedupKey::for_specific_message(&secret, "backend", &message, content, None)
    };
    let first = key("a1", "id=REF&phones=1&list=998909999999:one");
    assert_eq!(first, key("b22", "id=REF&phones=1&list=998909999999:one"));
    assert_ne!(first, key("a1", "id=REF&phones=1&list=998908888888:two"));
    assert_ne!(
        first,
        key("a1", "id=REF&phones=1&list=998909999999:one&call=1")
    );
    assert_ne!(
        first,
        DedupKey::for_message(&secret, "backend", &message("998901234567", "Kod 1"), None)
    );
}
