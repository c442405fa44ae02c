//! One attempt: a credential, the request written or patched, the exchange, the finding.
//! It always comes to an outcome; what it could not do is an outcome, too.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::Method;

use crate::clock::Moment;
use crate::diagnosis::Evidence;
use crate::dialect::{
    Classification, ProviderRequest, RecognisedRequest, Reply, Request, Untranslatable,
};
use crate::net::authority::Authority;
use crate::policy::{Attempt, CredentialRevision};
use crate::provider::auth::{AuthContext, AuthError};
use crate::provider::redact::Redactor;
use crate::provider::{ProviderRuntime, lost_classification, unsent_classification};
use crate::sms::{AttemptKind, Cause, Concern, Message, Outcome};
use crate::telemetry::AttemptFinished;

/// What is to be sent, seen from one provider.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestBody<'a> {
    /// The backend's own request, in the provider's own dialect.
    Native(&'a RecognisedRequest, &'a Request),
    /// The message, written anew.
    Translated(&'a Message),
}

/// One attempt and all that is known of it.
#[derive(Debug)]
pub(crate) struct AttemptResult {
    pub(crate) runtime: Arc<ProviderRuntime>,
    pub(crate) kind: AttemptKind,
    pub(crate) attempt: Attempt,
    pub(crate) classification: Classification,
    /// What else was known of it at once.
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) status: Option<u16>,
    /// What the provider said in the backend's own dialect, our secrets masked.
    pub(crate) native_reply: Option<Reply>,
    /// How it was asked; none: it came to no request.
    pub(crate) method: Option<Method>,
    /// Where, if not at the account's own address: only what is observed goes elsewhere.
    pub(crate) other_authority: Option<Authority>,
    pub(crate) started_at: Moment,
    pub(crate) duration: Duration,
}

/// One attempt to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptSpec<'a> {
    pub(crate) account: usize,
    pub(crate) kind: AttemptKind,
    pub(crate) body: RequestBody<'a>,
    /// The message, where it is one: its reference stands for services that give no id of their own, and its words are
    /// for no log.
    pub(crate) message: Option<&'a Message>,
    /// What the call has left; a send that would begin with too little of it does not.
    pub(crate) time_left: Duration,
    pub(crate) trial: bool,
}

impl<'a> AttemptSpec<'a> {
    fn reference(&self) -> &'a str {
        self.message
            .map_or("", |message| message.reference.as_str())
    }
}

/// No send begins with less than this left, unless its own time limit is shorter.
const MIN_TIME_LEFT: Duration = Duration::from_secs(1);

/// What came of an attempt before it is measured.
struct Exchange {
    classification: Classification,
    evidence: Vec<Evidence>,
    revision: CredentialRevision,
    reply: Option<Reply>,
    status: Option<u16>,
    method: Option<Method>,
}

impl ProviderRuntime {
    /// Makes the attempt, counts it, and renews what was refused so that the next may heal.
    pub(crate) async fn attempt(self: &Arc<Self>, task: &AttemptSpec<'_>) -> AttemptResult {
        let began = self.deps.now();
        let mut came = match self
            .authenticate_for_attempt(task.trial, task.time_left)
            .await
        {
            Err(none) => {
                let AuthError {
                    classification: mut finding,
                    revision: held,
                    detail,
                } = *none;
                finding.provider_message = finding.provider_message.or(detail);
                Exchange {
                    classification: finding,
                    evidence: Vec::new(),
                    revision: held,
                    reply: None,
                    status: None,
                    method: None,
                }
            }
            Ok(pass) => {
                self.exchange(task, &pass, self.deps.now().since(began))
                    .await
            }
        };
        let took = self.deps.now().since(began);
        AttemptFinished {
            provider: &self.provider.id,
            kind: task.kind,
            outcome: &came.classification.outcome,
            status: came.status,
            duration: took,
        }
        .emit(&self.deps.telemetry);
        match came.classification.outcome.cause().map(Cause::concern) {
            Some(Concern::Credential) => {
                if came.status.is_some() {
                    self.token_cache().record_rejection(
                        came.revision.version,
                        came.classification.clone(),
                        self.deps.now(),
                    );
                }
                came.revision = self.handle_rejection(came.revision).await;
            }
            None => came.revision = self.record_acceptance(came.revision, task.trial),
            Some(_) => {}
        }
        let attempt = Attempt {
            account: task.account,
            credential: came.revision,
            outcome: came.classification.outcome.clone(),
            retry_after: came.classification.retry_after,
            ended: Duration::ZERO,
            inherited: false,
        };
        let Exchange {
            classification: finding,
            evidence: learned,
            reply: native,
            status,
            method,
            ..
        } = came;
        let (link, elsewhere) = (Arc::clone(self), None);
        AttemptResult {
            runtime: link,
            kind: task.kind,
            attempt,
            classification: finding,
            evidence: learned,
            status,
            native_reply: native,
            method,
            other_authority: elsewhere,
            started_at: began,
            duration: took,
        }
    }

