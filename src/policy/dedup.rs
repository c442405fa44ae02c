//! The memory of recent messages. A request that repeats one waits while the first is in flight,
//! gets its answer, or inherits its history if that is in doubt, so that nobody gets a code twice.
//! Keys are keyed hashes: neither numbers nor texts are kept. Bounded in entries and bytes: if a table
//! is full, the answered entry that expires first is dropped; a message that still has no room is sent
//! without being remembered.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::clock::Moment;
use crate::policy::{Attempt, CredentialRevision, MAX_ID_BYTES, MemoryLimit};
use crate::sms::{Message, Outcome, ProviderId};

/// How long a message with an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEY_WINDOW: Duration = Duration::from_hours(1);

/// What the hashes of messages are keyed with, prepared once.
pub struct DedupSecret(Hmac<Sha256>);

impl DedupSecret {
    /// `secret` is random and lives as long as the process.
    pub fn new(secret: &[u8; 64]) -> Self {
        Self(Hmac::new(secret.into()))
    }

    /// The hash of these parts, each with its length, and of what kind they are.
    fn hash<const N: usize>(&self, parts: [&[u8]; N], kind: u8) -> [u8; 32] {
        let mut hash = self.0.clone();
        for part in parts {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
        hash.update(&[kind]);
        hash.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for DedupSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DedupSecret(***)")
    }
}

/// The hash of one message of one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey {
    hash: [u8; 32],
    has_idempotency_key: bool,
}

impl DedupKey {
    /// The key of the same text to the same number from the same caller, with the same
    /// `Idempotency-Key` if there is one. The text counts in any case: a backend that always sends
    /// the same key still gets each code delivered.
    pub fn for_message(
        secret: &DedupSecret,
        caller: &str,
        message: &Message,
        idempotency_key: Option<&str>,
    ) -> Self {
        let parts = [
            caller,
            message.recipient.digits(),
            message.text.expose(),
            idempotency_key.unwrap_or_default(),
        ];
        let kind = u8::from(idempotency_key.is_some());
        Self {
            hash: secret.hash(parts.map(str::as_bytes), kind),
            has_idempotency_key: idempotency_key.is_some(),
        }
    }

    /// The same of a message whose request says more than a message can: another number, another text, a time. Its
    /// address and body (`content`) count too, except for the `reference` in them, which is new in each repetition.
    pub fn for_specific_message(
        secret: &DedupSecret,
        caller: &str,
        message: &Message,
        content: [&[u8]; 2],
        idempotency_key: Option<&str>,
    ) -> Self {
        let plain = Self::for_message(secret, caller, message, idempotency_key);
        let content = content.map(|part| without(part, message.reference.as_bytes()));
        let [address, body] = &content;
        Self {
            hash: secret.hash([&plain.hash, address, body], 3),
            ..plain
        }
    }

    /// The key of a provider-specific request: its `Idempotency-Key`, and its address and body as
    /// they are (`content`), because some services take the text in the address.
    pub fn for_request(
        secret: &DedupSecret,
        caller: &str,
        content: [&[u8]; 2],
        idempotency_key: &str,
    ) -> Self {
        let [address, body] = content;
        let parts = [caller.as_bytes(), address, body, idempotency_key.as_bytes()];
        Self {
            hash: secret.hash(parts, 2),
            has_idempotency_key: true,
        }
    }
}

/// The bytes without each occurrence of `part`.
fn without(bytes: &[u8], part: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(bytes.len());
    let mut rest = 0;
    if !part.is_empty() {
        for at in memchr::memmem::find_iter(bytes, part) {
            left.extend_from_slice(bytes.get(rest..at).unwrap_or_default());
            rest = at + part.len();
        }
    }
    left.extend_from_slice(bytes.get(rest..).unwrap_or_default());
    left
}

/// How long a message is remembered after its answer: the route's window, but at least an hour for
/// a request with an `Idempotency-Key`, because its backend marks duplicates itself.
pub fn duplicate_window(route_window: Duration, idempotency_key: Option<&str>) -> Duration {
    if idempotency_key.is_some() {
        route_window.max(IDEMPOTENCY_KEY_WINDOW)
    } else {
        route_window
    }
}

