//! One request: screened, told apart (a call of ours, a CONNECT, another host's), its
//! body gathered within the limits, and carried in a task that outlives a backend which
//! hangs up, because an attempt once begun is finished and recorded.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use crate::dialect;
use crate::net::authority::{Authority, Scheme, normalize_host};
use crate::net::drain::{ClientConnection, Phase};
use crate::net::entrypoint::connection::{ConnectionContext, request_id};
use crate::net::entrypoint::response::{
    Rejected, ResponseBody, rejection_response, reply_response,
};
use crate::net::entrypoint::tunnel;
use crate::net::entrypoint::{
    Entrypoint, EntrypointTarget, HostAdmission, IncomingRequest, ListenerShared, RequestHandler,
};
use crate::net::peer::Peer;
use crate::net::screen::{self, RequestLineTarget, ScreenContext};
use crate::secret::SecretString;

/// A body up to this many times too long is read to its end, so that the client gets to see the refusal.
const MAX_DISCARD_FACTOR: u64 = 8;

/// What is to be done with a request.
enum RequestAction {
    /// It is a call of ours.
    Handle(EntrypointTarget),
    /// A CONNECT whose inside is ours.
    Intercept(Authority),
    /// A CONNECT to another host.
    Tunnel(Authority),
    /// An absolute URL at another host.
    Forward(Authority),
}

