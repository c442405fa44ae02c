//! What all dialects meet in.

use std::fmt;
use std::time::Duration;

/// A phone number in E.164. Prints masked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msisdn(String);

/// The text is no phone number in international form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a phone number in international form (7 to 15 digits, with or without +)")]
pub struct InvalidMsisdn;

impl Msisdn {
    /// Reads a number as backends write it: an optional `+` or `00`, blanks, hyphens, dots and brackets between digits.
    pub fn parse(text: &str) -> Result<Self, InvalidMsisdn> {
        let text = text.trim();
        let text = text
            .strip_prefix('+')
            .or_else(|| text.strip_prefix("00"))
            .unwrap_or(text);
        let digits: String = text
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.' | '\u{a0}'))
            .collect();
        let plausible = (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if plausible {
            Ok(Self(digits))
        } else {
            Err(InvalidMsisdn)
        }
    }

    /// The digits alone: `998901234567`.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// With the plus sign: `+998901234567`.
    pub fn to_e164(&self) -> String {
        format!("+{}", self.0)
    }

    /// Whether it begins with `prefix` (written with or without `+`).
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix.trim_start_matches('+'))
    }
}

impl fmt::Display for Msisdn {
    /// `+998*****67`: the country, and enough to recognise one's own test handset.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, tail) = (
            self.0.get(..3).unwrap_or_default(),
            self.0
                .get(self.0.len().saturating_sub(2)..)
                .unwrap_or_default(),
        );
        write!(f, "+{head}*****{tail}")
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msisdn({self})")
    }
}

/// The words of a message. They hold the code, so they print as their length.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageText(String);

impl MessageText {
    /// Wraps what the backend wrote.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The words, for writing them into a request and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} characters)", self.0.chars().count())
    }
}

/// One message to one person, free of any service's spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who gets it.
    pub recipient: Msisdn,
    /// What it says.
    pub text: MessageText,
    /// Under which name, as the backend wrote it.
    pub sender: Option<String>,
    /// The client's reference; never empty: the backend's, else 20 characters of ours.
    pub reference: String,
    /// How long it is worth delivering.
    pub validity: Option<Duration>,
    /// Where the backend wants delivery reports.
    pub callback: Option<String>,
    /// What a provider that sends approved texts only needs.
    pub template: Option<ApprovedTemplate>,
}

/// The approved text that stands for a message at one provider.
#[derive(Clone, PartialEq, Eq)]
pub struct ApprovedTemplate {
    /// The name under `[templates]`.
    pub name: String,
    /// The service's number for it, where a number stands for the text.
    pub id: Option<String>,
    /// The holes and what filled them, in the order of the text.
    pub fields: Vec<(String, String)>,
}

impl fmt::Debug for ApprovedTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({}, {} fields)", self.name, self.fields.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
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
    fn numbers_and_texts_print_masked() {
        let number = Msisdn::parse("+998901234567").unwrap();
        assert_eq!(
            format!("{number} {number:?}"),
            "+998*****67 Msisdn(+998*****67)"
        );
        assert_eq!(
            format!("{:?}", MessageText::new("Kod: 123456")),
            "Text(11 characters)"
        );
    }
}
