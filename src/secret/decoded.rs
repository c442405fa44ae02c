//! Text as a reader decodes it, with the source of each decoded byte. A service can write a secret
//! with JSON escapes, entities or percent signs, and split it by markup. Whoever reads the decoded
//! text sees it, so a search needs that text, and a replacement needs the way back to the source.

use std::ops::Range;

use memchr::memmem;

/// The number of encodings on top of each other that are removed: JSON in a form in HTML is three.
const MAX_LAYERS: usize = 5;
/// The bytes that begin an escape: of JSON, of a URL or form, of XML or HTML.
const ESCAPES: &[u8] = b"\\%&";

/// A text, decoded so far, and the source of each byte.
pub(crate) struct DecodedText {
    pub(crate) bytes: Vec<u8>,
    origins: Vec<Range<u32>>,
}

/// The parts of a text that must not be shown.
pub(crate) struct SourceMarks<'t> {
    text: &'t [u8],
    /// Empty as long as nothing is marked.
    is_marked: Vec<bool>,
}

impl<'t> SourceMarks<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            is_marked: Vec::new(),
        }
    }

    /// Marks the sources of these bytes of a layer, and what is between two of them, except markup: a tag stays a tag.
    pub(crate) fn mark(&mut self, layer: &DecodedText, range: Range<usize>) {
        self.is_marked.resize(self.text.len(), false);
        let mut end = None;
        for source in layer.sources(range) {
            let gap = end.unwrap_or(source.start)..source.start;
            let is_markup = self
                .text
                .get(gap.clone())
                .is_some_and(|gap| gap.contains(&b'<') || gap.contains(&b'>'));
            let start = if is_markup { source.start } else { gap.start };
            if let Some(marked) = self.is_marked.get_mut(start..source.end) {
                marked.fill(true);
            }
            end = Some(source.end);
        }
    }

    /// The text with `***` for each run of marked bytes; none if nothing is marked.
    pub(crate) fn replaced(&self) -> Option<Vec<u8>> {
        const REPLACEMENT: &[u8] = b"***";
        if self.is_marked.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(self.text.len());
        let mut after_mark = false;
        for (byte, marked) in self.text.iter().zip(&self.is_marked) {
            match (marked, after_mark) {
                (true, false) => out.extend_from_slice(REPLACEMENT),
                (true, true) => {}
                (false, _) => out.push(*byte),
            }
            after_mark = *marked;
        }
        Some(out)
    }
}

/// One escape at the beginning of a text: what it stands for, and its length.
struct Escape {
    text: Vec<u8>,
    len: usize,
}

impl DecodedText {
    /// Calls `visit` with the text as it is and after each layer of encoding is removed, and with each of
    /// these without markup and blanks, which can split an escape.
    pub(crate) fn visit_layers(source: &[u8], mut visit: impl FnMut(&Self)) {
        Self::from_source(source).visit(ESCAPES, MAX_LAYERS, &mut visit);
        let present = |mark: &&u8| memchr::memchr(**mark, source).is_some();
        if ESCAPES.iter().filter(present).count() < 2 {
            return;
        }
        // One encoding can spoil what only looks like another: `%` before a secret that begins with `41`.
        for mark in ESCAPES.chunks(1) {
            Self::from_source(source).visit(mark, MAX_LAYERS, &mut visit);
        }
    }

    fn visit(self, marks: &[u8], layers: usize, visit: &mut dyn FnMut(&Self)) {
        let mut current = self;
        for left in (0..layers).rev() {
            visit(&current);
            if let Some(compact) = current.without_blanks() {
                visit(&compact);
            }
            if let Some(plain) = current.without_markup().filter(|_| left > 0) {
                plain.visit(marks, left, &mut |layer| visit(layer));
            }
            let Some(decoded) = current.without_escapes(marks) else {
                return;
            };
            current = decoded;
        }
    }

    /// Where these decoded bytes come from.
    fn sources(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let origins = self.origins.get(range).unwrap_or_default();
        origins
            .iter()
            .map(|origin| to_usize(origin.start)..to_usize(origin.end))
    }

    fn from_source(source: &[u8]) -> Self {
        let end = u32::try_from(source.len()).unwrap_or(u32::MAX);
        Self {
            bytes: source.to_vec(),
            origins: (0..end).map(|at| at..at + 1).collect(),
        }
    }

    /// With every escape that one of these bytes begins decoded once; none if there is no such escape.
    fn without_escapes(&self, marks: &[u8]) -> Option<Self> {
        let mut out = Self::with_capacity(self.bytes.len());
        let mut rest = 0..self.bytes.len();
        let mut found = false;
        while let Some(at) = rest.next() {
            let tail = self.bytes.get(at..).unwrap_or_default();
            let is_marked = self.bytes.get(at).is_some_and(|byte| marks.contains(byte));
            if let Some(escape) = is_marked.then(|| read_escape(tail)).flatten() {
                found = true;
                self.copy_as(&mut out, at..at + escape.len, &escape.text);
                rest.start = at + escape.len;
            } else {
                self.copy(&mut out, at);
            }
        }
        found.then_some(out)
    }

