//! Takes the message's text and number out of a service's words: some services quote what they reject,
//! whole, cut, escaped, encoded, or with other characters in its digits. What is concealed: every run of
//! the text of eight or more letters and digits, its words except ordinary ones, its digits with or without
//! separators, and seven or more digits of the number.

use crate::dialect::RecipientTexts;
use crate::secret::characters::{is_letter, is_letter_or_digit};
use crate::secret::search::{Compared, Finder, MatchRule, Needles, decoded_forms};
use crate::sms::Message;

/// A shorter run is part of ordinary words.
const RUN_CHARS: usize = 8;
/// So many digits in sequence are a part of a code.
const MIN_DIGITS: usize = 3;
/// So many digits are a code, whatever is between them.
const MIN_CODE_DIGITS: usize = 4;
/// So many digits of a number identify it.
const MIN_NUMBER_DIGITS: usize = 7;
/// A shorter word is not a code: one with a digit, one of letters.
const MIN_CODE_CHARS: usize = 3;
const MIN_WORD_CHARS: usize = 4;
/// A longer code is found by any run of this many of its digits.
const MAX_CODE_DIGITS: usize = 8;
/// A longer text is not compared: nothing is shown.
const MAX_TEXT_CHARS: usize = 4096;
/// If a batch has more recipients than these bytes, nothing is shown: about a thousand numbers.
const MAX_RECIPIENT_BYTES: usize = 16 << 10;
/// Words beyond this length are not shown.
const MAX_WORDS_BYTES: usize = 4096;

/// Words of a text that also explain an error, in order. Alone they show nothing of a text, and without them nobody
/// could read what a service says.
const ORDINARY_WORDS: [&str; 75] = [
    "account",
    "active",
    "allowed",
    "approved",
    "balance",
    "bermang",
    "blocked",
    "code",
    "codes",
    "confirm",
    "contact",
    "country",
    "digits",
    "enter",
    "error",
    "expired",
    "expires",
    "failed",
    "from",
    "have",
    "invalid",
    "kiriting",
    "kodi",
    "kodingiz",
    "limit",
    "login",
    "message",
    "minutes",
    "money",
    "need",
    "never",
    "number",
    "otp",
    "password",
    "payment",
    "phone",
    "please",
    "provider",
    "raqam",
    "receive",
    "recipient",
    "register",
    "request",
    "send",
    "sender",
    "sent",
    "service",
    "share",
    "sms",
    "spam",
    "template",
    "text",
    "this",
    "tizim",
    "token",
    "user",
    "uzbekistan",
    "valid",
    "verification",
    "wait",
    "with",
    "wrong",
    "xabar",
    "your",
    "аккаунт",
    "ваш",
    "введите",
    "код",
    "кода",
    "никому",
    "номер",
    "пароль",
    "сообщение",
    "текст",
    "только",
];

/// What of a message, or of a batch, must not be shown.
pub(crate) struct OwnText {
    finders: Vec<Finder>,
    is_too_long: bool,
}

impl OwnText {
    /// That of a message: its text and its recipient.
    pub(crate) fn of(message: &Message) -> Self {
        Self::new(message.text.expose(), message.recipient.digits())
    }

    /// That of a request that is not one message: its recipients, as the backend wrote them.
    pub(crate) fn of_recipients(recipients: &RecipientTexts) -> Self {
        if recipients.iter().map(str::len).sum::<usize>() > MAX_RECIPIENT_BYTES {
            return Self::too_long();
        }
        let mut digits = Needles::default();
        for recipient in recipients.iter() {
            push_number(recipient, &mut digits);
        }
        Self {
            finders: Finder::new(digits, Compared::Digits).into_iter().collect(),
            is_too_long: false,
        }
    }

    fn too_long() -> Self {
        Self {
            finders: Vec::new(),
            is_too_long: true,
        }
    }

    fn new(text: &str, number: &str) -> Self {
        if text.chars().nth(MAX_TEXT_CHARS).is_some() {
            return Self::too_long();
        }
        let mut letters = Needles::default();
        let mut digits = Needles::default();
        push_number(number, &mut digits);
        for form in decoded_forms(text) {
            push_runs(&form, &mut letters);
            push_code_words(&form, &mut letters);
            push_codes(&form, &mut digits);
        }
        let letters = Finder::new(letters, Compared::LettersAndDigits);
        let digits = Finder::new(digits, Compared::Digits);
        Self {
            finders: letters.into_iter().chain(digits).collect(),
            is_too_long: false,
        }
    }

    /// The words without pieces of the message.
    pub(crate) fn conceal(&self, words: &str) -> String {
        if self.is_too_long {
            return "***".to_owned();
        }
        let words = words
            .get(..words.floor_char_boundary(MAX_WORDS_BYTES))
            .unwrap_or_default();
        match Finder::conceal(&self.finders, words.as_bytes()) {
            Ok(Some(concealed)) => String::from_utf8_lossy(&concealed).into_owned(),
            Ok(None) => words.to_owned(),
            Err(_) => "***".to_owned(),
        }
    }
}

