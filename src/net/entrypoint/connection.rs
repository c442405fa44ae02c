//! One connection from accept to close: a slot, the HTTP/1.1 loop with its outer layers, and the
//! inside of a CONNECT, where the local CA terminates TLS or the client speaks plain HTTP.

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::{Service, ServiceBuilder, ServiceExt as _};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{
    MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use crate::clock::Clock;
use crate::diagnosis::{Denial, DenialReason, DeniedClient};
use crate::net::authority::{Authority, Scheme};
use crate::net::ca::CaError;
use crate::net::drain::{Drain, DrainGuard, Phase};
use crate::net::entrypoint::framing_stream::{FoundFault, FramingStream};
use crate::net::entrypoint::half_close_stream::{HalfCloseStream, HangupSign};
use crate::net::entrypoint::inline_wakes::InlineWakes;
use crate::net::entrypoint::origin::ConnectionOrigin;
use crate::net::entrypoint::prefixed_stream::PrefixedStream;
use crate::net::entrypoint::response::ResponseBody;
use crate::net::entrypoint::timeout_stream::{IdleTimer, Linger, TimeoutStream};
use crate::net::entrypoint::{DeniedRequest, ListenerShared, RequestHandler};
use crate::net::peer::Peer;
use crate::net::screen::FramingFault;
use crate::net::server::Stream;
use crate::net::settings::Limits;
use crate::telemetry::{ConnectionDenialReason, OpenConnection};

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;
/// Our own header: a value that the client sent is removed first.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-sms-sidecar-id");
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 39\r\nRetry-After: 1\r\n\
Connection: close\r\n\r\nsms-sidecar: too many connections here\n";
/// The time limit for writing the rejection of a connection.
const REJECTION_WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// What the requests of one connection share.
#[derive(Clone, Debug)]
pub(super) struct ConnectionContext {
    pub(super) peer: Peer,
    pub(super) origin: ConnectionOrigin,
    pub(super) drain: Drain,
    pub(super) idle_timer: IdleTimer,
    /// Held until the connection, its tunnel and its requests have ended.
    pub(super) slot: Arc<ClientSlot>,
}

/// The place of one connection among those that may be open.
#[derive(Debug)]
pub(super) struct ClientSlot {
    pub(super) open: OpenConnection,
    _permit: OwnedSemaphorePermit,
    _drain: DrainGuard,
}

impl ConnectionContext {
    /// The same connection inside a CONNECT for `target`.
    fn inside_connect(self, target: Authority) -> Self {
        Self {
            origin: self.origin.inside(target),
            idle_timer: IdleTimer::default(),
            ..self
        }
    }
}

/// Serves a fresh connection, or rejects it when there are too many.
pub(super) async fn accept<C: RequestHandler, S: Stream>(
    shared: Arc<ListenerShared<C>>,
    stream: S,
    peer: Peer,
    drain: Drain,
) {
    let origin = ConnectionOrigin::of(&peer);
    let Ok(permit) = Arc::clone(&shared.slots).try_acquire_owned() else {
        let handler = &shared.handler;
        handler.connection_denied(origin.entrypoint(), ConnectionDenialReason::Limit);
        let lingering = Arc::clone(&shared.lingering).try_acquire_owned().ok();
        return reject_connection(stream, lingering).await;
    };
    let slot = ClientSlot {
        open: shared.setup.open_connections.track(origin.entrypoint()),
        _permit: permit,
        _drain: drain.track_connection(),
    };
    let context = ConnectionContext {
        peer,
        origin,
        slot: Arc::new(slot),
        drain,
        idle_timer: IdleTimer::default(),
    };
    serve_http(shared, stream, context).await;
}

/// Writes the rejection and closes; the client may no longer read it. Without a permit its request is not
/// read, so that a crowd cannot hold descriptors.
async fn reject_connection<S: Stream>(mut stream: S, lingering: Option<OwnedSemaphorePermit>) {
    let written = timeout(REJECTION_WRITE_TIMEOUT, async {
        stream
            .write_all(TOO_MANY_CONNECTIONS)
            .await
            .and(stream.shutdown().await)
    });
    if let (Ok(Ok(())), Some(_)) = (written.await, &lingering) {
        let mut linger = Linger::default();
        poll_fn(|cx| linger.poll_read_to_end(&mut stream, cx)).await;
    }
}

/// The HTTP/1.1 loop. A future with a name, because the inside of a CONNECT runs it again.
pub(super) fn serve_http<C: RequestHandler, S: Stream>(
    shared: Arc<ListenerShared<C>>,
    stream: S,
    context: ConnectionContext,
) -> InlineWakes {
    InlineWakes::new(async move {
        let limits = shared.setup.limits;
        let drain = context.drain.clone();
        let idle_timer = context.idle_timer.clone();
        let origin = context.origin.clone();
        let handler = Arc::clone(&shared.handler);
        let fault = FoundFault::default();
        let stream = guard_stream(stream, &shared, &context, &fault);
        // A connection that comes this late gets one response, a rejection, before it is closed.
        let is_late = drain.phase() == Phase::Closing;
        let service = mark_requests(build_service(shared, context), idle_timer.clone());
        let mut connection = std::pin::pin!(
            http_builder(&limits)
                .keep_alive(!is_late)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        );
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = drain.wait_for(Phase::Closing), if !is_late => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        let error = result.err();
        let found = error.and_then(|error| head_error(&error, &idle_timer, fault.get()));
        if let Some((status, denial)) = found {
            handler.connection_denied(origin.entrypoint(), ConnectionDenialReason::Head);
            report_denial(&*handler, &origin, status, &denial);
        }
    })
}

/// Below HTTP: ends a connection that is too slow, and one whose framing is ambiguous; lets a client that has
/// only ended its side read its answer.
fn guard_stream<C, S: Stream>(
    stream: S,
    shared: &ListenerShared<C>,
    context: &ConnectionContext,
    fault: &FoundFault,
) -> HalfCloseStream<S> {
    let limits = &shared.setup.limits;
    let idle_timer = &context.idle_timer;
    let timed = TimeoutStream::new(
        stream,
        idle_timer.clone(),
        limits.client_timeout,
        limits.idle_timeout,
    );
    let framed = FramingStream::new(timed, fault.clone());
    let sign = HangupSign::of(&context.peer, &context.origin, &shared.socket_owners);
    HalfCloseStream::new(framed, idle_timer.clone(), sign)
}

/// Reports a denial before a request line was read. Inside of a CONNECT it is for the host that the CONNECT named.
fn report_denial<C: RequestHandler>(
    handler: &C,
    origin: &ConnectionOrigin,
    status: StatusCode,
    denial: &Denial,
) {
    handler.request_denied(&DeniedRequest {
        entrypoint: origin.entrypoint(),
        status,
        why: &denial.reply_text(),
        denial,
        client: DeniedClient {
            addresses_provider: origin.connect_target().is_some(),
            is_known_caller: false,
        },
    });
}

fn http_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The longest line of a head decides the buffer; bodies pass through it in pieces.
    builder
        .header_read_timeout(None)
        // A body is written from where it is, so that its memory stays counted.
        .writev(true)
        .max_header_size(limits.max_head)
        .max_buf_size(limits.max_head.max(16 << 10));
    builder
}

