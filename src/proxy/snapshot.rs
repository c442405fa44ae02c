//! What one config makes of the pipeline: links to providers, who speaks what, which hosts
//! and path prefixes mean whom. Replaced as a whole by a reload; never changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dialect::recognise;
use crate::dialect::{Dialect, Recognition, Request, RequestTarget};
use crate::net::OtherHosts;
use crate::net::authority::Authority;
use crate::net::entrypoint::EntrypointTarget;
use crate::policy::{RouteCriteria, RouteInput, TemplateError, Templates, order_providers};
use crate::provider::ProviderRuntime;
use crate::proxy::{Mode, Route, Settings};
use crate::sms::ProviderId;
use crate::vault::CredentialCache;

/// One config at run time.
#[derive(Debug)]
pub(super) struct RoutingSnapshot {
    pub(super) settings: Settings,
    pub(super) providers: BTreeMap<ProviderId, Arc<ProviderRuntime>>,
    pub(super) templates: Templates,
    pub(super) keeper: Arc<CredentialCache>,
    /// Dialects of configured providers: whose hosts are ours.
    dialects: Vec<Arc<Dialect>>,
    /// Each provider's dialect and the operations that its account adds, in the order of the config.
    extra_operations: Vec<(String, Vec<String>)>,
}

/// What a request is, and whose account its address names.
#[derive(Debug)]
pub(super) struct RequestMatch {
    pub(super) recognition: Recognition,
    /// Named by the base URL's first segment: for carried calls.
    pub(super) named_provider: Option<ProviderId>,
    /// With the prefix taken off.
    pub(super) request: Request,
}

/// A route, where one is taken, and whom to ask in order.
type RoutedProviders<'a> = (Option<&'a Route>, Vec<Arc<ProviderRuntime>>);

/// Whom a path's first segment names, and what is behind it.
struct PathPrefix {
    dialect: Arc<Dialect>,
    named_provider: Option<ProviderId>,
    rest: String,
}

impl RoutingSnapshot {
    pub(super) fn new(
        settings: Settings,
        links: Vec<Arc<ProviderRuntime>>,
        keeper: Arc<CredentialCache>,
    ) -> Result<Self, Vec<TemplateError>> {
        let templates = Templates::new(&settings.templates)?;
        let mut spoken: Vec<Arc<Dialect>> = Vec::new();
        for provider in &settings.providers {
            if !spoken
                .iter()
                .any(|dialect| dialect.name == provider.dialect.name)
            {
                spoken.push(Arc::clone(&provider.dialect));
            }
        }
        let added = settings
            .providers
            .iter()
            .map(|provider| (provider.dialect.name.clone(), provider.operations.clone()))
            .collect();
        let links = links
            .into_iter()
            .map(|link| (link.provider.id.clone(), link))
            .collect();
        Ok(Self {
            settings,
            providers: links,
            templates,
            keeper,
            dialects: spoken,
            extra_operations: added,
        })
    }

    /// Whether calls for this host are read here.
    pub(super) fn is_provider_host(&self, authority: &Authority) -> bool {
        self.dialects
            .iter()
            .any(|dialect| dialect.serves_host(&authority.host))
            || self.provider_at(authority).is_some()
    }

    pub(super) fn denies_other_hosts(&self) -> bool {
        self.settings.other_hosts == OtherHosts::Deny
    }

