//! Every way to write a secret, alone and inside the other ones.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

/// One way to write a text.
type Encoding = fn(&str) -> String;

fn each_char(text: &str, write: impl Fn(char) -> String) -> String {
    text.chars().map(write).collect()
}

fn each_byte(text: &[u8], write: impl Fn(u8) -> String) -> String {
    text.iter().map(|byte| write(*byte)).collect()
}

fn between(text: &str, separator: &str) -> String {
    let all: Vec<String> = text.chars().map(String::from).collect();
    all.join(separator)
}

fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(to_bytes).collect()
}

fn hex(text: &[u8]) -> String {
    each_byte(text, |byte| format!("{byte:02x}"))
}

fn separated_hex(text: &str, separator: &str) -> String {
    let pairs: Vec<String> = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(separator)
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.unwrap().replace('/', r"\/")
}

fn utf16_escapes(text: &str) -> String {
    let units: Vec<String> = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04X}"))
        .collect();
    units.concat()
}

fn entities(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
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

/// The text in two pieces with this markup between them.
fn split_by(text: &str, markup: &str) -> String {
    let middle = text.chars().count() / 2;
    let head: String = text.chars().take(middle).collect();
    let tail: String = text.chars().skip(middle).collect();
    format!("{}{markup}{}", entities(&head), entities(&tail))
}

fn full_width(text: &str) -> String {
    each_char(text, |char| match u32::from(char) {
        code @ 0x21..=0x7e => char::from_u32(code + 0xfee0).unwrap().to_string(),
        _ => char.to_string(),
    })
}

fn json_codes(text: &str) -> String {
    let codes: Vec<u32> = text.chars().map(u32::from).collect();
    serde_json::to_string(&codes).unwrap()
}

fn json_list(text: &str) -> String {
    let all: Vec<String> = text.chars().map(String::from).collect();
    serde_json::to_string(&all).unwrap()
}

const ENCODINGS: &[(&str, Encoding)] = &[
    ("plain", str::to_owned),
    ("JSON", json),
    ("UTF-16 escapes", utf16_escapes),
    ("braced escapes", |text| {
        each_char(text, |char| format!("\\u{{{:x}}}", u32::from(char)))
    }),
    ("long escapes", |text| {
        each_char(text, |char| format!("\\U{:08x}", u32::from(char)))
    }),
    ("byte escapes", |text| {
        each_byte(text.as_bytes(), |byte| format!("\\x{byte:02x}"))
    }),
    ("upper byte escapes", |text| {
        each_byte(text.as_bytes(), |byte| format!("\\X{byte:02X}"))
    }),
    ("octal escapes", |text| {
        each_byte(text.as_bytes(), |byte| format!("\\{byte:03o}"))
    }),
    ("CSS escapes", |text| {
        each_char(text, |char| format!("\\{:x} ", u32::from(char)))
    }),
    ("entities", entities),
    ("entities in entities", |text| {
        (0..7).fold(entities(text), |text, _| text.replace('&', "&amp;"))
    }),
    ("numbered entities", |text| {
        each_char(text, |char| format!("&#x{:x};", u32::from(char)))
    }),
    ("long entities", |text| {
        each_char(text, |char| format!("&#{:024};", u32::from(char)))
    }),
    ("percent", |text| {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }),
    ("lower percent", |text| {
        each_byte(text.as_bytes(), |byte| format!("%{byte:02x}"))
    }),
    ("percent in percent", |text| {
        each_byte(text.as_bytes(), |byte| format!("%252525{byte:02x}"))
    }),
    ("percent u", |text| {
        text.encode_utf16()
            .map(|unit| match char::from_u32(unit.into()) {
                Some(_) => format!("%u{unit:04x}"),
                None => String::new(),
            })
            .collect()
    }),
    ("form", |text| {
        form_urlencoded::byte_serialize(text.as_bytes()).collect()
    }),
    ("mail", |text| {
        each_byte(text.as_bytes(), |byte| format!("={byte:02X}"))
    }),
    ("hex", |text| hex(text.as_bytes())),
    ("upper hex", |text| hex(text.as_bytes()).to_uppercase()),
    ("hex with colons", |text| separated_hex(text, ":")),
    ("hex with dashes", |text| separated_hex(text, "-")),
    ("hex with prefixes", |text| {
        format!("0x{}", separated_hex(text, ", 0x"))
    }),
    ("hex of UTF-16", |text| hex(&utf16(text, u16::to_be_bytes))),
    ("hex of UTF-16, low byte first", |text| {
        hex(&utf16(text, u16::to_le_bytes))
    }),
    ("base64", |text| STANDARD.encode(text)),
    ("base64 +1", |text| STANDARD.encode(format!("1{text}"))),
    ("base64 +2", |text| STANDARD.encode(format!("us{text}2"))),
    ("base64 for URLs", |text| {
        URL_SAFE.encode(format!("use:{text}"))
    }),
    ("base64 in lines", wrapped_base64),
    ("base64 of UTF-16", |text| {
        STANDARD.encode(utf16(text, u16::to_le_bytes))
    }),
    ("markup", |text| split_by(text, "<wbr/>")),
    ("comment", |text| split_by(text, "<!-- > -->")),
    ("quoted attribute", |text| split_by(text, "<a title=\">\">")),
    ("CDATA", |text| split_by(text, "<![CDATA[")),
    ("soft hyphens", |text| split_by(text, "&shy;")),
    ("joiners", |text| split_by(text, "&zwnj;")),
    ("list of strings", json_list),
    ("list of codes", json_codes),
];

/// What only a text that is not encoded again can have between its characters, or as its characters.
const SEPARATORS: &[&str] = &[
    "\u{ad}", "\u{200b}", "\u{2061}", "\u{34f}", "\u{fe0f}", "\u{180e}", "\u{202e}", "\u{2066}",
    "\u{a0}", "\u{2009}", " ", "\r\n", ".", "-", "_", "\" + \"", "', '", "\u{feff}",
];

fn secrets() -> impl Strategy<Value = String> {
    let ordinary = "[ -~]{8,40}";
    let tricky = r#"[%41&;<>#x\/u0"'+ ]{8,24}"#;
    let digits = "[0-9]{8,20}";
    prop_oneof![ordinary, tricky, digits, "[a-zа-яў]{8,12}"]
        .prop_map(|secret: String| secret.trim().to_owned())
        .prop_filter("a secret of 8 visible characters", |secret| {
            without_blanks(secret).count() >= MIN_SECRET_LEN
        })
        .prop_filter("six of them if it reads as an encoding", |secret| {
            let is_long =
                |form: &Zeroizing<String>| without_blanks(form).count() >= MIN_SPELLING_LEN;
            decoded_forms(secret).iter().all(is_long)
        })
}

fn redact(secret: &str, text: &str) -> Option<String> {
    let redacted = Redactor::new([secret]).redact_bytes(text.as_bytes());
    redacted
        .unwrap()
        .map(|redacted| String::from_utf8(redacted).unwrap())
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

/// Each encoding inside each other one, for a few secrets.
#[test]
fn no_pair_of_encodings_hides_a_secret() {
    for secret in ["Zq7Rw2Xk9LmT4vBn", "p+ss/w%0", "парольўқ"] {
        let redactor = Redactor::new([secret]);
        for (inner_name, inner) in ENCODINGS {
            let once = inner(secret);
            for (outer_name, outer) in ENCODINGS {
                let echo = outer(&once);
                let redacted = redactor.redact_text(format!("no {echo} here"));
                assert!(
                    !redacted.contains(&echo),
                    "{secret} in {inner_name} in {outer_name} stays: {redacted}"
                );
            }
        }
    }
}

/// Every fortieth way to choose three encodings.
#[test]
fn no_three_encodings_hide_a_secret() {
    let secret = "Zq7Rw2Xk9LmT4vBn";
    let redactor = Redactor::new([secret]);
    let count = ENCODINGS.len();
    let at = |index: usize| &ENCODINGS[index % count];
    for index in (0..count.pow(3)).step_by(41) {
        let chosen = [at(index), at(index / count), at(index / count.pow(2))];
        let echo = chosen
            .iter()
            .fold(secret.to_owned(), |text, encoding| encoding.1(&text));
        let redacted = redactor.redact_text(format!("no {echo} here"));
        assert!(
            !redacted.contains(&echo),
            "{:?} stays: {redacted}",
            chosen.map(|encoding| encoding.0)
        );
    }
}

#[test]
fn nothing_between_its_characters_hides_a_secret() {
    let secret = "Zq7Rw2Xk9LmT4vBn";
    for separator in SEPARATORS {
        // An invisible character is not looked for in a text of two bytes a character.
        for (name, encode) in ENCODINGS
            .iter()
            .filter(|(name, _)| !name.contains("of UTF-16"))
        {
            let echo = encode(&between(secret, separator));
            let redacted = redact(secret, &format!("no {echo} here"));
            assert!(
                redacted.is_some_and(|redacted| !redacted.contains(&echo)),
                "{separator:?} in {name}"
            );
        }
    }
    for other in [full_width(secret), secret.to_ascii_uppercase()] {
        let shown = redact(secret, &format!("no {other} here"));
        assert_eq!(shown.as_deref(), Some("no *** here"));
    }
}

#[test]
fn a_body_in_utf16_has_no_secret() {
    for secret in ["Zq7Rw2Xk9LmT4vBn", "парольўқ"] {
        for to_bytes in [u16::to_be_bytes, u16::to_le_bytes] {
            for encode in [str::to_owned as Encoding, utf16_escapes, |text| {
                STANDARD.encode(text)
            }] {
                let echo = utf16(&encode(secret), to_bytes);
                let mut body = utf16("\u{feff}{\"key\":\"", to_bytes);
                body.extend_from_slice(&echo);
                body.extend(utf16("\"}", to_bytes));
                let redacted = Redactor::new([secret]).redact_bytes(&body).unwrap();
                let redacted = redacted.unwrap_or_default();
                assert!(memchr::memmem::find(&redacted, &utf16("***", to_bytes)).is_some());
                assert!(memchr::memmem::find(&redacted, &echo).is_none());
            }
        }
    }
}

#[test]
fn a_part_of_a_secret_does_not_stay() {
    let secret = "Zq7Rw2Xk9LmT4vBn";
    for (part, shown) in [
        ("Zq7Rw2Xk9LmT...", "***..."),
        ("****w2Xk9LmT4vBn", "*******"),
        ("7Rw2Xk9LmT4v", "***"),
        ("Zq7Rw2Xk9Lm", "Zq7Rw2Xk9Lm"),
    ] {
        assert_eq!(redact(secret, part).unwrap_or(part.to_owned()), shown);
    }
    let long = "0123456789abcdefghij".repeat(50);
    let cut = long.get(..760).unwrap();
    assert_eq!(redact(&long, cut).as_deref(), Some("***"));
}

proptest! {
    // The same cases each time: of the encodings on top of each other, about one in five thousand hides a secret.
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    /// One or two encodings on top of each other, inside of any text.
    #[test]
    fn no_encoding_of_a_secret_stays(
        secret in secrets(),
        chosen in proptest::collection::vec(0..ENCODINGS.len(), 1..3),
        before in "[ -;=-~]{0,6}",
        after in "[ -~]{0,6}",
    ) {
        let names: Vec<&str> = chosen.iter().map(|index| ENCODINGS[*index].0).collect();
        let echo = chosen.iter().fold(secret.clone(), |text, index| ENCODINGS[*index].1(&text));
        let redacted = redact(&secret, &format!("{before} {echo} {after}"));
        prop_assert!(
            redacted.as_deref().is_some_and(|redacted| !redacted.contains(&echo)),
            "{names:?} stays: {echo} in {redacted:?}"
        );
        prop_assert_eq!(redact(&secret, &redacted.unwrap()), None);
    }

    /// A text of two bytes a character is one afterwards too: what follows the secret is read as before.
    #[test]
    fn a_masked_body_in_utf16_is_still_one(
        before in "[a-zа-я \"{}:]{0,12}",
        encoding in 0..4usize,
        after in "[a-zа-я \"{}:]{0,12}",
        little in proptest::bool::ANY,
        mark in "\u{feff}?",
    ) {
        let secret = "Zq7Rw2Xk9LmT4vBn";
        let encodings: [Encoding; 4] = [
            str::to_owned,
            utf16_escapes,
            |text| STANDARD.encode(text).replace('=', ""),
            |text| hex(text.as_bytes()),
        ];
        let to_bytes = if little { u16::to_le_bytes } else { u16::to_be_bytes };
        let from_bytes = if little { u16::from_le_bytes } else { u16::from_be_bytes };
        let body = utf16(&format!("{mark}{before}| {} |{after}", encodings[encoding](secret)), to_bytes);
        let redacted = Redactor::new([secret]).redact_bytes(&body).unwrap().unwrap();
        let units: Vec<u16> = redacted.chunks(2).map(|unit| from_bytes(unit.try_into().unwrap())).collect();
        prop_assert_eq!(String::from_utf16(&units).unwrap(), format!("{mark}{before}| *** |{after}"));
    }

    /// What stays around a secret is what was there.
    #[test]
    fn nothing_else_is_changed(before in "[a-z ]{0,9}", after in "[a-z ]{0,9}") {
        let secret = "0123456789/ABC";
        for (name, encode) in ENCODINGS.iter().filter(|(name, _)| {
            !["base64", "hex", "markup", "comment", "quoted", "CDATA", "list", "CSS", "octal"].iter().any(|part| name.contains(part))
        }) {
            let text = format!("{before}{}{after}", encode(secret));
            let redacted = redact(secret, &text);
            prop_assert_eq!(redacted, Some(format!("{before}***{after}")), "{}", name);
        }
        prop_assert_eq!(redact(secret, &format!("{before} {after}")), None);
    }
}

#[test]
fn a_secret_of_seven_bytes_is_not_searched_for_and_one_of_eight_is() {
    for (secret, is_redacted) in [("p+ss/w%", false), ("p+ss/w%0", true)] {
        for (name, encode) in ENCODINGS {
            let text = encode(secret);
            assert_eq!(
                redact(secret, &text).is_some(),
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
