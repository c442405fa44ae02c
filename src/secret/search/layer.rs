//! A text, decoded so far, and the source of each byte: what is found in it is marked in the source.

use std::borrow::Cow;
use std::ops::Range;

use crate::secret::characters::is_invisible;
use crate::secret::search::census::Census;
use crate::secret::search::reader::{Markup, MarkupPart, Reader, Work, as_lone_byte};

/// A part of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Text that stands in the source, or was decoded from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer<'t> {
    pub(super) bytes: Cow<'t, [u8]>,
    /// One for each byte; none: this is the source.
    spans: Cow<'t, [Span]>,
}

impl Span {
    pub(super) fn until(self, last: Self) -> Self {
        Self {
            start: self.start,
            end: last.end,
        }
    }
}

impl<'t> Layer<'t> {
    pub(super) fn of_source(text: &'t [u8]) -> Self {
        Self {
            bytes: Cow::Borrowed(text),
            ..Self::default()
        }
    }

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Cow::Owned(Vec::with_capacity(bytes)),
            spans: Cow::Owned(Vec::with_capacity(bytes)),
        }
    }

    pub(super) fn push(&mut self, byte: u8, span: Span) {
        self.bytes.to_mut().push(byte);
        self.spans.to_mut().push(span);
    }

    pub(super) fn push_char(&mut self, char: char, span: Span) {
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            self.push(byte, span);
        }
    }

    /// The same for a character that was read.
    fn push_read(&mut self, char: char, span: Span) {
        match as_lone_byte(char) {
            Some(byte) => self.push(byte, span),
            None => self.push_char(char, span),
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.to_mut().clear();
        self.spans.to_mut().clear();
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The source of these bytes, which are not none.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let at = |at: usize| {
            let source = u32::try_from(at).unwrap_or(u32::MAX);
            self.spans.get(at).copied().unwrap_or(Span {
                start: source,
                end: source + 1,
            })
        };
        at(range.start).until(at(range.end.saturating_sub(1)))
    }

    /// The texts that a reader of the decoded text sees: first without markup (what is not in a tag, what is, and what
    /// splits that), then with one level of escapes removed; those of mail apart, if there are many. None: nothing is
    /// to be decoded.
    pub(super) fn views(&self, census: Census, work: &Work) -> Vec<Layer<'static>> {
        let is_changed = |view: &Layer<'_>| view.len() > 0 && view.len() < self.len();
        if census.has(Census::MARKUP) {
            let mut parts = self.without_markup(work);
            parts.retain(is_changed);
            if !parts.is_empty() {
                return parts;
            }
        }
        let has_mail_escapes = || {
            let mut ahead = self.bytes.windows(6);
            census.has(Census::EQUALS) && ahead.any(is_mail_escape)
        };
        let mut views = Vec::new();
        if census.has(Census::ESCAPES) || census.has(Census::NOT_ASCII) && self.has_invisible() {
            views.push(self.without_escapes(false, work));
        }
        if has_mail_escapes() {
            views.push(self.without_escapes(true, work));
        }
        views.retain(is_changed);
        views
    }

    /// Whether a character draws nothing, or stands for one that could not be read.
    fn has_invisible(&self) -> bool {
        let is_left_out = |char: char| is_invisible(char) || char == char::REPLACEMENT_CHARACTER;
        let mut chunks = self.bytes.utf8_chunks();
        chunks.any(|chunk| chunk.valid().contains(is_left_out))
    }

    fn without_markup(&self, work: &Work) -> Vec<Layer<'static>> {
        let reader = self.reader(false, work);
        let mut visible = Layer::with_capacity(self.len());
        let mut hidden = Layer::default();
        let mut inner = Layer::default();
        let mut markup: Option<Markup> = None;
        let mut at = 0;
        while let Some(reading) = reader.read(at, 0).filter(|_| !work.is_spent()) {
            let span = self.span(at..reading.end);
            at = reading.end;
            let part = markup.as_mut().map(|markup| markup.read(reading.char));
            match part {
                Some(MarkupPart::Inside) => hidden.push_read(reading.char, span),
                Some(MarkupPart::Inner) => inner.push_read(reading.char, span),
                Some(MarkupPart::End) => markup = None,
                None if reading.char == '<' => match reader.cdata(reading, 0) {
                    Some(end) => at = end,
                    None => markup = Some(Markup::default()),
                },
                None | Some(MarkupPart::NotMarkup) => {
                    markup = None;
                    visible.push_read(reading.char, span);
                }
            }
        }
        vec![visible, hidden, inner]
    }

    fn without_escapes(&self, quoted_printable: bool, work: &Work) -> Layer<'static> {
        let reader = self.reader(quoted_printable, work);
        let mut decoded = Layer::with_capacity(self.len());
        let mut at = 0;
        while let Some(reading) = reader.read(at, 1).filter(|_| !work.is_spent()) {
            let span = self.span(at..reading.end);
            at = reading.end;
            if !is_invisible(reading.char) && reading.char != char::REPLACEMENT_CHARACTER {
                decoded.push_read(reading.char, span);
            }
        }
        decoded
    }

    fn reader<'r>(&'r self, quoted_printable: bool, work: &'r Work) -> Reader<'r> {
        Reader {
            text: &self.bytes,
            quoted_printable,
            needs_end: true,
            work,
        }
    }
}

