//! The checks behind `sms-sidecar doctor`: the network, the vaults, each provider's account, the
//! routes and the backend's own side. [`Setup`] is all that they need of the config.

pub(crate) mod account;
pub(crate) mod backend;
pub(crate) mod check;
pub(crate) mod connectivity;
pub(crate) mod provider_check;
pub(crate) mod routes;
pub(crate) mod runner;
pub(crate) mod running;
pub(crate) mod send;
pub(crate) mod texts;
pub(crate) mod vault;
pub(crate) mod webhook;

use crate::net::{CaSettings, Listen};
use crate::proxy;
use crate::vault as vaults;

/// What is examined: the settings of one config, and the file that they come from.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    /// The config file, as the operator names it.
    pub(crate) file: &'a str,
    /// Providers, routes and templates.
    pub(crate) proxy: &'a proxy::Settings,
    /// The vaults.
    pub(crate) vault: &'a vaults::Settings,
    /// Where the backend must point, and whether there is a control socket.
    pub(crate) listen: &'a Listen,
    /// The local CA; none: TLS is not terminated.
    pub(crate) ca: Option<&'a CaSettings>,
    /// The largest reply body that is read, in bytes.
    pub(crate) max_body: usize,
    /// The hosts of the configured services.
    pub(crate) hosts: Vec<String>,
}

impl Setup<'_> {
    /// Whether remedies can name `resume` and `reload`.
    pub(crate) const fn has_control(&self) -> bool {
        self.listen.control.is_some()
    }
}

#[cfg(test)]
impl<'a> Setup<'a> {
    /// A setup as the command line makes it, for a config named `c.toml`.
    fn for_test(config: &'a crate::config::Config) -> Self {
        Self {
            file: "c.toml",
            proxy: &config.proxy,
            vault: &config.vault,
            listen: &config.listen,
            ca: config.ca.as_ref(),
            max_body: config.limits.max_body,
            hosts: crate::config::intercepted_hosts(&config.proxy),
        }
    }
}
