//! One message: the loop around `policy::next`. Everything judged here is judged by pure
//! functions below; this file only asks, waits and does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::dialect::{Asked, Dialect, Reading, Recognised, Reply};
use crate::policy::{Attempt, OnUnknown, Past, Plan, Seen, Step, Terms, carry_over};
use crate::proxy::answer::{Told, answered, native_end};
use crate::proxy::attempt::{Say, Task, Tried};
use crate::proxy::board::Question;
use crate::proxy::call::{Call, Ended};
use crate::proxy::desk::{Open, Turn};
use crate::proxy::link::Link;
use crate::proxy::{Mode, Proxy, Route};
use crate::sms::{Cause, Kind, Message, Operation, Outcome, ProviderId, Verdict};
use crate::telemetry::{Failover, PossibleDuplicate, Repeat, RouteFirstChoice};

/// Attempts at one provider, and pause between them, where no route says otherwise.
const ATTEMPTS: usize = 2;
const PAUSE: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(8);
const REPEAT_WINDOW: Duration = Duration::from_secs(10);

/// A message on its way: what the backend said, and who may carry it.
pub(super) struct Sending<'a> {
    pub(super) call: &'a Call,
    pub(super) seen: &'a Recognised,
    pub(super) asked: Asked,
    /// None for a call that only its own dialect can carry.
    pub(super) message: Option<Message>,
    pub(super) bound: bool,
    pub(super) route: Option<&'a Route>,
    pub(super) links: Vec<Arc<Link>>,
    /// The message as each provider has its words approved.
    said: Vec<Option<Message>>,
    plan: Plan,
}

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
                told.again(&sending, self.wall())
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
        self.board.ended(link, &tried.attempt, self.diagnose(&tried), self.now());
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
        // Calls that no route means share what is theirs by dialect.
        let route = sending.route.map_or(sending.seen.dialect.name.as_str(), |route| route.name.as_str());
        let (plan, links) = (&sending.plan, &sending.links);
        Question { route, plan, links, tried, elapsed: now.since(sending.call.began), now, dice: self.clock.dice() }
    }
}

impl<'a> Sending<'a> {
    /// `own` is the reference that stands in where the backend gave none.
    fn new(call: &'a Call, seen: &'a Recognised, reading: Reading, own: &str) -> Self {
        let recipients: Vec<_> = reading.message.iter().map(|message| message.recipient.clone()).collect();
        let by = Seen { recipients: &recipients, caller: call.caller.as_deref(), dialect: &seen.dialect.name };
        let (route, links) = call.world.carriers(call.only.as_ref(), &by, &seen.dialect);
        let bound = reading.is_bound();
        let mut said = links.iter().map(|link| said(call, &reading, link, bound)).collect::<Vec<_>>();
        said.iter_mut().zip(&links).for_each(|(said, link)| refer(said, &link.provider.dialect, &seen.dialect, own));
        let mut plan = plan(route, &links, &said, &reading, &seen.dialect.name);
        let named = reading.message.as_ref().is_some_and(|message| message.reference != own);
        for (terms, link) in plan.accounts.iter_mut().zip(&links) {
            // In its own words the request carries a reference only where the backend gave one.
            terms.repeat_key &= named || link.provider.dialect.name != seen.dialect.name;
        }
        Self { call, seen, asked: reading.asked, message: reading.message, bound, route, links, said, plan }
    }

    /// How long the whole call may take.
    pub(super) fn deadline(&self) -> Duration {
        self.plan.deadline
    }

    /// Whom a cause that no attempt showed is about: the first that could have been asked, or was skipped for it.
    pub(super) fn concerned(&self, cause: Cause) -> Option<&Arc<Link>> {
        let could = |terms: &Terms| terms.skip.is_none_or(|skip| skip == cause);
        self.links.iter().zip(&self.plan.accounts).find(|(_, terms)| could(terms)).map(|(link, _)| link)
    }

    /// How long a repeat of it is recognised.
    pub(super) fn repeat_window(&self) -> Duration {
        self.route.map_or(REPEAT_WINDOW, |route| route.repeat_window)
    }

