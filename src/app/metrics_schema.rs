//! The part of the config that operators see: the metric series, and what the status shows.

use crate::config::Config;
use crate::dialect::Catalog;
use crate::net::Listen;
use crate::provider::Provider;
use crate::proxy::{Mode, Route};
use crate::telemetry::{BuildInfo, ConfigSummary, MetricsSchema, ProviderSummary, RouteSummary};

/// The metric series and the status layout of a config. `listen` has the listeners that were opened
/// at the start.
pub fn metrics_schema(loaded: &Config, listen: &Listen, build: &BuildInfo) -> MetricsSchema {
    let proxy = &loaded.proxy;
    MetricsSchema {
        providers: proxy
            .providers
            .iter()
            .map(|provider| (provider.id.clone(), provider.dialect.name.clone()))
            .collect(),
        vaults: loaded.vault.sources.keys().cloned().collect(),
        dialects: proxy
            .catalog
            .names()
            .map(|name| {
                (
                    name.to_owned(),
                    dialect_source(&proxy.catalog, name).to_owned(),
                )
            })
            .collect(),
        build: build.clone(),
        config: status_layout(loaded, listen),
    }
}

/// The part of the config that the status shows.
fn status_layout(loaded: &Config, listen: &Listen) -> ConfigSummary {
    let proxy = &loaded.proxy;
    let provider = |provider: &Provider| ProviderSummary {
        id: provider.id.clone(),
        dialect: provider.dialect.name.clone(),
        base_url: provider.base_url.clone(),
        credential: provider
            .credential
            .as_ref()
            .map(|at| format!("{}:{}", at.vault, at.path)),
    };
    let route = |route: &Route| RouteSummary {
        name: route.name.clone(),
        providers: route.providers.clone(),
        recipients: route.recipients.clone(),
        observe: route.mode == Mode::Observe,
    };
    ConfigSummary {
        file: loaded.file().to_owned(),
        digest: loaded.fingerprint.digest().to_owned(),
        instance: loaded.instance.clone(),
        observe: proxy.mode == Mode::Observe,
        providers: proxy.providers.iter().map(provider).collect(),
        routes: proxy.routes.iter().map(route).collect(),
        vaults: loaded
            .vault
            .sources
            .iter()
            .map(|(name, source)| (name.clone(), source.as_kind().kind()))
            .collect(),
        listen: listen_addresses(listen),
        needs_restart: None,
    }
}

/// Each listener's key under `[listen]`, with its address.
pub(crate) fn listen_addresses(listen: &Listen) -> Vec<(&'static str, String)> {
    let tcp = [
        ("proxy", listen.proxy),
        ("admin", listen.admin),
        ("metrics", listen.metrics),
    ];
    let unix = [("unix", &listen.unix), ("control", &listen.control)];
    let tcp = tcp
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?.to_string())));
    tcp.chain(
        unix.into_iter()
            .filter_map(|(name, path)| Some((name, path.as_ref()?.display().to_string()))),
    )
    .collect()
}

fn dialect_source(catalog: &Catalog, name: &str) -> &'static str {
    if catalog.is_built_in(name) {
        "built-in"
    } else {
        "folder"
    }
}
