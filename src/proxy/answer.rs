//! What the backend gets: the one map from results, unreadable requests and our own denials to HTTP. The
//! reply is in the backend's dialect if one was recognised, and never a provider's 401.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use crate::clock::Moment;
use crate::dialect::{Dialect, MessageResult, Reply, RequestReadError};
use crate::policy::{MAX_ID_BYTES, MappedId};
use crate::provider::attempt::AttemptResult;
use crate::proxy::Proxy;
use crate::proxy::delivery::Delivery;
use crate::proxy::request::CompletedRequest;
use crate::sms::{AttemptKind, Cause, Family, Operation, Outcome, RequestResult};

/// `Retry-After` of a 503 that has none, in seconds.
const RETRY_AFTER_SECONDS: &str = "5";

/// The largest reply that is kept as it is. The duplicate of a message with a larger one gets the same result, rendered.
const MAX_CACHED_REPLY: usize = 4 << 10;

/// The answer to a message, for its duplicates.
#[derive(Clone, Debug)]
pub(super) struct CachedResponse {
    pub(super) result: RequestResult,
    pub(super) cause: Option<Cause>,
    /// Empty if the service gave none, or one too long to be remembered.
    id: String,
    /// For a duplicate in the same dialect; none if it is too large to be remembered.
    reply: Option<Reply>,
    dialect: Option<String>,
    /// When the message was answered.
    pub(super) answered_at: Moment,
}

impl CachedResponse {
    pub(super) fn from_completed(completed: &CompletedRequest, answered_at: Moment) -> Self {
        let id = completed
            .accepted_attempt()
            .map(accepted_id)
            .filter(|id| id.len() <= MAX_ID_BYTES)
            .unwrap_or_default();
        let reply = Some(&completed.reply).filter(|reply| reply_bytes(reply) <= MAX_CACHED_REPLY);
        Self {
            result: completed.result,
            cause: completed.cause,
            id,
            reply: reply.map(detached),
            dialect: completed.dialect.clone(),
            answered_at,
        }
    }

    /// The bytes that it keeps.
    pub(super) fn bytes(&self) -> usize {
        let dialect = self.dialect.as_ref().map_or(0, String::len);
        size_of::<Self>() + self.id.len() + dialect + self.reply.as_ref().map_or(0, reply_bytes)
    }

    /// The same answer, in the duplicate's dialect.
    fn reply_for(&self, delivery: &Delivery<'_>, now: Timestamp) -> Reply {
        let dialect = &delivery.recognised.dialect;
        let is_same = self.dialect.as_deref() == Some(&dialect.name);
        if let Some(reply) = self.reply.as_ref().filter(|_| is_same) {
            return reply.clone();
        }
        let answer = if self.result == RequestResult::Accepted {
            let own = delivery.message.as_ref();
            MessageResult::Accepted {
                id: match self.id.as_str() {
                    "" => own.map_or("", |message| &message.reference),
                    id => id,
                },
            }
        } else {
            failure_answer(self.result, self.cause.unwrap_or(Cause::Unexplained))
        };
        dialect.render_result(
            &delivery.request_fields,
            delivery.message.as_ref(),
            &answer,
            now,
        )
    }

    /// The answer to a duplicate of the message.
    pub(super) fn replay(
        &self,
        delivery: &Delivery<'_>,
        wall_clock: Timestamp,
        now: Moment,
    ) -> CompletedRequest {
        let mut completed = CompletedRequest::without_attempts(
            self.reply_for(delivery, wall_clock),
            Operation::Send,
            &delivery.recognised.dialect.name,
            self.result,
        );
        completed.cause = self.cause;
        completed.duplicate_age = Some(now.since(self.answered_at));
        completed
    }
}

/// The bytes of a reply with its headers.
fn reply_bytes(reply: &Reply) -> usize {
    let header_bytes =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    reply.body.len() + reply.headers.iter().map(header_bytes).sum::<usize>()
}

/// A copy with buffers of its own. The body and headers of a reply are slices of a read buffer, which would be kept as
/// long as the answer.
fn detached(reply: &Reply) -> Reply {
    let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    let headers = reply
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), copy(value)?)));
    Reply {
        status: reply.status,
        headers: headers.collect(),
        body: Bytes::copy_from_slice(&reply.body),
    }
}

