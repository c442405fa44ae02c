//! One request to a vault server and its whole response. Each request has its own connection,
//! because requests are rare; TLS uses the public roots and `ca_file`, which is read each time so
//! that a new CA needs no restart. Follows no redirect, and reads no proxy variable.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::file_error::describe_read_error;
use crate::parse_limit::read_json;
use crate::reply_parser::{describe_head_error, handshake};
use crate::secret::SecretString;
use crate::tls;
use crate::vault::error::ReadError;

/// An entry holds a few credentials; a larger response is something else.
const MAX_RESPONSE: usize = 256 << 10;

/// The HTTP client of one server.
#[derive(Debug)]
pub(super) struct VaultHttpClient {
    address: Uri,
    ca_file: Option<PathBuf>,
    namespace: Option<HeaderValue>,
}

/// A request to the server.
#[derive(Clone, Debug)]
pub(super) struct VaultRequest {
    pub(super) method: Method,
    /// Below `/v1/`, percent-encoded.
    pub(super) path: String,
    pub(super) token: Option<Arc<SecretString>>,
    /// JSON; it may hold secrets.
    pub(super) body: Option<Arc<SecretString>>,
}

/// The server's response.
pub(super) struct VaultResponse {
    pub(super) status: StatusCode,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl VaultRequest {
    /// A read.
    pub(super) fn get(path: String, token: &Arc<SecretString>) -> Self {
        Self {
            method: Method::GET,
            path,
            token: Some(Arc::clone(token)),
            body: None,
        }
    }

    /// A write of `body`, with or without a token.
    pub(super) fn post(path: String, token: Option<&Arc<SecretString>>, body: &Value) -> Self {
        Self {
            method: Method::POST,
            path,
            token: token.cloned(),
            body: Some(Arc::new(SecretString::from(body.to_string()))),
        }
    }
}

impl VaultResponse {
    /// The body as JSON; none if it is not JSON, or has too many values.
    pub(super) fn json(&self) -> Option<Value> {
        read_json(&self.body).ok()
    }
}

impl VaultHttpClient {
    /// `address` is `http(s)://host[:port][/prefix]`. Opens nothing.
    pub(super) fn new(address: &str, ca_file: Option<PathBuf>, namespace: Option<&str>) -> Self {
        let namespace = namespace.and_then(|namespace| HeaderValue::try_from(namespace).ok());
        Self {
            address: address.parse().unwrap_or_default(),
            ca_file,
            namespace,
        }
    }

    fn describe_roots_error(&self, error: &io::Error) -> String {
        match &self.ca_file {
            Some(file) => format!(
                "the roots of `ca_file` cannot be used: {}",
                describe_read_error(file, error)
            ),
            None => format!("TLS cannot be set up: {error}"),
        }
    }

    /// The server's name in errors.
    pub(super) fn location(&self) -> String {
        format!(
            "the vault server at {}",
            self.address.to_string().trim_end_matches('/')
        )
    }

    /// Sends a request; the caller sets the time limit.
    pub(super) async fn exchange(&self, ask: &VaultRequest) -> Result<VaultResponse, ReadError> {
        let host = self.address.host().unwrap_or_default().to_owned();
        let secure = self.address.scheme_str() == Some("https");
        let port = self
            .address
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        let bare = host.trim_matches(['[', ']']).to_owned();
        let tcp = TcpStream::connect((bare.as_str(), port))
            .await
            .map_err(|error| self.unreachable_error(format!("no connection ({error})")))?;
        tcp.set_nodelay(true)
            .map_err(|error| self.unreachable_error(error.to_string()))?;
        if !secure {
            return self.send_over(tcp, ask).await;
        }
        let config = tls::client_config(self.ca_file.as_deref())
            .map_err(|error| self.untrusted_error(self.describe_roots_error(&error)))?;
        let name = ServerName::try_from(bare)
            .map_err(|_| self.untrusted_error("its `address` holds no host name".to_owned()))?;
        let stream = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|error| self.tls_error(&error))?;
        self.send_over(stream, ask).await
    }

