//! Follows a client's bytes from request to request, before the HTTP library reads them. The library
//! accepts line ends and lengths that another parser reads in another way; a request whose end two
//! parsers see at different places can hide a second one. Pure: bytes go in, a fault comes out.

/// As much of a line as decides about its framing.
const KEPT: usize = 128;
/// Hex digits of the largest chunk.
const MAX_SIZE_DIGITS: usize = 16;

/// What makes the end of a request ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// A line that ends in LF alone.
    #[error("a line ends in LF alone; end it with CR LF")]
    BareLineFeed,
    /// A CR inside a line.
    #[error("a CR is not followed by LF; end each line with CR LF")]
    BareCarriageReturn,
    /// A zero byte in a line.
    #[error("a line contains a zero byte; leave it out")]
    ZeroByte,
    /// A header that continues on the next line.
    #[error("a header continues on the next line; write it on one line")]
    FoldedHeader,
    /// `Name : value`.
    #[error("a blank precedes the colon of a header; leave it out")]
    BlankBeforeColon,
    /// A length that is not decimal digits.
    #[error("Content-Length is not a decimal number; write the length of the body in digits")]
    Length,
    /// A second length.
    #[error("Content-Length is given twice; send it once")]
    LengthTwice,
    /// Another coding than `chunked`, or the header twice.
    #[error("Transfer-Encoding is not `chunked`, once; send the body as it is")]
    TransferEncoding,
    /// Both headers.
    #[error("Content-Length and Transfer-Encoding are both given; send one of them")]
    LengthAndEncoding,
    /// A CONNECT that announces a body.
    #[error("a CONNECT announces a body; leave out Content-Length and Transfer-Encoding")]
    ConnectBody,
    /// A chunk whose size or end is not valid.
    #[error("a chunk has no valid size or no line end after its data; send valid chunks")]
    Chunk,
}

/// A fault and its place in the bytes of this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramingError {
    /// How many bytes before it are good.
    pub offset: usize,
    /// What is wrong.
    pub fault: FramingFault,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    RequestLine,
    Header,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    /// After a CONNECT: not ours to read.
    Tunnel,
}

/// One connection's bytes.
#[derive(Debug)]
pub struct FramingScanner {
    position: Position,
    line: Line,
    head: Head,
}

/// The line that is being read.
#[derive(Debug, Default)]
struct Line {
    /// Its first bytes.
    kept: Vec<u8>,
    length: usize,
    after_cr: bool,
}

/// What the head says about the body.
#[derive(Debug, Default)]
struct Head {
    is_connect: bool,
    length: Option<u64>,
    is_chunked: bool,
}

impl Default for FramingScanner {
    fn default() -> Self {
        Self {
            position: Position::RequestLine,
            line: Line::default(),
            head: Head::default(),
        }
    }
}

impl FramingScanner {
    /// Reads on. After an error the scanner must not be used again.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            match &mut self.position {
                Position::Tunnel => return Ok(()),
                Position::Body(left) | Position::ChunkData(left) => {
                    let many = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= many as u64;
                    rest = rest.get(many..).unwrap_or_default();
                    self.leave_data();
                }
                Position::RequestLine
                | Position::Header
                | Position::ChunkSize
                | Position::ChunkEnd
                | Position::Trailer => {
                    self.read_byte(*byte).map_err(|fault| FramingError {
                        offset: bytes.len() - rest.len(),
                        fault,
                    })?;
                    rest = tail;
                }
            }
        }
        Ok(())
    }

    /// Whether the next byte belongs to a head.
    pub fn is_in_head(&self) -> bool {
        matches!(self.position, Position::RequestLine | Position::Header)
    }

    /// Whether every request that was begun is complete.
    pub fn is_between_requests(&self) -> bool {
        self.position == Position::RequestLine && self.line.length == 0 && !self.line.after_cr
    }

    fn leave_data(&mut self) {
        match self.position {
            Position::Body(0) => self.position = Position::RequestLine,
            Position::ChunkData(0) => self.position = Position::ChunkEnd,
            Position::RequestLine
            | Position::Header
            | Position::Body(_)
            | Position::ChunkSize
            | Position::ChunkData(_)
            | Position::ChunkEnd
            | Position::Trailer
            | Position::Tunnel => {}
        }
    }

    fn read_byte(&mut self, byte: u8) -> Result<(), FramingFault> {
        if !self.line.push(byte)? {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        self.position = match self.position {
            // A client may end a body with an empty line that its length does not count.
            Position::RequestLine | Position::Trailer if line.length == 0 => Position::RequestLine,
            Position::RequestLine => {
                self.head = Head {
                    is_connect: line.kept.starts_with(b"CONNECT "),
                    ..Head::default()
                };
                Position::Header
            }
            Position::Header if line.length == 0 => self.head.body()?,
            Position::Header => {
                self.head.read_header(&line)?;
                Position::Header
            }
            Position::ChunkSize => match chunk_size(&line.kept)? {
                0 => Position::Trailer,
                size => Position::ChunkData(size),
            },
            Position::ChunkEnd if line.length == 0 => Position::ChunkSize,
            Position::ChunkEnd => return Err(FramingFault::Chunk),
            Position::Trailer => Position::Trailer,
            same @ (Position::Body(_) | Position::ChunkData(_) | Position::Tunnel) => same,
        };
        Ok(())
    }
}

