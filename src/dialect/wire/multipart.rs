//! `multipart/form-data`, limited to what the services need: text fields in memory. Parts
//! that a patch does not change keep their bytes.
//!
//! Servers differ in how they read what no client writes: two names of one part, a file, a
//! boundary after a bare line feed or behind the last one. Such a body could have one field
//! here and another one at the service, so only the one form that all of them read alike is
//! read, and every other is a fault with its reason.

use bytes::Bytes;
use memchr::memmem;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::dialect::expr::filter::hex_encode;
use crate::dialect::wire::tree::insert_value;
use crate::parse_limit::{ParseLimit, within_limit};

/// One part of the body.
#[derive(Debug)]
pub(crate) struct FormPart<'b> {
    pub(crate) name: String,
    /// With its own headers, without the line end before the next boundary.
    pub(crate) raw: &'b [u8],
    pub(crate) value: &'b [u8],
}

/// Why a body is not read. It quotes nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MultipartFault {
    #[error(
        "the content type needs `boundary` once, and no other parameter than `charset` in UTF-8"
    )]
    Boundary,
    #[error("it has too many parts")]
    TooManyParts,
    #[error("its parts are incomplete")]
    Incomplete,
    #[error(
        "the boundary is not alone on its line, ends with a bare line feed, or is inside a value; choose another boundary"
    )]
    MisplacedBoundary,
    #[error("there is text after the last boundary")]
    Epilogue,
    #[error(
        "part {0} has not exactly one line `Content-Disposition: form-data; name=\"…\"`, or has another parameter than `name`"
    )]
    Disposition(usize),
    #[error("part {0} is a file; write its text as a field without `filename`")]
    File(usize),
    #[error("part {0} has a transfer encoding; write its text as it is")]
    TransferEncoding(usize),
    #[error("part {0} has a content type other than text/plain in UTF-8")]
    ContentType(usize),
    #[error(
        "part {0} has a header that is not Content-Disposition, Content-Type or the length of its value"
    )]
    Header(usize),
}

/// The boundary that a content type names.
pub(crate) fn boundary(content_type: &str) -> Result<String, MultipartFault> {
    let mut boundary = None;
    for parameter in content_type.split(';').skip(1).map(str::trim) {
        let (name, value) = parameter.split_once('=').ok_or(MultipartFault::Boundary)?;
        match name.to_ascii_lowercase().as_str() {
            "boundary" if boundary.is_none() => {
                boundary = Some(boundary_value(value).ok_or(MultipartFault::Boundary)?);
            }
            "charset" if is_utf8(value) => {}
            _ => return Err(MultipartFault::Boundary),
        }
    }
    boundary.ok_or(MultipartFault::Boundary)
}

/// In quotes or without; a comma without quotes would end it for some servers.
fn boundary_value(value: &str) -> Option<String> {
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let allowed = if quoted.is_some() {
        "'()+_,-./:=? "
    } else {
        "'()+_-./:=?"
    };
    let value = quoted.unwrap_or(value);
    let is_valid = (1..=70).contains(&value.len())
        && !value.ends_with(' ')
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || allowed.contains(c));
    is_valid.then(|| value.to_owned())
}

fn is_utf8(charset: &str) -> bool {
    let charset = charset.trim().trim_matches('"');
    ["utf-8", "utf8", "us-ascii"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
}

/// The number of parts, without making them.
pub(crate) fn count(body: &[u8], boundary: &str) -> Result<usize, ParseLimit> {
    let between = format!("\r\n--{boundary}");
    within_limit(memmem::find_iter(body, between.as_bytes()).count())
}

/// The parts of a body that every server reads alike.
pub(crate) fn parts<'b>(
    body: &'b [u8],
    boundary: &str,
) -> Result<Vec<FormPart<'b>>, MultipartFault> {
    count(body, boundary).map_err(|_| MultipartFault::TooManyParts)?;
    let mark = format!("--{boundary}");
    let mut rest = after_preamble(body, mark.as_bytes())?;
    let mut out = Vec::new();
    loop {
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            return check_epilogue(epilogue).map(|()| out);
        }
        let content = rest
            .strip_prefix(b"\r\n")
            .ok_or(MultipartFault::MisplacedBoundary)?;
        let at = find(content, mark.as_bytes()).ok_or(MultipartFault::Incomplete)?;
        let raw = content.get(..at).unwrap_or_default();
        let raw = raw
            .strip_suffix(b"\r\n")
            .ok_or(MultipartFault::MisplacedBoundary)?;
        out.push(FormPart::parse(raw, out.len() + 1)?);
        rest = content.get(at + mark.len()..).unwrap_or_default();
    }
}

/// What follows the first boundary. A preamble ends with CRLF.
fn after_preamble<'b>(body: &'b [u8], mark: &[u8]) -> Result<&'b [u8], MultipartFault> {
    let at = find(body, mark).ok_or(MultipartFault::Incomplete)?;
    let preamble = body.get(..at).unwrap_or_default();
    if preamble.is_empty() || preamble.ends_with(b"\r\n") {
        Ok(body.get(at + mark.len()..).unwrap_or_default())
    } else {
        Err(MultipartFault::MisplacedBoundary)
    }
}

/// Some servers read on after the last boundary.
fn check_epilogue(epilogue: &[u8]) -> Result<(), MultipartFault> {
    if epilogue.chunks(2).all(|line| line == b"\r\n") {
        Ok(())
    } else {
        Err(MultipartFault::Epilogue)
    }
}