/// One attempt as later requests need it: by name, because the order of a plan may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAttempt {
    /// The provider it went to.
    pub provider: ProviderId,
    /// The credential it used.
    pub credential: CredentialRevision,
    /// How it ended.
    pub outcome: Outcome,
    /// The reference that the provider got; empty if none, or if it is too long to be remembered.
    pub reference: String,
}

impl PastAttempt {
    /// Without a reference or id that is longer than [`MAX_ID_BYTES`]. Without its reference the message never goes to
    /// the same provider again, as if the service had no idempotency key.
    fn without_long_ids(mut self) -> Self {
        if self.reference.len() > MAX_ID_BYTES {
            self.reference = String::new();
        }
        if let Outcome::Accepted { id } = &mut self.outcome
            && id.len() > MAX_ID_BYTES
        {
            *id = String::new();
        }
        self
    }

    fn bytes(&self) -> usize {
        let id = match &self.outcome {
            Outcome::Accepted { id } => id.len(),
            Outcome::Rejected(_) | Outcome::Unsent(_) | Outcome::Unknown(_) => 0,
        };
        size_of::<Self>() + self.provider.as_str().len() + self.reference.len() + id
    }
}

/// Makes a remembered history the beginning of a new request whose plan has this order. Providers
/// that are not in the plan get an index beyond its end, one each.
pub fn inherit_attempts(history: &[PastAttempt], order: &[ProviderId]) -> Vec<Attempt> {
    let place = |provider: &ProviderId| order.iter().position(|other| other == provider);
    let beyond_plan = |past: &PastAttempt| {
        history
            .iter()
            .position(|other| other.provider == past.provider)
            .unwrap_or_default()
    };
    let attempt = |past: &PastAttempt| Attempt {
        account: place(&past.provider)
            .unwrap_or_else(|| order.len().saturating_add(beyond_plan(past))),
        credential: past.credential,
        outcome: past.outcome.clone(),
        retry_after: None,
        ended: Duration::ZERO,
        inherited: true,
    };
    history.iter().map(attempt).collect()
}

/// Identifies the request that must call [`DedupTable::finish`] for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a request that never finishes keeps its duplicates waiting"]
pub struct DedupTicket {
    key: DedupKey,
    number: u64,
}

impl DedupTicket {
    /// The message that it is for.
    pub fn key(&self) -> DedupKey {
        self.key
    }
}

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupLookup<A> {
    /// Send it.
    New(DedupTicket),
    /// Send it, with the history of an earlier request that is in doubt.
    Inherit(DedupTicket, Vec<PastAttempt>),
    /// A request for it is in flight: look up again after it has finished.
    Wait,
    /// It was answered.
    Answered(A),
}

/// How a request ended, as its duplicates need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupCompletion<A> {
    /// Accepted, or rejected for the message's own fault: duplicates get the same answer.
    Answer(A),
    /// Nothing was sent: a duplicate is a new message.
    Forget,
    /// It may have been sent: a duplicate inherits the attempts.
    InDoubt(Vec<PastAttempt>),
}

#[derive(Clone, Debug)]
enum State<A> {
    InFlight(u64),
    Answered(A),
    InDoubt(Vec<PastAttempt>, Moment),
}

/// The recent messages with an `Idempotency-Key`, and those without one, each within limits of their own: messages
/// that are remembered for an hour must not push out those whose window is ten seconds.
#[derive(Clone, Debug)]
pub struct DedupTables<A> {
    keyed: DedupTable<A>,
    unkeyed: DedupTable<A>,
}

impl<A: Clone> DedupTables<A> {
    /// Two tables, each within `limit`; `size_of` returns the bytes of an answer.
    pub fn new(limit: MemoryLimit, size_of: fn(&A) -> usize) -> Self {
        Self {
            keyed: DedupTable::new(limit, size_of),
            unkeyed: DedupTable::new(limit, size_of),
        }
    }