impl Line {
    /// Whether the line is complete.
    fn push(&mut self, byte: u8) -> Result<bool, FramingFault> {
        match byte {
            b'\n' if self.after_cr => return Ok(true),
            _ if self.after_cr => return Err(FramingFault::BareCarriageReturn),
            b'\n' => return Err(FramingFault::BareLineFeed),
            0 => return Err(FramingFault::ZeroByte),
            b'\r' => self.after_cr = true,
            _ => {
                self.length += 1;
                if self.kept.len() < KEPT {
                    self.kept.push(byte);
                }
            }
        }
        Ok(false)
    }

    fn is_kept_whole(&self) -> bool {
        self.length == self.kept.len()
    }
}

impl Head {
    fn read_header(&mut self, line: &Line) -> Result<(), FramingFault> {
        if line.kept.first().copied().is_some_and(is_blank) {
            return Err(FramingFault::FoldedHeader);
        }
        let mut parts = line.kept.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            // A line without a colon is rejected by the library, and a name this long is not one of ours.
            return Ok(());
        };
        if name.last().copied().is_some_and(is_blank) {
            return Err(FramingFault::BlankBeforeColon);
        }
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).filter(|_| line.is_kept_whole());
            let length = length.ok_or(FramingFault::Length)?;
            if self.length.replace(length).is_some() {
                return Err(FramingFault::LengthTwice);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let chunked = value.eq_ignore_ascii_case(b"chunked") && line.is_kept_whole();
            if !chunked || self.is_chunked {
                return Err(FramingFault::TransferEncoding);
            }
            self.is_chunked = true;
        }
        if self.is_chunked && self.length.is_some() {
            return Err(FramingFault::LengthAndEncoding);
        }
        Ok(())
    }

    /// What follows the head.
    fn body(&self) -> Result<Position, FramingFault> {
        let length = self.length.unwrap_or(0);
        match (self.is_connect, self.is_chunked) {
            (true, true) => Err(FramingFault::ConnectBody),
            (true, false) if length > 0 => Err(FramingFault::ConnectBody),
            (true, false) => Ok(Position::Tunnel),
            (false, true) => Ok(Position::ChunkSize),
            (false, false) if length > 0 => Ok(Position::Body(length)),
            (false, false) => Ok(Position::RequestLine),
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Digits only: the standard library also reads `+5`.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// The size at the start of a chunk's line; extensions are ignored.
fn chunk_size(line: &[u8]) -> Result<u64, FramingFault> {
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (digits, after) = line.split_at_checked(end).ok_or(FramingFault::Chunk)?;
    let extension = after.trim_ascii_start();
    if digits.len() > MAX_SIZE_DIGITS || !(extension.is_empty() || extension.starts_with(b";")) {
        return Err(FramingFault::Chunk);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(FramingFault::Chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> Option<FramingFault> {
        let mut scanner = FramingScanner::default();
        scanner.scan(text.as_bytes()).err().map(|error| error.fault)
    }

    /// A head of these lines, and a second request behind its body.
    fn request(lines: &str, body: &str) -> String {
        format!(
            "POST /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
        )
    }

    #[test]
    fn plain_requests_pass_one_after_the_other() {
        for text in [
            request("", ""),
            request("Content-Length: 4\r\n", "a\nb\0"),
            request("content-length:\t4 \r\n", "\r\n\n\r\r\n"),
            request("Content-Length: 0\r\n", ""),
            request(
                "Transfer-Encoding: Chunked\r\n",
                "2\r\n\n\0\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
            ),
            request("X-Long: ", "")
                .replace("X-Long: ", &format!("X-Long: {}\r\n", "x".repeat(5000))),
        ] {
            assert_eq!(fault(&text), None, "{text:?}");
            // The second request is seen where it begins.
            let broken = text.replace("/b HTTP/1.1\r\n", "/b HTTP/1.1\n");
            assert_eq!(fault(&broken), Some(FramingFault::BareLineFeed), "{text:?}");
        }
        assert_eq!(
            fault("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n\x16\n\0\r"),
            None
        );
    }

    #[test]
    fn each_fault_has_its_name() {
        use FramingFault as F;
        let long = " ".repeat(300);
        for (lines, body, expected) in [
            ("A: b\n", "", F::BareLineFeed),
            ("A: b\rc: d\r\n", "", F::BareCarriageReturn),
            ("A: b\0\r\n", "", F::ZeroByte),
            ("A: b\r\n c\r\n", "", F::FoldedHeader),
            ("A : b\r\n", "", F::BlankBeforeColon),
            ("Content-Length\t: 4\r\n", "", F::BlankBeforeColon),
            ("Content-Length: +4\r\n", "abcd", F::Length),
            ("Content-Length: 0x4\r\n", "abcd", F::Length),
            ("Content-Length: 4, 4\r\n", "abcd", F::Length),
            ("Content-Length:\r\n", "", F::Length),
            ("Content-Length: 99999999999999999999\r\n", "", F::Length),
            (&format!("Content-Length: 4{long}\r\n"), "abcd", F::Length),
            (
                "Content-Length: 4\r\ncontent-length: 4\r\n",
                "abcd",
                F::LengthTwice,
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                "0\r\n\r\n",
                F::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked, identity\r\n",
                "0\r\n\r\n",
                F::TransferEncoding,
            ),
            ("Transfer-Encoding: identity\r\n", "", F::TransferEncoding),
            (
                "Transfer-Encoding: \x0bchunked\r\n",
                "0\r\n\r\n",
                F::TransferEncoding,
            ),
            (
                &format!("Transfer-Encoding:{long}chunked\r\n"),
                "",
                F::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "",
                F::TransferEncoding,
            ),
            (
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                "",
                F::LengthAndEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                "",
                F::LengthAndEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "2\nab\r\n0\r\n\r\n",
                F::BareLineFeed,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "2\r\nab\n0\r\n\r\n",
                F::BareLineFeed,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "2\r\nabc\r\n0\r\n\r\n",
                F::Chunk,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "0x2\r\nab\r\n0\r\n\r\n",
                F::Chunk,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "+2\r\nab\r\n0\r\n\r\n",
                F::Chunk,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "00000000000000002\r\nab\r\n0\r\n\r\n",
                F::Chunk,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "2 2\r\nab\r\n0\r\n\r\n",
                F::Chunk,
            ),
            ("Transfer-Encoding: chunked\r\n", "\r\n", F::Chunk),
            (
                "Transfer-Encoding: chunked\r\n",
                "2;a\nb\r\nab\r\n0\r\n\r\n",
                F::BareLineFeed,
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "0\r\nT: 1\n\r\n",
                F::BareLineFeed,
            ),
        ] {
            assert_eq!(
                fault(&request(lines, body)),
                Some(expected),
                "{lines:?} {body:?}"
            );
        }
        for lines in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
            let connect = format!("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            assert_eq!(fault(&connect), Some(F::ConnectBody));
        }
    }

    proptest! {
        /// How the network cuts the bytes changes nothing.
        #[test]
        fn pieces_are_read_as_the_whole(
            parts in prop::collection::vec(prop_oneof![
                Just("POST /a HTTP/1.1\r\n"), Just("Host: x\r\n"), Just("\r\n"), Just("\n"), Just("\r"),
                Just("Content-Length: 3\r\n"), Just("Transfer-Encoding: chunked\r\n"), Just("3\r\nabc\r\n"),
                Just("0\r\n\r\n"), Just("abc"), Just(" "), Just("\0"), Just("CONNECT a:1 HTTP/1.1\r\n"),
            ], 0..12),
            cut in 1..9_usize,
        ) {
            let text = parts.concat();
            let whole = FramingScanner::default().scan(text.as_bytes()).err();
            let mut scanner = FramingScanner::default();
            let mut before = 0;
            let mut pieces = None;
            for piece in text.as_bytes().chunks(cut) {
                if let Err(error) = scanner.scan(piece) {
                    pieces = Some(FramingError { offset: before + error.offset, ..error });
                    break;
                }
                before += piece.len();
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
