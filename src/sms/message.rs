//! The message: the form that all dialects share.

use std::fmt;
use std::time::Duration;

/// A phone number in E.164. It prints masked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msisdn(String);

/// The text is not a phone number in international form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a phone number in international form (7 to 15 digits, with or without +)")]
pub struct InvalidMsisdn;

impl Msisdn {
    /// Parses a number as backends write it: an optional `+` or `00`, then 7 to 15 digits, with
    /// spaces, hyphens, dots and brackets between them.
    pub fn parse(text: &str) -> Result<Self, InvalidMsisdn> {
        let text = text.trim();
        let text = text
            .strip_prefix('+')
            .or_else(|| text.strip_prefix("00"))
            .unwrap_or(text);
        let digits = Self::without_separators(text);
        let is_valid = (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if is_valid {
            Ok(Self(digits))
        } else {
            Err(InvalidMsisdn)
        }
    }

    /// The text without what people write between digits; empty for a number with a fraction.
    pub(super) fn without_separators(text: &str) -> String {
        let is_kept = |c: &char| !matches!(c, ' ' | '-' | '(' | ')' | '.' | '\u{a0}');
        let whole = without_fraction(text);
        let mut digits = String::with_capacity(whole.len());
        digits.extend(whole.chars().filter(is_kept));
        digits
    }

    /// The digits alone: `998901234567`.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// With the plus sign: `+998901234567`.
    pub fn to_e164(&self) -> String {
        format!("+{}", self.0)
    }

    /// Whether the number begins with `prefix`, which may have a `+`.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix.trim_start_matches('+'))
    }
}

/// The whole part of a decimal number, as floats are written: `998901234567.0`. With any other fraction it is nobody's
/// number; one digit more would be somebody else's.
fn without_fraction(text: &str) -> &str {
    let Some((whole, fraction)) = text.trim().split_once('.') else {
        return text;
    };
    let is_fraction = matches!(fraction.len(), 1 | 2)
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && whole
            .trim_start_matches('+')
            .bytes()
            .all(|byte| byte.is_ascii_digit());
    match is_fraction {
        true if fraction.bytes().all(|byte| byte == b'0') => whole,
        true => "",
        false => text,
    }
}

/// Whether one of two number prefixes begins with the other, so that a number can have both. Each may
/// have a `+`.
pub fn prefixes_overlap(left: &str, right: &str) -> bool {
    prefix_covers(left, right) || prefix_covers(right, left)
}

/// Whether every number with the prefix `longer` also has the prefix `shorter`. Each may have a `+`.
pub fn prefix_covers(shorter: &str, longer: &str) -> bool {
    let digits = longer.trim_start_matches('+');
    digits.starts_with(shorter.trim_start_matches('+'))
}

impl fmt::Display for Msisdn {
    /// `+998*****67`: the country, and enough to recognise a test handset.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.0.get(..3).unwrap_or_default();
        let tail_start = self.0.len().saturating_sub(2);
        let tail = self.0.get(tail_start..).unwrap_or_default();
        write!(f, "+{head}*****{tail}")
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msisdn({self})")
    }
}

/// The text of a message. It holds the code, so it prints as its length.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageText(String);

impl MessageText {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, only for writing it into a request.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageText({} characters)", self.0.chars().count())
    }
}

/// One message to one person, independent of any service's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The recipient.
    pub recipient: Msisdn,
    /// The text.
    pub text: MessageText,
    /// The sender name, as the backend wrote it.
    pub sender: Option<String>,
    /// The client reference; never empty: the backend's, or 20 generated characters.
    pub reference: String,
    /// How long delivery is useful.
    pub validity: Option<Duration>,
    /// Where the backend wants delivery reports.
    pub callback: Option<String>,
    /// The template that the text matches, for providers that send approved texts only.
    pub template: Option<ApprovedTemplate>,
}

/// The approved text that replaces a message's text at one provider.
#[derive(Clone, PartialEq, Eq)]
pub struct ApprovedTemplate {
    /// The name under `[templates]`.
    pub name: String,
    /// The service's id for it, if the service takes an id instead of the text.
    pub id: Option<String>,
    /// The holes and their values, in the order of the text.
    pub fields: Vec<(String, String)>,
}

impl fmt::Debug for ApprovedTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ApprovedTemplate({}, {} fields)",
            self.name,
            self.fields.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_in_all_common_spellings() {
        for text in [
            "998901234567",
            "+998 90 123-45-67",
            "00998901234567",
            "+998 (90) 123.45.67",
        ] {
            assert_eq!(
                Msisdn::parse(text).unwrap().digits(),
                "998901234567",
                "{text}"
            );
        }
        for text in [
            "",
            "+",
            "12345",
            "whatsapp:+998901234567",
            "1234567890123456",
            "0901234567",
            "99890123456x",
        ] {
            assert_eq!(Msisdn::parse(text), Err(InvalidMsisdn), "{text}");
        }
    }

    #[test]
    fn prefixes_cover_or_overlap() {
        assert!(prefix_covers("998", "+99890") && prefix_covers("+998", "998"));
        assert!(!prefix_covers("+99890", "+998") && !prefix_covers("+7", "+998"));
        assert!(prefixes_overlap("+99890", "998") && !prefixes_overlap("+7", "+998"));
    }

    #[test]
    fn numbers_and_texts_print_masked() {
        let number = Msisdn::parse("+998901234567").unwrap();
        assert_eq!(
            format!("{number} {number:?}"),
            "+998*****67 Msisdn(+998*****67)"
        );
        assert_eq!(
            format!("{:?}", MessageText::new("Kod: 123456")),
            "MessageText(11 characters)"
        );
    }

    #[test]
    fn a_fraction_is_no_part_of_a_number() {
        for (text, number) in [
            ("998901234567.0", Some("998901234567")),
            ("+998901234567.00", Some("998901234567")),
            ("99890123456.5", None),
            ("998901234.56", None),
            ("+998.90.123.45.67", Some("998901234567")),
            ("99890.1234567", Some("998901234567")),
        ] {
            let parsed = Msisdn::parse(text).ok();
            assert_eq!(parsed.as_ref().map(Msisdn::digits), number, "{text}");
        }
    }
}
