//! One request: screened, classified (for the handler, a CONNECT, or for another host), its body
//! read within the limits, and handled to its end even if the backend hangs up, because an attempt
//! that has started is finished and recorded.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use crate::diagnosis::{DenialReason, DenialScope};
use crate::dialect;
use crate::net::authority::{Authority, HostPort, Scheme};
use crate::net::byte_budget::{BodyBuffer, BudgetExhausted};
use crate::net::drain::{ClientConnection, ClientConnectionGuard, Phase};
use crate::net::entrypoint::connection::{ClientSlot, ConnectionContext, request_id};
use crate::net::entrypoint::response::{
    Rejected, ResponseBody, handler_response, rejection_response,
};
use crate::net::entrypoint::run_to_end::{RunToEnd, WorkPanicked};
use crate::net::entrypoint::{
    DeniedRequest, Entrypoint, EntrypointTarget, HostAdmission, IncomingRequest, ListenerShared,
    RequestHandler,
};
use crate::net::entrypoint::{forward, tunnel};
use crate::net::peer::Peer;
use crate::net::screen::{self, RequestLineTarget, ScreenContext};
use crate::parse_limit::VALUE_BYTES;
use crate::secret::SecretString;

/// A body up to this many times over the limit is read to its end, so that the client sees the rejection.
const MAX_DISCARD_FACTOR: u64 = 8;

/// What a request takes of the 128 operations that the runtime gives a task in its turn: a client that sends many at
/// once gets two answers, then all others get their turn.
const REQUEST_OPERATIONS: usize = 64;

/// What to do with a request.
enum RequestAction {
    /// Hand it to the request handler.
    Handle(EntrypointTarget),
    /// Answer the CONNECT and serve its inside.
    Intercept(Authority),
    /// Answer the CONNECT and tunnel to another host.
    Tunnel(Authority),
    /// Forward a request with an absolute URL to another host.
    Forward(Authority),
}

