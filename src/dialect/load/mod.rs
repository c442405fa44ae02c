//! From a TOML file to a compiled description, with every error reported at its place.

pub(super) mod build;
pub(super) mod build_account;
pub(super) mod build_probes;
pub(super) mod build_send;
pub(super) mod catalog;
pub(super) mod compile;
pub(super) mod compile_reply;
pub(super) mod console;
pub(super) mod holes;
pub(super) mod parse;
pub(super) mod raw;
pub(super) mod spans;
pub(super) mod validate;
