//! Takes the message's text out of a service's words: some services quote what they reject, whole,
//! cut, escaped, or with blanks in its digits. What is concealed: every run of the text of eight or
//! more characters, its digits with or without separators, and its words with a digit in them.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::secret::decoded::{DecodedText, SourceMarks};

/// A shorter run is part of ordinary words.
const RUN_CHARS: usize = 8;
/// So many digits in sequence are a part of a code.
const MIN_DIGITS: usize = 3;
/// A shorter word is not a code, and a shorter text not a secret.
const MIN_WORD_CHARS: usize = 4;
const MIN_TEXT_CHARS: usize = 3;
/// The number of characters between two digits of one code.
const MAX_SEPARATORS: usize = 3;
/// A longer text is not compared: nothing is shown.
const MAX_TEXT_CHARS: usize = 4096;
/// Words beyond this length are not shown.
const MAX_WORDS_BYTES: usize = 4096;

/// The pieces of a text that must not be shown.
pub(crate) struct OwnText {
    runs: BTreeSet<[char; RUN_CHARS]>,
    words: BTreeSet<String>,
    digits: BTreeSet<[char; MIN_DIGITS]>,
    /// The whole text if it is shorter than a run.
    short: Vec<char>,
    is_too_long: bool,
}

/// A text by characters, in lower case and with plain digits and blanks.
struct Folded {
    chars: Vec<char>,
    /// Where each character is in the bytes.
    ranges: Vec<Range<usize>>,
}

impl OwnText {
    pub(crate) fn new(text: &str) -> Self {
        let is_too_long = text.chars().nth(MAX_TEXT_CHARS).is_some();
        let text: String = text.chars().take(MAX_TEXT_CHARS).collect();
        let mut own = Self {
            runs: BTreeSet::new(),
            words: BTreeSet::new(),
            digits: BTreeSet::new(),
            short: Vec::new(),
            is_too_long,
        };
        DecodedText::visit_layers(text.as_bytes(), |layer| own.add(&Folded::new(&layer.bytes)));
        own.short = Folded::new(text.trim().as_bytes()).chars;
        own
    }

    fn add(&mut self, text: &Folded) {
        self.runs.extend(windows(&text.chars));
        for word in text.words() {
            self.words.extend(text.code_word(&word));
        }
        for digits in text.digit_sequences() {
            self.digits.extend(windows(&text.digits(&digits)));
        }
    }

    /// The words without pieces of the text.
    pub(crate) fn conceal(&self, words: &str) -> String {
        if self.is_too_long {
            return "***".to_owned();
        }
        let words = words
            .get(..words.floor_char_boundary(MAX_WORDS_BYTES))
            .unwrap_or_default();
        let mut marks = SourceMarks::new(words.as_bytes());
        DecodedText::visit_layers(words.as_bytes(), |layer| {
            let folded = Folded::new(&layer.bytes);
            for found in self.find_all(&folded) {
                marks.mark(layer, folded.bytes_of(&found));
            }
        });
        match marks.replaced() {
            Some(concealed) => String::from_utf8_lossy(&concealed).into_owned(),
            None => words.to_owned(),
        }
    }

    /// Whether this is a word of the text that can be a code.
    pub(crate) fn has_code(&self, word: &str) -> bool {
        let word = Folded::new(word.as_bytes());
        word.code_word(&(0..word.chars.len()))
            .is_some_and(|word| self.words.contains(&word))
    }

    /// The characters to conceal.
    fn find_all(&self, words: &Folded) -> Vec<Range<usize>> {
        let is_run = |run: &Range<usize>| {
            words
                .window(run)
                .is_some_and(|run| self.runs.contains(&run))
        };
        let is_short = |run: &Range<usize>| words.chars.get(run.clone()) == Some(&self.short);
        let is_code = |word: &Range<usize>| {
            words
                .code_word(word)
                .is_some_and(|word| self.words.contains(&word))
        };
        let has_digits = |sequence: &Range<usize>| {
            windows(&words.digits(sequence)).any(|digits| self.digits.contains(&digits))
        };
        let short = self.short.len();
        let mut found: Vec<_> = words.positions(RUN_CHARS).filter(is_run).collect();
        if (MIN_TEXT_CHARS..RUN_CHARS).contains(&short) {
            found.extend(words.positions(short).filter(is_short));
        }
        found.extend(words.words().into_iter().filter(is_code));
        found.extend(words.digit_sequences().into_iter().filter(has_digits));
        found
    }
}

