//! What the backend reads in the end, in the dialect it speaks: a success whoever
//! delivered, a failure in the service's own shape. 503: nothing was sent. 504: it may
//! have been. A provider's 401 is never among them.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;

use crate::dialect::scope::{self, Scope};
use crate::dialect::shape::{Line, Success, Told};
use crate::dialect::template::text_of;
use crate::dialect::write::tree;
use crate::dialect::{Answer, Asked, Dialect, Entry, Recognised, Reply};
use crate::sms::{Cause, Message};

/// After "nothing was sent" a backend may try again this soon.
const TRY_AGAIN: &str = "5";

impl Dialect {
    /// The reply in this dialect. `message` is what was read; `asked` how it was said.
    pub fn answer(&self, asked: &Asked, message: Option<&Message>, answer: &Answer<'_>, now: Timestamp) -> Reply {
        let scope = Scope { message, asked: Some(&asked.tree), now: Some(now), params: &self.params, ..Scope::default() };
        match answer {
            Answer::Accepted { id } => self.success(asked, &Scope { id: Some(id), ..scope }),
            Answer::Failed { doubt, cause, reason } => self.failed(*doubt, *cause, &Scope { reason: Some(reason), ..scope }),
        }
    }

    fn success(&self, asked: &Asked, scope: &Scope<'_>) -> Reply {
        let fits = |success: &&Success| {
            success.asked.iter().all(|(name, wanted)| scope::asked(&asked.tree, name).is_some_and(|value| text_of(&value) == *wanted))
        };
        let told = self.send.success.iter().find(fits).map(|success| &success.told);
        let Some(told) = told else { return plain(200) };
        let status = told.status.unwrap_or(200);
        render(told, status, &Scope { status: Some(status), ..*scope })
    }

    fn failed(&self, doubt: bool, cause: Cause, scope: &Scope<'_>) -> Reply {
        let line = self.failure_line(doubt, cause);
        let status = if doubt { 504 } else { line.status };
        let mut reply = render(&self.send.failure.told, status, &Scope { code: line.code.as_ref(), status: Some(status), ..*scope });
        if matches!(status, 503 | 429) {
            reply.headers.insert(RETRY_AFTER, HeaderValue::from_static(TRY_AGAIN));
        }
        reply
    }

    fn failure_line(&self, doubt: bool, cause: Cause) -> &Line {
        let line = self.send.failure.lines.iter().find(|(of, _)| *of == cause && !doubt);
        line.map_or(&self.send.failure.otherwise, |(_, line)| line)
    }

    /// A failure with a status of our own (400, 403, 413, 415 …), in this dialect's shape, for calls that are refused unread.
    pub fn refuse(&self, status: StatusCode, cause: Cause, reason: &str) -> Reply {
        let line = self.failure_line(false, cause);
        let status = if status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { status };
        let scope = Scope {
            code: line.code.as_ref(),
            status: Some(status.as_u16()),
            reason: Some(reason),
            params: &self.params,
            ..Scope::default()
        };
        render(&self.send.failure.told, status.as_u16(), &scope)
    }

    /// The id a status request asks about.
    pub fn asked_id(&self, seen: &Recognised, asked: &Asked) -> Option<String> {
        let Entry::Operation(at) = &seen.entry else { return None };
        let place = self.operations.get(*at)?.id.as_ref();
        let found = place.and_then(|place| place.all(&asked.tree).into_iter().next().map(text_of));
        found.or_else(|| seen.path.get("id").cloned()).or_else(|| scope::asked(&asked.tree, "id").map(|value| text_of(&value)))
    }

    /// What is told about a message of ours that another service delivered; none where the description has no words for it.
    pub fn answer_status(&self, seen: &Recognised, asked: &Asked, id: &str, now: Timestamp) -> Option<Reply> {
        let Entry::Operation(at) = &seen.entry else { return None };
        let told = self.operations.get(*at)?.answer.as_ref()?;
        let status = told.status.unwrap_or(200);
        let scope = Scope {
            asked: Some(&asked.tree),
            path: Some(&seen.path),
            id: Some(id),
            now: Some(now),
            status: Some(status),
            ..Scope::default()
        };
        Some(render(told, status, &scope))
    }
}

/// A reply from its description.
pub(crate) fn render(told: &Told, status: u16, scope: &Scope<'_>) -> Reply {
    let mut reply = plain(status);
    if let Some(text) = &told.text {
        reply.body = text.text(scope).unwrap_or_default().into();
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    } else if !told.json.is_empty() {
        let tree = tree(&told.json, scope);
        reply.body = if tree.is_null() { "{}".into() } else { tree.to_string().into() };
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &told.header {
        let value = value.text(scope).and_then(|value| HeaderValue::from_str(&value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            reply.headers.insert(name, value);
        }
    }
    reply
}

fn plain(status: u16) -> Reply {
    Reply { status: StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), headers: HeaderMap::new(), body: Bytes::new() }
}
