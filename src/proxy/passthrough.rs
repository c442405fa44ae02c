//! Calls that are no message: a login (answered here), a status of an id of ours (answered
//! from memory), everything else a dialect names (passed with the credential in, one
//! attempt), and whatever observe mode passes as it came.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::diagnosis::Diagnosis;
use crate::dialect::{Dialect, ProviderRequest, RecognisedRequest, Reply, RequestFields};
use crate::net::authority::Authority;
use crate::policy::Attempt;
use crate::provider::attempt::{AttemptResult, AttemptSpec, RequestBody};
use crate::provider::redact::Redactor;
use crate::provider::{ProviderRuntime, lost_classification};
use crate::proxy::Proxy;
use crate::proxy::answer::{error_reply, filter_headers};
use crate::proxy::authz::presented_in_dialect;
use crate::proxy::delivery::Delivery;
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::sms::{AttemptKind, Cause, Concern, Family, Operation, Outcome, RequestResult};
use crate::telemetry::{AttemptFinished, LastSendOutcome};

/// How long a call that is no message of ours may take, its login included.
const PASSTHROUGH_TIMEOUT: Duration = Duration::from_secs(30);

impl Proxy {
    /// The backend's own login gets a placeholder: it never holds a real token.
    pub(super) fn answer_login(&self, seen: &RecognisedRequest) -> CompletedRequest {
        let reply = seen
            .dialect
            .render_login(seen, &RequestFields::default(), self.wall());
        CompletedRequest::without_attempts(
            reply,
            Operation::Login,
            &seen.dialect.name,
            RequestResult::AnsweredLocally,
        )
    }

    /// A status question: about an id of ours it is answered here, about theirs it is carried.
    pub(super) async fn answer_status(
        &self,
        call: &RequestContext,
        seen: &RecognisedRequest,
    ) -> CompletedRequest {
        let asked = seen
            .dialect
            .read(seen, &call.request, "")
            .map(|reading| reading.fields)
            .unwrap_or_default();
        let Some(real) = seen
            .dialect
            .queried_id(seen, &asked)
            .and_then(|id| self.deduplicator.resolve_id(&id))
        else {
            return self.pass_through(call, seen).await;
        };
        let reply = seen.dialect.render_status(seen, &asked, &real.id, self.wall()).unwrap_or_else(|| {
            let reason = "another service delivered this message, and this dialect has no words for what became of it";
            error_reply(&seen.dialect, StatusCode::NOT_FOUND, Cause::NotTranslatable, reason)
        });
        CompletedRequest::without_attempts(
            reply,
            Operation::Status,
            &seen.dialect.name,
            RequestResult::AnsweredLocally,
        )
    }

    /// One attempt through one account; a failure that is not the call's own is a 502.
    pub(super) async fn pass_through(
        &self,
        call: &RequestContext,
        seen: &RecognisedRequest,
    ) -> CompletedRequest {
        let Some(link) = call.snapshot.passthrough_provider(
            call.named_provider.as_ref(),
            &seen.dialect,
            |link| seen.is_allowed_by(&link.provider.operations),
        ) else {
            return Self::no_provider(&seen.dialect, seen.operation);
        };
        if let Some(cause) = self.health.rejected_credential(&link, self.now()) {
            return Self::not_passed_through(seen, cause);
        }
        let say = RequestBody::Native(seen, &call.request);
        let task = AttemptSpec {
            account: 0,
            kind: AttemptKind::Passthrough,
            body: say,
            message: None,
            time_left: PASSTHROUGH_TIMEOUT,
            trial: false,
        };
        let tried = link.attempt(&task).await;
        let cause = tried.outcome().cause();
        self.record_credential_rejection(&tried);
        let theirs =
            cause.is_none_or(|cause| !matches!(cause.family(), Family::Account | Family::Ours));
        let reply = match tried.native_reply.clone().filter(|reply| {
            theirs && !reply.status.is_server_error() && reply.status != StatusCode::UNAUTHORIZED
        }) {
            Some(reply) => filter_headers(reply),
            None => Self::bad_gateway(&seen.dialect, cause.unwrap_or(Cause::Unexplained)),
        };
        let mut ended = CompletedRequest::without_attempts(
            reply,
            seen.operation,
            &seen.dialect.name,
            RequestResult::PassedThrough,
        );
        ended.cause = cause;
        ended.diagnosis = self.diagnose(&tried);
        ended.attempts = vec![tried];
        ended
    }

