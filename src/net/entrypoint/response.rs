//! Responses: the handler's reply, or a rejection with its reason.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, PROXY_AUTHENTICATE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::diagnosis::{Denial, DenialReason, DeniedClient};
use crate::dialect::Reply;
use crate::net::entrypoint::HandlerReply;
use crate::net::entrypoint::timeout_stream::{AnswerGuard, BusyGuard, IdleTimer};
use crate::net::screen;

/// The body of another host's response. The client's connection is busy, and owes an answer, until it ends.
#[derive(Debug)]
pub(super) struct ForwardedBody {
    body: Incoming,
    _busy: BusyGuard,
    _answering: AnswerGuard,
}

impl ForwardedBody {
    pub(super) fn new(body: Incoming, idle_timer: &IdleTimer) -> Self {
        Self {
            body,
            _busy: idle_timer.mark_busy(),
            _answering: idle_timer.mark_answering(),
        }
    }
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whole, or streamed from another host.
pub(super) type ResponseBody = Either<Full<Bytes>, ForwardedBody>;

/// Why a request was rejected.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    /// In the backend's dialect, if the handler has one.
    pub(super) reply: Option<Box<Reply>>,
    /// Why, in the list of denials.
    pub(super) denial: Box<Denial>,
    /// Who sent it; found out only where the denial depends on it.
    pub(super) client: DeniedClient,
}

impl Rejected {
    /// With a reason of its own; the denial is about it.
    pub(super) fn new(status: StatusCode, reason: DenialReason, why: impl Into<String>) -> Self {
        let why = why.into();
        Self {
            status,
            denial: Box::new(reason.about(&why)),
            reason: why,
            reply: None,
            client: DeniedClient::default(),
        }
    }

    /// With the denial's own text.
    pub(super) fn from_denial(status: StatusCode, denial: Denial) -> Self {
        Self {
            reason: denial.reply_text(),
            denial: Box::new(denial),
            status,
            reply: None,
            client: DeniedClient::default(),
        }
    }
}

impl From<screen::ScreenError> for Rejected {
    fn from(error: screen::ScreenError) -> Self {
        Self::new(error.status(), error.denial_reason(), error.to_string())
    }
}

/// A rejection as a response. The connection closes after it: the request's body may be unread.
pub(super) fn rejection_response(rejected: Rejected) -> Response<ResponseBody> {
    let Rejected {
        status,
        reason: why,
        reply,
        ..
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

/// The body of a response, and the body of its request, whose memory counts until the response is written: a reply
/// can quote the message, and a client that does not read it keeps it in memory.
struct QuotingBody {
    bytes: Bytes,
    _request_body: Bytes,
}

impl AsRef<[u8]> for QuotingBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The handler's reply. The connection closes after the reply to a denied request.
pub(super) fn handler_response(
    handled: HandlerReply,
    request_body: Bytes,
) -> Response<ResponseBody> {
    let HandlerReply { reply, is_denied } = handled;
    let body = QuotingBody {
        bytes: reply.body,
        _request_body: request_body,
    };
    let mut response = reply_response(Reply {
        body: Bytes::from_owner(body),
        ..reply
    });
    if is_denied {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// A reply with our own framing.
fn reply_response(reply: Reply) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::new(reply.body)));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    screen::strip_framing(response.headers_mut());
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}
