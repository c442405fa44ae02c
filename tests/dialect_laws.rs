//! Laws that hold for every description, as properties: a written request can be read, replies
//! are understood, garbage proves nothing, a patch changes only what belongs to the
//! account, and no bytes make the engine panic.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what it expects"
)]

#[path = "support/dialects.rs"]
mod support;

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use sms_sidecar::dialect::recognise;
use sms_sidecar::dialect::{
    Account, Catalog, Dialect, MessageResult, Recognition, Reply, Request, RequestFields,
    RequestTarget, SourceFile,
};
use sms_sidecar::sms::{
    AttemptKind, Cause, Certainty, Family, Message, MessageText, Msisdn, Outcome,
};
use support::{Owned, as_request, dialects, now, recognised, visible};

fn all() -> &'static [Arc<Dialect>] {
    static ALL: OnceLock<Vec<Arc<Dialect>>> = OnceLock::new();
    ALL.get_or_init(dialects)
}

fn dialect() -> impl Strategy<Value = Arc<Dialect>> {
    (0..all().len()).prop_map(|at| Arc::clone(&all()[at]))
}

prop_compose! {
    fn message()(
        number in "99890[0-9]{7}",
        text in "[^\u{0}]{0,80}[a-zA-Zа-яўқғҳ0-9😀&%+\"'<>]",
        sender in proptest::option::of("[A-Z][A-Za-z0-9]{2,10}"),
        reference in "[A-Za-z0-9-]{1,20}",
        hours in proptest::option::of(1_u64..10),
        callback in proptest::option::of("https://[a-z]{3,10}\\.example/[a-z?=&%]{0,10}"),
    ) -> Message {
        Message {
            recipient: Msisdn::parse(&number).expect("a number"),
            text: MessageText::new(text),
            sender,
            reference,
            validity: hours.map(|hours| Duration::from_secs(hours * 3600)),
            callback,
            template: None,
        }
    }
}

/// A dialect, and a message within its limits: some services deliver to one country only, or take short texts.
fn addressed() -> impl Strategy<Value = (Arc<Dialect>, Message)> {
    (dialect(), message()).prop_map(|(dialect, mut message)| {
        if dialect.check_message(&message).is_err() {
            let prefix = dialect.recipient_prefixes().first();
            let number = format!("{}5551234567", prefix.map_or("+998", String::as_str));
            message.recipient = Msisdn::parse(&number).expect("a number");
            let limit = dialect.text_limit().unwrap_or(usize::MAX);
            let end: Vec<char> = message.text.expose().chars().rev().take(limit).collect();
            message.text = MessageText::new(end.into_iter().rev().collect::<String>());
        }
        (dialect, message)
    })
}

