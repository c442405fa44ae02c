//! What the backend reads in the end, in the dialect it speaks: a success whoever
//! delivered, a failure in the service's own shape. 503: nothing was sent. 504: it may
//! have been. A provider's 401 is never among them.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;

use crate::dialect::expr::scope::{self, Scope};
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{FailureCode, ResponseTemplate, SuccessResponse};
use crate::dialect::request::write::build_tree;
use crate::dialect::{
    Dialect, MatchedOperation, MessageResult, RecognisedRequest, Reply, RequestFields,
};
use crate::sms::{Cause, Message};

/// After "nothing was sent" a backend may try again this soon.
const RETRY_AFTER_SECONDS: &str = "5";

impl Dialect {
    /// The reply in this dialect. `message` is what was read; `asked` how it was said.
    pub fn render_result(
        &self,
        asked: &RequestFields,
        message: Option<&Message>,
        answer: &MessageResult<'_>,
        now: Timestamp,
    ) -> Reply {
        let scope = Scope {
            message,
            request_fields: Some(&asked.tree),
            now: Some(now),
            params: &self.params,
            ..Scope::default()
        };
        match answer {
            MessageResult::Accepted { id } => self.render_success(
                asked,
                &Scope {
                    id: Some(id),
                    ..scope
                },
            ),
            MessageResult::Failed {
                in_doubt: doubt,
                cause,
                reason,
            } => self.render_failure(
                *doubt,
                *cause,
                &Scope {
                    reason: Some(reason),
                    ..scope
                },
            ),
        }
    }

    fn render_success(&self, asked: &RequestFields, scope: &Scope<'_>) -> Reply {
        let fits = |success: &&SuccessResponse| {
            success.queried.iter().all(|(name, wanted)| {
                scope::find_field(&asked.tree, name).is_some_and(|value| to_text(&value) == *wanted)
            })
        };
        let told = self
            .send
            .success
            .iter()
            .find(fits)
            .map(|success| &success.response);
        let Some(told) = told else {
            return empty_reply(200);
        };
        let status = told.status.unwrap_or(200);
        render(
            told,
            status,
            &Scope {
                status: Some(status),
                ..*scope
            },
        )
    }

    fn render_failure(&self, doubt: bool, cause: Cause, scope: &Scope<'_>) -> Reply {
        let line = self.failure_code(doubt, cause);
        let status = if doubt { 504 } else { line.status };
        let mut reply = render(
            &self.send.failure.response,
            status,
            &Scope {
                code: line.code.as_ref(),
                status: Some(status),
                ..*scope
            },
        );
        if matches!(status, 503 | 429) {
            reply
                .headers
                .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        reply
    }

    fn failure_code(&self, doubt: bool, cause: Cause) -> &FailureCode {
        let line = self
            .send
            .failure
            .codes
            .iter()
            .find(|(of, _)| *of == cause && !doubt);
        line.map_or(&self.send.failure.default, |(_, line)| line)
    }

    /// A failure with a status of our own (400, 403, 413, 415 …), in this dialect's shape, for calls that are refused unread.
    pub fn render_rejection(&self, status: StatusCode, cause: Cause, reason: &str) -> Reply {
        let line = self.failure_code(false, cause);
        let status = if status == StatusCode::UNAUTHORIZED {
            StatusCode::FORBIDDEN
        } else {
            status
        };
        let scope = Scope {
            code: line.code.as_ref(),
            status: Some(status.as_u16()),
            reason: Some(reason),
            params: &self.params,
            ..Scope::default()
        };
        render(&self.send.failure.response, status.as_u16(), &scope)
    }

    /// The id a status request asks about.
    pub fn queried_id(&self, seen: &RecognisedRequest, asked: &RequestFields) -> Option<String> {
        let MatchedOperation::Operation(at) = &seen.matched else {
            return None;
        };
        let place = self.operations.get(*at)?.id_path.as_ref();
        let found =
            place.and_then(|place| place.find_all(&asked.tree).into_iter().next().map(to_text));
        found
            .or_else(|| seen.path_params.get("id").cloned())
            .or_else(|| scope::find_field(&asked.tree, "id").map(|value| to_text(&value)))
    }

    /// What is told about a message of ours that another service delivered; none where the description has no words for it.
    pub fn render_status(
        &self,
        seen: &RecognisedRequest,
        asked: &RequestFields,
        id: &str,
        now: Timestamp,
    ) -> Option<Reply> {
        let MatchedOperation::Operation(at) = &seen.matched else {
            return None;
        };
        let told = self.operations.get(*at)?.response.as_ref()?;
        let status = told.status.unwrap_or(200);
        let scope = Scope {
            request_fields: Some(&asked.tree),
            path_params: Some(&seen.path_params),
            id: Some(id),
            now: Some(now),
            status: Some(status),
            ..Scope::default()
        };
        Some(render(told, status, &scope))
    }
}

/// A reply from its description.
pub(crate) fn render(told: &ResponseTemplate, status: u16, scope: &Scope<'_>) -> Reply {
    let mut reply = empty_reply(status);
    if let Some(text) = &told.text {
        reply.body = text.render(scope).unwrap_or_default().into();
        reply.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
    } else if !told.json.is_empty() {
        let tree = build_tree(&told.json, scope);
        reply.body = if tree.is_null() {
            "{}".into()
        } else {
            tree.to_string().into()
        };
        reply
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &told.header {
        let value = value
            .render(scope)
            .and_then(|value| HeaderValue::from_str(&value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            reply.headers.insert(name, value);
        }
    }
    reply
}

fn empty_reply(status: u16) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    }
}
