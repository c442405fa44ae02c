//! Renders what the backend gets, in its own dialect: a success, whichever provider accepted, or
//! a failure in the service's own form. 503: nothing was sent. 504: it may have been sent. Never
//! a provider's 401.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use serde_json::Value;

use crate::dialect::expr::scope::{self, Scope};
use crate::dialect::expr::template::to_text;
use crate::dialect::model::{FailureCode, ResponseTemplate, SuccessResponse};
use crate::dialect::request::write::build_tree;
use crate::dialect::{
    Dialect, MatchedOperation, MessageResult, RecognisedRequest, Reply, RequestFields,
};
use crate::sms::{Cause, Message};

/// Seconds after which a backend may retry a request when nothing was sent.
const RETRY_AFTER_SECONDS: &str = "5";

impl Dialect {
    /// The reply in this dialect to a request with these `fields`; `message` is what was read from it.
    pub fn render_result(
        &self,
        fields: &RequestFields,
        message: Option<&Message>,
        result: &MessageResult<'_>,
        now: Timestamp,
    ) -> Reply {
        let scope = Scope {
            message,
            now: Some(now),
            params: &self.params,
            ..Scope::default()
        };
        match result {
            MessageResult::Accepted { id } => self.render_success(
                fields,
                &Scope {
                    id: Some(id),
                    ..scope
                },
            ),
            MessageResult::Failed {
                in_doubt,
                cause,
                reason,
            } => self.render_failure(
                fields,
                *in_doubt,
                *cause,
                &Scope {
                    reason: Some(reason),
                    ..scope
                },
            ),
        }
    }

    fn render_success(&self, fields: &RequestFields, scope: &Scope<'_>) -> Reply {
        let fits = |success: &&SuccessResponse| {
            success.queried.iter().all(|(name, wanted)| {
                scope::find_field(fields.tree(), name)
                    .is_some_and(|value| to_text(&value) == *wanted)
            })
        };
        let response = self
            .send
            .success
            .iter()
            .find(fits)
            .map(|success| &success.response);
        let Some(response) = response else {
            return empty_reply(200);
        };
        let status = response.status.unwrap_or(200);
        render(
            response,
            status,
            &Scope {
                status: Some(status),
                request_fields: quoted_fields(response, fields),
                ..*scope
            },
        )
    }

    fn render_failure(
        &self,
        fields: &RequestFields,
        in_doubt: bool,
        cause: Cause,
        scope: &Scope<'_>,
    ) -> Reply {
        let line = self.failure_code(in_doubt, cause);
        let status = if in_doubt { 504 } else { line.status };
        let response = &self.send.failure.response;
        let mut reply = render(
            response,
            status,
            &Scope {
                request_fields: quoted_fields(response, fields),
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

    fn failure_code(&self, in_doubt: bool, cause: Cause) -> &FailureCode {
        let line = self
            .send
            .failure
            .codes
            .iter()
            .find(|(of, _)| *of == cause && !in_doubt);
        line.map_or(&self.send.failure.default, |(_, line)| line)
    }

    /// A failure with a status of our own (400, 403, 413, 415 …), in this dialect's form, for requests that are rejected unread.
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

    /// The id in a status request.
    pub fn queried_id(
        &self,
        recognised: &RecognisedRequest,
        fields: &RequestFields,
    ) -> Option<String> {
        let MatchedOperation::Operation(at) = &recognised.matched else {
            return None;
        };
        let place = self.operations.get(*at)?.id_path.as_ref();
        let found = place.and_then(|place| {
            place
                .find_all(fields.tree())
                .into_iter()
                .next()
                .map(to_text)
        });
        found
            .or_else(|| recognised.path_params.get("id").cloned())
            .or_else(|| scope::find_field(fields.tree(), "id").map(|value| to_text(&value)))
    }

    /// The status of a message that another service accepted; none if the description has no such reply.
    pub fn render_status(
        &self,
        recognised: &RecognisedRequest,
        fields: &RequestFields,
        id: &str,
        now: Timestamp,
    ) -> Option<Reply> {
        self.render_answer(recognised, fields, Some(id), now)
    }

    /// What a local operation gets; none if it is another one.
    pub fn render_local(
        &self,
        recognised: &RecognisedRequest,
        fields: &RequestFields,
        now: Timestamp,
    ) -> Option<Reply> {
        self.render_answer(recognised, fields, None, now)
    }

    fn render_answer(
        &self,
        recognised: &RecognisedRequest,
        fields: &RequestFields,
        id: Option<&str>,
        now: Timestamp,
    ) -> Option<Reply> {
        let MatchedOperation::Operation(at) = &recognised.matched else {
            return None;
        };
        let response = self.operations.get(*at)?.response.as_ref()?;
        let status = response.status.unwrap_or(200);
        let scope = Scope {
            request_fields: quoted_fields(response, fields),
            path_params: Some(&recognised.path_params),
            id,
            now: Some(now),
            status: Some(status),
            ..Scope::default()
        };
        Some(render(response, status, &scope))
    }
}

/// The backend's fields for a reply that quotes them; most replies do not, and the tree is made for them alone.
pub(super) fn quoted_fields<'f>(
    response: &ResponseTemplate,
    fields: &'f RequestFields,
) -> Option<&'f Value> {
    response.quotes_request().then(|| fields.tree())
}

/// A reply from its template.
pub(crate) fn render(response: &ResponseTemplate, status: u16, scope: &Scope<'_>) -> Reply {
    let mut reply = empty_reply(status);
    if let Some(text) = &response.text {
        reply.body = text.render(scope).unwrap_or_default().into();
        reply.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
    } else if !response.json.is_empty() {
        let tree = build_tree(&response.json, scope);
        reply.body = if tree.is_null() {
            "{}".into()
        } else {
            tree.to_string().into()
        };
        reply
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &response.header {
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
