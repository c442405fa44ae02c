//! Resolves host names with the resolver of the system, so that `/etc/hosts`, search domains and
//! the container's DNS apply. Resolution is a step of its own, with its own time limit and errors.
//!
//! - A and AAAA are looked up at the same time. An answer that has addresses waits for the other one
//!   no longer than [`RESOLUTION_DELAY`]: a resolver that drops AAAA does not delay a send.
//! - While the resolver fails, the last addresses that it returned are used: they rarely change, and
//!   TLS checks who answers there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dns_lookup::{AddrFamily, AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use futures_util::future::{BoxFuture, select};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// How long one family's answer waits for the other (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long the resolver may take if addresses of an earlier answer are at hand.
const PATIENCE_WITH_KNOWN_ADDRESSES: Duration = Duration::from_secs(1);
/// After a failure, the known addresses are used for this long without a new lookup.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Older addresses are not used: a resolver is rarely down for longer, a service may have moved.
const MAX_AGE: Duration = Duration::from_hours(24);
/// A provider has few hosts. The addresses of further names are not remembered.
const MAX_NAMES: usize = 64;
/// The lookups of the whole process that may run at once. One that hangs occupies a thread.
const MAX_LOOKUPS: usize = 32;

static LOOKUP_SLOTS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// An address family, as one lookup requests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressFamily {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// Why a name has no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The resolver says that the name does not exist or has no address.
    #[error("the name {host} does not exist in DNS ({detail}); check its spelling")]
    NotFound {
        /// The name.
        host: String,
        /// The resolver's words.
        detail: String,
    },
    /// The resolver itself failed.
    #[error("the resolver cannot resolve {host} ({detail}); check the servers in /etc/resolv.conf")]
    Failed {
        /// The name.
        host: String,
        /// The resolver's words.
        detail: String,
    },
    /// The resolver did not answer.
    #[error(
        "the resolver did not answer for {host} within {} s; check the servers in /etc/resolv.conf",
        limit.as_secs_f64()
    )]
    Timeout {
        /// The name.
        host: String,
        /// How long it had.
        limit: Duration,
    },
}

/// The resolver begins to fail for a name whose addresses are known, or works again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolverChange {
    /// Addresses of an earlier answer are in use from now on.
    Failing {
        /// The name.
        host: String,
        /// The age of the addresses.
        age: Duration,
        /// Why the lookup failed.
        detail: String,
    },
    /// The resolver has answered again.
    Recovered {
        /// The name.
        host: String,
    },
}

/// Looks up one family of a name.
type Lookup = Arc<
    dyn Fn(String, AddressFamily) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>>
        + Send
        + Sync,
>;

type Observer = Arc<dyn Fn(ResolverChange) + Send + Sync>;

/// Resolves names and remembers their last addresses.
#[derive(Clone)]
pub(crate) struct Resolver {
    lookup: Lookup,
    known: Arc<Mutex<BTreeMap<String, KnownAddresses>>>,
    observer: Option<Observer>,
}

struct KnownAddresses {
    addresses: Vec<IpAddr>,
    resolved_at: Instant,
    /// When the latest lookup failed; none if it succeeded.
    failed_at: Option<Instant>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::with_lookup(Arc::new(|host, family| {
            Box::pin(system_lookup(host, family))
        }))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    fn with_lookup(lookup: Lookup) -> Self {
        Self {
            lookup,
            known: Arc::default(),
            observer: None,
        }
    }

    /// Calls `observer` when the resolver begins to fail for a known name, and when it works again.
    pub(crate) fn set_observer(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Remembers addresses together with `other` from now on.
    pub(crate) fn share_known_addresses(&mut self, other: &Self) {
        self.known = Arc::clone(&other.known);
    }

    /// The addresses of `host`, in the order in which to try them; within `limit`.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        limit: Duration,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let fallback = self.fallback(host);
        match &fallback {
            Some(known) if known.retry_at.is_some_and(|at| Instant::now() < at) => {
                return Ok(known.addresses.clone());
            }
            Some(_) | None => {}
        }
        let limit = match fallback {
            Some(_) => limit.min(PATIENCE_WITH_KNOWN_ADDRESSES),
            None => limit,
        };
        let found = timeout(limit, lookup_both(&self.lookup, host)).await;
        let found = found.unwrap_or_else(|_| Err(timed_out(host, limit)));
        self.record(host, found, fallback)
    }

    /// Remembers the result of a lookup; falls back if the resolver failed.
    fn record(
        &self,
        host: &str,
        found: Result<Vec<IpAddr>, ResolveError>,
        fallback: Option<Fallback>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        match found {
            Ok(addresses) => {
                let addresses = in_order(addresses);
                self.remember(host, &addresses);
                Ok(addresses)
            }
            Err(error @ ResolveError::NotFound { .. }) => Err(error),
            Err(error @ (ResolveError::Failed { .. } | ResolveError::Timeout { .. })) => {
                self.record_failure(host, &error);
                fallback.map(|known| known.addresses).ok_or(error)
            }
        }
    }

