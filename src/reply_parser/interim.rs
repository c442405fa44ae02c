//! What a server may send before the final status of its reply: interim replies (1xx), within limits. The HTTP
//! library skips them, however many there are. The final status is read here too: it holds although the library
//! refuses the rest of the head.

/// The most interim replies before the final one.
const MAX_INTERIM_REPLIES: usize = 20;
/// The most bytes before the final status.
const MAX_INTERIM_BYTES: usize = 64 << 10;

/// The server sent more interim replies than the limits permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "sent more than {MAX_INTERIM_REPLIES} interim replies (1xx), or more than {} KiB of them, and no final one",
    MAX_INTERIM_BYTES >> 10
)]
pub(crate) struct InterimFlood;

/// Where in the reply the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyPosition {
    /// In front of a status line, after so many of its bytes.
    StatusLine(usize),
    /// In the head of an interim reply, at the begin of a line.
    LineStart,
    /// In the head of an interim reply, after the CR of a line that has nothing else.
    EmptyLine,
    /// In a line of the head of an interim reply.
    Line,
    /// Behind the status that decides; the library limits the head and reads the body.
    Final,
}

/// Reads the begin of one reply, byte by byte, and counts what comes before the final status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterimReplies {
    position: ReplyPosition,
    /// The first and the second digit of the status were read as `10`, so the third decides between an interim
    /// reply and 101, the last reply in HTTP.
    may_switch: bool,
    replies: usize,
    bytes: usize,
    status: FinalStatus,
}

/// The final status, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FinalStatus {
    /// Not reached, or there is none.
    Unread,
    /// After this number of its digits.
    Digits {
        read: usize,
        value: u16,
    },
    Read(u16),
}

impl FinalStatus {
    fn step(self, byte: u8) -> Self {
        match self {
            Self::Digits { read: 3, value } if matches!(byte, b' ' | b'\r' | b'\n') => {
                Self::Read(value)
            }
            Self::Digits {
                read: read @ 0..3,
                value,
            } if byte.is_ascii_digit() => Self::Digits {
                read: read + 1,
                value: value * 10 + u16::from(byte - b'0'),
            },
            Self::Read(value) => Self::Read(value),
            Self::Unread | Self::Digits { .. } => Self::Unread,
        }
    }
}

impl InterimReplies {
    /// Before the first byte of a reply.
    pub(super) fn new() -> Self {
        Self {
            position: ReplyPosition::StatusLine(0),
            may_switch: false,
            replies: 0,
            bytes: 0,
            status: FinalStatus::Unread,
        }
    }

    /// The final status, if its line has one; whatever follows it.
    pub(super) fn final_status(&self) -> Option<u16> {
        match self.status {
            FinalStatus::Read(status) => Some(status),
            FinalStatus::Unread | FinalStatus::Digits { .. } => None,
        }
    }

