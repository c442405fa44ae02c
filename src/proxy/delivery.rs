//! A message on its way: what the backend sent, which providers may take it, in which text, and by
//! which plan. Pure: `deliver` waits and acts.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{
    DecodedRequest, Dialect, RecipientTexts, RecognisedRequest, Request, RequestFields,
};
use crate::policy::{
    Attempt, DeliveryPlan, OnUnknown, PastAttempt, PlannedAccount, inherit_attempts,
};
use crate::provider::attempt::RequestBody;
use crate::provider::{Provider, ProviderRuntime};
use crate::proxy::provider_orders::OrderedProviders;
use crate::proxy::recipients::RoutedSend;
use crate::proxy::request::RequestContext;
use crate::proxy::snapshot::RoutedProviders;
use crate::proxy::{Mode, Route};
use crate::sms::{Cause, Message, Outcome};

/// Attempts at one provider, and pause between them, if no route sets them.
const DEFAULT_ATTEMPTS: usize = 2;
const DEFAULT_PAUSE: Duration = Duration::from_millis(200);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(8);
const DEFAULT_DUPLICATE_WINDOW: Duration = Duration::from_secs(10);

/// A message on its way.
pub(super) struct Delivery<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) recognised: &'a RecognisedRequest,
    /// The backend's request, its numbers in international form.
    pub(super) request: Cow<'a, Request>,
    pub(super) request_fields: RequestFields,
    /// None for a provider-specific request.
    pub(super) message: Option<Message>,
    pub(super) recipients: RecipientTexts,
    pub(super) provider_specific: bool,
    pub(super) route: Option<&'a Route>,
    /// In the order in which they are tried.
    pub(super) providers: OrderedProviders,
    /// Key for last-resort rate limiting: the route, else the dialect, else the pinned provider.
    pub(super) last_resort_key: Cow<'a, str>,
    /// For each provider the message in the text that it has approved. Most of them share one.
    pub(super) messages: Vec<Option<Arc<Message>>>,
    pub(super) plan: DeliveryPlan,
}

impl<'a> Delivery<'a> {
    /// `own_reference` takes the place of a reference that the backend did not give.
    pub(super) fn new(
        context: &'a RequestContext,
        recognised: &'a RecognisedRequest,
        send: RoutedSend<'a>,
        own_reference: &str,
    ) -> Self {
        let dialect = &recognised.dialect;
        let RoutedSend {
            request,
            decoded,
            routed: RoutedProviders {
                route, providers, ..
            },
        } = send;
        let messages = translated_messages(context, &decoded, &providers, dialect, own_reference);
        let accounts = plan_accounts(dialect, &providers, &messages, &decoded, own_reference);
        Self {
            context,
            recognised,
            request,
            provider_specific: decoded.is_provider_specific(),
            route,
            last_resort_key: last_resort_key(context, route, dialect),
            plan: build_plan(route, accounts),
            providers,
            messages,
            request_fields: decoded.fields,
            message: decoded.message,
            recipients: decoded.recipients,
        }
    }

    /// Whether the request is only observed.
    pub(super) fn is_observed(&self) -> bool {
        let default = self.context.snapshot.settings.mode;
        self.route.map_or(default, |route| route.mode) == Mode::Observe
    }

    /// The time limit of the whole request.
    pub(super) fn deadline(&self) -> Duration {
        self.plan.deadline
    }

    /// The attempts of an earlier request for the same message.
    pub(super) fn inherited_attempts(&self, history: &[PastAttempt]) -> Vec<Attempt> {
        if history.is_empty() {
            return Vec::new();
        }
        let ids = self.providers.iter().map(|it| it.provider.id.clone());
        inherit_attempts(history, &ids.collect::<Vec<_>>())
    }

    /// The provider that a cause without an attempt is about: the first that could have been tried, or that was
    /// skipped for this cause.
    pub(super) fn provider_for_cause(&self, cause: Cause) -> Option<&Arc<ProviderRuntime>> {
        self.providers
            .iter()
            .zip(&self.plan.accounts)
            .find(|(_, account)| account.skip_cause.is_none_or(|skip| skip == cause))
            .map(|(runtime, _)| runtime)
    }

    /// How long after its answer the same message counts as a duplicate.
    pub(super) fn duplicate_window(&self) -> Duration {
        self.route
            .map_or(DEFAULT_DUPLICATE_WINDOW, |route| route.duplicate_window)
    }

    /// The reference under which this provider gets the message; empty: none.
    pub(super) fn reference(&self, account: usize) -> &str {
        self.messages
            .get(account)
            .and_then(Option::as_ref)
            .map_or("", |message| &message.reference)
    }

    /// Takes over the references of earlier attempts in doubt: a service that recognises a duplicate by its reference
    /// does so only under the same one.
    pub(super) fn inherit_history(&mut self, history: &[PastAttempt]) {
        let is_in_doubt = |past: &&PastAttempt| matches!(past.outcome, Outcome::Unknown(_));
        for past in history.iter().filter(is_in_doubt) {
            let position = self
                .providers
                .iter()
                .position(|runtime| runtime.provider.id == past.provider);
            if let Some(account) = position {
                self.inherit_reference(account, &past.reference);
            }
        }
    }