/// Why the head of a request was not accepted; none for other ends of a connection.
fn head_error(
    error: &hyper::Error,
    idle_timer: &IdleTimer,
    fault: Option<FramingFault>,
) -> Option<(StatusCode, Denial)> {
    let (status, denial) = if idle_timer.head_timed_out() {
        let denial = DenialReason::TooSlow.about("its head took too long");
        (StatusCode::REQUEST_TIMEOUT, denial)
    } else if error.is_parse_too_large() {
        let denial = DenialReason::BodyTooLarge.about("its head is over the limit");
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, denial)
    } else if error.is_parse() {
        let fault = fault.map_or_else(|| "its head cannot be read".to_owned(), |it| it.to_string());
        (
            StatusCode::BAD_REQUEST,
            DenialReason::Malformed.about(&fault),
        )
    } else {
        return None;
    };
    Some((status, denial))
}

/// The outer layers, outermost first.
fn build_service<C: RequestHandler>(
    shared: Arc<ListenerShared<C>>,
    context: ConnectionContext,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl hyper::body::Body<Data = Bytes, Error = tower::BoxError>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send {
    let clock = Arc::clone(&shared.setup.clock);
    ServiceBuilder::new()
        .layer(CatchPanicLayer::custom(panic_response))
        .map_request(|mut request: Request<Incoming>| {
            request.headers_mut().remove(REQUEST_ID);
            request
        })
        .layer(SetRequestIdLayer::new(REQUEST_ID, RandomRequestId(clock)))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetSensitiveRequestHeadersLayer::new([
            AUTHORIZATION,
            PROXY_AUTHORIZATION,
        ]))
        .service_fn(move |request: Request<Incoming>| {
            let shared = Arc::clone(&shared);
            let context = context.clone();
            async move {
                let response: Response<ResponseBody> = shared.respond(&context, request).await;
                Ok::<_, Infallible>(response)
            }
        })
}

