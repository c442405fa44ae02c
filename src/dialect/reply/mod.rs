//! What a reply means, and what a reply of ours looks like.

pub(super) mod access_denied;
pub(super) mod cause_table;
pub(super) mod classify;
pub(super) mod listing;
pub(super) mod login;
mod own_text;
pub(super) mod parsed_reply;
pub(super) mod probe;
pub(super) mod render;
pub(super) mod sanitize;
pub(super) mod simulate;
mod unlisted;
