//! A plain request to another host, and its response back. A host that is silent for too long ends both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{HOST, VIA};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::authority::{Authority, Scheme};
use crate::net::byte_counters::{ByteCounts, MeteredStream};
use crate::net::entrypoint::connection::ConnectionContext;
use crate::net::entrypoint::response::{ForwardedBody, Rejected, ResponseBody};
use crate::net::entrypoint::tunnel::{dial, unreachable_host, wait_until_silent};
use crate::net::entrypoint::{Entrypoint, ListenerShared, RequestHandler};
use crate::net::screen;
use crate::net::server::Stream;
use crate::reply_parser::{describe_head_error, handshake};
use crate::tls;

/// An HTTP connection to another host.
struct FarHost {
    sender: SendRequest<Incoming>,
    /// Whether it ended because nothing moved on it for too long.
    is_silent: Arc<AtomicBool>,
}

/// Streams a request to another host, and its response back.
pub(super) async fn forward<C: RequestHandler>(
    shared: &Arc<ListenerShared<C>>,
    entrypoint: Entrypoint,
    request: Request<Incoming>,
    target: Authority,
    context: &ConnectionContext,
) -> Result<Response<ResponseBody>, Rejected> {
    let (parts, body) = request.into_parts();
    let parts = forwarded_head(parts, &target, &shared.setup.via_marker)?;
    let stream = dial(shared, &target, context.peer.is_local()).await?;
    let limit = shared.setup.limits.forward_timeout;
    let report = {
        let handler = Arc::clone(&shared.handler);
        let target = target.clone();
        move |counts: ByteCounts| handler.tunnel_closed(entrypoint, &target, counts.total())
    };
    let mut far = match target.scheme {
        Scheme::Http => http_handshake(stream, limit, report).await,
        Scheme::Https => {
            let stream = tls_handshake(shared, &target, stream).await?;
            http_handshake(stream, limit, report).await
        }
    }
    .ok_or_else(|| bad_gateway(&target, "the connection broke"))?;
    let sent = far.sender.send_request(Request::from_parts(parts, body));
    let mut response = sent
        .await
        .map_err(|error| no_answer(&error, &far, &target, limit))?;
    screen::strip_framing(response.headers_mut());
    Ok(response.map(|body| Either::Right(ForwardedBody::new(body, &context.idle_timer))))
}

fn bad_gateway(target: &Authority, why: &str) -> Rejected {
    unreachable_host(StatusCode::BAD_GATEWAY, format!("{target}: {why}"))
}

fn no_answer(error: &hyper::Error, far: &FarHost, target: &Authority, limit: Duration) -> Rejected {
    if far.is_silent.load(Ordering::SeqCst) {
        let seconds = limit.as_secs_f64();
        let reason = format!("{target}: no answer in {seconds} s (`forward` in `[limits]`)");
        return unreachable_host(StatusCode::GATEWAY_TIMEOUT, reason);
    }
    match describe_head_error(error) {
        Some(fault) => bad_gateway(target, &format!("it {fault}")),
        None => bad_gateway(target, "the connection broke"),
    }
}

/// The head as the other host gets it.
fn forwarded_head(
    mut parts: Parts,
    target: &Authority,
    via_marker: &str,
) -> Result<Parts, Rejected> {
    screen::strip_connection_headers(&mut parts.headers);
    let host = HeaderValue::try_from(target.host_header());
    let host = host.map_err(|_| bad_gateway(target, "no host name"))?;
    parts.headers.insert(HOST, host);
    if let Ok(marker) = HeaderValue::try_from(format!("1.1 {via_marker}")) {
        parts.headers.append(VIA, marker);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path
        .parse::<Uri>()
        .map_err(|_| bad_gateway(target, "its path cannot be sent"))?;
    Ok(parts)
}

/// Starts TLS with a host that the request is forwarded to; its certificate must be valid for its name.
async fn tls_handshake<C: RequestHandler>(
    shared: &ListenerShared<C>,
    target: &Authority,
    far: TcpStream,
) -> Result<TlsStream<TcpStream>, Rejected> {
    let bad = |why: &str| bad_gateway(target, why);
    let name = ServerName::try_from(target.host.clone()).map_err(|_| bad("no host name"))?;
    let config = shared
        .tls_client()
        .ok_or_else(|| bad("TLS cannot be set up here"))?;
    let connecting = TlsConnector::from(config).connect(name, far);
    let limit = shared.setup.limits.client_timeout;
    let connected = timeout(limit, connecting).await.map_err(|_| {
        let reason = format!("{target}: the TLS handshake took too long");
        unreachable_host(StatusCode::GATEWAY_TIMEOUT, reason)
    })?;
    connected.map_err(|error| {
        let reason = tls::describe_certificate_error(&error, "base_url");
        bad(reason.as_deref().unwrap_or("the TLS handshake failed"))
    })
}

/// Begins HTTP on a connection that ends when nothing moved on it for `limit`.
async fn http_handshake<S: Stream>(
    far: S,
    limit: Duration,
    report: impl FnOnce(ByteCounts) + Send + 'static,
) -> Option<FarHost> {
    let (far, counts) = MeteredStream::new(far);
    let http = handshake(far).await.ok()?;
    let (sender, connection) = (http.sender, http.connection);
    let is_silent = Arc::new(AtomicBool::new(false));
    let silence = Arc::clone(&is_silent);
    // Owned by its sender and the reply's body: it ends when both are gone, or with the time limit.
    tokio::spawn(async move {
        tokio::select! {
            // What broke it, its sender and the reply's body report.
            _ = connection => {}
            () = wait_until_silent(&counts, |_| limit) => silence.store(true, Ordering::SeqCst),
        }
        report(counts);
    });
    Some(FarHost { sender, is_silent })
}
