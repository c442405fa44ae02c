//! Requests that end before any service is reached, because of what they ask for. The backend and the log
//! get a sentence that says what to do, made of our words, the config's and the dialect's alone.

use http::StatusCode;

use crate::diagnosis::{Denial, DenialReason, Diagnosis};
use crate::dialect::{
    Dialect, MessageResult, OperationFault, RecognisedRequest, Recognition, RequestFields,
    RequestReadError, UnlistedRequest,
};
use crate::policy::RecipientFault;
use crate::problem;
use crate::provider::diagnose::{diagnose_without_provider, local_input};
use crate::proxy::Proxy;
use crate::proxy::answer::{error_reply, plain_error_reply, unreadable_reply, with_cause_header};
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::sms::{AttemptKind, Cause, Operation, ProviderId, RequestResult};

impl Proxy {
    /// The request is at a provider's host, and is no operation that the dialect names.
    pub(super) fn deny_unlisted(unlisted: &UnlistedRequest) -> CompletedRequest {
        let dialect = &unlisted.dialect;
        match &unlisted.fault {
            None => Self::deny_unnamed_operation(dialect),
            Some(OperationFault::Unreadable(error)) => {
                Self::deny_unreadable(dialect, Operation::Other, error)
            }
            Some(fault @ OperationFault::UnlistedField(_)) => {
                let denial = DenialReason::UnlistedField.about(&dialect.name);
                Self::deny_other(dialect, denial.with_hint(fault.to_string()))
            }
            Some(fault @ (OperationFault::Ambiguous { .. } | OperationFault::Semicolon)) => {
                let denial = DenialReason::AmbiguousOperation.about(&dialect.name);
                Self::deny_other(dialect, denial.with_hint(fault.to_string()))
            }
        }
    }

    /// The dialect does not name the operation.
    pub(super) fn deny_unnamed_operation(dialect: &Dialect) -> CompletedRequest {
        let denial = DenialReason::UnlistedOperation
            .about(&dialect.name)
            .with_hint(format!("a message is `{}`", dialect.send_endpoint()));
        Self::deny_other(dialect, denial)
    }

    fn deny_other(dialect: &Dialect, denial: Denial) -> CompletedRequest {
        let (status, cause) = (StatusCode::FORBIDDEN, Cause::DeniedByPolicy);
        let reply = error_reply(dialect, status, cause, &denial.reply_text());
        let result = RequestResult::Denied;
        let completed =
            CompletedRequest::without_attempts(reply, Operation::Other, &dialect.name, result);
        CompletedRequest {
            cause: Some(cause),
            denial: Some(denial),
            ..completed
        }
    }

    /// Only the base-URL and unix entrypoints get here: at the others a foreign host is tunnelled or denied before.
    pub(super) fn deny_unknown_path(context: &RequestContext) -> CompletedRequest {
        let providers = &context.snapshot.providers;
        let names: Vec<&str> = providers.keys().map(ProviderId::as_str).collect();
        let dialects = providers
            .values()
            .map(|runtime| runtime.provider.dialect.name.as_str());
        // The suggestion is a name of the config; the path itself may contain a phone number.
        let suggestion = problem::closest_match(
            context.original_path.split('/').nth(1).unwrap_or_default(),
            names.iter().copied().chain(dialects),
        );
        let suggestion = suggestion
            .map(|name| format!("did you mean /{name}/?"))
            .unwrap_or_default();
        let denial = DenialReason::UnknownPath
            .about(&names.join(", "))
            .with_hint(suggestion);
        let text = denial.reply_text();
        let reply = plain_error_reply(StatusCode::NOT_FOUND, Cause::DeniedByPolicy, &text);
        CompletedRequest::denied(reply, denial)
    }

    /// The denial of a request whose tree would be too large to make; none if it is small enough, or passed unread.
    pub(super) fn deny_too_large(
        context: &RequestContext,
        recognition: &Recognition,
    ) -> Option<CompletedRequest> {
        let (dialect, operation) = match recognition {
            Recognition::Operation(found) => (&found.dialect, found.operation),
            Recognition::UnlistedOperation(unlisted) => (&unlisted.dialect, Operation::Other),
            Recognition::Unrecognised => return None,
        };
        let limit = context.request.count_values(&context.request.body).err()?;
        if context.snapshot.observes(dialect) {
            return None;
        }
        let reason = RequestReadError::TooLarge(limit).to_string();
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let reply = error_reply(dialect, status, Cause::DeniedByPolicy, &reason);
        let mut completed = CompletedRequest::without_attempts(
            reply,
            operation,
            &dialect.name,
            RequestResult::Denied,
        );
        completed.cause = Some(Cause::DeniedByPolicy);
        completed.denial = Some(DenialReason::BodyTooLarge.about(&reason));
        Some(completed)
    }

    /// A recipient cannot be sent to as it is written: the message's fault, and nothing is sent.
    pub(super) fn reject_recipient(
        &self,
        recognised: &RecognisedRequest,
        fields: &RequestFields,
        fault: &RecipientFault,
    ) -> CompletedRequest {
        let dialect = &recognised.dialect;
        let reason = fault.to_string();
        let cause = Cause::RecipientInvalid;
        let answer = MessageResult::Failed {
            in_doubt: false,
            cause,
            reason: &reason,
        };
        let reply = dialect.render_result(fields, None, &answer, self.clock.timestamp());
        let mut completed = CompletedRequest::without_attempts(
            with_cause_header(reply, cause),
            Operation::Send,
            &dialect.name,
            RequestResult::MessageRejected,
        );
        let failed = local_input(AttemptKind::Send, cause, Some(&reason));
        let diagnosis = diagnose_without_provider(&failed, &dialect.name, &self.config_path, true);
        completed.cause = Some(cause);
        completed.diagnosis = Some(Diagnosis {
            remedy: reason,
            ..diagnosis
        });
        completed
    }

    /// The dialect cannot read the send.
    pub(super) fn reject_unreadable(
        recognised: &RecognisedRequest,
        error: &RequestReadError,
    ) -> CompletedRequest {
        Self::deny_unreadable(&recognised.dialect, Operation::Send, error)
    }

    fn deny_unreadable(
        dialect: &Dialect,
        operation: Operation,
        error: &RequestReadError,
    ) -> CompletedRequest {
        let reply = unreadable_reply(dialect, error);
        let mut completed = CompletedRequest::without_attempts(
            reply,
            operation,
            &dialect.name,
            RequestResult::Denied,
        );
        completed.cause = Some(Cause::MessageInvalid);
        completed.denial = Some(DenialReason::UnreadableMessage.about(&dialect.name));
        completed
    }
}
