//! The checks behind `sms-sidecar doctor`: the network, the vaults, each provider's account, the routes
//! and the backend's own side.

pub(crate) mod account;
pub(crate) mod backend;
pub(crate) mod check;
pub(crate) mod connectivity;
pub(crate) mod provider_check;
pub(crate) mod routes;
pub(crate) mod runner;
pub(crate) mod texts;
pub(crate) mod vault;
