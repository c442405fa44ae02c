//! One message: the loop around `policy::next`. Everything judged here is judged by pure
//! functions below; this file only asks, waits and does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::clock::Moment;
use crate::dialect::{Recognised, Reply};
use crate::policy::{Attempt, Past, Step, carry_over};
use crate::proxy::answer::{Told, answered, native_end};
use crate::proxy::attempt::{Task, Tried};
use crate::proxy::board::Question;
use crate::proxy::call::{Call, Ended};
use crate::proxy::desk::{Open, Turn};
use crate::proxy::link::Link;
use crate::proxy::sending::Sending;
use crate::proxy::{Mode, Proxy};
use crate::sms::{Cause, Family, Kind, Operation, Outcome, ProviderId, Verdict};
use crate::telemetry::{Failover, LastHeard, PossibleDuplicate, Repeat, RouteFirstChoice};

impl Proxy {
    /// Reads a send and carries it, or tells what is known of it already.
    pub(super) async fn send(&self, call: &Call, seen: &Recognised) -> Ended {
        let own = self.own_reference();
        let reading = match seen.dialect.read(seen, &call.request, &own) {
            Ok(reading) => reading,
            Err(_) if call.world.observes(&seen.dialect) => return self.observe(call, &seen.dialect, Operation::Send, None).await,
            Err(error) => return Self::unreadable(seen, &error),
        };
        let mut sending = Sending::new(call, seen, reading, &own);
        if sending.route.map_or(call.world.settings.mode, |route| route.mode) == Mode::Observe {
            return self.observe(call, &seen.dialect, Operation::Send, Some(&sending)).await;
        }
        let mut ended = match self.desk.turn(&sending, self.clock.as_ref()).await {
            Turn::Told(told) => {
                Repeat { dialect: &seen.dialect.name }.emit(&self.telemetry);
                told.again(&sending, self.wall(), self.now())
            }
            // The call it waited for runs on: what became of the message is not known yet.
            Turn::Overtaken => sending.ended(self, Vec::new(), Verdict::InDoubt, Some(Cause::Timeout)),
            Turn::Carry(mut open, history) => {
                sending.inherit(&history);
                let ended = self.carried_through(&sending, &history, &mut open).await;
                self.desk.finish(open, &sending, &ended, self.now());
                ended
            }
        };
        ended.route = sending.route.map(|route| route.name.clone());
        ended.recipient = sending.message.map(|message| message.recipient);
        ended
    }

    /// The loop: ask what is next, do it, until there is an answer.
    async fn carried_through(&self, sending: &Sending<'_>, history: &[Past], open: &mut Open<'_>) -> Ended {
        let order: Vec<ProviderId> = sending.links.iter().map(|link| link.provider.id.clone()).collect();
        let mut past = carry_over(history, &order);
        let mut tried: Vec<Tried> = Vec::new();
        let verdict = loop {
            let (account, after, trial) = match self.board.step(&self.question(sending, &past)) {
                Step::Answer(verdict) => break verdict,
                Step::Send { account, after, trial, .. } => (account, after, trial),
            };
            let Some(link) = sending.links.get(account) else { break Verdict::NotSent };
            if !self.wait(sending, after).await {
                break crate::policy::verdict(&sending.plan, &past);
            }
            // Other calls were answered in the meantime: the provider may stand aside now.
            if !after.is_zero() && !trial && self.board.is_closed(&self.question(sending, &past), account) {
                continue;
            }
            sending.moves_on(self, &past, link);
            open.begins(link, sending.reference(account));
            let one = self.one(sending, account, link, trial).await;
            open.ended(one.past(sending.reference(account)));
            sending.may_be_double(self, &past, &one);
            past.push(one.attempt.clone());
            tried.push(one);
        };
        let cause = self.board.cause(&self.question(sending, &past));
        sending.ended(self, tried, verdict, cause)
    }

    async fn one(&self, sending: &Sending<'_>, account: usize, link: &Arc<Link>, trial: bool) -> Tried {
        let Some(say) = sending.say(account, link) else { return Tried::skipped(link, account) };
        let left = sending.plan.deadline.saturating_sub(self.now().since(sending.call.began));
        let said = sending.said.get(account).and_then(Option::as_ref);
        let mut tried = link.attempt(&Task { account, kind: Kind::Send, say, said, left, trial }).await;
        tried.attempt.ended = self.now().since(sending.call.began);
        let diagnosis = self.diagnose(&tried);
        let of_account = |cause: Cause| cause.family() == Family::Account;
        if tried.outcome().cause().is_none_or(of_account) {
            LastHeard { provider: &link.provider.id, diagnosis: diagnosis.as_ref() }.emit(&self.telemetry);
        }
        self.board.ended(link, &tried.attempt, diagnosis, self.now());
        self.suspect(&tried);
        tried
    }

