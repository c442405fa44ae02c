//! Decodes texts that are written in other characters throughout: base64, hexadecimal digits,
//! lists of character codes, and UTF-16. Where such a text begins is not known, so that every run of
//! a decoded text that can be text is taken.

use std::ops::Range;

use memchr::memchr2;

use crate::secret::characters::is_invisible;
use crate::secret::search::census::{Census, base64_value};
use crate::secret::search::layer::{Layer, Span};
use crate::secret::search::reader::{Work, sequence_length};

/// A character of a packed text, by its value, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    value: u8,
    span: Span,
}

/// A number that can be the code of a character.
#[derive(Clone, Copy, Debug)]
struct Code {
    value: u32,
    span: Span,
}

/// Calls `visit` with each run of at least `min` bytes that a view decodes to.
pub(super) fn unpack(
    view: &Layer<'_>,
    census: Census,
    min: usize,
    work: &Work,
    visit: &mut dyn FnMut(&Layer<'_>),
) {
    work.spend(view.len() * 2);
    let mut runs = Runs::new(min, visit);
    if census.base64 * 3 >= min * 4 {
        base64(view, census.base64, work, &mut runs);
    }
    if census.hexadecimal >= min * 2 {
        hexadecimal(view, &mut runs);
    }
    if census.digits >= min {
        codes(view, &mut runs);
    }
}

/// The same for lists of short strings, as JSON and programs write them: `["a","b"]`, `"a" + "b"`.
pub(super) fn join_lists(layer: &Layer<'_>, min: usize, visit: &mut dyn FnMut(&Layer<'_>)) {
    lists(layer, &mut Runs::new(min, visit));
}

/// The same for text of two bytes a character, in either order and from either parity.
pub(super) fn unpack_utf16(
    layer: &Layer<'_>,
    min: usize,
    work: &Work,
    visit: &mut dyn FnMut(&Layer<'_>),
) {
    work.spend(layer.len() * 2);
    let mut runs = Runs::new(min, visit);
    for parity in 0..2 {
        for to_unit in [u16::from_be_bytes, u16::from_le_bytes] {
            let units = layer.bytes.get(parity..).unwrap_or_default();
            for (unit, at) in units.chunks_exact(2).zip((parity..).step_by(2)) {
                let unit = unit.try_into().map(to_unit).unwrap_or_default();
                match char::from_u32(u32::from(unit)).filter(|char| is_common(*char)) {
                    Some(char) => runs.layer.push_char(char, layer.span(at..at + 2)),
                    None => runs.flush(),
                }
            }
            runs.flush();
        }
    }
}

/// Whether a character is likely in a message of a service: ASCII, the alphabets up to the Arabic one, and invisible
/// characters.
fn is_common(char: char) -> bool {
    matches!(u32::from(char), 9 | 10 | 13 | 0x20..=0x7e | 0xa0..=0x6ff | 0x2000..=0x206f)
        || is_invisible(char)
}

/// Base64 with either alphabet, from each of the four places in a group; what is not in the alphabets is left out.
fn base64(view: &Layer<'_>, count: usize, work: &Work, runs: &mut Runs<'_>) {
    let mut symbols: Vec<Symbol> = Vec::with_capacity(count);
    symbols.extend(view.bytes.iter().enumerate().filter_map(|(at, byte)| {
        Some(Symbol {
            value: base64_value(*byte)?,
            span: view.span(at..at + 1),
        })
    }));
    work.spend(count * 3);
    for place in 0..4 {
        let symbols = symbols.get(place..).unwrap_or_default();
        for (pair, at) in symbols.windows(2).zip([0, 1, 2, 3].into_iter().cycle()) {
            if let [left, right] = pair
                && at < 3
            {
                let byte = (left.value << (2 + 2 * at)) | (right.value >> (4 - 2 * at));
                runs.push(byte, left.span.until(right.span));
            }
        }
        runs.flush();
    }
}

/// Hexadecimal digits from both places in a pair, with anything between them that is no letter, and with `0x`.
fn hexadecimal(view: &Layer<'_>, runs: &mut Runs<'_>) {
    let mut symbols: Vec<Symbol> = Vec::new();
    for (at, byte) in view.bytes.iter().enumerate() {
        let digit = char::from(*byte).to_digit(16);
        if let Some(value) = digit.and_then(|digit| u8::try_from(digit).ok()) {
            symbols.push(Symbol {
                value,
                span: view.span(at..at + 1),
            });
        } else if matches!(byte, b'x' | b'X') && symbols.last().is_some_and(|last| last.value == 0)
        {
            symbols.pop();
        } else if byte.is_ascii_alphanumeric() {
            pairs(&symbols, runs);
            symbols.clear();
        }
    }
    pairs(&symbols, runs);
}

fn pairs(symbols: &[Symbol], runs: &mut Runs<'_>) {
    if symbols.len() < runs.min * 2 {
        return;
    }
    for place in 0..2 {
        for pair in symbols.get(place..).unwrap_or_default().chunks_exact(2) {
            if let [high, low] = pair {
                runs.push(high.value * 16 + low.value, high.span.until(low.span));
            }
        }
        runs.flush();
    }
}

/// Numbers as the codes of characters, with anything between them that is no letter.
fn codes(view: &Layer<'_>, runs: &mut Runs<'_>) {
    let mut code: Option<Code> = None;
    for (at, byte) in view.bytes.iter().enumerate() {
        let span = view.span(at..at + 1);
        if let Some(digit) = char::from(*byte).to_digit(10) {
            let begun = code.unwrap_or(Code { value: 0, span });
            code = Some(Code {
                value: begun.value.saturating_mul(10).saturating_add(digit),
                span: begun.span.until(span),
            });
            continue;
        }
        runs.push_code(code.take());
        if byte.is_ascii_alphabetic() {
            runs.flush();
        }
    }
    runs.push_code(code.take());
    runs.flush();
}

fn lists(view: &Layer<'_>, runs: &mut Runs<'_>) {
    let mut at = 0;
    while let Some(next) = memchr2(b'"', b'\'', view.bytes.get(at..).unwrap_or_default()) {
        let open = at + next;
        let Some(piece) = short_string(&view.bytes, open) else {
            runs.flush();
            at = open + 1;
            continue;
        };
        for at in piece.clone() {
            let is_escape = view.bytes.get(at) == Some(&b'\\') && at + 2 == piece.end;
            if let Some(byte) = view.bytes.get(at).filter(|_| !is_escape) {
                runs.layer.push(*byte, view.span(at..at + 1));
            }
        }
        let next = next_in_list(&view.bytes, piece.end + 1);
        if next.is_none() {
            runs.flush();
        }
        // What closes no string of a list may open one.
        at = next.unwrap_or(piece.end);
    }
    runs.flush();
}

/// What is in the quotes that begin here, if it is short. It can be a quote itself.
fn short_string(text: &[u8], open: usize) -> Option<Range<usize>> {
    const MAX_PIECE_BYTES: usize = 12;
    let quote = text.get(open)?;
    let start = open + 1;
    let mut is_escaped = false;
    let length = (0..MAX_PIECE_BYTES).find(|length| {
        let byte = text.get(start + length);
        let after = text.get(start + length + 1);
        let ends_list = matches!(after, Some(b',' | b'+' | b'.' | b']' | b' '));
        let is_end = byte == Some(quote) && *length > 0 && (!is_escaped || ends_list);
        is_escaped = byte == Some(&b'\\') && !is_escaped;
        is_end
    })?;
    Some(start..start + length)
}

/// Where the next string of a list begins, after one that ends here.
fn next_in_list(text: &[u8], end: usize) -> Option<usize> {
    const MAX_SEPARATOR_BYTES: usize = 4;
    let ahead = text.get(end..text.len().min(end + MAX_SEPARATOR_BYTES))?;
    let length = memchr2(b'"', b'\'', ahead)?;
    let separator = ahead.get(..length)?.trim_ascii();
    matches!(separator, b"," | b"+" | b".").then_some(end + length)
}

/// Collects the runs of bytes that can be text.
struct Runs<'v> {
    layer: Layer<'static>,
    min: usize,
    /// The number of bytes that the last character of UTF-8 still needs.
    open: usize,
    /// Whether the last byte was half of a UTF-16 unit.
    after_half: bool,
    visit: &'v mut dyn FnMut(&Layer<'_>),
}

