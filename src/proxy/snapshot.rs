//! One config at run time: its providers, its routes, and which hosts and path prefixes belong to which
//! dialect or account. A reload replaces it as a whole; it never changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dialect::recognise;
use crate::dialect::{Dialect, Recognition, Request, RequestTarget};
use crate::net::OtherHosts;
use crate::net::authority::Authority;
use crate::net::entrypoint::EntrypointTarget;
use crate::policy::{RouteCriteria, RouteInput, TemplateError, Templates};
use crate::provider::ProviderRuntime;
use crate::proxy::provider_orders::{OrderedProviders, ProviderOrders};
use crate::proxy::{Mode, Route, Settings};
use crate::sms::{NumberingPlan, ProviderId};
use crate::vault::CredentialCache;

/// One config at run time.
#[derive(Debug)]
pub(super) struct RoutingSnapshot {
    pub(super) settings: Settings,
    pub(super) providers: BTreeMap<ProviderId, Arc<ProviderRuntime>>,
    pub(super) templates: Templates,
    pub(super) credential_cache: Arc<CredentialCache>,
    /// The dialects of the configured providers.
    dialects: Vec<Arc<Dialect>>,
    /// The dialect of each provider whose account adds operations, and these.
    extra_operations: Vec<(String, Vec<String>)>,
    /// Where the provider's own are among them.
    own_operations: BTreeMap<ProviderId, usize>,
    /// The provider at each host and port, in the order of their names.
    accounts_by_address: BTreeMap<(String, u16), Arc<ProviderRuntime>>,
    /// For each route, as in the settings.
    route_orders: Vec<ProviderOrders>,
    /// For messages of a dialect that match no route.
    dialect_orders: BTreeMap<String, ProviderOrders>,
}

/// What a request is, and which account its address names.
#[derive(Debug)]
pub(super) struct RequestMatch {
    pub(super) recognition: Recognition,
    /// The account that the base URL names; used for passthrough requests.
    pub(super) named_provider: Option<ProviderId>,
    /// With the path as the dialect defines it.
    pub(super) request: Request,
}

/// The route of a message, if one matches, and its providers in the order in which they are tried.
pub(super) struct RoutedProviders<'a> {
    pub(super) route: Option<&'a Route>,
    /// The country of numbers without a country code.
    pub(super) numbering: Option<&'a NumberingPlan>,
    pub(super) providers: OrderedProviders,
}

/// The dialect and account that the first segment of a path names, and the rest of the path.
struct PathPrefix {
    dialect: Arc<Dialect>,
    named_provider: Option<ProviderId>,
    rest: String,
}

impl RoutingSnapshot {
    pub(super) fn new(
        settings: Settings,
        providers: Vec<Arc<ProviderRuntime>>,
        credential_cache: Arc<CredentialCache>,
    ) -> Result<Self, Vec<TemplateError>> {
        let templates = Templates::new(&settings.templates)?;
        let mut dialects: Vec<Arc<Dialect>> = Vec::new();
        for provider in &settings.providers {
            let is_known = |dialect: &Arc<Dialect>| dialect.name == provider.dialect.name;
            if !dialects.iter().any(is_known) {
                dialects.push(Arc::clone(&provider.dialect));
            }
        }
        let mut extra_operations = Vec::new();
        let mut own_operations = BTreeMap::new();
        for provider in settings
            .providers
            .iter()
            .filter(|it| !it.operations.is_empty())
        {
            own_operations.insert(provider.id.clone(), extra_operations.len());
            extra_operations.push((provider.dialect.name.clone(), provider.operations.clone()));
        }
        let providers: BTreeMap<ProviderId, Arc<ProviderRuntime>> = providers
            .into_iter()
            .map(|runtime| (runtime.provider.id.clone(), runtime))
            .collect();
        let mut accounts_by_address = BTreeMap::new();
        for runtime in providers.values() {
            if let Some(at) = runtime.base_url.authority() {
                let address = (at.host.clone(), at.port);
                accounts_by_address
                    .entry(address)
                    .or_insert_with(|| Arc::clone(runtime));
            }
        }
        let routes = settings.routes.iter();
        Ok(Self {
            route_orders: routes
                .map(|route| ProviderOrders::of_route(route, &providers))
                .collect(),
            dialect_orders: ProviderOrders::of_dialects(&settings.providers, &providers),
            settings,
            providers,
            templates,
            credential_cache,
            dialects,
            extra_operations,
            own_operations,
            accounts_by_address,
        })
    }

