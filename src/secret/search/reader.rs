//! Reads characters as a reader of the decoded text sees them, without decoding the text: one
//! character at one place, through any number of escapes on top of each other. The escapes are those
//! of JSON, programs and CSS (`\`), URLs (`%`), XML and HTML (`&`), and mail (`=`).

use std::cell::Cell;

/// The number of different kinds of escapes on top of each other that are read: an entity in JSON in a form in HTML.
/// The same kind on top of itself (`%252541`) is read at any depth.
pub(super) const MAX_LEVELS: u8 = 4;
/// The number of times that a mark may stand for itself, of which each is a reading of its own.
const MAX_OWN_READINGS: usize = 6;
/// A longer tag or comment does not split a word.
const MAX_MARKUP_CHARS: usize = 256;

/// How much may still be read of one text and of what it decodes to; it keeps every search linear.
#[derive(Debug)]
pub(super) struct Work {
    left: Cell<usize>,
}

impl Work {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            left: Cell::new(steps),
        }
    }

    pub(super) fn spend(&self, steps: usize) {
        self.left.set(self.left.get().saturating_sub(steps));
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }
}

/// One character, and where it ends in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) char: char,
    pub(super) end: usize,
}

/// Reads one text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'t> {
    pub(super) text: &'t [u8],
    /// Whether `=41` is read as an escape.
    pub(super) quoted_printable: bool,
    /// Whether an escape is read only if its end is marked: what follows may be a part of it.
    pub(super) needs_end: bool,
    pub(super) work: &'t Work,
}

/// Whether an escape can begin with it.
pub(super) fn is_mark(character: char) -> bool {
    matches!(character, '\\' | '%' | '&' | '=')
}

impl<'t> Reader<'t> {
    /// The character at this place, with this number of levels of escapes removed.
    pub(super) fn read(&self, at: usize, level: u8) -> Option<Reading> {
        self.work.spend(1);
        let mut best = self.raw(at)?;
        for lower in 0..level {
            if !is_mark(best.char) {
                break;
            }
            let mark = best;
            self.escapes(mark, lower, &mut |reading| best = reading);
        }
        Some(best)
    }

    /// The character as it is written.
    pub(super) fn raw(&self, at: usize) -> Option<Reading> {
        let first = *self.text.get(at)?;
        if first.is_ascii() {
            let char = char::from(first);
            return Some(Reading { char, end: at + 1 });
        }
        let length = sequence_length(first).unwrap_or(1);
        let bytes = self.text.get(at..at + length).unwrap_or_default();
        let read = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.chars().next());
        Some(Reading {
            char: read.unwrap_or_else(|| lone_byte(first)),
            end: at + read.map_or(1, char::len_utf8),
        })
    }

    /// Calls `found` with every reading of the escape that `mark` begins, the likeliest one last.
    pub(super) fn escapes(&self, mark: Reading, level: u8, found: &mut dyn FnMut(Reading)) {
        let own = match mark.char {
            '\\' => "\\",
            '%' => "25",
            '&' => "amp;",
            '=' if self.quoted_printable => "3d",
            _ => return,
        };
        let mut cursor = self.cursor(mark.end, level);
        let mut own_readings = 0;
        while cursor.take(own) {
            own_readings += 1;
            if own_readings <= MAX_OWN_READINGS && mark.char != '\\' {
                found(cursor.reading(mark.char));
            }
        }
        match mark.char {
            '\\' => {
                if own_readings > 0 {
                    found(cursor.reading('\\'));
                }
                cursor.backslash(found);
            }
            '%' => cursor.percent().into_iter().for_each(found),
            '&' => cursor.entity().into_iter().for_each(found),
            _ => cursor.quoted_printable().into_iter().for_each(found),
        }
    }

    /// Calls `found` with each end of the markup that `open` begins: of a tag, a comment, or the marks of CDATA.
    pub(super) fn markup(&self, open: Reading, level: u8, found: &mut dyn FnMut(usize)) {
        let mut cursor = self.cursor(open.end, level);
        match open.char {
            ']' if cursor.take("]>") => found(cursor.at),
            '<' if cursor.take("![CDATA[") => found(cursor.at),
            '<' => cursor.tag(found),
            _ => {}
        }
    }

    /// Where the opening mark of CDATA ends, if `open` begins one.
    pub(super) fn cdata(&self, open: Reading, level: u8) -> Option<usize> {
        let mut cursor = self.cursor(open.end, level);
        cursor.take("![CDATA[").then_some(cursor.at)
    }

    fn cursor(&self, at: usize, level: u8) -> Cursor<'t> {
        Cursor {
            reader: *self,
            at,
            level,
        }
    }
}

