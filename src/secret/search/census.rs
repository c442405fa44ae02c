//! Which bytes a text has, counted once: most texts cannot hold most of the encodings, which are then not looked for.

/// The kinds of bytes in one text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Census {
    kinds: u8,
    pub(super) base64: usize,
    pub(super) hexadecimal: usize,
    pub(super) digits: usize,
}

impl Census {
    /// `<`
    pub(super) const MARKUP: u8 = 1;
    /// What begins an escape of a program, of a URL or of markup.
    pub(super) const ESCAPES: u8 = 1 << 1;
    /// What begins an escape of mail.
    pub(super) const EQUALS: u8 = 1 << 2;
    pub(super) const QUOTES: u8 = 1 << 3;
    /// Halves of UTF-16: of ASCII and of Cyrillic.
    pub(super) const HALVES: u8 = 1 << 4;
    pub(super) const NOT_ASCII: u8 = 1 << 5;

    pub(super) fn of(text: &[u8]) -> Self {
        let mut census = Self::default();
        for byte in text {
            census.kinds |= kind(*byte);
            census.base64 += usize::from(base64_value(*byte).is_some());
            census.hexadecimal += usize::from(byte.is_ascii_hexdigit());
            census.digits += usize::from(byte.is_ascii_digit());
        }
        census
    }

    pub(super) fn has(self, kind: u8) -> bool {
        self.kinds & kind != 0
    }
}

fn kind(byte: u8) -> u8 {
    match byte {
        b'<' => Census::MARKUP,
        b'\\' | b'%' | b'&' => Census::ESCAPES,
        b'=' => Census::EQUALS,
        b'"' | b'\'' => Census::QUOTES,
        0 | 4 => Census::HALVES,
        0x80.. => Census::NOT_ASCII,
        _ => 0,
    }
}

/// The six bits that a character of base64 stands for, with either alphabet.
pub(super) fn base64_value(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
