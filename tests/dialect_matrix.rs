//! Every pair of dialects: written in one, sent through the other, and answered in the
//! first. The text arrives unchanged, whatever it contains.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects"
)]

#[path = "support/dialects.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use sms_sidecar::dialect::{Dialect, MessageResult, RequestFields};
use sms_sidecar::sms::{AttemptKind, Message, MessageText, Msisdn, Operation, Outcome};
use support::{Owned, dialects, now, recognised};

/// The first that both services deliver to.
const RECIPIENTS: [&str; 2] = ["+998901234567", "+905551234567"];

const TEXTS: &[&str] = &[
    "123456",
    "Kod: 123456",
    "Ваш код: 123456. Никому не сообщайте!",
    "Tasdiqlash kodi: 1234 — oʻzbekcha gʻalaba, sizniki",
    "Ўзбекча тасдиқлаш коди: 4321",
    "1+1=2 & 100% \"sure\" 'yes' <b>?</b> a=b;c #7",
    "%41 %zz + %2B &amp; {to} {text | xml} \\ \\n $& `x`",
    "😀🇺🇿 code 000111",
    "two\nlines\tand a tab",
    " a blank before and after ",
];

fn message_with(text: &str) -> Message {
    message_to(RECIPIENTS[0], text)
}

fn message_to(recipient: &str, text: &str) -> Message {
    Message {
        recipient: Msisdn::parse(recipient).expect("a number"),
        text: MessageText::new(text),
        sender: Some("Acme".into()),
        reference: "otp0000000000000042".into(),
        validity: Some(Duration::from_hours(2)),
        callback: Some("https://backend.example/reports?a=1&b=2".into()),
        template: None,
    }
}

/// Writes the message for an account of `dialect` and reads it back, as a service or a sidecar does.
fn heard(dialect: &Arc<Dialect>, message: &Message, mark: &str) -> (Message, RequestFields) {
    let owned = Owned::of(dialect, mark);
    let written = dialect
        .write(message, &owned.account(), now())
        .unwrap_or_else(|why| panic!("{}: {why}", dialect.name));
    let (seen, request) = recognised(dialect, &written);
    assert_eq!(seen.operation, Operation::Send, "{}", dialect.name);
    let reading = dialect
        .read(&seen, &request, "own-reference-000001")
        .unwrap_or_else(|why| panic!("{}: {why}", dialect.name));
    assert_eq!(reading.untranslatable_fields, [""; 0], "{}", dialect.name);
    assert_eq!(reading.recipient_count, 1, "{}", dialect.name);
    (reading.message.expect("one message"), reading.fields)
}

/// A national number is completed in place: in every dialect the other number is read, and nothing else changes.
#[test]
fn a_recipient_is_replaced_in_every_dialect() {
    let (mut replaced, mut completing) = (0, Vec::new());
    for dialect in dialects() {
        let fits = |recipient: &&&str| {
            let message = message_to(recipient, "kod 1");
            dialect.check_message(&message).is_ok()
        };
        let recipient = RECIPIENTS.iter().find(fits).expect("a recipient");
        let message = message_to(recipient, "kod 1");
        let owned = Owned::of(&dialect, "-own");
        let written = dialect
            .write(&message, &owned.account(), now())
            .expect("a request");
        let (seen, request) = recognised(&dialect, &written);
        let other = Msisdn::parse(&recipient.replace('7', "8")).expect("a number");
        let replace = |text: &str| {
            let number = Msisdn::parse(text).ok()?;
            (number == message.recipient).then(|| other.clone())
        };
        let Some(changed) = dialect.replace_recipients(&request, &replace) else {
            completing.push(dialect.name.clone());
            continue;
        };
        let read = |request| {
            let reading = dialect.read(&seen, request, "own-reference-000001");
            reading.expect("a message").message.expect("one message")
        };
        let (before, after) = (read(&request), read(&changed));
        assert_eq!(after.recipient, other, "{}", dialect.name);
        let restored = Message {
            recipient: before.recipient.clone(),
            ..after
        };
        assert_eq!(restored, before, "{}", dialect.name);
        assert!(dialect.replace_recipients(&changed, &replace).is_none());
        replaced += 1;
    }
    assert_eq!(
        completing,
        ["netgsm", "netgsm-otp"],
        "they take national numbers"
    );
    assert!(replaced > 30, "{replaced}");
}

