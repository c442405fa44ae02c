//! Keeps idle connections as long as the provider announces, or for 4 s: most servers close theirs
//! after 5 s, and a request written to a closing connection is in doubt.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::net::authority::Authority;
use crate::net::byte_counters::ByteCounts;
use crate::net::upstream::watched_stream::CloseEvidence;
use crate::reply_parser::ReplyMark;

/// How long a connection stays idle if the provider announces nothing.
pub(super) const DEFAULT_IDLE_TIME: Duration = Duration::from_secs(4);
/// The longest idle time, whatever the provider announces: devices in between drop silent connections.
const MAX_IDLE_TIME: Duration = Duration::from_mins(1);
/// A connection is closed this long before the provider would close it.
const IDLE_MARGIN: Duration = Duration::from_secs(1);
/// More than a provider needs at once again; further connections are closed.
pub(super) const MAX_IDLE_CONNECTIONS: usize = 32;
/// The most origins with idle connections. In observe mode the backend names the host.
pub(super) const MAX_ORIGINS: usize = 64;

/// A connection that can send a request.
#[derive(Debug)]
pub(super) struct UpstreamConnection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) counts: ByteCounts,
    pub(super) evidence: CloseEvidence,
    pub(super) reply_mark: ReplyMark,
    /// Whether it has served a request before.
    pub(super) is_reused: bool,
    pub(super) opened_at: Instant,
    pub(super) max_idle_time: Duration,
}

/// The bytes that a connection has transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TransferCounts {
    read: u64,
    written: u64,
}

impl TransferCounts {
    /// Whether the provider has no byte of the request since `before`: none was written, or it had closed the
    /// connection. What it sent meanwhile may be its answer.
    fn is_untouched_since(self, before: Self, is_closed_unread: bool) -> bool {
        self.written == before.written || self.read == before.read && is_closed_unread
    }
}

impl UpstreamConnection {
    /// A request begins; returns the bytes so far.
    pub(super) fn start_request(&self) -> TransferCounts {
        self.evidence.begin_request();
        self.reply_mark.begin_reply();
        self.transfer_counts()
    }

    /// Whether the provider has no byte of the request that started at `before`.
    pub(super) fn is_untouched_since(&self, before: TransferCounts) -> bool {
        self.transfer_counts()
            .is_untouched_since(before, self.evidence.proves_unread())
    }

    fn transfer_counts(&self) -> TransferCounts {
        TransferCounts {
            read: self.counts.read(),
            written: self.counts.written(),
        }
    }

    /// Reads how long the provider keeps the connection from a reply's `Keep-Alive` header.
    pub(super) fn note_keep_alive(&mut self, headers: &HeaderMap) {
        if let Some(announced) = keep_alive_timeout(headers) {
            self.max_idle_time = announced.saturating_sub(IDLE_MARGIN).min(MAX_IDLE_TIME);
        }
    }
}

/// The `timeout` of a `Keep-Alive` header, as in `timeout=5, max=100` (RFC 2068, section 19.7.1.1).
fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("keep-alive").iter();
    let mut parameters = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    let seconds = seconds.trim().trim_matches('"');
    seconds.parse().ok().map(Duration::from_secs)
}

#[derive(Debug)]
struct IdleConnection {
    connection: UpstreamConnection,
    idle_since: Instant,
}

impl IdleConnection {
    fn is_fresh(&self, max_age: Duration) -> bool {
        self.idle_since.elapsed() < self.connection.max_idle_time
            && self.connection.opened_at.elapsed() < max_age
    }
}

#[derive(Debug)]
pub(super) struct ConnectionPool {
    idle: Mutex<BTreeMap<Authority, Vec<IdleConnection>>>,
    max_age: Duration,
}

impl ConnectionPool {
    /// A pool whose connections get no request when they are older than `max_age`.
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            max_age,
        }
    }

    /// Takes the most recently used one that is still open; closes those that are too old.
    pub(super) async fn take(&self, origin: &Authority) -> Option<UpstreamConnection> {
        loop {
            let mut idle = self.pop(origin)?;
            if idle.is_fresh(self.max_age) && idle.connection.sender.ready().await.is_ok() {
                return Some(idle.connection);
            }
        }
    }

    pub(super) fn put(&self, origin: Authority, mut connection: UpstreamConnection) {
        if connection.sender.is_closed() {
            return;
        }
        connection.is_reused = true;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MAX_ORIGINS && !idle.contains_key(&origin) {
            idle.retain(|_, kept| {
                kept.retain(|idle| idle.is_fresh(self.max_age));
                !kept.is_empty()
            });
            if idle.len() >= MAX_ORIGINS {
                return;
            }
        }
        let kept = idle.entry(origin).or_default();
        kept.retain(|idle| idle.is_fresh(self.max_age));
        if kept.len() < MAX_IDLE_CONNECTIONS {
            kept.push(IdleConnection {
                connection,
                idle_since: Instant::now(),
            });
        }
    }

    /// How many idle connections each origin has.
    #[cfg(test)]
    pub(super) fn idle_counts(&self) -> Vec<usize> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.values().map(Vec::len).collect()
    }

    fn pop(&self, origin: &Authority) -> Option<IdleConnection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(origin)?
            .pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_untouched_if_none_of_it_left_or_if_it_met_the_close() {
        let before = TransferCounts {
            read: 10,
            written: 20,
        };
        for (read, written, is_closed_unread, is_untouched) in [
            (10, 20, false, true),
            (10, 20, true, true),
            (12, 20, false, true),
            (10, 25, true, true),
            (10, 25, false, false),
            (12, 25, true, false),
            (12, 25, false, false),
        ] {
            let now = TransferCounts { read, written };
            assert_eq!(
                now.is_untouched_since(before, is_closed_unread),
                is_untouched,
                "{now:?} {is_closed_unread}"
            );
        }
    }
}