    /// Whether the sidecar reads the requests to this host.
    pub(super) fn is_provider_host(&self, authority: &Authority) -> bool {
        self.dialects
            .iter()
            .any(|dialect| dialect.serves_host(&authority.host))
            || self.provider_at(authority).is_some()
    }

    /// Whether a request is for a provider's host, or looks like an operation of a dialect: a backend with a wrong base
    /// URL asks for one, a scanner does not.
    pub(super) fn addresses_provider(&self, target: &EntrypointTarget, head: &Request) -> bool {
        if let EntrypointTarget::Host(authority) = target {
            return self.is_provider_host(authority);
        }
        match self.match_request(target, head.clone()).recognition {
            Recognition::Operation(_) | Recognition::UnlistedOperation(_) => true,
            Recognition::Unrecognised => {
                self.looks_like_operation(&head.path, head)
                    || head
                        .path
                        .get(1..)
                        .and_then(|path| path.find('/').and_then(|end| path.get(end..)))
                        .is_some_and(|rest| self.looks_like_operation(rest, head))
            }
        }
    }

    fn looks_like_operation(&self, path: &str, head: &Request) -> bool {
        let request = Request {
            path: path.to_owned(),
            ..head.clone()
        };
        let target = RequestTarget::Unspecified;
        let found = recognise(&self.dialects, target, &request, &self.extra_operations);
        matches!(found, Recognition::Operation(_))
    }

    pub(super) fn denies_other_hosts(&self) -> bool {
        self.settings.other_hosts == OtherHosts::Deny
    }

    /// Recognises dialect and operation of a request, and the account that its address names.
    pub(super) fn match_request(
        &self,
        target: &EntrypointTarget,
        request: Request,
    ) -> RequestMatch {
        match target {
            EntrypointTarget::Host(authority) => self.match_host(authority, request),
            EntrypointTarget::BaseUrl => self.match_path(request, None),
            EntrypointTarget::Unspecified => {
                self.match_path(request, Some(RequestTarget::Unspecified))
            }
        }
    }

    /// By the host; if it is an account's own and not the dialect's, by that account.
    fn match_host(&self, authority: &Authority, mut request: Request) -> RequestMatch {
        let own_host = self
            .provider_at(authority)
            .filter(|runtime| !runtime.provider.dialect.serves_host(&authority.host));
        let Some(runtime) = own_host else {
            return self.recognise(RequestTarget::Host(&authority.host), request, None);
        };
        request.path = runtime.base_url.to_dialect_path(&request.path);
        let target = RequestTarget::Named(&runtime.provider.dialect);
        self.recognise(target, request, Some(runtime.provider.id.clone()))
    }

    /// By the first segment of the path; if that names nothing, by `fallback`.
    fn match_path(
        &self,
        mut request: Request,
        fallback: Option<RequestTarget<'_>>,
    ) -> RequestMatch {
        if let Some(prefix) = self.parse_prefix(&request.path) {
            request.path = prefix.rest;
            let target = RequestTarget::Named(&prefix.dialect);
            return self.recognise(target, request, prefix.named_provider);
        }
        match fallback {
            Some(target) => self.recognise(target, request, None),
            None => RequestMatch {
                recognition: Recognition::Unrecognised,
                named_provider: None,
                request,
            },
        }
    }

    fn recognise(
        &self,
        target: RequestTarget<'_>,
        request: Request,
        named_provider: Option<ProviderId>,
    ) -> RequestMatch {
        let extra_operations = self.extra_operations_of(named_provider.as_ref());
        RequestMatch {
            recognition: recognise(&self.dialects, target, &request, extra_operations),
            named_provider,
            request,
        }
    }