    /// Says what a request is.
    pub(super) fn match_request(
        &self,
        target: &EntrypointTarget,
        mut request: Request,
    ) -> RequestMatch {
        let recognise_at =
            |place: RequestTarget<'_>, request: &Request, named: Option<&ProviderId>| {
                recognise(
                    &self.dialects,
                    place,
                    request,
                    self.extra_operations_of(named),
                )
            };
        let (recognition, named) = match target {
            EntrypointTarget::Host(authority) => match self.provider_at(authority) {
                Some(link) if !link.provider.dialect.serves_host(&authority.host) => {
                    request.path = link.base_url.to_dialect_path(&request.path);
                    let id = &link.provider.id;
                    (
                        recognise_at(
                            RequestTarget::Named(&link.provider.dialect),
                            &request,
                            Some(id),
                        ),
                        Some(id.clone()),
                    )
                }
                Some(_) | None => (
                    recognise_at(RequestTarget::Host(&authority.host), &request, None),
                    None,
                ),
            },
            EntrypointTarget::BaseUrl | EntrypointTarget::Unspecified => {
                match self.parse_prefix(&request.path) {
                    Some(PathPrefix {
                        dialect,
                        named_provider: named,
                        rest,
                    }) => {
                        request.path = rest;
                        (
                            recognise_at(RequestTarget::Named(&dialect), &request, named.as_ref()),
                            named,
                        )
                    }
                    None if *target == EntrypointTarget::Unspecified => (
                        recognise_at(RequestTarget::Unspecified, &request, None),
                        None,
                    ),
                    None => (Recognition::Unrecognised, None),
                }
            }
        };
        RequestMatch {
            recognition,
            named_provider: named,
            request,
        }
    }

    /// The first route that means this call.
    fn route(&self, seen: &RouteInput<'_>) -> Option<&Route> {
        let rule = |route: &&Route| {
            RouteCriteria {
                recipients: &route.recipients,
                callers: &route.callers,
                dialects: &route.dialects,
            }
            .matches(seen)
        };
        self.settings.routes.iter().find(rule)
    }

    /// By which route a message goes, and whom to ask in order; no route, where the operator asked for one alone.
    pub(super) fn routed_providers(
        &self,
        only: Option<&ProviderId>,
        seen: &RouteInput<'_>,
        dialect: &Dialect,
    ) -> RoutedProviders<'_> {
        if let Some(only) = only {
            return (
                None,
                self.providers.get(only).cloned().into_iter().collect(),
            );
        }
        let route = self.route(seen);
        (route, self.ordered_providers(route, dialect))
    }

    /// Whom to ask, in order; without a route: the providers of the dialect spoken.
    pub(super) fn ordered_providers(
        &self,
        route: Option<&Route>,
        dialect: &Dialect,
    ) -> Vec<Arc<ProviderRuntime>> {
        let speaks = |id: &ProviderId| {
            self.providers
                .get(id)
                .is_some_and(|link| link.provider.dialect.name == dialect.name)
        };
        let ids = match route {
            Some(route) => order_providers(&route.providers, speaks, route.prefer_listed),
            None => self
                .settings
                .providers
                .iter()
                .map(|provider| provider.id.clone())
                .filter(speaks)
                .collect(),
        };
        ids.iter()
            .filter_map(|id| self.providers.get(id).cloned())
            .collect()
    }

    /// Whose account a carried call goes through: the one it names, else the first that speaks its dialect.
    pub(super) fn passthrough_provider(
        &self,
        named: Option<&ProviderId>,
        dialect: &Dialect,
        may: impl Fn(&ProviderRuntime) -> bool,
    ) -> Option<Arc<ProviderRuntime>> {
        let named = named.and_then(|id| self.providers.get(id).cloned());
        named.or_else(|| {
            self.ordered_providers(None, dialect)
                .into_iter()
                .find(|link| may(link))
        })
    }

    /// The operations that accounts add: only its own where the address names one.
    fn extra_operations_of(&self, named: Option<&ProviderId>) -> &[(String, Vec<String>)] {
        let Some(named) = named else {
            return &self.extra_operations;
        };
        let at = self
            .settings
            .providers
            .iter()
            .position(|provider| provider.id == *named);
        at.and_then(|at| self.extra_operations.get(at..=at))
            .unwrap_or_default()
    }

    /// Whether calls in this dialect that are no message are only watched: a placeholder login would make
    /// the backend's own sends fail.
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
        self.providers
            .values()
            .find(|link| link.base_url.is_at(authority))
    }

    /// `/playmobile/broker-api/send`: who is meant, and the rest of the path.
    fn parse_prefix(&self, path: &str) -> Option<PathPrefix> {
        let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
        let rest = format!("/{rest}");
        let id = ProviderId::new(first);
        match self.providers.get(&id) {
            Some(link) => {
                let dialect = Arc::clone(&link.provider.dialect);
                let rest = link.base_url.to_dialect_path(&rest);
                Some(PathPrefix {
                    dialect,
                    named_provider: Some(id),
                    rest,
                })
            }
            None => self.settings.catalog.get(first).map(|dialect| PathPrefix {
                dialect: Arc::clone(dialect),
                named_provider: None,
                rest,
            }),
        }
    }
}
