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
use crate::net::authority::{Authority, Scheme, plain};
use crate::net::door::answer::{Body, Turned, refusal, whole};
use crate::net::door::connection::{Session, id};
use crate::net::door::{Admission, Arrival, Carrier, Entrypoint, House, Target, through};
use crate::net::drain::{Line, Phase};
use crate::net::peer::Peer;
use crate::net::screen::{self, Named, Way};
use crate::secret::SecretString;

/// A body up to this many times too long is read to its end, so that the client gets to see the refusal.
const PATIENCE: u64 = 8;

/// What is to be done with a request.
enum Plan {
    /// It is a call of ours.
    Carry(Target),
    /// A CONNECT whose inside is ours.
    Open(Authority),
    /// A CONNECT to another host.
    Tunnel(Authority),
    /// An absolute URL at another host.
    Forward(Authority),
}

impl<C: Carrier> House<C> {
    /// Never fails: what cannot be carried is refused with a reason.
    pub(super) async fn answer(self: &Arc<Self>, session: &Session, request: Request<Incoming>) -> Response<Body> {
        let door = door(session, &request);
        let mut response = match self.handle(door, session, request).await {
            Ok(response) => response,
            Err(turned) => {
                let tell = if turned.ours { C::barred } else { C::turned_away };
                tell(&self.carrier, door, turned.status, &turned.why);
                refusal(turned)
            }
        };
        if session.drain.phase() > Phase::Serving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn handle(self: &Arc<Self>, door: Entrypoint, session: &Session, request: Request<Incoming>) -> Result<Response<Body>, Turned> {
        if session.drain.phase() == Phase::Closing {
            return Err(Turned::new(StatusCode::SERVICE_UNAVAILABLE, "this process is ending; nothing was sent, repeat the request"));
        }
        let id = id(&request);
        let (mut parts, body) = request.into_parts();
        let mut peer = known(&session.peer, &parts.headers);
        if self.carrier.asks_owner() {
            peer.uid = peer.owner().await;
        }
        let plan = self.plan(session, &peer, &parts)?;
        let session = Session { peer, ..session.clone() };
        match plan {
            Plan::Carry(target) => {
                screen::path(parts.uri.path())?;
                let expects = parts.headers.contains_key(EXPECT);
                screen::strip(&mut parts.headers);
                let (presence, line) = Line::open(session.drain.clone());
                let request = head(parts);
                let arrival = Arrival { id, door, target, request, peer: session.peer, tls: session.tls, line };
                let carried = self.carry(arrival, body, expects).await;
                drop(presence);
                carried
            }
            Plan::Open(target) => Ok(through::open(self, Request::from_parts(parts, ()), target, session)),
            Plan::Tunnel(target) => through::tunnel(self, Request::from_parts(parts, ()), target, session).await,
            Plan::Forward(target) => through::forward(self, door, Request::from_parts(parts, body), target, &session).await,
        }
    }

    fn plan(&self, session: &Session, peer: &Peer, parts: &Parts) -> Result<Plan, Turned> {
        let local = peer.is_local();
        let way = Way { inside: session.inside.as_ref(), local, marker: &self.setup.marker };
        match screen::head(parts, way)? {
            Named::Path(host) => {
                let target = if session.unix { self.nowhere(host.as_deref(), peer) } else { Target::Base };
                self.carrier.welcome(session.door(), peer)?;
                Ok(Plan::Carry(target))
            }
            Named::Host(authority) => match self.admit(&authority, peer)? {
                Admission::Intercept => Ok(Plan::Carry(Target::Host(authority))),
                Admission::Tunnel => Ok(Plan::Forward(authority)),
                Admission::Refuse(status, why) => Err(Turned::new(status, why)),
            },
            Named::Connect(authority) => match self.admit(&authority, peer)? {
                Admission::Intercept => self.can_open(&authority).map(|()| Plan::Open(authority)),
                Admission::Tunnel => Ok(Plan::Tunnel(authority)),
                Admission::Refuse(status, why) => Err(Turned::new(status, why)),
            },
        }
    }

    fn admit(&self, authority: &Authority, peer: &Peer) -> Result<Admission, Turned> {
        screen::host(authority, &self.setup.own, peer.is_local())?;
        Ok(self.carrier.admit(authority, peer))
    }

    /// Said at once where TLS is certain; other ports may speak plain HTTP inside.
    fn can_open(&self, authority: &Authority) -> Result<(), Turned> {
        let why = match &self.setup.ca {
            _ if authority.port != Scheme::Https.default_port() => return Ok(()),
            Some(ca) if ca.covers(&authority.host) => return Ok(()),
            Some(_) if authority.host.parse::<IpAddr>().is_ok() => {
                format!("TLS for an IP address cannot be opened here; name the service's host in place of {}", authority.host)
            }
            Some(_) => format!(
                "the local CA does not cover {0}; unless its description names it in full, set a provider's `base_url` to https://{0}/…, \
                 then run `sms-sidecar ca renew` and restart the sidecar and the backend",
                authority.host
            ),
            None => String::from("CONNECT to a host of ours needs a local CA; run `sms-sidecar ca init` and set `[intercept] ca`"),
        };
        Err(Turned { ours: true, ..Turned::new(StatusCode::BAD_GATEWAY, why) })
    }

    /// At the unix socket most clients lose the host; one that names a host of ours is believed.
    fn nowhere(&self, host: Option<&str>, peer: &Peer) -> Target {
        let named = host.and_then(|host| host.parse::<http::uri::Authority>().ok()).map(|host| plain(host.host()));
        let telling = named.filter(|host| host.contains('.') && host.parse::<IpAddr>().is_err());
        let authority = telling.map(|host| Authority { scheme: Scheme::Https, host, port: Scheme::Https.default_port() });
        match authority.filter(|authority| self.carrier.admit(authority, peer) == Admission::Intercept) {
            Some(authority) => Target::Host(authority),
            None => Target::Nowhere,
        }
    }

    async fn carry(&self, mut arrival: Arrival, body: Incoming, expects: bool) -> Result<Response<Body>, Turned> {
        let limits = self.setup.limits;
        let gathered = timeout(limits.client, gather(body, limits.body, expects)).await;
        let slow = |_| Turned::new(StatusCode::REQUEST_TIMEOUT, "the request's body took too long");
        arrival.request.body = gathered.map_err(slow).and_then(|gathered| gathered).map_err(|turned| {
            let reply = self.carrier.refusal(&arrival.target, &arrival.request, turned.status, &turned.why);
            Turned { reply: reply.map(Box::new), ..turned }
        })?;
        let flight = arrival.line.flight();
        let carrier = Arc::clone(&self.carrier);
        // Owned by the drain, through its flight: the shutdown waits for it.
        // Boxed: a task's future is copied about ten times, and this one is 10 KB.
        let task = tokio::spawn(Box::pin(async move {
            let reply = carrier.carry(arrival).await;
            drop(flight);
            reply
        }));
        let panicked = |_| Turned::new(StatusCode::GATEWAY_TIMEOUT, "an error of ours; the message may have been sent");
        task.await.map(whole).map_err(panicked)
    }
}

fn door(session: &Session, request: &Request<Incoming>) -> Entrypoint {
    let door = session.door();
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
fn known(peer: &Peer, headers: &HeaderMap) -> Peer {
    let basic = headers.get(PROXY_AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    let encoded = basic.filter(|(kind, _)| kind.eq_ignore_ascii_case("basic")).map(|(_, encoded)| encoded.trim());
    let plain = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).and_then(|plain| String::from_utf8(plain).ok());
    let token = plain.map(|plain| match plain.split_once(':') {
        Some((user, "")) => SecretString::from(user),
        Some((_, password)) => SecretString::from(password),
        None => SecretString::from(plain),
    });
    Peer { token: token.or_else(|| peer.token.clone()), ..peer.clone() }
}

fn head(parts: Parts) -> dialect::Request {
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().map(str::to_owned));
    dialect::Request { method: parts.method, path, query, headers: parts.headers, body: Bytes::new() }
}

/// The whole body, or why not.
async fn gather(mut body: Incoming, limit: usize, expects: bool) -> Result<Bytes, Turned> {
    let too_long = || Turned::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {limit} bytes"));
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let patience = limit.saturating_mul(PATIENCE);
    let declared = body.size_hint().exact();
    if declared.is_some_and(|declared| declared > patience || expects && declared > limit) {
        return Err(too_long());
    }
    match Limited::new(&mut body, usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let mut seen = limit;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                if seen > patience {
                    break;
                }
            }
            Err(too_long())
        }
        Err(_) => Err(Turned::new(StatusCode::BAD_REQUEST, "the body broke off, or is not framed as HTTP/1.1 says")),
    }
}