/// The reply to a send: the provider's own if it may pass, otherwise one in the backend's dialect.
pub(super) fn result_reply(
    delivery: &Delivery<'_>,
    completed: &CompletedRequest,
    proxy: &Proxy,
) -> Reply {
    native_reply(delivery, completed)
        .unwrap_or_else(|| translated_reply(delivery, completed, proxy))
}

/// The provider's own reply, if the provider speaks the backend's dialect and the reply says what happened.
fn native_reply(delivery: &Delivery<'_>, completed: &CompletedRequest) -> Option<Reply> {
    let passes_401 = |attempt: &AttemptResult| {
        delivery.context.snapshot.settings.pass_401 && attempt.status == Some(401)
    };
    let attempt = if completed.result == RequestResult::Accepted {
        completed.accepted_attempt()?
    } else {
        let explains_rejection =
            delivery.provider_specific && completed.result == RequestResult::MessageRejected;
        completed
            .attempts
            .last()
            .filter(|attempt| explains_rejection || passes_401(attempt))?
    };
    let reply = attempt.native_reply.clone()?;
    Some(with_attempt_headers(filter_headers(reply), completed))
}

/// The answer in the backend's dialect, whichever provider delivered or rejected the message.
fn translated_reply(delivery: &Delivery<'_>, completed: &CompletedRequest, proxy: &Proxy) -> Reply {
    let dialect = &delivery.recognised.dialect;
    let render = |answer: &MessageResult<'_>| {
        dialect.render_result(
            &delivery.request_fields,
            delivery.message.as_ref(),
            answer,
            proxy.clock.timestamp(),
        )
    };
    let reply = match (completed.result, completed.accepted_attempt()) {
        (RequestResult::Accepted, Some(accepted)) => {
            let id = accepted_id(accepted);
            let reply = render(&MessageResult::Accepted { id: &id });
            record_id(dialect, &reply, accepted, id, proxy);
            reply
        }
        // The service confirmed the message only as a duplicate of an attempt whose reply was lost.
        (RequestResult::Accepted, None) => render(&MessageResult::Accepted {
            id: delivery
                .message
                .as_ref()
                .map_or("", |message| &message.reference),
        }),
        (result, _) => with_retry_after(render(&failure_answer(
            result,
            completed.cause.unwrap_or(Cause::Unexplained),
        ))),
    };
    with_attempt_headers(reply, completed)
}

/// The reply to a request that its dialect cannot read: the dialect's failure shape, with a status that says why.
pub(super) fn unreadable_reply(dialect: &Dialect, error: &RequestReadError) -> Reply {
    let status = match error {
        RequestReadError::Encoded(_) | RequestReadError::ContentType { .. } => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        }
        RequestReadError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        RequestReadError::Malformed { .. } | RequestReadError::Missing(_) => {
            StatusCode::BAD_REQUEST
        }
    };
    error_reply(dialect, status, Cause::MessageInvalid, &error.to_string())
}

/// Our own denial in a known dialect.
pub(super) fn error_reply(
    dialect: &Dialect,
    status: StatusCode,
    cause: Cause,
    reason: &str,
) -> Reply {
    with_cause_header(dialect.render_rejection(status, cause, reason), cause)
}

/// Our own denial if no dialect is known.
pub(super) fn plain_error_reply(status: StatusCode, cause: Cause, reason: &str) -> Reply {
    let body = serde_json::json!({ "error": cause.as_str(), "message": reason }).to_string();
    let headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    with_cause_header(
        Reply {
            status,
            headers,
            body: Bytes::from(body),
        },
        cause,
    )
}

/// The provider's reply with the body and only the headers that may pass.
pub(super) fn filter_headers(mut reply: Reply) -> Reply {
    let headers = [CONTENT_TYPE, DATE, RETRY_AFTER]
        .map(|name| reply.headers.get(&name).cloned().map(|value| (name, value)));
    reply.headers = headers.into_iter().flatten().collect();
    reply
}

