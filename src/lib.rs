//! sms-sidecar: puts credentials into a backend's SMS requests, fails over across
//! services, and says why a service refuses.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod diagnosis;
pub mod dialect;
pub mod harden;
pub mod net;
pub mod policy;
pub mod problem;
pub mod proxy;
pub mod secret;
pub mod sms;
pub mod telemetry;
pub mod vault;
