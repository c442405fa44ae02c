//! The life of one call: recognise, read, guard, decide and attempt in a loop, answer. The
//! pipeline is [`Proxy::carry`] here and the loop in `send`; the rest are its steps.

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
mod reject;
mod request;
mod settings;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use jiff::Timestamp;

use crate::clock::{Clock, Moment};
use crate::dialect::{RecognisedRequest, Recognition, Reply, Request};
use crate::net::authority::Authority;
use crate::net::entrypoint::{EntrypointTarget, HostAdmission, IncomingRequest, RequestHandler};
use crate::net::peer::Peer;
use crate::net::upstream::{ClientError, UpstreamClient};
use crate::policy::{HealthState, TemplateError};
use crate::provider::{ProviderRuntime, SharedDeps};
use crate::proxy::answer::error_reply;
use crate::proxy::dedup::Deduplicator;
use crate::proxy::disambiguate::PendingProbes;
use crate::proxy::health::HealthTracker;
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::proxy::snapshot::{RequestMatch, RoutingSnapshot};
use crate::sms::{Cause, Entrypoint, Operation, ProviderId};
use crate::telemetry::{RequestDenied, Telemetry, TunnelClosed};
use crate::vault::{self, CredentialCache, CredentialRef};

pub(crate) use crate::provider::redact::Redactor;
pub use control::{Control, ReloadSummary};
pub use disambiguate::{PendingProbe, probe_question};
pub use explain::vault_kind;
pub use settings::{Caller, CallerProof, Mode, OnUnknown, Provider, Route, Settings, TextTemplate};

/// What stands behind the doors.
#[derive(Debug)]
pub struct Proxy {
    snapshot: ArcSwap<RoutingSnapshot>,
    health: HealthTracker,
    deduplicator: Deduplicator,
    pending_probes: PendingProbes,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
}

/// What a config's pipeline runs on.
#[derive(Clone, Debug)]
pub struct ProxyDeps {
    /// Its credentials.
    pub keeper: Arc<CredentialCache>,
    /// Its events.
    pub telemetry: Arc<Telemetry>,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// What requests to providers carry in `Via`, so that a loop is seen at the door.
    pub via_marker: String,
    /// The config as the operator names it, for remedies.
    pub config_path: String,
    /// Whether that config opens a socket for commands, for remedies too.
    pub has_control: bool,
}

/// Why a pipeline cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A provider's roots cannot be read.
    #[error("provider {provider}: {source}")]
    Client {
        /// Which.
        provider: ProviderId,
        /// Why.
        source: ClientError,
    },
    /// `[templates]` contradict themselves.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Templates(Vec<TemplateError>),
}

impl Proxy {
    /// The pipeline of one call, on one screen.
    async fn run_pipeline(
        &self,
        call: &RequestContext,
        recognition: Recognition,
    ) -> CompletedRequest {
        let seen = match recognition {
            Recognition::Operation(seen) => seen,
            Recognition::UnlistedOperation(dialect) if call.snapshot.observes(&dialect) => {
                return self.observe(call, &dialect, Operation::Other, None).await;
            }
            Recognition::UnlistedOperation(dialect) => {
                return Self::deny_unnamed_operation(&dialect);
            }
            Recognition::Unrecognised => return Self::deny_unknown_path(call),
        };
        match seen.operation {
            Operation::Send => self.send(call, &seen).await,
            Operation::Login | Operation::Status | Operation::Passthrough
                if call.snapshot.observes(&seen.dialect) =>
            {
                self.observe(call, &seen.dialect, seen.operation, None)
                    .await
            }
            Operation::Login => self.answer_login(&seen),
            Operation::Status => self.answer_status(call, &seen).await,
            Operation::Passthrough => self.pass_through(call, &seen).await,
            Operation::Other => Self::deny_unnamed_operation(&seen.dialect),
        }
    }
}

