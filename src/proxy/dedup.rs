//! The memory of messages and ids at run time: who waits for a running call, and what a
//! repeat is told. The rules are `policy`'s; here they get a lock and a bell.

use std::sync::{Mutex, PoisonError};
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

/// So many messages and made-up ids are remembered.
const MAX_REMEMBERED: usize = 20_000;

/// The memory.
pub(super) struct Deduplicator {
    secret: [u8; 64],
    duplicates: Mutex<DedupTable<CachedResponse>>,
    ids: Mutex<IdMap>,
    notify: Notify,
}

/// What to do with a message.
pub(super) enum DedupDecision<'a> {
    /// Carry it; what an earlier call left in doubt comes with it.
    Proceed(InFlight<'a>, Vec<PastAttempt>),
    /// It is answered.
    Cached(CachedResponse),
    /// The call it waited for took longer than this one may, or nobody waits any more.
    WaitAbandoned,
}

/// A message being carried. Dropped without an end (a panic), it leaves a doubt, so that a repeat
/// is not a second message at the same provider.
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

    /// Asks the memory, and waits while a call for the same message runs.
    pub(super) async fn begin(
        &self,
        sending: &Delivery<'_>,
        clock: &dyn Clock,
    ) -> DedupDecision<'_> {
        let Some(key) = self
            .dedup_key(sending)
            .filter(|_| !effective_window(sending).is_zero())
        else {
            return DedupDecision::Proceed(
                self.in_flight(None, Vec::new(), sending, clock.now()),
                Vec::new(),
            );
        };
        let patience = tokio::time::sleep(sending.deadline());
        tokio::pin!(patience);
        loop {
            let (bell, now) = (self.notify.notified(), clock.now());
            match self.lock_duplicates().lookup(key, now) {
                DedupLookup::New(ticket) => {
                    return DedupDecision::Proceed(
                        self.in_flight(Some(ticket), Vec::new(), sending, now),
                        Vec::new(),
                    );
                }
                DedupLookup::Inherit(ticket, history) => {
                    return DedupDecision::Proceed(
                        self.in_flight(Some(ticket), history.clone(), sending, now),
                        history,
                    );
                }
                DedupLookup::Answered(told) => return DedupDecision::Cached(told),
                DedupLookup::Wait => {}
            }
            tokio::select! {
                () = bell => {}
                () = &mut patience => return DedupDecision::WaitAbandoned,
                () = sending.context.connection.disconnected_or_draining() => return DedupDecision::WaitAbandoned,
            }
        }
    }

    /// The call ended: its repeats get the answer, begin anew, or inherit the doubt.
    pub(super) fn finish(
        &self,
        mut open: InFlight<'_>,
        sending: &Delivery<'_>,
        ended: &CompletedRequest,
        now: Moment,
    ) {
        let Some(ticket) = open.ticket.take() else {
            return;
        };
        let end = match ended.result {
            RequestResult::Accepted | RequestResult::MessageRejected => {
                DedupCompletion::Answer(CachedResponse::from_completed(ended, now))
            }
            RequestResult::InDoubt => DedupCompletion::InDoubt(std::mem::take(&mut open.history)),
            RequestResult::NotSent
            | RequestResult::PassedThrough
            | RequestResult::AnsweredLocally
            | RequestResult::Tunnelled
            | RequestResult::Denied => DedupCompletion::Forget,
        };
        self.lock_duplicates()
            .finish(ticket, end, effective_window(sending), now);
        self.notify.notify_waiters();
    }

    /// An id that we made stands for this one.
    pub(super) fn record_id(&self, made_up: String, real: MappedId) {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(made_up, real);
    }

    /// What stands behind an id, if it is one of ours.
    pub(super) fn resolve_id(&self, id: &str) -> Option<MappedId> {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    fn dedup_key(&self, sending: &Delivery<'_>) -> Option<DedupKey> {
        let (caller, key) = (
            sending.context.caller.as_deref().unwrap_or_default(),
            idempotency_key(sending),
        );
        let request = &sending.context.request;
        let address = request.query.as_deref().unwrap_or_default().as_bytes();
        match &sending.message {
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
        sending: &Delivery<'_>,
        now: Moment,
    ) -> InFlight<'_> {
        InFlight {
            deduplicator: self,
            ticket,
            history,
            window: effective_window(sending),
            now,
        }
    }

    fn lock_duplicates(&self) -> std::sync::MutexGuard<'_, DedupTable<CachedResponse>> {
        self.duplicates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long this message is remembered; zero: not at all.
fn effective_window(sending: &Delivery<'_>) -> Duration {
    if sending.context.pinned_provider.is_some() {
        return Duration::ZERO;
    }
    duplicate_window(sending.duplicate_window(), idempotency_key(sending))
}

fn idempotency_key<'a>(sending: &Delivery<'a>) -> Option<&'a str> {
    sending
        .context
        .request
        .headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok())
}

impl InFlight<'_> {
    /// An attempt is about to begin: until it has ended, it is in doubt.
    pub(super) fn attempt_started(&mut self, link: &ProviderRuntime, reference: &str) {
        let (provider, outcome) = (link.provider.id.clone(), Outcome::Unknown(Cause::Timeout));
        self.history.push(PastAttempt {
            provider,
            credential: link.newest_revision(),
            outcome,
            reference: reference.to_owned(),
        });
    }

    /// It has ended.
    pub(super) fn attempt_finished(&mut self, past: PastAttempt) {
        self.history.pop();
        self.history.push(past);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let end = if self.history.is_empty() {
                DedupCompletion::Forget
            } else {
                DedupCompletion::InDoubt(std::mem::take(&mut self.history))
            };
            self.deduplicator
                .lock_duplicates()
                .finish(ticket, end, self.window, self.now);
            self.deduplicator.notify.notify_waiters();
        }
    }
}

impl std::fmt::Debug for Deduplicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
