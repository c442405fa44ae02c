//! Where credentials come from, which version of them we have seen, and how a newer
//! one is noticed without a restart. Nothing above this layer reads a secret store.

mod settings;

pub use settings::{Reference, Settings, SourceSettings};
