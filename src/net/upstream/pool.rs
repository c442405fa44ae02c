//! Idle connections, for at most 4 s: most servers close theirs after 5, and a request
//! written into a closing connection is one in doubt.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::net::authority::Authority;
use crate::net::meter::Counts;

const IDLE: Duration = Duration::from_secs(4);
/// More than this a provider never needs at once again; the rest is closed.
const KEPT: usize = 32;

/// A connection that can carry a request.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) counts: Counts,
    /// It has carried one before.
    pub(super) pooled: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<BTreeMap<Authority, Vec<Idle>>>);

impl Pool {
    /// The one used last that is still open; older ones are closed.
    pub(super) async fn take(&self, origin: &Authority) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.pop(origin)?;
            if since.elapsed() < IDLE && connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    pub(super) fn put(&self, origin: Authority, mut connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        connection.pooled = true;
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(origin).or_default();
        kept.retain(|idle| idle.since.elapsed() < IDLE);
        if kept.len() < KEPT {
            kept.push(Idle { connection, since: Instant::now() });
        }
    }

    fn pop(&self, origin: &Authority) -> Option<Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(origin)?.pop()
    }
}
