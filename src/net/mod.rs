//! Sockets, TLS and the local CA, the upstream client, and what a raw request must be
//! before anything else looks at it. Knows no dialect.

mod settings;

pub use settings::{CaSettings, Limits, Listen, OtherHosts, Upstream};
