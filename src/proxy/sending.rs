//! A message on its way: what the backend said, who may carry it, in which words, by which plan.
//! Nothing here waits, asks or tells; `send` does.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{Asked, Dialect, Reading, Recognised};
use crate::policy::{OnUnknown, Past, Plan, Seen, Terms};
use crate::proxy::Route;
use crate::proxy::attempt::Say;
use crate::proxy::call::Call;
use crate::proxy::link::Link;
use crate::sms::{Cause, Message, Outcome};

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
    /// With whom it shares a last resort: its route's calls; by dialect those that no route means; a pinned one with its like.
    pub(super) resort: Cow<'a, str>,
    /// The message as each provider has its words approved.
    pub(super) said: Vec<Option<Message>>,
    pub(super) plan: Plan,
}

impl<'a> Sending<'a> {
    /// `own` is the reference that stands in where the backend gave none.
    pub(super) fn new(call: &'a Call, seen: &'a Recognised, reading: Reading, own: &str) -> Self {
        let recipients: Vec<_> = reading.message.iter().map(|message| message.recipient.clone()).collect();
        let by = Seen { recipients: &recipients, caller: call.caller.as_deref(), dialect: &seen.dialect.name };
        let (route, links) = call.world.carriers(call.only.as_ref(), &by, &seen.dialect);
        let resort = match (&call.only, route) {
            // No route has such a name.
            (Some(only), _) => Cow::Owned(format!("={only}")),
            (None, Some(route)) => Cow::Borrowed(route.name.as_str()),
            (None, None) => Cow::Borrowed(seen.dialect.name.as_str()),
        };
        let bound = reading.is_bound();
        let mut said = links.iter().map(|link| said(call, &reading, link, bound)).collect::<Vec<_>>();
        said.iter_mut().zip(&links).for_each(|(said, link)| refer(said, &link.provider.dialect, &seen.dialect, own));
        let mut plan = plan(route, &links, &said, &reading, &seen.dialect.name);
        let named = reading.message.as_ref().is_some_and(|message| message.reference != own);
        for (terms, link) in plan.accounts.iter_mut().zip(&links) {
            // In its own words the request carries a reference only where the backend gave one.
            terms.repeat_key &= named || link.provider.dialect.name != seen.dialect.name;
        }
        Self { call, seen, asked: reading.asked, message: reading.message, bound, route, links, resort, said, plan }
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
    pub(super) fn reference(&self, account: usize) -> &str {
        self.said.get(account).and_then(Option::as_ref).map_or("", |message| message.reference.as_str())
    }

    /// A service that recognises a repeat by its reference does so only under the one that it was given before.
    pub(super) fn inherit(&mut self, history: &[Past]) {
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
    pub(super) fn say(&'a self, account: usize, link: &Link) -> Option<Say<'a>> {
        let said = self.said.get(account)?.as_ref();
        let same = said.zip(self.message.as_ref()).is_none_or(|(said, own)| said.text == own.text);
        if link.provider.dialect.name == self.seen.dialect.name && same {
            return Some(Say::Native(self.seen, &self.call.request));
        }
        said.map(Say::Anew)
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
