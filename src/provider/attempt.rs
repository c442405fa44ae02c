//! One attempt: get the credential, write or patch the request, exchange it, classify the reply.
//! Every failure on the way is an outcome of the attempt.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::clock::Moment;
use crate::diagnosis::Evidence;
use crate::dialect::{
    Classification, ProviderRequest, RecipientTexts, RecognisedRequest, Reply, Request,
    Untranslatable,
};
use crate::net::authority::Authority;
use crate::net::drain::ClientConnection;
use crate::net::upstream::ExchangeError;
use crate::policy::{Attempt, CredentialChoice, CredentialRevision};
use crate::provider::ProviderRuntime;
use crate::provider::auth_context::{AuthContext, AuthError};
use crate::provider::classification::{lost_classification, unsent_classification};
use crate::secret::Credential;
use crate::sms::{AttemptKind, Cause, Concern, Message, Outcome};

/// What an attempt sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestBody<'a> {
    /// The backend's own request, for a provider of the same dialect.
    Native(&'a RecognisedRequest, &'a Request),
    /// A request written from the message.
    Translated(&'a Message),
}

/// One attempt that is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptSpec<'a> {
    /// The provider's position in the delivery plan.
    pub(crate) account: usize,
    pub(crate) kind: AttemptKind,
    pub(crate) body: RequestBody<'a>,
    /// The message, if the request is one. Its reference is the id where the service returns none, and its text is
    /// removed from the log.
    pub(crate) message: Option<&'a Message>,
    /// The recipients of a request that is not one message. Their numbers are removed from the log.
    pub(crate) recipients: Option<&'a RecipientTexts>,
    /// What is left of the request's deadline; a send does not start with less than [`MIN_TIME_LEFT`].
    pub(crate) time_left: Duration,
    /// Whether it may use a credential that was rejected before.
    pub(crate) trial: bool,
    pub(crate) choice: CredentialChoice,
    /// The backend that it is made for: nothing is written for one that has hung up.
    pub(crate) backend: &'a ClientConnection,
}

/// One attempt that was made, and everything known about it.
#[derive(Debug)]
pub(crate) struct AttemptResult {
    pub(crate) runtime: Arc<ProviderRuntime>,
    pub(crate) kind: AttemptKind,
    pub(crate) attempt: Attempt,
    pub(crate) classification: Classification,
    /// What narrowed the classification at once.
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) status: Option<u16>,
    /// The provider's redacted reply, if it speaks the backend's dialect.
    pub(crate) native_reply: Option<Reply>,
    /// None: no request was made.
    pub(crate) method: Option<Method>,
    /// Where the request went, if not to the account's base URL; only in observe mode.
    pub(crate) other_authority: Option<Authority>,
    pub(crate) started_at: Moment,
    pub(crate) duration: Duration,
}

/// A send needs this much time, unless the provider's own `timeout` is shorter.
const MIN_TIME_LEFT: Duration = Duration::from_secs(1);

/// The part of an attempt's result that the exchange decides.
struct Exchange {
    classification: Classification,
    evidence: Vec<Evidence>,
    revision: CredentialRevision,
    reply: Option<Reply>,
    status: Option<u16>,
    method: Option<Method>,
}

impl ProviderRuntime {
    /// Makes the attempt; the caller counts it, once its cause is settled. After a rejection of the credential it reads
    /// the vault again, so that the next attempt has the newest version.
    pub(crate) async fn attempt(self: &Arc<Self>, spec: &AttemptSpec<'_>) -> AttemptResult {
        let started_at = self.deps.now();
        let authenticated = self
            .authenticate_for_attempt(spec.choice, spec.trial, spec.time_left)
            .await;
        let (exchange, credential) = match authenticated {
            Err(error) => (Exchange::without_auth(*error), None),
            Ok(auth) => {
                let elapsed = self.deps.now().since(started_at);
                let exchange = self.exchange(spec, &auth, elapsed).await;
                (exchange, Some(auth.credential))
            }
        };
        let duration = self.deps.now().since(started_at);
        let revision = self
            .update_auth_state(&exchange, credential, spec.trial)
            .await;
        let mut result = AttemptResult::new(
            self,
            spec.kind,
            exchange.classification,
            revision,
            started_at,
        );
        result.attempt.account = spec.account;
        result.evidence = exchange.evidence;
        result.status = exchange.status;
        result.native_reply = exchange.reply;
        result.method = exchange.method;
        result.duration = duration;
        result
    }

    /// Records an accepted or rejected credential. Returns the revision that the outcome is about.
    async fn update_auth_state(
        &self,
        exchange: &Exchange,
        credential: Option<Arc<Credential>>,
        trial: bool,
    ) -> CredentialRevision {
        let cause = exchange.classification.outcome.cause();
        match cause.map(Cause::concern) {
            Some(Concern::Credential) => {
                if exchange.status.is_some() {
                    self.token_cache().record_rejection(
                        exchange.revision.version,
                        exchange.classification.clone(),
                        self.deps.now(),
                    );
                }
                self.handle_rejection(exchange.revision).await
            }
            None => self.record_acceptance(exchange.revision, credential, trial),
            Some(_) => exchange.revision,
        }
    }

