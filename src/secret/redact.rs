//! The one function that takes secrets out of foreign text: it finds each secret however a service
//! may have written it, and replaces what stands for it in the text. Does not look for secrets
//! shorter than [`MIN_SECRET_LEN`]: ordinary text contains them.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use zeroize::Zeroizing;

use crate::secret::decoded::{DecodedText, SourceMarks, decoded_layers, without_blanks};

/// The least number of bytes of a secret that is searched for.
const MIN_SECRET_LEN: usize = 8;
/// The same for a spelling that is shorter than its secret: without blanks, or decoded if the secret itself reads as an
/// encoding.
const MIN_SPELLING_LEN: usize = 6;

/// The spellings of secrets, made once and wiped on drop.
pub(crate) struct Redactor {
    needles: Vec<Zeroizing<Vec<u8>>>,
}

impl Redactor {
    /// Looks for these secrets; the short ones are left out.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles: Vec<Zeroizing<Vec<u8>>> = secrets
            .into_iter()
            .filter(|secret| secret.len() >= MIN_SECRET_LEN)
            .flat_map(spellings)
            .collect();
        needles.sort_unstable_by(|a, b| a.as_slice().cmp(b));
        needles.dedup();
        Self { needles }
    }

    /// The text with every spelling of the secrets replaced; none if there is none in it. Encodings on top of each
    /// other are removed before the search, letters are compared without case, and blanks and markup do not count.
    pub(crate) fn redact_bytes(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.needles.is_empty() {
            return None;
        }
        let mut marks = SourceMarks::new(text);
        DecodedText::visit_layers(text, |layer| {
            for found in self.find_all(&layer.bytes.to_ascii_lowercase()) {
                marks.mark(layer, found);
            }
        });
        marks.replaced()
    }

    /// Where the spellings are in a text in lower case.
    fn find_all(&self, text: &[u8]) -> impl Iterator<Item = Range<usize>> {
        self.needles.iter().flat_map(|needle| {
            memmem::find_iter(text, needle.as_slice()).map(|at| at..at + needle.len())
        })
    }

    /// The same for text.
    pub(crate) fn redact_text(&self, text: String) -> String {
        match self.redact_bytes(text.as_bytes()) {
            // Whole characters are replaced, so it stays UTF-8.
            Some(redacted) => String::from_utf8_lossy(&redacted).into_owned(),
            None => text,
        }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} spellings)", self.needles.len())
    }
}

/// What to search for in decoded text, in lower case, with and without blanks.
fn spellings(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut all = decoded_layers(secret.as_bytes());
    all.push(hex(secret).into_bytes());
    for before in 0..3 {
        all.push(base64_inner(secret, before, &STANDARD_NO_PAD));
        all.push(base64_inner(secret, before, &URL_SAFE_NO_PAD));
    }
    let compact: Vec<Vec<u8>> = all
        .iter()
        .map(|spelling| without_blanks(spelling))
        .collect();
    all.into_iter()
        .chain(compact)
        .filter(|spelling| spelling.len() >= MIN_SPELLING_LEN)
        .map(|mut spelling| {
            spelling.make_ascii_lowercase();
            Zeroizing::new(spelling)
        })
        .collect()
}

fn hex(secret: &str) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16);
    secret
        .bytes()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .flatten()
        .collect()
}

/// The characters of a base64 text that depend on `secret` alone if `before` other bytes (modulo three)
/// precede it, as in `user:secret`.
fn base64_inner(secret: &str, before: usize, engine: &impl Engine) -> Vec<u8> {
    let mut padded = vec![0; before];
    padded.extend_from_slice(secret.as_bytes());
    let text = engine.encode(&padded);
    let first = (before * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    text.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests;
