//! One line of a file, fit to be shown: its values replaced unless their key is known to
//! hold none that is secret, its comments gone (people comment old passwords out).
//! It reads broken TOML as well as sound: what it cannot place, it masks.

use std::ops::Range;

/// What stands in place of a value.
const STARS: &str = "***";

/// Keys whose values name things, count, or choose; nobody's password has a home there.
const HARMLESS: &[&str] = &[
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
    "repeat_window",
    "source_address",
    "templates",
    "timeout",
    "uid",
    "unix",
    "vault",
];

/// Bytes of the file, and of the shown line.
type Piece = (Range<usize>, Range<usize>);

/// A line to be shown, and where its bytes came from.
pub(super) struct Line {
    /// The text with its values replaced.
    pub(super) text: String,
    /// Where each replaced or kept piece was in the file, and is now.
    pieces: Vec<Piece>,
}

impl Line {
    /// Where `span` of the file is in the shown text; inside a replaced value: the whole of it.
    pub(super) fn place(&self, span: &Range<usize>) -> Range<usize> {
        let start = self
            .pieces
            .iter()
            .find(|(was, _)| span.start < was.end)
            .map_or(self.text.len(), |(was, is)| moved(span.start, was, is, is.start));
        let last = self.pieces.iter().rev().find(|(was, _)| was.start < span.end);
        let end = last.map_or(start, |(was, is)| moved(span.end, was, is, is.end));
        let start = start.min(self.text.len());
        start..end.clamp(start, self.text.len())
    }
}

/// A position inside a piece that was kept moves with it; inside a replaced one it becomes `edge`.
fn moved(at: usize, was: &Range<usize>, is: &Range<usize>, edge: usize) -> usize {
    if was.len() == is.len() { is.start + at.clamp(was.start, was.end) - was.start } else { edge }
}

/// The line of `text` that occupies `line`, masked. `description`: the file holds no account.
pub(super) fn line(text: &str, line: &Range<usize>, description: bool) -> Line {
    let mut shown = Line { text: String::new(), pieces: Vec::new() };
    let mut done = line.start;
    for token in Scanner::new(text).tokens(line.end) {
        let (start, end) = (token.span.start.max(line.start), token.span.end.min(line.end));
        if end <= line.start || start >= line.end || !token.secret(text, description) {
            continue;
        }
        shown.keep(text, done..start);
        shown.replace(start..end, if token.comment { "" } else { STARS });
        done = end;
    }
    shown.keep(text, done..line.end);
    shown.text.truncate(shown.text.trim_end().len());
    shown
}

impl Line {
    fn keep(&mut self, text: &str, was: Range<usize>) {
        let kept = text.get(was.clone()).unwrap_or_default();
        let start = self.text.len();
        self.text.push_str(kept);
        self.pieces.push((was, start..self.text.len()));
    }

    fn replace(&mut self, was: Range<usize>, by: &str) {
        let start = self.text.len();
        self.text.push_str(by);
        self.pieces.push((was, start..self.text.len()));
    }
}

/// A value or a comment; keys and punctuation are no tokens.
struct Token<'a> {
    span: Range<usize>,
    key: &'a str,
    /// The first of a list.
    first: bool,
    comment: bool,
}

impl Token<'_> {
    fn secret(&self, text: &str, description: bool) -> bool {
        let value = text.get(self.span.clone()).unwrap_or_default();
        if self.comment || (value.contains('\n') && !description) {
            return true;
        }
        if matches!(value, "true" | "false") {
            return false;
        }
        let key = self.key.rsplit('.').next().unwrap_or_default().trim_matches(['"', '\'', ' ']);
        // A program's name is no secret; what it is given may be.
        let program = key == "command" && self.first && !value.contains(char::is_whitespace);
        let at_home = description || program || HARMLESS.contains(&key);
        let odd = looks_secret(value) || (!description && value.contains(|c: char| c.is_ascii_uppercase()));
        !at_home || (odd && !(description && value.contains('{')))
    }
}

/// Long runs of letters mixed with digits, user info in a URL, essays. Our own words and names have no capitals.
fn looks_secret(value: &str) -> bool {
    let mixed = |run: &str| run.len() >= 16 && run.bytes().any(|b| b.is_ascii_digit()) && run.bytes().any(|b| b.is_ascii_alphabetic());
    value.contains('@') || value.len() > 200 || value.split(|c: char| !c.is_ascii_alphanumeric()).any(mixed)
}

/// Tells values from keys. It follows strings and brackets and nothing more.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    key: &'a str,
    /// The last thing that was no blank: decides whether a word may be a key.
    before: char,
    /// `{` and `[` that are open.
    open: Vec<char>,
    header: bool,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, key: "", before: '\n', open: Vec::new(), header: false }
    }

    /// Every value and comment that begins before `until`.
    fn tokens(mut self, until: usize) -> Vec<Token<'a>> {
        let mut found = Vec::new();
        while let Some(next) = self.rest().chars().next().filter(|_| self.at < until) {
            match next {
                '\n' => self.newline(),
                '#' => found.push(self.comment()),
                '[' | ']' | '{' | '}' | '=' | ',' => self.mark(next),
                blank if blank.is_whitespace() => self.at += blank.len_utf8(),
                _ => found.extend(self.word()),
            }
        }
        found
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn newline(&mut self) {
        self.at += 1;
        self.header = false;
        if self.open.is_empty() {
            (self.before, self.key) = ('\n', "");
        }
    }

    fn comment(&mut self) -> Token<'a> {
        let start = self.at;
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        Token { span: start..self.at, key: "", first: false, comment: true }
    }

    fn mark(&mut self, mark: char) {
        self.at += 1;
        match mark {
            '[' if self.before == '\n' && self.open.is_empty() => self.header = true,
            // A bracket in the middle of an unquoted value is part of that value.
            '[' | '{' if matches!(self.before, '=' | '[' | ',' | '{') && !self.header => self.open.push(mark),
            ']' if self.open.last() == Some(&'[') => drop(self.open.pop()),
            '}' if self.open.last() == Some(&'{') => drop(self.open.pop()),
            _ => {}
        }
        if !self.header {
            self.before = mark;
        }
    }

    /// A word in quotes or bare: a key where one may stand and `=` follows, else a value.
    fn word(&mut self) -> Option<Token<'a>> {
        let start = self.at;
        self.at += word_length(self.rest());
        let word = self.text.get(start..self.at).unwrap_or_default();
        let inside = self.open.last() == Some(&'{') && matches!(self.before, '{' | ',');
        let begins = self.open.is_empty() && self.before == '\n';
        let dotted = self.before == '.';
        let follows = self.rest().trim_start_matches([' ', '\t']).chars().next();
        if self.header {
            return None;
        }
        if (inside || begins || dotted) && (follows == Some('=') || word.ends_with('.') || follows == Some('.')) {
            (self.key, self.before) = (word, if follows == Some('=') { ' ' } else { '.' });
            return None;
        }
        let first = self.before == '[';
        self.before = ' ';
        Some(Token { span: start..self.at, key: self.key, first, comment: false })
    }
}

fn word_length(rest: &str) -> usize {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(body) = rest.strip_prefix(quotes) {
            return body.find(quotes).map_or(rest.len(), |end| end + 6);
        }
    }
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return rest
            .find(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '{' | '}' | '=' | ',' | '#' | '"' | '\''))
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