/// Whether a service's code is a word of the text that can be a code.
pub(crate) fn has_code(text: &str, code: &str) -> bool {
    let compared = |text| Compared::LettersAndDigits.chars(text);
    let code: String = compared(code).collect();
    let is_code = |word| compared(word).eq(code.chars());
    code.chars().count() >= MIN_WORD_CHARS
        && is_code_word(&code)
        && text.chars().nth(MAX_TEXT_CHARS).is_none()
        && decoded_forms(text)
            .iter()
            .any(|form| words(form).any(is_code))
}

/// A number, in its international form or as the backend wrote it; several in one text count too.
fn push_number(number: &str, needles: &mut Needles) {
    let digits = Compared::Digits.chars(number);
    needles.push_windows(digits, MIN_NUMBER_DIGITS, MatchRule::Anywhere);
}

/// Every run of the text, or the whole text if it is shorter than one.
fn push_runs(text: &str, needles: &mut Needles) {
    let compared = || Compared::LettersAndDigits.chars(text);
    let length = compared().take(RUN_CHARS).count();
    if (MIN_CODE_CHARS..RUN_CHARS).contains(&length) {
        needles.push(compared(), MatchRule::WholeWord);
    }
    needles.push_windows(compared(), RUN_CHARS, MatchRule::Anywhere);
}

/// The words that can be a code. One that is as long as a run is found as a run.
fn push_code_words(text: &str, needles: &mut Needles) {
    let mut compared = String::new();
    for word in words(text) {
        compared.clear();
        compared.extend(Compared::LettersAndDigits.chars(word));
        if is_code_word(&compared) && compared.chars().nth(RUN_CHARS - 1).is_none() {
            needles.push(compared.chars(), MatchRule::WholeWord);
        }
    }
}

/// The codes of a text with anything between their digits, and their parts.
fn push_codes(text: &str, needles: &mut Needles) {
    for code in text.split(is_letter) {
        let digits = || Compared::Digits.chars(code);
        let length = digits().take(MAX_CODE_DIGITS).count();
        needles.push_windows(digits(), MIN_DIGITS, MatchRule::Together);
        if length >= MIN_CODE_DIGITS {
            needles.push_windows(digits(), length, MatchRule::Anywhere);
        }
    }
}

/// The words of a text: as they stand between blanks, and between other characters.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().flat_map(|word| {
        let is_whole = word.chars().all(is_letter_or_digit);
        let parts = Some(word).filter(|_| !is_whole).into_iter();
        let is_foreign = |c: char| !is_letter_or_digit(c) && !c.is_ascii_graphic();
        let parts = parts.flat_map(move |word| {
            let between = word.split(is_foreign);
            between.chain(word.split(|c| !is_letter_or_digit(c)))
        });
        std::iter::once(word).chain(parts)
    })
}

