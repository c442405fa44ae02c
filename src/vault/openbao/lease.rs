//! Entries that end: what a server hands out for a time only (dynamic secrets). While such a lease
//! lives its entry is not read again, for each read would make another account; it is renewed at two
//! thirds, and read anew where that does not help. A lease ends with the token that took it, so a new
//! login means a new lease, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::clock::{Clock, Moment};
use crate::vault::error::ReadError;
use crate::vault::openbao::http::Ask;
use crate::vault::openbao::reply::{self, Terms};
use crate::vault::openbao::server::Server;
use crate::vault::openbao::session::{Session, Token};
use crate::vault::source::Due;

/// The leases of one server, by path.
#[derive(Debug)]
pub(super) struct Leases {
    clock: Arc<dyn Clock>,
    held: Mutex<BTreeMap<String, Lease>>,
}

#[derive(Clone, Debug)]
struct Lease {
    terms: Terms,
    /// The number of the token that took it.
    token: u64,
    due: Moment,
    ends: Moment,
    /// It will not be renewed any more: read anew.
    over: bool,
}

impl Leases {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, held: Mutex::default() }
    }

    /// An entry was read under these terms, with this token.
    pub(super) fn note(&self, path: &str, terms: Option<Terms>, token: &Token) {
        let mut held = self.lock();
        match terms {
            None => drop(held.remove(path)),
            Some(terms) => {
                let (due, ends) = self.term(terms.lasts);
                held.insert(path.to_owned(), Lease { terms, token: token.number, due, ends, over: false });
            }
        }
    }

    /// Whether an entry is to be read again. What ends without a lease (KV v1 with a `ttl`) is only read earlier.
    pub(super) fn due(&self, path: &str) -> Due {
        let now = self.clock.now();
        match self.lock().get(path) {
            Some(lease) if lease.over || now >= lease.ends || (!lease.terms.renewable && now >= lease.due) => Due::Now,
            Some(lease) if !lease.terms.id.is_empty() => Due::NotYet,
            Some(_) | None => Due::ByCadence,
        }
    }

    /// Renews what is due.
    pub(super) async fn tend(&self, server: &Server, session: &Session) {
        if let Some(number) = session.number().await {
            self.lock().values_mut().filter(|lease| lease.token != number).for_each(|lease| lease.over = true);
        }
        let now = self.clock.now();
        let renewable = |lease: &Lease| lease.terms.renewable && !lease.over && now >= lease.due;
        let due: Vec<(String, Terms)> =
            self.lock().iter().filter(|(_, lease)| renewable(lease)).map(|(path, lease)| (path.clone(), lease.terms.clone())).collect();
        for (path, terms) in due {
            // A server in trouble may renew it later; until its end the lease is asked for again.
            let Ok(renewed) = server.within(renew(server, session, &terms)).await else { continue };
            self.renewed(&path, &terms, renewed);
        }
    }

    fn renewed(&self, path: &str, terms: &Terms, renewed: Option<Duration>) {
        let mut held = self.lock();
        let Some(lease) = held.get_mut(path).filter(|lease| lease.terms.id == terms.id) else { return };
        match renewed.filter(|lasts| *lasts >= terms.lasts / 2) {
            Some(lasts) => (lease.due, lease.ends) = self.term(lasts),
            None => lease.over = true,
        }
    }

    /// When to renew or read anew, and when it ends.
    fn term(&self, lasts: Duration) -> (Moment, Moment) {
        let now = self.clock.now();
        (now.saturating_add(lasts.mul_f64(2.0 / 3.0 - 0.06 * self.clock.random_fraction())), now.saturating_add(lasts))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long it now lasts; none: the server did not renew it.
async fn renew(server: &Server, session: &Session, terms: &Terms) -> Result<Option<Duration>, ReadError> {
    let token = session.token(server).await?;
    let ask =
        Ask::post("sys/leases/renew".to_owned(), Some(&token.secret), &json!({ "lease_id": terms.id, "increment": terms.lasts.as_secs() }));
    let answer = server.ask(&ask).await?;
    Ok(answer.json().filter(|_| answer.status.is_success()).and_then(|json| reply::terms(&json)).map(|terms| terms.lasts))
}
