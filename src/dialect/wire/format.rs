//! How a body is encoded, by its headers and, where they do not say it, by its first byte.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::dialect::RequestReadError;
use crate::dialect::wire::multipart::{self, MultipartFault};
use crate::parse_limit::{self, ParseLimit};

/// How a body is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    Empty,
    Json,
    Form,
    Multipart(String),
    Other(String),
}

impl BodyFormat {
    /// Decided by the content type, without one by the first byte of the body.
    pub(crate) fn detect(headers: &HeaderMap, body: &[u8]) -> Result<Self, RequestReadError> {
        if headers.get_all(CONTENT_TYPE).iter().count() > 1 {
            return Err(RequestReadError::Malformed {
                format: "HTTP",
                what: "it has two Content-Type headers".into(),
            });
        }
        let coding = header_text(headers, CONTENT_ENCODING.as_str());
        if !(coding.is_empty() || coding.eq_ignore_ascii_case("identity")) {
            return Err(RequestReadError::Encoded(printable_token(coding)));
        }
        detect_format(header_text(headers, CONTENT_TYPE.as_str()), body)
    }

    /// The number of values of the body's tree, without making one.
    pub(super) fn count_values(&self, body: &[u8]) -> Result<usize, ParseLimit> {
        match self {
            Self::Json => parse_limit::count_json(strip_bom(body)),
            Self::Form => parse_limit::count_pairs(body),
            Self::Multipart(boundary) => multipart::count(body, boundary),
            Self::Empty | Self::Other(_) => Ok(0),
        }
    }
}

/// Whether nothing says how a body is encoded: no content type, or the one that HTTP clients add to a text of their own.
pub(crate) fn is_untyped(headers: &HeaderMap) -> bool {
    let media = media_type(header_text(headers, CONTENT_TYPE.as_str()));
    media.is_empty() || media == "text/plain"
}

/// The media type for an error: `none` if there is none.
pub(crate) fn media_name(headers: &HeaderMap) -> String {
    let media = media_type(header_text(headers, CONTENT_TYPE.as_str()));
    match &*media {
        "" => "none".to_owned(),
        other => printable_token(other),
    }
}

/// In small letters.
fn media_type(content_type: &str) -> Cow<'_, str> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if media.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(media.to_ascii_lowercase())
    } else {
        Cow::Borrowed(media)
    }
}

pub(super) fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .trim()
}

pub(super) fn malformed_multipart(fault: MultipartFault) -> RequestReadError {
    RequestReadError::Malformed {
        format: "multipart form",
        what: fault.to_string(),
    }
}

fn detect_format(content_type: &str, body: &[u8]) -> Result<BodyFormat, RequestReadError> {
    let media = media_type(content_type);
    Ok(match &*media {
        _ if body.is_empty() => BodyFormat::Empty,
        "application/x-www-form-urlencoded" => BodyFormat::Form,
        "multipart/form-data" => {
            BodyFormat::Multipart(multipart::boundary(content_type).map_err(malformed_multipart)?)
        }
        "" | "text/plain" => match strip_bom(body)
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
        {
            Some(b'{' | b'[') => BodyFormat::Json,
            _ => BodyFormat::Form,
        },
        json if json.ends_with("/json")
            || json.ends_with("+json")
            || json.contains("-json-")
            || json.contains("amz-json") =>
        {
            BodyFormat::Json
        }
        other => BodyFormat::Other(printable_token(other)),
    })
}

/// Whether the charset is UTF-8 or absent.
pub(super) fn is_utf8_charset(content_type: &str) -> bool {
    let named = content_type.split(';').skip(1).find_map(|param| {
        param
            .trim()
            .split_once('=')
            .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
    });
    named.is_none_or(|(_, value)| {
        let value = value.trim().trim_matches('"');
        ["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|known| value.eq_ignore_ascii_case(known))
    })
}

fn printable_token(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_graphic)
        .take(60)
        .collect()
}

/// The body without the byte order mark that some servers and editors write.
pub(crate) fn strip_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}
