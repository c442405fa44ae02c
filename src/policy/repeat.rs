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
use crate::policy::{Attempt, Held};
use crate::sms::{Message, Outcome, ProviderId};

/// How long a message with an `Idempotency-Key` is remembered.
const KEYED: Duration = Duration::from_hours(1);

/// One message of one caller, without saying which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The same text to the same number from the same caller; and, where the backend gave one, under the
    /// same `Idempotency-Key`. The text counts even then: a backend that always gives the same key still
    /// gets each code delivered. `secret` is random and lives as long as the process.
    pub fn of(secret: &[u8; 64], caller: &str, message: &Message, idempotency_key: Option<&str>) -> Self {
        let mut hash = Hmac::<Sha256>::new(secret.into());
        let parts = [caller, message.recipient.digits(), message.text.expose(), idempotency_key.unwrap_or_default()];
        for part in parts {
            hash.update(&part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(&[u8::from(idempotency_key.is_some())]);
        Self(hash.finalize().into_bytes().into())
    }

    /// A call that is more than one message, or says what a message has no word for: known by its
    /// `Idempotency-Key` and its very words, which for some services stand in the address.
    pub fn of_call(secret: &[u8; 64], caller: &str, words: [&[u8]; 2], idempotency_key: &str) -> Self {
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
pub fn window(repeat_window: Duration, idempotency_key: Option<&str>) -> Duration {
    if idempotency_key.is_some() { repeat_window.max(KEYED) } else { repeat_window }
}

/// One attempt as later calls need it: by name, because a plan's order may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Through whom.
    pub provider: ProviderId,
    /// What it proved itself with.
    pub credential: Held,
    /// What became of it.
    pub outcome: Outcome,
    /// The reference that the service was given; empty: none.
    pub reference: String,
}

/// A remembered history as the beginning of a new call whose plan has this order.
pub fn carry_over(history: &[Past], order: &[ProviderId]) -> Vec<Attempt> {
    let place = |provider: &ProviderId| order.iter().position(|other| other == provider);
    let stranger = |past: &Past| history.iter().position(|other| other.provider == past.provider).unwrap_or_default();
    let attempt = |past: &Past| Attempt {
        account: place(&past.provider).unwrap_or_else(|| order.len().saturating_add(stranger(past))),
        credential: past.credential,
        outcome: past.outcome.clone(),
        wait: None,
        ended: Duration::ZERO,
        inherited: true,
    };
    history.iter().map(attempt).collect()
}

/// The right, and the duty, to [`Repeats::finish`] a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call that never finishes keeps its repeats waiting"]
pub struct Ticket {
    key: Key,
    number: u64,
}

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<A> {
    /// Carry it.
    New(Ticket),
    /// Carry it, knowing what an earlier call left in doubt.
    Inherit(Ticket, Vec<Past>),
    /// A call for it is under way: ask again when one has finished.
    Wait,
    /// It was answered.
    Answered(A),
}

/// How a call ended, as far as its repeats are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<A> {
    /// Accepted, or refused for its own fault: repeats get the same.
    Answer(A),
    /// Nothing was sent, or nobody knows how it ended before a byte was written: a repeat begins anew.
    Forget,
    /// It may have been sent: a repeat knows through whom.
    Doubt(Vec<Past>),
}

#[derive(Clone, Debug)]
enum State<A> {
    Running(u64),
    Answered(A),
    Doubtful(Vec<Past>, Moment),
}

/// The memory. `A` is what repeats are answered with.
#[derive(Clone, Debug)]
pub struct Repeats<A> {
    known: HashMap<Key, State<A>>,
    ends: BTreeSet<(Moment, Key)>,
    most: usize,
    tickets: u64,
}

impl<A: Clone> Repeats<A> {
    /// Remembers so many messages.
    pub fn new(most: usize) -> Self {
        Self { known: HashMap::new(), ends: BTreeSet::new(), most, tickets: 0 }
    }

    /// What to do with this message. Not to be asked where [`window`] is zero.
    pub fn ask(&mut self, key: Key, now: Moment) -> Asked<A> {
        self.forget_until(now);
        match self.known.get(&key) {
            Some(State::Running(_)) => Asked::Wait,
            Some(State::Answered(answer)) => Asked::Answered(answer.clone()),
            Some(State::Doubtful(history, end)) => {
                let (history, end) = (history.clone(), *end);
                self.ends.remove(&(end, key));
                Asked::Inherit(self.begin(key), history)
            }
            None => Asked::New(self.begin(key)),
        }
    }

    /// A call ended; what it came to is remembered for `window`.
    pub fn finish(&mut self, ticket: Ticket, end: End<A>, window: Duration, now: Moment) {
        let Ticket { key, number } = ticket;
        if !matches!(self.known.get(&key), Some(State::Running(running)) if *running == number) {
            return;
        }
        let until = now.plus(window);
        let state = match end {
            End::Answer(answer) => State::Answered(answer),
            End::Doubt(history) => State::Doubtful(history, until),
            End::Forget => {
                self.known.remove(&key);
                return;
            }
        };
        self.known.insert(key, state);
        self.ends.insert((until, key));
    }

    /// How many messages are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn begin(&mut self, key: Key) -> Ticket {
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = Ticket { key, number: self.tickets };
        if !self.known.contains_key(&key) && self.known.len() >= self.most {
            self.drop_next();
        }
        if self.known.contains_key(&key) || self.known.len() < self.most {
            self.known.insert(key, State::Running(self.tickets));
        }
        ticket
    }

    fn forget_until(&mut self, now: Moment) {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            self.drop_next();
        }
    }

    fn drop_next(&mut self) {
        if let Some((_, key)) = self.ends.pop_first() {
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