    /// What a carried call says of the credential holds for every other call; what it says of this one operation
    /// (a right that the key lacks, a balance nobody may read) does not.
    fn record_credential_rejection(&self, tried: &AttemptResult) {
        if tried
            .outcome()
            .cause()
            .is_some_and(|cause| cause.concern() == Concern::Credential)
        {
            self.health.record_attempt(
                &tried.runtime,
                &tried.attempt,
                self.diagnose(tried),
                self.now(),
            );
            self.queue_if_ambiguous(tried);
        }
    }

    fn not_passed_through(seen: &RecognisedRequest, cause: Cause) -> CompletedRequest {
        let reply = Self::bad_gateway(&seen.dialect, cause);
        let mut ended = CompletedRequest::without_attempts(
            reply,
            seen.operation,
            &seen.dialect.name,
            RequestResult::PassedThrough,
        );
        ended.cause = Some(cause);
        ended
    }

    /// The backend's own request to the host it named, once, and the reply back as it is.
    pub(super) async fn observe(
        &self,
        call: &RequestContext,
        dialect: &Dialect,
        operation: Operation,
        sending: Option<&Delivery<'_>>,
    ) -> CompletedRequest {
        let Some(link) =
            call.snapshot
                .passthrough_provider(call.named_provider.as_ref(), dialect, |_| true)
        else {
            return Self::no_provider(dialect, operation);
        };
        let kind = if operation == Operation::Send {
            AttemptKind::Send
        } else {
            AttemptKind::Passthrough
        };
        let said = sending.and_then(|sending| sending.message.as_ref());
        let (mut tried, reply) = self
            .observe_exchange(
                call,
                &link,
                kind,
                said.map_or("", |message| &message.reference),
            )
            .await;
        if let Some(message) = said {
            tried.classification.redact_text(message.text.expose());
        }
        let reply = reply.unwrap_or_else(|| Self::lost_reply(dialect, tried.outcome()));
        let verdict = if kind == AttemptKind::Send {
            observed_result(tried.outcome())
        } else {
            RequestResult::PassedThrough
        };
        let mut ended =
            CompletedRequest::without_attempts(reply, operation, &dialect.name, verdict);
        ended.cause = tried.outcome().cause();
        ended.diagnosis = self
            .diagnose(&tried)
            .map(|diagnosis| Self::correct_endpoint_remedy(diagnosis, call, dialect, operation));
        // Another request than a message says nothing of messages, unless it was to be one.
        let message = kind == AttemptKind::Send
            && ended
                .cause
                .is_none_or(|cause| cause.family() != Family::Message);
        let misplaced = operation == Operation::Other && ended.cause == Some(Cause::EndpointWrong);
        if message || misplaced {
            LastSendOutcome {
                provider: &link.provider.id,
                diagnosis: ended.diagnosis.as_ref(),
            }
            .emit(&self.telemetry);
        }
        ended.route = sending
            .and_then(|sending| sending.route)
            .map(|route| route.name.clone());
        ended.recipient = said.map(|message| message.recipient.clone());
        ended.attempts = vec![tried];
        ended
    }

    /// What the backend asks at another path than the dialect's is no fault of the config: `base_url` is right, and
    /// the backend's own is not.
    fn correct_endpoint_remedy(
        diagnosis: Diagnosis,
        call: &RequestContext,
        dialect: &Dialect,
        operation: Operation,
    ) -> Diagnosis {
        if operation != Operation::Other || diagnosis.cause != Cause::EndpointWrong {
            return diagnosis;
        }
        let send = dialect.send_endpoint();
        let asked = format!(
            "{} {}",
            call.request.method,
            redact_path(&call.request.path, &send)
        );
        let remedy = format!(
            "the backend asked {asked}; {}'s message is {send}: correct the backend's base URL",
            diagnosis.provider
        );
        Diagnosis {
            remedy,
            ..diagnosis
        }
    }

    async fn observe_exchange(
        &self,
        call: &RequestContext,
        link: &Arc<ProviderRuntime>,
        kind: AttemptKind,
        reference: &str,
    ) -> (AttemptResult, Option<Reply>) {
        let began = self.now();
        let outgoing = unchanged_request(call, link);
        let method = outgoing.as_ref().map(|outgoing| outgoing.method.clone());
        let (finding, reply) = match outgoing {
            None => (
                crate::provider::unsent_classification(Cause::EndpointWrong),
                None,
            ),
            Some(outgoing) => match link
                .client
                .exchange_without_credentials(outgoing, PASSTHROUGH_TIMEOUT)
                .await
            {
                Err(lost) => (lost_classification(&lost), None),
                Ok(reply) => {
                    let given = presented_in_dialect(&link.provider.dialect, &call.request);
                    let seen = Redactor::new(
                        given
                            .iter()
                            .map(String::as_str)
                            .filter(|value| value.len() >= 8),
                    )
                    .redact_reply(reply.clone());
                    (
                        link.provider.dialect.classify(kind, &seen, reference),
                        Some(reply),
                    )
                }
            },
        };
        let took = self.now().since(began);
        let status = reply.as_ref().map(|reply| reply.status.as_u16());
        AttemptFinished {
            provider: &link.provider.id,
            kind,
            outcome: &finding.outcome,
            status,
            duration: took,
        }
        .emit(&self.telemetry);
        let outcome = finding.outcome.clone();
        let (credential, wait) = (link.newest_revision(), finding.retry_after);
        let attempt = Attempt {
            account: 0,
            credential,
            outcome,
            retry_after: wait,
            ended: took,
            inherited: false,
        };
        let (link, learned, elsewhere) = (Arc::clone(link), Vec::new(), call.authority().cloned());
        (
            AttemptResult {
                runtime: link,
                kind,
                attempt,
                classification: finding,
                evidence: learned,
                status,
                native_reply: None,
                method,
                other_authority: elsewhere,
                started_at: began,
                duration: took,
            },
            reply,
        )
    }

