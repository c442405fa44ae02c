//! JSON as an entry, and what of a value is sent.

use proptest::prelude::*;

use super::*;

#[test]
fn values_that_are_not_text_are_listed_by_field() {
    let body = r#"{"a":1,"b":true,"c":null,"d":[],"e":{},"f":"text"}"#;
    let entry = entry_from_object(serde_json::from_str(body).unwrap());
    assert_eq!(entry.fields.keys().collect::<Vec<_>>(), ["f"]);
    let non_text: Vec<_> = entry
        .non_text
        .iter()
        .map(|(field, held)| (field.as_str(), *held))
        .collect();
    assert_eq!(
        non_text,
        [
            ("a", "a number"),
            ("b", "true or false"),
            ("c", "null"),
            ("d", "a list"),
            ("e", "a nested object")
        ]
    );
}

#[test]
fn what_surrounds_a_value_is_not_sent() {
    let padded =
        Some("begins or ends with a blank, a newline or a byte order mark, which is not sent");
    let quoted = Some("is in quotes, which are sent as part of it");
    for (value, text, warning) in [
        ("v", "v", None),
        ("v\n", "v", None),
        ("v\r\n", "v", None),
        ("v\n\n", "v", padded),
        (" v", "v", padded),
        ("v\t", "v", padded),
        ("\u{FEFF}v\n", "v", padded),
        ("\u{FEFF} v", "v", padded),
        ("\u{A0}v\u{200B}", "v", padded),
        ("correct horse", "correct horse", None),
        ("\"v\"\n", "\"v\"", quoted),
        ("'v'", "'v'", quoted),
        ("`v`", "`v`", quoted),
        (" \"v\"\n\n", "\"v\"", quoted),
        ("\u{202A}v\u{202C}", "v", padded),
        ("\"", "\"", None),
    ] {
        assert_eq!(
            usable_value(value),
            Ok(UsableValue { text, warning }),
            "{value:?}"
        );
    }
}

#[test]
fn what_no_credential_holds_is_named() {
    for (value, what) in [
        ("", "is empty"),
        ("\n", "is empty"),
        (" \u{FEFF}\u{A0}\n\n", "is empty"),
        ("a\0b", "contains a NUL byte"),
        ("\0", "contains a NUL byte"),
        ("two\nlines\n", "contains a newline"),
        ("two\rlines", "contains a newline"),
        ("two\u{2028}lines", "contains a newline"),
        ("a\tb", "contains a blank that is not a space"),
        ("a\u{A0}b", "contains a blank that is not a space"),
        ("a\u{FEFF}b", "contains an invisible character"),
        ("a\u{200B}b", "contains an invisible character"),
        ("a\u{1B}b", "contains an invisible character"),
    ] {
        assert_eq!(usable_value(value), Err(what), "{value:?}");
    }
}

/// Unicode's own list of what draws nothing.
#[test]
fn no_invisible_character_is_sent() {
    let property = regex::Regex::new(r"^\p{Default_Ignorable_Code_Point}$").unwrap();
    let invisible = (char::MIN..=char::MAX).filter(|c| property.is_match(&c.to_string()));
    let sent: Vec<char> = invisible
        .filter(|c| usable_value(&format!("a{c}b")) != Err("contains an invisible character"))
        .collect();
    assert!(sent.is_empty(), "{sent:x?}");
}

proptest! {
    /// Whatever is sent fits in a header line and has no blank around it; cleaning it again changes nothing.
    #[test]
    fn nothing_else_is_ever_sent(value in "\\PC{0,4}[\u{0}-\u{FF}\u{FEFF}\u{200B}]{0,8}") {
        if let Ok(UsableValue { text, .. }) = usable_value(&value) {
            prop_assert!(!text.contains(|c: char| c.is_control() || c == '\u{FEFF}'), "{:?}", text);
            prop_assert_eq!(text.trim(), text);
            prop_assert_eq!(usable_value(text).map(|again| again.text), Ok(text));
        }
    }
}
