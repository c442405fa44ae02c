//! The 24 filters: what each does when a request is written, and its inverse when one is read.
//! A filter without an inverse reads nothing; a filter can only fail by having no value.

use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use crate::dialect::expr::template::to_text;
use crate::dialect::fields::PLACEHOLDER;

/// One step between source and field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Digits,
    Plus,
    National(String),
    Int,
    String,
    List,
    Join(String),
    Unit(u64),
    Between(i64, i64),
    Unix,
    Rfc2822,
    First(usize),
    Xml,
    Map(Vec<(String, String)>),
    Const(String),
    Only(String),
    Not(String),
    Hex(usize),
    Uuid,
    Number,
    Jwt,
}

/// The result of a filter's inverse.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Inverse {
    /// The value before the filter.
    Value(Value),
    /// The field means nothing by itself.
    Ignored,
    /// The message cannot express it: the request is provider-specific.
    Mismatch,
}

impl Filter {
    /// For the help line of an error.
    pub(crate) const NAMES: &str = "digits plus `national 90` int string list `join ,` seconds minutes hours milliseconds `between A B` unix \
        rfc2822 `first N` xml `map a=b c=d` `const X` `only P` `not P` `hex N` uuid number jwt";

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let args: Vec<&str> = words.collect();
        let plain = match name {
            "digits" => Some(Self::Digits),
            "plus" => Some(Self::Plus),
            "int" => Some(Self::Int),
            "string" => Some(Self::String),
            "list" => Some(Self::List),
            "milliseconds" => Some(Self::Unit(1)),
            "seconds" => Some(Self::Unit(1_000)),
            "minutes" => Some(Self::Unit(60_000)),
            "hours" => Some(Self::Unit(3_600_000)),
            "unix" => Some(Self::Unix),
            "rfc2822" => Some(Self::Rfc2822),
            "xml" => Some(Self::Xml),
            "uuid" => Some(Self::Uuid),
            "number" => Some(Self::Number),
            "jwt" => Some(Self::Jwt),
            _ => None,
        };
        match plain {
            Some(filter) if args.is_empty() => Ok(filter),
            Some(_) => Err(format!("the filter `{name}` takes no argument")),
            None => Self::parse_with(name, &args),
        }
    }

    fn parse_with(name: &str, args: &[&str]) -> Result<Self, String> {
        match (name, args) {
            ("national", [prefix]) => Ok(Self::National((*prefix).to_owned())),
            ("join", [with]) => Ok(Self::Join((*with).to_owned())),
            ("between", [low, high]) => match (low.parse(), high.parse()) {
                (Ok(low), Ok(high)) if low <= high => Ok(Self::Between(low, high)),
                _ => Err("`between` takes two whole numbers, the smaller first".into()),
            },
            ("first", [count]) => count
                .parse()
                .map(Self::First)
                .map_err(|_| "`first` takes a whole number".into()),
            ("hex", [count]) => match count.parse() {
                Ok(count) if (1..=64).contains(&count) => Ok(Self::Hex(count)),
                _ => Err("`hex` takes a number from 1 to 64".into()),
            },
            ("map", [_, ..]) => {
                let pairs = args.iter().map(|pair| {
                    pair.split_once('=')
                        .map(|(a, b)| (a.to_owned(), b.to_owned()))
                });
                pairs
                    .collect::<Option<Vec<_>>>()
                    .map(Self::Map)
                    .ok_or_else(|| "`map` takes pairs like `a=b`".into())
            }
            ("const", [_, ..]) => Ok(Self::Const(args.join(" "))),
            ("only", [prefix]) => Ok(Self::Only((*prefix).to_owned())),
            ("not", [prefix]) => Ok(Self::Not((*prefix).to_owned())),
            (
                "national" | "join" | "between" | "first" | "hex" | "map" | "const" | "only"
                | "not",
                _,
            ) => Err(format!(
                "the filter `{name}` has the wrong number of arguments"
            )),
            _ => Err(format!("`{name}` is not a filter")),
        }
    }

    /// What separates several values in one text.
    pub(crate) fn separator(&self) -> Option<&str> {
        if let Self::Join(with) = self {
            Some(with)
        } else {
            None
        }
    }

    /// Applies the filter when a request is written; none removes the field.
    pub(crate) fn apply(&self, value: Value) -> Option<Value> {
        Some(match self {
            Self::Digits => Value::String(to_text(&value).trim_start_matches('+').to_owned()),
            Self::Plus => Value::String(format!("+{}", to_text(&value).trim_start_matches('+'))),
            Self::National(prefix) => {
                Value::String(without_country_prefix(&to_text(&value), prefix))
            }
            Self::Int => Value::Number(to_integer(&value)?.into()),
            Self::String => Value::String(to_text(&value)),
            Self::List => Value::Array(vec![value]),
            Self::Join(_) | Self::Unix => value,
            Self::Unit(unit) => u64::try_from(to_integer(&value)?)
                .ok()?
                .div_ceil(*unit)
                .into(),
            Self::Between(low, high) => {
                Value::Number(to_integer(&value)?.clamp(*low, *high).into())
            }
            Self::Rfc2822 => Value::String(format_rfc2822(to_integer(&value)?)?),
            Self::First(count) => Value::String(to_text(&value).chars().take(*count).collect()),
            Self::Xml => Value::String(quick_xml::escape::escape(to_text(&value)).into_owned()),
            Self::Map(pairs) => mapped(pairs, &to_text(&value))?,
            Self::Const(text) => Value::String(text.clone()),
            Self::Only(prefix) => Some(value).filter(|value| to_text(value).starts_with(prefix))?,
            Self::Not(prefix) => Some(value).filter(|value| !to_text(value).starts_with(prefix))?,
            Self::Hex(count) => Value::String(hex_id(&to_text(&value), *count)),
            Self::Uuid => Value::String(uuid_id(&to_text(&value))),
            Self::Number => Value::Number(number_id(&to_text(&value))),
            Self::Jwt => Value::String(placeholder_jwt(&to_text(&value))),
        })
    }

    /// Inverts the filter when a request is read.
    pub(crate) fn invert(&self, value: Value) -> Inverse {
        match self {
            Self::National(prefix) => {
                Inverse::Value(Value::String(with_country_prefix(&to_text(&value), prefix)))
            }
            Self::List => Inverse::Value(unwrap_single_element(value)),
            Self::Join(with) => Inverse::Value(split_list(value, with)),
            Self::Unit(unit) => {
                let milliseconds = to_integer(&value)
                    .and_then(|count| u64::try_from(count).ok())
                    .and_then(|count| count.checked_mul(*unit));
                milliseconds.map_or(Inverse::Mismatch, |count| Inverse::Value(count.into()))
            }
            Self::Map(pairs) => match pairs.iter().find(|(_, to)| *to == to_text(&value)) {
                Some((from, _)) => Inverse::Value(Value::String(from.clone())),
                None => Inverse::Mismatch,
            },
            Self::Const(text) if to_text(&value) != *text => Inverse::Mismatch,
            Self::Const(_) | Self::Unix | Self::Rfc2822 | Self::Jwt => Inverse::Ignored,
            Self::Digits
            | Self::Plus
            | Self::Int
            | Self::String
            | Self::Between(..)
            | Self::First(_)
            | Self::Xml
            | Self::Only(_)
            | Self::Not(_)
            | Self::Hex(_)
            | Self::Uuid
            | Self::Number => Inverse::Value(value),
        }
    }
}

