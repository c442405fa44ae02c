//! What the backend gets: the one map from verdicts, unreadable requests and refusals of
//! ours to HTTP. In the dialect it speaks where one was recognised; never a provider's 401.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use crate::clock::Moment;
use crate::dialect::{Answer, Dialect, ReadError, Reply};
use crate::policy::Real;
use crate::proxy::Proxy;
use crate::proxy::attempt::Tried;
use crate::proxy::call::Ended;
use crate::proxy::sending::Sending;
use crate::sms::{Cause, Kind, Outcome, Verdict};

/// When to come back after a 503, in seconds, where nothing says better.
const COME_BACK: &str = "5";

/// What a finished message was answered with, for its repeats.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    id: String,
    /// The very reply, for a repeat in the same dialect.
    reply: Reply,
    dialect: Option<String>,
    /// When it was answered.
    pub(super) at: Moment,
}

impl Told {
    pub(super) fn of(ended: &Ended, at: Moment) -> Self {
        let id = ended.carrier().map(accepted_id).unwrap_or_default();
        Self { verdict: ended.verdict, cause: ended.cause, id, reply: apart(&ended.reply), dialect: ended.dialect.clone(), at }
    }

    /// The same answer, in the dialect that asks now.
    pub(super) fn reply(&self, sending: &Sending<'_>, now: Timestamp) -> Reply {
        let dialect = &sending.seen.dialect;
        if self.dialect.as_deref() == Some(&dialect.name) {
            return self.reply.clone();
        }
        let answer = if self.verdict == Verdict::Accepted {
            Answer::Accepted { id: &self.id }
        } else {
            failed(self.verdict, self.cause.unwrap_or(Cause::Unexplained))
        };
        dialect.answer(&sending.asked, sending.message.as_ref(), &answer, now)
    }
}

/// A copy that holds on to nothing else: as they come, a small body and its headers are pieces of a whole read
/// buffer, which would be kept as long as the message is remembered.
fn apart(reply: &Reply) -> Reply {
    let copied = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    let headers = reply.headers.iter().filter_map(|(name, value)| Some((name.clone(), copied(value)?)));
    Reply { status: reply.status, headers: headers.collect(), body: Bytes::copy_from_slice(&reply.body) }
}

/// The provider's own reply, where the backend speaks its dialect and it says what happened.
pub(super) fn native_end(sending: &Sending<'_>, ended: &Ended) -> Option<Reply> {
    let passes_401 = |tried: &Tried| sending.call.world.settings.pass_401 && tried.status == Some(401);
    let last = if ended.verdict == Verdict::Accepted {
        ended.carrier()?
    } else {
        let own_words = sending.bound && ended.verdict == Verdict::MessageRefused;
        ended.tried.last().filter(|tried| own_words || passes_401(tried))?
    };
    let reply = last.native.clone()?;
    Some(told(passed(reply), ended))
}

/// The answer in the backend's dialect, whoever delivered and whoever refused.
pub(super) fn answered(sending: &Sending<'_>, ended: &Ended, proxy: &Proxy) -> Reply {
    let dialect = &sending.seen.dialect;
    let say = |answer: &Answer<'_>| dialect.answer(&sending.asked, sending.message.as_ref(), answer, proxy.wall());
    let reply = match (ended.verdict, ended.carrier()) {
        (Verdict::Accepted, Some(carrier)) => {
            let id = accepted_id(carrier);
            let reply = say(&Answer::Accepted { id: &id });
            remember(dialect, &reply, carrier, id, proxy);
            reply
        }
        // Taken by an attempt whose answer was lost; the repeat of it said so.
        (Verdict::Accepted, None) => say(&Answer::Accepted { id: sending.message.as_ref().map_or("", |message| &message.reference) }),
        (verdict, _) => come_back(say(&failed(verdict, ended.cause.unwrap_or(Cause::Unexplained)))),
    };
    told(reply, ended)
}

/// A request in a known dialect that cannot be read: its own failure shape, with the status that says why.
pub(super) fn unreadable(dialect: &Dialect, error: &ReadError) -> Reply {
    let status = match error {
        ReadError::Encoded(_) | ReadError::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ReadError::Malformed { .. } | ReadError::Missing(_) => StatusCode::BAD_REQUEST,
    };
    refused(dialect, status, Cause::MessageInvalid, &error.to_string())
}

