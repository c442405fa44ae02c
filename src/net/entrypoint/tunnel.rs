//! Tunnels to other hosts, and CONNECTs that are intercepted: every address is checked again after
//! its name was resolved, bytes are counted, silent tunnels end, and those without traffic end when
//! the process does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::diagnosis::DenialReason;
use crate::net::authority::Authority;
use crate::net::byte_counters::{ByteCounts, MeteredStream};
use crate::net::drain::{Drain, Phase};
use crate::net::entrypoint::connection::{ConnectionContext, serve_inside_connect};
use crate::net::entrypoint::response::{Rejected, ResponseBody};
use crate::net::entrypoint::{Entrypoint, ListenerShared, RequestHandler};
use crate::net::screen;

/// While draining, a tunnel without traffic for this long is closed.
const DRAIN_IDLE_LIMIT: Duration = Duration::from_secs(1);
/// How often a silence is looked for within its limit.
const SILENCE_CHECKS: u32 = 8;

/// Answers a CONNECT whose inside the sidecar serves.
pub(super) fn accept_connect<C: RequestHandler>(
    shared: &Arc<ListenerShared<C>>,
    request: Request<()>,
    target: Authority,
    context: ConnectionContext,
) -> Response<ResponseBody> {
    let shared = Arc::clone(shared);
    let busy = context.idle_timer.mark_busy();
    // Owned by the connection's slot, which the context holds.
    tokio::spawn(async move {
        // A client that left before the tunnel was established sent nothing.
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            serve_inside_connect(shared, TokioIo::new(upgraded), target, context).await;
        }
        drop(busy);
    });
    connect_established()
}

/// Closes the connection of a denied CONNECT. After a request that could have become a tunnel, the HTTP
/// library hands the connection over instead of closing it.
pub(super) fn close_denied(upgrade: Option<OnUpgrade>, context: &ConnectionContext) {
    let Some(upgrade) = upgrade else { return };
    let slot = Arc::clone(&context.slot);
    // Ends with the connection, or when the library drops it.
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            TokioIo::new(upgraded).shutdown().await.ok();
        }
        drop(slot);
    });
}

/// Answers a CONNECT to another host, once that host is connected.
pub(super) async fn tunnel<C: RequestHandler>(
    shared: &Arc<ListenerShared<C>>,
    entrypoint: Entrypoint,
    request: Request<()>,
    target: Authority,
    context: ConnectionContext,
) -> Result<Response<ResponseBody>, Rejected> {
    let far = dial(shared, &target, context.peer.is_local()).await?;
    let handler = Arc::clone(&shared.handler);
    let busy = context.idle_timer.mark_busy();
    let (mut far, counts) = MeteredStream::new(far);
    let flight = context.drain.track_request();
    let limits = shared.setup.limits;
    // A host that never answers holds its slot for a shorter time than one that did.
    let may_pause = move |counts: &ByteCounts| match counts.read() {
        0 => limits.forward_timeout.min(limits.idle_timeout),
        _ => limits.idle_timeout,
    };
    // Owned by the drain, through its guard.
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let mut near = TokioIo::new(upgraded);
            tokio::select! {
                // How a tunnel ended concerns its two ends only.
                _ = copy_bidirectional(&mut near, &mut far) => {}
                () = wait_until_silent(&counts, may_pause) => {}
                () = wait_until_drained(&context.drain, &counts) => {}
            }
        }
        handler.tunnel_closed(entrypoint, &target, counts.total());
        drop((flight, busy, context));
    });
    Ok(connect_established())
}

/// The other host could not be reached, or failed.
pub(super) fn unreachable_host(status: StatusCode, why: String) -> Rejected {
    Rejected::new(status, DenialReason::HostUnreachable, why)
}

fn connect_established() -> Response<ResponseBody> {
    Response::new(Either::Left(Full::default()))
}

pub(super) async fn dial<C: RequestHandler>(
    shared: &ListenerShared<C>,
    target: &Authority,
    local: bool,
) -> Result<TcpStream, Rejected> {
    let limit = shared.setup.limits.client_timeout;
    let deadline = Instant::now() + limit;
    let bad = |reason: String| unreachable_host(StatusCode::BAD_GATEWAY, reason);
    let late = |_| {
        let reason = format!("no connection to {target} in time");
        unreachable_host(StatusCode::GATEWAY_TIMEOUT, reason)
    };
    let found = shared.resolver.resolve(&target.host, limit).await;
    let found = found.map_err(|error| bad(error.to_string()))?;
    let mut last = bad(format!("{} has no address", target.host));
    // One mute address leaves time for the others.
    for (left, address) in (1..=found.len()).rev().zip(found.iter().copied()) {
        let share = deadline.saturating_duration_since(Instant::now())
            / u32::try_from(left).unwrap_or(u32::MAX);
        let address = SocketAddr::new(address, target.port);
        if let Err(refusal) = screen::check_address(address, &shared.setup.own_addresses, local) {
            last = refusal.into();
            continue;
        }
        match timeout(share, TcpStream::connect(address))
            .await
            .map_err(late)
        {
            Ok(Ok(stream)) => {
                return reject_own_address(stream, address, &shared.setup.own_addresses);
            }
            Ok(Err(error)) => last = bad(format!("no connection to {target}: {}", error.kind())),
            Err(turned) => last = turned,
        }
    }
    Err(last)
}

/// A listener on all addresses has more of them than its own: a connection whose two ends share
/// an address leads back to it.
fn reject_own_address(
    stream: TcpStream,
    address: SocketAddr,
    own: &[SocketAddr],
) -> Result<TcpStream, Rejected> {
    let here = stream
        .local_addr()
        .is_ok_and(|here| here.ip() == address.ip());
    if here
        && own
            .iter()
            .any(|own| own.ip().is_unspecified() && own.port() == address.port())
    {
        return Err(screen::ScreenError::OwnAddress(address.to_string()).into());
    }
    Ok(stream)
}

/// Resolves when no byte has moved for as long as `limit` says at that time: one end may be mute, or gone
/// without closing.
pub(super) async fn wait_until_silent(
    counts: &ByteCounts,
    limit: impl Fn(&ByteCounts) -> Duration,
) {
    let mut seen = counts.total();
    let mut since = Instant::now();
    loop {
        let limit = limit(counts);
        if since.elapsed() >= limit {
            return;
        }
        sleep(limit / SILENCE_CHECKS).await;
        let total = counts.total();
        if total != seen {
            seen = total;
            since = Instant::now();
        }
    }
}

async fn wait_until_drained(drain: &Drain, counts: &ByteCounts) {
    drain.wait_for(Phase::Draining).await;
    tokio::select! {
        () = wait_until_silent(counts, |_| DRAIN_IDLE_LIMIT) => {}
        () = drain.wait_for(Phase::Closing) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of such a connection have one address, as if a listener on all addresses had been reached by another
    /// one of its names.
    #[tokio::test]
    async fn a_connection_that_leads_back_to_a_listener_on_all_addresses_is_rejected() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let all = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], address.port()));
        for (own, target, is_rejected) in [
            (all(address.port()), address, true),
            (all(address.port() ^ 1), address, false),
            (all(address.port()), elsewhere, false),
            (elsewhere, address, false),
        ] {
            let stream = TcpStream::connect(address).await.unwrap();
            let found = reject_own_address(stream, target, &[all(1), own]);
            assert_eq!(found.is_err(), is_rejected, "{own} {target}");
        }
    }
}