    /// What to do with this message; see [`DedupTable::lookup`].
    pub fn lookup(&mut self, key: DedupKey, now: Moment) -> DedupLookup<A> {
        self.table(key).lookup(key, now)
    }

    /// Records the end of a request; see [`DedupTable::finish`].
    pub fn finish(
        &mut self,
        ticket: DedupTicket,
        end: DedupCompletion<A>,
        window: Duration,
        now: Moment,
    ) {
        self.table(ticket.key).finish(ticket, end, window, now);
    }

    fn table(&mut self, key: DedupKey) -> &mut DedupTable<A> {
        if key.has_idempotency_key {
            &mut self.keyed
        } else {
            &mut self.unkeyed
        }
    }
}

/// One table of recent messages. `A` is the answer that duplicates get.
#[derive(Clone, Debug)]
pub struct DedupTable<A> {
    entries: HashMap<DedupKey, State<A>>,
    expirations: BTreeSet<(Moment, DedupKey)>,
    limit: MemoryLimit,
    size_of: fn(&A) -> usize,
    /// Of all entries that have ended.
    bytes: usize,
    last_ticket: u64,
}

impl<A: Clone> DedupTable<A> {
    /// An empty table; `size_of` returns the bytes of an answer.
    pub fn new(limit: MemoryLimit, size_of: fn(&A) -> usize) -> Self {
        Self {
            entries: HashMap::new(),
            expirations: BTreeSet::new(),
            limit,
            size_of,
            bytes: 0,
            last_ticket: 0,
        }
    }

    /// What to do with this message. Must not be called if the [`duplicate_window`] is zero.
    pub fn lookup(&mut self, key: DedupKey, now: Moment) -> DedupLookup<A> {
        self.evict_expired(now);
        match self.entries.get(&key) {
            Some(State::InFlight(_)) => DedupLookup::Wait,
            Some(State::Answered(answer)) => DedupLookup::Answered(answer.clone()),
            Some(State::InDoubt(history, end)) => {
                let history = history.clone();
                self.expirations.remove(&(*end, key));
                DedupLookup::Inherit(self.start(key), history)
            }
            None => DedupLookup::New(self.start(key)),
        }
    }

    /// Records the end of a request; it is remembered for `window`.
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
            DedupCompletion::InDoubt(history) => {
                let history = history.into_iter().map(PastAttempt::without_long_ids);
                State::InDoubt(history.collect(), until)
            }
            DedupCompletion::Forget => {
                self.entries.remove(&key);
                return;
            }
        };
        self.insert(key, state);
        self.expirations.insert((until, key));
        while self.bytes > self.limit.bytes && !self.expirations.is_empty() {
            self.evict_next();
        }
    }

    /// The number of remembered messages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no message is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn start(&mut self, key: DedupKey) -> DedupTicket {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = DedupTicket {
            key,
            number: self.last_ticket,
        };
        if !self.entries.contains_key(&key) && self.entries.len() >= self.limit.entries {
            self.evict_next();
        }
        if self.entries.contains_key(&key) || self.entries.len() < self.limit.entries {
            self.insert(key, State::InFlight(self.last_ticket));
        }
        ticket
    }

    fn insert(&mut self, key: DedupKey, state: State<A>) {
        self.bytes += self.state_bytes(&state);
        if let Some(former) = self.entries.insert(key, state) {
            self.bytes -= self.state_bytes(&former);
        }
    }

    fn state_bytes(&self, state: &State<A>) -> usize {
        match state {
            State::InFlight(_) => 0,
            State::Answered(answer) => (self.size_of)(answer),
            State::InDoubt(history, _) => history.iter().map(PastAttempt::bytes).sum(),
        }
    }

    fn evict_expired(&mut self, now: Moment) {
        while self.expirations.first().is_some_and(|(end, _)| *end <= now) {
            self.evict_next();
        }
    }

    fn evict_next(&mut self) {
        if let Some((_, key)) = self.expirations.pop_first()
            && let Some(former) = self.entries.remove(&key)
        {
            self.bytes -= self.state_bytes(&former);
        }
    }
}

#[cfg(test)]
mod tests;
