//! The life of one call: recognise, read, guard, decide and attempt in a loop, answer. The
//! pipeline is [`Proxy::carry`] here and the loop in `send`; the rest are its steps.

mod answer;
mod attempt;
mod base;
mod board;
mod call;
mod callers;
mod carried;
mod control;
mod desk;
mod explain;
mod link;
mod login;
mod mask;
mod probe;
mod refusal;
mod send;
mod sending;
mod session;
mod settings;
mod settle;
mod world;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use jiff::Timestamp;

use crate::clock::{Clock, Moment};
use crate::dialect::{Recognised, Recognition, Reply, Request};
use crate::net::authority::Authority;
use crate::net::door::{Admission, Arrival, Carrier, Target};
use crate::net::peer::Peer;
use crate::net::upstream::{Client, ClientError};
use crate::policy::{Standing, TemplateError};
use crate::proxy::answer::refused;
use crate::proxy::board::Board;
use crate::proxy::call::{Call, Ended};
use crate::proxy::desk::Desk;
use crate::proxy::link::{Around, Link};
use crate::proxy::settle::Suspicions;
use crate::proxy::world::{Seeing, World};
use crate::sms::{Cause, Door, Operation, ProviderId};
use crate::telemetry::{Telemetry, TunnelEnded, TurnedAway};
use crate::vault::{self, Keeper, Reference};

pub use control::{Control, Taken};
pub use explain::kept;
pub(crate) use mask::Mask;
pub use settings::{Caller, CallerProof, Mode, OnUnknown, Provider, Route, Settings, TextTemplate};
pub use settle::{Suspicion, question};

/// What stands behind the doors.
#[derive(Debug)]
pub struct Proxy {
    world: ArcSwap<World>,
    board: Board,
    desk: Desk,
    suspicions: Suspicions,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
}

/// What a config's pipeline runs on.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its credentials.
    pub keeper: Arc<Keeper>,
    /// Its events.
    pub telemetry: Arc<Telemetry>,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// What requests to providers carry in `Via`, so that a loop is seen at the door.
    pub marker: String,
    /// The config as the operator names it, for remedies.
    pub config: String,
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
    async fn through(&self, call: &Call, recognition: Recognition) -> Ended {
        let seen = match recognition {
            Recognition::Operation(seen) => seen,
            Recognition::NotNamed(dialect) if call.world.observes(&dialect) => {
                return self.observe(call, &dialect, Operation::Other, None).await;
            }
            Recognition::NotNamed(dialect) => return Self::not_named(&dialect),
            Recognition::Foreign => return Self::foreign(call),
        };
        match seen.operation {
            Operation::Send => self.send(call, &seen).await,
            Operation::Login | Operation::Status | Operation::Carry if call.world.observes(&seen.dialect) => {
                self.observe(call, &seen.dialect, seen.operation, None).await
            }
            Operation::Login => self.login(&seen),
            Operation::Status => self.status(call, &seen).await,
            Operation::Carry => self.carry_on(call, &seen).await,
            Operation::Other => Self::not_named(&seen.dialect),
        }
    }
}

impl Proxy {
    /// Joins settings with what they run on. `secret` is random and lives as long as the process;
    /// `body` limits a reply's bytes.
    pub fn new(settings: Settings, vaults: &vault::Settings, parts: &Parts, secret: [u8; 64], body: usize) -> Result<Self, BuildError> {
        let world = ArcSwap::from_pointee(world(settings, vaults, parts, body, None)?);
        let board = Board::new(Arc::clone(&parts.telemetry));
        let (telemetry, clock) = (Arc::clone(&parts.telemetry), Arc::clone(&parts.clock));
        let proxy = Self { world, board, desk: Desk::new(secret), suspicions: Suspicions::default(), telemetry, clock };
        proxy.refresh();
        Ok(proxy)
    }

    /// Goes on with another config. Repeats and ids are kept, and so are the standing and the token of every
    /// provider that is still the same account; another address or credential is another account.
    pub fn reload(&self, settings: Settings, vaults: &vault::Settings, parts: &Parts, body: usize) -> Result<(), BuildError> {
        let old = self.world.load_full();
        let new = world(settings, vaults, parts, body, Some(&old))?;
        let is_another = |link: &Link| old.links.get(&link.provider.id).is_some_and(|old| !link.is_account_of(old));
        self.board.forget(new.links.values().filter(|link| is_another(link)).map(|link| &link.provider.id));
        self.world.store(Arc::new(new));
        self.refresh();
        Ok(())
    }

    /// Tells of every standing again, to metrics that have new series.
    pub fn retell(&self) {
        self.board.forget_told();
        self.refresh();
    }

    /// Tells of standings that time or a new credential changed.
    pub fn refresh(&self) {
        let world = self.world.load();
        self.board.refresh(world.links.values(), self.now());
    }