    async fn exchange(
        &self,
        spec: &AttemptSpec<'_>,
        auth: &AuthContext,
        elapsed: Duration,
    ) -> Exchange {
        let timeout = self.provider.timeout;
        let time_left = spec.time_left.saturating_sub(elapsed);
        let needs_time = spec.kind == AttemptKind::Send || !elapsed.is_zero();
        if needs_time && time_left < timeout.min(MIN_TIME_LEFT) {
            let reason = "waiting, or getting its credential or token, took the time that was left";
            return Exchange::unsent(auth, Cause::Timeout, reason.to_owned());
        }
        let request = match self.build_request(spec, auth) {
            Ok(request) => request,
            Err(Untranslatable { cause, reason }) => return Exchange::unsent(auth, cause, reason),
        };
        let method = Some(request.method.clone());
        let limit = timeout.min(time_left.max(MIN_TIME_LEFT));
        let began = self.deps.now();
        let exchange = match self.client.exchange_for(spec.backend, request, limit).await {
            Err(lost) => self.read_lost(auth, &lost),
            Ok(reply) => {
                let left = limit.saturating_sub(self.deps.now().since(began));
                let reply = self.redact(reply, auth, left.max(MIN_TIME_LEFT)).await;
                self.read_reply(spec, auth, reply)
            }
        };
        Exchange { method, ..exchange }
    }

    /// What an exchange without a readable reply proves.
    fn read_lost(&self, auth: &AuthContext, lost: &ExchangeError) -> Exchange {
        let mut classification = lost_classification(lost, &self.redactor(auth));
        let head = lost.head();
        let evidence = head.map(|head| self.narrow(&mut classification, head, auth));
        Exchange {
            evidence: evidence.unwrap_or_default(),
            status: head.map(|head| head.status.as_u16()),
            ..Exchange::without_reply(auth.revision, classification)
        }
    }

    /// Classifies and narrows a redacted reply: the provider's message goes to the log.
    fn read_reply(&self, spec: &AttemptSpec<'_>, auth: &AuthContext, reply: Reply) -> Exchange {
        let dialect = &self.provider.dialect;
        let mut classification =
            dialect.classify_for(spec.kind, &reply, spec.message, spec.recipients);
        let evidence = self.narrow(&mut classification, &reply, auth);
        let is_native = matches!(spec.body, RequestBody::Native(..));
        Exchange {
            classification,
            evidence,
            revision: auth.revision,
            status: Some(reply.status.as_u16()),
            reply: is_native.then_some(reply),
            method: None,
        }
    }

    fn build_request(
        &self,
        spec: &AttemptSpec<'_>,
        auth: &AuthContext,
    ) -> Result<ProviderRequest, Untranslatable> {
        let dialect = &self.provider.dialect;
        let account = self.as_client().account(auth);
        let now = self.deps.clock.timestamp();
        match spec.body {
            RequestBody::Native(recognised, request) => {
                dialect.patch(recognised, request, &account, now)
            }
            RequestBody::Translated(message) => dialect.write(message, &account, now),
        }
    }

    /// Why this provider cannot take the message (none: provider-specific request), as far as that is known without
    /// its credential. `speaks_dialect`: the backend speaks the provider's dialect.
    pub(crate) fn skip_cause(
        &self,
        message: Option<&Message>,
        speaks_dialect: bool,
    ) -> Option<Cause> {
        let Some(message) = message else {
            return (!speaks_dialect).then_some(Cause::NotTranslatable);
        };
        if self.provider.templates_only && message.template.is_none() {
            return Some(Cause::TemplateNotApproved);
        }
        let problem = self.provider.dialect.check_message(message).err()?;
        Some(problem.cause)
    }
}

impl Exchange {
    fn without_auth(error: AuthError) -> Self {
        let mut classification = error.classification;
        classification.provider_message = classification.provider_message.or(error.detail);
        Self::without_reply(error.revision, classification)
    }

    fn unsent(auth: &AuthContext, cause: Cause, reason: String) -> Self {
        let mut classification = unsent_classification(cause);
        classification.provider_message = Some(reason);
        Self::without_reply(auth.revision, classification)
    }

    fn without_reply(revision: CredentialRevision, classification: Classification) -> Self {
        Self {
            classification,
            evidence: Vec::new(),
            revision,
            reply: None,
            status: None,
            method: None,
        }
    }
}

impl AttemptResult {
    /// An attempt at the plan's first account that made no request and took no time.
    pub(crate) fn new(
        runtime: &Arc<ProviderRuntime>,
        kind: AttemptKind,
        classification: Classification,
        credential: CredentialRevision,
        started_at: Moment,
    ) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            kind,
            attempt: Attempt {
                account: 0,
                credential,
                outcome: classification.outcome.clone(),
                retry_after: classification.retry_after,
                ended: Duration::ZERO,
                inherited: false,
            },
            classification,
            evidence: Vec::new(),
            status: None,
            native_reply: None,
            method: None,
            other_authority: None,
            started_at,
            duration: Duration::ZERO,
        }
    }

    /// A send that this provider cannot take: `not-translatable`.
    pub(crate) fn skipped(runtime: &Arc<ProviderRuntime>, account: usize) -> Self {
        let mut result = Self::new(
            runtime,
            AttemptKind::Send,
            unsent_classification(Cause::NotTranslatable),
            runtime.newest_revision(),
            runtime.deps.now(),
        );
        result.attempt.account = account;
        result
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.attempt.outcome
    }
}
