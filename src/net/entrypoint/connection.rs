//! One connection from accept to close: a slot, the HTTP/1.1 loop with its outer layers,
//! and what a CONNECT turns it into: TLS that our CA ends, or plain HTTP.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{
    MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use crate::clock::Clock;
use crate::net::authority::{Authority, Scheme};
use crate::net::drain::{Drain, DrainGuard, Phase};
use crate::net::entrypoint::prefixed_stream::PrefixedStream;
use crate::net::entrypoint::response::ResponseBody;
use crate::net::entrypoint::timeout_stream::{IdleTimer, TimeoutStream};
use crate::net::entrypoint::{Entrypoint, ListenerShared, RequestHandler};
use crate::net::peer::Peer;
use crate::net::server::Stream;

/// The first byte of TLS.
const TLS_HANDSHAKE: u8 = 0x16;
/// Ours alone: what a client wrote under it is taken off first.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-sms-sidecar-id");
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 39\r\nRetry-After: 1\r\n\
Connection: close\r\n\r\nsms-sidecar: too many connections here\n";
/// For a parting word to one too many.
const REJECTION_WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionContext {
    pub(super) peer: Peer,
    /// The unix socket.
    pub(super) is_unix: bool,
    /// Inside a CONNECT for this authority.
    pub(super) connect_target: Option<Authority>,
    /// TLS was ended here.
    pub(super) is_tls: bool,
    pub(super) drain: Drain,
    pub(super) idle_timer: IdleTimer,
    /// Held until the last of the connection and its tunnel has ended.
    #[expect(dead_code, reason = "held, not read")]
    pub(super) slot: Arc<(OwnedSemaphorePermit, DrainGuard)>,
}

impl ConnectionContext {
    /// The door for refusals that come before the request line is understood.
    pub(super) fn entrypoint(&self) -> Entrypoint {
        match (self.is_unix, &self.connect_target) {
            (true, _) => Entrypoint::Unix,
            (false, Some(_)) => Entrypoint::Connect,
            (false, None) => Entrypoint::BaseUrl,
        }
    }
}

/// Serves a fresh connection, or says that there are too many.
pub(super) async fn accept<C: RequestHandler, S: Stream>(
    house: Arc<ListenerShared<C>>,
    mut stream: S,
    peer: Peer,
    drain: Drain,
) {
    let unix = peer.address.is_none();
    let Ok(slot) = Arc::clone(&house.slots).try_acquire_owned() else {
        let door = if unix {
            Entrypoint::Unix
        } else {
            Entrypoint::BaseUrl
        };
        house.handler.request_denied(
            door,
            StatusCode::SERVICE_UNAVAILABLE,
            "too many connections",
        );
        // Whether the client still reads it is its own affair.
        timeout(REJECTION_WRITE_TIMEOUT, async {
            stream
                .write_all(TOO_MANY_CONNECTIONS)
                .await
                .and(stream.shutdown().await)
        })
        .await
        .ok();
        return;
    };
    let slot = Arc::new((slot, drain.track_connection()));
    let session = ConnectionContext {
        peer,
        is_unix: unix,
        connect_target: None,
        is_tls: false,
        drain,
        idle_timer: IdleTimer::default(),
        slot,
    };
    serve_http(house, stream, session).await;
}

