//! The backend of the demo: writes its own request, in the dialect it speaks and with placeholders
//! for credentials, and sends it over real HTTP to the sidecar's base URL door.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpStream;

use crate::dialect::{Account, Dialect, ProviderRequest};
use crate::secret::{Credential, SecretFields, SecretString, Version};
use crate::sms::{Message, MessageText, Msisdn};

/// What the backend got back.
pub(super) struct BackendResponse {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) retry_after: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) attempts: u64,
}

/// The request as the backend would write it to the service itself.
pub(super) fn build_request(
    dialect: &Dialect,
    to: &str,
    text: &str,
    number: usize,
) -> anyhow::Result<ProviderRequest> {
    let fields: SecretFields = dialect
        .credential_fields()
        .iter()
        .map(|field| {
            (
                field.name.clone(),
                SecretString::from(
                    field
                        .placeholder
                        .clone()
                        .unwrap_or_else(|| "placeholder".to_owned()),
                ),
            )
        })
        .collect();
    let credential = Credential::new(Version(1), fields);
    let params = BTreeMap::new();
    let account = Account {
        base_url: dialect.base_url(),
        credential: &credential,
        params: &params,
        sender: None,
        token: None,
    };
    let message = Message {
        recipient: Msisdn::parse(to)?,
        text: MessageText::new(text),
        sender: Some("3700".to_owned()),
        reference: format!("demo{number:04}"),
        validity: None,
        callback: None,
        template: None,
    };
    Ok(dialect.write(&message, &account, Timestamp::now())?)
}

/// Sends it to the base URL door: the service's own path behind the dialect's name.
pub(super) async fn send_request(
    door: SocketAddr,
    dialect: &Dialect,
    outgoing: ProviderRequest,
) -> anyhow::Result<BackendResponse> {
    let path = outgoing
        .url
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::builder()
        .method(outgoing.method)
        .uri(format!("/{}{path}", dialect.name))
        .body(Full::new(outgoing.body))?;
    *request.headers_mut() = outgoing.headers;
    request
        .headers_mut()
        .insert(http::header::HOST, door.to_string().parse()?);
    exchange(door, request).await
}

/// One request on a connection of its own.
pub(super) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<BackendResponse> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let reply = sender.send_request(request).await?;
    let header = |name: &str| {
        reply
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (provider, attempts) = (
        header("x-sms-sidecar-provider"),
        header("x-sms-sidecar-attempts"),
    );
    let (status, retry_after) = (reply.status().as_u16(), header("retry-after"));
    let body = String::from_utf8_lossy(&reply.into_body().collect().await?.to_bytes()).into_owned();
    Ok(BackendResponse {
        status,
        body,
        retry_after,
        provider,
        attempts: attempts
            .and_then(|count| count.parse().ok())
            .unwrap_or_default(),
    })
}
