//! How numbers are written in one country, so that a national number gets its country code, and one that cannot
//! be a number is reported before it is sent. Only lengths and prefixes: ranges change every month, and a range that
//! this build does not know must not keep a code from arriving.

use crate::sms::Msisdn;

/// Calling code, prefixes of national calls, lengths of mobile numbers, lengths of all numbers. Generated from the
/// metadata of libphonenumber; `tests/numbering.rs` holds it to them.
const CALLING_CODES: &str = include_str!("calling_codes.tsv");

/// Most mobile numbers have so many digits with their country code, or more.
const SHORTEST_USUAL_INTERNATIONAL: usize = 11;

/// The numbers behind one calling code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberingPlan {
    code: &'static str,
    /// What is dialled before a national number: `0`, `8`; the longest first.
    trunk_prefixes: Vec<&'static str>,
    /// The lengths of mobile numbers, without the calling code.
    mobile: Lengths,
    /// The lengths of all numbers, without the calling code.
    all: Lengths,
}

/// A set of lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lengths(Vec<usize>);

/// How a number is read in a country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberReading {
    /// It has its country code, or is not a phone number at all: it stays as it is.
    AsWritten,
    /// A national number, with the country code added.
    National(Msisdn),
    /// It has digits only, and is a number of no country.
    Unfit(UnfitNumber),
}

impl NumberReading {
    /// Why it cannot be a number.
    pub fn unfit(self) -> Option<UnfitNumber> {
        match self {
            Self::Unfit(unfit) => Some(unfit),
            Self::AsWritten | Self::National(_) => None,
        }
    }
}

/// A number that cannot be one. It does not say which: only how long it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the recipient has {digits} digits and cannot be a phone number: a number of +{code} has {lengths} after the country code; write a number of another country with +"
)]
pub struct UnfitNumber {
    /// How many digits it has.
    digits: usize,
    /// The country that it was read in.
    code: &'static str,
    /// `9`, `7, 8 or 10`.
    lengths: String,
}

impl NumberingPlan {
    /// The plan of a calling code without `+`; none if no country has it.
    pub fn of(code: &str) -> Option<Self> {
        let mut lines = CALLING_CODES.lines();
        let line = lines.find(|line| line.split('\t').next() == Some(code))?;
        Self::parse(line)
    }

    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        let mut column = || columns.next();
        Some(Self {
            code: column()?,
            trunk_prefixes: column()?
                .split(' ')
                .filter(|text| !text.is_empty())
                .collect(),
            mobile: Lengths::parse(column()?),
            all: Lengths::parse(column()?),
        })
    }

    /// The plan of a number in international form.
    fn of_number(digits: &str) -> Option<Self> {
        // No calling code begins with another one.
        (1..=3).find_map(|length| Self::of(digits.get(..length)?))
    }

    /// The calling code: `998`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Reads a recipient as a backend writes it.
    pub fn read(&self, text: &str) -> NumberReading {
        let text = text.trim();
        if text.starts_with('+') || text.starts_with("00") {
            return self.read_international(text);
        }
        let digits = Msisdn::without_separators(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return NumberReading::AsWritten;
        }
        // A mobile number can begin with the digits of its own country's code, and then a shorter one of another kind
        // would fit too: +91 91 1234 5678. A message is for a mobile phone, so that a number abroad comes before a
        // national one of another kind: in Germany those have up to 15 digits, as many as any number abroad.
        if let Some(reading) = self.read_bare(&digits, &self.mobile) {
            return reading;
        }
        if has_length_of_its_country(&digits) {
            return NumberReading::AsWritten;
        }
        if let Some(reading) = self.read_bare(&digits, &self.all) {
            return reading;
        }
        if self.may_have_unknown_prefix(&digits) {
            NumberReading::AsWritten
        } else {
            self.unfit(digits.len())
        }
    }

    /// Whether a number has this country's code, and a length that the country uses.
    pub fn is_own(&self, text: &str) -> bool {
        let number = Msisdn::parse(text).ok();
        number.is_some_and(|number| {
            let rest = number.digits().strip_prefix(self.code);
            rest.is_some_and(|rest| self.all.0.contains(&rest.len()))
        })
    }

    /// Whether mobile numbers are so long that a number of another country without `+` can be one of them.
    pub fn has_mobile_numbers_like_those_abroad(&self) -> bool {
        self.longest_mobile() >= SHORTEST_USUAL_INTERNATIONAL
    }

    /// Whether a national mobile number of another country has a length that is read as a national one of this.
    pub fn reads_as_national(&self, other: &Self) -> bool {
        let mut lengths = other.mobile.0.iter();
        lengths.any(|length| self.mobile.0.contains(length) || self.all.0.contains(length))
    }

    /// The length of the longest mobile number, without the calling code.
    pub fn longest_mobile(&self) -> usize {
        self.mobile.0.iter().max().copied().unwrap_or_default()
    }

    /// A number without `+`, if it fits: with the country code, with a trunk prefix, or alone.
    fn read_bare(&self, digits: &str, lengths: &Lengths) -> Option<NumberReading> {
        let fits = |rest: Option<&str>| rest.is_some_and(|rest| lengths.0.contains(&rest.len()));
        if fits(digits.strip_prefix(self.code)) {
            return Some(NumberReading::AsWritten);
        }
        let mut prefixes = self.trunk_prefixes.iter();
        prefixes
            .find_map(|prefix| digits.strip_prefix(prefix).filter(|rest| fits(Some(*rest))))
            .or_else(|| fits(Some(digits)).then_some(digits))
            .and_then(|national| Msisdn::parse(&format!("+{}{national}", self.code)).ok())
            .map(NumberReading::National)
    }

    /// Plans only ever get longer, so that a number that is too long may be newer than this build. One that is too
    /// short never is.
    fn read_international(&self, text: &str) -> NumberReading {
        let Ok(number) = Msisdn::parse(text) else {
            return NumberReading::AsWritten;
        };
        let shortest = self.all.0.iter().min().copied().unwrap_or_default();
        match number.digits().strip_prefix(self.code) {
            Some(rest) if rest.len() < shortest => self.unfit(number.digits().len()),
            Some(_) | None => NumberReading::AsWritten,
        }
    }

    /// A long number that begins with a zero may have the prefix of calls abroad, which is not the same everywhere.
    fn may_have_unknown_prefix(&self, digits: &str) -> bool {
        let longest = self.all.0.iter().max().copied().unwrap_or_default();
        digits.starts_with('0') && digits.len() > longest
    }

    fn unfit(&self, digits: usize) -> NumberReading {
        NumberReading::Unfit(UnfitNumber {
            digits,
            code: self.code,
            lengths: self.all.describe(),
        })
    }
}

