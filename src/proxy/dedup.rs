//! Duplicate messages and mapped ids at run time: which request waits for one in flight, and what a
//! duplicate is answered. The rules are in `policy`; this file adds a lock and a notification.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::policy::{
    DedupCompletion, DedupKey, DedupLookup, DedupTable, DedupTicket, IdMap, MappedId, PastAttempt,
    duplicate_window,
};
use crate::provider::ProviderRuntime;
use crate::proxy::answer::CachedResponse;
use crate::proxy::delivery::Delivery;
use crate::proxy::request::CompletedRequest;
use crate::sms::{Cause, Outcome, RequestResult};

/// The most messages, and the most ids, that are remembered.
const MAX_REMEMBERED: usize = 20_000;

/// The messages of the duplicate window, and the ids that we issued.
pub(super) struct Deduplicator {
    secret: [u8; 64],
    duplicates: Mutex<DedupTable<CachedResponse>>,
    ids: Mutex<IdMap>,
    notify: Notify,
}

/// What to do with a message.
pub(super) enum DedupDecision<'a> {
    /// Deliver it; comes with the attempts that an earlier request left in doubt.
    Proceed(InFlight<'a>, Vec<PastAttempt>),
    /// It was answered already.
    Cached(CachedResponse),
    /// The request it waited for took longer than this one's deadline, or the backend has hung up.
    WaitAbandoned,
}

/// A message that is being delivered. If it is dropped before its end (a panic), the message is in doubt, so that
/// its duplicate is not sent to the same provider again.
pub(super) struct InFlight<'a> {
    deduplicator: &'a Deduplicator,
    ticket: Option<DedupTicket>,
    history: Vec<PastAttempt>,
    window: Duration,
    now: Moment,
}

impl Deduplicator {
    /// `secret` is random and lives as long as the process.
    pub(super) fn new(secret: [u8; 64]) -> Self {
        Self {
            secret,
            duplicates: Mutex::new(DedupTable::new(MAX_REMEMBERED)),
            ids: Mutex::new(IdMap::new(MAX_REMEMBERED)),
            notify: Notify::new(),
        }
    }

    /// Looks the message up, and waits while a request for the same message is in flight.
    pub(super) async fn begin(
        &self,
        delivery: &Delivery<'_>,
        clock: &dyn Clock,
    ) -> DedupDecision<'_> {
        let Some(key) = self
            .dedup_key(delivery)
            .filter(|_| !effective_window(delivery).is_zero())
        else {
            return DedupDecision::Proceed(
                self.in_flight(None, Vec::new(), delivery, clock.now()),
                Vec::new(),
            );
        };
        let timeout = tokio::time::sleep(delivery.deadline());
        tokio::pin!(timeout);
        loop {
            let notified = self.notify.notified();
            let now = clock.now();
            match self.lock_duplicates().lookup(key, now) {
                DedupLookup::New(ticket) => {
                    return DedupDecision::Proceed(
                        self.in_flight(Some(ticket), Vec::new(), delivery, now),
                        Vec::new(),
                    );
                }
                DedupLookup::Inherit(ticket, history) => {
                    return DedupDecision::Proceed(
                        self.in_flight(Some(ticket), history.clone(), delivery, now),
                        history,
                    );
                }
                DedupLookup::Answered(response) => return DedupDecision::Cached(response),
                DedupLookup::Wait => {}
            }
            tokio::select! {
                () = notified => {}
                () = &mut timeout => return DedupDecision::WaitAbandoned,
                () = delivery.context.connection.disconnected_or_draining() => return DedupDecision::WaitAbandoned,
            }
        }
    }

    /// The request ended: its duplicates get the answer, start again, or inherit the attempts in doubt.
    pub(super) fn finish(
        &self,
        mut in_flight: InFlight<'_>,
        delivery: &Delivery<'_>,
        completed: &CompletedRequest,
        now: Moment,
    ) {
        let Some(ticket) = in_flight.ticket.take() else {
            return;
        };
        let completion = match completed.result {
            RequestResult::Accepted | RequestResult::MessageRejected => {
                DedupCompletion::Answer(CachedResponse::from_completed(completed, now))
            }
            RequestResult::InDoubt => {
                DedupCompletion::InDoubt(std::mem::take(&mut in_flight.history))
            }
            RequestResult::NotSent
            | RequestResult::PassedThrough
            | RequestResult::AnsweredLocally
            | RequestResult::Tunnelled
            | RequestResult::Denied => DedupCompletion::Forget,
        };
        self.lock_duplicates()
            .finish(ticket, completion, effective_window(delivery), now);
        self.notify.notify_waiters();
    }

    /// Maps an id that we issued to the provider's.
    pub(super) fn record_id(&self, own_id: String, mapped: MappedId) {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(own_id, mapped);
    }

    /// The provider's id behind one of ours.
    pub(super) fn resolve_id(&self, id: &str) -> Option<MappedId> {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    fn dedup_key(&self, delivery: &Delivery<'_>) -> Option<DedupKey> {
        let caller = delivery.context.caller.as_deref().unwrap_or_default();
        let key = idempotency_key(delivery);
        let request = &delivery.context.request;
        let address = request.query.as_deref().unwrap_or_default().as_bytes();
        match &delivery.message {
            Some(message) => Some(DedupKey::for_message(&self.secret, caller, message, key)),
            None => key.map(|key| {
                DedupKey::for_request(&self.secret, caller, [address, &request.body], key)
            }),
        }
    }

    fn in_flight(
        &self,
        ticket: Option<DedupTicket>,
        history: Vec<PastAttempt>,
        delivery: &Delivery<'_>,
        now: Moment,
    ) -> InFlight<'_> {
        InFlight {
            deduplicator: self,
            ticket,
            history,
            window: effective_window(delivery),
            now,
        }
    }

    fn lock_duplicates(&self) -> MutexGuard<'_, DedupTable<CachedResponse>> {
        self.duplicates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long this message counts as a duplicate after its answer; zero: never.
fn effective_window(delivery: &Delivery<'_>) -> Duration {
    if delivery.context.pinned_provider.is_some() {
        return Duration::ZERO;
    }
    duplicate_window(delivery.duplicate_window(), idempotency_key(delivery))
}

fn idempotency_key<'a>(delivery: &Delivery<'a>) -> Option<&'a str> {
    delivery
        .context
        .request
        .headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok())
}

impl InFlight<'_> {
    /// An attempt starts: until it has ended, it is in doubt.
    pub(super) fn attempt_started(&mut self, runtime: &ProviderRuntime, reference: &str) {
        self.history.push(PastAttempt {
            provider: runtime.provider.id.clone(),
            credential: runtime.newest_revision(),
            outcome: Outcome::Unknown(Cause::Timeout),
            reference: reference.to_owned(),
        });
    }

    /// The attempt has ended.
    pub(super) fn attempt_finished(&mut self, past: PastAttempt) {
        self.history.pop();
        self.history.push(past);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let completion = if self.history.is_empty() {
                DedupCompletion::Forget
            } else {
                DedupCompletion::InDoubt(std::mem::take(&mut self.history))
            };
            self.deduplicator
                .lock_duplicates()
                .finish(ticket, completion, self.window, self.now);
            self.deduplicator.notify.notify_waiters();
        }
    }
}

impl std::fmt::Debug for Deduplicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deduplicator").finish_non_exhaustive()
    }
}
