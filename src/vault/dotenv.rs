//! Reads `.env` files by the rules of npm's `dotenv`, which the backends use: with its regular
//! expression, so that every value reads the same here and there. Does not expand variables, and
//! neither does `dotenv`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use zeroize::Zeroizing;

/// One assignment, in the order of the file; the last one of a name is valid.
pub struct DotenvVariable {
    /// Its name.
    pub name: String,
    /// Its value, unquoted.
    pub value: Zeroizing<String>,
    /// The value's bytes in the file, quotes included.
    pub span: Range<usize>,
    /// The quotes around the value.
    pub quote: Option<char>,
}

impl std::fmt::Debug for DotenvVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Variable({})", self.name)
    }
}

// JavaScript's \s, \w and `.` spelled out: Rust's differ (no U+FEFF in \s, Unicode in \w).
#[expect(
    clippy::expect_used,
    reason = "a constant; every test of this file compiles it"
)]
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    let s = r"[\t\n\x0B\x0C\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}]";
    let pattern = format!(
        r#"(?m)^{s}*(?:export{s}+)?([A-Za-z0-9_.-]+)({s}*={s}*?|:{s}+?)({s}*'(?:\\'|[^'])*'|{s}*"(?:\\"|[^"])*"|{s}*`(?:\\`|[^`])*`|[^\#\r\n]+)?{s}*(?:\#[^\n\r\u{{2028}}\u{{2029}}]*)?$"#
    );
    Regex::new(&pattern).expect("the pattern of dotenv")
});

/// Every assignment in `text`.
pub fn parse(text: &str) -> Vec<DotenvVariable> {
    let lines = NormalizedText::new(text);
    LINE.captures_iter(&lines.text)
        .filter_map(|found| {
            let name = found.get(1)?.as_str().to_owned();
            let empty = found.get(2)?.end();
            let raw = found.get(3).map_or(empty..empty, |value| value.range());
            Some(lines.build_variable(name, raw))
        })
        .collect()
}

/// `text` with the values of the names in `placeholders` replaced, and every other byte unchanged.
/// None if a placeholder cannot be written so that it reads back unchanged.
pub fn replace_values(
    text: &str,
    placeholders: &BTreeMap<String, String>,
) -> Option<Zeroizing<String>> {
    let before = parse(text);
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 64 * placeholders.len()));
    let mut done = 0;
    for variable in &before {
        let Some(placeholder) = placeholders.get(&variable.name) else {
            continue;
        };
        out.push_str(text.get(done..variable.span.start)?);
        out.extend(variable.quote);
        out.push_str(placeholder);
        out.extend(variable.quote);
        done = variable.span.end;
    }
    out.push_str(text.get(done..)?);
    let after = parse(&out);
    let holds = after.len() == before.len()
        && before.iter().zip(&after).all(|(old, new)| {
            old.name == new.name && *new.value == *placeholders.get(&old.name).unwrap_or(&old.value)
        });
    holds.then_some(out)
}

/// The text with normalized line ends, and the original position of each of its bytes.
struct NormalizedText {
    text: Zeroizing<String>,
    offsets: Vec<usize>,
}

impl NormalizedText {
    fn new(text: &str) -> Self {
        let mut lines = Self {
            text: Zeroizing::new(String::with_capacity(text.len())),
            offsets: Vec::with_capacity(text.len() + 1),
        };
        let mut chars = text.char_indices().peekable();
        while let Some((at, char)) = chars.next() {
            if char == '\r' && chars.peek().is_some_and(|(_, next)| *next == '\n') {
                continue;
            }
            let char = if char == '\r' { '\n' } else { char };
            lines.text.push(char);
            lines.offsets.extend(at..at + char.len_utf8());
        }
        lines.offsets.push(text.len());
        lines
    }

    fn build_variable(&self, name: String, raw: Range<usize>) -> DotenvVariable {
        let found = self.text.get(raw.clone()).unwrap_or_default();
        let value = found.trim_matches(is_space);
        let begins = raw.start + (found.len() - found.trim_start_matches(is_space).len());
        let begins = if value.is_empty() { raw.start } else { begins };
        let first = value.chars().next();
        let bare = first
            .filter(|first| matches!(first, '\'' | '"' | '`'))
            .and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        let mut clear = Zeroizing::new(bare.unwrap_or(value).to_owned());
        if first == Some('"') {
            clear = Zeroizing::new(clear.replace("\\n", "\n"));
            clear = Zeroizing::new(clear.replace("\\r", "\r"));
        }
        let span = self.original_offset(begins)..self.original_offset(begins + value.len());
        DotenvVariable {
            name,
            value: clear,
            span,
            quote: first.filter(|_| bare.is_some()),
        }
    }

    fn original_offset(&self, at: usize) -> usize {
        self.offsets
            .get(at)
            .or(self.offsets.last())
            .copied()
            .unwrap_or_default()
    }
}

/// The characters that JavaScript's `trim` removes.
fn is_space(char: char) -> bool {
    char == '\u{FEFF}' || (char.is_whitespace() && char != '\u{85}')
}

#[cfg(test)]
mod tests;
