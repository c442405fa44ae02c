//! Takes our secrets out of what a provider says, before the backend reads it: some
//! services echo a key in an error. Pure; looks for each secret as it is, and as base64,
//! URL encoding and JSON write it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use memchr::memmem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::dialect::Reply;

const MASK: &[u8] = b"***";

/// `reply` with every spelling of `secrets` replaced by `***`.
pub(super) fn mask<'a>(mut reply: Reply, secrets: impl Iterator<Item = &'a str>) -> Reply {
    let needles: Vec<Vec<u8>> = secrets.flat_map(spellings).collect();
    for value in reply.headers.values_mut() {
        if let Some(masked) = masked(value.as_bytes(), &needles) {
            *value = HeaderValue::from_bytes(&masked).unwrap_or_else(|_| HeaderValue::from_static("***"));
        }
    }
    if let Some(body) = masked(&reply.body, &needles) {
        reply.body = Bytes::from(body);
    }
    reply
}

/// The ways a service may write `secret`, longest first.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(secret).unwrap_or_default();
    let mut all = vec![
        secret.as_bytes().to_vec(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().into_bytes(),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>().into_bytes(),
        json.trim_matches('"').as_bytes().to_vec(),
    ];
    for before in 0..3 {
        all.push(inside_base64(secret, before, &STANDARD_NO_PAD));
        all.push(inside_base64(secret, before, &URL_SAFE_NO_PAD));
    }
    all.retain(|needle| needle.len() >= 8);
    all.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    all.dedup();
    all
}

/// The characters of a base64 text that depend on `secret` alone when `before` other bytes
/// (of three) stand before it, as in `user:secret`.
fn inside_base64(secret: &str, before: usize, engine: &impl Engine) -> Vec<u8> {
    let mut padded = vec![0; before];
    padded.extend_from_slice(secret.as_bytes());
    let text = engine.encode(&padded);
    let (head, whole) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    text.as_bytes().get(head..whole).unwrap_or_default().to_vec()
}

fn masked(text: &[u8], needles: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut found: Option<Vec<u8>> = None;
    for needle in needles {
        let now = found.as_deref().unwrap_or(text);
        if memmem::find(now, needle).is_some() {
            found = Some(replaced(now, needle));
        }
    }
    found
}

fn replaced(text: &[u8], needle: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = memmem::find(rest, needle).and_then(|at| Some((rest.get(..at)?, rest.get(at + needle.len()..)?))) {
        out.extend_from_slice(head);
        out.extend_from_slice(MASK);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use http::{HeaderMap, StatusCode};

    #[test]
    fn a_secret_is_masked_however_it_is_written() {
        let secret = "p+ss/w\"rd&0123=%";
        for echo in [
            secret.to_owned(),
            serde_json::to_string(secret).unwrap(),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            STANDARD.encode(secret),
            STANDARD.encode(format!("u:{secret}")),
            STANDARD.encode(format!("us:{secret}")),
            STANDARD.encode(format!("use:{secret}")),
            URL_SAFE_NO_PAD.encode(format!("user1:{secret}")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-echo", HeaderValue::from_str(&echo.replace('\\', "")).unwrap());
            let reply = Reply { status: StatusCode::OK, headers, body: format!("before {echo} after {echo}").into() };
            let reply = mask(reply, [secret].into_iter());
            let body = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(body.contains("***") && body.starts_with("before ") && !body.contains(&echo), "{echo} stayed in {body}");
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let reply = Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: "Request is received".into() };
        assert_eq!(mask(reply, ["0123456789"].into_iter()).body, "Request is received");
    }
}
