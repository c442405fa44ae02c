//! Where the requests of a connection come from: its listener, and the CONNECT that they are
//! inside of. The entrypoint of every metric and log line is derived here and nowhere else.

use http::{Method, Request};
use hyper::body::Incoming;

use crate::net::authority::Authority;
use crate::net::entrypoint::Entrypoint;
use crate::net::peer::Peer;

/// The listener that accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListenerOrigin {
    /// The TCP listener for base URLs, absolute form and CONNECT.
    Tcp,
    /// The unix socket.
    Unix,
}

/// Where the requests of a connection come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionOrigin {
    /// The client wrote them to the listener.
    Listener(ListenerOrigin),
    /// The client wrote them inside a CONNECT.
    Connect {
        /// The listener that got the CONNECT.
        listener: ListenerOrigin,
        /// What the CONNECT named; its scheme says whether TLS was terminated here.
        target: Authority,
    },
}

impl ConnectionOrigin {
    /// The origin of a freshly accepted connection.
    pub(super) fn of(peer: &Peer) -> Self {
        Self::Listener(if peer.is_unix() {
            ListenerOrigin::Unix
        } else {
            ListenerOrigin::Tcp
        })
    }

    /// The same connection inside a CONNECT for `target`.
    pub(super) fn inside(&self, target: Authority) -> Self {
        Self::Connect {
            listener: self.listener(),
            target,
        }
    }

    /// What the CONNECT named; none outside of one.
    pub(super) fn connect_target(&self) -> Option<&Authority> {
        match self {
            Self::Listener(_) => None,
            Self::Connect { target, .. } => Some(target),
        }
    }

    /// Whether requests come from the unix socket directly, not inside a CONNECT.
    pub(super) fn is_unix_listener(&self) -> bool {
        *self == Self::Listener(ListenerOrigin::Unix)
    }

    /// The entrypoint of failures that happen before a request line is parsed.
    pub(super) fn entrypoint(&self) -> Entrypoint {
        match (self, self.listener()) {
            (_, ListenerOrigin::Unix) => Entrypoint::Unix,
            (Self::Connect { .. }, ListenerOrigin::Tcp) => Entrypoint::Connect,
            (Self::Listener(_), ListenerOrigin::Tcp) => Entrypoint::BaseUrl,
        }
    }

    /// The entrypoint of a request.
    pub(super) fn entrypoint_of(&self, request: &Request<Incoming>) -> Entrypoint {
        if *self != Self::Listener(ListenerOrigin::Tcp) {
            self.entrypoint()
        } else if *request.method() == Method::CONNECT {
            Entrypoint::Connect
        } else if request.uri().scheme().is_some() {
            Entrypoint::Absolute
        } else {
            Entrypoint::BaseUrl
        }
    }

    fn listener(&self) -> ListenerOrigin {
        match self {
            Self::Listener(listener) | Self::Connect { listener, .. } => *listener,
        }
    }
}