fn is_code_word(word: &str) -> bool {
    let length = word.chars().count();
    if word.contains(|c: char| c.is_ascii_digit()) {
        return length >= MIN_CODE_CHARS;
    }
    length >= MIN_WORD_CHARS && ORDINARY_WORDS.binary_search(&word).is_err()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "1port: kirish kodi 123456. Don't share & \u{201c}keep\u{201d} it";
    const NUMBER: &str = "998901234567";

    fn conceal(words: &str) -> String {
        OwnText::new(TEXT, NUMBER).conceal(words)
    }

    #[test]
    fn ordinary_words_are_in_order() {
        assert!(ORDINARY_WORDS.is_sorted());
    }

    #[test]
    fn pieces_of_the_text_are_concealed() {
        for (words, shown) in [
            ("kod 12 34 56 is spam", "kod *** is spam"),
            ("kod 12-34-56", "kod ***"),
            ("codes 1.2.3.4.5.6, no", "codes ***, no"),
            ("1....2....3....4....5....6", "***"),
            ("1a2b3c4d5e6", "***"),
            ("no12no34no56", "no***"),
            ("bad digits 345", "bad digits ***"),
            ("\u{661}\u{662}\u{663}\u{664}", "***"),
            (
                "the words 'KIRISH  KODI' are blocked",
                "the words '***' are blocked",
            ),
            ("kirish_kodi_ is blocked", "***_ is blocked"),
            ("k-i-r-i-s-h k-o-d-i", "***"),
            ("cut: 1port: kiri\u{2026}", "cut: ***\u{2026}"),
            (
                "Don&#39;t share &amp; is not approved",
                "*** &amp; is not approved",
            ),
            (r"no \u0064on't share", "no ***"),
            ("1port", "***"),
            ("keep it", "*** it"),
            (
                "<i>kirish</i> <b>kodi</b> 12<br>3456",
                "<i>***</i> <b>***</b> ***<br>***",
            ),
            ("Invalid recipient", "Invalid recipient"),
            ("error 401 of 22", "error 401 of 22"),
        ] {
            assert_eq!(conceal(words), shown, "{words}");
        }
    }

    #[test]
    fn no_encoding_of_the_text_is_shown() {
        let hex = |bytes: &[u8]| -> String {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .concat()
        };
        let ucs2: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mail = TEXT
            .bytes()
            .map(|byte| format!("={byte:02X}"))
            .collect::<Vec<_>>()
            .concat();
        for (name, quoted) in [
            ("base64", STANDARD.encode(TEXT)),
            ("base64 of the code", STANDARD.encode("123456")),
            ("hex", hex(TEXT.as_bytes())),
            ("UCS-2 in hex", hex(&ucs2)),
            ("mail", mail),
        ] {
            let shown = conceal(&quoted);
            let left = shown.chars().filter(|c| c.is_alphanumeric()).count();
            assert!(left * 4 <= quoted.len(), "{name}: {shown}");
            assert!(shown.contains("***"), "{name}: {shown}");
        }
    }

    #[test]
    fn the_number_is_concealed() {
        for written in [
            "998901234567",
            "+998 (90) 123-45-67",
            "998.90.123.45.67",
            "998/90/123/45/67",
            "998_90_123_45_67",
            "998,901,234,567",
            "998\u{2013}90\u{2013}1234567",
            "901234567",
            "90 123 45 67",
            "\u{ff19}\u{ff19}\u{ff18}\u{ff19}\u{ff10}\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}\u{ff17}",
            "%39%39%38%39%30%31%32%33%34%35%36%37",
            "OTk4OTAxMjM0NTY3",
            "393938393031323334353637",
        ] {
            let shown = conceal(&format!("no {written} here"));
            let left: String = shown
                .chars()
                .filter(|c| !" +()no*her".contains(*c))
                .collect();
            assert!(left.is_empty(), "{written}: {shown}");
        }
        assert_eq!(conceal("no 998901111111"), "no 998901111111");
    }

    #[test]
    fn the_numbers_of_a_batch_are_concealed() {
        let recipients = ["+998 90 123-45-67", "901112233,998935554433"];
        let batch = RecipientTexts(recipients.map(str::to_owned).to_vec());
        let shown = |words: &str| OwnText::of_recipients(&batch).conceal(words);
        for words in [
            "no 998901234567, 901234567",
            "no 90.111.22.33",
            "no 99893%35554433",
            "no OTk4OTM1NTU0NDMz",
        ] {
            let left = shown(words).replace(['*', ',', ' '], "");
            assert!(left.len() <= "no998".len(), "{words}: {left}");
        }
        assert_eq!(
            shown("code 1122 of 998900000000"),
            "code 1122 of 998900000000"
        );
        let large = RecipientTexts(vec!["998901234567".to_owned(); 1400]);
        assert_eq!(OwnText::of_recipients(&large).conceal("Invalid"), "***");
        let none = OwnText::of_recipients(&RecipientTexts::default());
        assert_eq!(none.conceal("Invalid"), "Invalid");
    }

    #[test]
    fn a_code_of_letters_is_concealed() {
        for (text, words, shown) in [
            ("Kod: AB12CD", "ab12cd is bad", "*** is bad"),
            ("Kod: AB12CD", "AB-12-CD is bad", "*** is bad"),
            ("Kod: ABCDEF", "code ABCDEF bad", "code *** bad"),
            ("Kod: AB-CD-EF", "code ABCDEF bad", "code *** bad"),
            ("Kod: XK7", "code XK7 bad", "code *** bad"),
            ("Kod: Ab!9#z", "code Ab!9#z bad", "code *** bad"),
            ("Kod: qwerty", "code qwerty bad", "code *** bad"),
            ("Your code: qwerty", "code is invalid", "code is invalid"),
            ("k 47", "text k 47!", "text ***!"),
            ("ok", "not ok", "not ok"),
        ] {
            assert_eq!(OwnText::new(text, NUMBER).conceal(words), shown, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_to_compare_shows_nothing() {
        let long = OwnText::new(&"a".repeat(5000), NUMBER);
        assert_eq!(long.conceal("too long"), "***");
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
            let shown = OwnText::new(&text, NUMBER).conceal(&format!("{before}|{quoted}|"));
            let is_run = Compared::LettersAndDigits.chars(piece).count() >= RUN_CHARS;
            prop_assert!(!is_run || !shown.contains(&quoted), "{shown}");
            let left: String = shown.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(!is_run || left.is_empty(), "{shown}");
        }

        #[test]
        fn no_separator_hides_a_code(code in "[0-9]{4,8}", gaps in proptest::collection::vec("[ .,/-]{0,3}", 8)) {
            let spread: String = code.chars().zip(&gaps).flat_map(|(digit, gap)| [digit.to_string(), gap.clone()]).collect();
            let shown = OwnText::new(&format!("Kod: {code}!"), NUMBER).conceal(&format!("no {spread} here"));
            prop_assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
        }
    }
}
