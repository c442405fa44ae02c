//! What the backend gets: the one map from verdicts, unreadable requests and refusals of
//! ours to HTTP. In the dialect it speaks where one was recognised; never a provider's 401.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use crate::clock::Moment;
use crate::dialect::{Dialect, MessageResult, Reply, RequestReadError};
use crate::policy::MappedId;
use crate::provider::attempt::AttemptResult;
use crate::proxy::Proxy;
use crate::proxy::delivery::Delivery;
use crate::proxy::request::CompletedRequest;
use crate::sms::{AttemptKind, Cause, Outcome, RequestResult};

/// When to come back after a 503, in seconds, where nothing says better.
const RETRY_AFTER_SECONDS: &str = "5";

/// What a finished message was answered with, for its repeats.
#[derive(Clone, Debug)]
pub(super) struct CachedResponse {
    pub(super) result: RequestResult,
    pub(super) cause: Option<Cause>,
    id: String,
    /// The very reply, for a repeat in the same dialect.
    reply: Reply,
    dialect: Option<String>,
    /// When it was answered.
    pub(super) answered_at: Moment,
}

impl CachedResponse {
    pub(super) fn from_completed(ended: &CompletedRequest, answered_at: Moment) -> Self {
        let id = ended
            .accepted_attempt()
            .map(accepted_id)
            .unwrap_or_default();
        Self {
            result: ended.result,
            cause: ended.cause,
            id,
            reply: detached(&ended.reply),
            dialect: ended.dialect.clone(),
            answered_at,
        }
    }

    /// The same answer, in the dialect that asks now.
    pub(super) fn reply_for(&self, sending: &Delivery<'_>, now: Timestamp) -> Reply {
        let dialect = &sending.recognised.dialect;
        if self.dialect.as_deref() == Some(&dialect.name) {
            return self.reply.clone();
        }
        let answer = if self.result == RequestResult::Accepted {
            MessageResult::Accepted { id: &self.id }
        } else {
            failure_answer(self.result, self.cause.unwrap_or(Cause::Unexplained))
        };
        dialect.render_result(
            &sending.request_fields,
            sending.message.as_ref(),
            &answer,
            now,
        )
    }
}

/// A copy that holds on to nothing else: as they come, a small body and its headers are pieces of a whole read
/// buffer, which would be kept as long as the message is remembered.
fn detached(reply: &Reply) -> Reply {
    let copied = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    let headers = reply
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), copied(value)?)));
    Reply {
        status: reply.status,
        headers: headers.collect(),
        body: Bytes::copy_from_slice(&reply.body),
    }
}

/// The provider's own reply, where the backend speaks its dialect and it says what happened.
pub(super) fn native_reply(sending: &Delivery<'_>, ended: &CompletedRequest) -> Option<Reply> {
    let passes_401 = |tried: &AttemptResult| {
        sending.context.snapshot.settings.pass_401 && tried.status == Some(401)
    };
    let last = if ended.result == RequestResult::Accepted {
        ended.accepted_attempt()?
    } else {
        let own_words = sending.provider_specific && ended.result == RequestResult::MessageRejected;
        ended
            .attempts
            .last()
            .filter(|tried| own_words || passes_401(tried))?
    };
    let reply = last.native_reply.clone()?;
    Some(with_attempt_headers(filter_headers(reply), ended))
}

/// The answer in the backend's dialect, whoever delivered and whoever refused.
pub(super) fn translated_reply(
    sending: &Delivery<'_>,
    ended: &CompletedRequest,
    proxy: &Proxy,
) -> Reply {
    let dialect = &sending.recognised.dialect;
    let say = |answer: &MessageResult<'_>| {
        dialect.render_result(
            &sending.request_fields,
            sending.message.as_ref(),
            answer,
            proxy.wall(),
        )
    };
    let reply = match (ended.result, ended.accepted_attempt()) {
        (RequestResult::Accepted, Some(carrier)) => {
            let id = accepted_id(carrier);
            let reply = say(&MessageResult::Accepted { id: &id });
            record_id(dialect, &reply, carrier, id, proxy);
            reply
        }
        // Taken by an attempt whose answer was lost; the repeat of it said so.
        (RequestResult::Accepted, None) => say(&MessageResult::Accepted {
            id: sending
                .message
                .as_ref()
                .map_or("", |message| &message.reference),
        }),
        (verdict, _) => with_retry_after(say(&failure_answer(
            verdict,
            ended.cause.unwrap_or(Cause::Unexplained),
        ))),
    };
    with_attempt_headers(reply, ended)
}

