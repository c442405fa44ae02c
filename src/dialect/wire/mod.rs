//! Requests and replies as bytes: bodies read into one tree and written from it.

pub(super) mod body;
pub(super) mod format;
pub(super) mod json_text;
pub(super) mod message;
pub(super) mod multipart;
pub(super) mod tree;
mod unique_names;