    fn fallback(&self, host: &str) -> Option<Fallback> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get(host)?;
        (entry.resolved_at.elapsed() < MAX_AGE).then(|| Fallback {
            addresses: entry.addresses.clone(),
            retry_at: entry.failed_at.map(|at| at + RETRY_INTERVAL),
        })
    }

    fn remember(&self, host: &str, addresses: &[IpAddr]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_NAMES && !known.contains_key(host) {
            return;
        }
        let entry = KnownAddresses {
            addresses: addresses.to_vec(),
            resolved_at: Instant::now(),
            failed_at: None,
        };
        let former = known.insert(host.to_owned(), entry);
        drop(known);
        if former.is_some_and(|former| former.failed_at.is_some()) {
            self.report(ResolverChange::Recovered {
                host: host.to_owned(),
            });
        }
    }

    fn record_failure(&self, host: &str, error: &ResolveError) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known.get_mut(host) else {
            return;
        };
        let age = entry.resolved_at.elapsed();
        let begins = entry.failed_at.replace(Instant::now()).is_none();
        drop(known);
        if begins {
            self.report(ResolverChange::Failing {
                host: host.to_owned(),
                age,
                detail: error.to_string(),
            });
        }
    }

    fn report(&self, change: ResolverChange) {
        if let Some(observer) = &self.observer {
            observer(change);
        }
    }
}

/// Addresses of an earlier answer, and until when they are used without a new lookup.
struct Fallback {
    addresses: Vec<IpAddr>,
    retry_at: Option<Instant>,
}

/// The addresses of both families. The second answer gets a short delay if the first has addresses,
/// and its whole time if not.
async fn lookup_both(lookup: &Lookup, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let v4 = lookup(host.to_owned(), AddressFamily::V4);
    let v6 = lookup(host.to_owned(), AddressFamily::V6);
    let (first, other) = select(v4, v6).await.factor_first();
    match first {
        Ok(mut addresses) => {
            if let Ok(Ok(more)) = timeout(RESOLUTION_DELAY, other).await {
                addresses.extend(more);
            }
            Ok(addresses)
        }
        Err(first) => other.await.map_err(|second| worse(first, second)),
    }
}

/// A name exists if one of its lookups failed for another reason than that it does not.
fn worse(first: ResolveError, second: ResolveError) -> ResolveError {
    if matches!(first, ResolveError::NotFound { .. }) {
        second
    } else {
        first
    }
}

fn timed_out(host: &str, limit: Duration) -> ResolveError {
    ResolveError::Timeout {
        host: host.to_owned(),
        limit,
    }
}

/// IPv6 first, except addresses that this host cannot reach with a source of the same scope: those
/// come last (RFC 6724, rules 1, 2 and 5).
fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_key(|address| match address {
        IpAddr::V6(target) if has_usable_source(*target) => 0,
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 2,
    });
    addresses.dedup();
    addresses
}

/// Whether the host would use a source address of the target's scope. Connecting a UDP socket selects
/// the source and sends nothing.
fn has_usable_source(target: Ipv6Addr) -> bool {
    let source = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((target, 443))?;
        socket.local_addr()
    });
    match source.map(|source| source.ip()) {
        Ok(IpAddr::V6(source)) => source.is_unique_local() == target.is_unique_local(),
        Ok(IpAddr::V4(_)) | Err(_) => false,
    }
}

/// Asks the system. A lookup that hangs keeps its slot and its thread until the system gives up.
async fn system_lookup(host: String, family: AddressFamily) -> Result<Vec<IpAddr>, ResolveError> {
    let slot = LOOKUP_SLOTS.acquire().await;
    let name = host.clone();
    let done = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        blocking_lookup(&name, family)
    });
    match done.await {
        Ok(found) => found,
        Err(_) => Err(ResolveError::Failed {
            host,
            detail: "the lookup was aborted".to_owned(),
        }),
    }
}

fn blocking_lookup(host: &str, family: AddressFamily) -> Result<Vec<IpAddr>, ResolveError> {
    let hints = AddrInfoHints {
        address: match family {
            AddressFamily::V4 => AddrFamily::Inet.into(),
            AddressFamily::V6 => AddrFamily::Inet6.into(),
        },
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found =
        getaddrinfo(Some(host), None, Some(hints)).map_err(|error| from_system(host, error))?;
    Ok(found.flatten().map(|info| info.sockaddr.ip()).collect())
}

fn from_system(host: &str, error: LookupError) -> ResolveError {
    let is_answer = matches!(
        error.kind(),
        LookupErrorKind::NoName | LookupErrorKind::NoData
    );
    let host = host.to_owned();
    let detail = std::io::Error::from(error).to_string();
    if is_answer {
        ResolveError::NotFound { host, detail }
    } else {
        ResolveError::Failed { host, detail }
    }
}

#[cfg(test)]
mod tests;
