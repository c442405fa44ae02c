//! Codes of a service: single ones, ranges (`"301..306"`) and patterns with `*`. Numbers and
//! strings compare alike, because services mix them.

use std::ops::Range;

use serde_json::Value;

use crate::dialect::expr::template::to_text;
use crate::sms::Cause;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CodeTest {
    Exact(String),
    Range(i64, i64),
    Glob(String),
}

impl CodeTest {
    pub(crate) fn parse(text: &str) -> Self {
        let range = text
            .split_once("..")
            .and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
        match range {
            Some((low, high)) => Self::Range(low, high),
            None if text.contains('*') => Self::Glob(text.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    pub(crate) fn is_match(&self, value: &Value) -> bool {
        self.is_match_text(to_text(value).trim())
    }

    pub(crate) fn is_match_text(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Range(low, high) => text
                .parse::<i64>()
                .is_ok_and(|code| (*low..=*high).contains(&code)),
            Self::Glob(pattern) => glob_match(pattern, text),
        }
    }

    /// A more specific test is compared earlier.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Exact(_) => 0,
            Self::Range(..) => 1,
            Self::Glob(_) => 2,
        }
    }

    /// Whether a code can match both; patterns may overlap, the more specific one wins.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Range(a, b), Self::Range(c, d)) => a <= d && c <= b,
            (Self::Exact(code), test @ Self::Range(..))
            | (test @ Self::Range(..), Self::Exact(code)) => test.is_match_text(code),
            (Self::Exact(one), Self::Exact(two)) | (Self::Glob(one), Self::Glob(two)) => one == two,
            (Self::Glob(_), Self::Exact(_) | Self::Range(..))
            | (Self::Exact(_) | Self::Range(..), Self::Glob(_)) => false,
        }
    }

    /// A matching code, to simulate the service.
    pub(crate) fn example(&self) -> String {
        match self {
            Self::Exact(code) => code.clone(),
            Self::Range(low, _) => low.to_string(),
            Self::Glob(pattern) => pattern.replace('*', "X"),
        }
    }
}

pub(crate) fn glob_match(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|rest| glob_match(tail, rest)))
        }),
    }
}

/// One entry of a code table.
#[derive(Clone, Debug)]
pub(crate) struct CodeMapping {
    pub(crate) test: CodeTest,
    pub(crate) cause: Cause,
    /// From `extends`: compared after the file's own codes.
    pub(crate) inherited: bool,
    pub(crate) span: Range<usize>,
}

/// Cause by code.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeTable(pub(crate) Vec<CodeMapping>);

impl CodeTable {
    pub(crate) fn new(mut entries: Vec<CodeMapping>) -> Self {
        entries.sort_by_key(|entry| (entry.inherited, entry.test.rank()));
        Self(entries)
    }

    pub(crate) fn cause(&self, code: &Value) -> Option<Cause> {
        self.0
            .iter()
            .find(|entry| entry.test.is_match(code))
            .map(|entry| entry.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn codes_match_as_numbers_and_as_text() {
        for (test, value, fits) in [
            ("100", json!(100), true),
            ("100", json!("100"), true),
            ("00", json!("00"), true),
            ("00", json!(0), false),
            ("301..306", json!(306), true),
            ("301..306", json!("307"), false),
            ("LimitExceeded.*", json!("LimitExceeded.Daily"), true),
            (
                "*#insufficient-credits",
                json!("https://x/errors#insufficient-credits"),
                true,
            ),
            ("*Exception", json!("Exceptional"), false),
            ("a*b*c", json!("axxbyyc"), true),
        ] {
            assert_eq!(
                CodeTest::parse(test).is_match(&value),
                fits,
                "{test} {value}"
            );
        }
    }

    #[test]
    fn the_more_exact_code_wins_and_ones_own_before_the_inherited() {
        let entry = |test: &str, cause, inherited| CodeMapping {
            test: CodeTest::parse(test),
            cause,
            inherited,
            span: 0..0,
        };
        let codes = CodeTable::new(vec![
            entry("Internal.*", Cause::ProviderFault, false),
            entry("Internal.Time", Cause::ClockSkew, false),
            entry("7", Cause::Throttled, true),
            entry("1..9", Cause::MessageInvalid, false),
        ]);
        assert_eq!(codes.cause(&json!("Internal.Time")), Some(Cause::ClockSkew));
        assert_eq!(
            codes.cause(&json!("Internal.Other")),
            Some(Cause::ProviderFault)
        );
        assert_eq!(codes.cause(&json!(7)), Some(Cause::MessageInvalid));
        assert_eq!(codes.cause(&json!(10)), None);
    }
}
