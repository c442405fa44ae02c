//! Masks one line of a file. A value is replaced unless its key is known to hold no secret, and
//! comments are removed, because people comment old passwords out. It handles broken TOML too:
//! whatever it cannot recognise is masked.

use std::ops::Range;

/// Replaces a value.
const MASK: &str = "***";

/// Keys whose values are names, counts or choices, never secrets.
const NON_SECRET_KEYS: &[&str] = &[
    "admin",
    "attempts",
    "base_url",
    "body",
    "ca_file",
    "callers",
    "cert_file",
    "client",
    "connections",
    "control",
    "deadline",
    "dialect",
    "dialects",
    "drain",
    "duplicate_window",
    "experimental",
    "file",
    "format",
    "headers",
    "idle",
    "insecure_http",
    "interval",
    "key_file",
    "level",
    "metrics",
    "mode",
    "name",
    "on_unknown",
    "operations",
    "other_hosts",
    "path",
    "prefer",
    "providers",
    "proxy",
    "recheck",
    "recipients",
    "source_address",
    "templates",
    "timeout",
    "uid",
    "unix",
    "vault",
];

/// A byte range of the file, and its range in the shown line.
type SpanMapping = (Range<usize>, Range<usize>);

/// A masked line, and where its pieces come from.
pub(super) struct MaskedLine {
    /// The text with its values replaced.
    pub(super) text: String,
    /// The place of each piece in the file, and in `text`.
    mappings: Vec<SpanMapping>,
}

impl MaskedLine {
    /// Maps a span of the file to the shown text; a span inside a replaced value maps to the mask.
    pub(super) fn map_span(&self, span: &Range<usize>) -> Range<usize> {
        let start = self
            .mappings
            .iter()
            .find(|(was, _)| span.start < was.end)
            .map_or(self.text.len(), |(was, is)| {
                map_offset(span.start, was, is, is.start)
            });
        let last = self
            .mappings
            .iter()
            .rev()
            .find(|(was, _)| was.start < span.end);
        let end = last.map_or(start, |(was, is)| map_offset(span.end, was, is, is.end));
        let start = start.min(self.text.len());
        start..end.clamp(start, self.text.len())
    }
}

/// Maps a position inside a kept piece to the same character, inside a replaced one to `edge`.
fn map_offset(at: usize, was: &Range<usize>, is: &Range<usize>, edge: usize) -> usize {
    if was.len() == is.len() {
        is.start + at.clamp(was.start, was.end) - was.start
    } else {
        edge
    }
}

/// Masks the line of `text` at the byte range `line`. `is_dialect`: the file is a description.
pub(super) fn mask_line(text: &str, line: &Range<usize>, is_dialect: bool) -> MaskedLine {
    let mut shown = MaskedLine {
        text: String::new(),
        mappings: Vec::new(),
    };
    let mut done = line.start;
    for token in Scanner::new(text).tokens(line.end) {
        let start = token.span.start.max(line.start);
        let end = token.span.end.min(line.end);
        if end <= line.start || start >= line.end || !token.is_secret(text, is_dialect) {
            continue;
        }
        shown.push_verbatim(text, done..start);
        shown.push_masked(start..end, if token.is_comment { "" } else { MASK });
        done = end;
    }
    shown.push_verbatim(text, done..line.end);
    shown.text.truncate(shown.text.trim_end().len());
    shown
}

impl MaskedLine {
    fn push_verbatim(&mut self, text: &str, was: Range<usize>) {
        let kept = text.get(was.clone()).unwrap_or_default();
        let start = self.text.len();
        self.text.push_str(kept);
        self.mappings.push((was, start..self.text.len()));
    }

    fn push_masked(&mut self, was: Range<usize>, by: &str) {
        let start = self.text.len();
        self.text.push_str(by);
        self.mappings.push((was, start..self.text.len()));
    }
}

/// A value or a comment. Keys and punctuation are not tokens.
struct ScannedToken<'a> {
    span: Range<usize>,
    key: &'a str,
    /// Whether it is the first of a list.
    is_first: bool,
    is_comment: bool,
}

impl ScannedToken<'_> {
    fn is_secret(&self, text: &str, is_dialect: bool) -> bool {
        let value = text.get(self.span.clone()).unwrap_or_default();
        if self.is_comment || (value.contains('\n') && !is_dialect) {
            return true;
        }
        if matches!(value, "true" | "false") {
            return false;
        }
        let key = self
            .key
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .trim_matches(['"', '\'', ' ']);
        // A program's name is not secret; its arguments may be.
        let is_program = key == "command" && self.is_first && !value.contains(char::is_whitespace);
        let is_public_key = is_dialect || is_program || NON_SECRET_KEYS.contains(&key);
        // Names and choices in a config have no capitals.
        let is_suspicious = looks_secret(value)
            || (!is_dialect && value.contains(|c: char| c.is_ascii_uppercase()));
        !is_public_key || (is_suspicious && !(is_dialect && value.contains('{')))
    }
}

