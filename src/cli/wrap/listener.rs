//! What listens at the command's proxy address: a sidecar, another program, nothing. All HTTP(S) of a
//! backend goes there, so a port that merely answers is not enough.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use tokio::net::TcpStream;

use crate::cli::http_client;

/// How long a listener may take to say who it is.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(5);
/// A header of every answer of a sidecar.
const ID_HEADER: &str = "x-sms-sidecar-id";
/// How the plain answer of a sidecar begins that has no connection left for a request.
const OVERLOAD_PREFIX: &[u8] = b"sms-sidecar: ";

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListenerKind {
    /// A sidecar.
    Sidecar,
    /// Something else.
    Foreign,
    /// The connection is refused.
    Absent,
}

/// Queries the address itself: an admin address does not show which program has the entrypoint.
pub(super) async fn identify_listener(address: SocketAddr) -> ListenerKind {
    let Ok(stream) = TcpStream::connect(address).await else {
        return ListenerKind::Absent;
    };
    match tokio::time::timeout(IDENTIFY_TIMEOUT, is_sidecar(stream, address)).await {
        Ok(Ok(true)) => ListenerKind::Sidecar,
        Ok(Ok(false) | Err(_)) | Err(_) => ListenerKind::Foreign,
    }
}

/// `OPTIONS *` is about the server, not a resource: it has no effect.
async fn is_sidecar(stream: TcpStream, address: SocketAddr) -> anyhow::Result<bool> {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(Uri::from_static("*"));
    let request = request
        .header(http::header::HOST, address.to_string())
        .body(Full::<Bytes>::default())?;
    let reply = http_client::exchange(stream, request).await?;
    Ok(reply.headers().contains_key(ID_HEADER) || reply.body().starts_with(OVERLOAD_PREFIX))
}

pub(super) fn port_taken(address: SocketAddr) -> String {
    format!(
        "{address} is in use by a program that is not sms-sidecar and would get every request of the command; stop that program, or set another `listen.proxy`"
    )
}
