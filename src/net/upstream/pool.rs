//! Keeps idle connections for at most 4 s: most servers close theirs after 5 s, and a request
//! written to a closing connection is in doubt.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::net::authority::Authority;
use crate::net::byte_counters::ByteCounts;

const MAX_IDLE_TIME: Duration = Duration::from_secs(4);
/// More than a provider needs at once again; further connections are closed.
const MAX_IDLE_CONNECTIONS: usize = 32;

/// A connection that can send a request.
#[derive(Debug)]
pub(super) struct UpstreamConnection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) counts: ByteCounts,
    /// Whether it has served a request before.
    pub(super) is_reused: bool,
}

#[derive(Debug)]
struct IdleConnection {
    connection: UpstreamConnection,
    idle_since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct ConnectionPool(Mutex<BTreeMap<Authority, Vec<IdleConnection>>>);

impl ConnectionPool {
    /// Takes the most recently used one that is still open; closes those that are too old.
    pub(super) async fn take(&self, origin: &Authority) -> Option<UpstreamConnection> {
        loop {
            let IdleConnection {
                mut connection,
                idle_since: since,
            } = self.pop(origin)?;
            if since.elapsed() < MAX_IDLE_TIME && connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    pub(super) fn put(&self, origin: Authority, mut connection: UpstreamConnection) {
        if connection.sender.is_closed() {
            return;
        }
        connection.is_reused = true;
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(origin).or_default();
        kept.retain(|idle| idle.idle_since.elapsed() < MAX_IDLE_TIME);
        if kept.len() < MAX_IDLE_CONNECTIONS {
            kept.push(IdleConnection {
                connection,
                idle_since: Instant::now(),
            });
        }
    }

    fn pop(&self, origin: &Authority) -> Option<IdleConnection> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(origin)?
            .pop()
    }
}
