//! What the status shows about the config: providers, routes, vaults and listeners.

use std::time::SystemTime;

use crate::sms::ProviderId;

/// One config, as the status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigSummary {
    /// The file, as the operator named it.
    pub file: String,
    /// A digest of the file and its descriptions.
    pub digest: String,
    /// The name of this sidecar, if it has one.
    pub instance: Option<String>,
    /// `mode = "observe"` at the top.
    pub observe: bool,
    /// The providers, in the file's order.
    pub providers: Vec<ProviderSummary>,
    /// The routes, in the file's order; the first match wins.
    pub routes: Vec<RouteSummary>,
    /// Name and kind of each vault.
    pub vaults: Vec<(String, &'static str)>,
    /// Name and address of each listener.
    pub listen: Vec<(&'static str, String)>,
    /// What of the config takes effect only after a restart.
    pub needs_restart: Option<String>,
}

/// A file of the config differs from what was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The file.
    pub file: String,
    /// When it was changed.
    pub at: SystemTime,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSummary {
    /// Its name.
    pub id: ProviderId,
    /// The dialect of its service.
    pub dialect: String,
    /// The base URL for its attempts, without credentials or query.
    pub base_url: String,
    /// Its credential as `vault:path`; none only in observe mode.
    pub credential: Option<String>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSummary {
    /// Its name; without routes in the config, the dialect whose requests it serves.
    pub name: String,
    /// Its providers, in the listed order.
    pub providers: Vec<ProviderId>,
    /// Recipient prefixes; empty for every recipient.
    pub recipients: Vec<String>,
    /// Whether it is in observe mode.
    pub observe: bool,
}

impl ConfigSummary {
    /// The routes of the file. If it has none, one route for each dialect, which is how requests are then
    /// routed.
    pub(crate) fn effective_routes(&self) -> Vec<RouteSummary> {
        if !self.routes.is_empty() {
            return self.routes.clone();
        }
        let mut routes: Vec<RouteSummary> = Vec::new();
        for provider in &self.providers {
            if let Some(route) = routes
                .iter_mut()
                .find(|route| route.name == provider.dialect)
            {
                route.providers.push(provider.id.clone());
                continue;
            }
            routes.push(RouteSummary {
                name: provider.dialect.clone(),
                providers: vec![provider.id.clone()],
                recipients: Vec::new(),
                observe: self.observe,
            });
        }
        routes
    }
}