/// The HTTP/1.1 loop. Boxed, since what is inside a CONNECT comes back here.
pub(super) fn serve_http<C: RequestHandler, S: Stream>(
    house: Arc<ListenerShared<C>>,
    stream: S,
    session: ConnectionContext,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let limits = house.setup.limits;
        let (drain, tempo, door) = (
            session.drain.clone(),
            session.idle_timer.clone(),
            session.entrypoint(),
        );
        let carrier = Arc::clone(&house.handler);
        let paced = TimeoutStream::new(
            stream,
            tempo.clone(),
            limits.client_timeout,
            limits.idle_timeout,
        );
        let mut builder = http1::Builder::new();
        // The longest line of a head decides the buffer; bodies pass through it in pieces.
        builder
            .header_read_timeout(None)
            .max_header_size(limits.max_head)
            .max_buf_size(limits.max_head.max(16 << 10));
        // One that comes this late is answered, with a refusal, before it is closed.
        let late = drain.phase() == Phase::Closing;
        builder.keep_alive(!late);
        let service = TowerToHyperService::new(build_service(house, session));
        let mut connection = std::pin::pin!(
            builder
                .serve_connection(TokioIo::new(paced), service)
                .with_upgrades()
        );
        let done = tokio::select! {
            done = connection.as_mut() => done,
            () = drain.wait_for(Phase::Closing), if !late => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        let Err(error) = done else { return };
        if tempo.head_timed_out() {
            carrier.request_denied(
                door,
                StatusCode::REQUEST_TIMEOUT,
                "the request's head took too long",
            );
        } else if error.is_parse_too_large() {
            carrier.request_denied(
                door,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the request's head is too large",
            );
        } else if error.is_parse() {
            carrier.request_denied(
                door,
                StatusCode::BAD_REQUEST,
                "what came is no HTTP/1.1 request",
            );
        }
    })
}

/// The outer layers, outermost first.
fn build_service<C: RequestHandler>(
    house: Arc<ListenerShared<C>>,
    session: ConnectionContext,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl hyper::body::Body<Data = Bytes, Error = tower::BoxError>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send {
    let clock = Arc::clone(&house.setup.clock);
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
            let busy = session.idle_timer.mark_busy();
            let (house, session) = (Arc::clone(&house), session.clone());
            async move {
                let response: Response<ResponseBody> = house.respond(&session, request).await;
                drop(busy);
                Ok::<_, Infallible>(response)
            }
        })
}

/// What was being done is unknown, so it may have been sent. What the panic says may hold a secret: it is dropped.
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

/// The id that the layers gave a request.
pub(super) fn request_id(request: &Request<Incoming>) -> String {
    request
        .headers()
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// Serves the inside of a CONNECT for a host of ours: TLS, or plain HTTP on any port, as the first byte says.
pub(super) async fn serve_inside_connect<C: RequestHandler, S: Stream>(
    house: Arc<ListenerShared<C>>,
    mut stream: S,
    target: Authority,
    session: ConnectionContext,
) {
    let limit = house.setup.limits.client_timeout;
    let mut first = [0; 1];
    // A client that opens a tunnel and says nothing in time has not sent a request: nothing to report.
    let Ok(Ok(1)) = timeout(limit, stream.read(&mut first)).await else {
        return;
    };
    let stream = PrefixedStream::new(first, stream);
    let session = ConnectionContext {
        idle_timer: IdleTimer::default(),
        ..session
    };
    if first != [TLS_HANDSHAKE] {
        let target = Authority {
            scheme: Scheme::Http,
            ..target
        };
        return serve_http(
            house,
            stream,
            ConnectionContext {
                connect_target: Some(target),
                ..session
            },
        )
        .await;
    }
    let refuse = |why: &str| {
        house
            .handler
            .tls_rejected(Entrypoint::Connect, StatusCode::BAD_GATEWAY, why);
    };
    let config = match house
        .setup
        .ca
        .as_ref()
        .map(|ca| ca.server_config_for(&target.host))
    {
        Some(Ok(config)) => config,
        Some(Err(error)) => return refuse(&error.to_string()),
        None => {
            return refuse(
                "TLS inside a CONNECT, and no CA is configured; run `sms-sidecar ca init` and set `[intercept] ca`",
            );
        }
    };
    match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(ended)) => {
            serve_http(
                house,
                ended,
                ConnectionContext {
                    connect_target: Some(target),
                    is_tls: true,
                    ..session
                },
            )
            .await;
        }
        Ok(Err(_)) => refuse(
            "the backend refused our certificate or broke off; it must trust the CA (NODE_EXTRA_CA_CERTS), and be restarted after `ca init`",
        ),
        Err(_) => refuse("the backend did not finish its TLS handshake in time"),
    }
}