/// Whether a value has a long run of letters and digits, user info of a URL, or is very long.
fn looks_secret(value: &str) -> bool {
    let mixed = |run: &str| {
        run.len() >= 16
            && run.bytes().any(|b| b.is_ascii_digit())
            && run.bytes().any(|b| b.is_ascii_alphabetic())
    };
    value.contains('@')
        || value.len() > 200
        || value.split(|c: char| !c.is_ascii_alphanumeric()).any(mixed)
}

/// Separates values from keys; tracks only strings and brackets.
struct Scanner<'a> {
    text: &'a str,
    offset: usize,
    key: &'a str,
    /// The last character that was not blank; decides whether a word may be a key.
    previous: char,
    /// The open `{` and `[`.
    open_brackets: Vec<char>,
    in_header: bool,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            key: "",
            previous: '\n',
            open_brackets: Vec::new(),
            in_header: false,
        }
    }

    /// Every value and comment that begins before `until`.
    fn tokens(mut self, until: usize) -> Vec<ScannedToken<'a>> {
        let mut found = Vec::new();
        while let Some(next) = self.rest().chars().next().filter(|_| self.offset < until) {
            match next {
                '\n' => self.scan_newline(),
                '#' => found.push(self.scan_comment()),
                '[' | ']' | '{' | '}' | '=' | ',' => self.scan_punctuation(next),
                blank if blank.is_whitespace() => self.offset += blank.len_utf8(),
                _ => found.extend(self.scan_word()),
            }
        }
        found
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn scan_newline(&mut self) {
        self.offset += 1;
        self.in_header = false;
        if self.open_brackets.is_empty() {
            self.previous = '\n';
            self.key = "";
        }
    }

    fn scan_comment(&mut self) -> ScannedToken<'a> {
        let start = self.offset;
        self.offset += self.rest().find('\n').unwrap_or(self.rest().len());
        ScannedToken {
            span: start..self.offset,
            key: "",
            is_first: false,
            is_comment: true,
        }
    }

    fn scan_punctuation(&mut self, mark: char) {
        self.offset += 1;
        match mark {
            '[' if self.previous == '\n' && self.open_brackets.is_empty() => self.in_header = true,
            // A bracket in the middle of an unquoted value is part of that value.
            '[' | '{' if matches!(self.previous, '=' | '[' | ',' | '{') && !self.in_header => {
                self.open_brackets.push(mark);
            }
            ']' if self.open_brackets.last() == Some(&'[') => drop(self.open_brackets.pop()),
            '}' if self.open_brackets.last() == Some(&'{') => drop(self.open_brackets.pop()),
            _ => {}
        }
        if !self.in_header {
            self.previous = mark;
        }
    }

    /// Scans a word, quoted or bare: a key if `=` follows where a key may be, else a value.
    fn scan_word(&mut self) -> Option<ScannedToken<'a>> {
        let start = self.offset;
        self.offset += scalar_length(self.rest());
        let word = self.text.get(start..self.offset).unwrap_or_default();
        let in_table =
            self.open_brackets.last() == Some(&'{') && matches!(self.previous, '{' | ',');
        let at_line_start = self.open_brackets.is_empty() && self.previous == '\n';
        let after_dot = self.previous == '.';
        let next = self.rest().trim_start_matches([' ', '\t']).chars().next();
        if self.in_header {
            return None;
        }
        if (in_table || at_line_start || after_dot)
            && (next == Some('=') || word.ends_with('.') || next == Some('.'))
        {
            self.key = word;
            self.previous = if next == Some('=') { ' ' } else { '.' };
            return None;
        }
        let is_first = self.previous == '[';
        self.previous = ' ';
        Some(ScannedToken {
            span: start..self.offset,
            key: self.key,
            is_first,
            is_comment: false,
        })
    }
}

fn scalar_length(rest: &str) -> usize {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(body) = rest.strip_prefix(quotes) {
            return body.find(quotes).map_or(rest.len(), |end| end + 6);
        }
    }
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return rest
            .find(|c: char| {
                c.is_whitespace()
                    || matches!(c, '[' | ']' | '{' | '}' | '=' | ',' | '#' | '"' | '\'')
            })
            .unwrap_or(rest.len());
    };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}