/// A request in a known dialect that cannot be read: its own failure shape, with the status that says why.
pub(super) fn unreadable_reply(dialect: &Dialect, error: &RequestReadError) -> Reply {
    let status = match error {
        RequestReadError::Encoded(_) | RequestReadError::ContentType { .. } => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        }
        RequestReadError::Malformed { .. } | RequestReadError::Missing(_) => {
            StatusCode::BAD_REQUEST
        }
    };
    error_reply(dialect, status, Cause::MessageInvalid, &error.to_string())
}

/// A refusal of ours in a known dialect.
pub(super) fn error_reply(
    dialect: &Dialect,
    status: StatusCode,
    cause: Cause,
    reason: &str,
) -> Reply {
    with_cause_header(dialect.render_rejection(status, cause, reason), cause)
}

/// A refusal where no dialect is known.
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

/// What of a provider's reply may pass: the body, and the headers that describe it.
pub(super) fn filter_headers(mut reply: Reply) -> Reply {
    let kept = [CONTENT_TYPE, DATE, RETRY_AFTER]
        .map(|name| reply.headers.get(&name).cloned().map(|value| (name, value)));
    reply.headers = kept.into_iter().flatten().collect();
    reply
}

fn failure_answer(verdict: RequestResult, cause: Cause) -> MessageResult<'static> {
    let doubt = verdict == RequestResult::InDoubt;
    let cause = if verdict == RequestResult::MessageRejected
        || doubt
        || !matches!(cause.family(), crate::sms::Family::Message)
    {
        cause
    } else {
        Cause::Unexplained
    };
    let reason = if doubt {
        "it may have been sent: no service confirmed the message"
    } else if verdict == RequestResult::MessageRejected {
        "the message was refused for its recipient or text"
    } else {
        "nothing was sent: no service could take the message now; repeating is safe"
    };
    MessageResult::Failed {
        in_doubt: doubt,
        cause,
        reason,
    }
}

fn accepted_id(tried: &AttemptResult) -> String {
    match tried.outcome() {
        Outcome::Accepted { id } => id.clone(),
        Outcome::Rejected(_) | Outcome::Unsent(_) | Outcome::Unknown(_) => String::new(),
    }
}

/// The id in our own answer is read as the backend will read it, and stands for the provider's from now on.
fn record_id(dialect: &Dialect, reply: &Reply, carrier: &AttemptResult, id: String, proxy: &Proxy) {
    if let Outcome::Accepted { id: made_up } =
        dialect.classify(AttemptKind::Send, reply, &id).outcome
    {
        proxy.deduplicator.record_id(
            made_up,
            MappedId {
                provider: carrier.runtime.provider.id.clone(),
                id,
                at: proxy.now(),
            },
        );
    }
}

/// A 503 says when to come back.
fn with_retry_after(mut reply: Reply) -> Reply {
    if reply.status == StatusCode::SERVICE_UNAVAILABLE && !reply.headers.contains_key(RETRY_AFTER) {
        reply
            .headers
            .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    reply
}

/// Adds what a curious backend may log: who carried it or, if nobody did, whom the cause is of; how many attempts; why.
fn with_attempt_headers(mut reply: Reply, ended: &CompletedRequest) -> Reply {
    let blamed = || {
        ended
            .attempts
            .iter()
            .find(|tried| tried.outcome().cause() == ended.cause)
    };
    let who = ended
        .accepted_attempt()
        .or_else(blamed)
        .or(ended.attempts.last());
    if let Some(provider) =
        who.and_then(|tried| HeaderValue::from_str(tried.runtime.provider.id.as_str()).ok())
    {
        reply
            .headers
            .insert(HeaderName::from_static("x-sms-sidecar-provider"), provider);
    }
    reply.headers.insert(
        HeaderName::from_static("x-sms-sidecar-attempts"),
        HeaderValue::from(ended.attempts.len()),
    );
    match ended.cause {
        Some(cause) => with_cause_header(reply, cause),
        None => reply,
    }
}

fn with_cause_header(mut reply: Reply, cause: Cause) -> Reply {
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
    fn what_is_remembered_holds_no_read_buffer() {
        let buffer = Bytes::from(b"text/plainRequest is received".to_vec());
        let value = HeaderValue::from_maybe_shared(buffer.slice(..10)).unwrap();
        let reply = Reply {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, value)]),
            body: buffer.slice(10..),
        };
        let kept = detached(&reply);
        assert_eq!(
            (kept.status, &kept.headers, &kept.body),
            (reply.status, &reply.headers, &reply.body)
        );
        drop(reply);
        assert!(
            buffer.is_unique(),
            "nothing but the buffer itself holds on to it"
        );
    }
}