impl<'v> Runs<'v> {
    fn new(min: usize, visit: &'v mut dyn FnMut(&Layer<'_>)) -> Self {
        Self {
            layer: Layer::with_capacity(0),
            min,
            open: 0,
            after_half: false,
            visit,
        }
    }

    fn push(&mut self, byte: u8, span: Span) {
        if !self.continues(byte) {
            self.flush();
            if !self.continues(byte) {
                return;
            }
        }
        self.layer.push(byte, span);
    }

    /// Whether the run can go on with this byte. Half of a UTF-16 unit is 0, or 4 in Cyrillic.
    fn continues(&mut self, byte: u8) -> bool {
        let after_half = std::mem::replace(&mut self.after_half, matches!(byte, 0 | 4));
        let open = std::mem::take(&mut self.open);
        match byte {
            0 | 4 if open == 0 => !after_half,
            _ if after_half => true,
            b'\t' | b'\n' | b'\r' | 0x20..=0x7e => open == 0,
            0x80..=0xbf => {
                self.open = open.saturating_sub(1);
                open > 0
            }
            _ if open == 0 => {
                self.open = sequence_length(byte).map_or(0, |length| length - 1);
                self.open > 0
            }
            _ => false,
        }
    }

    fn push_code(&mut self, code: Option<Code>) {
        let Some(code) = code else { return };
        match char::from_u32(code.value).filter(|char| is_common(*char)) {
            Some(char) => self.layer.push_char(char, code.span),
            None => self.flush(),
        }
    }

    fn flush(&mut self) {
        if self.layer.len() >= self.min {
            (self.visit)(&self.layer);
        }
        self.layer.clear();
        self.open = 0;
        self.after_half = false;
    }
}