/// The fields as a flat tree, and whether all of them are UTF-8 text.
pub(crate) fn read(body: &Bytes, boundary: &str) -> Result<(Value, bool), MultipartFault> {
    let mut map = Map::new();
    let mut utf8 = true;
    for part in parts(body, boundary)? {
        match std::str::from_utf8(part.value) {
            Ok(text) => insert_value(&mut map, part.name, text.into()),
            Err(_) => utf8 = false,
        }
    }
    Ok((Value::Object(map), utf8))
}

/// A body and its boundary, from fields. The boundary is derived from the content, so the same message gives the same bytes.
pub(crate) fn write<'f>(fields: impl Iterator<Item = (&'f str, String)>) -> (Vec<u8>, String) {
    let raw: Vec<Vec<u8>> = fields
        .map(|(name, value)| encode_part(name, &value))
        .collect();
    let mut digest = Sha256::new();
    for part in &raw {
        digest.update(part);
    }
    let boundary = format!(
        "sidecar{}",
        hex_encode(&digest.finalize()).get(..32).unwrap_or_default()
    );
    (
        join_parts(raw.iter().map(Vec::as_slice), &boundary),
        boundary,
    )
}

/// One part's bytes.
pub(crate) fn encode_part(name: &str, value: &str) -> Vec<u8> {
    let name = name
        .replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A");
    format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").into_bytes()
}

/// Parts between boundaries.
pub(crate) fn join_parts<'p>(parts: impl Iterator<Item = &'p [u8]>, boundary: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

impl<'b> FormPart<'b> {
    /// `number` is its place in the body, from 1.
    fn parse(raw: &'b [u8], number: usize) -> Result<Self, MultipartFault> {
        // A part without headers begins with the blank line.
        let split = find(raw, b"\r\n\r\n").ok_or(MultipartFault::Disposition(number))?;
        let value = raw.get(split + 4..).unwrap_or_default();
        let headers = raw
            .get(..split)
            .and_then(|head| std::str::from_utf8(head).ok());
        let headers = headers.ok_or(MultipartFault::Header(number))?;
        let mut name = None;
        for line in headers.split("\r\n") {
            let found = read_header(line, value, number)?;
            if found.is_some() && name.is_some() {
                return Err(MultipartFault::Disposition(number));
            }
            name = name.or(found);
        }
        let name = name.ok_or(MultipartFault::Disposition(number))?;
        if name == "_charset_" && !std::str::from_utf8(value).is_ok_and(is_utf8) {
            return Err(MultipartFault::ContentType(number));
        }
        Ok(Self { name, raw, value })
    }
}

/// The name, if the line is the one that has it; a fault if the line can change what the part means.
fn read_header(line: &str, value: &[u8], number: usize) -> Result<Option<String>, MultipartFault> {
    let (header, content) = line.split_once(':').ok_or(MultipartFault::Header(number))?;
    let content = content.trim_matches([' ', '\t']);
    if content.chars().any(char::is_control) {
        return Err(MultipartFault::Header(number));
    }
    match header.to_ascii_lowercase().as_str() {
        "content-disposition" => field_name(content, number).map(Some),
        "content-type" if is_plain_text(content) => Ok(None),
        "content-type" => Err(MultipartFault::ContentType(number)),
        "content-transfer-encoding" if is_identity(content) => Ok(None),
        "content-transfer-encoding" => Err(MultipartFault::TransferEncoding(number)),
        "content-length" if content == value.len().to_string() => Ok(None),
        _ => Err(MultipartFault::Header(number)),
    }
}

/// What some clients write for "as it is".
fn is_identity(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"]
        .iter()
        .any(|known| encoding.eq_ignore_ascii_case(known))
}

fn is_plain_text(content_type: &str) -> bool {
    let mut parameters = content_type.split(';').map(str::trim);
    let media = parameters.next().unwrap_or_default();
    let is_utf8_charset = |parameter: &str| {
        parameter
            .split_once('=')
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("charset") && is_utf8(value))
    };
    media.eq_ignore_ascii_case("text/plain") && parameters.all(is_utf8_charset)
}

/// The name in `form-data; name="…"`, which has one parameter only.
fn field_name(content: &str, number: usize) -> Result<String, MultipartFault> {
    let fault = MultipartFault::Disposition(number);
    let (kind, parameter) = content.split_once(';').ok_or(fault)?;
    if !kind.trim_end().eq_ignore_ascii_case("form-data") {
        return Err(fault);
    }
    let value = parameter.trim_start().strip_prefix("name=").ok_or(fault)?;
    let name = match value.strip_prefix('"') {
        Some(quoted) => match quoted.split_once('"').ok_or(fault)? {
            (name, "") => name,
            (_, rest) if is_file_parameter(rest) => return Err(MultipartFault::File(number)),
            _ => return Err(fault),
        },
        None if is_token(value) => value,
        None => return Err(fault),
    };
    // A backslash is an escape to some servers and a character to others.
    if name.is_empty() || name.contains('\\') {
        return Err(fault);
    }
    Ok(decode_name(name))
}

fn is_file_parameter(rest: &str) -> bool {
    let rest = rest.strip_prefix(';').unwrap_or_default();
    rest.trim_start()
        .to_ascii_lowercase()
        .starts_with("filename")
}

fn is_token(value: &str) -> bool {
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !value.is_empty() && value.chars().all(is_token_char)
}

/// As browsers and Node's `FormData` write the characters that would end the name.
fn decode_name(name: &str) -> String {
    name.replace("%22", "\"")
        .replace("%0D", "\r")
        .replace("%0A", "\n")
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find(haystack, needle)
}

#[cfg(test)]
mod tests;