impl<C: RequestHandler> ListenerShared<C> {
    /// Never fails: what cannot be carried is refused with a reason.
    pub(super) async fn respond(
        self: &Arc<Self>,
        session: &ConnectionContext,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let door = entrypoint_of(session, &request);
        let mut response = match self.handle(door, session, request).await {
            Ok(response) => response,
            Err(turned) => {
                let tell = if turned.tls_rejected {
                    C::tls_rejected
                } else {
                    C::request_denied
                };
                tell(&self.handler, door, turned.status, &turned.reason);
                rejection_response(turned)
            }
        };
        if session.drain.phase() > Phase::Serving
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn handle(
        self: &Arc<Self>,
        door: Entrypoint,
        session: &ConnectionContext,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Rejected> {
        if session.drain.phase() == Phase::Closing {
            return Err(Rejected::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "this process is ending; nothing was sent, repeat the request",
            ));
        }
        let id = request_id(&request);
        let (mut parts, body) = request.into_parts();
        let mut peer = with_proxy_token(&session.peer, &parts.headers);
        if self.handler.needs_peer_uid() {
            peer.uid = peer.owner_uid().await;
        }
        let plan = self.choose_action(session, &peer, &parts)?;
        let session = ConnectionContext {
            peer,
            ..session.clone()
        };
        match plan {
            RequestAction::Handle(target) => {
                screen::check_path(parts.uri.path())?;
                let expects = parts.headers.contains_key(EXPECT);
                screen::strip_connection_headers(&mut parts.headers);
                let (presence, line) = ClientConnection::new(session.drain.clone());
                let request = to_dialect_request(parts);
                let arrival = IncomingRequest {
                    id,
                    entrypoint: door,
                    target,
                    request,
                    peer: session.peer,
                    is_tls: session.is_tls,
                    connection: line,
                };
                let carried = self.dispatch(arrival, body, expects).await;
                drop(presence);
                carried
            }
            RequestAction::Intercept(target) => Ok(tunnel::accept_connect(
                self,
                Request::from_parts(parts, ()),
                target,
                session,
            )),
            RequestAction::Tunnel(target) => {
                tunnel::tunnel(self, Request::from_parts(parts, ()), target, session).await
            }
            RequestAction::Forward(target) => {
                tunnel::forward(
                    self,
                    door,
                    Request::from_parts(parts, body),
                    target,
                    &session,
                )
                .await
            }
        }
    }

    fn choose_action(
        &self,
        session: &ConnectionContext,
        peer: &Peer,
        parts: &Parts,
    ) -> Result<RequestAction, Rejected> {
        let local = peer.is_local();
        let way = ScreenContext {
            connect_target: session.connect_target.as_ref(),
            is_local: local,
            via_marker: &self.setup.via_marker,
        };
        match screen::check_head(parts, way)? {
            RequestLineTarget::Path(host) => {
                let target = if session.is_unix {
                    self.unix_target(host.as_deref(), peer)
                } else {
                    EntrypointTarget::BaseUrl
                };
                self.handler.authorize(session.entrypoint(), peer)?;
                Ok(RequestAction::Handle(target))
            }
            RequestLineTarget::Host(authority) => match self.admit(&authority, peer)? {
                HostAdmission::Intercept => {
                    Ok(RequestAction::Handle(EntrypointTarget::Host(authority)))
                }
                HostAdmission::Tunnel => Ok(RequestAction::Forward(authority)),
                HostAdmission::Deny(status, why) => Err(Rejected::new(status, why)),
            },
            RequestLineTarget::Connect(authority) => match self.admit(&authority, peer)? {
                HostAdmission::Intercept => self
                    .check_tls_available(&authority)
                    .map(|()| RequestAction::Intercept(authority)),
                HostAdmission::Tunnel => Ok(RequestAction::Tunnel(authority)),
                HostAdmission::Deny(status, why) => Err(Rejected::new(status, why)),
            },
        }
    }

    fn admit(&self, authority: &Authority, peer: &Peer) -> Result<HostAdmission, Rejected> {
        screen::check_host(authority, &self.setup.own_addresses, peer.is_local())?;
        Ok(self.handler.admit(authority, peer))
    }

    /// Said at once where TLS is certain; other ports may speak plain HTTP inside.
    fn check_tls_available(&self, authority: &Authority) -> Result<(), Rejected> {
        let why = match &self.setup.ca {
            _ if authority.port != Scheme::Https.default_port() => return Ok(()),
            Some(ca) if ca.covers(&authority.host) => return Ok(()),
            Some(_) if authority.host.parse::<IpAddr>().is_ok() => {
                format!(
                    "TLS for an IP address cannot be opened here; name the service's host in place of {}",
                    authority.host
                )
            }
            Some(_) => format!(
                "the local CA does not cover {0}; unless its description names it in full, set a provider's `base_url` to https://{0}/…, \
                 then run `sms-sidecar ca renew` and restart the sidecar and the backend",
                authority.host
            ),
            None => String::from(
                "CONNECT to a host of ours needs a local CA; run `sms-sidecar ca init` and set `[intercept] ca`",
            ),
        };
        Err(Rejected {
            tls_rejected: true,
            ..Rejected::new(StatusCode::BAD_GATEWAY, why)
        })
    }

    /// At the unix socket most clients lose the host; one that names a host of ours is believed.
    fn unix_target(&self, host: Option<&str>, peer: &Peer) -> EntrypointTarget {
        let named = host
            .and_then(|host| host.parse::<http::uri::Authority>().ok())
            .map(|host| normalize_host(host.host()));
        let telling = named.filter(|host| host.contains('.') && host.parse::<IpAddr>().is_err());
        let authority = telling.map(|host| Authority {
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
        mut arrival: IncomingRequest,
        body: Incoming,
        expects: bool,
    ) -> Result<Response<ResponseBody>, Rejected> {
        let limits = self.setup.limits;
        let gathered = timeout(
            limits.client_timeout,
            read_body(body, limits.max_body, expects),
        )
        .await;
        let slow = |_| {
            Rejected::new(
                StatusCode::REQUEST_TIMEOUT,
                "the request's body took too long",
            )
        };
        arrival.request.body = gathered
            .map_err(slow)
            .and_then(|gathered| gathered)
            .map_err(|turned| {
                let reply = self.handler.error_reply(
                    &arrival.target,
                    &arrival.request,
                    turned.status,
                    &turned.reason,
                );
                Rejected {
                    reply: reply.map(Box::new),
                    ..turned
                }
            })?;
        let flight = arrival.connection.track_request();
        let carrier = Arc::clone(&self.handler);
        // Owned by the drain, through its flight: the shutdown waits for it.
        // Boxed: a task's future is copied about ten times, and this one is 10 KB.
        let task = tokio::spawn(Box::pin(async move {
            let reply = carrier.handle(arrival).await;
            drop(flight);
            reply
        }));
        let panicked = |_| {
            Rejected::new(
                StatusCode::GATEWAY_TIMEOUT,
                "an error of ours; the message may have been sent",
            )
        };
        task.await.map(reply_response).map_err(panicked)
    }
}

fn entrypoint_of(session: &ConnectionContext, request: &Request<Incoming>) -> Entrypoint {
    let door = session.entrypoint();
    if door != Entrypoint::BaseUrl {
        door
    } else if *request.method() == Method::CONNECT {
        Entrypoint::Connect
    } else if request.uri().scheme().is_some() {
        Entrypoint::Absolute
    } else {
        door
    }
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
    let (path, query) = (
        parts.uri.path().to_owned(),
        parts.uri.query().map(str::to_owned),
    );
    dialect::Request {
        method: parts.method,
        path,
        query,
        headers: parts.headers,
        body: Bytes::new(),
    }
}

/// The whole body, or why not.
async fn read_body(mut body: Incoming, limit: usize, expects: bool) -> Result<Bytes, Rejected> {
    let too_long = || {
        Rejected::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {limit} bytes"),
        )
    };
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let patience = limit.saturating_mul(MAX_DISCARD_FACTOR);
    let declared = body.size_hint().exact();
    if declared.is_some_and(|declared| declared > patience || expects && declared > limit) {
        return Err(too_long());
    }
    match Limited::new(&mut body, usize::try_from(limit).unwrap_or(usize::MAX))
        .collect()
        .await
    {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let mut seen = limit;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame
                    .data_ref()
                    .map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                if seen > patience {
                    break;
                }
            }
            Err(too_long())
        }
        Err(_) => Err(Rejected::new(
            StatusCode::BAD_REQUEST,
            "the body broke off, or is not framed as HTTP/1.1 says",
        )),
    }
}
