//! Duplicate messages and mapped ids at run time: which request waits for one in flight, and what a
//! duplicate is answered. The rules are in `policy`; this file adds a lock, and a notification for each
//! message in flight that has duplicates.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::clock::{Clock, Moment};
use crate::policy::{
    DedupCompletion, DedupKey, DedupLookup, DedupSecret, DedupTables, DedupTicket, IdMap, MappedId,
    MemoryLimit, PastAttempt, duplicate_window,
};
use crate::provider::ProviderRuntime;
use crate::proxy::answer::CachedResponse;
use crate::proxy::delivery::Delivery;
use crate::proxy::request::CompletedRequest;
use crate::sms::{Cause, Outcome, RequestResult};

/// How many messages are remembered with an `Idempotency-Key`, and again without one. An answer in a service's own
/// words takes about 1 KiB.
const MESSAGE_LIMIT: MemoryLimit = MemoryLimit {
    entries: 20_000,
    bytes: 32 << 20,
};

/// The ids that are remembered; one takes about 150 bytes.
const ID_LIMIT: MemoryLimit = MemoryLimit {
    entries: 20_000,
    bytes: 8 << 20,
};

/// The messages of the duplicate window, and the ids that we issued.
pub(super) struct Deduplicator {
    secret: DedupSecret,
    duplicates: Mutex<Duplicates>,
    ids: Mutex<IdMap>,
}

/// The recent messages, and the duplicates that wait.
struct Duplicates {
    tables: DedupTables<CachedResponse>,
    waiting: WaitList,
}

/// Which messages in flight have duplicates that wait. One entry at most for a message in flight, until it ends.
#[derive(Default)]
struct WaitList(HashMap<DedupKey, Arc<Notify>>);

impl WaitList {
    /// Notified when this message has ended.
    fn join(&mut self, key: DedupKey) -> Arc<Notify> {
        Arc::clone(self.0.entry(key).or_default())
    }

    /// Wakes the duplicates of this message, and no others.
    fn wake(&mut self, key: DedupKey) {
        if let Some(notify) = self.0.remove(&key) {
            notify.notify_waiters();
        }
    }
}

impl Duplicates {
    fn finish(
        &mut self,
        ticket: DedupTicket,
        completion: DedupCompletion<CachedResponse>,
        window: Duration,
        now: Moment,
    ) {
        self.tables.finish(ticket, completion, window, now);
        self.waiting.wake(ticket.key());
    }
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
            secret: DedupSecret::new(&secret),
            duplicates: Mutex::new(Duplicates {
                tables: DedupTables::new(MESSAGE_LIMIT, CachedResponse::bytes),
                waiting: WaitList::default(),
            }),
            ids: Mutex::new(IdMap::new(ID_LIMIT)),
        }
    }

    /// Looks the message up, and waits while a request for the same message is in flight.
    pub(super) async fn begin(
        &self,
        delivery: &Delivery<'_>,
        clock: &dyn Clock,
    ) -> DedupDecision<'_> {
        let has_window = !effective_window(delivery).is_zero();
        let Some(key) = has_window.then(|| self.dedup_key(delivery)).flatten() else {
            return self.proceed(None, Vec::new(), delivery, clock.now());
        };
        let timeout = tokio::time::sleep(delivery.deadline());
        tokio::pin!(timeout);
        loop {
            let ended = match self.decide(key, delivery, clock.now()) {
                ControlFlow::Break(decision) => return decision,
                ControlFlow::Continue(ended) => ended,
            };
            tokio::select! {
                () = ended => {}
                () = &mut timeout => return DedupDecision::WaitAbandoned,
                () = delivery.context.connection.disconnected_or_draining() => return DedupDecision::WaitAbandoned,
            }
        }
    }

    /// What to do now, or what to wait for. The wait begins under the lock, so that the message cannot end unnoticed.
    fn decide(
        &self,
        key: DedupKey,
        delivery: &Delivery<'_>,
        now: Moment,
    ) -> ControlFlow<DedupDecision<'_>, OwnedNotified> {
        let mut duplicates = self.lock_duplicates();
        ControlFlow::Break(match duplicates.tables.lookup(key, now) {
            DedupLookup::New(ticket) => self.proceed(Some(ticket), Vec::new(), delivery, now),
            DedupLookup::Inherit(ticket, history) => {
                self.proceed(Some(ticket), history, delivery, now)
            }
            DedupLookup::Answered(response) => DedupDecision::Cached(response),
            DedupLookup::Wait => {
                return ControlFlow::Continue(duplicates.waiting.join(key).notified_owned());
            }
        })
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
        let request = &delivery.request;
        let address = request.query.as_deref().unwrap_or_default().as_bytes();
        match &delivery.message {
            Some(message) if delivery.provider_specific => {
                let content = [address, &request.body];
                let key =
                    DedupKey::for_specific_message(&self.secret, caller, message, content, key);
                Some(key)
            }
            Some(message) => Some(DedupKey::for_message(&self.secret, caller, message, key)),
            None => key.map(|key| {
                DedupKey::for_request(&self.secret, caller, [address, &request.body], key)
            }),
        }
    }

    fn proceed(
        &self,
        ticket: Option<DedupTicket>,
        history: Vec<PastAttempt>,
        delivery: &Delivery<'_>,
        now: Moment,
    ) -> DedupDecision<'_> {
        let in_flight = InFlight {
            deduplicator: self,
            ticket,
            history: history.clone(),
            window: effective_window(delivery),
            now,
        };
        DedupDecision::Proceed(in_flight, history)
    }

    fn lock_duplicates(&self) -> MutexGuard<'_, Duplicates> {
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
        }
    }
}

impl std::fmt::Debug for Deduplicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deduplicator").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_duplicate_is_woken_by_its_own_message_only() {
        let key = |name: &str| {
            DedupKey::for_request(&DedupSecret::new(&[7; 64]), "backend", [b"", b""], name)
        };
        let mut waiting = WaitList::default();
        let mut first = Box::pin(waiting.join(key("a")).notified_owned());
        let mut second = Box::pin(waiting.join(key("a")).notified_owned());
        let mut other = Box::pin(waiting.join(key("b")).notified_owned());
        assert_eq!(waiting.0.len(), 2, "one entry for each message in flight");
        waiting.wake(key("c"));
        waiting.wake(key("b"));
        assert!(other.as_mut().now_or_never().is_some());
        assert!(first.as_mut().now_or_never().is_none());
        waiting.wake(key("a"));
        assert!(first.now_or_never().is_some() && second.as_mut().now_or_never().is_some());
        assert!(
            waiting.0.is_empty(),
            "nothing is left of messages that ended"
        );
    }
}
