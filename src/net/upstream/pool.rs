//! Keeps idle connections as long as the provider announces, or for 4 s: most servers close theirs
//! after 5 s, and a request written to a closing connection is in doubt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, sleep};

use crate::net::authority::Authority;
use crate::net::byte_counters::ByteCounts;
use crate::net::upstream::driver::Driver;
use crate::net::upstream::watched_stream::CloseEvidence;
use crate::policy::IdleSummary;
use crate::reply_parser::ReplyMark;

/// How long a connection stays idle if the provider announces nothing.
pub(super) const DEFAULT_IDLE_TIME: Duration = Duration::from_secs(4);
/// The longest idle time, whatever the provider announces: devices in between drop silent connections.
const MAX_IDLE_TIME: Duration = Duration::from_mins(1);
/// A connection is closed this long before the provider would close it.
const IDLE_MARGIN: Duration = Duration::from_secs(1);
/// More than a provider needs at once again; further connections are closed.
pub(super) const MAX_IDLE_CONNECTIONS: usize = 32;
/// How often idle connections are looked at: one that the provider has closed, or whose time is over, is closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The most origins with idle connections. In observe mode the backend names the host.
pub(super) const MAX_ORIGINS: usize = 64;

/// A connection that can send a request.
#[derive(Debug)]
pub(super) struct UpstreamConnection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) driver: Driver,
    pub(super) counts: ByteCounts,
    pub(super) evidence: CloseEvidence,
    pub(super) reply_mark: ReplyMark,
    /// Whether it was idle before, so that the provider may have closed it.
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
    /// Whether it was opened in advance and has served no request.
    is_warm: bool,
}

impl IdleConnection {
    /// For how long it may still get a request, as far as its age says.
    fn remaining(&self, now: Instant, max_age: Duration) -> Duration {
        let connection = &self.connection;
        let idle = connection
            .max_idle_time
            .saturating_sub(now - self.idle_since);
        idle.min(max_age.saturating_sub(now - connection.opened_at))
    }

    /// Whether it may get another request, as far as its age and the provider's last word say.
    fn is_usable(&mut self, now: Instant, max_age: Duration) -> bool {
        if self.remaining(now, max_age).is_zero() {
            return false;
        }
        let connection = &mut self.connection;
        connection.driver.look();
        !connection.sender.is_closed()
    }
}

/// The idle connections of one client. A task closes those that nobody takes in time.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    idle: Arc<Mutex<IdleConnections>>,
    max_age: Duration,
}

#[derive(Debug, Default)]
struct IdleConnections {
    by_origin: BTreeMap<Authority, Vec<IdleConnection>>,
    /// How long the latest reply of each origin keeps a connection, where that is not the default.
    idle_times: BTreeMap<Authority, Duration>,
    /// How many were taken for a request.
    taken: u64,
    is_swept: bool,
}

impl ConnectionPool {
    /// A pool whose connections get no request when they are older than `max_age`.
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            idle: Arc::default(),
            max_age,
        }
    }

    /// Takes the most recently used one that is still open; closes those that are not, or that are too old.
    pub(super) async fn take(&self, origin: &Authority) -> Option<UpstreamConnection> {
        loop {
            let mut idle = self.lock().by_origin.get_mut(origin)?.pop()?;
            if !idle.is_usable(Instant::now(), self.max_age) {
                continue;
            }
            let UpstreamConnection { sender, driver, .. } = &mut idle.connection;
            if sender.is_ready() || driver.drive(sender.ready()).await.is_ok() {
                self.lock().taken += 1;
                return Some(idle.connection);
            }
        }
    }

    /// Keeps one that has served a request.
    pub(super) fn put(&self, origin: Authority, connection: UpstreamConnection) {
        self.lock()
            .note_idle_time(&origin, connection.max_idle_time);
        self.keep(origin, connection, false);
    }

    /// Keeps one that was opened in advance, in place of the one before it.
    pub(super) fn put_warm(&self, origin: Authority, mut connection: UpstreamConnection) {
        let mut idle = self.lock();
        if let Some(kept) = idle.by_origin.get_mut(&origin) {
            kept.retain(|idle| !idle.is_warm);
        }
        connection.max_idle_time = idle.idle_time(&origin);
        drop(idle);
        self.keep(origin, connection, true);
    }

    /// What is idle for this origin.
    pub(super) fn summary(&self, origin: &Authority) -> IdleSummary {
        let (now, max_age) = (Instant::now(), self.max_age);
        let mut idle = self.lock();
        let mut remaining = None;
        for connection in idle.by_origin.get_mut(origin).into_iter().flatten() {
            if connection.is_usable(now, max_age) {
                remaining = remaining.max(Some(connection.remaining(now, max_age)));
            }
        }
        IdleSummary {
            remaining,
            lifetime: idle.idle_time(origin).min(max_age),
            taken: idle.taken,
        }
    }

    fn keep(&self, origin: Authority, mut connection: UpstreamConnection, is_warm: bool) {
        connection.is_reused = true;
        let idle_since = Instant::now();
        let mut newest = IdleConnection {
            connection,
            idle_since,
            is_warm,
        };
        if !newest.is_usable(idle_since, self.max_age) {
            return;
        }
        let mut idle = self.lock();
        if !idle.has_room(&origin) {
            idle.remove_unusable(idle_since, self.max_age);
        }
        if !idle.has_room(&origin) {
            return;
        }
        idle.by_origin.entry(origin).or_default().push(newest);
        if !idle.is_swept {
            idle.is_swept = true;
            // Ends with the last idle connection, or with the pool.
            tokio::spawn(sweep(Arc::downgrade(&self.idle), self.max_age));
        }
    }

    /// How many idle connections each origin has.
    #[cfg(test)]
    pub(super) fn idle_counts(&self) -> Vec<usize> {
        self.lock().by_origin.values().map(Vec::len).collect()
    }

    fn lock(&self) -> MutexGuard<'_, IdleConnections> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdleConnections {
    fn has_room(&self, origin: &Authority) -> bool {
        self.by_origin
            .get(origin)
            .map_or(self.by_origin.len() < MAX_ORIGINS, |kept| {
                kept.len() < MAX_IDLE_CONNECTIONS
            })
    }

    /// How long a connection to this origin is kept idle.
    fn idle_time(&self, origin: &Authority) -> Duration {
        let announced = self.idle_times.get(origin).copied();
        announced.unwrap_or(DEFAULT_IDLE_TIME)
    }

    fn note_idle_time(&mut self, origin: &Authority, idle_time: Duration) {
        if idle_time == DEFAULT_IDLE_TIME {
            self.idle_times.remove(origin);
        } else if let Some(noted) = self.idle_times.get_mut(origin) {
            *noted = idle_time;
        } else if self.idle_times.len() < MAX_ORIGINS {
            self.idle_times.insert(origin.clone(), idle_time);
        }
    }

    fn remove_unusable(&mut self, now: Instant, max_age: Duration) {
        self.by_origin.retain(|_, kept| {
            kept.retain_mut(|idle| idle.is_usable(now, max_age));
            !kept.is_empty()
        });
    }
}

/// Closes what cannot be used any more, while there are idle connections.
async fn sweep(pool: Weak<Mutex<IdleConnections>>, max_age: Duration) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
        idle.remove_unusable(Instant::now(), max_age);
        if idle.by_origin.is_empty() {
            idle.is_swept = false;
            return;
        }
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
