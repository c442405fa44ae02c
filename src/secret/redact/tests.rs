//! Every way to write a secret, alone and inside every other one.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

/// One way to write a text.
type Encoding = fn(&str) -> String;

fn join(pieces: impl Iterator<Item = String>) -> String {
    pieces.collect::<Vec<_>>().concat()
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.unwrap().replace('/', r"\/")
}

fn utf16_escapes(text: &str) -> String {
    join(text.encode_utf16().map(|unit| format!("\\u{unit:04X}")))
}

fn entities(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn numbered_entities(text: &str) -> String {
    join(
        text.chars()
            .map(|character| format!("&#x{:x};", u32::from(character))),
    )
}

fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn lower_percent(text: &str) -> String {
    join(text.bytes().map(|byte| format!("%{byte:02x}")))
}

fn form(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn upper_hex(text: &str) -> String {
    hex(text).to_uppercase()
}

fn wrapped_base64(text: &str) -> String {
    let code = STANDARD.encode(text);
    let lines: Vec<&str> = code
        .as_bytes()
        .chunks(5)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join("\r\n")
}

fn markup(text: &str) -> String {
    let middle = text.chars().count() / 2;
    let (head, tail): (String, String) = (
        text.chars().take(middle).collect(),
        text.chars().skip(middle).collect(),
    );
    format!("{}<wbr/>{}", entities(&head), entities(&tail))
}

fn comment(text: &str) -> String {
    let (head, tail) = text.split_at(text.char_indices().nth(3).unwrap().0);
    format!("{}<!-- x -->{}", entities(head), entities(tail))
}

const ENCODINGS: &[(&str, Encoding)] = &[
    ("plain", str::to_owned),
    ("JSON", json),
    ("UTF-16 escapes", utf16_escapes),
    ("entities", entities),
    ("numbered entities", numbered_entities),
    ("percent", percent),
    ("lower percent", lower_percent),
    ("form", form),
    ("hex", hex),
    ("upper hex", upper_hex),
    ("base64", |text| STANDARD.encode(text)),
    ("base64 +1", |text| STANDARD.encode(format!("1{text}"))),
    ("base64 +2", |text| STANDARD.encode(format!("us{text}2"))),
    ("base64 for URLs", |text| {
        URL_SAFE.encode(format!("use:{text}"))
    }),
    ("base64 in lines", wrapped_base64),
    ("markup", markup),
    ("comment", comment),
];

fn secrets() -> impl Strategy<Value = String> {
    let ordinary = "[ -~]{8,40}";
    let tricky = r#"[%41&;<>#x\/u0"'+ ]{8,24}"#;
    let digits = "[0-9]{8,20}";
    prop_oneof![ordinary, tricky, digits, "[a-zа-яў😀]{8,12}"]
        .prop_map(|secret: String| secret.trim().to_owned())
        .prop_filter("a secret of 8 visible characters", |secret| {
            without_blanks(secret.as_bytes()).len() >= MIN_SECRET_LEN
        })
        .prop_filter("six of them if it reads as an encoding", |secret| {
            let layers = decoded_layers(secret.as_bytes());
            let is_long = |layer: &Vec<u8>| without_blanks(layer).len() >= MIN_SPELLING_LEN;
            layers.iter().all(is_long)
        })
}

/// Decoded it is shorter than a secret must be, and an encoding on top of another hides how it was written.
#[test]
fn a_secret_that_reads_as_an_encoding_does_not_stay() {
    for secret in ["!%0C0\\a!", "ab%41%42%43d\\e"] {
        let redactor = Redactor::new([secret]);
        for echo in [
            secret.to_owned(),
            json(secret),
            utf16_escapes(&json(secret)),
        ] {
            let redacted = redactor.redact_text(echo.clone());
            assert_eq!(redacted, "***", "{echo}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Every encoding, alone and inside every other one, at the end of any text.
    #[test]
    fn no_encoding_of_a_secret_stays(secret in secrets(), before in "[ -~]{0,6}", after in "[ -~]{0,6}") {
        let redactor = Redactor::new([secret.as_str()]);
        for (inner_name, inner) in ENCODINGS {
            let once = inner(&secret);
            for (name, echo) in std::iter::once(("plain", once.clone()))
                .chain(ENCODINGS.iter().skip(1).map(|(name, outer)| (*name, outer(&once))))
                .filter(|(name, _)| !name.contains("base64") && !name.contains("hex"))
            {
                let text = format!("{before} {echo} {after}");
                let redacted = redactor.redact_bytes(text.as_bytes());
                let redacted = redacted.map(|redacted| String::from_utf8(redacted).unwrap());
                prop_assert!(
                    redacted.as_deref().is_some_and(|redacted| !redacted.contains(&echo)),
                    "{inner_name} in {name} stays: {echo} in {redacted:?}"
                );
            }
        }
    }

    /// What stays around a secret is what was there.
    #[test]
    fn nothing_else_is_changed(before in "[a-z ]{0,9}", after in "[a-z ]{0,9}") {
        let redactor = Redactor::new(["0123456789/ABC"]);
        for (name, encode) in ENCODINGS.iter().filter(|(name, _)| {
            !name.contains("base64") && !name.contains("markup") && !name.contains("comment")
        }) {
            let text = format!("{before}{}{after}", encode("0123456789/ABC"));
            let redacted = redactor.redact_text(text);
            prop_assert_eq!(redacted, format!("{before}***{after}"), "{}", name);
        }
        let text = format!("{before} {after}");
        prop_assert_eq!(redactor.redact_bytes(text.as_bytes()), None);
    }
}

#[test]
fn a_secret_of_seven_bytes_is_not_searched_for_and_one_of_eight_is() {
    for (secret, is_redacted) in [("p+ss/w%", false), ("p+ss/w%0", true)] {
        let redactor = Redactor::new([secret]);
        for (name, encode) in ENCODINGS {
            let text = encode(secret);
            assert_eq!(
                redactor.redact_bytes(text.as_bytes()).is_some(),
                is_redacted,
                "{secret} as {name}"
            );
        }
    }
}

#[test]
fn markup_around_the_pieces_stays() {
    assert_eq!(
        Redactor::new(["0123456789"]).redact_text("<p>01234<b>56789</b></p>".to_owned()),
        "<p>***<b>***</b></p>"
    );
}

/// Marks that do not end, and tags inside of tags: each byte is looked at a few times, however many there are.
#[test]
fn broken_markup_costs_no_more_than_other_text() {
    let redactor = Redactor::new(["0123456789"]);
    for piece in [
        "<!-- >",
        "<!--",
        "<a",
        "<a<a<a<a>",
        "<!-- -->",
        "<![CDATA[",
        "</",
    ] {
        let broken = piece.repeat((200 << 10) / piece.len());
        let text = format!("{broken}0123456789");
        let redacted = redactor.redact_text(text);
        assert!(!redacted.contains("0123456789"), "{piece}");
    }
}