    async fn send_over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
        ask: &VaultRequest,
    ) -> Result<VaultResponse, ReadError> {
        let lost = |error: hyper::Error| match describe_head_error(&error) {
            Some(fault) => self.unreachable_error(format!("it {fault}")),
            None => self.unreachable_error(format!("the connection broke off ({error})")),
        };
        let http = handshake(stream).await.map_err(lost)?;
        let (mut sender, connection) = (http.sender, http.connection);
        // Owned by its sender: it ends when that is dropped. The sender gets its error.
        tokio::spawn(async move { connection.await.ok() });
        let reply = sender
            .send_request(self.build_request(ask)?)
            .await
            .map_err(lost)?;
        let status = reply.status();
        let mut body = Limited::new(reply.into_body(), MAX_RESPONSE);
        let mut whole = Zeroizing::new(Vec::with_capacity(4 << 10));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.body_error(&*error, &ask.path))?;
            if let Some(data) = frame.data_ref() {
                whole.extend_from_slice(data);
            }
        }
        Ok(VaultResponse {
            status,
            body: whole,
        })
    }

    fn build_request(&self, ask: &VaultRequest) -> Result<http::Request<Full<Bytes>>, ReadError> {
        let prefix = self.address.path().trim_end_matches('/');
        let host = self
            .address
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let body = ask
            .body
            .as_ref()
            .map(|body| Bytes::copy_from_slice(body.expose_secret().as_bytes()))
            .unwrap_or_default();
        let mut request = http::Request::builder()
            .method(&ask.method)
            .uri(format!("{prefix}/v1/{}", ask.path))
            .header(HOST, host);
        // An agent's listener can require this header, so that no browser page can use it.
        request = request
            .header("X-Vault-Request", "true")
            .header(CONTENT_TYPE, "application/json");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = &ask.token {
            let value = HeaderValue::try_from(token.expose_secret());
            let mut value = value.map_err(|_| {
                self.unreachable_error("the token holds characters that no token has".to_owned())
            })?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        request
            .body(Full::new(body))
            .map_err(|error| self.unreachable_error(error.to_string()))
    }

    fn body_error(&self, error: &(dyn std::error::Error + 'static), path: &str) -> ReadError {
        if error.is::<http_body_util::LengthLimitError>() {
            let what = format!("the answer is larger than {} KiB", MAX_RESPONSE >> 10);
            return ReadError::InvalidReply {
                path: path.into(),
                location: self.location().into(),
                what: what.into(),
            };
        }
        self.unreachable_error("it broke off in the middle of its answer".to_owned())
    }

    fn tls_error(&self, error: &io::Error) -> ReadError {
        match tls::describe_certificate_error(error, "address") {
            Some(why) => self.untrusted_error(why),
            None => self.unreachable_error(format!(
                "the TLS handshake failed ({error}); compare `address`: does it speak https?"
            )),
        }
    }

    fn unreachable_error(&self, why: String) -> ReadError {
        ReadError::Unreachable {
            location: self.location().into(),
            why: why.into(),
        }
    }

    fn untrusted_error(&self, why: String) -> ReadError {
        ReadError::Untrusted {
            location: self.location().into(),
            why: why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_request_shows_no_token() {
        let client = VaultHttpClient::new("https://vault.test/prefix", None, Some("team"));
        let token = Arc::new(SecretString::from("token-canary"));
        let ask = VaultRequest::get("secret/data/sms/x".to_owned(), &token);
        let request = client.build_request(&ask).unwrap();
        let value = request.headers().get("X-Vault-Token").unwrap();
        assert_eq!(value, "token-canary");
        let printed = format!("{request:?}");
        assert!(!printed.contains("canary"), "{printed}");
        assert!(
            printed.contains("/prefix/v1/secret/data/sms/x"),
            "{printed}"
        );
    }
}
