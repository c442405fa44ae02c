//! The ways in: base URL, absolute form, CONNECT and unix socket, all one HTTP/1.1
//! service on one connection function. Hands whole, screened requests to a `Carrier`
//! and sends its replies; refuses what `screen` refuses, and what is too big or too slow.

mod connection;
mod origin;
pub(crate) mod prefixed_stream;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod timeout_stream;
pub(crate) mod tunnel;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::dialect::{Reply, Request};
use crate::net::ca::Ca;
use crate::net::drain::{ClientConnection, Drain};
use crate::net::peer::Peer;
use crate::net::server::{ConnectionService, Stream};
use crate::net::settings::Limits;
use crate::tls;

pub use crate::net::authority::{Authority, Scheme};
pub use crate::sms::Entrypoint;

/// Where a call is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrypointTarget {
    /// At our own address: the path's first segment names a provider or dialect (still in the path).
    BaseUrl,
    /// At a host.
    Host(Authority),
    /// The unix socket with no telling Host: a path prefix, or method and path alone.
    Unspecified,
}

/// One whole request, screened, with hop-by-hop and our own headers taken out.
#[derive(Debug)]
pub struct IncomingRequest {
    /// Ours, for the log; 16 hex digits.
    pub id: String,
    /// Which way in.
    pub entrypoint: Entrypoint,
    /// Where it is addressed.
    pub target: EntrypointTarget,
    /// The request.
    pub request: Request,
    /// Who sent it.
    pub peer: Peer,
    /// Whether the backend still listens, and whether we are draining.
    pub connection: ClientConnection,
}

/// What is to happen to calls for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAdmission {
    /// They are ours: read and carry them.
    Intercept,
    /// Passed through unread.
    Tunnel,
    /// Turned away with a status and a sentence for the backend.
    Deny(StatusCode, String),
}

/// What stands behind the doors.
pub trait RequestHandler: Send + Sync + 'static {
    /// Asked for every named host, after our own refusals (metadata addresses, our own listeners, private ranges).
    fn admit(&self, authority: &Authority, peer: &Peer) -> HostAdmission;
    /// Whether it matters which uid owns a client's socket: finding that out is dear.
    fn needs_peer_uid(&self) -> bool {
        true
    }
    /// One call. Runs in a task of its own: a backend that hangs up does not cut it off (`Arrival::line` tells).
    fn handle(&self, arrival: IncomingRequest) -> impl Future<Output = Reply> + Send;
    /// A request that never became a call.
    fn request_denied(&self, door: Entrypoint, status: StatusCode, why: &str);
    /// One for a host of ours, because its TLS cannot be ended: whoever sends such requests gets none through.
    fn tls_rejected(&self, door: Entrypoint, status: StatusCode, why: &str) {
        self.request_denied(door, status, why);
    }
    /// The refusal in the words of whoever is being spoken to, where the head tells; the request has no body.
    fn error_reply(
        &self,
        target: &EntrypointTarget,
        head: &Request,
        status: StatusCode,
        why: &str,
    ) -> Option<Reply> {
        let _ = (target, head, status, why);
        None
    }
    /// A tunnel or streamed request to another host has ended.
    fn tunnel_closed(&self, door: Entrypoint, authority: &Authority, bytes: u64);
}

/// What the doors are made from.
#[derive(Clone, Debug)]
pub struct EntrypointSetup {
    /// Absent: CONNECT to a host of ours is refused with a sentence that says so.
    pub ca: Option<Arc<Ca>>,
    /// Sizes and times.
    pub limits: Limits,
    /// All our listeners' addresses, never reached through here.
    pub own_addresses: Vec<SocketAddr>,
    /// What we write into `Via`, unique to this process; the upstream clients write the same.
    pub via_marker: String,
    /// For request ids.
    pub clock: Arc<dyn Clock>,
}

/// The doors as a listener's site. Clones share their limits, so that TCP and unix connections are counted together.
#[derive(Debug)]
pub struct ProxyService<C>(Arc<ListenerShared<C>>);

/// What every connection and call needs.
#[derive(Debug)]
struct ListenerShared<C> {
    handler: Arc<C>,
    setup: EntrypointSetup,
    slots: Arc<Semaphore>,
    tls_client: OnceLock<Option<Arc<ClientConfig>>>,
}

impl<C> ListenerShared<C> {
    /// The public roots, for `https://` in clear to other hosts; read when first needed.
    fn tls_client(&self) -> Option<Arc<ClientConfig>> {
        self.tls_client
            .get_or_init(|| tls::client_config(None).ok())
            .clone()
    }
}

impl<C> Clone for ProxyService<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: RequestHandler> ProxyService<C> {
    /// Joins what is behind the doors with what they are made from.
    pub fn new(carrier: Arc<C>, setup: EntrypointSetup) -> Self {
        let slots = Arc::new(Semaphore::new(setup.limits.max_connections));
        Self(Arc::new(ListenerShared {
            handler: carrier,
            setup,
            slots,
            tls_client: OnceLock::new(),
        }))
    }
}

impl<C: RequestHandler> ConnectionService for ProxyService<C> {
    const MULTI_THREADED: bool = true;

    async fn serve<S: Stream>(&self, stream: S, peer: Peer, drain: Drain) {
        connection::accept(Arc::clone(&self.0), stream, peer, drain).await;
    }
}

#[cfg(test)]
mod tests;
