//! A message on its way: what the backend said, who may carry it, in which words, by which plan.
//! Nothing here waits, asks or tells; `send` does.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{DecodedRequest, Dialect, RecognisedRequest, RequestFields};
use crate::policy::{DeliveryPlan, OnUnknown, PastAttempt, PlannedAccount, RouteInput};
use crate::provider::ProviderRuntime;
use crate::provider::attempt::RequestBody;
use crate::proxy::Route;
use crate::proxy::request::RequestContext;
use crate::sms::{Cause, Message, Outcome};

/// Attempts at one provider, and pause between them, where no route says otherwise.
const DEFAULT_ATTEMPTS: usize = 2;
const DEFAULT_PAUSE: Duration = Duration::from_millis(200);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(8);
const DEFAULT_DUPLICATE_WINDOW: Duration = Duration::from_secs(10);

/// A message on its way: what the backend said, and who may carry it.
pub(super) struct Delivery<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) recognised: &'a RecognisedRequest,
    pub(super) request_fields: RequestFields,
    /// None for a call that only its own dialect can carry.
    pub(super) message: Option<Message>,
    pub(super) provider_specific: bool,
    pub(super) route: Option<&'a Route>,
    pub(super) providers: Vec<Arc<ProviderRuntime>>,
    /// With whom it shares a last resort: its route's calls; by dialect those that no route means; a pinned one with its like.
    pub(super) last_resort_key: Cow<'a, str>,
    /// The message as each provider has its words approved.
    pub(super) messages: Vec<Option<Message>>,
    pub(super) plan: DeliveryPlan,
}

impl<'a> Delivery<'a> {
    /// `own` is the reference that stands in where the backend gave none.
    pub(super) fn new(
        context: &'a RequestContext,
        recognised: &'a RecognisedRequest,
        reading: DecodedRequest,
        own: &str,
    ) -> Self {
        let recipients: Vec<_> = reading
            .message
            .iter()
            .map(|message| message.recipient.clone())
            .collect();
        let by = RouteInput {
            recipients: &recipients,
            caller: context.caller.as_deref(),
            dialect: &recognised.dialect.name,
        };
        let (route, providers) = context.snapshot.routed_providers(
            context.pinned_provider.as_ref(),
            &by,
            &recognised.dialect,
        );
        let last_resort_key = match (&context.pinned_provider, route) {
            // No route has such a name.
            (Some(only), _) => Cow::Owned(format!("={only}")),
            (None, Some(route)) => Cow::Borrowed(route.name.as_str()),
            (None, None) => Cow::Borrowed(recognised.dialect.name.as_str()),
        };
        let provider_specific = reading.is_provider_specific();
        let mut messages = providers
            .iter()
            .map(|link| approved_message(context, &reading, link, provider_specific))
            .collect::<Vec<_>>();
        messages
            .iter_mut()
            .zip(&providers)
            .for_each(|(said, link)| {
                assign_reference(said, &link.provider.dialect, &recognised.dialect, own);
            });
        let mut plan = build_plan(
            route,
            &providers,
            &messages,
            &reading,
            &recognised.dialect.name,
        );
        let named = reading
            .message
            .as_ref()
            .is_some_and(|message| message.reference != own);
        for (terms, link) in plan.accounts.iter_mut().zip(&providers) {
            // In its own words the request carries a reference only where the backend gave one.
            terms.has_idempotency_key &=
                named || link.provider.dialect.name != recognised.dialect.name;
        }
        Self {
            context,
            recognised,
            request_fields: reading.fields,
            message: reading.message,
            provider_specific,
            route,
            providers,
            last_resort_key,
            messages,
            plan,
        }
    }

    /// How long the whole call may take.
    pub(super) fn deadline(&self) -> Duration {
        self.plan.deadline
    }

    /// Whom a cause that no attempt showed is about: the first that could have been asked, or was skipped for it.
    pub(super) fn provider_for_cause(&self, cause: Cause) -> Option<&Arc<ProviderRuntime>> {
        let could = |terms: &PlannedAccount| terms.skip_cause.is_none_or(|skip| skip == cause);
        self.providers
            .iter()
            .zip(&self.plan.accounts)
            .find(|(_, terms)| could(terms))
            .map(|(link, _)| link)
    }

    /// How long a repeat of it is recognised.
    pub(super) fn duplicate_window(&self) -> Duration {
        self.route
            .map_or(DEFAULT_DUPLICATE_WINDOW, |route| route.duplicate_window)
    }

