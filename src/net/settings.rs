//! The settings of listeners and clients, independent of the config file's syntax.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::net::byte_budget::ByteBudget;

/// Where the sidecar listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address that serves base URLs, the absolute form and CONNECT.
    pub proxy: Option<SocketAddr>,
    /// The names by which backends may address `proxy`, beside IP addresses and `localhost`.
    pub names: Vec<String>,
    /// The unix socket.
    pub unix: Option<PathBuf>,
    /// `/metrics` `/live` `/ready` and the status page.
    pub admin: Option<SocketAddr>,
    /// `/metrics` `/live` `/ready` only.
    pub metrics: Option<SocketAddr>,
    /// The socket that `pause`, `resume`, `send` and `status` connect to.
    pub control: Option<PathBuf>,
}

/// The local CA's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSettings {
    /// PEM, readable by the backend.
    pub cert_file: PathBuf,
    /// PEM, readable by the sidecar only.
    pub key_file: PathBuf,
}

/// How to handle CONNECT and absolute-form requests to hosts of no configured dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherHosts {
    /// Passed through unread.
    Tunnel,
    /// 403.
    Deny,
}

/// How to reach one provider. `Debug` prints the proxy's host only: its user info is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Additional trusted roots, PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether credentials may be sent to this provider without TLS.
    pub insecure_http: bool,
    /// The outbound HTTP proxy.
    pub proxy: Option<http::Uri>,
    /// The local address to bind.
    pub source_address: Option<IpAddr>,
    /// How long each step of opening a connection may take.
    pub connect_timeout: Duration,
    /// An older connection gets no further request, so that a changed DNS entry takes effect.
    pub max_connection_age: Duration,
    /// Whether a connection is opened before a message needs it, while messages are accepted.
    pub warm_connection: bool,
}

impl UpstreamSettings {
    /// The default of `connect_timeout`. A lost SYN is repeated after one second by the kernel; a new attempt repeats it
    /// as well.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
    /// The default of `max_connection_age`.
    pub const MAX_CONNECTION_AGE: Duration = Duration::from_mins(10);
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            insecure_http: false,
            proxy: None,
            source_address: None,
            connect_timeout: Self::CONNECT_TIMEOUT,
            max_connection_age: Self::MAX_CONNECTION_AGE,
            warm_connection: true,
        }
    }
}

impl fmt::Debug for UpstreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("ca_file", &self.ca_file)
            .field("insecure_http", &self.insecure_http)
            .field("proxy", &self.proxy.as_ref().and_then(http::Uri::host))
            .field("source_address", &self.source_address)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_connection_age", &self.max_connection_age)
            .field("warm_connection", &self.warm_connection)
            .finish()
    }
}

/// Size and time limits of the entrypoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request or reply body.
    pub max_body: usize,
    /// Bytes of all bodies in memory at once, with what is read from them: half for requests, half for replies.
    pub max_in_flight: usize,
    /// Bytes of a request's head.
    pub max_head: usize,
    /// Time for a client to send its head, and again its body.
    pub client_timeout: Duration,
    /// The most open connections.
    pub max_connections: usize,
    /// How long idle keep-alive connections and idle tunnels are kept.
    pub idle_timeout: Duration,
    /// How long another host may take to begin its answer, and pause in it.
    pub forward_timeout: Duration,
    /// How long requests in flight may take to finish at shutdown.
    pub drain_timeout: Duration,
}

impl Limits {
    /// The budget of all request bodies together, or of all reply bodies.
    pub fn byte_budget(&self) -> ByteBudget {
        ByteBudget::new(self.max_in_flight / 2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            max_in_flight: 64 << 20,
            max_head: 32 << 10,
            client_timeout: Duration::from_secs(10),
            max_connections: 1024,
            idle_timeout: Duration::from_mins(10),
            forward_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