/// Whether two bytes are written as in mail: `=41=42`.
fn is_mail_escape(bytes: &[u8]) -> bool {
    let is_escape = |bytes: &[u8]| matches!(bytes, [b'=', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    bytes.chunks(3).all(is_escape)
}

/// The parts of a text that must not be shown.
#[derive(Debug)]
pub(super) struct SourceMarks<'t> {
    text: &'t [u8],
    /// Empty as long as nothing is marked.
    is_marked: Vec<bool>,
}

impl<'t> SourceMarks<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            is_marked: Vec::new(),
        }
    }

    /// Marks a part of the source, and what is between it and the part `after` it, except markup: a tag stays a tag.
    pub(super) fn mark(&mut self, part: Span, after: Option<Span>) {
        self.is_marked.resize(self.text.len(), false);
        let part = to_usize(part.start)..to_usize(part.end);
        let gap_end = after.map_or(part.end, |after| to_usize(after.start));
        let is_markup = self
            .text
            .get(part.end..gap_end)
            .is_none_or(|gap| gap.contains(&b'<') || gap.contains(&b'>'));
        let end = if is_markup { part.end } else { gap_end };
        if let Some(marked) = self.is_marked.get_mut(part.start..end) {
            marked.fill(true);
        }
    }

    /// The text with `***` for each run of marked characters; none if nothing is marked.
    pub(super) fn replaced(&self) -> Option<Vec<u8>> {
        if self.is_marked.is_empty() {
            return None;
        }
        let low_byte = utf16_low_byte(self.text);
        let (width, replacement): (usize, &[u8]) = match low_byte {
            None => (1, b"***"),
            Some(0) => (2, b"*\0*\0*\0"),
            Some(_) => (2, b"\0*\0*\0*"),
        };
        let mut out = Vec::with_capacity(self.text.len());
        let mut after_mark = false;
        let characters = self.text.chunks(width).zip(self.is_marked.chunks(width));
        for (character, marks) in characters {
            let marked = marks
                .get(low_byte.unwrap_or(0))
                .is_some_and(|marked| *marked);
            match (marked, after_mark) {
                (true, false) => out.extend_from_slice(replacement),
                (true, true) => {}
                (false, _) => out.extend_from_slice(character),
            }
            after_mark = marked;
        }
        Some(out)
    }
}

/// Where the low byte of each unit is, if this is UTF-16: it says so, or most of its other bytes are those of Latin and
/// Cyrillic letters.
fn utf16_low_byte(text: &[u8]) -> Option<usize> {
    match text {
        [0xfe, 0xff, ..] => return Some(1),
        [0xff, 0xfe, ..] => return Some(0),
        _ => {}
    }
    let is_high = |place: usize| {
        let bytes = text.iter().skip(place).step_by(2);
        bytes.filter(|byte| matches!(byte, 0 | 4)).count() * 4 > text.len()
    };
    match (is_high(0), is_high(1)) {
        (true, false) => Some(1),
        (false, true) => Some(0),
        (true, true) | (false, false) => None,
    }
}

fn to_usize(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
