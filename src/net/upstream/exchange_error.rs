//! An exchange without a readable reply: whether anything was written, the cause, and the words for an operator.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::dialect::Reply;
use crate::net::authority::Authority;
use crate::reply_parser::describe_head_error;
use crate::sms::Cause;

/// An exchange without a readable reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing was written, or the provider had closed the connection before it got a byte.
    #[error("nothing was sent: {detail}")]
    Unsent {
        /// `unreachable`, `timeout`, `tls-untrusted`, `endpoint-wrong`.
        cause: Cause,
        /// For operators: what happened, and what to do.
        detail: String,
    },
    /// The provider may have accepted the request.
    #[error("the reply was lost: {detail}")]
    Unknown {
        /// `unreachable`, `timeout`, `reply-unreadable`.
        cause: Cause,
        /// For operators: what happened.
        detail: String,
    },
    /// The provider answered, but what follows the status or the head of its reply cannot be read.
    #[error("the reply was lost: {detail}")]
    BodyLost {
        /// The reply without its body; without its headers, if they cannot be read either.
        head: Box<Reply>,
        /// `timeout`, `reply-unreadable`, `denied-by-policy`.
        cause: Cause,
        /// For operators: what happened.
        detail: String,
    },
}

impl ExchangeError {
    /// Why no reply could be read.
    pub fn cause(&self) -> Cause {
        let (Self::Unsent { cause, .. }
        | Self::Unknown { cause, .. }
        | Self::BodyLost { cause, .. }) = self;
        *cause
    }

    /// For operators: what happened.
    pub fn detail(&self) -> &str {
        let (Self::Unsent { detail, .. }
        | Self::Unknown { detail, .. }
        | Self::BodyLost { detail, .. }) = self;
        detail
    }

    /// The reply without its body, if its head could be read.
    pub fn head(&self) -> Option<&Reply> {
        match self {
            Self::Unsent { .. } | Self::Unknown { .. } => None,
            Self::BodyLost { head, .. } => Some(head),
        }
    }
}

/// The HTTP status of a reply, whether or not its body could be read.
pub fn reply_status(reply: &Result<Reply, ExchangeError>) -> Option<u16> {
    let head = match reply {
        Ok(reply) => Some(reply),
        Err(lost) => lost.head(),
    };
    head.map(|head| head.status.as_u16())
}

/// Why the body of a reply was not read to its end.
pub(super) enum LostBody {
    Compressed,
    /// Longer than this many bytes.
    TooLong(usize),
    Broken(&'static str),
    Late,
    /// Until the deadline other replies took the memory that is set for them.
    NoRoom,
}

/// The reply whose body was not read to its end.
pub(super) fn lost_body(lost: &LostBody, origin: &Authority, head: Reply) -> ExchangeError {
    let status = head.status.as_u16();
    let (cause, detail) = match lost {
        LostBody::Compressed => {
            let detail =
                format!("{origin} compressed its reply (status {status}) though asked not to");
            (Cause::ReplyUnreadable, detail)
        }
        LostBody::TooLong(limit) => {
            let detail = format!("{origin} sent more than {limit} bytes (status {status})");
            (Cause::ReplyUnreadable, detail)
        }
        LostBody::Broken(fault) => {
            let detail = format!("{origin} {fault} (status {status})");
            (Cause::ReplyUnreadable, detail)
        }
        LostBody::Late => {
            let detail = format!("{origin} did not finish its reply in time (status {status})");
            (Cause::Timeout, detail)
        }
        LostBody::NoRoom => {
            let detail = format!(
                "there was no memory for the reply of {origin} (status {status}); raise `in_flight` in [limits]"
            );
            (Cause::DeniedByPolicy, detail)
        }
    };
    ExchangeError::BodyLost {
        head: Box::new(head),
        cause,
        detail,
    }
}

/// The backend has hung up before anything was written.
pub(super) fn backend_left() -> ExchangeError {
    ExchangeError::Unsent {
        cause: Cause::DeniedByPolicy,
        detail: String::from("the backend hung up before its request was written"),
    }
}

/// The time limit ended before the connection or the answer; `untouched`: nothing was written.
pub(super) fn timeout_error(origin: &Authority, limit: Duration, untouched: bool) -> ExchangeError {
    let cause = Cause::Timeout;
    let limit = limit.as_secs_f64();
    if untouched {
        ExchangeError::Unsent {
            cause,
            detail: format!(
                "no connection to {origin} within {limit} s; see if it can be reached from here"
            ),
        }
    } else {
        ExchangeError::Unknown {
            cause,
            detail: format!("{origin} did not answer within {limit} s"),
        }
    }
}

/// The reply has a status line, and the rest of its head cannot be read; without an error it did not come in time.
pub(super) fn lost_head(
    status: StatusCode,
    error: Option<&hyper::Error>,
    origin: &Authority,
) -> ExchangeError {
    let (cause, fault) = if let Some(error) = error {
        let fault = describe_head_error(error);
        let fault = fault.unwrap_or_else(|| "broke off its reply".to_owned());
        (Cause::ReplyUnreadable, fault)
    } else {
        let late = "did not finish its reply in time".to_owned();
        (Cause::Timeout, late)
    };
    ExchangeError::BodyLost {
        head: Box::new(Reply {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }),
        cause,
        detail: format!("{origin} {fault} (status {})", status.as_u16()),
    }
}

/// The connection failed; `untouched`: the provider has no byte of the request.
pub(super) fn connection_error(
    error: &hyper::Error,
    origin: &Authority,
    untouched: bool,
) -> ExchangeError {
    if untouched {
        return ExchangeError::Unsent {
            cause: Cause::Unreachable,
            detail: format!("{origin} closed the connection before it got anything"),
        };
    }
    if let Some(fault) = describe_head_error(error) {
        return ExchangeError::Unknown {
            cause: Cause::ReplyUnreadable,
            detail: format!("{origin} {fault}"),
        };
    }
    ExchangeError::Unknown {
        cause: Cause::Unreachable,
        detail: format!("{origin} closed the connection without an answer"),
    }
}