impl Proxy {
    /// Joins settings with what they run on. `secret` is random and lives as long as the process;
    /// `body` limits a reply's bytes.
    pub fn new(
        settings: Settings,
        vaults: &vault::Settings,
        parts: &ProxyDeps,
        secret: [u8; 64],
        body: usize,
    ) -> Result<Self, BuildError> {
        let world = ArcSwap::from_pointee(build_snapshot(settings, vaults, parts, body, None)?);
        let board = HealthTracker::new(Arc::clone(&parts.telemetry));
        let (telemetry, clock) = (Arc::clone(&parts.telemetry), Arc::clone(&parts.clock));
        let proxy = Self {
            snapshot: world,
            health: board,
            deduplicator: Deduplicator::new(secret),
            pending_probes: PendingProbes::default(),
            telemetry,
            clock,
        };
        proxy.refresh();
        Ok(proxy)
    }

    /// Goes on with another config. Repeats and ids are kept, and so are the standing and the token of every
    /// provider that is still the same account; another address or credential is another account.
    pub fn reload(
        &self,
        settings: Settings,
        vaults: &vault::Settings,
        parts: &ProxyDeps,
        body: usize,
    ) -> Result<(), BuildError> {
        let old = self.snapshot.load_full();
        let new = build_snapshot(settings, vaults, parts, body, Some(&old))?;
        let is_another = |link: &ProviderRuntime| {
            old.providers
                .get(&link.provider.id)
                .is_some_and(|old| !link.is_same_account(old))
        };
        self.health.remove(
            new.providers
                .values()
                .filter(|link| is_another(link))
                .map(|link| &link.provider.id),
        );
        self.snapshot.store(Arc::new(new));
        self.refresh();
        Ok(())
    }

    /// Tells of every standing again, to metrics that have new series.
    pub fn republish(&self) {
        self.health.clear_last_reported();
        self.refresh();
    }

    /// Tells of standings that time or a new credential changed.
    pub fn refresh(&self) {
        let world = self.snapshot.load();
        self.health.refresh(world.providers.values(), self.now());
    }

    /// How often a vault entry is read: every 5 s while a provider that uses it stands aside, else every 60 s.
    pub fn vault_poll_interval(&self, reference: &CredentialRef) -> Duration {
        let world = self.snapshot.load();
        let mut users = world
            .providers
            .values()
            .filter(|link| link.provider.credential.as_ref() == Some(reference));
        let aside = users.any(|link| {
            matches!(
                self.health.health_state(link, self.now()),
                HealthState::Quarantined { .. }
            )
        });
        Duration::from_secs(if aside { 5 } else { 60 })
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall_clock()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// 20 characters, for messages to which the backend gave no reference.
    fn generate_reference(&self) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "dice are between 0 and 1, so the product has 40 bits"
        )]
        let half =
            || (self.clock.random_fraction() * f64::from(1 << 20) * f64::from(1 << 20)) as u64;
        format!("{:010x}{:010x}", half(), half())
    }
}

impl RequestHandler for Proxy {
    fn admit(&self, authority: &Authority, peer: &Peer) -> HostAdmission {
        let world = self.snapshot.load();
        if world.is_provider_host(authority) {
            return HostAdmission::Intercept;
        }
        if !authz::is_allowed(&world, peer) {
            let reason =
                "only configured callers may use this entrypoint; see [callers] in the config";
            return HostAdmission::Deny(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                reason.to_owned(),
            );
        }
        if world.denies_other_hosts() {
            return HostAdmission::Deny(
                StatusCode::FORBIDDEN,
                format!(
                    "{} is no host of a configured provider, and `other_hosts = \"deny\"`",
                    authority.host
                ),
            );
        }
        HostAdmission::Tunnel
    }

    /// Who may use these doors may be told by a token inside the request: `carry` asks.
    fn needs_peer_uid(&self) -> bool {
        authz::needs_peer_uid(&self.snapshot.load().settings)
    }