/// Whether a number in international form has a length that its country uses.
fn has_length_of_its_country(digits: &str) -> bool {
    NumberingPlan::of_number(digits).is_some_and(|plan| {
        let rest = digits.len().saturating_sub(plan.code.len());
        plan.all.0.contains(&rest) && Msisdn::parse(digits).is_ok()
    })
}

impl Lengths {
    fn parse(text: &str) -> Self {
        Self(
            text.split(' ')
                .filter_map(|length| length.parse().ok())
                .collect(),
        )
    }

    /// `9`, `7 or 8`, `7, 8 or 10`.
    fn describe(&self) -> String {
        let lengths: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        match lengths.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{} or {last}", before.join(", ")),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &str, text: &str) -> String {
        match NumberingPlan::of(code).unwrap().read(text) {
            NumberReading::AsWritten => "as written".to_owned(),
            NumberReading::National(number) => number.to_e164(),
            NumberReading::Unfit(unfit) => unfit.to_string(),
        }
    }

    #[test]
    fn a_national_number_gets_its_country_code() {
        for (code, text, expected) in [
            ("998", "901234567", "+998901234567"),
            ("998", " 90 123-45-67 ", "+998901234567"),
            ("998", "(90) 123.45.67", "+998901234567"),
            ("971", "0501234567", "+971501234567"),
            ("7", "8 (701) 123-45-67", "+77011234567"),
            ("7", "7011234567", "+77011234567"),
            ("36", "06201234567", "+36201234567"),
            ("375", "80291234567", "+375291234567"),
            ("375", "0291234567", "+375291234567"),
            ("1", "2025550123", "+12025550123"),
            // Begins with the country code, and with it is too short to be a mobile number.
            ("91", "9112345678", "+919112345678"),
            ("225", "0123456789", "+2250123456789"),
        ] {
            assert_eq!(read(code, text), expected, "{code} {text}");
        }
    }

    #[test]
    fn an_international_number_stays_as_it_is() {
        for (code, text) in [
            ("998", "998901234567"),
            ("998", "+998901234567"),
            ("998", "00998901234567"),
            ("998", "+12025550123"),
            ("998", "77011234567"),
            ("998", "905321234567"),
            ("91", "919112345678"),
            ("1", "12025550123"),
            ("49", "4915112345678"),
            // Newer than this build, or another kind of recipient.
            ("998", "+9989012345678"),
            ("998", "whatsapp:+998901234567"),
            ("998", "user@example.com"),
            ("998", ""),
            ("1", "011998901234567"),
        ] {
            assert_eq!(read(code, text), "as written", "{code} {text}");
        }
    }

    #[test]
    fn a_number_that_cannot_be_one_is_unfit() {
        for (code, text) in [
            ("998", "12345"),
            ("998", "90123456"),
            ("998", "9012345678"),
            ("998", "9989012345"),
            ("998", "+99890123456"),
            ("998", "1234567890123456789"),
            ("998", "0901"),
        ] {
            let found = read(code, text);
            assert!(
                found.contains("cannot be a phone number"),
                "{code} {text}: {found}"
            );
        }
        assert_eq!(
            read("998", "90123456"),
            "the recipient has 8 digits and cannot be a phone number: a number of +998 has 9 after the country code; write a number of another country with +"
        );
        assert!(read("231", "12").contains("has 7, 8 or 9 after"));
    }

    #[test]
    fn a_calling_code_is_one_of_the_table() {
        for wrong in ["", "99", "+998", "0", "UZ", "9989", "998 "] {
            assert_eq!(NumberingPlan::of(wrong), None, "{wrong}");
        }
        let codes: Vec<_> = CALLING_CODES
            .lines()
            .filter_map(NumberingPlan::parse)
            .collect();
        assert_eq!(codes.len(), CALLING_CODES.lines().count());
        for plan in &codes {
            assert!(!plan.all.0.is_empty(), "{}", plan.code);
            let begins = |other: &&NumberingPlan| other.code.starts_with(plan.code);
            assert_eq!(codes.iter().filter(begins).count(), 1, "{}", plan.code);
        }
    }
}
