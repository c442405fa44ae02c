//! The providers of a message, in the order in which they are tried. A config fixes the order for each route and each
//! dialect of the backend, so it is made once, and a request takes a pointer to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::order_providers;
use crate::provider::{Provider, ProviderRuntime};
use crate::proxy::Route;
use crate::sms::{NumberingPlan, ProviderId};

/// Providers in the order in which they are tried.
pub(super) type OrderedProviders = Arc<[Arc<ProviderRuntime>]>;

/// The providers of one route, or of one dialect where no route matches.
#[derive(Debug)]
pub(super) struct ProviderOrders {
    /// The country of numbers without a country code.
    pub(super) numbering: Option<NumberingPlan>,
    /// For a backend whose dialect one of them speaks.
    by_dialect: BTreeMap<String, OrderedProviders>,
    as_listed: OrderedProviders,
}

impl ProviderOrders {
    /// Those of a route. Its country is its own, else that of the first provider that has one: a number means the same
    /// at all.
    pub(super) fn of_route(
        route: &Route,
        runtimes: &BTreeMap<ProviderId, Arc<ProviderRuntime>>,
    ) -> Self {
        let order_for = |dialect: &str| {
            let is_native = |id: &ProviderId| {
                runtimes
                    .get(id)
                    .is_some_and(|runtime| runtime.provider.dialect.name == dialect)
            };
            let ids = order_providers(&route.providers, is_native, route.prefer_listed);
            ids.iter()
                .filter_map(|id| runtimes.get(id).cloned())
                .collect::<OrderedProviders>()
        };
        let listed = route.providers.iter().filter_map(|id| runtimes.get(id));
        let as_listed: OrderedProviders = listed.cloned().collect();
        let mut by_dialect = BTreeMap::new();
        for runtime in as_listed.iter().filter(|_| !route.prefer_listed) {
            let dialect = &runtime.provider.dialect.name;
            if !by_dialect.contains_key(dialect) {
                by_dialect.insert(dialect.clone(), order_for(dialect));
            }
        }
        Self {
            numbering: route.country.clone().or_else(|| country_of(&as_listed)),
            by_dialect,
            as_listed,
        }
    }

    /// For each dialect its own providers, in the order of the config.
    pub(super) fn of_dialects(
        providers: &[Provider],
        runtimes: &BTreeMap<ProviderId, Arc<ProviderRuntime>>,
    ) -> BTreeMap<String, Self> {
        let mut lists: BTreeMap<&str, Vec<Arc<ProviderRuntime>>> = BTreeMap::new();
        for runtime in providers.iter().filter_map(|it| runtimes.get(&it.id)) {
            let list = lists.entry(&runtime.provider.dialect.name).or_default();
            list.push(Arc::clone(runtime));
        }
        let orders = lists.into_iter().map(|(dialect, list)| {
            let list: OrderedProviders = list.into();
            (dialect.to_owned(), Self::only(list))
        });
        orders.collect()
    }

    /// In one order for every backend.
    pub(super) fn only(providers: OrderedProviders) -> Self {
        Self {
            numbering: country_of(&providers),
            by_dialect: BTreeMap::new(),
            as_listed: providers,
        }
    }

    /// The order for a backend of this dialect.
    pub(super) fn for_dialect(&self, dialect: &str) -> &OrderedProviders {
        self.by_dialect.get(dialect).unwrap_or(&self.as_listed)
    }
}

/// The first country of these providers.
fn country_of(providers: &[Arc<ProviderRuntime>]) -> Option<NumberingPlan> {
    let mut countries = providers.iter().map(|it| it.provider.country.as_ref());
    countries.find_map(Option::<&NumberingPlan>::cloned)
}