    fn inherit_reference(&mut self, account: usize, reference: &str) {
        let is_translated = self
            .providers
            .get(account)
            .is_some_and(|runtime| !self.is_native(runtime));
        let message = self.messages.get_mut(account).and_then(Option::as_mut);
        if let Some(message) = message.filter(|_| is_translated && !reference.is_empty()) {
            reference.clone_into(&mut Arc::make_mut(message).reference);
        }
        let is_same = self.reference(account) == reference && !reference.is_empty();
        if let Some(account) = self.plan.accounts.get_mut(account) {
            account.has_idempotency_key &= is_same;
        }
    }

    /// The backend's own request, if the provider speaks its dialect and has the same text approved; otherwise the
    /// message. None: this provider cannot take it.
    pub(super) fn request_body(
        &'a self,
        account: usize,
        runtime: &ProviderRuntime,
    ) -> Option<RequestBody<'a>> {
        let message = self.messages.get(account)?.as_ref();
        let has_same_text = message
            .zip(self.message.as_ref())
            .is_none_or(|(message, original)| message.text == original.text);
        if self.is_native(runtime) && has_same_text {
            return Some(RequestBody::Native(self.recognised, &self.request));
        }
        message.map(|message| RequestBody::Translated(message))
    }

    /// Whether the provider speaks the backend's dialect.
    fn is_native(&self, runtime: &ProviderRuntime) -> bool {
        runtime.provider.dialect.name == self.recognised.dialect.name
    }
}

fn last_resort_key<'a>(
    context: &RequestContext,
    route: Option<&'a Route>,
    dialect: &'a Dialect,
) -> Cow<'a, str> {
    match (&context.pinned_provider, route) {
        // No route and no dialect has such a name.
        (Some(pinned), _) => Cow::Owned(format!("={pinned}")),
        (None, Some(route)) => Cow::Borrowed(route.name.as_str()),
        (None, None) => Cow::Borrowed(dialect.name.as_str()),
    }
}

/// For each provider the message in its approved text, under the reference that it can take; a provider-specific request
/// keeps its own text.
fn translated_messages(
    context: &RequestContext,
    decoded: &DecodedRequest,
    providers: &[Arc<ProviderRuntime>],
    dialect: &Dialect,
    own_reference: &str,
) -> Vec<Option<Arc<Message>>> {
    let Some(message) = &decoded.message else {
        return vec![None; providers.len()];
    };
    let templates = &context.snapshot.templates;
    let template = Some(&message.text)
        .filter(|_| !decoded.is_provider_specific())
        .and_then(|text| templates.match_text(text));
    let with_own_reference = |mut message: Message| {
        own_reference.clone_into(&mut message.reference);
        Arc::new(message)
    };
    let as_written = Arc::new(message.clone());
    let referenced = LazyCell::new(|| with_own_reference(message.clone()));
    let translate = |runtime: &Arc<ProviderRuntime>| {
        // Backends give all their messages the same reference, or one that another service has seen before. If the
        // service would reject that as a duplicate, a translated message gets a reference of ours.
        let Provider {
            id, dialect: own, ..
        } = &runtime.provider;
        let needs_reference = own.name != dialect.name && own.detects_duplicates();
        match &template {
            Some(template) => {
                let message = template.message_for(message, id.as_str(), &own.name);
                if needs_reference {
                    with_own_reference(message)
                } else {
                    Arc::new(message)
                }
            }
            None if needs_reference => Arc::clone(&referenced),
            None => Arc::clone(&as_written),
        }
    };
    providers.iter().map(|it| Some(translate(it))).collect()
}

fn plan_accounts(
    dialect: &Dialect,
    providers: &[Arc<ProviderRuntime>],
    messages: &[Option<Arc<Message>>],
    decoded: &DecodedRequest,
    own_reference: &str,
) -> Vec<PlannedAccount> {
    let has_own_reference = decoded
        .message
        .as_ref()
        .is_some_and(|message| message.reference != own_reference);
    let accounts = providers.iter().zip(messages);
    let planned = accounts.map(|(runtime, message)| {
        let is_native = runtime.provider.dialect.name == dialect.name;
        // A native request carries a reference only if the backend gave one.
        let has_reference = has_own_reference || !is_native;
        PlannedAccount {
            timeout: runtime.provider.timeout,
            has_idempotency_key: has_reference
                && runtime.provider.dialect.idempotency_field().is_some(),
            skip_cause: skip_cause(runtime, message.as_deref(), decoded, is_native),
        }
    });
    planned.collect()
}

/// Why the plan skips this provider, if it does.
fn skip_cause(
    runtime: &ProviderRuntime,
    message: Option<&Message>,
    decoded: &DecodedRequest,
    is_native: bool,
) -> Option<Cause> {
    let has_too_many_recipients = runtime
        .provider
        .dialect
        .batch_limit()
        .is_some_and(|limit| decoded.recipient_count > limit);
    if has_too_many_recipients || (decoded.is_provider_specific() && !is_native) {
        Some(Cause::NotTranslatable)
    } else {
        runtime.skip_cause(message, is_native)
    }
}

fn build_plan(route: Option<&Route>, accounts: Vec<PlannedAccount>) -> DeliveryPlan {
    let attempts = route.map_or(DEFAULT_ATTEMPTS, |route| route.attempts);
    DeliveryPlan {
        max_attempts_per_account: attempts,
        max_sends: attempts
            .saturating_add(1)
            .saturating_mul(accounts.len().max(1)),
        accounts,
        deadline: route.map_or(DEFAULT_DEADLINE, |route| route.deadline),
        retry_delay: DEFAULT_PAUSE,
        on_unknown: route.map_or(OnUnknown::Failover, |route| route.on_unknown),
    }
}
