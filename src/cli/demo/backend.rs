//! The backend of the demo: it writes requests in its dialect, with placeholders for credentials, and
//! sends them over HTTP to the sidecar's base-URL entrypoint.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::{Request, Response};
use http_body_util::Full;
use jiff::Timestamp;
use tokio::net::TcpStream;

use crate::cli::http_client;
use crate::dialect::{Account, Dialect, FieldSpec, ProviderRequest};
use crate::secret::{Credential, SecretFields, SecretString, Version};
use crate::sms::{Message, MessageText, Msisdn};

/// The backend, with the address of the sidecar.
#[derive(Clone, Copy)]
pub(super) struct BackendClient<'a> {
    pub(super) proxy: SocketAddr,
    pub(super) dialect: &'a Dialect,
    /// The text of every message.
    pub(super) text: &'a str,
}

/// What the backend gets.
pub(super) struct BackendResponse {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) retry_after: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) attempts: u64,
}

impl BackendClient<'_> {
    /// The request as the backend would send it to the service itself.
    pub(super) fn build_request(&self, to: &str, number: usize) -> anyhow::Result<ProviderRequest> {
        let fields: SecretFields = self
            .dialect
            .credential_fields()
            .iter()
            .map(|field| (field.name.clone(), placeholder(field)))
            .collect();
        let credential = Credential::new(Version(1), fields);
        let params = BTreeMap::new();
        let account = Account {
            base_url: self.dialect.base_url(),
            credential: &credential,
            params: &params,
            sender: None,
            token: None,
        };
        let message = Message {
            recipient: Msisdn::parse(to)?,
            text: MessageText::new(self.text),
            sender: Some("3700".to_owned()),
            reference: format!("demo{number:04}"),
            validity: None,
            callback: None,
            template: None,
        };
        Ok(self.dialect.write(&message, &account, Timestamp::now())?)
    }

    /// Sends a request to the base-URL entrypoint: the service's own path after the dialect's name.
    pub(super) async fn send(&self, outgoing: ProviderRequest) -> anyhow::Result<BackendResponse> {
        let path = outgoing
            .url
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let mut request = Request::builder()
            .method(outgoing.method)
            .uri(format!("/{}{path}", self.dialect.name))
            .body(Full::new(outgoing.body))?;
        *request.headers_mut() = outgoing.headers;
        request
            .headers_mut()
            .insert(http::header::HOST, self.proxy.to_string().parse()?);
        let stream = TcpStream::connect(self.proxy).await?;
        let response = http_client::exchange(stream, request).await?;
        let attempts = header(&response, "x-sms-sidecar-attempts");
        Ok(BackendResponse {
            status: response.status().as_u16(),
            retry_after: header(&response, "retry-after"),
            provider: header(&response, "x-sms-sidecar-provider"),
            attempts: attempts
                .and_then(|count| count.parse().ok())
                .unwrap_or_default(),
            body: String::from_utf8_lossy(response.body()).into_owned(),
        })
    }
}

/// The text of a page at a local address.
pub(super) async fn fetch(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let request = Request::builder()
        .uri(path)
        .header(http::header::HOST, address.to_string())
        .body(Full::default())?;
    let stream = TcpStream::connect(address).await?;
    let response = http_client::exchange(stream, request).await?;
    Ok(String::from_utf8_lossy(response.body()).into_owned())
}

fn placeholder(field: &FieldSpec) -> SecretString {
    SecretString::from(
        field
            .placeholder
            .clone()
            .unwrap_or_else(|| "placeholder".to_owned()),
    )
}

fn header<B>(response: &Response<B>, name: &str) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}