/// A whole number in any spelling: 5, 5.00, 5e0, "5".
pub(crate) fn to_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| exact_integer(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Beyond 2⁵³ a number with a point or an exponent is no longer exact.
fn exact_integer(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "exact: it has no fraction and is below 2⁵³"
    )]
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

fn unwrap_single_element(value: Value) -> Value {
    if let Value::Array(items) = &value
        && let [one] = items.as_slice()
    {
        return one.clone();
    }
    value
}

fn split_list(value: Value, with: &str) -> Value {
    let Value::String(text) = &value else {
        return value;
    };
    let mut items: Vec<Value> = text
        .split(with)
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(Value::from)
        .collect();
    if items.len() == 1 {
        items.pop().unwrap_or_default()
    } else {
        Value::Array(items)
    }
}

fn mapped(pairs: &[(String, String)], text: &str) -> Option<Value> {
    let (_, to) = pairs.iter().find(|(from, _)| from == text)?;
    Some(Value::String(to.clone()))
}

fn without_country_prefix(number: &str, prefix: &str) -> String {
    let digits = number.trim_start_matches('+');
    digits.strip_prefix(prefix).unwrap_or(digits).to_owned()
}

/// Whether the number is the same after it was written without the prefix. A service reads a leading zero, and the
/// prefix before a long number, as another spelling.
pub(crate) fn has_national_form(number: &str, prefix: &str) -> bool {
    with_country_prefix(&without_country_prefix(number, prefix), prefix) == number
}

