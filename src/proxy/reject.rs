//! Calls that end before any service is asked, because of what they ask for: the backend gets a sentence with
//! what would do, and so does the log, in words of ours, of the config's and of the dialect's alone.

use http::StatusCode;

use crate::dialect::{Dialect, RecognisedRequest, RequestReadError};
use crate::problem;
use crate::proxy::Proxy;
use crate::proxy::answer::{error_reply, plain_error_reply, unreadable_reply};
use crate::proxy::request::{CompletedRequest, RequestContext};
use crate::sms::{Cause, Operation, ProviderId, RequestResult};

impl Proxy {
    pub(super) fn deny_unnamed_operation(dialect: &Dialect) -> CompletedRequest {
        let reason = format!(
            "this operation is not among those the sidecar lets through with its credentials: a message is `{}`, \
             `sms-sidecar dialects show {}` lists the others, `operations = [\"GET /…\"]` at the provider adds one",
            dialect.send_endpoint(),
            dialect.name
        );
        let reply = error_reply(
            dialect,
            StatusCode::FORBIDDEN,
            Cause::DeniedByPolicy,
            &reason,
        );
        let mut ended = CompletedRequest::without_attempts(
            reply,
            Operation::Other,
            &dialect.name,
            RequestResult::Denied,
        );
        (ended.cause, ended.remedy) = (Some(Cause::DeniedByPolicy), Some(reason));
        ended
    }

    /// Only the base URL and unix doors get here: at the others a foreign host is tunnelled or refused before.
    pub(super) fn deny_unknown_path(call: &RequestContext) -> CompletedRequest {
        let names: Vec<&str> = call
            .snapshot
            .providers
            .keys()
            .map(ProviderId::as_str)
            .collect();
        let spoken = call
            .snapshot
            .providers
            .values()
            .map(|link| link.provider.dialect.name.as_str());
        // Told by a name of the config's own: the path itself may hold a number.
        let meant = problem::closest_match(
            call.original_path.split('/').nth(1).unwrap_or_default(),
            names.iter().copied().chain(spoken),
        );
        let meant = meant
            .map(|name| format!("; did the backend mean /{name}/?"))
            .unwrap_or_default();
        let reason = format!(
            "nobody here is called by this path; it begins with /<provider or dialect>/, and the providers are {}{meant}",
            names.join(", ")
        );
        let reply = plain_error_reply(StatusCode::NOT_FOUND, Cause::DeniedByPolicy, &reason);
        let mut ended =
            CompletedRequest::without_attempts(reply, Operation::Other, "", RequestResult::Denied);
        (ended.dialect, ended.cause, ended.remedy) =
            (None, Some(Cause::DeniedByPolicy), Some(reason));
        ended
    }

    pub(super) fn reject_unreadable(
        seen: &RecognisedRequest,
        error: &RequestReadError,
    ) -> CompletedRequest {
        let reply = unreadable_reply(&seen.dialect, error);
        let mut ended = CompletedRequest::without_attempts(
            reply,
            Operation::Send,
            &seen.dialect.name,
            RequestResult::Denied,
        );
        ended.cause = Some(Cause::MessageInvalid);
        ended
    }
}
