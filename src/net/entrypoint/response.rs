//! Responses: the handler's reply, or a rejection with its reason.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, PROXY_AUTHENTICATE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use crate::dialect::Reply;
use crate::net::screen;

/// Whole, or streamed from another host.
pub(super) type ResponseBody = Either<Full<Bytes>, Incoming>;

/// Why a request was rejected.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    /// In the backend's dialect, if the handler has one.
    pub(super) reply: Option<Box<Reply>>,
    /// It was for an intercepted host whose TLS cannot be terminated.
    pub(super) is_tls_failure: bool,
}

impl Rejected {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            reason: why.into(),
            reply: None,
            is_tls_failure: false,
        }
    }
}

impl From<screen::ScreenError> for Rejected {
    fn from(error: screen::ScreenError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

/// A rejection as a response. The connection closes after it: the request's body may be unread.
pub(super) fn rejection_response(rejected: Rejected) -> Response<ResponseBody> {
    let Rejected {
        status,
        reason: why,
        reply,
        is_tls_failure: _,
    } = rejected;
    let mut response = match reply {
        Some(reply) => reply_response(*reply),
        None => text_response(status, &why),
    };
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers
            .entry(RETRY_AFTER)
            .or_insert(HeaderValue::from_static("1"));
    }
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        headers.insert(
            PROXY_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"sms-sidecar\""),
        );
    }
    response
}

/// A plain-text response of the sidecar itself.
pub(super) fn text_response(status: StatusCode, why: &str) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::from(format!("sms-sidecar: {why}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// The handler's reply, with our own framing.
pub(super) fn reply_response(reply: Reply) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::new(reply.body)));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    screen::strip_framing(response.headers_mut());
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}
