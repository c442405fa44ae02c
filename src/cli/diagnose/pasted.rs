//! What people paste: a body alone, or the whole of what `curl -i` showed. Pure. A head is read only where it
//! stands at the very beginning, so that no body can be taken for one; what it says gives way to the options.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::parse_limit::read_json;

/// A reply as far as the paste itself tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PastedReply {
    /// None: the input has no head.
    pub(super) status: Option<StatusCode>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Skips the head of a proxy and of `100 Continue`: the last head is the reply's.
pub(super) fn parse(pasted: &[u8]) -> PastedReply {
    let mut status = None;
    let mut headers = HeaderMap::new();
    let mut rest = pasted;
    while let Some((code, fields, after)) = parse_head(rest) {
        status = Some(code);
        headers = fields;
        rest = after;
    }
    PastedReply {
        status,
        headers,
        body: Bytes::copy_from_slice(rest),
    }
}

/// A status, its headers, and the rest.
type ParsedHead<'a> = (StatusCode, HeaderMap, &'a [u8]);

/// A status line, header lines, and what follows the empty line.
fn parse_head(text: &[u8]) -> Option<ParsedHead<'_>> {
    let text = text.trim_ascii_start();
    let (first, mut rest) = split_line(text);
    let mut words = first.strip_prefix("HTTP/")?.split_ascii_whitespace();
    words.next()?;
    let status = words
        .next()?
        .parse::<u16>()
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())?;
    let mut headers = HeaderMap::new();
    while !rest.is_empty() {
        let (field, after) = split_line(rest);
        rest = after;
        if field.is_empty() {
            break;
        }
        // A line that is not a header is ignored.
        if let Some((name, value)) = parse_header(&field) {
            headers.append(name, value);
        }
    }
    Some((status, headers, rest))
}

fn parse_header(field: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = field.split_once(':')?;
    Some((
        HeaderName::try_from(name.trim()).ok()?,
        HeaderValue::try_from(value.trim()).ok()?,
    ))
}

/// The first line, and what comes after it.
fn split_line(text: &[u8]) -> (String, &[u8]) {
    let (line, rest) = text
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or((text, &[][..]), |at| {
            let (line, rest) = text.split_at(at);
            (line, rest.strip_prefix(b"\n").unwrap_or(rest))
        });
    (String::from_utf8_lossy(line).trim().to_owned(), rest)
}

/// Whether nothing could be read out of it that has a code: debugger output is not JSON.
pub(super) fn is_not_json(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let text = text.trim().trim_start_matches('\u{feff}');
    !text.is_empty()
        && !text.starts_with('<')
        && read_json::<serde::de::IgnoredAny>(text.as_bytes()).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_through_and_the_last_one_counts() {
        let whole = "HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 401\r\nRetry-After: 5\r\nno header\r\n\r\n{\"code\":20003}\n";
        let told = parse(whole.as_bytes());
        assert_eq!(
            (told.status, told.headers.len()),
            (Some(StatusCode::UNAUTHORIZED), 1)
        );
        assert_eq!(
            (&told.headers["retry-after"], &told.body[..]),
            (&HeaderValue::from_static("5"), &b"{\"code\":20003}\n"[..])
        );
        let plain = parse(b"\n HTTP/1.1 429 Too Many\nA: b\n\nslow\n");
        assert_eq!(
            (plain.status, &plain.body[..]),
            (Some(StatusCode::TOO_MANY_REQUESTS), &b"slow\n"[..])
        );
        assert_eq!(
            parse(b"HTTP/1.1 503").status,
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
    }

    #[test]
    fn a_body_alone_stays_as_it_is() {
        for body in [
            &b""[..],
            b"{}",
            b"\xff\xfe",
            b"HTTP/1.1 abc\r\n\r\n{}",
            b"error: HTTP/1.1 401\n\n{}",
            b"HTTP/1.1 7\n\n",
        ] {
            assert_eq!(
                parse(body),
                PastedReply {
                    status: None,
                    headers: HeaderMap::new(),
                    body: Bytes::copy_from_slice(body)
                }
            );
        }
    }

    #[test]
    fn what_a_debugger_prints_is_odd() {
        for body in [
            "{ code: 20003, message: 'Authenticate' }",
            "Error: 401",
            "{\"code\":20003",
        ] {
            assert!(is_not_json(body.as_bytes()), "{body}");
        }
        for body in [
            "",
            " \n",
            "{\"code\":20003}\n",
            "\u{feff}[]",
            "\"text\"",
            "<ErrorResponse/>",
        ] {
            assert!(!is_not_json(body.as_bytes()), "{body}");
        }
    }
}