fn with_country_prefix(number: &str, prefix: &str) -> String {
    let digits = number
        .trim()
        .trim_start_matches('+')
        .trim_start_matches('0');
    if digits.starts_with(prefix) && digits.len() > 10 {
        digits.to_owned()
    } else {
        format!("{prefix}{digits}")
    }
}

fn format_rfc2822(seconds: i64) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds)
        .ok()?
        .to_zoned_datetime(jiff::tz::TimeZone::UTC);
    Some(at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
}

/// `count` hexadecimal digits: the id itself if it has that form, else derived from it.
fn hex_id(id: &str, count: usize) -> String {
    if id.len() == count && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id.to_owned();
    }
    hex_encode(&Sha256::digest(id))
        .chars()
        .take(count)
        .collect()
}

fn uuid_id(id: &str) -> String {
    let shape: Vec<usize> = id.split('-').map(str::len).collect();
    if shape == [8, 4, 4, 4, 12]
        && id
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    {
        return id.to_owned();
    }
    let digits = hex_encode(&Sha256::digest(id));
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// A number that every client can represent exactly (below 2⁵³).
fn number_id(id: &str) -> Number {
    if let Some(number) = id
        .parse::<u64>()
        .ok()
        .filter(|number| *number < 1 << 53 && number.to_string() == id)
    {
        return number.into();
    }
    let head = Sha256::digest(id)
        .iter()
        .take(6)
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    (head | 1 << 47).into()
}

pub(crate) fn hex_encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        out.extend(char::from_digit(u32::from(byte >> 4), 16));
        out.extend(char::from_digit(u32::from(byte & 15), 16));
        out
    })
}

/// Whether the sidecar made this value as a placeholder.
pub(crate) fn is_placeholder(value: &str) -> bool {
    value == PLACEHOLDER || value == placeholder_jwt(PLACEHOLDER)
}