    /// What the provider knows the message by.
    pub(super) fn reference(&self, account: usize) -> &str {
        self.messages
            .get(account)
            .and_then(Option::as_ref)
            .map_or("", |message| message.reference.as_str())
    }

    /// A service that recognises a repeat by its reference does so only under the one that it was given before.
    pub(super) fn inherit_history(&mut self, history: &[PastAttempt]) {
        for past in history
            .iter()
            .filter(|past| matches!(past.outcome, Outcome::Unknown(_)))
        {
            let Some(account) = self
                .providers
                .iter()
                .position(|link| link.provider.id == past.provider)
            else {
                continue;
            };
            let foreign = self
                .providers
                .get(account)
                .is_some_and(|link| link.provider.dialect.name != self.recognised.dialect.name);
            if let Some(said) = self
                .messages
                .get_mut(account)
                .and_then(Option::as_mut)
                .filter(|_| foreign && !past.reference.is_empty())
            {
                said.reference.clone_from(&past.reference);
            }
            let same = self.reference(account) == past.reference;
            if let Some(terms) = self.plan.accounts.get_mut(account) {
                terms.has_idempotency_key &= same && !past.reference.is_empty();
            }
        }
    }

    /// The backend's own request where the provider speaks it and has the same words approved; else the message anew.
    pub(super) fn request_body(
        &'a self,
        account: usize,
        link: &ProviderRuntime,
    ) -> Option<RequestBody<'a>> {
        let said = self.messages.get(account)?.as_ref();
        let same = said
            .zip(self.message.as_ref())
            .is_none_or(|(said, own)| said.text == own.text);
        if link.provider.dialect.name == self.recognised.dialect.name && same {
            return Some(RequestBody::Native(self.recognised, &self.context.request));
        }
        said.map(RequestBody::Translated)
    }
}

/// The message in the words this provider has approved; a bound call stays as the backend wrote it.
fn approved_message(
    call: &RequestContext,
    reading: &DecodedRequest,
    link: &ProviderRuntime,
    bound: bool,
) -> Option<Message> {
    let message = reading.message.as_ref()?;
    let approved = call
        .snapshot
        .templates
        .match_text(&message.text)
        .filter(|_| !bound);
    Some(approved.map_or_else(
        || message.clone(),
        |said| {
            said.message_for(
                message,
                link.provider.id.as_str(),
                &link.provider.dialect.name,
            )
        },
    ))
}

/// Backends give all their messages the same reference, or one that another service has seen before: where a
/// service would refuse that as a repeat, a translated message goes under a reference of ours.
fn assign_reference(said: &mut Option<Message>, theirs: &Dialect, spoken: &Dialect, own: &str) {
    if let Some(said) = said
        .as_mut()
        .filter(|_| theirs.name != spoken.name && theirs.detects_duplicates())
    {
        own.clone_into(&mut said.reference);
    }
}

fn build_plan(
    route: Option<&Route>,
    links: &[Arc<ProviderRuntime>],
    said: &[Option<Message>],
    reading: &DecodedRequest,
    spoken: &str,
) -> DeliveryPlan {
    let terms = |(link, said): (&Arc<ProviderRuntime>, &Option<Message>)| {
        let dialect = &link.provider.dialect;
        let (speaks, bound) = (dialect.name == spoken, reading.is_provider_specific());
        let too_many = dialect
            .batch_limit()
            .is_some_and(|most| reading.recipient_count > most);
        let skip = if too_many || (bound && !speaks) {
            Some(Cause::NotTranslatable)
        } else {
            link.skip_cause(said.as_ref(), speaks)
        };
        PlannedAccount {
            timeout: link.provider.timeout,
            has_idempotency_key: link.provider.dialect.idempotency_field().is_some(),
            skip_cause: skip,
        }
    };
    let attempts = route.map_or(DEFAULT_ATTEMPTS, |route| route.attempts);
    DeliveryPlan {
        accounts: links.iter().zip(said).map(terms).collect(),
        max_attempts_per_account: attempts,
        max_sends: attempts
            .saturating_add(1)
            .saturating_mul(links.len().max(1)),
        deadline: route.map_or(DEFAULT_DEADLINE, |route| route.deadline),
        retry_delay: DEFAULT_PAUSE,
        on_unknown: route.map_or(OnUnknown::Failover, |route| route.on_unknown),
    }
}