    /// The first route that matches, and its providers. `input` reads the message in the country of each route.
    fn route<'i>(
        &self,
        input: impl Fn(Option<&NumberingPlan>) -> RouteInput<'i>,
    ) -> Option<(&Route, &ProviderOrders)> {
        let matches = |(route, orders): &(&Route, &ProviderOrders)| {
            RouteCriteria {
                recipients: &route.recipients,
                callers: &route.callers,
                dialects: &route.dialects,
            }
            .matches(&input(orders.numbering.as_ref()))
        };
        let mut routes = self.settings.routes.iter().zip(&self.route_orders);
        routes.find(matches)
    }

    /// The countries of all routes. An observed route completes nothing.
    pub(super) fn route_countries(&self) -> impl Iterator<Item = &NumberingPlan> {
        let routes = self.settings.routes.iter().zip(&self.route_orders);
        let acting = routes.filter(|(route, _)| route.mode == Mode::Act);
        acting.filter_map(|(_, orders)| orders.numbering.as_ref())
    }

    /// The route of a message and its providers. A `pinned` provider takes no route and is the only one.
    pub(super) fn routed_providers<'i>(
        &self,
        pinned: Option<&ProviderId>,
        dialect: &Dialect,
        input: impl Fn(Option<&NumberingPlan>) -> RouteInput<'i>,
    ) -> RoutedProviders<'_> {
        if let Some(pinned) = pinned {
            let only = self.providers.get(pinned);
            return RoutedProviders {
                route: None,
                numbering: only.and_then(|runtime| runtime.provider.country.as_ref()),
                providers: only.cloned().into_iter().collect(),
            };
        }
        let found = self.route(input);
        let orders = found.map(|(_, orders)| orders);
        let orders = orders.or_else(|| self.dialect_orders.get(&dialect.name));
        RoutedProviders {
            route: found.map(|(route, _)| route),
            numbering: orders.and_then(|orders| orders.numbering.as_ref()),
            providers: orders.map_or_else(OrderedProviders::default, |orders| {
                Arc::clone(orders.for_dialect(&dialect.name))
            }),
        }
    }

    /// The account of a passthrough request: the one it names, else the first of its dialect that `may` take it.
    pub(super) fn passthrough_provider(
        &self,
        named: Option<&ProviderId>,
        dialect: &Dialect,
        may: impl Fn(&ProviderRuntime) -> bool,
    ) -> Option<Arc<ProviderRuntime>> {
        let named = named.and_then(|id| self.providers.get(id).cloned());
        named.or_else(|| {
            let orders = self.dialect_orders.get(&dialect.name)?;
            let mut own = orders.for_dialect(&dialect.name).iter();
            own.find(|runtime| may(runtime)).cloned()
        })
    }

    /// The operations that accounts add to their dialects; only those of the named one, if the address names one.
    fn extra_operations_of(&self, named: Option<&ProviderId>) -> &[(String, Vec<String>)] {
        let Some(named) = named else {
            return &self.extra_operations;
        };
        let own = self.own_operations.get(named).copied();
        own.and_then(|at| self.extra_operations.get(at..=at))
            .unwrap_or_default()
    }

    /// Whether requests of this dialect that are not a message are only observed: a placeholder login would make the
    /// backend's own sends fail.
    pub(super) fn observes(&self, dialect: &Dialect) -> bool {
        let mut routes = self
            .settings
            .routes
            .iter()
            .filter(|route| route.dialects.is_empty() || route.dialects.contains(&dialect.name))
            .peekable();
        self.settings.mode == Mode::Observe
            || (routes.peek().is_some() && routes.all(|route| route.mode == Mode::Observe))
    }

    fn provider_at(&self, authority: &Authority) -> Option<&Arc<ProviderRuntime>> {
        self.accounts_by_address
            .get(&(authority.host.clone(), authority.port))
    }

    /// `/playmobile/broker-api/send`: what `playmobile` names, and `/broker-api/send`.
    fn parse_prefix(&self, path: &str) -> Option<PathPrefix> {
        // AWS's older SDK posts to the base URL itself: `/aws-sns`.
        let path = path.strip_prefix('/')?;
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let rest = format!("/{rest}");
        let id = ProviderId::new(name);
        match self.providers.get(&id) {
            Some(runtime) => Some(PathPrefix {
                dialect: Arc::clone(&runtime.provider.dialect),
                rest: runtime.base_url.to_dialect_path(&rest),
                named_provider: Some(id),
            }),
            None => self.settings.catalog.get(name).map(|dialect| PathPrefix {
                dialect: Arc::clone(dialect),
                named_provider: None,
                rest,
            }),
        }
    }
}