    /// What the provider knows the message by.
    fn reference(&self, account: usize) -> &str {
        self.said.get(account).and_then(Option::as_ref).map_or("", |message| message.reference.as_str())
    }

    /// A service that recognises a repeat by its reference does so only under the one that it was given before.
    fn inherit(&mut self, history: &[Past]) {
        for past in history.iter().filter(|past| matches!(past.outcome, Outcome::Unknown(_))) {
            let Some(account) = self.links.iter().position(|link| link.provider.id == past.provider) else { continue };
            let foreign = self.links.get(account).is_some_and(|link| link.provider.dialect.name != self.seen.dialect.name);
            if let Some(said) = self.said.get_mut(account).and_then(Option::as_mut).filter(|_| foreign && !past.reference.is_empty()) {
                said.reference.clone_from(&past.reference);
            }
            let same = self.reference(account) == past.reference;
            if let Some(terms) = self.plan.accounts.get_mut(account) {
                terms.repeat_key &= same && !past.reference.is_empty();
            }
        }
    }

    /// The backend's own request where the provider speaks it and has the same words approved; else the message anew.
    fn say(&'a self, account: usize, link: &Link) -> Option<Say<'a>> {
        let said = self.said.get(account)?.as_ref();
        let same = said.zip(self.message.as_ref()).is_none_or(|(said, own)| said.text == own.text);
        if link.provider.dialect.name == self.seen.dialect.name && same {
            return Some(Say::Native(self.seen, &self.call.request));
        }
        said.map(Say::Anew)
    }

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

/// The message in the words this provider has approved; a bound call stays as the backend wrote it.
fn said(call: &Call, reading: &Reading, link: &Link, bound: bool) -> Option<Message> {
    let message = reading.message.as_ref()?;
    let approved = call.world.templates.said(&message.text).filter(|_| !bound);
    Some(approved.map_or_else(|| message.clone(), |said| said.at(message, link.provider.id.as_str(), &link.provider.dialect.name)))
}

/// Backends give all their messages the same reference, or one that another service has seen before: where a
/// service would refuse that as a repeat, a translated message goes under a reference of ours.
fn refer(said: &mut Option<Message>, theirs: &Dialect, spoken: &Dialect, own: &str) {
    if let Some(said) = said.as_mut().filter(|_| theirs.name != spoken.name && theirs.knows_repeats()) {
        own.clone_into(&mut said.reference);
    }
}

fn plan(route: Option<&Route>, links: &[Arc<Link>], said: &[Option<Message>], reading: &Reading, spoken: &str) -> Plan {
    let terms = |(link, said): (&Arc<Link>, &Option<Message>)| {
        let dialect = &link.provider.dialect;
        let (speaks, bound) = (dialect.name == spoken, reading.is_bound());
        let too_many = dialect.batch_limit().is_some_and(|most| reading.recipients > most);
        let skip = if too_many || (bound && !speaks) { Some(Cause::NotTranslatable) } else { link.skips(said.as_ref(), speaks) };
        Terms { timeout: link.provider.timeout, repeat_key: link.provider.dialect.repeat_key().is_some(), skip }
    };
    let attempts = route.map_or(ATTEMPTS, |route| route.attempts);
    Plan {
        accounts: links.iter().zip(said).map(terms).collect(),
        attempts_per_account: attempts,
        sends: attempts.saturating_add(1).saturating_mul(links.len().max(1)),
        deadline: route.map_or(DEADLINE, |route| route.deadline),
        pause: PAUSE,
        on_unknown: route.map_or(OnUnknown::Failover, |route| route.on_unknown),
    }
}

/// What a repeat of the message is told.
impl Told {
    fn again(&self, sending: &Sending<'_>, now: jiff::Timestamp) -> Ended {
        let mut ended = Ended::at_once(self.reply(sending, now), Operation::Send, &sending.seen.dialect.name, self.verdict);
        ended.cause = self.cause;
        ended
    }
}