/// A refusal of ours in a known dialect.
pub(super) fn refused(dialect: &Dialect, status: StatusCode, cause: Cause, reason: &str) -> Reply {
    marked(dialect.refuse(status, cause, reason), cause)
}

/// A refusal where no dialect is known.
pub(super) fn plain_refusal(status: StatusCode, cause: Cause, reason: &str) -> Reply {
    let body = serde_json::json!({ "error": cause.as_str(), "message": reason }).to_string();
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    marked(Reply { status, headers, body: Bytes::from(body) }, cause)
}

/// What of a provider's reply may pass: the body, and the headers that describe it.
pub(super) fn passed(mut reply: Reply) -> Reply {
    let kept = [CONTENT_TYPE, DATE, RETRY_AFTER].map(|name| reply.headers.get(&name).cloned().map(|value| (name, value)));
    reply.headers = kept.into_iter().flatten().collect();
    reply
}

fn failed(verdict: Verdict, cause: Cause) -> Answer<'static> {
    let doubt = verdict == Verdict::InDoubt;
    let cause = if verdict == Verdict::MessageRefused || doubt || !matches!(cause.family(), crate::sms::Family::Message) {
        cause
    } else {
        Cause::Unexplained
    };
    let reason = if doubt {
        "it may have been sent: no service confirmed the message"
    } else if verdict == Verdict::MessageRefused {
        "the message was refused for its recipient or text"
    } else {
        "nothing was sent: no service could take the message now; repeating is safe"
    };
    Answer::Failed { doubt, cause, reason }
}

fn accepted_id(tried: &Tried) -> String {
    match tried.outcome() {
        Outcome::Accepted { id } => id.clone(),
        Outcome::Refused(_) | Outcome::Unsent(_) | Outcome::Unknown(_) => String::new(),
    }
}

/// The id in our own answer is read as the backend will read it, and stands for the provider's from now on.
fn remember(dialect: &Dialect, reply: &Reply, carrier: &Tried, id: String, proxy: &Proxy) {
    if let Outcome::Accepted { id: made_up } = dialect.classify(Kind::Send, reply, &id).outcome {
        proxy.desk.remember(made_up, Real { provider: carrier.link.provider.id.clone(), id, at: proxy.now() });
    }
}

/// A 503 says when to come back.
fn come_back(mut reply: Reply) -> Reply {
    if reply.status == StatusCode::SERVICE_UNAVAILABLE && !reply.headers.contains_key(RETRY_AFTER) {
        reply.headers.insert(RETRY_AFTER, HeaderValue::from_static(COME_BACK));
    }
    reply
}

/// Adds what a curious backend may log: who carried it or, if nobody did, whom the cause is of; how many attempts; why.
fn told(mut reply: Reply, ended: &Ended) -> Reply {
    let blamed = || ended.tried.iter().find(|tried| tried.outcome().cause() == ended.cause);
    let who = ended.carrier().or_else(blamed).or(ended.tried.last());
    if let Some(provider) = who.and_then(|tried| HeaderValue::from_str(tried.link.provider.id.as_str()).ok()) {
        reply.headers.insert(HeaderName::from_static("x-sms-sidecar-provider"), provider);
    }
    reply.headers.insert(HeaderName::from_static("x-sms-sidecar-attempts"), HeaderValue::from(ended.tried.len()));
    match ended.cause {
        Some(cause) => marked(reply, cause),
        None => reply,
    }
}

fn marked(mut reply: Reply, cause: Cause) -> Reply {
    reply.headers.insert(HeaderName::from_static("x-sms-sidecar-cause"), HeaderValue::from_static(cause.as_str()));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_holds_no_read_buffer() {
        let buffer = Bytes::from(b"text/plainRequest is received".to_vec());
        let value = HeaderValue::from_maybe_shared(buffer.slice(..10)).unwrap();
        let reply = Reply { status: StatusCode::OK, headers: HeaderMap::from_iter([(CONTENT_TYPE, value)]), body: buffer.slice(10..) };
        let kept = apart(&reply);
        assert_eq!((kept.status, &kept.headers, &kept.body), (reply.status, &reply.headers, &reply.body));
        drop(reply);
        assert!(buffer.is_unique(), "nothing but the buffer itself holds on to it");
    }
}
