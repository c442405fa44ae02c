//! The life of one call: route, read, decide, attempt, classify, answer.

mod settings;

pub use settings::{Caller, CallerProof, Mode, OnUnknown, Provider, Route, Settings, TextTemplate};
