//! Tunnels and requests to other hosts, and CONNECTs that are intercepted: every address is
//! checked again after its name was resolved, bytes are counted, and tunnels without traffic end
//! when the process does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, VIA};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::authority::{Authority, Scheme};
use crate::net::byte_counters::{ByteCounts, MeteredStream};
use crate::net::drain::{Drain, Phase};
use crate::net::entrypoint::connection::{ConnectionContext, serve_inside_connect};
use crate::net::entrypoint::response::{Rejected, ResponseBody};
use crate::net::entrypoint::{Entrypoint, ListenerShared, RequestHandler};
use crate::net::reply_parser::{client_builder, describe_head_error};
use crate::net::screen;
use crate::net::server::Stream;
use crate::tls;

/// While draining, a tunnel without traffic for this long is closed.
const DRAIN_IDLE_LIMIT: Duration = Duration::from_secs(1);

/// Answers a CONNECT whose inside the sidecar serves.
pub(super) fn accept_connect<C: RequestHandler>(
    shared: &Arc<ListenerShared<C>>,
    request: Request<()>,
    target: Authority,
    context: ConnectionContext,
) -> Response<ResponseBody> {
    let shared = Arc::clone(shared);
    let busy = context.idle_timer.mark_busy();
    // Owned by the connection's slot, which the context holds.
    tokio::spawn(async move {
        // A client that left before the tunnel was established sent nothing.
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            serve_inside_connect(shared, TokioIo::new(upgraded), target, context).await;
        }
        drop(busy);
    });
    connect_established()
}

/// Answers a CONNECT to another host, once that host is connected.
pub(super) async fn tunnel<C: RequestHandler>(
    shared: &Arc<ListenerShared<C>>,
    entrypoint: Entrypoint,
    request: Request<()>,
    target: Authority,
    context: ConnectionContext,
) -> Result<Response<ResponseBody>, Rejected> {
    let far = dial(shared, &target, context.peer.is_local()).await?;
    let handler = Arc::clone(&shared.handler);
    let busy = context.idle_timer.mark_busy();
    let (mut far, counts) = MeteredStream::new(far);
    let flight = context.drain.track_request();
    let idle = shared.setup.limits.idle_timeout;
    // Owned by the drain, through its guard.
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let mut near = TokioIo::new(upgraded);
            tokio::select! {
                // How a tunnel ended concerns its two ends only.
                _ = copy_bidirectional(&mut near, &mut far) => {}
                () = wait_until_idle(&counts, idle) => {}
                () = wait_until_drained(&context.drain, &counts) => {}
            }
        }
        handler.tunnel_closed(entrypoint, &target, counts.total());
        drop((flight, busy, context));
    });
    Ok(connect_established())
}

