//! What passes through to other hosts, and CONNECTs that are opened instead: every
//! address is judged again after its name was resolved, bytes are counted, and tunnels
//! that have fallen quiet end when the process does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, VIA};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::net::authority::{Authority, Scheme};
use crate::net::door::answer::{Body, Turned};
use crate::net::door::connection::{Session, inside};
use crate::net::door::{Carrier, Entrypoint, House};
use crate::net::drain::{Drain, Phase};
use crate::net::meter::{Counts, Metered};
use crate::net::screen;
use crate::net::server::Stream;
use crate::tls;

/// While draining, a tunnel that moved nothing for so long is done.
const QUIET: Duration = Duration::from_secs(1);

/// Answers a CONNECT whose inside we serve ourselves.
pub(super) fn open<C: Carrier>(house: &Arc<House<C>>, request: Request<()>, target: Authority, session: Session) -> Response<Body> {
    let house = Arc::clone(house);
    let busy = session.tempo.busy();
    // Owned by the connection's slot, which its session holds.
    tokio::spawn(async move {
        // A client that left before the tunnel stood sent nothing.
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            inside(house, TokioIo::new(upgraded), target, session).await;
        }
        drop(busy);
    });
    established()
}

/// Answers a CONNECT to another host, once that host is connected.
pub(super) async fn tunnel<C: Carrier>(
    house: &Arc<House<C>>,
    request: Request<()>,
    target: Authority,
    session: Session,
) -> Result<Response<Body>, Turned> {
    let far = dial(house, &target, session.peer.is_local()).await?;
    let carrier = Arc::clone(&house.carrier);
    let busy = session.tempo.busy();
    let door = if session.unix { Entrypoint::Unix } else { Entrypoint::Connect };
    let (mut far, counts) = Metered::new(far);
    let flight = session.drain.flight();
    let idle = house.setup.limits.idle;
    // Owned by the drain, through its flight.
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let mut near = TokioIo::new(upgraded);
            tokio::select! {
                // How a stranger's tunnel ended is between its two ends.
                _ = copy_bidirectional(&mut near, &mut far) => {}
                () = still(&counts, idle) => {}
                () = quiet(&session.drain, &counts) => {}
            }
        }
        carrier.tunnelled(door, &target, counts.total());
        drop((flight, busy, session));
    });
    Ok(established())
}

/// Passes a request to another host on, and its reply back, both as they come.
pub(super) async fn forward<C: Carrier>(
    house: &Arc<House<C>>,
    door: Entrypoint,
    request: Request<Incoming>,
    target: Authority,
    session: &Session,
) -> Result<Response<Body>, Turned> {
    let bad = |why: &str| Turned::new(StatusCode::BAD_GATEWAY, format!("{target}: {why}"));
    let (mut parts, body) = request.into_parts();
    screen::strip(&mut parts.headers);
    let host = HeaderValue::try_from(target.host_header()).map_err(|_| bad("no host name"))?;
    parts.headers.insert(HOST, host);
    if let Ok(marker) = HeaderValue::try_from(format!("1.1 {}", house.setup.marker)) {
        parts.headers.append(VIA, marker);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>().map_err(|_| bad("its path cannot be sent"))?;
    let far = dial(house, &target, session.peer.is_local()).await?;
    let report = {
        let (carrier, target) = (Arc::clone(&house.carrier), target.clone());
        move |counts: Counts| carrier.tunnelled(door, &target, counts.total())
    };
    let mut sender = match target.scheme {
        Scheme::Http => speak(far, report).await,
        Scheme::Https => {
            let name = ServerName::try_from(target.host.clone()).map_err(|_| bad("no host name"))?;
            let config = house.roots().ok_or_else(|| bad("TLS cannot be set up here"))?;
            let connected = timeout(house.setup.limits.client, TlsConnector::from(config).connect(name, far)).await;
            match connected {
                Ok(Ok(far)) => speak(far, report).await,
                Ok(Err(error)) => return Err(bad(tls::describe_certificate_error(&error, "base_url").as_deref().unwrap_or("the TLS handshake failed"))),
                Err(_) => return Err(Turned::new(StatusCode::GATEWAY_TIMEOUT, format!("{target}: the TLS handshake took too long"))),
            }
        }
    }
    .ok_or_else(|| bad("the connection broke"))?;
    let sent = sender.send_request(Request::from_parts(parts, body)).await;
    let mut response = sent.map_err(|_| bad("the connection broke, or what came back is not HTTP/1.1"))?;
    screen::strip_framing(response.headers_mut());
    Ok(response.map(Either::Right))
}

fn established() -> Response<Body> {
    Response::new(Either::Left(Full::default()))
}

async fn speak<S: Stream>(far: S, report: impl FnOnce(Counts) + Send + 'static) -> Option<SendRequest<Incoming>> {
    let (far, counts) = Metered::new(far);
    let (sender, connection) = http1::handshake(TokioIo::new(far)).await.ok()?;
    // Owned by its sender and the reply's body: it ends when both are gone.
    tokio::spawn(async move {
        connection.await.ok();
        report(counts);
    });
    Some(sender)
}

async fn dial<C: Carrier>(house: &House<C>, target: &Authority, local: bool) -> Result<TcpStream, Turned> {
    let limit = house.setup.limits.client;
    let late = |_| Turned::new(StatusCode::GATEWAY_TIMEOUT, format!("no connection to {target} in time"));
    let unknown = |_| Turned::new(StatusCode::BAD_GATEWAY, format!("the name {} cannot be resolved", target.host));
    let found = timeout(limit, lookup_host((target.host.as_str(), target.port))).await.map_err(late)?.map_err(unknown)?;
    let mut last = Turned::new(StatusCode::BAD_GATEWAY, format!("{} has no address", target.host));
    for address in found {
        if let Err(refusal) = screen::address(address, &house.setup.own, local) {
            last = refusal.into();
            continue;
        }
        match timeout(limit, TcpStream::connect(address)).await.map_err(late) {
            Ok(Ok(stream)) => return foreign(stream, address, &house.setup.own),
            Ok(Err(error)) => last = Turned::new(StatusCode::BAD_GATEWAY, format!("no connection to {target}: {}", error.kind())),
            Err(turned) => last = turned,
        }
    }
    Err(last)
}

/// This machine has more addresses than those we listen on by name: one that both ends share is ours.
fn foreign(stream: TcpStream, address: SocketAddr, own: &[SocketAddr]) -> Result<TcpStream, Turned> {
    let here = stream.local_addr().is_ok_and(|here| here.ip() == address.ip());
    if here && own.iter().any(|own| own.ip().is_unspecified() && own.port() == address.port()) {
        return Err(screen::Refusal::Own(address.to_string()).into());
    }
    Ok(stream)
}

/// Resolves when nothing has moved for a whole `wait`: one end may have gone without a word.
async fn still(counts: &Counts, wait: Duration) {
    let mut seen = None;
    while seen != Some(counts.total()) {
        seen = Some(counts.total());
        sleep(wait).await;
    }
}

async fn quiet(drain: &Drain, counts: &Counts) {
    drain.reached(Phase::Draining).await;
    tokio::select! {
        () = still(counts, QUIET) => {}
        () = drain.reached(Phase::Closing) => {}
    }
}