#[test]
fn a_message_in_one_dialect_is_sent_through_another_and_answered_in_the_first() {
    let all = dialects();
    let mut pairs = 0;
    for backend in &all {
        for service in &all {
            for text in TEXTS {
                pair(backend, service, text);
            }
            pairs += 1;
        }
    }
    assert_eq!(pairs, all.len() * all.len());
    assert!(all.len() >= 9);
}

fn pair(backend: &Arc<Dialect>, service: &Arc<Dialect>, text: &str) {
    let name = format!("{} carried by {}, {text:?}", backend.name, service.name);
    let fits = |recipient: &&&str| {
        [backend, service]
            .iter()
            .all(|dialect| dialect.check_message(&message_to(recipient, text)).is_ok())
    };
    let Some(recipient) = RECIPIENTS.iter().find(fits) else {
        return;
    };
    let sent = message_to(recipient, text);
    let (message, asked) = heard(backend, &sent, "-backend");
    assert_eq!(message.text.expose(), text, "{name}");
    let (arrived, service_asked) = heard(service, &message, "-provider");
    assert_eq!(arrived.text.expose(), text, "{name}");
    assert_eq!(arrived.recipient, sent.recipient, "{name}");
    if arrived.sender.is_some() && message.sender.is_some() {
        assert_eq!(arrived.sender.as_deref(), Some("Acme"), "{name}");
    }
    let theirs = service.render_result(
        &service_asked,
        Some(&arrived),
        &MessageResult::Accepted {
            id: "01J8Z3K4M5N6P7Q8R9S0",
        },
        now(),
    );
    let Outcome::Accepted { id } = service
        .classify(AttemptKind::Send, &theirs, &arrived.reference)
        .outcome
    else {
        panic!("{name}: the service's success")
    };
    let ours = backend.render_result(
        &asked,
        Some(&message),
        &MessageResult::Accepted { id: &id },
        now(),
    );
    let read = backend.classify(AttemptKind::Send, &ours, &message.reference);
    assert!(
        matches!(read.outcome, Outcome::Accepted { ref id } if !id.is_empty()),
        "{name}: {read:?}"
    );
    assert!(ours.status.is_success(), "{name}");
}

#[test]
fn the_recipient_has_the_format_that_each_service_requires() {
    let form = |name: &str| {
        let dialect = dialects()
            .into_iter()
            .find(|dialect| dialect.name == name)
            .expect("built in");
        let written = dialect
            .write(
                &message_with("x"),
                &Owned::of(&dialect, "-a").account(),
                now(),
            )
            .expect("written");
        percent_encoding::percent_decode_str(&support::visible(&written))
            .decode_utf8_lossy()
            .into_owned()
    };
    for name in [
        "twilio",
        "aws-sns",
        "aws-eum",
        "plain",
        "africastalking",
        "bulksms",
        "telegram-gateway",
        "telnyx",
        "clicksend",
        "46elks",
        "kannel",
    ] {
        assert!(form(name).contains("+998901234567"), "{name}");
    }
    for name in [
        "playmobile",
        "eskiz",
        "vonage",
        "infobip",
        "infobip-v2",
        "infobip-single",
        "vonage-messages",
        "smsc",
        "smsc-rest",
        "sayqal",
        "getsms",
        "mobizon",
        "smsru",
        "turbosms",
        "messagebird",
        "smsaero",
        "devsms",
        "plivo",
        "sinch",
        "gatewayapi",
        "seven",
        "termii",
    ] {
        assert!(
            form(name).contains("998901234567") && !form(name).contains("+998901234567"),
            "{name}"
        );
    }
}