/// A placeholder with the form of a JWT, for clients that read its expiry.
fn placeholder_jwt(subject: &str) -> String {
    use base64::Engine;
    let encode = |text: String| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
    let mut claims = Map::new();
    claims.insert("exp".into(), 4_102_444_800_u64.into());
    claims.insert("iat".into(), 1_767_225_600_u64.into());
    claims.insert("role".into(), "user".into());
    claims.insert("sub".into(), subject.into());
    let head = encode(r#"{"alg":"HS256","typ":"JWT"}"#.into());
    format!(
        "{head}.{}.{}",
        encode(Value::Object(claims).to_string()),
        encode(subject.into())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(filter: &str, value: impl Into<Value>) -> Option<Value> {
        Filter::parse(filter).unwrap().apply(value.into())
    }

    fn back(filter: &str, value: impl Into<Value>) -> Inverse {
        Filter::parse(filter).unwrap().invert(value.into())
    }

    #[test]
    fn every_filter_writes_what_its_name_says() {
        for (filter, value, wanted) in [
            (
                "digits",
                Value::from("+998901234567"),
                Value::from("998901234567"),
            ),
            ("plus", "998901234567".into(), "+998901234567".into()),
            ("national 90", "905321234567".into(), "5321234567".into()),
            ("int", "42".into(), 42.into()),
            ("int", serde_json::from_str("42.00").unwrap(), 42.into()),
            ("int", serde_json::from_str("4.2e1").unwrap(), 42.into()),
            ("string", 42.into(), "42".into()),
            ("list", "a".into(), vec!["a"].into()),
            ("join ,", "a".into(), "a".into()),
            ("milliseconds", 90_000.into(), 90_000.into()),
            ("seconds", 90_000.into(), 90.into()),
            ("minutes", 90_000.into(), 2.into()),
            ("hours", 90_000.into(), 1.into()),
            ("between 60 1440", 5.into(), 60.into()),
            ("between 60 1440", 5000.into(), 1440.into()),
            ("unix", 1_767_323_045.into(), 1_767_323_045.into()),
            (
                "rfc2822",
                1_767_323_045.into(),
                "Fri, 02 Jan 2026 03:04:05 +0000".into(),
            ),
            ("first 3", "абвгд".into(), "абв".into()),
            ("xml", "<&\"'".into(), "&lt;&amp;&quot;&apos;".into()),
            (
                "map gsm7=text ucs2=unicode",
                "ucs2".into(),
                "unicode".into(),
            ),
            ("const X Y", "anything".into(), "X Y".into()),
            ("only MG", "MG1".into(), "MG1".into()),
            ("not MG", "3700".into(), "3700".into()),
            ("hex 4", "beef".into(), "beef".into()),
            (
                "uuid",
                "59bf10a2-aba8-4694-8fd5-0be20102a580".into(),
                "59bf10a2-aba8-4694-8fd5-0be20102a580".into(),
            ),
            ("number", "1234".into(), 1234.into()),
        ] {
            assert_eq!(out(filter, value), Some(wanted), "{filter}");
        }
        assert_eq!(out("only MG", "3700"), None);
        assert_eq!(out("not MG", "MG1"), None);
        assert_eq!(out("map a=b", "c"), None);
    }

    #[test]
    fn ids_of_ours_take_the_shape_that_is_asked() {
        let Some(Value::String(hex)) = out("hex 32", "our id") else {
            panic!("text")
        };
        assert!(hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(Value::String(uuid)) = out("uuid", "our id") else {
            panic!("text")
        };
        assert_eq!(uuid_id(&uuid), uuid, "a made one is one");
        let Some(Value::Number(number)) = out("number", "our id") else {
            panic!("number")
        };
        assert!(number.as_u64().unwrap() < 1 << 53);
        let Some(Value::String(token)) = out("jwt", "sms-sidecar") else {
            panic!("text")
        };
        assert_eq!(token.split('.').count(), 3);
    }

    #[test]
    fn a_number_has_a_national_form_if_it_is_read_as_the_same() {
        for (number, has_form) in [
            ("905321234567", true),
            ("900743419792", false),
            ("9090532123456", false),
            ("90905321234", true),
        ] {
            assert_eq!(has_national_form(number, "90"), has_form, "{number}");
        }
    }

    #[test]
    fn reading_backwards() {
        assert_eq!(back("join ,", "1,2"), Inverse::Value(vec!["1", "2"].into()));
        assert_eq!(back("join ,", "1"), Inverse::Value("1".into()));
        assert_eq!(back("list", vec!["1"]), Inverse::Value("1".into()));
        assert_eq!(back("minutes", "2"), Inverse::Value(120_000.into()));
        assert_eq!(back("minutes", "soon"), Inverse::Mismatch);
        assert_eq!(back("map a=b", "b"), Inverse::Value("a".into()));
        assert_eq!(back("map a=b", "binary"), Inverse::Mismatch);
        assert_eq!(
            back("national 90", "05321234567"),
            Inverse::Value("905321234567".into())
        );
        assert_eq!(back("const X", "X"), Inverse::Ignored);
        assert_eq!(back("const X", "Y"), Inverse::Mismatch);
    }

    #[test]
    fn wrong_filters_are_named() {
        for text in [
            "nonsense",
            "digits 3",
            "between 5",
            "between 9 1",
            "first x",
            "hex 65",
            "map a",
            "const",
            "",
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
