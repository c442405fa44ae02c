//! The hole-and-filter language: templates, their filters, the scope that fills them, and the
//! paths of values in a body.

pub(super) mod filter;
pub(super) mod gsm;
pub(super) mod path;
pub(super) mod scope;
pub(super) mod template;
pub(super) mod tree;