fn reply(status: u16, body: impl Into<bytes::Bytes>) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: HeaderMap::new(),
        body: body.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_written_request_reads_back_and_is_not_provider_specific((dialect, message) in addressed()) {
        let owned = Owned::of(&dialect, "-a");
        let (seen, request) = recognised(&dialect, &dialect.write(&message, &owned.account(), now()).expect("written"));
        let reading = dialect.read(&seen, &request, "own-reference-000001").expect("read");
        prop_assert_eq!(reading.untranslatable_fields, Vec::<String>::new());
        let read = reading.message.expect("one message");
        prop_assert_eq!(read.recipient, message.recipient);
        prop_assert_eq!(read.text.expose(), message.text.expose());
        prop_assert!(read.sender.is_none() || read.sender == message.sender);
        prop_assert!(read.reference == "own-reference-000001" || read.reference == message.reference);
        // a service with a shorter limit gets its own
        prop_assert!(read.validity <= message.validity);
        prop_assert!(read.callback.is_none() || read.callback == message.callback);
    }

    #[test]
    fn a_rendered_success_is_classified_as_accepted((dialect, message) in addressed(), id in "[A-Za-z0-9-]{1,36}") {
        let owned = Owned::of(&dialect, "-a");
        let (seen, request) = recognised(&dialect, &dialect.write(&message, &owned.account(), now()).expect("written"));
        let asked = dialect.read(&seen, &request, "own").expect("read").fields;
        let reply = dialect.render_result(&asked, Some(&message), &MessageResult::Accepted { id: &id }, now());
        let classification = dialect.classify(AttemptKind::Send, &reply, &message.reference);
        let Outcome::Accepted { id: first } = classification.outcome else { return Err(TestCaseError::fail(format!("{classification:?}"))) };
        // an id that was returned once stays the same
        let again = dialect.render_result(&asked, Some(&message), &MessageResult::Accepted { id: &first }, now());
        prop_assert_eq!(dialect.classify(AttemptKind::Send, &again, &message.reference).outcome, Outcome::Accepted { id: first });
    }

    #[test]
    fn a_patched_request_equals_one_written_for_that_account((dialect, message) in addressed()) {
        let (theirs, ours) = (Owned::of(&dialect, "-BACKENDS"), Owned::of(&dialect, "-PROVIDERS"));
        let written = dialect.write(&message, &theirs.account(), now()).expect("written");
        let (seen, request) = recognised(&dialect, &written);
        let patched = dialect.patch(&seen, &request, &ours.account(), now()).expect("patched");
        let wanted = dialect.write(&message, &ours.account(), now()).expect("written");
        prop_assert_eq!(visible(&patched), visible(&wanted));
        prop_assert!(!visible(&patched).contains("-BACKENDS"));
    }

    #[test]
    fn a_provider_with_a_sender_changes_only_the_sender((dialect, message) in addressed()) {
        let owned = Owned::of(&dialect, "-a");
        let (seen, request) = recognised(&dialect, &dialect.write(&message, &owned.account(), now()).expect("written"));
        let account = Account { sender: Some("Ours"), ..owned.account() };
        let patched = dialect.patch(&seen, &request, &account, now()).expect("patched");
        let (seen, request) = recognised(&dialect, &patched);
        let read = dialect.read(&seen, &request, "own").expect("read").message.expect("one message");
        prop_assert_eq!(read.sender.as_deref(), Some("Ours"));
        prop_assert_eq!(read.text.expose(), message.text.expose());
    }

    #[test]
    fn garbage_is_never_classified_as_accepted(dialect in dialect(), body in proptest::collection::vec(any::<u8>(), 0..200), status in prop_oneof![Just(200_u16), Just(201), Just(202), 204_u16..600]) {
        let classification = dialect.classify(AttemptKind::Send, &reply(status, body), "reference");
        prop_assert!(!matches!(classification.outcome, Outcome::Accepted { .. }), "{:?}", classification);
    }

    #[test]
    fn a_literal_401_or_403_is_always_about_the_account(dialect in dialect(), status in prop_oneof![Just(401_u16), Just(403)], cause in 0..Cause::ALL.len(), noise in ".{0,60}", genuine in any::<bool>()) {
        let simulated = dialect.simulate_rejection(Cause::ALL[cause]).filter(|_| genuine);
        let body = simulated.map_or_else(|| noise.into(), |reply| reply.body);
        for kind in [AttemptKind::Send, AttemptKind::Login, AttemptKind::Probe, AttemptKind::Passthrough] {
            let finding = dialect.classify(kind, &reply(status, body.clone()), "reference");
            let families: Vec<_> = finding.alternatives.iter().map(|cause| cause.family()).collect();
            prop_assert_eq!(finding.outcome.cause().map(Cause::family), Some(Family::Account), "{:?}", finding);
            prop_assert!(finding.certainty == Certainty::Ambiguous || !families.contains(&Family::Message), "{:?}", finding);
        }
    }

    #[test]
    fn the_engine_does_not_panic_on_any_request(
        (dialect, message) in addressed(),
        method in prop_oneof![Just(Method::POST), Just(Method::GET), Just(Method::PATCH)],
        content_type in prop_oneof![Just(""), Just("application/json"), Just("application/x-www-form-urlencoded"), Just("multipart/form-data; boundary=b"), Just("text/xml")],
        noise in proptest::collection::vec(any::<u8>(), 0..120),
        at in any::<prop::sample::Index>(),
        cut in 0_usize..40,
    ) {
        let owned = Owned::of(&dialect, "-a");
        let written = dialect.write(&message, &owned.account(), now()).expect("written");
        let mut body = written.body.to_vec();
        let from = at.index(body.len() + 1);
        body.splice(from..(from + cut).min(written.body.len()).max(from), noise.iter().copied());
        let mut headers = if content_type.is_empty() { written.headers.clone() } else { HeaderMap::new() };
        if !content_type.is_empty() {
            headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static(content_type));
        }
        let request = Request { method, query: Some(String::from_utf8_lossy(&noise).into_owned()), headers, body: body.into(), ..as_request(&written) };
        if let Recognition::Operation(seen) = recognise(all(), RequestTarget::Named(&dialect), &request, &[]) {
            drop(dialect.extract_credential(&seen, &request));
            if let Ok(reading) = dialect.read(&seen, &request, "own") {
                dialect.render_result(&reading.fields, reading.message.as_ref(), &MessageResult::Accepted { id: "1" }, now());
            }
            drop(dialect.patch(&seen, &request, &owned.account(), now()));
        }
        drop(recognise(all(), RequestTarget::Unspecified, &request, &[]));
    }

    #[test]
    fn the_engine_does_not_panic_on_any_reply(dialect in dialect(), status in 100_u16..999, noise in ".{0,60}", at in any::<prop::sample::Index>(), cause in 0..Cause::ALL.len()) {
        let genuine = dialect.simulate_rejection(Cause::ALL[cause]).unwrap_or_else(|| reply(400, "{}"));
        let text = String::from_utf8_lossy(&genuine.body).into_owned();
        let split = (0..=at.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (head, tail) = text.split_at(split);
        let reply = reply(status, format!("{head}{noise}{tail}"));
        for kind in [AttemptKind::Send, AttemptKind::Login, AttemptKind::Probe, AttemptKind::Passthrough] {
            dialect.classify(kind, &reply, "reference");
        }
        drop(dialect.read_login(&reply, now()));
        for probe in dialect.probes() {
            dialect.read_probe(probe, &reply);
        }
    }

    #[test]
    fn the_loader_does_not_panic_on_any_description(at in 0..all().len(), cut in any::<(prop::sample::Index, prop::sample::Index)>(), noise in "[ -~\n]{0,20}") {
        let text = Catalog::built_in_sources()[at].text.clone();
        let border = |index: prop::sample::Index| (0..=index.index(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (from, to) = (border(cut.0), border(cut.1));
        let (from, to) = (from.min(to), to.max(from).min(from.min(to) + 30));
        let to = (to..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let broken = format!("{}{noise}{}", text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
        let (_, problems) = Catalog::load(&[SourceFile { name: "broken.toml".into(), text: broken.clone(), built_in: false }]);
        for problem in &problems {
            if let Some(span) = &problem.span {
                prop_assert!(span.start <= span.end && span.end <= broken.len() + 1, "{:?}", problem);
            }
        }
    }
}

#[test]
fn a_failure_is_never_read_as_a_success_or_a_rejected_account() {
    for dialect in all() {
        for cause in Cause::ALL {
            failure(dialect, *cause, false);
            failure(dialect, *cause, true);
        }
    }
}

fn failure(dialect: &Dialect, cause: Cause, doubt: bool) {
    let reply = dialect.render_result(
        &RequestFields::default(),
        None,
        &MessageResult::Failed {
            in_doubt: doubt,
            cause,
            reason: "no provider took it",
        },
        now(),
    );
    let classification = dialect.classify(AttemptKind::Send, &reply, "reference");
    let name = format!("{} {cause} {doubt}", dialect.name);
    assert!(
        !matches!(classification.outcome, Outcome::Accepted { .. }),
        "{name}"
    );
    assert_ne!(
        classification.outcome.cause().map(Cause::family),
        Some(Family::Account),
        "{name}"
    );
    assert_ne!(reply.status, StatusCode::UNAUTHORIZED, "{name}");
    assert_eq!(
        reply.status == StatusCode::GATEWAY_TIMEOUT,
        doubt,
        "{name}: the status is 504 if and only if the result is in doubt"
    );
    let unavailable = reply.status == StatusCode::SERVICE_UNAVAILABLE;
    assert!(
        !unavailable || reply.headers.contains_key("retry-after"),
        "{name}"
    );
    assert!(
        cause.family() != Family::Account || doubt || unavailable,
        "{name}"
    );
}

#[test]
fn a_success_body_under_a_failure_status_is_not_accepted() {
    for dialect in all() {
        let reply = dialect.render_result(
            &RequestFields::default(),
            None,
            &MessageResult::Accepted { id: "77" },
            now(),
        );
        for status in [400, 403, 500, 502, 503] {
            let classification = dialect.classify(
                AttemptKind::Send,
                &Reply {
                    status: StatusCode::from_u16(status).expect("a status"),
                    ..reply.clone()
                },
                "r",
            );
            assert!(
                !matches!(classification.outcome, Outcome::Accepted { .. }),
                "{} {status}: {classification:?}",
                dialect.name
            );
        }
    }
}

#[test]
fn the_rejections_that_the_demo_needs_can_be_simulated() {
    let find = |name: &str| {
        all()
            .iter()
            .find(|dialect| dialect.name == name)
            .expect("built in")
    };
    for (name, cause, status, words) in [
        ("playmobile", Cause::CredentialRejected, 401, ""),
        ("playmobile", Cause::AccountSuspended, 400, "102"),
        ("smsc", Cause::BalanceEmpty, 200, "\"error_code\":3"),
        ("twilio", Cause::CredentialRejected, 401, "20003"),
        ("vonage", Cause::BalanceEmpty, 200, "\"9\""),
        ("eskiz", Cause::CredentialExpired, 401, ""),
        ("twilio", Cause::Throttled, 429, "20429"),
    ] {
        let reply = find(name)
            .simulate_rejection(cause)
            .unwrap_or_else(|| panic!("{name} {cause}"));
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status.as_u16(), status, "{name} {cause}: {body}");
        assert!(body.contains(words), "{name} {cause}: {body}");
        let classification = find(name).classify(AttemptKind::Send, &reply, "reference");
        assert_eq!(
            classification.outcome.cause(),
            Some(cause),
            "{name}: {classification:?}"
        );
    }
}

#[test]
fn credentials_are_found_in_every_part_of_a_request() {
    for dialect in all().iter().filter(|dialect| !dialect.requires_login()) {
        let owned = Owned::of(dialect, "-here");
        let prefix = dialect.recipient_prefixes().first();
        let number = format!("{}901234567", prefix.map_or("+998", String::as_str));
        let message = Message {
            recipient: Msisdn::parse(&number).expect("a number"),
            text: MessageText::new("x"),
            sender: None,
            reference: "1".into(),
            validity: None,
            callback: None,
            template: None,
        };
        let (seen, request) = recognised(
            dialect,
            &dialect
                .write(&message, &owned.account(), now())
                .expect("written"),
        );
        let found = dialect.extract_credential(&seen, &request);
        for spec in dialect.credential_fields() {
            let signs = matches!(dialect.name.as_str(), "aws-sns" | "aws-eum")
                || dialect.name == "sayqal" && spec.name == "secret";
            assert_eq!(
                found.get(&spec.name).map(String::as_str),
                owned.credential.expose(&spec.name).filter(|_| !signs),
                "{} {}",
                dialect.name,
                spec.name
            );
        }
    }
}