/// The service for the HTTP library, which reads on before it polls a request: the connection is busy as soon
/// as the library has a request.
fn mark_requests<B: hyper::body::Body, S>(
    service: S,
    idle_timer: IdleTimer,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<B>,
    Error = Infallible,
    Future: Send,
>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send,
{
    service_fn(move |request: Request<Incoming>| {
        let busy = idle_timer.mark_busy();
        // A CONNECT becomes a tunnel.
        let is_answered = *request.method() != Method::CONNECT;
        let answering = is_answered.then(|| idle_timer.mark_answering());
        let response = service.clone().oneshot(request);
        async move {
            let response = response.await;
            drop((busy, answering));
            response
        }
    })
}

/// The message may have been sent before the panic. The panic's text may hold a secret, so it is dropped.
fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(
        "sms-sidecar: an error of ours; the message may have been sent\n",
    ));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response
}

#[derive(Clone)]
struct RandomRequestId(Arc<dyn Clock>);

impl MakeRequestId for RandomRequestId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        // 52 random bits, and the moment in microseconds where those repeat.
        let moment = self.0.now().0.subsec_micros() & 0xfff;
        let id = format!(
            "{:013x}{moment:03x}",
            self.0.random_fraction().to_bits() & 0x000f_ffff_ffff_ffff
        );
        HeaderValue::try_from(id).ok().map(RequestId::new)
    }
}

/// The id that the outer layers gave a request.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// Serves the inside of an intercepted CONNECT: TLS or, on any port, plain HTTP. The first byte
/// decides.
pub(super) async fn serve_inside_connect<C: RequestHandler, S: Stream>(
    shared: Arc<ListenerShared<C>>,
    mut stream: S,
    target: Authority,
    context: ConnectionContext,
) {
    let mut first = [0; 1];
    let first_byte = timeout(shared.setup.limits.client_timeout, stream.read(&mut first));
    // A client that opens a tunnel and sends nothing in time has not sent a request: nothing to
    // report.
    let Ok(Ok(1)) = first_byte.await else { return };
    let stream = PrefixedStream::new(first, stream);
    if first != [TLS_HANDSHAKE] {
        let target = Authority {
            scheme: Scheme::Http,
            ..target
        };
        return serve_http(shared, stream, context.inside_connect(target)).await;
    }
    let host = target.host.clone();
    let context = context.inside_connect(target);
    let (origin, idle_timer) = (context.origin.clone(), context.idle_timer.clone());
    let handler = Arc::clone(&shared.handler);
    let denial = match accept_tls(&shared, stream, &host).await {
        Ok(stream) => {
            serve_http(shared, stream, context).await;
            // Node finishes the handshake before it looks at the certificate.
            if !idle_timer.closed_unused() {
                return;
            }
            DenialReason::CaUntrusted.about(&host)
        }
        Err(denial) => denial,
    };
    handler.connection_denied(origin.entrypoint(), ConnectionDenialReason::Tls);
    report_denial(&*handler, &origin, StatusCode::BAD_GATEWAY, &denial);
}

/// Terminates TLS with a certificate for `host`, or says why it could not.
async fn accept_tls<C: RequestHandler, S: Stream>(
    shared: &ListenerShared<C>,
    stream: PrefixedStream<S>,
    host: &str,
) -> Result<TlsStream<PrefixedStream<S>>, Denial> {
    let ca = shared.setup.ca.current();
    let ca = ca.ok_or_else(|| DenialReason::CaMissing.about(host))?;
    let config = ca.server_config_for(host).map_err(|error| {
        if let CaError::NotCovered(host) = &error {
            DenialReason::HostNotCovered.about(host)
        } else {
            DenialReason::TlsFailed.about(&format!("{host}: {error}"))
        }
    })?;
    let handshake = TlsAcceptor::from(config).accept(stream);
    match timeout(shared.setup.limits.client_timeout, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) => Err(DenialReason::CaUntrusted.about(host)),
        Err(_) => Err(DenialReason::TlsFailed.about(&format!("{host} in time"))),
    }
}