    async fn handle(&self, arrival: IncomingRequest) -> Reply {
        let world = self.snapshot.load_full();
        let IncomingRequest {
            id,
            entrypoint: door,
            target,
            request,
            peer,
            connection: line,
            ..
        } = arrival;
        let (began, came) = (self.now(), request.path.clone());
        let RequestMatch {
            recognition,
            named_provider: named,
            request,
        } = world.match_request(&target, request);
        authz::load_tokens(&world).await;
        let caller = authz::caller_name(
            &world,
            &peer,
            &authz::presented_credentials(&recognition, &request),
        );
        let allowed = caller.is_some() || world.settings.callers.is_empty();
        let call = RequestContext {
            id,
            entrypoint: door,
            target,
            caller,
            request,
            original_path: came,
            named_provider: named,
            pinned_provider: None,
            connection: line,
            started_at: began,
            snapshot: world,
        };
        let ended = if allowed {
            self.run_pipeline(&call, recognition).await
        } else {
            authz::deny_unknown_caller(door)
        };
        ended.emit(&call, self.now().since(began), &self.telemetry);
        ended.reply
    }

    fn request_denied(&self, door: Entrypoint, status: StatusCode, why: &str) {
        RequestDenied {
            entrypoint: door,
            status: status.as_u16(),
            reason: why,
            is_provider_host: false,
        }
        .emit(&self.telemetry);
    }

    fn tls_rejected(&self, door: Entrypoint, status: StatusCode, why: &str) {
        RequestDenied {
            entrypoint: door,
            status: status.as_u16(),
            reason: why,
            is_provider_host: true,
        }
        .emit(&self.telemetry);
    }

    fn error_reply(
        &self,
        target: &EntrypointTarget,
        head: &Request,
        status: StatusCode,
        why: &str,
    ) -> Option<Reply> {
        match self
            .snapshot
            .load()
            .match_request(target, head.clone())
            .recognition
        {
            Recognition::Operation(RecognisedRequest { dialect, .. })
            | Recognition::UnlistedOperation(dialect) => {
                Some(error_reply(&dialect, status, Cause::DeniedByPolicy, why))
            }
            Recognition::Unrecognised => None,
        }
    }

    fn tunnel_closed(&self, door: Entrypoint, authority: &Authority, bytes: u64) {
        TunnelClosed {
            entrypoint: door,
            host: &authority.host,
            bytes,
        }
        .emit(&self.telemetry);
    }
}

fn build_snapshot(
    settings: Settings,
    vaults: &vault::Settings,
    parts: &ProxyDeps,
    body: usize,
    old: Option<&RoutingSnapshot>,
) -> Result<RoutingSnapshot, BuildError> {
    let around = SharedDeps {
        config_path: parts.config_path.as_str().into(),
        has_control: parts.has_control,
        keeper: Arc::clone(&parts.keeper),
        telemetry: Arc::clone(&parts.telemetry),
        clock: Arc::clone(&parts.clock),
    };
    let mut links = Vec::new();
    for provider in &settings.providers {
        if let Some(reference) = &provider.credential {
            parts.keeper.track(reference);
        }
        let client = UpstreamClient::new(provider.upstream.clone(), body)
            .map(|client| client.with_via_marker(&parts.via_marker));
        let client = client.map_err(|source| BuildError::Client {
            provider: provider.id.clone(),
            source,
        })?;
        let source = provider
            .credential
            .as_ref()
            .and_then(|reference| vaults.sources.get(&reference.vault));
        let link = ProviderRuntime::new(
            provider.clone(),
            client,
            explain::vault_kind(source),
            around.clone(),
        );
        let before = old
            .and_then(|world| world.providers.get(&provider.id))
            .filter(|old| link.is_same_account(old));
        links.push(Arc::new(match before {
            Some(old) => link.with_state_of(old),
            None => link,
        }));
    }
    authz::token_references(&settings).for_each(|reference| parts.keeper.track(reference));
    RoutingSnapshot::new(settings, links, Arc::clone(&parts.keeper)).map_err(BuildError::Templates)
}