    /// Reads what arrived next. After an error the connection must not be read any more.
    pub(super) fn read(&mut self, arrived: &[u8]) -> Result<(), InterimFlood> {
        for byte in arrived {
            if self.position == ReplyPosition::Final {
                match self.status {
                    FinalStatus::Digits { .. } => self.status = self.status.step(*byte),
                    FinalStatus::Unread | FinalStatus::Read(_) => break,
                }
                continue;
            }
            self.position = self.step(*byte);
            self.bytes += 1;
            let is_interim = self.position != ReplyPosition::Final;
            if is_interim && self.bytes > MAX_INTERIM_BYTES || self.replies > MAX_INTERIM_REPLIES {
                return Err(InterimFlood);
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> ReplyPosition {
        match (self.position, byte) {
            (ReplyPosition::StatusLine(read), _) => self.step_in_status_line(read, byte),
            (ReplyPosition::LineStart, b'\r') => ReplyPosition::EmptyLine,
            (ReplyPosition::LineStart | ReplyPosition::EmptyLine, b'\n') => {
                ReplyPosition::StatusLine(0)
            }
            (ReplyPosition::Line, b'\n') => ReplyPosition::LineStart,
            (ReplyPosition::LineStart | ReplyPosition::EmptyLine | ReplyPosition::Line, _) => {
                ReplyPosition::Line
            }
            (ReplyPosition::Final, _) => ReplyPosition::Final,
        }
    }

    /// What is not the status line of an interim reply is final: a status that decides, or not HTTP.
    fn step_in_status_line(&mut self, read: usize, byte: u8) -> ReplyPosition {
        const VERSION: &[u8] = b"HTTP/1.";
        let continues = match read {
            // Servers may send empty lines before a status line.
            0 if matches!(byte, b'\r' | b'\n') => return ReplyPosition::StatusLine(0),
            7 => matches!(byte, b'0' | b'1'),
            8 => byte == b' ',
            9 => byte == b'1',
            10 => {
                self.may_switch = byte == b'0';
                byte.is_ascii_digit()
            }
            11 => byte.is_ascii_digit() && !(self.may_switch && byte == b'1'),
            _ => VERSION.get(read) == Some(&byte),
        };
        match (continues, read) {
            (false, read) => {
                if read == 9 {
                    self.status = FinalStatus::Digits { read: 0, value: 0 }.step(byte);
                }
                ReplyPosition::Final
            }
            (true, 11) => {
                self.replies += 1;
                ReplyPosition::Line
            }
            (true, _) => ReplyPosition::StatusLine(read + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> (InterimReplies, Result<(), InterimFlood>) {
        let mut replies = InterimReplies::new();
        let result = replies.read(bytes);
        (replies, result)
    }

    /// What a server may begin with, and where the final status is: how many bytes and interim replies before it,
    /// the bytes that decide included.
    #[test]
    fn the_final_status_ends_the_count() {
        for (begin, replies, decided_after) in [
            ("HTTP/1.1 200 OK\r\n\r\n", 0, Some(10)),
            ("HTTP/1.0 401 \r\n", 0, Some(10)),
            ("\r\n\nHTTP/1.1 200 OK", 0, Some(13)),
            ("HTTP/1.1 101 Switch\r\n", 0, Some(12)),
            ("SSH-2.0-x\r\n", 0, Some(1)),
            ("HTTP/2 103 x\r\n\r\n", 0, Some(6)),
            ("HTTP/1.2 103 x\r\n\r\n", 0, Some(8)),
            ("HTTP/1.1  103 x\r\n\r\n", 0, Some(10)),
            ("HTTP/1.1 1x0 \r\n\r\n", 0, Some(11)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", 1, Some(35)),
            ("HTTP/1.1 103\n\nHTTP/1.1 103\r\n\nHTTP/1.1 5", 2, Some(39)),
            ("HTTP/1.1 111 x\r\n\r\nHTTP/1.1 2", 1, Some(28)),
            ("HTTP/1.1 100 \r\na: b\r\n\r\nHTTP/1.1 2", 1, Some(33)),
            // Only an empty line ends a head: not a fold, not a CR in a line.
            ("HTTP/1.1 100 \r\na: b\r\n \r\nHTTP/1.1 200", 1, None),
            ("HTTP/1.1 100 \r\na\r\r\nHTTP/1.1 200", 1, None),
            ("HTTP/1.1 100 \r\n\rx\nHTTP/1.1 200", 1, None),
            ("HTTP/1.1 100 \r\n", 1, None),
            ("HTTP/1.1 1", 0, None),
            ("", 0, None),
        ] {
            let (read, result) = read(begin.as_bytes());
            assert_eq!(result, Ok(()), "{begin:?}");
            assert_eq!(read.replies, replies, "{begin:?}");
            let decided = (read.position == ReplyPosition::Final).then_some(read.bytes);
            assert_eq!(decided, decided_after, "{begin:?}");
        }
    }

    #[test]
    fn the_final_status_is_read_whatever_follows_it() {
        for (begin, status) in [
            ("HTTP/1.1 401 Unauthorized\r\na: b", Some(401)),
            ("HTTP/1.0 403\r\n", Some(403)),
            ("\r\nHTTP/1.1 200\n", Some(200)),
            ("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 401 \r\n", Some(401)),
            (
                "HTTP/1.1 401 HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n",
                Some(401),
            ),
            ("HTTP/1.1 401", None),
            ("HTTP/1.1 4", None),
            ("HTTP/1.1 4010 x\r\n", None),
            ("HTTP/1.1 40 x\r\n", None),
            ("HTTP/1.1 4x1 x\r\n", None),
            ("HTTP/1.1  401 x\r\n", None),
            ("HTTP/2 401 x\r\n", None),
            ("HTTP/1.1 103 x\r\na: 401 \r\n", None),
            ("401 \r\n", None),
        ] {
            assert_eq!(read(begin.as_bytes()).0.final_status(), status, "{begin:?}");
        }
    }

    #[test]
    fn the_number_and_the_bytes_of_interim_replies_are_limited() {
        let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        let last = b"HTTP/1.1 200 OK\r\n\r\n";
        let most = hint.repeat(MAX_INTERIM_REPLIES);
        assert_eq!(read(&[&most[..], last].concat()).1, Ok(()));
        assert_eq!(read(&[&most[..], hint].concat()).1, Err(InterimFlood));
        let long = |more: usize| {
            let head = "HTTP/1.1 100 \r\nl: ";
            let rest = MAX_INTERIM_BYTES - head.len() - "\r\n\r\n".len() + more;
            format!("{head}{}\r\n\r\n", "x".repeat(rest)).into_bytes()
        };
        assert_eq!(read(&long(0)).1, Ok(()));
        assert_eq!(read(&long(1)).1, Err(InterimFlood));
        assert_eq!(read(&b"\r\n".repeat(1 << 16)).1, Err(InterimFlood));
    }

    #[test]
    fn what_follows_the_final_status_is_not_counted() {
        let mut replies = InterimReplies::new();
        replies.read(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let before = replies;
        let flood = b"HTTP/1.1 103 \r\n\r\n".repeat(1 << 14);
        assert_eq!(replies.read(&flood), Ok(()));
        assert_eq!(replies, before);
    }

    proptest! {
        #[test]
        fn pieces_are_read_as_the_whole(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "HTTP/1.1 ", "HTTP/1.0 ", "10", "1", "0", "3", "2", "401", "\r\n", "\n", "\r", " ", "a: b",
                ]),
                0..40,
            ),
            cuts in prop::collection::vec(0usize..200, 0..10),
        ) {
            let whole = parts.concat().into_bytes();
            let mut pieces = InterimReplies::new();
            let mut from = 0;
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(whole.len())).collect();
            cuts.push(whole.len());
            cuts.sort_unstable();
            for to in cuts {
                pieces.read(&whole[from..to]).unwrap();
                from = to;
            }
            prop_assert_eq!(pieces, read(&whole).0);
        }
    }
}
