//! `multipart/form-data`, limited to what the services need: text fields in memory. Parts
//! that a patch does not change keep their bytes. A file is a field like any other, so it
//! makes a request provider-specific.

use bytes::Bytes;
use memchr::memmem;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::dialect::expr::filter::hex_encode;
use crate::dialect::wire::tree::insert_value;
use crate::parse_limit::{ParseLimit, within_limit};

/// One part of the body.
pub(crate) struct FormPart<'b> {
    pub(crate) name: String,
    /// With its own headers, without the line end before the next boundary.
    pub(crate) raw: &'b [u8],
    pub(crate) value: &'b [u8],
}

/// The boundary a content type names.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let value = content_type.split(';').skip(1).find_map(|param| {
        let (name, value) = param.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let value = value.trim().trim_matches('"');
    ((1..=70).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' '))
    .then(|| value.to_owned())
}

/// The number of parts, without making them.
pub(crate) fn count(body: &[u8], boundary: &str) -> Result<usize, ParseLimit> {
    let between = format!("\r\n--{boundary}");
    within_limit(memmem::find_iter(body, between.as_bytes()).count())
}

/// The parts; none if there are too many, or the body does not end as it should.
pub(crate) fn parts<'b>(body: &'b [u8], boundary: &str) -> Option<Vec<FormPart<'b>>> {
    count(body, boundary).ok()?;
    let mark = format!("--{boundary}");
    let mut rest = find(body, mark.as_bytes()).and_then(|at| body.get(at + mark.len()..))?;
    let mut out = Vec::new();
    let between = format!("\r\n{mark}");
    loop {
        if rest.starts_with(b"--") {
            return Some(out);
        }
        let content = rest.strip_prefix(b"\r\n")?;
        let end = find(content, between.as_bytes())?;
        let raw = content.get(..end)?;
        let split = find(raw, b"\r\n\r\n")?;
        let name = part_name(std::str::from_utf8(raw.get(..split)?).ok()?)?;
        out.push(FormPart {
            name,
            raw,
            value: raw.get(split + 4..)?,
        });
        rest = content.get(end + between.len()..)?;
    }
}

/// The fields as a flat tree, and whether all of them are UTF-8 text.
pub(crate) fn read(body: &Bytes, boundary: &str) -> Option<(Value, bool)> {
    let mut map = Map::new();
    let mut utf8 = true;
    for part in parts(body, boundary)? {
        match std::str::from_utf8(part.value) {
            Ok(text) => insert_value(&mut map, part.name, text.into()),
            Err(_) => utf8 = false,
        }
    }
    Some((Value::Object(map), utf8))
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
    let name = name.replace('"', "%22").replace(['\r', '\n'], " ");
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

fn part_name(headers: &str) -> Option<String> {
    let line = headers.split("\r\n").find(|line| {
        line.to_ascii_lowercase()
            .starts_with("content-disposition:")
    })?;
    let (_, tail) = line
        .split_once(" name=")
        .or_else(|| line.split_once(";name="))?;
    let name = match tail.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => tail.split(';').next()?.trim(),
    };
    Some(name.replace("%22", "\""))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find(haystack, needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let tree =
            json!({"mobile_phone": "998901234567", "message": "Kod: 1\r\n--x ў😀", "q\"": "1"});
        let (body, boundary) = write(crate::dialect::wire::body::flat_fields(&tree));
        assert_eq!(read(&body.into(), &boundary), Some((tree, true)));
    }

    #[test]
    fn as_a_browser_and_node_write_it() {
        let body = "preamble\r\n--b\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=to\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n\r\n--b--\r\nend";
        assert_eq!(
            read(&Bytes::from(body), "b"),
            Some((json!({"to": "1", "a": ""}), true))
        );
        assert_eq!(
            boundary("multipart/form-data; boundary=\"a b\""),
            Some("a b".into())
        );
        assert_eq!(boundary("multipart/form-data"), None);
    }

    #[test]
    fn a_torn_body_is_none() {
        for body in [
            "",
            "--b",
            "--b\r\n",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1",
            "--b\r\nx\r\n\r\n1\r\n--b--",
        ] {
            assert!(parts(body.as_bytes(), "b").is_none(), "{body:?}");
        }
    }
}
