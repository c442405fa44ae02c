//! What is remembered of a message after its call: so that a backend that repeats itself
//! waits for the running call, gets the answer that is known, or inherits the history
//! of one in doubt, and no person gets a code twice for it. Keys are keyed hashes:
//! neither numbers nor texts are kept. Bounded: when it is full, the answered ones that
//! would be forgotten first go, and what has no room is carried unremembered.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::clock::Moment;
use crate::policy::{Attempt, CredentialRevision};
use crate::sms::{Message, Outcome, ProviderId};

/// How long a message with an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEY_WINDOW: Duration = Duration::from_hours(1);

/// One message of one caller, without saying which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey([u8; 32]);

impl DedupKey {
    /// The same text to the same number from the same caller; and, where the backend gave one, under the
    /// same `Idempotency-Key`. The text counts even then: a backend that always gives the same key still
    /// gets each code delivered. `secret` is random and lives as long as the process.
    pub fn for_message(
        secret: &[u8; 64],
        caller: &str,
        message: &Message,
        idempotency_key: Option<&str>,
    ) -> Self {
        let mut hash = Hmac::<Sha256>::new(secret.into());
        let parts = [
            caller,
            message.recipient.digits(),
            message.text.expose(),
            idempotency_key.unwrap_or_default(),
        ];
        for part in parts {
            hash.update(&part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(&[u8::from(idempotency_key.is_some())]);
        Self(hash.finalize().into_bytes().into())
    }

    /// A call that is more than one message, or says what a message has no word for: known by its
    /// `Idempotency-Key` and its very words, which for some services stand in the address.
    pub fn for_request(
        secret: &[u8; 64],
        caller: &str,
        words: [&[u8]; 2],
        idempotency_key: &str,
    ) -> Self {
        let mut hash = Hmac::<Sha256>::new(secret.into());
        let [address, body] = words;
        for part in [caller.as_bytes(), address, body, idempotency_key.as_bytes()] {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
        hash.update(&[2]);
        Self(hash.finalize().into_bytes().into())
    }
}

/// How long a message is remembered after its answer: a backend that gives an `Idempotency-Key` means
/// its repeat however late, and a route's window only guards those that give none.
pub fn duplicate_window(repeat_window: Duration, idempotency_key: Option<&str>) -> Duration {
    if idempotency_key.is_some() {
        repeat_window.max(IDEMPOTENCY_KEY_WINDOW)
    } else {
        repeat_window
    }
}

/// One attempt as later calls need it: by name, because a plan's order may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAttempt {
    /// Through whom.
    pub provider: ProviderId,
    /// What it proved itself with.
    pub credential: CredentialRevision,
    /// What became of it.
    pub outcome: Outcome,
    /// The reference that the service was given; empty: none.
    pub reference: String,
}

/// A remembered history as the beginning of a new call whose plan has this order.
pub fn inherit_attempts(history: &[PastAttempt], order: &[ProviderId]) -> Vec<Attempt> {
    let place = |provider: &ProviderId| order.iter().position(|other| other == provider);
    let stranger = |past: &PastAttempt| {
        history
            .iter()
            .position(|other| other.provider == past.provider)
            .unwrap_or_default()
    };
    let attempt = |past: &PastAttempt| Attempt {
        account: place(&past.provider)
            .unwrap_or_else(|| order.len().saturating_add(stranger(past))),
        credential: past.credential,
        outcome: past.outcome.clone(),
        retry_after: None,
        ended: Duration::ZERO,
        inherited: true,
    };
    history.iter().map(attempt).collect()
}

/// The right, and the duty, to [`Repeats::finish`] a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call that never finishes keeps its repeats waiting"]
pub struct DedupTicket {
    key: DedupKey,
    number: u64,
}

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupLookup<A> {
    /// Carry it.
    New(DedupTicket),
    /// Carry it, knowing what an earlier call left in doubt.
    Inherit(DedupTicket, Vec<PastAttempt>),
    /// A call for it is under way: ask again when one has finished.
    Wait,
    /// It was answered.
    Answered(A),
}

/// How a call ended, as far as its repeats are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupCompletion<A> {
    /// Accepted, or refused for its own fault: repeats get the same.
    Answer(A),
    /// Nothing was sent, or nobody knows how it ended before a byte was written: a repeat begins anew.
    Forget,
    /// It may have been sent: a repeat knows through whom.
    InDoubt(Vec<PastAttempt>),
}

#[derive(Clone, Debug)]
enum State<A> {
    InFlight(u64),
    Answered(A),
    InDoubt(Vec<PastAttempt>, Moment),
}

/// The memory. `A` is what repeats are answered with.
#[derive(Clone, Debug)]
pub struct DedupTable<A> {
    entries: HashMap<DedupKey, State<A>>,
    expirations: BTreeSet<(Moment, DedupKey)>,
    capacity: usize,
    last_ticket: u64,
}

impl<A: Clone> DedupTable<A> {
    /// Remembers so many messages.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            expirations: BTreeSet::new(),
            capacity,
            last_ticket: 0,
        }
    }

    /// What to do with this message. Not to be asked where [`window`] is zero.
    pub fn lookup(&mut self, key: DedupKey, now: Moment) -> DedupLookup<A> {
        self.evict_expired(now);
        match self.entries.get(&key) {
            Some(State::InFlight(_)) => DedupLookup::Wait,
            Some(State::Answered(answer)) => DedupLookup::Answered(answer.clone()),
            Some(State::InDoubt(history, end)) => {
                let (history, end) = (history.clone(), *end);
                self.expirations.remove(&(end, key));
                DedupLookup::Inherit(self.start(key), history)
            }
            None => DedupLookup::New(self.start(key)),
        }
    }

    /// A call ended; what it came to is remembered for `window`.
    pub fn finish(
        &mut self,
        ticket: DedupTicket,
        end: DedupCompletion<A>,
        window: Duration,
        now: Moment,
    ) {
        let DedupTicket { key, number } = ticket;
        if !matches!(self.entries.get(&key), Some(State::InFlight(running)) if *running == number) {
            return;
        }
        let until = now.saturating_add(window);
        let state = match end {
            DedupCompletion::Answer(answer) => State::Answered(answer),
            DedupCompletion::InDoubt(history) => State::InDoubt(history, until),
            DedupCompletion::Forget => {
                self.entries.remove(&key);
                return;
            }
        };
        self.entries.insert(key, state);
        self.expirations.insert((until, key));
    }

    /// How many messages are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn start(&mut self, key: DedupKey) -> DedupTicket {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = DedupTicket {
            key,
            number: self.last_ticket,
        };
        if !self.entries.contains_key(&key) && self.entries.len() >= self.capacity {
            self.evict_next();
        }
        if self.entries.contains_key(&key) || self.entries.len() < self.capacity {
            self.entries.insert(key, State::InFlight(self.last_ticket));
        }
        ticket
    }

    fn evict_expired(&mut self, now: Moment) {
        while self.expirations.first().is_some_and(|(end, _)| *end <= now) {
            self.evict_next();
        }
    }

    fn evict_next(&mut self) {
        if let Some((_, key)) = self.expirations.pop_first() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
