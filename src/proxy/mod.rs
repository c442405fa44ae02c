//! The pipeline of one request: recognise, read, guard, decide and attempt in a loop, answer. The whole
//! of it fits on two screens: [`Proxy::run_pipeline`] here, and the send in `deliver`.
//!
//! # One send, step by step
//!
//! 1. `mod` — [`Proxy::handle`](Proxy) takes the request from an entrypoint; `snapshot` recognises dialect and
//!    operation; `authz` identifies the caller; [`Proxy::run_pipeline`] chooses the step for the operation.
//! 2. `deliver` — `send` reads the message; `recipients` finds its route and completes national numbers; `delivery`
//!    finds its providers, their approved texts and the plan.
//! 3. `dedup` — answers a duplicate, waits for one in flight, or inherits the attempts of one in doubt.
//! 4. `deliver` — the loop; `health` calls `policy::next` under one lock and books the trial or retry it grants.
//! 5. `provider::attempt` — credential (`auth`), request, exchange, redaction, classification, narrowing.
//! 6. `explain` diagnoses the attempt; `health` takes in its outcome and reports a changed state; `disambiguate`
//!    queues it if it is an ambiguous rejection.
//! 7. `answer` — renders the reply in the backend's dialect.
//! 8. `request` — one event: log line, metrics and spans.
//!
//! Beside the send: `passthrough` (login, status, other operations, observe mode), `reject` (denied before any
//! attempt), `probe`, `disambiguate` and `warm` (background), `control` (the operator's socket).

mod answer;
mod authz;
mod control;
mod dedup;
mod deliver;
mod delivery;
mod disambiguate;
mod explain;
mod health;
mod passthrough;
mod probe;
mod provider_orders;
mod recipients;
mod reject;
mod request;
mod settings;
mod snapshot;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;

use crate::clock::{Clock, Moment};
use crate::diagnosis::{Denial, DenialReason, DeniedClient};
use crate::dialect::{RecognisedRequest, Recognition, Reply, Request, UnlistedRequest};
use crate::net::authority::Authority;
use crate::net::byte_budget::ByteBudget;
use crate::net::entrypoint::{
    DeniedRequest, EntrypointTarget, HandlerReply, HostAdmission, IncomingRequest, RequestHandler,
};
use crate::net::peer::Peer;
use crate::net::upstream::{ClientError, UpstreamClient};
use crate::policy::{HealthState, TemplateError};
use crate::provider::diagnose::credential_source;
use crate::provider::{Provider, ProviderRuntime, SharedDeps};
use crate::proxy::answer::error_reply;
use crate::proxy::dedup::Deduplicator;
use crate::proxy::disambiguate::PendingProbes;
use crate::proxy::health::HealthTracker;
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::proxy::snapshot::{RequestMatch, RoutingSnapshot};
use crate::sms::{Cause, Entrypoint, Operation, ProviderId, RequestResult};
use crate::telemetry::{
    ConnectionDenialReason, ConnectionDenied, DenialRecorded, RequestDenied, Telemetry,
    TunnelClosed,
};
use crate::vault::{self, CredentialCache, CredentialRef};

pub use control::{Control, ReloadSummary};
pub use disambiguate::PendingProbe;
pub use settings::{Caller, CallerProof, Mode, OnUnknown, Route, Settings, TextTemplate};

/// Everything behind the entrypoints.
#[derive(Debug)]
pub struct Proxy {
    snapshot: ArcSwap<RoutingSnapshot>,
    health: HealthTracker,
    deduplicator: Deduplicator,
    pending_probes: PendingProbes,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    config_path: String,
}

