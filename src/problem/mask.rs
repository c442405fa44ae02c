//! One line of a file, fit to be shown: its values replaced unless their key is known to
//! hold none that is secret, its comments gone (people comment old passwords out).
//! It reads broken TOML as well as sound: what it cannot place, it masks.

use std::ops::Range;

/// What stands in place of a value.
const MASK: &str = "***";

/// Keys whose values name things, count, or choose; nobody's password has a home there.
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

/// Bytes of the file, and of the shown line.
type SpanMapping = (Range<usize>, Range<usize>);

/// A line to be shown, and where its bytes came from.
pub(super) struct MaskedLine {
    /// The text with its values replaced.
    pub(super) text: String,
    /// Where each replaced or kept piece was in the file, and is now.
    mappings: Vec<SpanMapping>,
}

impl MaskedLine {
    /// Where `span` of the file is in the shown text; inside a replaced value: the whole of it.
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

/// A position inside a piece that was kept moves with it; inside a replaced one it becomes `edge`.
fn map_offset(at: usize, was: &Range<usize>, is: &Range<usize>, edge: usize) -> usize {
    if was.len() == is.len() {
        is.start + at.clamp(was.start, was.end) - was.start
    } else {
        edge
    }
}

/// The line of `text` that occupies `line`, masked. `description`: the file holds no account.
pub(super) fn mask_line(text: &str, line: &Range<usize>, description: bool) -> MaskedLine {
    let mut shown = MaskedLine {
        text: String::new(),
        mappings: Vec::new(),
    };
    let mut done = line.start;
    for token in Scanner::new(text).tokens(line.end) {
        let (start, end) = (
            token.span.start.max(line.start),
            token.span.end.min(line.end),
        );
        if end <= line.start || start >= line.end || !token.is_secret(text, description) {
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

/// A value or a comment; keys and punctuation are no tokens.
struct ScannedToken<'a> {
    span: Range<usize>,
    key: &'a str,
    /// The first of a list.
    is_first: bool,
    is_comment: bool,
}

impl ScannedToken<'_> {
    fn is_secret(&self, text: &str, description: bool) -> bool {
        let value = text.get(self.span.clone()).unwrap_or_default();
        if self.is_comment || (value.contains('\n') && !description) {
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
        // A program's name is no secret; what it is given may be.
        let program = key == "command" && self.is_first && !value.contains(char::is_whitespace);
        let at_home = description || program || NON_SECRET_KEYS.contains(&key);
        let odd = looks_secret(value)
            || (!description && value.contains(|c: char| c.is_ascii_uppercase()));
        !at_home || (odd && !(description && value.contains('{')))
    }
}

/// Long runs of letters mixed with digits, user info in a URL, essays. Our own words and names have no capitals.
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

/// Tells values from keys. It follows strings and brackets and nothing more.
struct Scanner<'a> {
    text: &'a str,
    offset: usize,
    key: &'a str,
    /// The last thing that was no blank: decides whether a word may be a key.
    previous: char,
    /// `{` and `[` that are open.
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
            (self.previous, self.key) = ('\n', "");
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

    /// A word in quotes or bare: a key where one may stand and `=` follows, else a value.
    fn scan_word(&mut self) -> Option<ScannedToken<'a>> {
        let start = self.offset;
        self.offset += scalar_length(self.rest());
        let word = self.text.get(start..self.offset).unwrap_or_default();
        let inside = self.open_brackets.last() == Some(&'{') && matches!(self.previous, '{' | ',');
        let begins = self.open_brackets.is_empty() && self.previous == '\n';
        let dotted = self.previous == '.';
        let follows = self.rest().trim_start_matches([' ', '\t']).chars().next();
        if self.in_header {
            return None;
        }
        if (inside || begins || dotted)
            && (follows == Some('=') || word.ends_with('.') || follows == Some('.'))
        {
            (self.key, self.previous) = (word, if follows == Some('=') { ' ' } else { '.' });
            return None;
        }
        let first = self.previous == '[';
        self.previous = ' ';
        Some(ScannedToken {
            span: start..self.offset,
            key: self.key,
            is_first: first,
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