    async fn exchange(
        &self,
        task: &AttemptSpec<'_>,
        pass: &AuthContext,
        gone: Duration,
    ) -> Exchange {
        let came = |finding, method| Exchange {
            classification: finding,
            evidence: Vec::new(),
            revision: pass.revision,
            reply: None,
            status: None,
            method,
        };
        let (timeout, left) = (self.provider.timeout, task.time_left.saturating_sub(gone));
        if !gone.is_zero() && left < timeout.min(MIN_TIME_LEFT) {
            let mut finding = unsent_classification(Cause::Timeout);
            finding.provider_message =
                Some("getting its credential or token took the time that was left".to_owned());
            return came(finding, None);
        }
        let outgoing = match self.build_request(task, pass) {
            Ok(outgoing) => outgoing,
            Err(Untranslatable { cause, reason: why }) => {
                let mut finding = unsent_classification(cause);
                finding.provider_message = Some(why);
                return came(finding, None);
            }
        };
        let method = Some(outgoing.method.clone());
        match self
            .client
            .exchange(outgoing, timeout.min(left.max(MIN_TIME_LEFT)))
            .await
        {
            Err(lost) => came(lost_classification(&lost), method),
            Ok(reply) => {
                // First of all: its words go to the log, too.
                let reply = self.redact(reply, pass);
                let mut finding =
                    self.provider
                        .dialect
                        .classify(task.kind, &reply, task.reference());
                if let Some(message) = task.message {
                    finding.redact_text(message.text.expose());
                }
                let (learned, status) = (
                    self.narrow(&mut finding, &reply, pass),
                    Some(reply.status.as_u16()),
                );
                Exchange {
                    classification: finding,
                    evidence: learned,
                    revision: pass.revision,
                    status,
                    method,
                    reply: matches!(task.body, RequestBody::Native(..)).then_some(reply),
                }
            }
        }
    }

    fn build_request(
        &self,
        task: &AttemptSpec<'_>,
        pass: &AuthContext,
    ) -> Result<ProviderRequest, Untranslatable> {
        let (account, now) = (self.account(pass), self.deps.wall());
        match task.body {
            RequestBody::Native(seen, request) => {
                self.provider.dialect.patch(seen, request, &account, now)
            }
            RequestBody::Translated(message) => self.provider.dialect.write(message, &account, now),
        }
    }

    /// What a provider says, our secrets masked. One mask serves until another credential or token is used.
    pub(crate) fn redact(&self, reply: Reply, pass: &AuthContext) -> Reply {
        let mut kept = self.redactor.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = match kept.as_ref().filter(|(held, _)| *held == pass.revision) {
            Some((_, mask)) => Arc::clone(mask),
            None => Arc::clone(
                &kept
                    .insert((pass.revision, Arc::new(self.redactor_for(pass))))
                    .1,
            ),
        };
        drop(kept);
        mask.redact_reply(reply)
    }

    fn redactor_for(&self, pass: &AuthContext) -> Redactor {
        let public = |name: &str| {
            self.provider
                .dialect
                .credential_fields()
                .iter()
                .any(|field| field.public && field.name == name)
        };
        let secrets = pass
            .credential
            .field_names()
            .filter(|name| !public(name))
            .filter_map(|name| pass.credential.expose(name));
        let token = pass.token.iter().flat_map(|token| token.maskable());
        Redactor::new(secrets.filter(|value| value.len() >= 8).chain(token))
    }

    /// Whether what it would say of a message is known not to fit, before a credential is touched.
    pub(crate) fn skip_cause(&self, message: Option<&Message>, speaks: bool) -> Option<Cause> {
        match message {
            None if !speaks => Some(Cause::NotTranslatable),
            None => None,
            Some(message) if self.provider.templates_only && message.template.is_none() => {
                Some(Cause::TemplateNotApproved)
            }
            Some(message) => self
                .provider
                .dialect
                .check_message(message)
                .err()
                .map(|problem| problem.cause),
        }
    }
}

impl AttemptResult {
    pub(crate) fn outcome(&self) -> &Outcome {
        &self.attempt.outcome
    }
}
