//! Fetches what a running sidecar reports: from its control socket, else from its admin address,
//! else only whether it serves metrics. It reads and changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::time::timeout;

use crate::cli::control::{exchange, parse_reply};
use crate::dialect::ProviderRequest;
use crate::doctor::running::{RunningSidecar, SidecarAnswer};
use crate::net::Listen;
use crate::net::UpstreamSettings;
use crate::net::upstream::UpstreamClient;
use crate::parse_limit::read_json;
use crate::status::{ControlReply, Status};

/// A healthy process on this machine answers sooner.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// More than `/metrics` of hundreds of providers, in bytes.
const MAX_BODY: usize = 8 << 20;
/// A metric that only a sidecar exports.
const SIDECAR_METRIC: &[u8] = b"sms_sidecar_build_info";

/// Queries the addresses on which a sidecar with this config would listen. `digest` is the config's.
pub(crate) async fn connect(listen: &Listen, config: &str, digest: &str) -> RunningSidecar {
    let running = query(listen, config).await;
    running.without_other_config(digest)
}

async fn query(listen: &Listen, config: &str) -> RunningSidecar {
    let config = config.to_owned();
    if let Some(reply) = control_status(listen.control.as_deref()).await {
        let status = parse_reply(&reply).ok().map(ControlReply::into_result);
        return RunningSidecar {
            answer: status
                .and_then(Result::ok)
                .map_or(SidecarAnswer::Unreadable, status_answer),
            has_control: true,
            config,
        };
    }
    RunningSidecar {
        answer: admin_answer(listen).await,
        has_control: false,
        config,
    }
}

async fn control_status(socket: Option<&Path>) -> Option<Bytes> {
    let query = exchange(socket?, Method::GET, "/status", Vec::new());
    timeout(QUERY_TIMEOUT, query).await.ok()?.ok()
}

async fn admin_answer(listen: &Listen) -> SidecarAnswer {
    if let Some(body) = fetch(listen.admin, "/status.json").await
        && let Ok(status) = read_json::<Value>(&body)
    {
        return serde_json::from_value(status).map_or(SidecarAnswer::Unreadable, status_answer);
    }
    let metrics = fetch(listen.admin.or(listen.metrics), "/metrics").await;
    let is_sidecar = metrics.is_some_and(|body| {
        body.windows(SIDECAR_METRIC.len())
            .any(|window| window == SIDECAR_METRIC)
    });
    if is_sidecar {
        SidecarAnswer::MetricsOnly
    } else {
        SidecarAnswer::Absent
    }
}

fn status_answer(status: Status) -> SidecarAnswer {
    SidecarAnswer::Status(Box::new(status))
}

/// The body of a reply with status 200; none: nothing answers there, or something else does.
async fn fetch(address: Option<SocketAddr>, path: &str) -> Option<Bytes> {
    let url = format!("http://{}{path}", reachable_address(address?));
    let client = UpstreamClient::new(UpstreamSettings::default(), MAX_BODY).ok()?;
    let request = ProviderRequest {
        method: Method::GET,
        url: url.parse().ok()?,
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let reply = client
        .exchange_without_credentials(request, QUERY_TIMEOUT, None)
        .await
        .ok()?;
    reply.status.is_success().then_some(reply.body)
}

/// A listener on every address is reached through loopback.
fn reachable_address(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    if address.ip().is_unspecified() {
        SocketAddr::new(loopback, address.port())
    } else {
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_through_loopback() {
        let reached = |text: &str| reachable_address(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:9125"), "127.0.0.1:9125");
        assert_eq!(reached("[::]:9125"), "[::1]:9125");
        assert_eq!(reached("10.0.0.1:9125"), "10.0.0.1:9125");
    }
}
