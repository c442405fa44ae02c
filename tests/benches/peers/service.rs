//! The SMS service behind every peer, and the minimal proxy.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Starts the service on a thread of this process. It answers as Playmobile and Twilio do when they accept a message,
/// and below `/rejecting/` as Playmobile does when it rejects the sender of one.
pub(crate) fn start() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        runtime().block_on(serve(listener, |request: Request<Incoming>| async move {
            let (parts, body) = request.into_parts();
            body.collect().await.unwrap();
            answer(parts.uri.path(), parts.headers.contains_key(AUTHORIZATION))
        }));
    });
    address
}

fn answer(path: &str, authorized: bool) -> Response<Full<Bytes>> {
    let (status, format, text) = if path == "/v1/traces" {
        (200, "application/x-protobuf", "")
    } else if !authorized {
        (401, "text/plain", "no credential")
    } else if path.starts_with("/rejecting/") {
        let body = r#"{"error-code":401,"error-description":"originator missing"}"#;
        (400, "application/json", body)
    } else if path.starts_with("/2010-04-01/") {
        let body = r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","error_code":null,"error_message":null}"#;
        (201, "application/json", body)
    } else {
        (200, "text/plain", "Request is received")
    };
    let reply = Response::builder().status(status);
    let reply = reply.header(CONTENT_TYPE, format);
    reply.body(Full::from(text)).unwrap()
}

/// Reads a request, sets a header, forwards it, and returns the reply: nothing that a proxy does can cost less with
/// this HTTP library.
pub(crate) fn minimal_hop(listen: SocketAddr, upstream: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    runtime().block_on(async move {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build(connector);
        let listener = StdListener::bind(listen).unwrap();
        serve(listener, move |request: Request<Incoming>| {
            forward(client.clone(), request, upstream)
        })
        .await;
    });
}

async fn forward(
    client: Client<HttpConnector, Full<Bytes>>,
    request: Request<Incoming>,
    upstream: SocketAddr,
) -> Response<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let url = format!("http://{upstream}{}", parts.uri.path());
    parts.uri = url.parse::<Uri>().unwrap();
    let credential = HeaderValue::from_static("Basic YmFja2VuZDphLXBhc3N3b3Jk");
    parts.headers.insert(AUTHORIZATION, credential);
    let request = Request::from_parts(parts, Full::new(body));
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(parts, Full::new(body))
}

async fn serve<A, F>(listener: StdListener, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let answer = answer.clone();
        let service = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // A broken connection fails the round.
        tokio::spawn(connection.map(drop));
    }
}

/// One thread, as every peer has.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}