impl Folded {
    fn new(bytes: &[u8]) -> Self {
        let mut folded = Self {
            chars: Vec::new(),
            ranges: Vec::new(),
        };
        let mut start = 0;
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                folded.push(fold(character), start..start + character.len_utf8());
                start += character.len_utf8();
            }
            if !chunk.invalid().is_empty() {
                folded.push(
                    char::REPLACEMENT_CHARACTER,
                    start..start + chunk.invalid().len(),
                );
                start += chunk.invalid().len();
            }
        }
        folded
    }

    /// Adds a character; several blanks are one.
    fn push(&mut self, character: char, range: Range<usize>) {
        match self.ranges.last_mut() {
            Some(blank) if character == ' ' && self.chars.last() == Some(&' ') => {
                blank.end = range.end;
            }
            Some(_) | None => {
                self.chars.push(character);
                self.ranges.push(range);
            }
        }
    }

    /// The bytes of these characters, without a blank at an end.
    fn bytes_of(&self, chars: &Range<usize>) -> Range<usize> {
        let is_blank = |at: usize| self.chars.get(at) == Some(&' ');
        let start = chars.start + usize::from(is_blank(chars.start));
        let end = chars.end - usize::from(is_blank(chars.end - 1));
        let chars = start..end;
        let ranges = self.ranges.get(chars.clone()).unwrap_or_default();
        match (ranges.first(), ranges.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            (_, _) => 0..0,
        }
    }

    /// All runs of this length.
    fn positions(&self, length: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let ends = length..=self.chars.len();
        ends.map(move |end| end - length..end)
    }

    fn window<const N: usize>(&self, range: &Range<usize>) -> Option<[char; N]> {
        self.chars.get(range.clone())?.try_into().ok()
    }

    /// Letters and digits, with dashes between them.
    fn words(&self) -> Vec<Range<usize>> {
        self.sequences(char::is_alphanumeric, |c| c == '-', 1)
    }

    /// Digits, with a few other characters between them that are no letters.
    fn digit_sequences(&self) -> Vec<Range<usize>> {
        let is_digit = |c: char| c.is_ascii_digit();
        self.sequences(is_digit, |c| !c.is_alphanumeric(), MAX_SEPARATORS)
    }

    /// The longest runs of `is_part` with at most `max_gap` times `is_gap` inside.
    fn sequences(
        &self,
        is_part: impl Fn(char) -> bool,
        is_gap: impl Fn(char) -> bool,
        max_gap: usize,
    ) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let parts = self.chars.iter().enumerate().filter(|(_, c)| is_part(**c));
        for (at, _) in parts {
            let joins = |last: &Range<usize>| {
                let gap = self.chars.get(last.end..at).unwrap_or_default();
                gap.len() <= max_gap && gap.iter().all(|c| is_gap(*c))
            };
            match found.last_mut().filter(|last| joins(last)) {
                Some(last) => last.end = at + 1,
                None => found.push(at..at + 1),
            }
        }
        found
    }

    /// A word that can be a code, without dashes.
    fn code_word(&self, word: &Range<usize>) -> Option<String> {
        let word = self.chars.get(word.clone())?;
        let plain: String = word.iter().filter(|c| c.is_alphanumeric()).collect();
        let is_code =
            plain.chars().count() >= MIN_WORD_CHARS && plain.contains(|c: char| c.is_ascii_digit());
        is_code.then_some(plain)
    }

    fn digits(&self, sequence: &Range<usize>) -> Vec<char> {
        let all = self.chars.get(sequence.clone()).unwrap_or_default();
        all.iter().copied().filter(char::is_ascii_digit).collect()
    }
}

fn windows<const N: usize>(chars: &[char]) -> impl Iterator<Item = [char; N]> {
    chars.windows(N).filter_map(|run| run.try_into().ok())
}

