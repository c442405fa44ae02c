//! The memory of messages and ids at run time: who waits for a running call, and what a
//! repeat is told. The rules are `policy`'s; here they get a lock and a bell.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::policy::{Asked, End, Ids, Key, Past, Real, Repeats, Ticket, window};
use crate::proxy::answer::Told;
use crate::proxy::call::Ended;
use crate::proxy::link::Link;
use crate::proxy::sending::Sending;
use crate::sms::{Cause, Outcome, Verdict};

/// So many messages and made-up ids are remembered.
const MOST: usize = 20_000;

/// The memory.
pub(super) struct Desk {
    secret: [u8; 64],
    repeats: Mutex<Repeats<Told>>,
    ids: Mutex<Ids>,
    bell: Notify,
}

/// What to do with a message.
pub(super) enum Turn<'a> {
    /// Carry it; what an earlier call left in doubt comes with it.
    Carry(Open<'a>, Vec<Past>),
    /// It is answered.
    Told(Told),
    /// The call it waited for took longer than this one may, or nobody waits any more.
    Overtaken,
}

/// A message being carried. Dropped without an end (a panic), it leaves a doubt, so that a repeat
/// is not a second message at the same provider.
pub(super) struct Open<'a> {
    desk: &'a Desk,
    ticket: Option<Ticket>,
    history: Vec<Past>,
    window: Duration,
    now: Moment,
}

impl Desk {
    /// `secret` is random and lives as long as the process.
    pub(super) fn new(secret: [u8; 64]) -> Self {
        Self { secret, repeats: Mutex::new(Repeats::new(MOST)), ids: Mutex::new(Ids::new(MOST)), bell: Notify::new() }
    }

    /// Asks the memory, and waits while a call for the same message runs.
    pub(super) async fn turn(&self, sending: &Sending<'_>, clock: &dyn Clock) -> Turn<'_> {
        let Some(key) = self.key(sending).filter(|_| !remembered(sending).is_zero()) else {
            return Turn::Carry(self.open(None, Vec::new(), sending, clock.now()), Vec::new());
        };
        let patience = tokio::time::sleep(sending.deadline());
        tokio::pin!(patience);
        loop {
            let (bell, now) = (self.bell.notified(), clock.now());
            match self.repeats().ask(key, now) {
                Asked::New(ticket) => return Turn::Carry(self.open(Some(ticket), Vec::new(), sending, now), Vec::new()),
                Asked::Inherit(ticket, history) => return Turn::Carry(self.open(Some(ticket), history.clone(), sending, now), history),
                Asked::Answered(told) => return Turn::Told(told),
                Asked::Wait => {}
            }
            tokio::select! {
                () = bell => {}
                () = &mut patience => return Turn::Overtaken,
                () = sending.call.line.hurry() => return Turn::Overtaken,
            }
        }
    }

    /// The call ended: its repeats get the answer, begin anew, or inherit the doubt.
    pub(super) fn finish(&self, mut open: Open<'_>, sending: &Sending<'_>, ended: &Ended, now: Moment) {
        let Some(ticket) = open.ticket.take() else { return };
        let end = match ended.verdict {
            Verdict::Accepted | Verdict::MessageRefused => End::Answer(Told::of(ended, now)),
            Verdict::InDoubt => End::Doubt(std::mem::take(&mut open.history)),
            Verdict::NotSent | Verdict::Carried | Verdict::Answered | Verdict::Tunnelled | Verdict::Rejected => End::Forget,
        };
        self.repeats().finish(ticket, end, remembered(sending), now);
        self.bell.notify_waiters();
    }

    /// An id that we made stands for this one.
    pub(super) fn remember(&self, made_up: String, real: Real) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).remember(made_up, real);
    }

    /// What stands behind an id, if it is one of ours.
    pub(super) fn find(&self, id: &str) -> Option<Real> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).find(id).cloned()
    }

    fn key(&self, sending: &Sending<'_>) -> Option<Key> {
        let (caller, key) = (sending.call.caller.as_deref().unwrap_or_default(), idempotency_key(sending));
        let request = &sending.call.request;
        let address = request.query.as_deref().unwrap_or_default().as_bytes();
        match &sending.message {
            Some(message) => Some(Key::of(&self.secret, caller, message, key)),
            None => key.map(|key| Key::of_call(&self.secret, caller, [address, &request.body], key)),
        }
    }

    fn open(&self, ticket: Option<Ticket>, history: Vec<Past>, sending: &Sending<'_>, now: Moment) -> Open<'_> {
        Open { desk: self, ticket, history, window: remembered(sending), now }
    }

    fn repeats(&self) -> std::sync::MutexGuard<'_, Repeats<Told>> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long this message is remembered; zero: not at all.
fn remembered(sending: &Sending<'_>) -> Duration {
    if sending.call.only.is_some() {
        return Duration::ZERO;
    }
    window(sending.repeat_window(), idempotency_key(sending))
}

fn idempotency_key<'a>(sending: &Sending<'a>) -> Option<&'a str> {
    sending.call.request.headers.get("idempotency-key").and_then(|value| value.to_str().ok())
}

impl Open<'_> {
    /// An attempt is about to begin: until it has ended, it is in doubt.
    pub(super) fn begins(&mut self, link: &Link, reference: &str) {
        let (provider, outcome) = (link.provider.id.clone(), Outcome::Unknown(Cause::Timeout));
        self.history.push(Past { provider, credential: link.newest(), outcome, reference: reference.to_owned() });
    }

    /// It has ended.
    pub(super) fn ended(&mut self, past: Past) {
        self.history.pop();
        self.history.push(past);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let end = if self.history.is_empty() { End::Forget } else { End::Doubt(std::mem::take(&mut self.history)) };
            self.desk.repeats().finish(ticket, end, self.window, self.now);
            self.desk.bell.notify_waiters();
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