    fn no_provider(dialect: &Dialect, operation: Operation) -> CompletedRequest {
        let reason = format!("no provider of dialect {} is configured", dialect.name);
        let reply = error_reply(
            dialect,
            StatusCode::SERVICE_UNAVAILABLE,
            Cause::NoProvider,
            &reason,
        );
        let mut ended = CompletedRequest::without_attempts(
            reply,
            operation,
            &dialect.name,
            RequestResult::Denied,
        );
        ended.cause = Some(Cause::NoProvider);
        ended
    }

    /// The backend's own request went out, and no reply came back.
    fn lost_reply(dialect: &Dialect, outcome: &Outcome) -> Reply {
        let cause = outcome.cause().unwrap_or(Cause::Unexplained);
        match outcome {
            Outcome::Unknown(_) => {
                let reason = "the service may have taken it, but its answer was lost; the sidecar's log says why";
                error_reply(dialect, StatusCode::GATEWAY_TIMEOUT, cause, reason)
            }
            Outcome::Accepted { .. } | Outcome::Rejected(_) | Outcome::Unsent(_) => {
                Self::bad_gateway(dialect, cause)
            }
        }
    }

    fn bad_gateway(dialect: &Dialect, cause: Cause) -> Reply {
        let reason = "the service could not be asked; the sidecar's log says why";
        error_reply(dialect, StatusCode::BAD_GATEWAY, cause, reason)
    }
}

/// A path of the backend's for the log: what the dialect does not say itself may be a number or a secret.
fn redact_path(path: &str, send: &str) -> String {
    let own = |word: &&str| send.split(['/', ' ']).any(|own| own == *word);
    path.split('/')
        .map(|word| {
            Some(word)
                .filter(own)
                .or(word.is_empty().then_some(""))
                .unwrap_or("…")
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn observed_result(outcome: &Outcome) -> RequestResult {
    match outcome {
        Outcome::Accepted { .. } => RequestResult::Accepted,
        Outcome::Rejected(cause) if cause.family() == Family::Message => {
            RequestResult::MessageRejected
        }
        Outcome::Rejected(_) | Outcome::Unsent(_) => RequestResult::NotSent,
        Outcome::Unknown(_) => RequestResult::InDoubt,
    }
}

/// To the host and path the backend named; at the base URL door, to the provider's own.
fn unchanged_request(call: &RequestContext, link: &ProviderRuntime) -> Option<ProviderRequest> {
    let address = match call.authority() {
        Some(Authority { scheme, host, port }) => format!(
            "{}://{}:{port}{}",
            scheme.as_str(),
            bracket_ipv6(host),
            call.original_path
        ),
        None => account_url(&call.request.path, link)?,
    };
    let query = call
        .request
        .query
        .as_ref()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let url = format!("{address}{query}").parse().ok()?;
    let (method, headers, body) = (
        call.request.method.clone(),
        call.request.headers.clone(),
        call.request.body.clone(),
    );
    Some(ProviderRequest {
        method,
        url,
        headers,
        body,
    })
}

fn bracket_ipv6(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// The path, which may be under the description's base, under the provider's own.
fn account_url(path: &str, link: &ProviderRuntime) -> Option<String> {
    let own = &link.provider.base_url;
    match path.strip_prefix(url_path(link.provider.dialect.base_url())?.as_str()) {
        Some(rest) => Some(format!("{}{rest}", own.trim_end_matches('/'))),
        None => Some(format!("{}{path}", origin(own)?)),
    }
}

fn url_path(url: &str) -> Option<String> {
    Some(
        url.parse::<http::Uri>()
            .ok()?
            .path()
            .trim_end_matches('/')
            .to_owned(),
    )
}

fn origin(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}
