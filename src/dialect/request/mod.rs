//! A backend's request: recognised, read, and written or patched for a provider.

mod accepted;
pub(super) mod credential;
pub(super) mod decoded;
mod keyed_lists;
mod listed_fields;
mod match_fields;
pub(super) mod missing;
pub(super) mod patch;
pub(super) mod presented;
pub(super) mod read;
pub(super) mod recipients;
pub(super) mod recognise;
pub(super) mod recognised;
pub(super) mod sign;
pub(super) mod unset_value;
pub(super) mod write;