/// What the pipeline of a config runs on.
#[derive(Clone, Debug)]
pub struct ProxyDeps {
    /// Its credentials.
    pub credential_cache: Arc<CredentialCache>,
    /// Its events.
    pub telemetry: Arc<Telemetry>,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// What requests to providers carry in `Via`, so that the entrypoints recognise a loop.
    pub via_marker: String,
    /// The config as the operator names it, for remedies.
    pub config_path: String,
    /// Whether the config opens a control socket, for remedies.
    pub has_control: bool,
    /// The memory for replies of providers.
    pub reply_bytes: ByteBudget,
    /// How many requests can run at once: each holds a connection of a backend.
    pub max_requests: usize,
}

/// Why a pipeline cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The trusted roots of a provider cannot be read.
    #[error("provider {provider}: {source}")]
    Client {
        /// The provider.
        provider: ProviderId,
        /// The error.
        source: ClientError,
    },
    /// `[templates]` contradict each other.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Templates(Vec<TemplateError>),
}

impl Proxy {
    /// The pipeline of one request, on one screen.
    async fn run_pipeline(
        &self,
        context: &RequestContext,
        recognition: Recognition,
    ) -> CompletedRequest {
        let recognised = match recognition {
            Recognition::Operation(recognised) => recognised,
            Recognition::UnlistedOperation(unlisted)
                if context.snapshot.observes(&unlisted.dialect) =>
            {
                return self
                    .observe(context, &unlisted.dialect, Operation::Other, None)
                    .await;
            }
            Recognition::UnlistedOperation(unlisted) => return Self::deny_unlisted(&unlisted),
            Recognition::Unrecognised => return Self::deny_unknown_path(context),
        };
        let dialect = &recognised.dialect;
        match recognised.operation {
            Operation::Send => self.send(context, &recognised).await,
            Operation::Login | Operation::Status | Operation::Local | Operation::Passthrough
                if context.snapshot.observes(dialect) =>
            {
                self.observe(context, dialect, recognised.operation, None)
                    .await
            }
            Operation::Login => self.answer_login(&recognised),
            Operation::Status => self.answer_status(context, &recognised).await,
            Operation::Local => self.answer_local(context, &recognised),
            Operation::Passthrough => self.pass_through(context, &recognised).await,
            Operation::Other => Self::deny_unnamed_operation(dialect),
        }
    }
}

impl Proxy {
    /// Builds the pipeline of these settings. `secret` is random and lives as long as the process; `max_body` limits the
    /// bytes of a reply.
    pub fn new(
        settings: Settings,
        vaults: &vault::Settings,
        deps: &ProxyDeps,
        secret: [u8; 64],
        max_body: usize,
    ) -> Result<Self, BuildError> {
        let snapshot = build_snapshot(settings, vaults, deps, max_body, None)?;
        let proxy = Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            health: HealthTracker::new(Arc::clone(&deps.telemetry), deps.max_requests),
            deduplicator: Deduplicator::new(secret),
            pending_probes: PendingProbes::default(),
            telemetry: Arc::clone(&deps.telemetry),
            clock: Arc::clone(&deps.clock),
            config_path: deps.config_path.clone(),
        };
        proxy.refresh();
        Ok(proxy)
    }

    /// Continues with another config. Keeps the duplicate window and the ids, and the state and token of every provider
    /// that is still the same account; another address or credential is another account.
    pub fn reload(
        &self,
        settings: Settings,
        vaults: &vault::Settings,
        deps: &ProxyDeps,
        max_body: usize,
    ) -> Result<(), BuildError> {
        let old = self.snapshot.load_full();
        let new = build_snapshot(settings, vaults, deps, max_body, Some(&old))?;
        let is_another_account = |runtime: &&Arc<ProviderRuntime>| {
            old.providers
                .get(&runtime.provider.id)
                .is_some_and(|old| !runtime.is_same_account(old))
        };
        let replaced = new.providers.values().filter(is_another_account);
        self.health
            .remove(replaced.map(|runtime| &runtime.provider.id));
        self.snapshot.store(Arc::new(new));
        self.refresh();
        Ok(())
    }

    /// Reports every provider's state again, for metrics with new series.
    pub fn republish(&self) {
        self.health.clear_last_reported();
        self.refresh();
    }

    /// Reports the states that time or a new credential changed.
    pub fn refresh(&self) {
        let snapshot = self.snapshot.load();
        self.health.refresh(snapshot.providers.values(), self.now());
    }

    /// How often a vault entry is read: every 5 s while a provider that uses it is quarantined, else every 60 s.
    pub fn vault_poll_interval(&self, reference: &CredentialRef) -> Duration {
        let snapshot = self.snapshot.load();
        let is_quarantined = |runtime: &Arc<ProviderRuntime>| {
            matches!(
                self.health.health_state(runtime, self.now()),
                HealthState::Quarantined { .. }
            )
        };
        let is_urgent = snapshot
            .providers
            .values()
            .filter(|runtime| runtime.provider.credential.as_ref() == Some(reference))
            .any(is_quarantined);
        Duration::from_secs(if is_urgent { 5 } else { 60 })
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Counts a request that the pipeline denied.
    fn record_denial(&self, context: &RequestContext, denial: &Denial) {
        let client = DeniedClient {
            addresses_provider: context
                .snapshot
                .addresses_provider(&context.target, &context.original_request()),
            is_known_caller: context.caller.is_some(),
        };
        DenialRecorded {
            entrypoint: context.entrypoint,
            denial,
            client: denial.reason.client_kind(client),
        }
        .emit(&self.telemetry);
    }

    /// A reference of 20 characters, for messages to which the backend gave none.
    fn generate_reference(&self) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the fraction is between 0 and 1, so the product has 40 bits"
        )]
        let half =
            || (self.clock.random_fraction() * f64::from(1 << 20) * f64::from(1 << 20)) as u64;
        format!("{:010x}{:010x}", half(), half())
    }
}

