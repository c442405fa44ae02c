//! The ways in: base URL, absolute form, CONNECT and unix socket, all one HTTP/1.1
//! service on one connection function. Hands whole, screened requests to a `Carrier`
//! and sends its replies; refuses what `screen` refuses, and what is too big or too slow.

mod answer;
mod call;
mod connection;
mod pace;
mod prefixed;
mod through;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::dialect::{Reply, Request};
use crate::net::ca::Ca;
use crate::net::drain::{Drain, Line};
use crate::net::peer::Peer;
use crate::net::server::{Site, Stream};
use crate::net::settings::Limits;
use crate::tls;

pub use crate::net::authority::{Authority, Scheme};
pub use crate::sms::Entrypoint;

/// Where a call is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At our own address: the path's first segment names a provider or dialect (still in the path).
    Base,
    /// At a host.
    Host(Authority),
    /// The unix socket with no telling Host: a path prefix, or method and path alone.
    Nowhere,
}

/// One whole request, screened, with hop-by-hop and our own headers taken out.
#[derive(Debug)]
pub struct Arrival {
    /// Ours, for the log; 16 hex digits.
    pub id: String,
    /// Which way in.
    pub door: Entrypoint,
    /// Where it is addressed.
    pub target: Target,
    /// The request.
    pub request: Request,
    /// Who sent it.
    pub peer: Peer,
    /// The request came over TLS that our CA ended.
    pub tls: bool,
    /// Whether the backend still listens, and whether we are draining.
    pub line: Line,
}

/// What is to happen to calls for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They are ours: read and carry them.
    Intercept,
    /// Passed through unread.
    Tunnel,
    /// Turned away with a status and a sentence for the backend.
    Refuse(StatusCode, String),
}

/// What stands behind the doors.
pub trait Carrier: Send + Sync + 'static {
    /// Asked for every named host, after our own refusals (metadata addresses, our own listeners, private ranges).
    fn admit(&self, authority: &Authority, peer: &Peer) -> Admission;
    /// Asked for every base URL or unix request: who may use the door.
    fn welcome(&self, door: Entrypoint, peer: &Peer) -> Result<(), (StatusCode, String)>;
    /// Whether it matters which uid owns a client's socket: finding that out is dear.
    fn asks_owner(&self) -> bool {
        true
    }
    /// One call. Runs in a task of its own: a backend that hangs up does not cut it off (`Arrival::line` tells).
    fn carry(&self, arrival: Arrival) -> impl Future<Output = Reply> + Send;
    /// A request that never became a call.
    fn turned_away(&self, door: Entrypoint, status: StatusCode, why: &str);
    /// One for a host of ours, because its TLS cannot be ended: whoever sends such requests gets none through.
    fn barred(&self, door: Entrypoint, status: StatusCode, why: &str) {
        self.turned_away(door, status, why);
    }
    /// The refusal in the words of whoever is being spoken to, where the head tells; the request has no body.
    fn refusal(&self, target: &Target, head: &Request, status: StatusCode, why: &str) -> Option<Reply> {
        let _ = (target, head, status, why);
        None
    }
    /// A tunnel or streamed request to another host has ended.
    fn tunnelled(&self, door: Entrypoint, authority: &Authority, bytes: u64);
}

/// What the doors are made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Absent: CONNECT to a host of ours is refused with a sentence that says so.
    pub ca: Option<Arc<Ca>>,
    /// Sizes and times.
    pub limits: Limits,
    /// All our listeners' addresses, never reached through here.
    pub own: Vec<SocketAddr>,
    /// What we write into `Via`, unique to this process; the upstream clients write the same.
    pub marker: String,
    /// For request ids.
    pub clock: Arc<dyn Clock>,
}

/// The doors as a listener's site. Clones share their limits, so that TCP and unix connections are counted together.
#[derive(Debug)]
pub struct Doors<C>(Arc<House<C>>);

/// What every connection and call needs.
#[derive(Debug)]
struct House<C> {
    carrier: Arc<C>,
    setup: Setup,
    slots: Arc<Semaphore>,
    roots: OnceLock<Option<Arc<ClientConfig>>>,
}

impl<C> House<C> {
    /// The public roots, for `https://` in clear to other hosts; read when first needed.
    fn roots(&self) -> Option<Arc<ClientConfig>> {
        self.roots.get_or_init(|| tls::client_config(None).ok()).clone()
    }
}

impl<C> Clone for Doors<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Carrier> Doors<C> {
    /// Joins what is behind the doors with what they are made from.
    pub fn new(carrier: Arc<C>, setup: Setup) -> Self {
        let slots = Arc::new(Semaphore::new(setup.limits.connections));
        Self(Arc::new(House { carrier, setup, slots, roots: OnceLock::new() }))
    }
}

impl<C: Carrier> Site for Doors<C> {
    const BUSY: bool = true;

    async fn serve<S: Stream>(&self, stream: S, peer: Peer, drain: Drain) {
        connection::accept(Arc::clone(&self.0), stream, peer, drain).await;
    }
}

#[cfg(test)]
mod tests;
