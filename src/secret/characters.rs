//! How characters are compared: which ones nobody sees, and which ones are the same to a reader.

/// Whether a character draws nothing: Unicode's `Default_Ignorable_Code_Point`, which has the marks of bidirectional
/// text, the joiners and the variation selectors in it.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(
        u32::from(character),
        0xad | 0x34f
            | 0x61c
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0x3164
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xfff8
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff
    )
}

/// The letters of the Cyrillic alphabets of which the services' words are made. For these the tables of Unicode would take
/// most of the time of a search.
const CYRILLIC: std::ops::RangeInclusive<char> = '\u{400}'..='\u{45f}';

/// Whether a character is a letter, in any alphabet.
pub(crate) fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic()
        || CYRILLIC.contains(&character)
        || !character.is_ascii() && character.is_alphabetic()
}

/// Whether a character is a letter or a digit, in any alphabet.
pub(crate) fn is_letter_or_digit(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || CYRILLIC.contains(&character)
        || !character.is_ascii() && character.is_alphanumeric()
}

/// A character as it is compared: in lower case, a digit of any script and a letter of another font as ASCII.
pub(crate) fn fold(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    if CYRILLIC.contains(&character) {
        let code = u32::from(character);
        let distance = match code {
            0x400..=0x40f => 0x50,
            0x410..=0x42f => 0x20,
            _ => 0,
        };
        return char::from_u32(code + distance).unwrap_or(character);
    }
    plain(character)
        .or_else(|| character.to_lowercase().next())
        .unwrap_or(character)
}

/// The ASCII character that a reader takes it for.
fn plain(character: char) -> Option<char> {
    /// The zeros of decimal digits: Arabic, Persian, Devanagari, Bengali, Thai.
    const ZEROS: [u32; 5] = [0x660, 0x6f0, 0x966, 0x9e6, 0xe50];
    let code = u32::from(character);
    let ascii = |code: u32| char::from_u32(code).map(|found| found.to_ascii_lowercase());
    match code {
        // full width
        0xff01..=0xff5e => ascii(code - 0xfee0),
        // circled
        0x2460..=0x2468 => ascii(code - 0x2460 + u32::from(b'1')),
        0x24ea => Some('0'),
        0x24b6..=0x24e9 => ascii((code - 0x24b6) % 26 + u32::from(b'a')),
        // mathematical
        0x1d400..=0x1d6a3 => ascii((code - 0x1d400) % 26 + u32::from(b'a')),
        0x1d7ce..=0x1d7ff => char::from_digit((code - 0x1d7ce) % 10, 10),
        // superscript and subscript
        0xb2 => Some('2'),
        0xb3 => Some('3'),
        0xb9 => Some('1'),
        0x2070 | 0x2074..=0x2079 => char::from_digit(code - 0x2070, 10),
        0x2080..=0x2089 => char::from_digit(code - 0x2080, 10),
        _ => ZEROS
            .iter()
            .filter_map(|zero| code.checked_sub(*zero))
            .find_map(|value| char::from_digit(value, 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is Unicode's own, as the tables of `regex` have it.
    #[test]
    fn what_is_invisible_is_a_property_of_unicode() {
        let property = regex::Regex::new(r"^\p{Default_Ignorable_Code_Point}$").unwrap();
        let mut buffer = [0; 4];
        let differs: Vec<char> = (char::MIN..=char::MAX)
            .filter(|c| is_invisible(*c) != property.is_match(c.encode_utf8(&mut buffer)))
            .collect();
        assert!(differs.is_empty(), "{differs:x?}");
        let bidi = regex::Regex::new(r"^\p{Bidi_Control}$").unwrap();
        assert!(
            (char::MIN..=char::MAX)
                .filter(|c| bidi.is_match(c.encode_utf8(&mut [0; 4])))
                .all(is_invisible)
        );
    }

    /// What is known without Unicode's tables is what they say.
    #[test]
    fn letters_are_those_of_unicode() {
        for c in char::MIN..=char::MAX {
            assert_eq!(is_letter(c), c.is_alphabetic(), "{c:?}");
            assert_eq!(is_letter_or_digit(c), c.is_alphanumeric(), "{c:?}");
        }
        for c in CYRILLIC {
            assert_eq!(Some(fold(c)), c.to_lowercase().next());
        }
    }

    #[test]
    fn letters_and_digits_of_another_font_are_plain() {
        for (written, plain) in [
            ("ＺＱ７", "zq7"),
            ("\u{1d419}\u{1d42a}\u{1d7d5}", "zq7"),
            ("\u{661}\u{6f2}③⓪ⓩ²", "1230z2"),
            ("ЎÉ", "ўé"),
        ] {
            assert_eq!(written.chars().map(fold).collect::<String>(), plain);
        }
    }
}
