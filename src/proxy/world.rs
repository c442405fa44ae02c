//! What one config makes of the pipeline: links to providers, who speaks what, which hosts
//! and path prefixes mean whom. Replaced as a whole by a reload; never changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dialect::{Dialect, Place, Recognition, Request, recognise};
use crate::net::OtherHosts;
use crate::net::authority::Authority;
use crate::net::door::Target;
use crate::policy::{Rule, Seen, TemplateError, Templates, order};
use crate::proxy::link::Link;
use crate::proxy::{Mode, Route, Settings};
use crate::sms::ProviderId;
use crate::vault::Keeper;

/// One config at run time.
#[derive(Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) links: BTreeMap<ProviderId, Arc<Link>>,
    pub(super) templates: Templates,
    pub(super) keeper: Arc<Keeper>,
    /// Dialects of configured providers: whose hosts are ours.
    spoken: Vec<Arc<Dialect>>,
    /// Each provider's dialect and the operations that its account adds, in the order of the config.
    added: Vec<(String, Vec<String>)>,
}

/// What a request is, and whose account its address names.
#[derive(Debug)]
pub(super) struct Seeing {
    pub(super) recognition: Recognition,
    /// Named by the base URL's first segment: for carried calls.
    pub(super) named: Option<ProviderId>,
    /// With the prefix taken off.
    pub(super) request: Request,
}

/// A route, where one is taken, and whom to ask in order.
type Carriers<'a> = (Option<&'a Route>, Vec<Arc<Link>>);

/// Whom a path's first segment names, and what is behind it.
struct Prefix {
    dialect: Arc<Dialect>,
    named: Option<ProviderId>,
    rest: String,
}

impl World {
    pub(super) fn new(settings: Settings, links: Vec<Arc<Link>>, keeper: Arc<Keeper>) -> Result<Self, Vec<TemplateError>> {
        let templates = Templates::new(&settings.templates)?;
        let mut spoken: Vec<Arc<Dialect>> = Vec::new();
        for provider in &settings.providers {
            if !spoken.iter().any(|dialect| dialect.name == provider.dialect.name) {
                spoken.push(Arc::clone(&provider.dialect));
            }
        }
        let added = settings.providers.iter().map(|provider| (provider.dialect.name.clone(), provider.operations.clone())).collect();
        let links = links.into_iter().map(|link| (link.provider.id.clone(), link)).collect();
        Ok(Self { settings, links, templates, keeper, spoken, added })
    }

    /// Whether calls for this host are read here.
    pub(super) fn is_ours(&self, authority: &Authority) -> bool {
        self.spoken.iter().any(|dialect| dialect.hosts_match(&authority.host)) || self.link_at(authority).is_some()
    }

    pub(super) fn refuses_others(&self) -> bool {
        self.settings.other_hosts == OtherHosts::Refuse
    }

    /// Says what a request is.
    pub(super) fn see(&self, target: &Target, mut request: Request) -> Seeing {
        let recognise_at =
            |place: Place<'_>, request: &Request, named: Option<&ProviderId>| recognise(&self.spoken, place, request, self.added_by(named));
        let (recognition, named) = match target {
            Target::Host(authority) => match self.link_at(authority) {
                Some(link) if !link.provider.dialect.hosts_match(&authority.host) => {
                    request.path = link.base.described(&request.path);
                    let id = &link.provider.id;
                    (recognise_at(Place::Named(&link.provider.dialect), &request, Some(id)), Some(id.clone()))
                }
                Some(_) | None => (recognise_at(Place::Host(&authority.host), &request, None), None),
            },
            Target::Base | Target::Nowhere => match self.first_segment(&request.path) {
                Some(Prefix { dialect, named, rest }) => {
                    request.path = rest;
                    (recognise_at(Place::Named(&dialect), &request, named.as_ref()), named)
                }
                None if *target == Target::Nowhere => (recognise_at(Place::Nowhere, &request, None), None),
                None => (Recognition::Foreign, None),
            },
        };
        Seeing { recognition, named, request }
    }

    /// The first route that means this call.
    fn route(&self, seen: &Seen<'_>) -> Option<&Route> {
        let rule = |route: &&Route| Rule { recipients: &route.recipients, callers: &route.callers, dialects: &route.dialects }.means(seen);
        self.settings.routes.iter().find(rule)
    }

    /// By which route a message goes, and whom to ask in order; no route, where the operator asked for one alone.
    pub(super) fn carriers(&self, only: Option<&ProviderId>, seen: &Seen<'_>, dialect: &Dialect) -> Carriers<'_> {
        if let Some(only) = only {
            return (None, self.links.get(only).cloned().into_iter().collect());
        }
        let route = self.route(seen);
        (route, self.order(route, dialect))
    }

    /// Whom to ask, in order; without a route: the providers of the dialect spoken.
    pub(super) fn order(&self, route: Option<&Route>, dialect: &Dialect) -> Vec<Arc<Link>> {
        let speaks = |id: &ProviderId| self.links.get(id).is_some_and(|link| link.provider.dialect.name == dialect.name);
        let ids = match route {
            Some(route) => order(&route.providers, speaks, route.prefer_listed),
            None => self.settings.providers.iter().map(|provider| provider.id.clone()).filter(speaks).collect(),
        };
        ids.iter().filter_map(|id| self.links.get(id).cloned()).collect()
    }

    /// Whose account a carried call goes through: the one it names, else the first that speaks its dialect.
    pub(super) fn carrier(&self, named: Option<&ProviderId>, dialect: &Dialect, may: impl Fn(&Link) -> bool) -> Option<Arc<Link>> {
        let named = named.and_then(|id| self.links.get(id).cloned());
        named.or_else(|| self.order(None, dialect).into_iter().find(|link| may(link)))
    }

    /// The operations that accounts add: only its own where the address names one.
    fn added_by(&self, named: Option<&ProviderId>) -> &[(String, Vec<String>)] {
        let Some(named) = named else { return &self.added };
        let at = self.settings.providers.iter().position(|provider| provider.id == *named);
        at.and_then(|at| self.added.get(at..=at)).unwrap_or_default()
    }

    /// Whether calls in this dialect that are no message are only watched: a placeholder login would make
    /// the backend's own sends fail.
    pub(super) fn observes(&self, dialect: &Dialect) -> bool {
        let mut routes =
            self.settings.routes.iter().filter(|route| route.dialects.is_empty() || route.dialects.contains(&dialect.name)).peekable();
        self.settings.mode == Mode::Observe || (routes.peek().is_some() && routes.all(|route| route.mode == Mode::Observe))
    }

    fn link_at(&self, authority: &Authority) -> Option<&Arc<Link>> {
        self.links.values().find(|link| link.base.is_at(authority))
    }

    /// `/playmobile/broker-api/send`: who is meant, and the rest of the path.
    fn first_segment(&self, path: &str) -> Option<Prefix> {
        let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
        let rest = format!("/{rest}");
        let id = ProviderId::new(first);
        match self.links.get(&id) {
            Some(link) => {
                let dialect = Arc::clone(&link.provider.dialect);
                let rest = link.base.described(&rest);
                Some(Prefix { dialect, named: Some(id), rest })
            }
            None => self.settings.catalog.get(first).map(|dialect| Prefix { dialect: Arc::clone(dialect), named: None, rest }),
        }
    }
}