/// A character as it is compared: in lower case, a digit of any script as ASCII, a blank as a blank.
fn fold(character: char) -> char {
    /// The zeros of decimal digits: Arabic, Persian, Devanagari, Bengali, Thai, full width.
    const ZEROS: [u32; 6] = [0x660, 0x6f0, 0x966, 0x9e6, 0xe50, 0xff10];
    let digit = ZEROS
        .iter()
        .filter_map(|zero| u32::from(character).checked_sub(*zero))
        .find_map(|value| char::from_digit(value, 10));
    match digit {
        Some(digit) => digit,
        None if character.is_whitespace() || character.is_control() => ' ',
        None => character.to_lowercase().next().unwrap_or(character),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "1port: kirish kodi 123456. Don't share & \u{201c}keep\u{201d} it";

    fn conceal(words: &str) -> String {
        OwnText::new(TEXT).conceal(words)
    }

    #[test]
    fn pieces_of_the_text_are_concealed() {
        for (words, shown) in [
            ("kod 12 34 56 is spam", "kod *** is spam"),
            ("kod 12-34-56", "kod ***"),
            ("codes 1.2.3.4.5.6, no", "codes ***, no"),
            ("bad digits 345", "bad digits ***"),
            ("\u{661}\u{662}\u{663}\u{664}", "***"),
            (
                "the text 'KIRISH  KODI' is blocked",
                "the text '***' is blocked",
            ),
            ("cut: 1port: kiri\u{2026}", "cut: ***\u{2026}"),
            (
                "Don&#39;t share &amp; is not approved",
                "*** is not approved",
            ),
            (r"no \u0064on't share", "no ***"),
            ("1port", "***"),
            (
                "<i>kirish</i> <b>kodi</b> 12<br>3456",
                "<i>***</i>***<b>***</b>***<br>***",
            ),
            ("Invalid recipient", "Invalid recipient"),
            ("error 401 of 22", "error 401 of 22"),
        ] {
            assert_eq!(conceal(words), shown, "{words}");
        }
    }

    #[test]
    fn a_code_of_letters_and_digits_is_concealed() {
        let own = OwnText::new("Kod: AB12CD");
        for words in ["ab12cd is bad", "AB-12-CD is bad"] {
            assert_eq!(own.conceal(words), "*** is bad");
        }
        assert_eq!(OwnText::new("k 47").conceal("text k 47!"), "text ***!");
        assert_eq!(OwnText::new("ok").conceal("not ok"), "not ok");
    }

    #[test]
    fn a_text_that_is_too_long_to_compare_shows_nothing() {
        assert_eq!(OwnText::new(&"a".repeat(5000)).conceal("too long"), "***");
        assert!(conceal(&"x".repeat(9000)).len() <= MAX_WORDS_BYTES);
    }

    proptest! {
        #[test]
        fn no_run_of_the_text_stays(
            text in "[a-z0-9ўқ&<\" .-]{8,60}",
            start in 0usize..40,
            before in "[a-z ]{0,9}",
            encoding in 0usize..4,
        ) {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let length = text.chars().count();
            prop_assume!(length >= RUN_CHARS);
            let piece: String = text.chars().skip(start.min(length - RUN_CHARS)).collect();
            let piece = piece.trim();
            let quoted = match encoding {
                0 => piece.to_owned(),
                1 => piece.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;"),
                2 => serde_json::to_string(piece).unwrap(),
                _ => piece.split(' ').collect::<Vec<_>>().join("\r\n  "),
            };
            let shown = OwnText::new(&text).conceal(&format!("{before}|{quoted}|"));
            prop_assert!(piece.chars().count() < RUN_CHARS || !shown.contains(&quoted), "{shown}");
            let left: String = shown.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(piece.chars().count() < RUN_CHARS || left.is_empty(), "{shown}");
        }

        #[test]
        fn no_separator_hides_a_code(code in "[0-9]{4,8}", gaps in proptest::collection::vec("[ .,/-]{0,3}", 8)) {
            let spread: String = code.chars().zip(&gaps).flat_map(|(digit, gap)| [digit.to_string(), gap.clone()]).collect();
            let shown = OwnText::new(&format!("Kod: {code}!")).conceal(&format!("no {spread} here"));
            prop_assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
        }
    }
}