    /// Waits before an attempt. False: nobody waits for the answer any more, or we are told to end.
    async fn wait(&self, sending: &Sending<'_>, after: Duration) -> bool {
        if after.is_zero() {
            return !sending.call.line.is_gone();
        }
        tokio::select! {
            () = tokio::time::sleep(after) => !sending.call.line.is_gone(),
            () = sending.call.line.hurry() => false,
        }
    }

    pub(super) fn question<'a>(&self, sending: &'a Sending<'_>, tried: &'a [Attempt]) -> Question<'a> {
        let now = self.now();
        let (route, plan, links) = (sending.resort.as_ref(), &sending.plan, &sending.links);
        Question { route, plan, links, tried, elapsed: now.since(sending.call.began), now, dice: self.clock.dice() }
    }
}

impl Sending<'_> {
    /// Counts what it means that this provider is asked after those.
    fn moves_on(&self, proxy: &Proxy, past: &[Attempt], to: &Link) {
        let Some(last) = past.last() else { return };
        let from = self.links.get(last.account).map(|link| &link.provider.id);
        if let Some((from, cause)) = from.zip(last.outcome.cause()).filter(|(from, _)| **from != to.provider.id) {
            Failover { from, to: &to.provider.id, cause }.emit(&proxy.telemetry);
        }
    }

    /// Counts a message that two providers may have taken.
    fn may_be_double(&self, proxy: &Proxy, past: &[Attempt], one: &Tried) {
        let id = &one.link.provider.id;
        let elsewhere = |attempt: &&Attempt| self.links.get(attempt.account).is_none_or(|link| link.provider.id != *id);
        let doubted = past.iter().filter(elsewhere).any(|attempt| matches!(attempt.outcome, Outcome::Unknown(_)));
        if doubted && matches!(one.outcome(), Outcome::Accepted { .. } | Outcome::Unknown(_)) {
            PossibleDuplicate { provider: id }.emit(&proxy.telemetry);
        }
    }

    /// The reply, in the backend's dialect, and what ops are told.
    fn ended(&self, proxy: &Proxy, tried: Vec<Tried>, verdict: Verdict, cause: Option<Cause>) -> Ended {
        let tells = |tried: &&Tried| tried.outcome().cause().is_some() && (cause.is_none() || tried.outcome().cause() == cause);
        let about = tried.iter().rev().filter(tells).min_by_key(|tried| tried.attempt.account);
        let diagnosis = about.and_then(|tried| proxy.diagnose(tried));
        let unanswered = Reply { status: StatusCode::SERVICE_UNAVAILABLE, headers: HeaderMap::new(), body: Bytes::new() };
        let mut ended = Ended::at_once(unanswered, Operation::Send, &self.seen.dialect.name, verdict);
        ended.cause = cause.or_else(|| about.and_then(|tried| tried.outcome().cause()));
        ended.diagnosis =
            diagnosis.or_else(|| ended.cause.filter(|_| verdict != Verdict::Accepted).map(|cause| proxy.diagnose_bare(self, cause)));
        ended.tried = tried;
        self.tell_route(proxy, &ended);
        ended.reply = native_end(self, &ended).unwrap_or_else(|| answered(self, &ended, proxy));
        ended
    }

    fn tell_route(&self, proxy: &Proxy, ended: &Ended) {
        let first = self.links.first().map(|link| &link.provider.id);
        if let (Some(route), Some(carrier)) = (self.route, ended.carrier()) {
            RouteFirstChoice { route: &route.name, first: Some(&carrier.link.provider.id) == first }.emit(&proxy.telemetry);
        }
    }
}

impl Tried {
    /// As a later call needs it.
    fn past(&self, reference: &str) -> Past {
        let (credential, outcome) = (self.attempt.credential, self.attempt.outcome.clone());
        Past { provider: self.link.provider.id.clone(), credential, outcome, reference: reference.to_owned() }
    }

    fn skipped(link: &Arc<Link>, account: usize) -> Self {
        let finding = crate::proxy::link::unsent(Cause::NotTranslatable);
        let outcome = finding.outcome.clone();
        let attempt = Attempt { account, credential: link.newest(), outcome, wait: None, ended: Duration::ZERO, inherited: false };
        let (began, took) = (link.around.now(), Duration::ZERO);
        let (link, kind, learned) = (Arc::clone(link), Kind::Send, Vec::new());
        Self { link, kind, attempt, finding, learned, status: None, native: None, method: None, elsewhere: None, began, took }
    }
}

/// What a repeat of the message is told.
impl Told {
    fn again(&self, sending: &Sending<'_>, wall: jiff::Timestamp, now: Moment) -> Ended {
        let mut ended = Ended::at_once(self.reply(sending, wall), Operation::Send, &sending.seen.dialect.name, self.verdict);
        (ended.cause, ended.repeat) = (self.cause, Some(now.since(self.at)));
        ended
    }
}