impl RequestHandler for Proxy {
    fn admit(&self, authority: &Authority, peer: &Peer) -> HostAdmission {
        let snapshot = self.snapshot.load();
        if snapshot.is_provider_host(authority) {
            return HostAdmission::Intercept;
        }
        if !authz::is_allowed(&snapshot, peer) {
            return HostAdmission::Deny(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                DenialReason::UnknownCaller.about(""),
            );
        }
        if snapshot.denies_other_hosts() {
            let denial = DenialReason::OtherHost.about(&authority.host);
            return HostAdmission::Deny(StatusCode::FORBIDDEN, denial);
        }
        HostAdmission::Tunnel
    }

    fn needs_peer_uid(&self) -> bool {
        authz::needs_peer_uid(&self.snapshot.load().settings)
    }

    async fn handle(&self, incoming: IncomingRequest) -> HandlerReply {
        let started_at = self.now();
        let snapshot = self.snapshot.load_full();
        let original_path = incoming.request.path.clone();
        let RequestMatch {
            recognition,
            named_provider,
            request,
        } = snapshot.match_request(&incoming.target, incoming.request);
        authz::load_tokens(&snapshot).await;
        let presented = authz::presented_credentials(&recognition, &request);
        let caller = authz::caller_name(&snapshot, &incoming.peer, &presented);
        let is_allowed = snapshot.settings.callers.is_empty()
            || caller.is_some() && incoming.peer.confirm_uid().await;
        let context = RequestContext {
            id: incoming.id,
            entrypoint: incoming.entrypoint,
            target: incoming.target,
            caller,
            request,
            original_path,
            named_provider,
            pinned_provider: None,
            connection: incoming.connection,
            started_at,
            snapshot,
        };
        let completed = if !is_allowed {
            authz::deny_unknown_caller(context.entrypoint)
        } else if let Some(denied) = Self::deny_too_large(&context, &recognition) {
            denied
        } else {
            self.run_pipeline(&context, recognition).await
        };
        let duration = self.now().since(started_at);
        completed.emit(&context, duration, &self.config_path, &self.telemetry);
        if let Some(denial) = &completed.denial {
            self.record_denial(&context, denial);
        }
        HandlerReply {
            is_denied: completed.result == RequestResult::Denied,
            reply: completed.reply,
        }
    }