    /// How often a vault entry is read: every 5 s while a provider that uses it stands aside, else every 60 s.
    pub fn cadence(&self, reference: &Reference) -> Duration {
        let world = self.world.load();
        let mut users = world.links.values().filter(|link| link.provider.credential.as_ref() == Some(reference));
        let aside = users.any(|link| matches!(self.board.standing(link, self.now()), Standing::Aside { .. }));
        Duration::from_secs(if aside { 5 } else { 60 })
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// 20 characters, for messages to which the backend gave no reference.
    fn own_reference(&self) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "dice are between 0 and 1, so the product has 40 bits")]
        let half = || (self.clock.dice() * f64::from(1 << 20) * f64::from(1 << 20)) as u64;
        format!("{:010x}{:010x}", half(), half())
    }
}

impl Carrier for Proxy {
    fn admit(&self, authority: &Authority, peer: &Peer) -> Admission {
        let world = self.world.load();
        if world.is_ours(authority) {
            return Admission::Intercept;
        }
        if !callers::allows(&world, peer) {
            let reason = "only configured callers may use this door; see [callers] in the config";
            return Admission::Refuse(StatusCode::PROXY_AUTHENTICATION_REQUIRED, reason.to_owned());
        }
        if world.refuses_others() {
            return Admission::Refuse(
                StatusCode::FORBIDDEN,
                format!("{} is no host of a configured provider, and `other_hosts = \"refuse\"`", authority.host),
            );
        }
        Admission::Tunnel
    }

    /// Who may use these doors may be told by a token inside the request: `carry` asks.
    fn welcome(&self, _: Door, _: &Peer) -> Result<(), (StatusCode, String)> {
        Ok(())
    }

    fn asks_owner(&self) -> bool {
        callers::by_uid(&self.world.load().settings)
    }

    async fn carry(&self, arrival: Arrival) -> Reply {
        let world = self.world.load_full();
        let Arrival { id, door, target, request, peer, line, .. } = arrival;
        let (began, came) = (self.now(), request.path.clone());
        let Seeing { recognition, named, request } = world.see(&target, request);
        callers::learn(&world).await;
        let caller = callers::name(&world, &peer, &callers::given(&recognition, &request));
        let allowed = caller.is_some() || world.settings.callers.is_empty();
        let call = Call { id, door, target, caller, request, came, named, only: None, line, began, world };
        let ended = if allowed { self.through(&call, recognition).await } else { callers::stranger(door) };
        ended.tell(&call, self.now().since(began), &self.telemetry);
        ended.reply
    }

    fn turned_away(&self, door: Door, status: StatusCode, why: &str) {
        TurnedAway { door, status: status.as_u16(), why, ours: false }.emit(&self.telemetry);
    }

    fn barred(&self, door: Door, status: StatusCode, why: &str) {
        TurnedAway { door, status: status.as_u16(), why, ours: true }.emit(&self.telemetry);
    }

    fn refusal(&self, target: &Target, head: &Request, status: StatusCode, why: &str) -> Option<Reply> {
        match self.world.load().see(target, head.clone()).recognition {
            Recognition::Operation(Recognised { dialect, .. }) | Recognition::NotNamed(dialect) => {
                Some(refused(&dialect, status, Cause::RefusedByPolicy, why))
            }
            Recognition::Foreign => None,
        }
    }

    fn tunnelled(&self, door: Door, authority: &Authority, bytes: u64) {
        TunnelEnded { door, host: &authority.host, bytes }.emit(&self.telemetry);
    }
}

fn world(settings: Settings, vaults: &vault::Settings, parts: &Parts, body: usize, old: Option<&World>) -> Result<World, BuildError> {
    let around = Around {
        config: parts.config.as_str().into(),
        has_control: parts.has_control,
        keeper: Arc::clone(&parts.keeper),
        telemetry: Arc::clone(&parts.telemetry),
        clock: Arc::clone(&parts.clock),
    };
    let mut links = Vec::new();
    for provider in &settings.providers {
        if let Some(reference) = &provider.credential {
            parts.keeper.follow(reference);
        }
        let client = Client::new(provider.upstream.clone(), body).map(|client| client.marked(&parts.marker));
        let client = client.map_err(|source| BuildError::Client { provider: provider.id.clone(), source })?;
        let source = provider.credential.as_ref().and_then(|reference| vaults.sources.get(&reference.vault));
        let link = Link::new(provider.clone(), client, explain::kept(source), around.clone());
        let before = old.and_then(|world| world.links.get(&provider.id)).filter(|old| link.is_account_of(old));
        links.push(Arc::new(match before {
            Some(old) => link.after(old),
            None => link,
        }));
    }
    callers::tokens(&settings).for_each(|reference| parts.keeper.follow(reference));
    World::new(settings, links, Arc::clone(&parts.keeper)).map_err(BuildError::Templates)
}