    /// Without blanks, the `+` of forms, and invisible characters; none if there are none.
    fn without_blanks(&self) -> Option<Self> {
        self.without(blank_length)
    }

    /// Without tags, comments and the marks of CDATA; none if there are none.
    fn without_markup(&self) -> Option<Self> {
        memchr::memchr(b'>', &self.bytes)?;
        let mut ends = MarkupEnds::default();
        self.without(|text| markup_length(text, &mut ends))
    }

    /// Without what `hidden_length` finds at the beginning of the rest of the text.
    fn without(&self, mut hidden_length: impl FnMut(&[u8]) -> usize) -> Option<Self> {
        let mut out = Self::with_capacity(self.bytes.len());
        let mut rest = 0..self.bytes.len();
        while let Some(at) = rest.next() {
            let tail = self.bytes.get(at..).unwrap_or_default();
            match hidden_length(tail) {
                0 => self.copy(&mut out, at),
                hidden => rest.start = at + hidden,
            }
        }
        (out.bytes.len() < self.bytes.len()).then_some(out)
    }

    fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            origins: Vec::with_capacity(bytes),
        }
    }

    fn copy(&self, out: &mut Self, at: usize) {
        if let (Some(byte), Some(origin)) = (self.bytes.get(at), self.origins.get(at)) {
            out.bytes.push(*byte);
            out.origins.push(origin.clone());
        }
    }

    /// Adds `text`, which the bytes of `range` stand for.
    fn copy_as(&self, out: &mut Self, range: Range<usize>, text: &[u8]) {
        let origins = self.origins.get(range).unwrap_or_default();
        if let (Some(first), Some(last)) = (origins.first(), origins.last()) {
            out.bytes.extend_from_slice(text);
            let origin = first.start..last.end;
            out.origins.extend(std::iter::repeat_n(origin, text.len()));
        }
    }
}

/// `text` after each layer of encoding is removed, itself first.
pub(crate) fn decoded_layers(text: &[u8]) -> Vec<Vec<u8>> {
    let mut layers = Vec::new();
    let mut current = DecodedText::from_source(text);
    while layers.len() < MAX_LAYERS {
        let decoded = current.without_escapes(ESCAPES);
        layers.push(std::mem::take(&mut current.bytes));
        let Some(decoded) = decoded else {
            break;
        };
        current = decoded;
    }
    layers
}

/// `text` without blanks, `+` and invisible characters.
pub(crate) fn without_blanks(text: &[u8]) -> Vec<u8> {
    let source = DecodedText::from_source(text);
    source.without_blanks().unwrap_or(source).bytes
}

fn to_usize(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn read_escape(text: &[u8]) -> Option<Escape> {
    match text.first()? {
        b'\\' => read_backslash(text),
        b'%' => Some(Escape {
            text: vec![hex_byte(text.get(1..3)?)?],
            len: 3,
        }),
        b'&' => read_entity(text),
        _ => None,
    }
}

/// The escapes of JSON, and `\x41`.
fn read_backslash(text: &[u8]) -> Option<Escape> {
    let plain = |byte| {
        Some(Escape {
            text: vec![byte],
            len: 2,
        })
    };
    match text.get(1)? {
        byte @ (b'"' | b'\'' | b'\\' | b'/') => plain(*byte),
        b'n' => plain(b'\n'),
        b'r' => plain(b'\r'),
        b't' => plain(b'\t'),
        b'b' => plain(0x08),
        b'f' => plain(0x0c),
        b'x' => Some(Escape {
            text: vec![hex_byte(text.get(2..4)?)?],
            len: 4,
        }),
        b'u' => read_utf16(text),
        _ => None,
    }
}

/// `\u0041`, or two of them for a character beyond the first plane.
fn read_utf16(text: &[u8]) -> Option<Escape> {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let high = hex_byte(escape.get(..2)?)?;
        Some(u16::from_be_bytes([high, hex_byte(escape.get(2..4)?)?]))
    };
    let first = unit(0)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some(character_escape(character, 6));
    }
    let both = char::decode_utf16([first, unit(6)?]).next()?.ok()?;
    Some(character_escape(both, 12))
}

/// An entity with or without its semicolon, as browsers read it.
fn read_entity(text: &[u8]) -> Option<Escape> {
    const MAX_ENTITY_BYTES: usize = 12;
    let name = text.get(1..)?;
    let (character, len) = match name.strip_prefix(b"#") {
        Some(number) => read_character_number(number).map(|(found, len)| (found, len + 1))?,
        None => ENTITIES
            .iter()
            .filter(|(entity, _)| name.starts_with(entity.as_bytes()))
            .max_by_key(|(entity, _)| entity.len())
            .map(|(entity, character)| (*character, entity.len()))?,
    };
    let closed = usize::from(name.get(len) == Some(&b';'));
    (len <= MAX_ENTITY_BYTES).then(|| character_escape(character, 1 + len + closed))
}

