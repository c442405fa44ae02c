//! Sockets, TLS and the local CA, the upstream client, and the checks that a raw request passes
//! before anything else reads it. Independent of dialects.

pub mod authority;
pub mod background;
pub mod byte_budget;
mod byte_counters;
pub mod ca;
pub(crate) mod connection_limit;
pub mod drain;
pub mod entrypoint;
pub mod file_limit;
pub mod operator;
pub mod peer;
pub mod resolver;
pub mod screen;
pub mod server;
mod socket_table;
pub mod upstream;

mod settings;

pub use settings::{CaSettings, Limits, Listen, OtherHosts, UpstreamSettings};
