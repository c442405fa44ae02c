//! Takes our secrets out of what a provider says, before the backend reads it: some
//! services echo a key in an error. Pure; looks for each secret as it is, and as base64,
//! URL encoding and JSON write it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use memchr::memmem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::dialect::Reply;
use crate::policy::CredentialRevision;

const REPLACEMENT: &[u8] = b"***";
/// Shorter than this, a spelling is found in innocent text.
const MIN_SPELLING_LEN: usize = 8;

/// A mask, and what it was made to hide.
pub(crate) type CachedRedactor = (CredentialRevision, Arc<Redactor>);

/// Secrets to look for, spelled once however often they are looked for; wiped on drop.
pub(crate) struct Redactor {
    needles: Vec<Zeroizing<Vec<u8>>>,
}

impl Redactor {
    pub(crate) fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        Self {
            needles: secrets.flat_map(spellings).collect(),
        }
    }

    /// `reply` with every spelling of the secrets replaced by `***`.
    pub(crate) fn redact_reply(&self, mut reply: Reply) -> Reply {
        for value in reply.headers.values_mut() {
            if let Some(masked) = self.redact_bytes(value.as_bytes()) {
                *value = HeaderValue::from_bytes(&masked)
                    .unwrap_or_else(|_| HeaderValue::from_static("***"));
            }
        }
        if let Some(body) = self.redact_bytes(&reply.body) {
            reply.body = Bytes::from(body);
        }
        reply
    }

    fn redact_bytes(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut found: Option<Vec<u8>> = None;
        for needle in &self.needles {
            let now = found.as_deref().unwrap_or(text);
            if memmem::find(now, needle).is_some() {
                found = Some(replace_all(now, needle));
            }
        }
        found
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} spellings)", self.needles.len())
    }
}

/// The ways a service may write `secret`, longest first.
fn spellings(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let json = Zeroizing::new(serde_json::to_string(secret).unwrap_or_default());
    let mut all = vec![
        secret.as_bytes().to_vec(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC)
            .to_string()
            .into_bytes(),
        form_urlencoded::byte_serialize(secret.as_bytes())
            .collect::<String>()
            .into_bytes(),
        json.trim_matches('"').as_bytes().to_vec(),
    ];
    for before in 0..3 {
        all.push(base64_inner(secret, before, &STANDARD_NO_PAD));
        all.push(base64_inner(secret, before, &URL_SAFE_NO_PAD));
    }
    let mut all: Vec<Zeroizing<Vec<u8>>> = all
        .into_iter()
        .map(Zeroizing::new)
        .filter(|needle| needle.len() >= MIN_SPELLING_LEN)
        .collect();
    all.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    all.dedup();
    all
}

/// The characters of a base64 text that depend on `secret` alone when `before` other bytes
/// (of three) stand before it, as in `user:secret`.
fn base64_inner(secret: &str, before: usize, engine: &impl Engine) -> Vec<u8> {
    let mut padded = vec![0; before];
    padded.extend_from_slice(secret.as_bytes());
    let text = engine.encode(&padded);
    let (head, whole) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    text.as_bytes()
        .get(head..whole)
        .unwrap_or_default()
        .to_vec()
}

fn replace_all(text: &[u8], needle: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = memmem::find(rest, needle)
        .and_then(|at| Some((rest.get(..at)?, rest.get(at + needle.len()..)?)))
    {
        out.extend_from_slice(head);
        out.extend_from_slice(REPLACEMENT);
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
            headers.insert(
                "x-echo",
                HeaderValue::from_str(&echo.replace('\\', "")).unwrap(),
            );
            let reply = Reply {
                status: StatusCode::OK,
                headers,
                body: format!("before {echo} after {echo}").into(),
            };
            let reply = Redactor::new([secret].into_iter()).redact_reply(reply);
            let body = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(
                body.contains("***") && body.starts_with("before ") && !body.contains(&echo),
                "{echo} stayed in {body}"
            );
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let reply = Reply {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: "Request is received".into(),
        };
        assert_eq!(
            Redactor::new(["0123456789"].into_iter())
                .redact_reply(reply)
                .body,
            "Request is received"
        );
    }
}