/// Streams a request to another host, and its response back.
pub(super) async fn forward<C: RequestHandler>(
    shared: &Arc<ListenerShared<C>>,
    entrypoint: Entrypoint,
    request: Request<Incoming>,
    target: Authority,
    context: &ConnectionContext,
) -> Result<Response<ResponseBody>, Rejected> {
    let bad = |why: &str| Rejected::new(StatusCode::BAD_GATEWAY, format!("{target}: {why}"));
    let (mut parts, body) = request.into_parts();
    screen::strip_connection_headers(&mut parts.headers);
    let host = HeaderValue::try_from(target.host_header()).map_err(|_| bad("no host name"))?;
    parts.headers.insert(HOST, host);
    if let Ok(marker) = HeaderValue::try_from(format!("1.1 {}", shared.setup.via_marker)) {
        parts.headers.append(VIA, marker);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path
        .parse::<Uri>()
        .map_err(|_| bad("its path cannot be sent"))?;
    let far = dial(shared, &target, context.peer.is_local()).await?;
    let report = {
        let handler = Arc::clone(&shared.handler);
        let target = target.clone();
        move |counts: ByteCounts| handler.tunnel_closed(entrypoint, &target, counts.total())
    };
    let mut sender = match target.scheme {
        Scheme::Http => http_handshake(far, report).await,
        Scheme::Https => http_handshake(tls_handshake(shared, &target, far).await?, report).await,
    }
    .ok_or_else(|| bad("the connection broke"))?;
    let sent = sender.send_request(Request::from_parts(parts, body)).await;
    let mut response = sent.map_err(|error| bad(&broken_exchange(&error)))?;
    screen::strip_framing(response.headers_mut());
    Ok(response.map(Either::Right))
}

fn broken_exchange(error: &hyper::Error) -> String {
    if error.is_parse() {
        format!("it {}", describe_head_error(error))
    } else {
        "the connection broke".to_owned()
    }
}

/// Starts TLS with a host that the request is forwarded to; its certificate must be valid for its name.
async fn tls_handshake<C: RequestHandler>(
    shared: &ListenerShared<C>,
    target: &Authority,
    far: TcpStream,
) -> Result<TlsStream<TcpStream>, Rejected> {
    let bad = |why: &str| Rejected::new(StatusCode::BAD_GATEWAY, format!("{target}: {why}"));
    let name = ServerName::try_from(target.host.clone()).map_err(|_| bad("no host name"))?;
    let config = shared
        .tls_client()
        .ok_or_else(|| bad("TLS cannot be set up here"))?;
    let connecting = TlsConnector::from(config).connect(name, far);
    let limit = shared.setup.limits.client_timeout;
    let connected = timeout(limit, connecting).await.map_err(|_| {
        let reason = format!("{target}: the TLS handshake took too long");
        Rejected::new(StatusCode::GATEWAY_TIMEOUT, reason)
    })?;
    connected.map_err(|error| {
        let reason = tls::describe_certificate_error(&error, "base_url");
        bad(reason.as_deref().unwrap_or("the TLS handshake failed"))
    })
}

fn connect_established() -> Response<ResponseBody> {
    Response::new(Either::Left(Full::default()))
}

async fn http_handshake<S: Stream>(
    far: S,
    report: impl FnOnce(ByteCounts) + Send + 'static,
) -> Option<SendRequest<Incoming>> {
    let (far, counts) = MeteredStream::new(far);
    let (sender, connection) = client_builder().handshake(TokioIo::new(far)).await.ok()?;
    // Owned by its sender and the reply's body: it ends when both are gone.
    tokio::spawn(async move {
        connection.await.ok();
        report(counts);
    });
    Some(sender)
}

async fn dial<C: RequestHandler>(
    shared: &ListenerShared<C>,
    target: &Authority,
    local: bool,
) -> Result<TcpStream, Rejected> {
    let limit = shared.setup.limits.client_timeout;
    let bad = |reason: String| Rejected::new(StatusCode::BAD_GATEWAY, reason);
    let late = |_| {
        let reason = format!("no connection to {target} in time");
        Rejected::new(StatusCode::GATEWAY_TIMEOUT, reason)
    };
    let found = shared.resolver.resolve(&target.host, limit).await;
    let found = found.map_err(|error| bad(error.to_string()))?;
    let mut last = bad(format!("{} has no address", target.host));
    for address in found {
        let address = SocketAddr::new(address, target.port);
        if let Err(refusal) = screen::check_address(address, &shared.setup.own_addresses, local) {
            last = refusal.into();
            continue;
        }
        match timeout(limit, TcpStream::connect(address))
            .await
            .map_err(late)
        {
            Ok(Ok(stream)) => {
                return reject_own_address(stream, address, &shared.setup.own_addresses);
            }
            Ok(Err(error)) => last = bad(format!("no connection to {target}: {}", error.kind())),
            Err(turned) => last = turned,
        }
    }
    Err(last)
}

/// A listener on all addresses has more of them than its own: a connection whose two ends share
/// an address leads back to it.
fn reject_own_address(
    stream: TcpStream,
    address: SocketAddr,
    own: &[SocketAddr],
) -> Result<TcpStream, Rejected> {
    let here = stream
        .local_addr()
        .is_ok_and(|here| here.ip() == address.ip());
    if here
        && own
            .iter()
            .any(|own| own.ip().is_unspecified() && own.port() == address.port())
    {
        return Err(screen::ScreenError::OwnAddress(address.to_string()).into());
    }
    Ok(stream)
}

/// Resolves when no byte has moved for a whole `wait`: one end may be gone without closing.
async fn wait_until_idle(counts: &ByteCounts, wait: Duration) {
    let mut seen = None;
    while seen != Some(counts.total()) {
        seen = Some(counts.total());
        sleep(wait).await;
    }
}

async fn wait_until_drained(drain: &Drain, counts: &ByteCounts) {
    drain.wait_for(Phase::Draining).await;
    tokio::select! {
        () = wait_until_idle(counts, DRAIN_IDLE_LIMIT) => {}
        () = drain.wait_for(Phase::Closing) => {}
    }
}
