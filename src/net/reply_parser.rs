//! Reads what servers send, not what the standard asks: SMS services stand behind old gateways. What cannot
//! be read is named for what it is.

use std::error::Error;
use std::io;

use hyper::client::conn::http1;

/// Enough for a service behind several proxies, each with its own headers.
const MAX_HEADERS: usize = 256;
/// The longest head of a reply.
const MAX_HEAD: usize = 64 << 10;

/// A client connection that reads folded headers, blanks before a colon, and up to [`MAX_HEADERS`] headers; it
/// skips a line that is not a header.
pub(crate) fn client_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD);
    builder
}

/// What is wrong with the head of a reply. Nothing of the reply itself is quoted.
pub(crate) fn describe_head_error(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        format!(
            "sent more than {MAX_HEADERS} headers or more than {} KiB of them",
            MAX_HEAD >> 10
        )
    } else {
        // The library's own words: "invalid HTTP version parsed", "invalid content-length parsed".
        format!("answered with something that is not HTTP/1.1 ({error})")
    }
}

/// What is wrong with the body of a reply that did not come to its end.
pub(crate) fn describe_body_error(error: &(dyn Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            )
        {
            return "sent a reply whose chunks are not valid";
        }
        cause = current.source();
    }
    "broke off its reply"
}
