//! From a TOML file to a compiled description, with every mistake reported where it stands.

pub(super) mod build;
pub(super) mod build_send;
pub(super) mod catalog;
pub(super) mod compile;
pub(super) mod console;
pub(super) mod parse;
pub(super) mod raw;
pub(super) mod validate;