/// `64` or `x40`, and its length.
fn read_character_number(number: &[u8]) -> Option<(char, usize)> {
    let (radix, prefix) = match number.first()? {
        b'x' | b'X' => (16, 1),
        _ => (10, 0),
    };
    let digits: String = number
        .get(prefix..)?
        .iter()
        .map(|byte| char::from(*byte))
        .take_while(|digit| digit.is_digit(radix))
        .take(11)
        .collect();
    let code = u32::from_str_radix(&digits, radix).ok()?;
    Some((char::from_u32(code)?, prefix + digits.len()))
}

fn character_escape(character: char, len: usize) -> Escape {
    Escape {
        text: character.to_string().into_bytes(),
        len,
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// The length of what does not count at the beginning of `text`; 0: it counts.
fn blank_length(text: &[u8]) -> usize {
    const INVISIBLE: [&str; 8] = [
        "\u{ad}", "\u{200b}", "\u{200c}", "\u{200d}", "\u{200e}", "\u{200f}", "\u{2060}",
        "\u{feff}",
    ];
    match text.first() {
        Some(b'+') => 1,
        Some(byte) if byte.is_ascii_whitespace() => 1,
        Some(0xc2 | 0xe2 | 0xef) => INVISIBLE
            .iter()
            .find(|character| text.starts_with(character.as_bytes()))
            .map_or(0, |character| character.len()),
        Some(_) | None => 0,
    }
}

/// The length of what a reader of markup does not see at the beginning of `text`; 0: it is visible.
fn markup_length(text: &[u8], ends: &mut MarkupEnds) -> usize {
    match text.first() {
        Some(b'<') if text.starts_with(b"<!--") => comment_length(text, ends),
        Some(b'<') => tag_length(text),
        Some(b']') if text.starts_with(b"]]>") => 3,
        Some(_) | None => 0,
    }
}

/// What the rest of a text is known not to have: it is searched for once, and not from every comment's beginning.
#[derive(Default)]
struct MarkupEnds {
    no_comment_end: bool,
    no_tag_end: bool,
}

/// The length of a comment; one that does not end is a tag.
fn comment_length(text: &[u8], ends: &mut MarkupEnds) -> usize {
    if !ends.no_comment_end {
        if let Some(at) = memmem::find(text, b"-->") {
            return at + 3;
        }
        ends.no_comment_end = true;
    }
    if ends.no_tag_end {
        return 0;
    }
    let close = memchr::memchr(b'>', text);
    ends.no_tag_end = close.is_none();
    close.map_or(0, |close| close + 1)
}

/// The length of a tag, or of the opening mark of CDATA. The next `<` ends the search: each byte is looked at once.
fn tag_length(text: &[u8]) -> usize {
    const CDATA: &[u8] = b"<![CDATA[";
    if text.starts_with(CDATA) {
        return CDATA.len();
    }
    let inside = text.get(1..).unwrap_or_default();
    let is_tag = inside
        .first()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?'));
    match memchr::memchr2(b'<', b'>', inside) {
        Some(at) if is_tag && inside.get(at) == Some(&b'>') => at + 2,
        Some(_) | None => 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        DecodedText::visit_layers(text.as_bytes(), |layer| {
            out.push(String::from_utf8(layer.bytes.clone()).unwrap());
        });
        out
    }

    #[test]
    fn every_escape_is_decoded() {
        for (escaped, text) in [
            (r"a\/b", "a/b"),
            (r"\u0041\u0442", "Aт"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\x41", "A"),
            ("&amp;&#65;&#x42;&sol;&lt", "&AB/<"),
            ("%41%2f%D1%82", "A/т"),
        ] {
            assert_eq!(layers(escaped).last().unwrap(), text, "{escaped}");
        }
    }

    #[test]
    fn layers_are_removed_one_by_one() {
        assert_eq!(layers("%26amp;x"), ["%26amp;x", "&amp;x", "&x"]);
        assert!(layers(r"%41bc\/&amp;").contains(&"%41bc/&amp;".to_owned()));
        assert_eq!(
            layers("a<b>c</b> <!-- > -->d<![CDATA[e]]>&"),
            [
                "a<b>c</b> <!-- > -->d<![CDATA[e]]>&",
                "a<b>c</b><!-->-->d<![CDATA[e]]>&",
                "ac de&",
                "acde&"
            ]
        );
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in ["100%", "%zz", r"\u12", "&unknown;", "a<1>2", r"\ud83d"] {
            assert_eq!(layers(text), [text]);
        }
        assert_eq!(layers("1 < 2").last().unwrap(), "1<2");
        assert_eq!(layers("a<b").last().unwrap(), "a<b");
    }

    #[test]
    fn a_decoded_byte_has_its_source() {
        let source = r"x\u0041y";
        let mut found = 0..0;
        DecodedText::visit_layers(source.as_bytes(), |layer| {
            if let Some(at) = layer.bytes.iter().position(|byte| *byte == b'A') {
                found = layer.sources(at..at + 1).next().unwrap();
            }
        });
        assert_eq!(found, 1..7);
    }
}
