//! The entrypoints: base URL, absolute form, CONNECT and unix socket, all one HTTP/1.1 service on
//! one connection function. Hands whole, screened requests to a [`RequestHandler`] and sends its
//! replies; rejects what `screen` rejects, and what is too big or too slow.

mod connection;
pub(crate) mod forward;
mod framing_stream;
mod half_close_stream;
mod inline_wakes;
mod origin;
pub(crate) mod prefixed_stream;
pub(crate) mod request;
pub(crate) mod response;
mod run_to_end;
pub(crate) mod timeout_stream;
pub(crate) mod tunnel;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::diagnosis::{Denial, DeniedClient};
use crate::dialect::{Reply, Request};
use crate::net::byte_budget::ByteBudget;
use crate::net::ca::ActiveCa;
use crate::net::drain::{ClientConnection, Drain};
use crate::net::peer::Peer;
use crate::net::resolver::Resolver;
use crate::net::server::{ConnectionService, Stream};
use crate::net::settings::Limits;
use crate::net::socket_table::SocketOwners;
use crate::telemetry::{ConnectionDenialReason, OpenConnections};
use crate::tls;

pub use crate::net::authority::{Authority, Scheme};
pub use crate::sms::Entrypoint;

/// How many connections that were denied at the limit may be read to their end at once.
const MAX_LINGERING: usize = 64;

/// Where a request is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrypointTarget {
    /// At our own address: the path's first segment names a provider or dialect (still in the path).
    BaseUrl,
    /// At a host.
    Host(Authority),
    /// At the unix socket without a useful Host: a path prefix, or method and path alone.
    Unspecified,
}

/// One whole request, screened, with hop-by-hop and our own headers taken out.
#[derive(Debug)]
pub struct IncomingRequest {
    /// Ours, for the log; 16 hex digits.
    pub id: String,
    /// Its entrypoint.
    pub entrypoint: Entrypoint,
    /// Where it is addressed.
    pub target: EntrypointTarget,
    /// The request.
    pub request: Request,
    /// Who sent it.
    pub peer: Peer,
    /// Whether the backend is still connected, and whether the sidecar is draining.
    pub connection: ClientConnection,
}

/// The answer to one request.
#[derive(Debug)]
pub struct HandlerReply {
    /// The reply.
    pub reply: Reply,
    /// The request was denied: its connection closes after the reply, so that a stranger holds no slot.
    pub is_denied: bool,
}

/// What to do with requests for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAdmission {
    /// Read and handle them.
    Intercept,
    /// Pass them through unread.
    Tunnel,
    /// Reject them with a status and a reason.
    Deny(StatusCode, Denial),
}

/// A request that was rejected before the handler got it.
#[derive(Clone, Copy, Debug)]
pub struct DeniedRequest<'a> {
    /// Its entrypoint.
    pub entrypoint: Entrypoint,
    /// The status that the client got.
    pub status: StatusCode,
    /// The text that the client got.
    pub why: &'a str,
    /// The reason.
    pub denial: &'a Denial,
    /// Who sent it.
    pub client: DeniedClient,
}

/// Handles the requests of the entrypoints.
pub trait RequestHandler: Send + Sync + 'static {
    /// What to do with requests for a named host, after the built-in rejections (metadata addresses,
    /// our own listeners, private ranges).
    fn admit(&self, authority: &Authority, peer: &Peer) -> HostAdmission;
    /// Whether the uid that owns a client's socket is needed: finding it out is expensive.
    fn needs_peer_uid(&self) -> bool {
        true
    }
    /// One request. It runs to its end: a backend that hangs up does not cancel it; see
    /// [`IncomingRequest::connection`].
    fn handle(&self, arrival: IncomingRequest) -> impl Future<Output = HandlerReply> + Send;
    /// Records a request that was rejected before the handler got it.
    fn request_denied(&self, denied: &DeniedRequest<'_>);
    /// Records a connection that was denied. A denied request follows, but not at the limit.
    fn connection_denied(&self, entrypoint: Entrypoint, reason: ConnectionDenialReason) {
        let _ = (entrypoint, reason);
    }
    /// Whether a rejected request is for a provider or from a configured caller; the request has no body.
    fn denied_client(&self, target: &EntrypointTarget, head: &Request, peer: &Peer)
    -> DeniedClient;
    /// The rejection in the backend's dialect, if the head identifies it; the request has no body.
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
    /// Records the end of a tunnel or forwarded request to another host.
    fn tunnel_closed(&self, entrypoint: Entrypoint, authority: &Authority, bytes: u64);
}

/// What the entrypoints are made from.
#[derive(Clone, Debug)]
pub struct EntrypointSetup {
    /// The local CA. While none is in force, CONNECT to an intercepted host is rejected with the reason.
    pub ca: Arc<ActiveCa>,
    /// Sizes and times.
    pub limits: Limits,
    /// All our listeners' addresses; requests to them are rejected.
    pub own_addresses: Vec<SocketAddr>,
    /// The names by which backends may address the base-URL entrypoint, beside IP addresses and `localhost`.
    pub own_names: Vec<String>,
    /// What we write into `Via`, unique to this process; the upstream clients write the same.
    pub via_marker: String,
    /// For request ids.
    pub clock: Arc<dyn Clock>,
    /// Counts the connections.
    pub open_connections: OpenConnections,
}

/// The entrypoints as the service of a listener. Clones share their limits, so that TCP and unix
/// connections are counted together.
#[derive(Debug)]
pub struct ProxyService<C>(Arc<ListenerShared<C>>);

/// What all connections and requests share.
#[derive(Debug)]
struct ListenerShared<C> {
    handler: Arc<C>,
    setup: EntrypointSetup,
    slots: Arc<Semaphore>,
    /// For denied connections whose request is still read.
    lingering: Arc<Semaphore>,
    /// The memory for the bodies of requests.
    request_bytes: ByteBudget,
    resolver: Resolver,
    socket_owners: Arc<SocketOwners>,
    tls_client: OnceLock<Option<Arc<ClientConfig>>>,
}

impl<C> ListenerShared<C> {
    /// A client with the public roots, for absolute `https://` requests to other hosts; made at first
    /// use.
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
    /// Connects the entrypoints to their handler.
    pub fn new(handler: Arc<C>, setup: EntrypointSetup) -> Self {
        let slots = Arc::new(Semaphore::new(setup.limits.max_connections));
        let request_bytes = setup.limits.byte_budget();
        Self(Arc::new(ListenerShared {
            handler,
            setup,
            slots,
            lingering: Arc::new(Semaphore::new(MAX_LINGERING)),
            request_bytes,
            resolver: Resolver::default(),
            socket_owners: Arc::default(),
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
