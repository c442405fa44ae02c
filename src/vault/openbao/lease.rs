//! Leases of dynamic secrets. While a lease is valid its entry is not read again, because each read
//! would create another account. The lease is renewed at two thirds of its life; if that fails, the
//! entry is read again. A lease ends with the token that created it, so a new login means a new
//! lease.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::clock::{Clock, Moment};
use crate::vault::error::ReadError;
use crate::vault::openbao::http::VaultRequest;
use crate::vault::openbao::reply::{self, LeaseTerms};
use crate::vault::openbao::server::VaultServer;
use crate::vault::openbao::session::{VaultSession, VaultToken};
use crate::vault::source::ReadSchedule;

/// The leases of one server, by path.
#[derive(Debug)]
pub(super) struct LeaseTable {
    clock: Arc<dyn Clock>,
    leases: Mutex<BTreeMap<String, Lease>>,
}

#[derive(Clone, Debug)]
struct Lease {
    terms: LeaseTerms,
    /// The generation of the token that created it.
    token_generation: u64,
    renew_at: Moment,
    expires_at: Moment,
    /// It cannot be renewed any more: read the entry again.
    not_renewable: bool,
}

impl LeaseTable {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            leases: Mutex::default(),
        }
    }

    /// An entry was read under these terms, with this token.
    pub(super) fn record(&self, path: &str, terms: Option<LeaseTerms>, token: &VaultToken) {
        let mut held = self.lock();
        match terms {
            None => drop(held.remove(path)),
            Some(terms) => {
                let (due, ends) = self.deadlines(terms.ttl);
                held.insert(
                    path.to_owned(),
                    Lease {
                        terms,
                        token_generation: token.generation,
                        renew_at: due,
                        expires_at: ends,
                        not_renewable: false,
                    },
                );
            }
        }
    }

    /// When to read an entry again. An entry that ends without a lease (KV v1 with a `ttl`) is only read earlier.
    pub(super) fn read_schedule(&self, path: &str) -> ReadSchedule {
        let now = self.clock.now();
        match self.lock().get(path) {
            Some(lease)
                if lease.not_renewable
                    || now >= lease.expires_at
                    || (!lease.terms.renewable && now >= lease.renew_at) =>
            {
                ReadSchedule::Now
            }
            Some(lease) if !lease.terms.id.is_empty() => ReadSchedule::NotYet,
            Some(_) | None => ReadSchedule::ByCadence,
        }
    }

    /// Renews what is due.
    pub(super) async fn renew_due(&self, server: &VaultServer, session: &VaultSession) {
        if let Some(number) = session.token_generation().await {
            self.lock()
                .values_mut()
                .filter(|lease| lease.token_generation != number)
                .for_each(|lease| lease.not_renewable = true);
        }
        let now = self.clock.now();
        let renewable =
            |lease: &Lease| lease.terms.renewable && !lease.not_renewable && now >= lease.renew_at;
        let due: Vec<(String, LeaseTerms)> = self
            .lock()
            .iter()
            .filter(|(_, lease)| renewable(lease))
            .map(|(path, lease)| (path.clone(), lease.terms.clone()))
            .collect();
        for (path, terms) in due {
            // A failing server may renew it later; the sidecar tries again until the lease ends.
            let Ok(renewed) = server.with_timeout(renew(server, session, &terms)).await else {
                continue;
            };
            self.record_renewal(&path, &terms, renewed);
        }
    }

    fn record_renewal(&self, path: &str, terms: &LeaseTerms, renewed: Option<Duration>) {
        let mut held = self.lock();
        let Some(lease) = held
            .get_mut(path)
            .filter(|lease| lease.terms.id == terms.id)
        else {
            return;
        };
        match renewed.filter(|lasts| *lasts >= terms.ttl / 2) {
            Some(lasts) => (lease.renew_at, lease.expires_at) = self.deadlines(lasts),
            None => lease.not_renewable = true,
        }
    }

    /// When to renew the lease or read the entry again, and when the lease ends.
    fn deadlines(&self, lasts: Duration) -> (Moment, Moment) {
        let now = self.clock.now();
        (
            now.saturating_add(lasts.mul_f64(2.0 / 3.0 - 0.06 * self.clock.random_fraction())),
            now.saturating_add(lasts),
        )
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the lease now lasts; none if the server did not renew it.
async fn renew(
    server: &VaultServer,
    session: &VaultSession,
    terms: &LeaseTerms,
) -> Result<Option<Duration>, ReadError> {
    let token = session.token(server).await?;
    let ask = VaultRequest::post(
        "sys/leases/renew".to_owned(),
        Some(&token.secret),
        &json!({ "lease_id": terms.id, "increment": terms.ttl.as_secs() }),
    );
    let answer = server.send(&ask).await?;
    Ok(answer
        .json()
        .filter(|_| answer.status.is_success())
        .and_then(|json| reply::lease_terms(&json))
        .map(|terms| terms.ttl))
}