fn failure_answer(result: RequestResult, cause: Cause) -> MessageResult<'static> {
    let in_doubt = result == RequestResult::InDoubt;
    let cause = if result == RequestResult::MessageRejected
        || in_doubt
        || !matches!(cause.family(), Family::Message)
    {
        cause
    } else {
        Cause::Unexplained
    };
    let reason = if in_doubt {
        "it may have been sent: no service confirmed the message"
    } else if result == RequestResult::MessageRejected {
        "the message was rejected because of its recipient or text"
    } else {
        "nothing was sent: no service takes the message at the moment; repeating is safe"
    };
    MessageResult::Failed {
        in_doubt,
        cause,
        reason,
    }
}

fn accepted_id(attempt: &AttemptResult) -> String {
    match attempt.outcome() {
        Outcome::Accepted { id } => id.clone(),
        Outcome::Rejected(_) | Outcome::Unsent(_) | Outcome::Unknown(_) => String::new(),
    }
}

/// Maps the id in our own answer, read as the backend will read it, to the provider's id.
fn record_id(
    dialect: &Dialect,
    reply: &Reply,
    accepted: &AttemptResult,
    id: String,
    proxy: &Proxy,
) {
    if let Outcome::Accepted { id: own_id } =
        dialect.classify(AttemptKind::Send, reply, &id).outcome
    {
        proxy.deduplicator.record_id(
            own_id,
            MappedId {
                provider: accepted.runtime.provider.id.clone(),
                id,
                at: proxy.now(),
            },
        );
    }
}

/// Adds `Retry-After` to a 503.
fn with_retry_after(mut reply: Reply) -> Reply {
    if reply.status == StatusCode::SERVICE_UNAVAILABLE && !reply.headers.contains_key(RETRY_AFTER) {
        reply
            .headers
            .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    reply
}

/// Adds headers that a backend may log: the provider that delivered or that the cause is about, the number of attempts,
/// the cause.
fn with_attempt_headers(mut reply: Reply, completed: &CompletedRequest) -> Reply {
    let with_cause = || {
        completed
            .attempts
            .iter()
            .find(|attempt| attempt.outcome().cause() == completed.cause)
    };
    let attempt = completed
        .accepted_attempt()
        .or_else(with_cause)
        .or(completed.attempts.last());
    if let Some(provider) =
        attempt.and_then(|attempt| HeaderValue::from_str(attempt.runtime.provider.id.as_str()).ok())
    {
        reply
            .headers
            .insert(HeaderName::from_static("x-sms-sidecar-provider"), provider);
    }
    reply.headers.insert(
        HeaderName::from_static("x-sms-sidecar-attempts"),
        HeaderValue::from(completed.attempts.len()),
    );
    match completed.cause {
        Some(cause) => with_cause_header(reply, cause),
        None => reply,
    }
}

pub(super) fn with_cause_header(mut reply: Reply, cause: Cause) -> Reply {
    reply.headers.insert(
        HeaderName::from_static("x-sms-sidecar-cause"),
        HeaderValue::from_static(cause.as_str()),
    );
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_reply_holds_no_read_buffer() {
        let buffer = Bytes::from(b"text/plainRequest is received".to_vec());
        let value = HeaderValue::from_maybe_shared(buffer.slice(..10)).unwrap();
        let reply = Reply {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, value)]),
            body: buffer.slice(10..),
        };
        let copy = detached(&reply);
        assert_eq!(
            (copy.status, &copy.headers, &copy.body),
            (reply.status, &reply.headers, &reply.body)
        );
        drop(reply);
        assert!(buffer.is_unique(), "the copy still refers to the buffer");
    }

    #[test]
    fn a_reply_is_kept_up_to_its_limit() {
        let is_kept = |bytes: usize| {
            let mut completed =
                CompletedRequest::unanswered(Operation::Send, "d", RequestResult::Accepted);
            completed.reply.body = Bytes::from(vec![b'x'; bytes]);
            let cached = CachedResponse::from_completed(&completed, Moment::default());
            cached.reply.is_some()
        };
        let around = [MAX_CACHED_REPLY - 1, MAX_CACHED_REPLY, MAX_CACHED_REPLY + 1];
        assert_eq!(around.map(is_kept), [true, true, false]);
    }
}