/// Bytes that are no character by themselves are these characters, which nobody uses.
const LONE_BYTES: u32 = 0x0010_ff00;

fn lone_byte(byte: u8) -> char {
    char::from_u32(LONE_BYTES + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that this character is read for.
pub(super) fn as_lone_byte(char: char) -> Option<u8> {
    let byte = u32::from(char).checked_sub(LONE_BYTES)?;
    u8::try_from(byte).ok()
}

/// The number of bytes of a UTF-8 sequence that begins with this byte.
pub(super) fn sequence_length(first: u8) -> Option<usize> {
    match first {
        0..=0x7f => Some(1),
        0xc2..=0xdf => Some(2),
        0xe0..=0xef => Some(3),
        0xf0..=0xf4 => Some(4),
        _ => None,
    }
}

/// Reads on from one place, on one level.
#[derive(Clone, Copy)]
struct Cursor<'t> {
    reader: Reader<'t>,
    at: usize,
    level: u8,
}

impl Cursor<'_> {
    fn reading(&self, char: char) -> Reading {
        Reading { char, end: self.at }
    }

    fn peek(&self) -> Option<Reading> {
        self.reader.read(self.at, self.level)
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at = next.end;
        Some(next.char)
    }

    /// Moves on if this follows, in upper or lower case.
    fn take(&mut self, wanted: &str) -> bool {
        let mut ahead = *self;
        let follows = wanted.chars().all(|wanted| {
            ahead
                .next()
                .is_some_and(|next| next.eq_ignore_ascii_case(&wanted))
        });
        if follows {
            *self = ahead;
        }
        follows
    }

    /// A number of at least `min` and at most `max` digits.
    fn number(&mut self, radix: u32, min: usize, max: usize) -> Option<u32> {
        let mut ahead = *self;
        let mut value: u32 = 0;
        let mut count = 0;
        while count < max
            && let Some(next) = ahead.peek()
            && let Some(digit) = next.char.to_digit(radix)
        {
            value = value.checked_mul(radix)?.checked_add(digit)?;
            ahead.at = next.end;
            count += 1;
        }
        (count >= min).then(|| {
            *self = ahead;
            value
        })
    }

    fn backslash(mut self, found: &mut dyn FnMut(Reading)) {
        let escape = self;
        if let Some(reading) = escape.css() {
            found(reading);
        }
        if let Some(reading) = escape.bytes(Self::octal_byte) {
            found(reading);
        }
        let reading = match self.next() {
            Some('u') => self.braced_or(4).and_then(|unit| self.utf16(unit)),
            Some('U') => self.number(16, 8, 8).and_then(|code| self.character(code)),
            Some('x' | 'X') if self.take("{") => self
                .number(16, 1, 6)
                .filter(|_| self.take("}"))
                .and_then(|code| self.character(code)),
            Some('x' | 'X') => escape.bytes(Self::hex_byte),
            Some('n' | 'r' | 't' | 'b' | 'f' | 'v') => Some(self.reading(' ')),
            Some(plain @ ('"' | '\'' | '/' | '`')) => Some(self.reading(plain)),
            Some(_) | None => None,
        };
        reading.into_iter().for_each(found);
    }

    /// `{53}`, or exactly this number of hexadecimal digits.
    fn braced_or(&mut self, digits: usize) -> Option<u32> {
        if self.take("{") {
            self.number(16, 1, 6).filter(|_| self.take("}"))
        } else {
            self.number(16, digits, digits)
        }
    }

    fn character(&self, code: u32) -> Option<Reading> {
        char::from_u32(code).map(|char| self.reading(char))
    }

    /// The character of a UTF-16 unit, which can need a second one.
    fn utf16(&self, first: u32) -> Option<Reading> {
        if let Some(reading) = self.character(first) {
            return Some(reading);
        }
        let mut ahead = *self;
        while ahead.take("\\") {}
        let second = ahead.take("u").then(|| ahead.number(16, 4, 4)).flatten()?;
        let units = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
        let char = char::decode_utf16(units).next()?.ok()?;
        Some(ahead.reading(char))
    }

    /// CSS: up to six hexadecimal digits, and one blank that ends them.
    fn css(mut self) -> Option<Reading> {
        let start = self.at;
        let code = self.number(16, 1, 6)?;
        let char = char::from_u32(code)?;
        let blank = self.peek().filter(|next| next.char.is_ascii_whitespace());
        if blank.is_none() && self.reader.needs_end && self.at < start + 6 {
            return None;
        }
        self.at = blank.map_or(self.at, |blank| blank.end);
        Some(self.reading(char))
    }

    fn percent(mut self) -> Option<Reading> {
        let escape = self;
        if self.take("u") {
            let unit = self.braced_or(4)?;
            return self.character(unit);
        }
        escape.bytes(|cursor| {
            if cursor.at != escape.at && !cursor.take("%") {
                return None;
            }
            while cursor.at != escape.at && cursor.take("25") {}
            cursor.number(16, 2, 2)
        })
    }

    fn quoted_printable(self) -> Option<Reading> {
        let start = self.at;
        let mut line_end = self;
        if line_end.take("\r\n") || line_end.take("\n") {
            return Some(line_end.reading(' '));
        }
        self.bytes(|cursor| {
            if cursor.at != start && !cursor.take("=") {
                return None;
            }
            cursor.number(16, 2, 2)
        })
    }

    /// `x53`, with the backslash if it is not the first byte.
    fn hex_byte(&mut self) -> Option<u32> {
        while self.take("\\") {}
        self.take("x").then(|| self.number(16, 2, 2)).flatten()
    }

    /// `123`, with the backslash if it is not the first byte.
    fn octal_byte(&mut self) -> Option<u32> {
        while self.take("\\") {}
        self.number(8, 3, 3)
    }

    /// A character of one to four bytes of UTF-8, each an escape that `next` reads.
    fn bytes(self, next: impl Fn(&mut Self) -> Option<u32>) -> Option<Reading> {
        let mut ahead = self;
        let first = u8::try_from(next(&mut ahead)?).ok()?;
        let after_first = ahead;
        let mut bytes = vec![first];
        for _ in 1..sequence_length(first).unwrap_or(1) {
            let byte = next(&mut ahead).and_then(|byte| u8::try_from(byte).ok());
            bytes.extend(byte);
        }
        let read = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.chars().next());
        Some(match read {
            Some(char) => ahead.reading(char),
            None => after_first.reading(lone_byte(first)),
        })
    }

    /// An entity with or without its semicolon, as browsers read it. A name that is not in the table stands for a
    /// character that does not count.
    fn entity(mut self) -> Option<Reading> {
        if self.take("#") {
            let radix = if self.take("x") { 16 } else { 10 };
            let before = self.at;
            while self.take("0") {}
            let code = match self.number(radix, 1, 7) {
                Some(code) => code,
                None if self.at != before => 0,
                None => return None,
            };
            if !self.take(";") && self.reader.needs_end {
                return None;
            }
            return Some(self.reading(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
        self.named_entity()
    }

    fn named_entity(mut self) -> Option<Reading> {
        let mut name = String::new();
        let mut known = None;
        while name.len() < MAX_NAME_CHARS
            && let Some(next) = self.peek().filter(|next| next.char.is_ascii_alphanumeric())
        {
            name.push(next.char);
            self.at = next.end;
            if let Some(entity) = ENTITIES.iter().find(|(entity, _)| *entity == name) {
                known = Some((name.len(), self.reading(entity.1)));
            }
        }
        let is_closed = self.take(";");
        match known {
            Some((length, reading)) if length == name.len() => Some(Reading {
                end: self.at,
                ..reading
            }),
            _ if is_closed && name.len() > 1 => Some(self.reading(char::REPLACEMENT_CHARACTER)),
            Some((_, reading)) if !self.reader.needs_end => Some(reading),
            Some(_) | None => None,
        }
    }

    /// Both ends that a tag can have: the first `>`, and the first one that is not in quotes. A comment has its own.
    fn tag(mut self, found: &mut dyn FnMut(usize)) {
        let mut markup = Markup::default();
        let mut first_end = None;
        for _ in 0..MAX_MARKUP_CHARS {
            let Some(next) = self.next() else {
                break;
            };
            match markup.read(next) {
                MarkupPart::NotMarkup => return,
                MarkupPart::Inside | MarkupPart::Inner if next == '>' => {
                    first_end = first_end.or(Some(self.at));
                }
                MarkupPart::Inside | MarkupPart::Inner => {}
                MarkupPart::End => {
                    first_end.into_iter().for_each(&mut *found);
                    return found(self.at);
                }
            }
        }
        first_end.into_iter().for_each(found);
    }
}

const MAX_NAME_CHARS: usize = 32;

/// Where a reader of markup is after a `<`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Markup {
    chars: usize,
    is_comment: bool,
    quote: Option<char>,
    /// The number of tags inside of it: one tag can split another.
    inner: usize,
    before: [char; 2],
}

/// What one character after a `<` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkupPart {
    /// The `<` began nothing.
    NotMarkup,
    Inside,
    /// Inside of a tag that is inside of it.
    Inner,
    End,
}