    fn request_denied(&self, denied: &DeniedRequest<'_>) {
        RequestDenied {
            status: denied.status.as_u16(),
            why: denied.why,
            denied: DenialRecorded {
                entrypoint: denied.entrypoint,
                denial: denied.denial,
                client: denied.denial.reason.client_kind(denied.client),
            },
        }
        .emit(&self.telemetry);
    }

    fn connection_denied(&self, entrypoint: Entrypoint, reason: ConnectionDenialReason) {
        ConnectionDenied { entrypoint, reason }.emit(&self.telemetry);
    }

    fn denied_client(
        &self,
        target: &EntrypointTarget,
        head: &Request,
        peer: &Peer,
    ) -> DeniedClient {
        let snapshot = self.snapshot.load();
        DeniedClient {
            addresses_provider: snapshot.addresses_provider(target, head),
            is_known_caller: authz::caller_name(&snapshot, peer, &[]).is_some(),
        }
    }

    fn error_reply(
        &self,
        target: &EntrypointTarget,
        head: &Request,
        status: StatusCode,
        reason: &str,
    ) -> Option<Reply> {
        match self
            .snapshot
            .load()
            .match_request(target, head.clone())
            .recognition
        {
            Recognition::Operation(RecognisedRequest { dialect, .. })
            | Recognition::UnlistedOperation(UnlistedRequest { dialect, .. }) => {
                Some(error_reply(&dialect, status, Cause::DeniedByPolicy, reason))
            }
            Recognition::Unrecognised => None,
        }
    }

    fn tunnel_closed(&self, entrypoint: Entrypoint, authority: &Authority, bytes: u64) {
        TunnelClosed {
            entrypoint,
            host: &authority.host,
            bytes,
        }
        .emit(&self.telemetry);
    }
}

fn build_snapshot(
    settings: Settings,
    vaults: &vault::Settings,
    deps: &ProxyDeps,
    max_body: usize,
    old: Option<&RoutingSnapshot>,
) -> Result<RoutingSnapshot, BuildError> {
    let mut runtimes = Vec::new();
    for provider in &settings.providers {
        if let Some(reference) = &provider.credential {
            deps.credential_cache.track(reference);
        }
        let runtime = build_runtime(provider, vaults, deps, max_body)?;
        let same_account = old
            .and_then(|old| old.providers.get(&provider.id))
            .filter(|old| runtime.is_same_account(old));
        runtimes.push(Arc::new(match same_account {
            Some(old) => runtime.with_state_of(old),
            None => runtime,
        }));
    }
    authz::token_references(&settings).for_each(|reference| deps.credential_cache.track(reference));
    RoutingSnapshot::new(settings, runtimes, Arc::clone(&deps.credential_cache))
        .map_err(BuildError::Templates)
}

fn build_runtime(
    provider: &Provider,
    vaults: &vault::Settings,
    deps: &ProxyDeps,
    max_body: usize,
) -> Result<ProviderRuntime, BuildError> {
    let client = UpstreamClient::new(provider.upstream.clone(), max_body).map_err(|source| {
        BuildError::Client {
            provider: provider.id.clone(),
            source,
        }
    })?;
    let shared = SharedDeps {
        config_path: deps.config_path.as_str().into(),
        has_control: deps.has_control,
        credential_cache: Arc::clone(&deps.credential_cache),
        telemetry: Arc::clone(&deps.telemetry),
        clock: Arc::clone(&deps.clock),
    };
    Ok(ProviderRuntime::new(
        provider.clone(),
        client
            .with_via_marker(&deps.via_marker)
            .with_reply_budget(deps.reply_bytes.clone()),
        credential_source(provider, vaults).cloned(),
        shared,
    ))
}
