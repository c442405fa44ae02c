//! What people paste: a body alone, or the whole of what `curl -i` showed. Pure. A head is read only where it
//! stands at the very beginning, so that no body can be taken for one; what it says gives way to the options.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// A reply as far as the paste itself tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pasted {
    /// None: no head came with it.
    pub(super) status: Option<StatusCode>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Reads through every head: a proxy's own and `100 Continue` come before the one that counts.
pub(super) fn read(pasted: &[u8]) -> Pasted {
    let (mut status, mut headers, mut rest) = (None, HeaderMap::new(), pasted);
    while let Some((code, fields, after)) = head(rest) {
        (status, headers, rest) = (Some(code), fields, after);
    }
    Pasted { status, headers, body: Bytes::copy_from_slice(rest) }
}

/// A status, its headers, and what came after them.
type Head<'a> = (StatusCode, HeaderMap, &'a [u8]);

/// A status line, header lines, and what stands behind the empty line.
fn head(text: &[u8]) -> Option<Head<'_>> {
    let text = text.trim_ascii_start();
    let (first, mut rest) = line(text);
    let mut words = first.strip_prefix("HTTP/")?.split_ascii_whitespace();
    words.next()?;
    let status = words.next()?.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok())?;
    let mut headers = HeaderMap::new();
    while !rest.is_empty() {
        let (field, after) = line(rest);
        rest = after;
        if field.is_empty() {
            break;
        }
        // A line that is no header says nothing, and takes nothing away from the others.
        if let Some((name, value)) = named(&field) {
            headers.append(name, value);
        }
    }
    Some((status, headers, rest))
}

fn named(field: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = field.split_once(':')?;
    Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
}

/// The first line, and what comes after it.
fn line(text: &[u8]) -> (String, &[u8]) {
    let (line, rest) = text.iter().position(|byte| *byte == b'\n').map_or((text, &[][..]), |at| {
        let (line, rest) = text.split_at(at);
        (line, rest.strip_prefix(b"\n").unwrap_or(rest))
    });
    (String::from_utf8_lossy(line).trim().to_owned(), rest)
}

/// Whether nothing could be read out of it that has a code: what a debugger prints is no JSON.
pub(super) fn is_odd(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let text = text.trim().trim_start_matches('\u{feff}');
    !text.is_empty() && !text.starts_with('<') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_through_and_the_last_one_counts() {
        let whole = "HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 401\r\nRetry-After: 5\r\nno header\r\n\r\n{\"code\":20003}\n";
        let told = read(whole.as_bytes());
        assert_eq!((told.status, told.headers.len()), (Some(StatusCode::UNAUTHORIZED), 1));
        assert_eq!((&told.headers["retry-after"], &told.body[..]), (&HeaderValue::from_static("5"), &b"{\"code\":20003}\n"[..]));
        let plain = read(b"\n HTTP/1.1 429 Too Many\nA: b\n\nslow\n");
        assert_eq!((plain.status, &plain.body[..]), (Some(StatusCode::TOO_MANY_REQUESTS), &b"slow\n"[..]));
        assert_eq!(read(b"HTTP/1.1 503").status, Some(StatusCode::SERVICE_UNAVAILABLE));
    }

    #[test]
    fn a_body_alone_stays_as_it_is() {
        for body in [&b""[..], b"{}", b"\xff\xfe", b"HTTP/1.1 abc\r\n\r\n{}", b"error: HTTP/1.1 401\n\n{}", b"HTTP/1.1 7\n\n"] {
            assert_eq!(read(body), Pasted { status: None, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body) });
        }
    }

    #[test]
    fn what_a_debugger_prints_is_odd() {
        for body in ["{ code: 20003, message: 'Authenticate' }", "Error: 401", "{\"code\":20003"] {
            assert!(is_odd(body.as_bytes()), "{body}");
        }
        for body in ["", " \n", "{\"code\":20003}\n", "\u{feff}[]", "\"text\"", "<ErrorResponse/>"] {
            assert!(!is_odd(body.as_bytes()), "{body}");
        }
    }
}