impl Markup {
    pub(super) fn read(&mut self, next: char) -> MarkupPart {
        self.chars += 1;
        let before = self.before;
        self.before = [before[1], next];
        if self.chars == 1 && !next.is_ascii_alphabetic() && !matches!(next, '/' | '!' | '?') {
            return MarkupPart::NotMarkup;
        }
        if self.chars == 3 && before == ['!', '-'] && next == '-' {
            self.is_comment = true;
            return MarkupPart::Inside;
        }
        let is_end = match (self.is_comment, self.quote, next) {
            (true, _, '>') => self.chars > 4 && before == ['-', '-'],
            (false, None, '<') => {
                self.inner += 1;
                false
            }
            (false, None, '>') if self.inner > 0 => {
                self.inner -= 1;
                false
            }
            (false, None, '>') => true,
            (false, None, '"' | '\'') if before[1] == '=' => {
                self.quote = Some(next);
                false
            }
            (false, Some(quote), next) if quote == next => {
                self.quote = None;
                false
            }
            (_, _, _) => false,
        };
        if is_end {
            MarkupPart::End
        } else if self.inner > 0 || next == '>' {
            MarkupPart::Inner
        } else {
            MarkupPart::Inside
        }
    }
}

/// The entities of XML, and those of HTML for ASCII characters.
const ENTITIES: [(&str, char); 46] = [
    ("amp", '&'),
    ("AMP", '&'),
    ("lt", '<'),
    ("LT", '<'),
    ("gt", '>'),
    ("GT", '>'),
    ("quot", '"'),
    ("QUOT", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("Tab", '\t'),
    ("NewLine", '\n'),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("Hat", '^'),
    ("lowbar", '_'),
    ("UnderBar", '_'),
    ("grave", '`'),
    ("DiacriticalGrave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("VerticalLine", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
];