impl<C: RequestHandler> ListenerShared<C> {
    /// Never fails: a request that cannot be served is rejected with a reason.
    pub(super) async fn respond(
        self: &Arc<Self>,
        context: &ConnectionContext,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        for _ in 0..REQUEST_OPERATIONS {
            tokio::task::consume_budget().await;
        }
        let entrypoint = context.origin.entrypoint_of(&request);
        context.slot.open.move_to(entrypoint);
        let upgrade = request.extensions().get::<OnUpgrade>().cloned();
        let mut response = match self.handle(entrypoint, context, request).await {
            Ok(response) => response,
            Err(rejected) => {
                self.report(entrypoint, &rejected);
                tunnel::close_denied(upgrade, context);
                rejection_response(rejected)
            }
        };
        if context.drain.phase() > Phase::Serving
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn report(&self, entrypoint: Entrypoint, rejected: &Rejected) {
        self.handler.request_denied(&DeniedRequest {
            entrypoint,
            status: rejected.status,
            why: &rejected.reason,
            denial: &rejected.denial,
            client: rejected.client,
        });
    }

    async fn handle(
        self: &Arc<Self>,
        entrypoint: Entrypoint,
        context: &ConnectionContext,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Rejected> {
        if context.drain.phase() == Phase::Closing {
            return Err(shutting_down());
        }
        let (parts, body) = request.into_parts();
        let context = ConnectionContext {
            peer: self.identify_peer(&context.peer, &parts.headers).await,
            ..context.clone()
        };
        let action = self.choose_action(&context, &parts);
        // What is rare is boxed: each open connection has room for the rest of this future.
        match action.map_err(|rejected| self.with_client(rejected, &context, &parts))? {
            RequestAction::Handle(target) => {
                let expects_continue = parts.headers.contains_key(EXPECT);
                let slot = Arc::clone(&context.slot);
                let (incoming, guard) = incoming_request(entrypoint, target, parts, context);
                let response = self.dispatch(incoming, body, expects_continue, slot).await;
                drop(guard);
                response
            }
            RequestAction::Intercept(target) => {
                let request = Request::from_parts(parts, ());
                Ok(tunnel::accept_connect(self, request, target, context))
            }
            RequestAction::Tunnel(target) => {
                let request = Request::from_parts(parts, ());
                Box::pin(tunnel::tunnel(self, entrypoint, request, target, context)).await
            }
            RequestAction::Forward(target) => {
                let request = Request::from_parts(parts, body);
                Box::pin(forward::forward(
                    self, entrypoint, request, target, &context,
                ))
                .await
            }
        }
    }

    /// The rejection with who sent the request, if it depends on that.
    fn with_client(
        &self,
        rejected: Rejected,
        context: &ConnectionContext,
        parts: &Parts,
    ) -> Rejected {
        if rejected.denial.reason.scope() != DenialScope::Client {
            return rejected;
        }
        let (target, head) = (named_target(context, &parts.uri), head_of(parts));
        let client = self.handler.denied_client(&target, &head, &context.peer);
        Rejected { client, ..rejected }
    }

    /// The peer with the token of this request and, where the handler needs it, its uid.
    async fn identify_peer(&self, peer: &Peer, headers: &HeaderMap) -> Peer {
        let mut peer = with_proxy_token(peer, headers);
        if self.handler.needs_peer_uid() {
            peer.uid = peer.owner_uid().await;
        }
        peer
    }

    fn choose_action(
        &self,
        context: &ConnectionContext,
        parts: &Parts,
    ) -> Result<RequestAction, Rejected> {
        let action = self.action_by_target(context, parts)?;
        if matches!(action, RequestAction::Handle(_)) {
            screen::check_path(parts.uri.path())?;
        }
        Ok(action)
    }

    fn action_by_target(
        &self,
        context: &ConnectionContext,
        parts: &Parts,
    ) -> Result<RequestAction, Rejected> {
        let peer = &context.peer;
        let deny = |status, denial| Err(Rejected::from_denial(status, denial));
        let screen_context = ScreenContext {
            connect_target: context.origin.connect_target(),
            is_local: peer.is_local(),
            via_marker: &self.setup.via_marker,
        };
        match screen::check_head(parts, screen_context)? {
            RequestLineTarget::Path(host) if context.origin.is_unix_listener() => Ok(
                RequestAction::Handle(self.unix_target(host.as_deref(), peer)),
            ),
            RequestLineTarget::Path(host) => {
                screen::check_own_host(host.as_deref(), &self.setup.own_names)?;
                Ok(RequestAction::Handle(EntrypointTarget::BaseUrl))
            }
            RequestLineTarget::Host(authority) => match self.admit(&authority, peer)? {
                HostAdmission::Intercept => {
                    Ok(RequestAction::Handle(EntrypointTarget::Host(authority)))
                }
                HostAdmission::Tunnel => Ok(RequestAction::Forward(authority)),
                HostAdmission::Deny(status, denial) => deny(status, denial),
            },
            RequestLineTarget::Connect(authority) => match self.admit(&authority, peer)? {
                HostAdmission::Intercept => self
                    .check_tls_available(&authority)
                    .map(|()| RequestAction::Intercept(authority)),
                HostAdmission::Tunnel => Ok(RequestAction::Tunnel(authority)),
                HostAdmission::Deny(status, denial) => deny(status, denial),
            },
        }
    }

    fn admit(&self, authority: &Authority, peer: &Peer) -> Result<HostAdmission, Rejected> {
        screen::check_host(authority, &self.setup.own_addresses, peer.is_local())?;
        Ok(self.handler.admit(authority, peer))
    }

    /// Rejects a CONNECT to port 443 whose TLS cannot be terminated; other ports may carry plain HTTP.
    fn check_tls_available(&self, authority: &Authority) -> Result<(), Rejected> {
        let reason = match self.setup.ca.current() {
            _ if authority.port != Scheme::Https.default_port() => return Ok(()),
            Some(ca) if ca.covers(&authority.host) => return Ok(()),
            Some(_) if authority.host.parse::<IpAddr>().is_ok() => DenialReason::AddressNotCovered,
            Some(_) => DenialReason::HostNotCovered,
            None => DenialReason::CaMissing,
        };
        let denial = reason.about(&authority.host);
        Err(Rejected::from_denial(StatusCode::BAD_GATEWAY, denial))
    }

    /// Most clients send no useful Host header at the unix socket; one that names an intercepted
    /// host is used.
    fn unix_target(&self, host: Option<&str>, peer: &Peer) -> EntrypointTarget {
        let named_host = host.and_then(HostPort::parse).map(|named| named.host);
        let public_host =
            named_host.filter(|host| host.contains('.') && host.parse::<IpAddr>().is_err());
        let authority = public_host.map(|host| Authority {
            scheme: Scheme::Https,
            host,
            port: Scheme::Https.default_port(),
        });
        match authority
            .filter(|authority| self.handler.admit(authority, peer) == HostAdmission::Intercept)
        {
            Some(authority) => EntrypointTarget::Host(authority),
            None => EntrypointTarget::Unspecified,
        }
    }

    async fn dispatch(
        &self,
        mut incoming: IncomingRequest,
        body: Incoming,
        expects_continue: bool,
        slot: Arc<ClientSlot>,
    ) -> Result<Response<ResponseBody>, Rejected> {
        let read = self.receive_body(&mut incoming, body, expects_continue);
        read.await
            .map_err(|rejected| self.in_dialect(&incoming, rejected))?;
        let guard = incoming.connection.track_request();
        let request_body = incoming.request.body.clone();
        let handler = Arc::clone(&self.handler);
        // Part of the connection's task until the client leaves. The drain's guard is in it, so the shutdown waits for
        // it; so is the slot, which bounds how many there are: clients that leave before their response would start
        // any number.
        let work = RunToEnd::new(async move {
            let reply = handler.handle(incoming).await;
            drop((guard, slot));
            reply
        });
        let panicked = |WorkPanicked| {
            Rejected::new(
                StatusCode::GATEWAY_TIMEOUT,
                DenialReason::InternalError,
                "internal error; the message may have been sent",
            )
        };
        work.await
            .map(|reply| handler_response(reply, request_body))
            .map_err(panicked)
    }

    /// Reads the body, and counts what a tree of it will take in memory.
    async fn receive_body(
        &self,
        incoming: &mut IncomingRequest,
        body: Incoming,
        expects_continue: bool,
    ) -> Result<(), Rejected> {
        let limits = self.setup.limits;
        let mut whole = self.request_bytes.buffer();
        let read = read_body(body, &mut whole, limits.max_body, expects_continue);
        timeout(limits.client_timeout, read)
            .await
            .unwrap_or_else(|_| {
                Err(Rejected::new(
                    StatusCode::REQUEST_TIMEOUT,
                    DenialReason::TooSlow,
                    "the request's body took too long",
                ))
            })?;
        let values = incoming.request.count_values(whole.as_ref());
        whole
            .try_charge(values.unwrap_or_default() * VALUE_BYTES)
            .map_err(no_room)?;
        incoming.request.body = whole.into_bytes();
        Ok(())
    }

    /// The same rejection with a reply in the backend's dialect, where the handler has one.
    fn in_dialect(&self, incoming: &IncomingRequest, rejected: Rejected) -> Rejected {
        let reply = self.handler.error_reply(
            &incoming.target,
            &incoming.request,
            rejected.status,
            &rejected.reason,
        );
        let client =
            self.handler
                .denied_client(&incoming.target, &incoming.request, &incoming.peer);
        Rejected {
            reply: reply.map(Box::new),
            client,
            ..rejected
        }
    }
}

fn shutting_down() -> Rejected {
    Rejected::new(
        StatusCode::SERVICE_UNAVAILABLE,
        DenialReason::ShuttingDown,
        "the sidecar is shutting down; nothing was sent, repeat the request",
    )
}

/// Where a request is addressed, as far as its line says so.
fn named_target(context: &ConnectionContext, uri: &Uri) -> EntrypointTarget {
    let named = Authority::from_uri(uri);
    match named.or_else(|| context.origin.connect_target().cloned()) {
        Some(authority) => EntrypointTarget::Host(authority),
        None if context.origin.is_unix_listener() => EntrypointTarget::Unspecified,
        None => EntrypointTarget::BaseUrl,
    }
}

/// The request for the handler, without its body; the guard is held until it is answered.
fn incoming_request(
    entrypoint: Entrypoint,
    target: EntrypointTarget,
    mut parts: Parts,
    context: ConnectionContext,
) -> (IncomingRequest, ClientConnectionGuard) {
    let id = request_id(&parts.headers);
    screen::strip_connection_headers(&mut parts.headers);
    let (guard, connection) = ClientConnection::new(context.drain);
    let incoming = IncomingRequest {
        id,
        entrypoint,
        target,
        request: to_dialect_request(parts),
        peer: context.peer,
        connection,
    };
    (incoming, guard)
}

/// The peer with the token of this request, if it gave one.
fn with_proxy_token(peer: &Peer, headers: &HeaderMap) -> Peer {
    let basic = headers
        .get(PROXY_AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '));
    let encoded = basic
        .filter(|(kind, _)| kind.eq_ignore_ascii_case("basic"))
        .map(|(_, encoded)| encoded.trim());
    let plain = encoded
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|plain| String::from_utf8(plain).ok());
    let token = plain.map(|plain| match plain.split_once(':') {
        Some((user, "")) => SecretString::from(user),
        Some((_, password)) => SecretString::from(password),
        None => SecretString::from(plain),
    });
    Peer {
        token: token.or_else(|| peer.token.clone()),
        ..peer.clone()
    }
}

fn to_dialect_request(parts: Parts) -> dialect::Request {
    dialect::Request {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: Bytes::new(),
    }
}

/// A copy of the head, for a request that was rejected.
fn head_of(parts: &Parts) -> dialect::Request {
    dialect::Request {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers.clone(),
        body: Bytes::new(),
    }
}

/// Reads the whole body, or returns why it was rejected. A client that expects `100 Continue` sends no body to
/// discard.
async fn read_body(
    mut body: Incoming,
    whole: &mut BodyBuffer,
    limit: usize,
    expects_continue: bool,
) -> Result<(), Rejected> {
    let discard_limit = to_u64(limit).saturating_mul(MAX_DISCARD_FACTOR);
    let declared = body.size_hint().exact();
    if declared.is_some_and(|declared| {
        declared > discard_limit || expects_continue && declared > to_u64(limit)
    }) {
        return Err(too_long(limit));
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken_body())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let seen = whole.len() + data.len();
        let added = if seen > limit {
            Err(too_long(limit))
        } else {
            whole.try_append(&data).map_err(no_room)
        };
        if let Err(rejected) = added {
            whole.clear();
            discard(&mut body, to_u64(seen), discard_limit).await;
            return Err(rejected);
        }
    }
    Ok(())
}

fn too_long(limit: usize) -> Rejected {
    Rejected::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        DenialReason::BodyTooLarge,
        format!("the body is longer than {limit} bytes"),
    )
}

fn broken_body() -> Rejected {
    Rejected::new(
        StatusCode::BAD_REQUEST,
        DenialReason::Malformed,
        "the body ended early, or its framing is not valid HTTP/1.1",
    )
}

fn no_room(_: BudgetExhausted) -> Rejected {
    let denial = DenialReason::BytesInFlight.about("");
    Rejected::from_denial(StatusCode::SERVICE_UNAVAILABLE, denial)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Reads on after `seen` bytes, up to `discard_limit`, so that the client can read the response.
async fn discard(body: &mut Incoming, mut seen: u64, discard_limit: u64) {
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.data_ref().map_or(0, Bytes::len);
        seen += u64::try_from(data).unwrap_or(u64::MAX);
        if seen > discard_limit {
            break;
        }
    }
}
